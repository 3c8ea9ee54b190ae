//! A step of training as one graph: gather the batch, forward, loss, backward, metrics, update.

use super::loss::mean_by_label;
use super::{Augmentation, Fit, Loss, LossInputs, Metric, Optimizer, Page, Target};
use crate::data::{Dataset, Targets};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan};
use crate::nn::feed::{Batch, Source, add_batch, add_host_batch};
use crate::nn::model::Ports;
use crate::nn::parameters::{Kind, Pages};
use crate::nn::{Mode, Model, Net, Outputs, Summary};
use crate::op::{NodeBuilder, Value};
use crate::ops::accuracy::Accuracy;
use crate::ops::binary::{Add, Binary, Mul};
use crate::ops::clip_norm::ClipNorm;
use crate::ops::concat::Concat;
use crate::ops::confusion::Confusion;
use crate::ops::fill::Fill;
use crate::ops::gather_rows::GatherRows;
use crate::ops::losses::{AbsoluteError, ElementLoss};
use crate::ops::pack::Pack;
use crate::ops::reduce::{Broadcast, Reduce, Reduction};
use crate::ops::running_update::RunningUpdate;
use crate::ops::scale::Scale;
use crate::ops::track::{MAX_BATCH, Track};
use crate::ops::unary::{Clip, Unary};
use crate::ops::update::{Accumulate, BLOCK, Coefficients, Follow, HYPER, Update, factors_type};
use crate::ops::view::View;
use crate::tensor::{DType, Shape, Tensor, TensorType};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Pages of parameters, each with a value.
type ByPage = Vec<(usize, Value)>;

/// States that count loss and correct predictions, and tell of a loss that isn't finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters<'a> {
    pub metrics: &'a str,
    pub health: &'a str,
}

/// Counters of training.
pub(super) const TRAINING: Counters<'static> = Counters { metrics: "training/metrics", health: "training/health" };
/// Counters of evaluation, which may take place in the midst of training.
pub(super) const EVALUATION: Counters<'static> = Counters { metrics: "evaluation/metrics", health: "evaluation/health" };

impl Counters<'_> {
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

/// Names of the counters of a measure that evaluation takes besides the loss.
#[derive(Clone, Debug)]
pub(super) struct Extra {
    metrics: String,
    health: String,
}

/// The names for a measure.
pub(super) fn extra(metric: Metric) -> Extra {
    Extra { metrics: format!("evaluation/{metric:?}/metrics"), health: format!("evaluation/{metric:?}/health") }
}

impl Extra {
    /// The counters, of which the first is the measure's.
    pub fn counters(&self) -> Counters<'_> {
        Counters { metrics: &self.metrics, health: &self.health }
    }
}

/// The state that counts what each class was taken for.
pub(super) fn confusion_name(classes: usize) -> String {
    format!("evaluation/confusion/{classes}")
}

/// What a batch's outputs and targets are for measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// The loss of each sample, `[n]`.
    pub loss: Value,
    /// The share of each sample that is right, `[n]`; of numbers 0.
    pub correct: Value,
    /// The outputs, a column a class.
    columns: Value,
    /// The outputs as they are.
    outputs: Value,
    /// Targets as the data set has them, and as numbers.
    targets: Value,
    values: Option<Value>,
}

