//! Runs plans on the CPU, in `f32` as a backend or in `f64` as the oracle of tests.

use crate::error::{Error, Result};
use crate::graph::{Plan, Prepared, Step, StorageKind, Versions};
use crate::linalg::in_pool;
use crate::op::{Buf, CpuArgs, Precision, Value, View, ViewMut};
use crate::tensor::TensorType;
use std::collections::HashMap;
use std::sync::Arc;
use web_time::Instant;

/// Is shown the outputs of a step, by its index.
pub type Observe<'a, T> = &'a mut dyn FnMut(usize, &[Buf<T>]);

/// A plan of up to so many operations, or elements moved, runs on the calling thread: it takes less time than to wake another.
const SERIAL: u64 = 1 << 18;

/// The states of a model in host memory.
#[derive(Debug)]
pub struct Runtime<T> {
    states: HashMap<String, Buf<T>>,
    versions: Versions,
}

/// A plan with its memory.
#[derive(Debug)]
pub struct Program<T> {
    plan: Arc<Plan>,
    /// By index of the storage; empty for states, which the runtime holds.
    storages: Vec<Buf<T>>,
    types: Vec<(Vec<TensorType>, Vec<TensorType>)>,
    prepared: Prepared,
    /// Whether there is enough to do for more than one thread.
    parallel: bool,
}

impl<T: Precision> Default for Runtime<T> {
    fn default() -> Self {
        Runtime { states: HashMap::new(), versions: Versions::default() }
    }
}

impl<T: Precision> Runtime<T> {
    /// A runtime without states.
    pub fn new() -> Self {
        Runtime::default()
    }

    /// Allocates what a plan needs. States that it is the first to name start as zeros.
    pub fn load(&mut self, plan: Arc<Plan>) -> Program<T> {
        let mut storages = Vec::with_capacity(plan.storages.len());
        for s in &plan.storages {
            storages.push(match &s.kind {
                StorageKind::State(name) => {
                    self.states.entry(name.clone()).or_insert_with(|| Buf::zeros_of(s.dtype, s.elements));
                    Buf::zeros_of(s.dtype, 0)
                }
                _ => Buf::zeros_of(s.dtype, s.elements),
            });
        }
        let types: Vec<(Vec<TensorType>, Vec<TensorType>)> = plan
            .steps
            .iter()
            .map(|step| {
                let node = &plan.graph.nodes()[step.node];
                (plan.graph.types(&node.inputs), plan.graph.types(&node.outputs))
            })
            .collect();
        let work = |(step, (x, y)): (&Step, &(Vec<_>, Vec<_>))| {
            let cost = plan.graph.nodes()[step.node].op.cost(x, y);
            cost.flops.max(cost.bytes / 4)
        };
        let parallel = plan.steps.iter().zip(&types).map(work).sum::<u64>() > SERIAL;
        Program { plan, storages, types, prepared: Prepared::default(), parallel }
    }

    /// A state's elements.
    pub fn state(&self, name: &str) -> Option<&Buf<T>> {
        self.states.get(name)
    }

    /// Replaces a state, or makes it.
    pub fn set_state(&mut self, name: &str, data: Buf<T>) {
        self.versions.set(name);
        self.states.insert(name.to_string(), data);
    }

    /// Bytes of all states.
    pub fn state_bytes(&self) -> u64 {
        self.states.values().map(buf_bytes).sum()
    }

    /// Runs the plan once on these inputs. `observe` is called after each step with its index and outputs; with it no step is left out.
    pub fn run(&mut self, program: &mut Program<T>, feeds: Vec<(Value, Buf<T>)>, observe: Option<Observe<'_, T>>) -> Result<()> {
        let plan = program.plan.clone();
        for (v, data) in feeds {
            let info = plan.graph.info(v);
            if data.len() != info.ty.elements() {
                return Err(Error::invalid("input", format!("{} elements", data.len()), &info.ty).at(&info.name));
            }
            if let Some(at) = plan.location(v) {
                program.storages[at.storage] = data;
            }
        }
        let steps = self.versions.run(&plan, &mut program.prepared);
        let Some(observe) = observe else {
            let parallel = program.parallel;
            let run = || steps.for_each(|s| self.step(program, &plan, s));
            if parallel {
                in_pool(run)
            } else {
                run()
            }
            return Ok(());
        };
        for s in 0..steps.end {
            self.step(program, &plan, s);
            let outputs: Vec<Buf<T>> =
                plan.graph.nodes()[plan.steps[s].node].outputs.iter().map(|&v| Buf::copy(self.look(program, v))).collect();
            observe(s, &outputs);
        }
        Ok(())
    }

