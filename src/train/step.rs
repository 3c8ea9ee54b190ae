//! A step of training as one graph: gather the batch, forward, loss, backward, metrics, update.

use super::{Fit, Loss, Optimizer, Page, Target};
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan};
use crate::nn::feed::{Batch, Source, add_batch, add_host_batch};
use crate::nn::model::Ports;
use crate::nn::parameters::{Kind, Pages};
use crate::nn::{Mode, Model, Net, Outputs, Summary};
use crate::op::{NodeBuilder, Value};
use crate::ops::accuracy::Accuracy;
use crate::ops::gather_rows::GatherRows;
use crate::ops::pack::Pack;
use crate::ops::reduce::{Reduce, Reduction};
use crate::ops::running_update::RunningUpdate;
use crate::ops::track::{MAX_BATCH, Track};
use crate::tensor::{Tensor, TensorType};
use std::collections::HashMap;
use std::sync::Arc;

/// States that count loss and correct predictions, and tell of a loss that isn't finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub metrics: &'static str,
    pub health: &'static str,
}

/// Counters of training.
pub(super) const TRAINING: Counters = Counters { metrics: "training/metrics", health: "training/health" };
/// Counters of evaluation, which may take place in the midst of training.
pub(super) const EVALUATION: Counters = Counters { metrics: "evaluation/metrics", health: "evaluation/health" };

impl Counters {
    /// Sets both to zero.
    pub async fn reset(self, model: &mut Model) -> Result<()> {
        model.runtime.set_state(self.metrics, &Tensor::zeros(&TensorType::f32([2]))).await?;
        model.runtime.set_state(self.health, &Tensor::zeros(&TensorType::u32([2]))).await
    }

    /// Sums of loss and of correct predictions, or the step whose loss was the first that wasn't finite.
    pub async fn read(self, model: &mut Model) -> Result<Result<[f32; 2], u32>> {
        let health = model.runtime.state(self.health).await?;
        if let &[bad, step] = health.as_u32()?
            && bad != 0
        {
            return Ok(Err(step));
        }
        let metrics = model.runtime.state(self.metrics).await?;
        let metrics = metrics.as_f32()?;
        Ok(Ok([metrics[0], metrics[1]]))
    }

    /// Adds the node that counts; returns the health after it.
    fn add(self, graph: &mut Graph, loss: Value, correct: Value, step: Value) -> Result<Value> {
        graph.set_scope("metrics");
        let metrics = graph.state(self.metrics, TensorType::f32([2]))?;
        let health = graph.state(self.health, TensorType::u32([2]))?;
        let counted = graph.add(Arc::new(Track), &[metrics, health, loss, correct, step])?;
        Ok(counted[1])
    }
}

/// Loss and correct predictions of a batch, each `[n]`.
pub(super) fn add_loss(graph: &mut Graph, y: Value, labels: Value, loss: &dyn Loss) -> Result<(Value, Value)> {
    graph.set_scope("loss");
    let target = match loss.target() {
        Target::Class => labels,
        Target::OneHot => {
            let classes = graph.info(y).ty.shape.last();
            let rows = graph.state(&one_hot_name(classes), TensorType::f32([classes, classes]))?;
            graph.node(GatherRows::default(), &[rows, labels])?
        }
    };
    let each = loss.add(graph, y, target)?;
    Ok((each, graph.node(Accuracy, &[y, labels])?))
}

/// The state of one-hot rows: row `i` is that of class `i`.
fn one_hot_name(classes: usize) -> String {
    format!("one_hot/{classes}")
}

impl Model {
    /// Fails unless the model can learn from this data set with this loss. Makes what the loss needs on the device.
    pub(super) async fn prepare(&mut self, data: &Dataset, loss: &dyn Loss) -> Result<()> {
        self.check_images(data)?;
        let classes = self.check_outputs(loss)?;
        if data.classes() != classes {
            let last = self.network.last_name();
            let want = format!("{classes}, the outputs of the model's last layer '{last}'");
            return Err(Error::invalid("number of classes", data.classes(), want).at(data.name()));
        }
        if loss.target() == Target::OneHot {
            let shape = [classes, classes];
            let rows = (0..classes * classes).map(|i| if i / classes == i % classes { 1.0 } else { 0.0 }).collect();
            self.runtime.set_state(&one_hot_name(classes), &Tensor::f32(shape, rows)?).await?;
        }
        Ok(())
    }

    /// Fails unless the outputs are what the loss takes; else their number.
    pub(super) fn check_outputs(&self, loss: &dyn Loss) -> Result<usize> {
        let classes = self.classes()?;
        if loss.takes_logits() && self.network.ends_in_softmax() {
            let want = "no softmax: the loss applies it itself, and `predict_probabilities` does for predictions";
            return Err(Error::invalid("last layer", "softmax", want).at(self.network.last_name()));
        }
        Ok(classes)
    }

