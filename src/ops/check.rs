//! What unit tests of ops do with every case: the f32 CPU run against the f64 run within the error bound, and the gradient's nodes
//! against central differences.

use crate::error::Result;
use crate::op::{
    Bound, Case, CpuArgs, Declaration, DeviceProfile, Gradient, NodeBuilder, Op, Oracle, Recorder, Value, View, ViewMut, run_f64,
};
use crate::random::{Seed, Stream};
use crate::tensor::{Data, Tensor, TensorType};
use std::sync::Arc;

/// Checks all cases of these ops.
pub fn declarations(list: &[Declaration]) {
    for d in list {
        for case in (d.cases)() {
            assert_eq!(case.op.name(), d.name);
            single_precision(d.name, &case);
            if d.no_gradient.is_none() && !case.differentiable.is_empty() {
                gradient(d.name, &case);
            }
        }
    }
}

fn types(case: &Case) -> Vec<TensorType> {
    case.inputs.iter().map(Tensor::tensor_type).collect()
}

/// The f64 outputs of a case.
pub fn outputs(case: &Case) -> Vec<Oracle> {
    let inputs: Vec<_> = case.inputs.iter().map(Oracle::from_tensor).collect();
    let views: Vec<_> = inputs.iter().map(Oracle::view).collect();
    run_f64(&*case.op, &types(case), &views).unwrap()
}

fn single_precision(op: &str, case: &Case) {
    let (types, what) = (types(case), format!("{op}/{}", case.name));
    let inputs: Vec<_> = case.inputs.iter().map(Oracle::from_tensor).collect();
    let want = outputs(case);
    let output_types = case.op.infer(&types).unwrap();
    let mut got: Vec<Tensor> = output_types.iter().map(Tensor::zeros).collect();
    for &(i, o) in case.op.in_place() {
        got[o] = case.inputs[i].clone();
    }
    let mut data: Vec<Data> = got.iter().map(|t| t.data().clone()).collect();
    let views = case.inputs.iter().map(|t| match t.data() {
        Data::F32(v) => View::Real(v.as_slice()),
        Data::U32(v) => View::U32(v),
        Data::U8(v) => View::U8(v),
    });
    let writes = data.iter_mut().map(|d| match d {
        Data::F32(v) => ViewMut::Real(v.as_mut_slice()),
        Data::U32(v) => ViewMut::U32(v),
        Data::U8(v) => ViewMut::U8(v),
    });
    let mut args = CpuArgs::new(&types, &output_types, views.collect(), writes.collect(), Vec::new());
    case.op.cpu_f32(&mut args);

    let profile = DeviceProfile::baseline();
    let mut r = Recorder::new(&profile, &types, &output_types, &[]);
    case.op.gpu(&mut r).unwrap();
    let bound = Bound { types: &types, inputs: &inputs, outputs: &want, depth: r.depth() };
    let bounds = case.op.error_bound(&bound).unwrap();
    for (o, data) in data.iter().enumerate() {
        match (data, &want[o]) {
            (Data::F32(got), Oracle::Real(want)) => {
                assert_eq!(bounds[o].len(), want.len(), "{what}");
                for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
                    // Infinities are equal, but their difference is NaN.
                    let equal = f64::from(g) == w || g.is_nan() && w.is_nan();
                    let same = equal || (f64::from(g) - w).abs() <= bounds[o][i];
                    assert!(same, "{what}, output {o}, element {i}: {g}, want {w}, bound {}", bounds[o][i]);
                }
            }
            (Data::U32(got), Oracle::U32(want)) => assert_eq!(got, want, "{what}"),
            (Data::U8(got), Oracle::U8(want)) => assert_eq!(got, want, "{what}"),
            _ => panic!("{what}: types of output {o}"),
        }
    }
}

/// Evaluates nodes as they are added.
#[derive(Default)]
pub struct Tape {
    types: Vec<TensorType>,
    values: Vec<Oracle>,
}

impl Tape {
    /// What a value is.
    pub fn value(&self, v: Value) -> &Oracle {
        &self.values[v.0 as usize]
    }

    /// Adds a value.
    pub fn push(&mut self, ty: TensorType, value: Oracle) -> Value {
        self.types.push(ty);
        self.values.push(value);
        Value(self.types.len() as u32 - 1)
    }
}

impl NodeBuilder for Tape {
    fn add(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Vec<Value>> {
        let types: Vec<_> = inputs.iter().map(|&v| self.type_of(v).clone()).collect();
        let views: Vec<_> = inputs.iter().map(|v| self.values[v.0 as usize].view()).collect();
        let outputs = run_f64(&*op, &types, &views)?;
        let types = op.infer(&types)?;
        Ok(types.into_iter().zip(outputs).map(|(ty, value)| self.push(ty, value)).collect())
    }

    fn type_of(&self, v: Value) -> &TensorType {
        &self.types[v.0 as usize]
    }
}

fn gradient(op: &str, case: &Case) {
    let (types, y) = (types(case), outputs(case));
    let output_types = case.op.infer(&types).unwrap();
    let mut random = Stream::new(Seed(99), 0);
    let weights: Vec<f64> = (0..y[0].real().len()).map(|_| random.normal()).collect();
    let mut tape = Tape::default();
    let xs: Vec<_> = case.inputs.iter().map(|t| tape.push(t.tensor_type(), Oracle::from_tensor(t))).collect();
    let ys: Vec<_> = output_types.iter().zip(y).map(|(t, y)| tape.push(t.clone(), y)).collect();
    let mut dys = vec![None; ys.len()];
    dys[0] = Some(tape.push(output_types[0].clone(), Oracle::Real(weights.clone())));
    let wanted: Vec<_> = (0..xs.len()).map(|i| case.differentiable.contains(&i)).collect();
    let mut g = Gradient::new(&mut tape, &xs, &ys, &dys, &wanted);
    case.op.gradient(&mut g).unwrap();
    let dxs = g.finish();
    for &input in &case.differentiable {
        let dx = dxs[input].unwrap_or_else(|| panic!("{op}/{}: no gradient by input {input}", case.name));
        assert_eq!(tape.type_of(dx), &types[input]);
        let dx = tape.value(dx).real();
        let mut inputs: Vec<_> = case.inputs.iter().map(Oracle::from_tensor).collect();
        // A sample of the elements: each costs two runs.
        for i in (0..dx.len()).step_by(dx.len().div_ceil(40)) {
            let mut at = |h: f64| {
                if let Oracle::Real(v) = &mut inputs[input] {
                    v[i] += h;
                }
                let views: Vec<_> = inputs.iter().map(Oracle::view).collect();
                let y = run_f64(&*case.op, &types, &views).unwrap();
                let loss: f64 = y[0].real().iter().zip(&weights).map(|(y, w)| y * w).sum();
                if let Oracle::Real(v) = &mut inputs[input] {
                    v[i] -= h;
                }
                loss
            };
            // Of fourth order: a sharp function's third derivative mustn't count.
            let h = 5e-5;
            let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            let close = (slope - dx[i]).abs() <= 1e-6 * slope.abs().max(0.1);
            assert!(close, "{op}/{}, input {input}, element {i}: {}, central difference {slope}", case.name, dx[i]);
        }
    }
}