    /// Runs all steps of the plan on the inputs of its last run, and returns the seconds of each.
    pub fn time_steps(&mut self, program: &mut Program<T>) -> Vec<f64> {
        let plan = program.plan.clone();
        self.versions.run(&plan, &mut program.prepared);
        let time = |s| {
            let start = Instant::now();
            self.step(program, &plan, s);
            start.elapsed().as_secs_f64()
        };
        in_pool(|| (0..plan.steps.len()).map(time).collect())
    }

    /// The elements of an output of the plan, after a run.
    pub fn fetch(&self, program: &Program<T>, v: Value) -> Buf<T> {
        Buf::copy(self.look(program, v))
    }

    fn storage<'a>(&'a self, program: &'a Program<T>, storage: usize) -> &'a Buf<T> {
        match &program.plan.storages[storage].kind {
            StorageKind::State(name) => &self.states[name],
            _ => &program.storages[storage],
        }
    }

    fn look<'a>(&'a self, program: &'a Program<T>, v: Value) -> View<'a, T> {
        match program.plan.location(v) {
            Some(at) => self.storage(program, at.storage).slice(at.offset, program.plan.graph.info(v).ty.elements()),
            None => View::EMPTY,
        }
    }

    fn take(&mut self, program: &mut Program<T>, storage: usize) -> Buf<T> {
        let empty = Buf::zeros_of(program.plan.storages[storage].dtype, 0);
        match &program.plan.storages[storage].kind {
            StorageKind::State(name) => self.states.get_mut(name).map_or(empty.clone(), |s| std::mem::replace(s, empty)),
            _ => std::mem::replace(&mut program.storages[storage], empty),
        }
    }

    fn put_back(&mut self, program: &mut Program<T>, storage: usize, data: Buf<T>) {
        match &program.plan.storages[storage].kind {
            StorageKind::State(name) => {
                self.states.insert(name.clone(), data);
            }
            _ => program.storages[storage] = data,
        }
    }

    /// Output storages are taken out of their place while the op runs, so that inputs can be borrowed beside them.
    fn step(&mut self, program: &mut Program<T>, plan: &Plan, s: usize) {
        let step = &plan.steps[s];
        let node = &plan.graph.nodes()[step.node];
        if node.op.view().is_some() {
            return;
        }
        let places: Vec<_> = node.outputs.iter().map(|&v| plan.location(v)).collect();
        let mut taken: Vec<(usize, Buf<T>)> = Vec::new();
        for at in places.iter().flatten() {
            if taken.iter().all(|(storage, _)| *storage != at.storage) {
                let data = self.take(program, at.storage);
                taken.push((at.storage, data));
            }
        }
        let (input_types, output_types) = &program.types[s];
        {
            let overwritten = |i: usize| node.op.in_place().iter().any(|&(input, _)| input == i);
            let inputs = node
                .inputs
                .iter()
                .enumerate()
                .map(|(i, &v)| if overwritten(i) || step.placed[i] { View::EMPTY } else { self.look(program, v) })
                .collect();
            let mut outputs: Vec<Option<ViewMut<'_, T>>> = output_types.iter().map(|_| None).collect();
            for (storage, data) in &mut taken {
                let mut here: Vec<(usize, usize)> = Vec::new();
                for (o, at) in places.iter().enumerate() {
                    if let Some(at) = at.filter(|at| at.storage == *storage) {
                        here.push((at.offset, o));
                    }
                }
                here.sort_unstable();
                let (mut rest, mut at) = (data.view_mut(), 0);
                for (offset, o) in here {
                    let (_, tail) = rest.split_at(offset - at);
                    let len = output_types[o].elements();
                    let (own, tail) = tail.split_at(len);
                    outputs[o] = Some(own);
                    (rest, at) = (tail, offset + len);
                }
            }
            let outputs = outputs.into_iter().flatten().collect();
            let mut args = CpuArgs::new(input_types, output_types, inputs, outputs, step.placed.clone());
            T::run(&*node.op, &mut args);
        }
        for (storage, data) in taken {
            self.put_back(program, storage, data);
        }
    }
}

fn buf_bytes<T>(b: &Buf<T>) -> u64 {
    (match b {
        Buf::Real(v) => std::mem::size_of_val(v.as_slice()),
        Buf::U32(v) => std::mem::size_of_val(v.as_slice()),
        Buf::U8(v) => v.len(),
    }) as u64
}

impl<T: Precision> Program<T> {
    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }
}
