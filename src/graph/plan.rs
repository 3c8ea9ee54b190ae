//! The plan of a run: which nodes, in which order, on which memory. It is complete before anything is allocated.
//!
//! Memory is handed out in *storages*, each a buffer of its own: the inputs, the states, and scratch slots that tensors share
//! ([`memory`]).

use super::memory::{self, Lifetime};
use super::{Graph, Origin};
use crate::error::{Error, Result};
use crate::op::{DeviceProfile, Dispatch, Recorder, Value};
use crate::tensor::{DType, TensorType};
use std::collections::{HashMap, HashSet};

/// Where a tensor lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// Index of the storage.
    pub storage: usize,
    /// First element.
    pub offset: usize,
}

/// What a storage is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageKind {
    /// A tensor that is fed at each run.
    Input(Value),
    /// Persistent memory, by name.
    State(String),
    /// A tensor made only from states, which stays until they change ([`Plan::n_prepared`]).
    Prepared(Value),
    /// Memory that tensors of disjoint lifetimes share.
    Scratch,
}

/// A buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storage {
    /// What it is for.
    pub kind: StorageKind,
    /// Element type.
    pub dtype: DType,
    /// Elements.
    pub elements: usize,
}

impl Storage {
    /// Bytes, rounded up to the 4 that a copy on the GPU moves at least.
    pub fn bytes(&self) -> u64 {
        device_bytes(self.dtype, self.elements)
    }
}

fn device_bytes(dtype: DType, elements: usize) -> u64 {
    (elements as u64 * dtype.bytes() as u64).next_multiple_of(4)
}

/// A node to run.
#[derive(Clone, Debug)]
pub struct Step {
    /// Index of the node in the graph.
    pub node: usize,
    /// Which inputs already lie at their place in output 0.
    pub placed: Vec<bool>,
    /// The dispatches, on a GPU.
    pub dispatches: Vec<Dispatch>,
    /// Where the dispatches' scratch tensors lie, and their types.
    pub temps: Vec<(Location, TensorType)>,
    /// Longest chain of roundings, as the dispatches declared it.
    pub depth: usize,
}

/// Bytes of device memory that a plan takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Parameters, optimizer moments, resident data: shared by all plans of a model.
    pub states: u64,
    /// Tensors fed at each run.
    pub inputs: u64,
    /// What is made of the states once, such as weights that batch norm was folded into.
    pub prepared: u64,
    /// Activations, gradients and what else lives within a run.
    pub scratch: u64,
    /// Parameters of dispatches.
    pub uniforms: u64,
    /// Where a result waits for the host.
    pub staging: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.states + self.inputs + self.prepared + self.scratch + self.uniforms + self.staging
    }
}

/// A graph with an order and a place for every tensor.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The graph.
    pub graph: Graph,
    /// The nodes to run, in order.
    pub steps: Vec<Step>,
    /// All buffers.
    pub storages: Vec<Storage>,
    /// Values that can be fetched after a run.
    pub outputs: Vec<Value>,
    n_prepared: usize,
    prepared_from: Vec<String>,
    overwrites: Vec<String>,
    locations: Vec<Option<Location>>,
    memory: Memory,
    profile: Option<DeviceProfile>,
}

/// A tensor's memory before storages are assigned: its root tensor, and the offset in that.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    root: Value,
    offset: usize,
}

/// Whose memory it is: a tensor's, or the scratch tensor's of a step.
enum Owner {
    Root(Value),
    Temp(usize, usize),
}