/// Adds a loss, each sample's times its weight, and the sum of the layers' penalties to that of each sample.
pub(super) fn add_loss(graph: &mut Graph, y: Value, batch: &Batch, loss: &dyn Loss, penalties: &[Value]) -> Result<Measured> {
    graph.set_scope("loss");
    let targets = batch.targets;
    let ty = graph.type_of(y).clone();
    let by_index = graph.type_of(targets).dtype == DType::U32;
    let by_class = by_index || batch.mixed;
    let values = if by_index { None } else { Some(targets) };
    let (target, values) = match loss.target() {
        Target::Values if by_index => {
            let one_hot = add_one_hot(graph, targets, &ty)?;
            (one_hot, Some(one_hot))
        }
        _ => (targets, values),
    };
    let weights = match loss.class_weights().len() {
        0 => None,
        n => Some(graph.state(&weights_name(n), TensorType::f32([n]))?),
    };
    let mut each = loss.add(graph, &LossInputs { outputs: y, target, weights })?;
    if let Some(weights) = batch.weights {
        each = graph.node(Binary::<Mul>::new(), &[each, weights])?;
    }
    let shape = graph.type_of(each).shape.clone();
    for &penalty in penalties {
        let scalar = graph.node(View::reshape([]), &[penalty])?;
        let all = graph.node(Broadcast { reduction: Reduction::Sum, axes: 0..1, shape: shape.clone() }, &[scalar])?;
        each = graph.node(Binary::<Add>::new(), &[each, all])?;
    }
    let (mut columns, mut labels) = (y, targets);
    let is_class = by_class || loss.target() == Target::Class;
    if by_class && ty.shape.last() == 1 {
        // One output for two classes: class 1 from where it is more likely.
        let value = if loss.takes_logits() { 0.0 } else { 0.5 };
        let half = graph.node(Fill { value, shape: ty.shape.clone() }, &[])?;
        columns = graph.node(Concat { axis: ty.shape.rank() - 1 }, &[half, y])?;
        if batch.mixed {
            let half = graph.node(Fill { value: 0.5, shape: ty.shape.clone() }, &[])?;
            labels = graph.node(Concat { axis: ty.shape.rank() - 1 }, &[half, targets])?;
        }
    }
    let correct = if is_class { add_hits(graph, columns, labels, 1)? } else { graph.node(Scale { factor: 0.0 }, &[each])? };
    Ok(Measured { loss: each, correct, columns, outputs: y, targets, values })
}

/// Whether a batch's measures are means over labels, of which batches of as many samples may have more or less: pixels without a label, and
/// classes with weights.
pub(super) fn averages_labels(data: &Dataset, loss: &dyn Loss) -> bool {
    let weighted = loss.averages_labels() && !loss.class_weights().is_empty();
    matches!(data.targets(), Targets::Maps { .. }) || (weighted && data.has_labels())
}

/// The share of each sample whose label is among the `k` most probable classes.
fn add_hits(graph: &mut Graph, columns: Value, targets: Value, k: usize) -> Result<Value> {
    let hits = graph.node(Accuracy { k }, &[columns, targets])?;
    let rank = graph.type_of(hits).shape.rank();
    match graph.type_of(targets).dtype {
        DType::U32 if rank > 1 => mean_by_label(graph, hits, targets, None),
        _ if rank > 1 => graph.node(Reduce { reduction: Reduction::Mean, axes: 1..rank }, &[hits]),
        _ => Ok(hits),
    }
}

/// Classes as shares of all of them, which can be mixed.
pub(super) fn add_shares(graph: &mut Graph, labels: Value, outputs: &Shape) -> Result<Value> {
    let n = graph.type_of(labels).elements();
    add_one_hot(graph, labels, &TensorType::f32(outputs.with_batch(n)))
}

/// Classes as numbers of the shape of the outputs.
fn add_one_hot(graph: &mut Graph, labels: Value, outputs: &TensorType) -> Result<Value> {
    let columns = outputs.shape.last();
    let rows = graph.state(&one_hot_name(columns), TensorType::f32([columns.max(2), columns]))?;
    let n = graph.type_of(labels).elements();
    let flat = if graph.type_of(labels).shape.rank() > 1 { graph.node(View::reshape([n]), &[labels])? } else { labels };
    let values = graph.node(GatherRows::default(), &[rows, flat])?;
    graph.node(View::reshape(outputs.shape.clone()), &[values])
}

/// The state of one-hot rows: row `i` is that of class `i`. One column is that of class 1 of two.
fn one_hot_name(columns: usize) -> String {
    format!("one_hot/{columns}")
}