    /// The training step on batches of `n`. Its mean loss can be fetched if [`Fit::step_losses`] asked for it.
    pub(super) fn plan_step(
        &self,
        n: usize,
        add_batch: impl FnOnce(&mut Graph) -> Result<Batch>,
        fit: &Fit,
    ) -> Result<(Plan, Ports)> {
        let (optimizer, loss, keep_loss) = (&*fit.optimizer, &*fit.loss, fit.step_losses);
        if n > MAX_BATCH {
            return Err(Error::invalid("batch size", n, format!("at most {MAX_BATCH}")));
        }
        let mut graph = Graph::new();
        let step = graph.input("step", TensorType::u32([1]))?;
        let hyper = graph.input("hyper", TensorType::f32([4]))?;
        let batch = add_batch(&mut graph)?;
        let (y, mut pages) = self.forward(&mut graph, Mode::Training, batch.images, Some(step))?;
        let (each, correct) = add_loss(&mut graph, y, batch.labels, loss)?;
        let mean = graph.node(Reduce::all(Reduction::Mean, 1), &[each])?;
        let views = pages.trained_views();
        if views.is_empty() {
            return Err(Error::invalid("parameters", "none", "a layer with parameters, to train"));
        }
        let gradients: HashMap<Value, Value> = views.iter().copied().zip(graph.gradients(mean, &views)?).collect();
        // Before the updates: they do nothing where the loss is found not to be finite.
        let health = TRAINING.add(&mut graph, each, correct, step)?;
        self.add_running_updates(&mut graph, &mut pages, health)?;
        for page in self.layout.trained_pages() {
            graph.set_scope(optimizer.name());
            let len = self.layout.pages[page].len;
            let (mut offsets, mut parts) = (Vec::new(), Vec::new());
            for (offset, view) in pages.pieces_in(page) {
                offsets.push(offset);
                parts.push(gradients[&view]);
            }
            let g = graph.node(Pack { offsets, len }, &parts)?;
            let p = pages.page(&mut graph, page)?;
            let mut moments = Vec::new();
            for name in optimizer.moments() {
                moments.push(graph.state(&moment_name(optimizer, name, page), TensorType::f32([len]))?);
            }
            optimizer.update(&mut graph, &Page { p, moments, g, hyper, health })?;
        }
        let kept = [mean];
        let outputs = if keep_loss { &kept[..] } else { &[] };
        graph.fuse(outputs);
        graph.recompute(fit.recompute, outputs);
        let plan = self.device().plan(graph, outputs).map_err(|e| hint(e, n))?;
        let y = keep_loss.then_some(mean);
        Ok((plan, Ports { data: Some(batch.ports), step: Some(step), hyper: Some(hyper), y, ..Ports::default() }))
    }

    /// The updates of the running means by what the layers said that they follow. They do nothing unless `health` is good.
    fn add_running_updates(&self, graph: &mut Graph, pages: &mut Pages, health: Value) -> Result<()> {
        for (page, layout) in self.layout.pages.iter().enumerate() {
            let Kind::Running { momentum } = layout.kind else { continue };
            graph.set_scope("running");
            let (offsets, values): (Vec<_>, Vec<_>) = pages.followed_in(graph, page)?.into_iter().unzip();
            let new = graph.node(Pack { offsets, len: layout.len }, &values)?;
            let running = pages.page(graph, page)?;
            graph.node(RunningUpdate { momentum }, &[running, new, health])?;
        }
        Ok(())
    }

    /// Sets the optimizer's moments to zero.
    pub(super) async fn reset_moments(&mut self, optimizer: &dyn Optimizer) -> Result<()> {
        for page in self.layout.trained_pages() {
            let zeros = Tensor::zeros(&TensorType::f32([self.layout.pages[page].len]));
            for name in optimizer.moments() {
                self.runtime.set_state(&moment_name(optimizer, name, page), &zeros).await?;
            }
        }
        Ok(())
    }

    /// The evaluation of a batch of `n`: forward, loss, metrics.
    pub(super) fn plan_evaluation(&self, n: usize, data: &Dataset, source: Source, loss: &dyn Loss) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let step = graph.input("step", TensorType::u32([1]))?;
        let batch = add_batch(&mut graph, data, source, n)?;
        let (y, _) = self.forward(&mut graph, Mode::Inference, batch.images, None)?;
        let (each, correct) = add_loss(&mut graph, y, batch.labels, loss)?;
        EVALUATION.add(&mut graph, each, correct, step)?;
        graph.fuse(&[]);
        let plan = self.device().plan(graph, &[])?;
        Ok((plan, Ports { data: Some(batch.ports), step: Some(step), ..Ports::default() }))
    }

    /// [`Model::summary`] with the device memory that training by `fit` takes: parameters, moments and a batch's activations. A data
    /// set that lies on the device comes on top.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings that make no sense or a model that is no classifier; [`Error::DoesNotFit`] if the device can't
    /// hold it.
    pub fn summary_for(&self, fit: &Fit) -> Result<Summary> {
        fit.check()?;
        self.check_outputs(&*fit.loss)?;
        let samples = |graph: &mut Graph| add_host_batch(graph, self.input_shape(), fit.batch);
        let (plan, _) = self.plan_step(fit.batch, samples, fit)?;
        Ok(Summary { training: Some((fit.batch, plan.memory())), ..self.summary() })
    }
}

impl Net {
    /// [`Model::summary_for`] of a model that isn't built, and whose parameters take no memory yet: what training would take on a device.
    ///
    /// # Errors
    /// As for [`Net::build`] and [`Model::summary_for`].
    pub fn summary_for(&self, device: &Device, fit: &Fit) -> Result<Summary> {
        Outputs::of(&[self]).without_values(device)?.summary_for(fit)
    }
}

fn moment_name(optimizer: &dyn Optimizer, moment: &str, page: usize) -> String {
    format!("{}/{moment}/{page}", optimizer.name())
}

/// Says what helps against too large a plan.
fn hint(error: Error, n: usize) -> Error {
    match error {
        Error::DoesNotFit { device, reason, table } if n > 1 => {
            Error::DoesNotFit { device, reason: format!("{reason}; a batch smaller than {n} may help"), table }
        }
        other => other,
    }
}