impl Plan {
    /// Plans a run of `graph` that makes `outputs` and all updates of states. With a `profile` it is a plan for that GPU, and refused
    /// if the GPU can't hold it; without, one for the CPU.
    pub fn new(graph: Graph, outputs: &[Value], profile: Option<&DeviceProfile>) -> Result<Plan> {
        for &v in outputs {
            graph.expect(v, "output")?;
        }
        let mut live = live_nodes(&graph, outputs);
        let mut places = own_places(&graph);
        let mut steps: Vec<Step> = Vec::new();
        let placed = place_inputs(&graph, &live, outputs, &mut places);
        check_in_place(&graph, &live, &places)?;
        let overwrites = overwritten_states(&graph, &live, &places);
        let (prepared, prepared_from) = prepared_nodes(&graph, &live, &placed, &overwrites);
        // They need only states and each other, so they can come first.
        live.sort_by_key(|n| !prepared.contains(n));
        let state_names = |states: Vec<Value>| states.iter().map(|&v| graph.info(v).name.clone()).collect();
        let (prepared_from, overwrites) = (state_names(prepared_from), state_names(overwrites));
        for &n in &live {
            let node = &graph.nodes()[n];
            let placed: Vec<bool> = node.inputs.iter().map(|v| placed.get(v) == Some(&n)).collect();
            let mut step = Step { node: n, placed, dispatches: Vec::new(), temps: Vec::new(), depth: 1 };
            if let (Some(profile), None) = (profile, node.op.view()) {
                let (x, y) = (graph.types(&node.inputs), graph.types(&node.outputs));
                let mut r = Recorder::new(profile, &x, &y, &step.placed);
                node.op.gpu(&mut r).map_err(|e| e.at(&node.name))?;
                step.depth = r.depth();
                for t in &r.temps {
                    // Kernels index scratch like any tensor.
                    t.shape.clone().checked("scratch memory").map_err(|e| e.at(&node.name))?;
                }
                let unplaced = Location { storage: usize::MAX, offset: 0 };
                step.temps = r.temps.into_iter().map(|t| (unplaced, t)).collect();
                step.dispatches = r.dispatches;
            }
            steps.push(step);
        }
        let mut plan = Plan {
            locations: vec![None; graph.values.len()],
            graph,
            steps,
            storages: Vec::new(),
            outputs: outputs.to_vec(),
            n_prepared: prepared.len(),
            prepared_from,
            overwrites,
            memory: Memory::default(),
            profile: profile.cloned(),
        };
        plan.assign(&places, profile.is_some());
        plan.account(profile);
        if let Some(profile) = profile {
            plan.check_fits(profile)?;
        }
        Ok(plan)
    }

    /// Where a value lies; nowhere if no step needs it.
    pub fn location(&self, v: Value) -> Option<Location> {
        self.locations[v.0 as usize]
    }

    /// The GPU that it is for; none for the CPU.
    pub fn profile(&self) -> Option<&DeviceProfile> {
        self.profile.as_ref()
    }

    /// Bytes of device memory.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// How many of the first steps depend on states alone, and on none that the plan overwrites. Their results stay in memory, so they
    /// only run when one of [`Plan::prepared_from`] has changed since the last run.
    pub fn n_prepared(&self) -> usize {
        self.n_prepared
    }

    /// Names of the states that the prepared steps read.
    pub fn prepared_from(&self) -> &[String] {
        &self.prepared_from
    }

    /// Names of the states that a run overwrites.
    pub fn overwrites(&self) -> &[String] {
        &self.overwrites
    }

    /// Number of dispatches of a run.
    pub fn n_dispatches(&self) -> usize {
        self.steps.iter().map(|s| s.dispatches.len()).sum()
    }

    /// The inputs that a run needs.
    pub fn inputs(&self) -> Vec<Value> {
        self.storages
            .iter()
            .filter_map(|s| match s.kind {
                StorageKind::Input(v) => Some(v),
                _ => None,
            })
            .collect()
    }