fn weights_name(classes: usize) -> String {
    format!("loss/class_weights/{classes}")
}

impl Model {
    /// Fails unless the model can learn from this data set with this loss, from samples that are changed so. Makes what the loss needs on the device.
    pub(super) async fn prepare(&mut self, data: &Dataset, loss: &dyn Loss, augmentation: Option<&Augmentation>) -> Result<()> {
        match augmentation {
            Some(augmentation) => self.check_augmentation(data, augmentation)?,
            None => self.check_images(data)?,
        }
        self.check_outputs(loss)?;
        let (outputs, last) = (self.output_shape().clone(), self.network.last_name().to_string());
        let of_model = |what: &str, got: &dyn ToString, want: &dyn ToString| {
            let want = format!("{}, the outputs of the model's last layer '{last}'", want.to_string());
            Err(Error::invalid(what, got.to_string(), want).at(data.name()))
        };
        let columns = outputs.last();
        let binary = columns == 1 && data.classes() == 2 && loss.target() == Target::Values;
        match data.targets() {
            Targets::Classes { .. } => {
                let classes = self.classes()?;
                if data.classes() != classes && !binary {
                    return of_model("number of classes", &data.classes(), &classes);
                }
            }
            Targets::Maps { maps, classes } => {
                let want = Shape::from([&maps.shape().dims()[1..], &[*classes]].concat());
                let of_pixels = outputs.rank() == 3 && outputs.dims()[..2] == want.dims()[..2];
                if outputs != want && !(binary && of_pixels) {
                    return of_model("height, width and classes", &want, &outputs);
                }
            }
            Targets::Values(values) => {
                let got = Shape::from(&values.shape().dims()[1..]);
                if got != outputs {
                    return of_model("shape of the values", &got, &outputs);
                }
            }
        }
        let weights = loss.class_weights();
        if !weights.is_empty() {
            if weights.len() != columns {
                return of_model("number of class weights", &weights.len(), &columns);
            }
            self.runtime.set_state(&weights_name(columns), &Tensor::f32([columns], weights.to_vec())?).await?;
        }
        let mixes = augmentation.is_some_and(Augmentation::mixes);
        if (mixes || loss.target() == Target::Values) && data.classes() > 0 {
            let rows = match columns {
                1 => vec![0.0, 1.0],
                c => (0..c * c).map(|i| if i / c == i % c { 1.0 } else { 0.0 }).collect(),
            };
            self.runtime.set_state(&one_hot_name(columns), &Tensor::f32([columns.max(2), columns], rows)?).await?;
        }
        Ok(())
    }

    /// Fails unless samples that are changed so are what the model takes.
    fn check_augmentation(&self, data: &Dataset, augmentation: &Augmentation) -> Result<()> {
        let (image, want) = (data.image_shape(), &self.network.input()?.shape);
        augmentation.check(&image).map_err(|e| e.at("augmentation"))?;
        let got = augmentation.output_shape(&image);
        if got != *want {
            let got = if got == image { got.to_string() } else { format!("{got}, made of {image}") };
            return Err(Error::invalid("image shape", got, format!("{want}, the model's input")).at(data.name()));
        }
        if augmentation.changes_maps() && matches!(data.targets(), Targets::Maps { .. }) {
            let want = "only colours, noise and cut-outs: classes of pixels don't move along";
            return Err(
                Error::invalid("augmentation", "pixels that move, of a data set with a class a pixel", want).at(data.name())
            );
        }
        if self.network.inputs[0].rows.is_some() {
            return Err(Error::invalid("augmentation", "samples that are numbers of rows", "pictures").at(data.name()));
        }
        Ok(())
    }

    /// Fails unless the outputs are what the loss takes.
    pub(super) fn check_outputs(&self, loss: &dyn Loss) -> Result<()> {
        self.only_output()?;
        if loss.takes_logits() && self.network.ends_in_softmax() {
            let want = "no softmax: the loss applies it itself, and `predict_probabilities` does for predictions";
            return Err(Error::invalid("last layer", "softmax", want).at(self.network.last_name()));
        }
        Ok(())
    }

