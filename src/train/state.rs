//! What training keeps on the device beside the parameters, as tensors by the names of the parameters.

use super::Fit;
use super::saved::AVERAGE;
use super::step::{average_name, moment_name, sum_name};
use crate::error::{Error, Result};
use crate::io::safetensors::in_file;
use crate::nn::Model;
use crate::nn::parameters::{Kind, Parameter};
use crate::tensor::{Tensor, TensorType};
use std::collections::BTreeMap;

/// Tensors by their names in files.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// A tensor that training keeps for each trained parameter.
pub(super) struct Kept<'a> {
    /// What its name in files begins with.
    prefix: String,
    /// The state of a page.
    state: Box<dyn Fn(usize) -> String + Send + Sync + 'a>,
    /// What it is where no parameter lies.
    elsewhere: f32,
}

impl Kept<'_> {
    fn name(&self, parameter: &Parameter) -> String {
        format!("{}{}", self.prefix, in_file(&parameter.name))
    }
}

/// The average, if there is one.
pub(super) fn average(fit: &Fit) -> Vec<Kept<'static>> {
    let average = || Kept { prefix: AVERAGE.to_string(), state: Box::new(average_name), elsewhere: 0.0 };
    fit.average.map(|_| average()).into_iter().collect()
}

/// All that is kept between two steps.
pub(super) fn all(fit: &Fit) -> Vec<Kept<'_>> {
    let optimizer = &*fit.optimizer;
    let moment = |name: &&'static str| {
        let name = *name;
        let state = move |page| moment_name(optimizer, name, page);
        Kept { prefix: format!("optimizer/{name}/"), state: Box::new(state), elsewhere: optimizer.initial_moment() }
    };
    let mut all: Vec<Kept<'_>> = optimizer.moments().iter().map(moment).collect();
    if fit.accumulate > 1 {
        all.push(Kept { prefix: "gradient_sum/".to_string(), state: Box::new(sum_name), elsewhere: 0.0 });
    }
    all.extend(average(fit));
    all
}

impl Model {
    /// Weights, and what is kept beside them.
    pub(super) async fn tensors(&mut self, kept: &[Kept<'_>]) -> Result<Tensors> {
        let weights = self.weights_async().await?;
        let mut tensors: Tensors = weights.into_iter().map(|(name, tensor)| (in_file(&name), tensor)).collect();
        for kept in kept {
            let mut pages = vec![Vec::new(); self.layout.pages.len()];
            for page in self.layout.trained_pages() {
                pages[page] = self.runtime.state(&(kept.state)(page)).await?.as_f32()?.to_vec();
            }
            for p in self.layout.parameters.iter().filter(|p| p.kind == Kind::Trained) {
                tensors.insert(kept.name(p), p.values(&pages)?);
            }
        }
        Ok(tensors)
    }

    /// Sets what [`Model::tensors`] returned. Nothing is changed unless all is there.
    pub(super) async fn set_tensors(&mut self, kept: &[Kept<'_>], tensors: &Tensors) -> Result<()> {
        let find = |name: &str, p: &Parameter| {
            let tensor = tensors.get(name).ok_or_else(|| Error::invalid("tensor", "none", &p.shape).at(name))?;
            tensor.tensor_type().expect("tensor", &TensorType::f32(p.shape.clone())).map_err(|e| e.at(name))?;
            Ok::<_, Error>(tensor)
        };
        let mut states = Vec::new();
        for kept in kept {
            let mut pages: Vec<Vec<f32>> = self.layout.pages.iter().map(|page| vec![kept.elsewhere; page.len]).collect();
            for p in self.layout.parameters.iter().filter(|p| p.kind == Kind::Trained) {
                p.fill(&mut pages, find(&kept.name(p), p)?.as_f32()?);
            }
            for page in self.layout.trained_pages() {
                let values = std::mem::take(&mut pages[page]);
                states.push(((kept.state)(page), Tensor::f32([values.len()], values)?));
            }
        }
        let weight = |p: &Parameter| Ok((p.name.clone(), find(&in_file(&p.name), p)?.clone()));
        let weights = self.layout.parameters.iter().map(weight).collect::<Result<Vec<_>>>()?;
        self.set_weights_async(&weights).await?;
        for (name, tensor) in states {
            self.runtime.set_state(&name, &tensor).await?;
        }
        Ok(())
    }
}