    fn assign(&mut self, places: &[Place], on_gpu: bool) {
        let end = self.steps.len();
        let mut lifetimes: HashMap<Value, Lifetime> = HashMap::new();
        let mut order: Vec<Value> = Vec::new();
        let mut touch = |graph: &Graph, v: Value, at: usize, bound: Option<bool>| {
            let root = places[v.0 as usize].root;
            let life = lifetimes.entry(root).or_insert_with(|| {
                order.push(root);
                let ty = &graph.info(root).ty;
                Lifetime { dtype: ty.dtype, elements: ty.elements(), first: at, last: at, bound: Vec::new() }
            });
            life.last = life.last.max(at);
            life.bound.extend(bound.map(|writes| (at, writes)));
        };
        for (s, step) in self.steps.iter().enumerate() {
            let node = &self.graph.nodes()[step.node];
            // A view binds nothing.
            let bound = |writes| node.op.view().is_none().then_some(writes);
            node.inputs.iter().for_each(|&v| touch(&self.graph, v, s, bound(false)));
            node.outputs.iter().for_each(|&v| touch(&self.graph, v, s, bound(true)));
        }
        for &v in &self.outputs {
            touch(&self.graph, v, end, None);
        }
        let mut start_of: HashMap<Value, Location> = HashMap::new();
        let mut scratch: Vec<Lifetime> = Vec::new();
        let mut owners: Vec<Owner> = Vec::new();
        for root in order {
            let info = self.graph.info(root);
            let kind = match info.origin {
                Origin::Input => StorageKind::Input(root),
                Origin::State => StorageKind::State(info.name.clone()),
                Origin::Node { node, .. } if self.steps[..self.n_prepared].iter().any(|s| s.node == node) => {
                    StorageKind::Prepared(root)
                }
                Origin::Node { .. } => {
                    scratch.extend(lifetimes.remove(&root));
                    owners.push(Owner::Root(root));
                    continue;
                }
            };
            start_of.insert(root, Location { storage: self.storages.len(), offset: 0 });
            self.storages.push(Storage { kind, dtype: info.ty.dtype, elements: info.ty.elements() });
        }
        for (s, step) in self.steps.iter().enumerate() {
            for (t, (_, ty)) in step.temps.iter().enumerate() {
                let (dtype, elements) = (ty.dtype, ty.elements());
                scratch.push(Lifetime { dtype, elements, first: s, last: s, bound: vec![(s, true)] });
                owners.push(Owner::Temp(s, t));
            }
        }
        let assigned = memory::assign(&scratch, !on_gpu);
        let first_slot = self.storages.len();
        let slots = assigned.slots.into_iter();
        self.storages.extend(slots.map(|(dtype, elements)| Storage { kind: StorageKind::Scratch, dtype, elements }));
        for (owner, (slot, offset)) in owners.into_iter().zip(assigned.places) {
            let at = Location { storage: first_slot + slot, offset };
            match owner {
                Owner::Root(root) => drop(start_of.insert(root, at)),
                Owner::Temp(s, t) => self.steps[s].temps[t].0 = at,
            }
        }
        for (v, place) in places.iter().enumerate() {
            let start = start_of.get(&place.root);
            self.locations[v] = start.map(|at| Location { storage: at.storage, offset: at.offset + place.offset });
        }
    }

    fn account(&mut self, profile: Option<&DeviceProfile>) {
        let mut m = Memory::default();
        for s in &self.storages {
            match s.kind {
                StorageKind::Input(_) => m.inputs += s.bytes(),
                StorageKind::State(_) => m.states += s.bytes(),
                StorageKind::Prepared(_) => m.prepared += s.bytes(),
                StorageKind::Scratch => m.scratch += s.bytes(),
            }
        }
        if let Some(profile) = profile {
            let slot = |d: &Dispatch| (d.params.len() as u64 * 4).next_multiple_of(u64::from(profile.uniform_alignment));
            m.uniforms = self.steps.iter().flat_map(|s| &s.dispatches).map(slot).sum();
            m.staging = self.outputs.iter().map(|&v| self.value_bytes(v)).max().unwrap_or(0);
        }
        self.memory = m;
    }

    /// Bytes that a value takes on the device.
    pub fn value_bytes(&self, v: Value) -> u64 {
        let ty = &self.graph.info(v).ty;
        device_bytes(ty.dtype, ty.elements())
    }

    fn check_fits(&self, profile: &DeviceProfile) -> Result<()> {
        let largest = self.storages.iter().map(Storage::bytes).max().unwrap_or(0);
        let reason = if largest > profile.max_buffer_bytes {
            format!("a tensor takes {largest} bytes, and a buffer holds at most {}", profile.max_buffer_bytes)
        } else if let Some((bytes, what)) = self.largest_binding().filter(|(b, _)| *b > profile.max_binding_bytes) {
            format!("{what} takes {bytes} bytes, and a binding at most {}", profile.max_binding_bytes)
        } else if let Some(budget) = profile.memory_budget.filter(|&b| self.memory.total() > b) {
            format!("it takes {} bytes, and the memory budget is {budget}", self.memory.total())
        } else {
            return Ok(());
        };
        Err(Error::DoesNotFit { device: "this device".to_string(), reason, table: self.table(8) })
    }