    /// The type of `n` targets for a loss, where there is no data set yet.
    pub(super) fn likely_targets(&self, loss: &dyn Loss, n: usize) -> TensorType {
        let outputs = self.output_shape();
        match (loss.target(), outputs.dims()) {
            (Target::Class, [rest @ .., _]) => TensorType::u32(Shape::from(rest).with_batch(n)),
            _ => TensorType::f32(outputs.with_batch(n)),
        }
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
        let hyper = graph.input("hyper", TensorType::f32([HYPER]))?;
        let batch = add_batch(&mut graph)?;
        let (y, mut pages) = self.forward(&mut graph, Mode::Training, batch.images, Some(step))?;
        let Measured { loss: each, correct, .. } = add_loss(&mut graph, y, &batch, loss, pages.penalties())?;
        let mean = graph.node(Reduce::all(Reduction::Mean, 1), &[each])?;
        let views = pages.trained_views();
        if views.is_empty() {
            return Err(Error::invalid("parameters", "none", "a layer with parameters, to train"));
        }
        let gradients: HashMap<Value, Value> = views.iter().copied().zip(graph.gradients(mean, &views)?).collect();
        // Before the updates: they do nothing where the loss is found not to be finite.
        let health = TRAINING.add(&mut graph, each, correct, step)?;
        self.add_running_updates(&mut graph, &mut pages, health)?;
        let (accumulation, of_pages) = self.add_gradients(&mut graph, &pages, &gradients, (fit, health))?;
        graph.set_scope(optimizer.name());
        let hyper_now = match fit.clip_norm {
            Some(max_norm) => {
                let inputs: Vec<Value> = std::iter::once(hyper).chain(of_pages.iter().map(|(_, g)| *g)).collect();
                graph.node(ClipNorm { max_norm }, &inputs)?
            }
            None => hyper,
        };
        for (page, g) in of_pages {
            let len = self.layout.pages[page].len;
            let p = pages.page(&mut graph, page)?;
            let mut moments = Vec::new();
            for name in optimizer.moments() {
                moments.push(graph.state(&moment_name(optimizer, name, page), TensorType::f32([len]))?);
            }
            let factors = match fit.decay_weights_only {
                true => Some(graph.state(&factors_name(page), factors_type(len))?),
                false => None,
            };
            let pieces = graph.state(&pieces_name(page), TensorType::u32([self.pieces(page).len(), 2]))?;
            let p = optimizer.update(&mut graph, &Page { p, moments, g, hyper: hyper_now, health, factors, pieces })?;
            if let Some(decay) = fit.average {
                let average = graph.state(&average_name(page), TensorType::f32([len]))?;
                let follow = Update::<Follow>::new(Coefficients { beta1: decay, ..Coefficients::default() });
                graph.node(follow, &[average, p, hyper, health])?;
            }
        }
        let kept = [mean];
        let outputs = if keep_loss { &kept[..] } else { &[] };
        graph.fuse(outputs);
        graph.recompute(fit.recompute, outputs);
        let plan = self.device().plan(graph, outputs).map_err(|e| hint(e, n))?;
        let y = keep_loss.then_some(mean);
        let ports = Ports {
            data: Some(batch.ports),
            changes: batch.changes,
            step: Some(step),
            hyper: Some(hyper),
            accumulation,
            y,
            ..Ports::default()
        };
        Ok((plan, ports))
    }