    /// Bytes of the largest tensor that a dispatch binds, and what it is.
    fn largest_binding(&self) -> Option<(u64, String)> {
        let mut largest: Option<(u64, &str, &str)> = None;
        for step in &self.steps {
            let node = &self.graph.nodes()[step.node];
            // A view binds nothing itself; its readers do.
            if node.op.view().is_some() {
                continue;
            }
            let values = node.inputs.iter().chain(&node.outputs);
            let values = values.map(|&v| (self.value_bytes(v), "", self.graph.info(v).name.as_str()));
            let temps =
                step.temps.iter().map(|(_, ty)| (device_bytes(ty.dtype, ty.elements()), "scratch of ", node.name.as_str()));
            largest = values.chain(temps).chain(largest).max_by_key(|(bytes, ..)| *bytes);
        }
        largest.map(|(bytes, what, name)| (bytes, format!("{what}'{name}'")))
    }

    /// The `n` largest tensors with their names, types and bytes, one a line.
    pub fn table(&self, n: usize) -> String {
        let mut rows: Vec<(u64, Value)> = Vec::new();
        for v in 0..self.graph.values.len() as u32 {
            let v = Value(v);
            if self.location(v).is_some() {
                rows.push((self.value_bytes(v), v));
            }
        }
        rows.sort_by_key(|&(bytes, v)| (std::cmp::Reverse(bytes), v));
        let line = |&(bytes, v): &(u64, Value)| {
            let info = self.graph.info(v);
            format!("{bytes:>14} bytes  {}  {}", info.name, info.ty)
        };
        rows.iter().take(n).map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Nodes that an output or an update of a state depends on, in order.
fn live_nodes(graph: &Graph, outputs: &[Value]) -> Vec<usize> {
    let mut needed = vec![false; graph.values.len()];
    for v in outputs {
        needed[v.0 as usize] = true;
    }
    let mut live = Vec::new();
    for (n, node) in graph.nodes().iter().enumerate().rev() {
        if !node.op.in_place().is_empty() || node.outputs.iter().any(|v| needed[v.0 as usize]) {
            live.push(n);
            for v in &node.inputs {
                needed[v.0 as usize] = true;
            }
        }
    }
    live.reverse();
    live
}

/// Each value in its own memory, but for views and what is updated in place.
fn own_places(graph: &Graph) -> Vec<Place> {
    let mut places: Vec<Place> = (0..graph.values.len() as u32).map(|v| Place { root: Value(v), offset: 0 }).collect();
    for node in graph.nodes() {
        if let Some(offset) = node.op.view() {
            let of = places[node.inputs[0].0 as usize];
            places[node.outputs[0].0 as usize] = Place { root: of.root, offset: of.offset + offset };
        }
        for &(i, o) in node.op.in_place() {
            places[node.outputs[o].0 as usize] = places[node.inputs[i].0 as usize];
        }
    }
    places
}

/// Lets nodes write directly into the output of the op that would gather them ([`crate::op::Op::placement`]). Returns which values
/// are so placed, and by which node.
fn place_inputs(graph: &Graph, live: &[usize], keep: &[Value], places: &mut [Place]) -> HashMap<Value, usize> {
    let mut placed = HashMap::new();
    // No node may read and write one buffer, which WebGPU forbids and safe Rust has no borrow for.
    let conflict = |places: &[Place], root: Value| {
        live.iter().any(|&n| {
            let node = &graph.nodes()[n];
            let overwrites = |o: usize| node.op.in_place().iter().any(|&(_, out)| out == o);
            let touches = |vs: &[Value]| vs.iter().any(|v| places[v.0 as usize].root == root);
            let writes =
                node.outputs.iter().enumerate().any(|(o, v)| !overwrites(o) && places[v.0 as usize].root == root && *v != root);
            writes && node.op.view().is_none() && touches(&node.inputs)
        })
    };
    for &gather in live {
        let node = &graph.nodes()[gather];
        for (i, &v) in node.inputs.iter().enumerate() {
            let Some(offset) = node.op.placement(i) else { continue };
            let root = node.outputs[0];
            let is_own = places[v.0 as usize] == Place { root: v, offset: 0 };
            let is_made = graph.producer(v).is_some();
            let views_of_it = places.iter().filter(|p| p.root == v).count() > 1;
            if !is_own || !is_made || views_of_it || keep.contains(&v) || placed.contains_key(&v) {
                continue;
            }
            places[v.0 as usize] = Place { root, offset };
            if conflict(places, root) {
                places[v.0 as usize] = Place { root: v, offset: 0 };
            } else {
                placed.insert(v, gather);
            }
        }
    }
    placed
}

/// The states that nodes overwrite.
fn overwritten_states(graph: &Graph, live: &[usize], places: &[Place]) -> Vec<Value> {
    let mut states = Vec::new();
    for &n in live {
        let node = &graph.nodes()[n];
        for &(i, _) in node.op.in_place() {
            let state = places[node.inputs[i].0 as usize].root;
            if !states.contains(&state) {
                states.push(state);
            }
        }
    }
    states
}

/// The nodes, views among them, that give the same at each run until a state is set or another plan overwrites one, and the states
/// that they read.
fn prepared_nodes(
    graph: &Graph,
    live: &[usize],
    placed: &HashMap<Value, usize>,
    overwritten: &[Value],
) -> (HashSet<usize>, Vec<Value>) {
    let mut lasting: HashSet<Value> = HashSet::new();
    let mut prepared = HashSet::new();
    let mut from = Vec::new();
    for &n in live {
        let node = &graph.nodes()[n];
        let is_state = |v: &Value| graph.info(*v).origin == Origin::State && !overwritten.contains(v);
        let lasts = |v: &Value| is_state(v) || lasting.contains(v);
        // What lies in the memory of a later node has to be made with it.
        let is_placed = node.outputs.iter().any(|v| placed.contains_key(v));
        if node.inputs.is_empty() || !node.inputs.iter().all(lasts) || !node.op.in_place().is_empty() || is_placed {
            continue;
        }
        for &v in node.inputs.iter().filter(|&v| is_state(v)) {
            if !from.contains(&v) {
                from.push(v);
            }
        }
        prepared.insert(n);
        lasting.extend(&node.outputs);
    }
    (prepared, from)
}

/// A state may not be read, as it was before, by the node that overwrites it or after that.
fn check_in_place(graph: &Graph, live: &[usize], places: &[Place]) -> Result<()> {
    // Which contents of a state a value is: 0 before any update, then the number of the node that made them.
    let mut contents = vec![0usize; graph.values.len()];
    let mut current: HashMap<Value, (usize, &str)> = HashMap::new();
    for &n in live {
        let node = &graph.nodes()[n];
        let refuse = |root: Value, by: &str| {
            let what = format!("state '{}' read after '{by}' overwrote it", graph.info(root).name);
            Err(Error::invalid("order of nodes", what, "reads first").at(&node.name))
        };
        for v in &node.inputs {
            let root = places[v.0 as usize].root;
            match current.get(&root) {
                Some(&(now, by)) if contents[v.0 as usize] != now => return refuse(root, by),
                _ => {}
            }
        }
        if node.op.view().is_some() {
            contents[node.outputs[0].0 as usize] = contents[node.inputs[0].0 as usize];
        }
        for &(i, o) in node.op.in_place() {
            let root = places[node.inputs[i].0 as usize].root;
            // A kernel can't read a buffer that it writes under another name.
            let is_read = |(j, v): (usize, &Value)| j != i && places[v.0 as usize].root == root;
            if node.inputs.iter().enumerate().any(is_read) {
                return refuse(root, node.op.name());
            }
            contents[node.outputs[o].0 as usize] = n + 1;
            current.insert(root, (n + 1, node.op.name()));
        }
    }
    Ok(())
}

/// An error for a state that no plan has.
pub(crate) fn unknown_state(name: &str) -> Error {
    Error::invalid("state", format!("'{name}'"), "the name of a state of a loaded plan")
}

/// An error for a state that has another type or number of elements already.
pub(crate) fn state_mismatch(name: &str, got: (DType, usize), has: (DType, usize)) -> Error {
    let [got, has] = [got, has].map(|(dtype, elements)| TensorType::new(dtype, [elements]));
    Error::invalid("state", got, format!("{has}, as it is")).at(name)
}