    /// The gradients of each page, side by side, with those of the batches before where they are summed up, and cut off. The numbers
    /// of the sum are fed.
    fn add_gradients(
        &self,
        graph: &mut Graph,
        pages: &Pages,
        gradients: &HashMap<Value, Value>,
        (fit, health): (&Fit, Value),
    ) -> Result<(Option<Value>, ByPage)> {
        graph.set_scope("gradients");
        let accumulation = match fit.accumulate {
            1 => None,
            _ => Some(graph.input("accumulation", TensorType::f32([HYPER]))?),
        };
        let mut of_pages = Vec::new();
        for page in self.layout.trained_pages() {
            let len = self.layout.pages[page].len;
            let parts = pages.pieces_in(page).into_iter().map(|(offset, view)| (offset, gradients[&view]));
            let (offsets, parts): (Vec<usize>, Vec<Value>) = parts.unzip();
            let mut g = graph.node(Pack { offsets, len }, &parts)?;
            if let Some(accumulation) = accumulation {
                let sum = graph.state(&sum_name(page), TensorType::f32([len]))?;
                g = graph.node(Update::<Accumulate>::default(), &[sum, g, accumulation, health])?;
            }
            if let Some(most) = fit.clip_value {
                let most = f64::from(most);
                g = graph.node(Unary(Clip { low: -most, high: most }), &[g])?;
            }
            of_pages.push((page, g));
        }
        Ok((accumulation, of_pages))
    }

    /// The parameters, or their parts, in a page: first element and elements with the gap after it, and whether weight decay is meant
    /// for them.
    fn pieces(&self, page: usize) -> Vec<(Range<usize>, bool)> {
        let all = self.layout.parameters.iter().flat_map(|p| p.pieces.iter().map(move |piece| (p, piece)));
        let mut pieces: Vec<_> =
            all.filter(|(_, piece)| piece.page == page).map(|(p, piece)| (piece.offset, p.shape.rank() > 1)).collect();
        pieces.sort_unstable();
        let ends: Vec<usize> = pieces.iter().skip(1).map(|(start, _)| *start).chain([self.layout.pages[page].len]).collect();
        pieces.into_iter().zip(ends).map(|((start, decays), end)| (start..end, decays)).collect()
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

    /// Sets what updates keep to what it is at the start of training.
    pub(super) async fn reset_updates(&mut self, fit: &Fit) -> Result<()> {
        let optimizer = &*fit.optimizer;
        for page in self.layout.trained_pages().collect::<Vec<_>>() {
            let len = self.layout.pages[page].len;
            let moment = Tensor::f32([len], vec![optimizer.initial_moment(); len])?;
            for name in optimizer.moments() {
                self.runtime.set_state(&moment_name(optimizer, name, page), &moment).await?;
            }
            if fit.accumulate > 1 {
                self.runtime.set_state(&sum_name(page), &Tensor::zeros(&TensorType::f32([len]))).await?;
            }
            let pieces = self.pieces(page);
            let in_blocks = |r: &Range<usize>| [(r.start / BLOCK) as u32, (r.end.div_ceil(BLOCK) - r.start / BLOCK) as u32];
            if optimizer.tells_tensors_apart() {
                let table: Vec<u32> = pieces.iter().flat_map(|(range, _)| in_blocks(range)).collect();
                self.runtime.set_state(&pieces_name(page), &Tensor::u32([pieces.len(), 2], table)?).await?;
            }
            if fit.decay_weights_only {
                let mut factors = vec![1.0; factors_type(len).elements()];
                for (range, decays) in &pieces {
                    for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
                        factors[2 * block + 1] = if *decays { 1.0 } else { 0.0 };
                    }
                }
                self.runtime.set_state(&factors_name(page), &Tensor::f32(factors_type(len).shape, factors)?).await?;
            }
            if fit.average.is_some() {
                let p = self.runtime.state(&self.layout.page_name(page)).await?;
                self.runtime.set_state(&average_name(page), &p).await?;
            }
        }
        self.trained.averaged = fit.average.is_some();
        Ok(())
    }

    /// Puts the moving average that [`Fit::average`] kept in the last call of `fit` in the place of the parameters, and them in its place;
    /// so a second call puts all back. Running means of batch norm stay as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the last call of `fit` kept none; [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn swap_average(&mut self) -> Result<()> {
        pollster::block_on(self.swap_average_async())
    }

    /// [`Model::swap_average`] for programs that mustn't block.
    pub async fn swap_average_async(&mut self) -> Result<()> {
        if !self.trained.averaged {
            return Err(Error::invalid("average of the parameters", "none", "a call of `fit` with `Fit::average`"));
        }
        for page in self.layout.trained_pages().collect::<Vec<_>>() {
            let (p, average) = (self.layout.page_name(page), average_name(page));
            let (old, new) = (self.runtime.state(&p).await?, self.runtime.state(&average).await?);
            self.runtime.set_state(&p, &new).await?;
            self.runtime.set_state(&average, &old).await?;
        }
        Ok(())
    }

    /// The evaluation of a batch of `n`: forward, loss, metrics.
    pub(super) fn plan_evaluation(
        &self,
        n: usize,
        data: &Dataset,
        source: Source,
        loss: &dyn Loss,
        metrics: &[Metric],
    ) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let step = graph.input("step", TensorType::u32([1]))?;
        let batch = add_batch(&mut graph, data, source, n)?;
        let (y, pages) = self.forward(&mut graph, Mode::Inference, batch.images, None)?;
        let mut measured = add_loss(&mut graph, y, &batch, loss, pages.penalties())?;
        let shares = match averages_labels(data, loss) {
            true => Some([
                graph.input("share of the loss", TensorType::f32([1]))?,
                graph.input("share of the hits", TensorType::f32([1]))?,
            ]),
            false => None,
        };
        if let Some([of_loss, of_hits]) = shares {
            measured.loss = graph.node(Binary::<Mul>::new(), &[measured.loss, of_loss])?;
            measured.correct = graph.node(Binary::<Mul>::new(), &[measured.correct, of_hits])?;
        }
        let health = EVALUATION.add(&mut graph, measured.loss, measured.correct, step)?;
        for metric in metrics {
            let Measured { columns, outputs, targets, values, .. } = measured;
            let each = match *metric {
                Metric::TopK(k) => {
                    let hits = add_hits(&mut graph, columns, targets, k)?;
                    shares.map_or(Ok(hits), |[_, share]| graph.node(Binary::<Mul>::new(), &[hits, share]))?
                }
                Metric::MeanAbsoluteError => {
                    let values = match values {
                        Some(values) => values,
                        None => {
                            return Err(Error::invalid("metric", "MeanAbsoluteError", "a loss of numbers, as MeanSquaredError"));
                        }
                    };
                    graph.node(ElementLoss::<AbsoluteError>::default(), &[outputs, values])?
                }
                Metric::Confusion => {
                    let c = graph.type_of(columns).shape.last();
                    let counts = graph.state(&confusion_name(c), TensorType::u32([c, c]))?;
                    graph.node(Confusion, &[counts, health, columns, targets])?;
                    continue;
                }
            };
            extra(*metric).counters().add(&mut graph, each, each, step)?;
        }
        graph.fuse(&[]);
        let plan = self.device().plan(graph, &[])?;
        Ok((plan, Ports { data: Some(batch.ports), step: Some(step), shares, ..Ports::default() }))
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
        let targets = self.likely_targets(&*fit.loss, fit.batch);
        let samples = |graph: &mut Graph| add_host_batch(graph, self.input_shape(), targets);
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

pub(super) fn moment_name(optimizer: &dyn Optimizer, moment: &str, page: usize) -> String {
    format!("{}/{moment}/{page}", optimizer.name())
}

pub(super) fn sum_name(page: usize) -> String {
    format!("gradients/sum/{page}")
}

pub(super) fn average_name(page: usize) -> String {
    format!("average/{page}")
}

fn factors_name(page: usize) -> String {
    format!("training/factors/{page}")
}

fn pieces_name(page: usize) -> String {
    format!("training/pieces/{page}")
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
