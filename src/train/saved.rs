//! What is in a checkpoint's file: tensors under names, and a JSON text in the metadata.

use super::callback::CallbackState;
use super::exact::Exact;
use super::fit::{Epoch, Fit, History, Validation};
use super::monitor::{Record, Watch};
use super::run::Position;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::io::safetensors::{decode, encode_with_digest, in_file, sha256};
use crate::nn::Model;
use crate::tensor::{Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The metadata's entry.
const ENTRY: &str = "striate.checkpoint";
/// Of the file. It changes when a reader of this one would go wrong.
const FORMAT: u32 = 1;

/// Names of tensors besides the weights, which have none with a `/`.
const COUNTERS: &str = "training/counters";
const STEP_LOSSES: &str = "training/step_losses";
/// What [`EarlyStopping`](super::EarlyStopping) restores.
const BEST: &str = "best/";
pub(super) const AVERAGE: &str = "average/";
const CALLBACKS: &str = "callbacks/";

/// A parameter or running mean of the model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Described {
    name: String,
    shape: Vec<usize>,
}

/// The JSON text.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    weights: Vec<Described>,
    /// What must be the same in a run that goes on from here, by name.
    settings: Vec<(String, String)>,
    position: Position,
    watch: Watch,
    best: Record,
    /// Names and texts of the callbacks.
    callbacks: Vec<(String, String)>,
}

/// All that training needs to go on.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    weights: Vec<Described>,
    settings: Vec<(String, String)>,
    pub position: Position,
    pub watch: Watch,
    /// Of the best model that was written.
    pub best: Record,
    /// By their names.
    pub callbacks: Vec<(String, CallbackState)>,
    /// Sums over the epoch so far, f32 `[2]`.
    pub counters: Tensor,
    /// Weights, and what training keeps beside them, by their names in files.
    pub tensors: BTreeMap<String, Tensor>,
    /// Those of the best time, for early stopping.
    pub best_tensors: BTreeMap<String, Tensor>,
}

/// What a model and settings are, as far as a run depends on them: where one of these differs, a run can't go on from a checkpoint.
fn settings(model: &Model, train: &Dataset, fit: &Fit) -> Vec<(String, String)> {
    let layers = |only_frozen: bool| {
        let names = model.network.layer_names().filter(|(_, trainable)| !(only_frozen && *trainable)).map(|(name, _)| name);
        let names = names.collect::<Vec<_>>().join(", ");
        if names.is_empty() { "none".to_string() } else { names }
    };
    let labels = train.labels().iter().flat_map(|label| label.to_le_bytes());
    let weights = train.weights().into_iter().flatten().flat_map(|weight| weight.to_le_bytes());
    let digest = sha256([&labels.chain(weights).collect::<Vec<u8>>()[..]]);
    // What says most comes first: the first that differs is what a user is told of.
    let mut all = vec![
        ("layers", layers(false)),
        ("frozen layers", layers(true)),
        ("seed", model.network.seed.0.to_string()),
        ("number of training samples", train.len().to_string()),
        ("labels and weights of the training samples, as a digest", digest),
        ("normalisation of the training samples", format!("scale {:?}, offset {:?}", train.scale(), train.offset())),
    ];
    all.extend(fit.settings());
    all.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn described(model: &Model) -> Vec<Described> {
    let describe = |(name, shape): (String, Shape)| Described { name, shape: shape.dims().to_vec() };
    model.weight_shapes().into_iter().map(describe).collect()
}

impl Saved {
    /// Of a model in training, without what is read from its device and from callbacks.
    pub fn new(model: &Model, train: &Dataset, fit: &Fit, position: Position, counters: Tensor) -> Saved {
        Saved {
            weights: described(model),
            settings: settings(model, train, fit),
            position,
            watch: Watch::default(),
            best: Record::default(),
            callbacks: Vec::new(),
            counters,
            tensors: BTreeMap::new(),
            best_tensors: BTreeMap::new(),
        }
    }

    /// The bytes of a file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let Saved { weights, settings, position, watch, best, callbacks, counters, tensors, best_tensors } = self;
        let header = Header {
            format: FORMAT,
            weights: weights.clone(),
            settings: settings.clone(),
            position: position.clone(),
            watch: *watch,
            best: *best,
            callbacks: callbacks.iter().map(|(name, state)| (name.clone(), state.text.clone())).collect(),
        };
        let mut all: Vec<(String, Tensor)> = tensors.clone().into_iter().collect();
        all.push((COUNTERS.to_string(), counters.clone()));
        all.extend(best_tensors.iter().map(|(name, tensor)| (format!("{BEST}{name}"), tensor.clone())));
        for (i, (_, state)) in callbacks.iter().enumerate() {
            all.extend(state.tensors.iter().map(|(name, tensor)| (format!("{CALLBACKS}{i}/{name}"), tensor.clone())));
        }
        let losses = &position.history.step_losses;
        if !losses.is_empty() {
            all.push((STEP_LOSSES.to_string(), Tensor::f32([losses.len()], losses.clone())?));
        }
        let text = serde_json::to_string(&header).map_err(|e| Error::invalid("checkpoint", e, "what JSON can say"))?;
        encode_with_digest(&all, HashMap::from([(ENTRY.to_string(), text)]))
    }

    /// Reads a file. The inner error says why it isn't a whole checkpoint.
    pub fn read(path: &Path) -> Result<Result<Saved, String>> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
        Ok(Saved::decode(&bytes))
    }

    fn decode(bytes: &[u8]) -> Result<Saved, String> {
        let contents = decode(bytes)?;
        let Some(text) = contents.texts.get(ENTRY).filter(|_| contents.has_digest()) else {
            return Err("not a checkpoint".to_string());
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let wrong = |e: serde_json::Error| format!("not a checkpoint that this version can read: {e}");
        let Version { format } = serde_json::from_str(text).map_err(wrong)?;
        if format != FORMAT {
            return Err(format!("a checkpoint of format {format}; this version reads format {FORMAT}"));
        }
        let header: Header = serde_json::from_str(text).map_err(wrong)?;
        let mut position = header.position;
        let state = |(name, text)| (name, CallbackState { text, tensors: Vec::new() });
        let mut callbacks: Vec<(String, CallbackState)> = header.callbacks.into_iter().map(state).collect();
        let (mut tensors, mut best_tensors, mut counters) = (BTreeMap::new(), BTreeMap::new(), None);
        for (name, tensor) in contents.tensors {
            if name == COUNTERS {
                counters = Some(tensor);
            } else if name == STEP_LOSSES {
                position.history.step_losses = tensor.as_f32().map_err(|e| e.to_string())?.to_vec();
            } else if let Some(name) = name.strip_prefix(BEST) {
                best_tensors.insert(name.to_string(), tensor);
            } else if let Some((i, name)) = name.strip_prefix(CALLBACKS).and_then(|rest| rest.split_once('/')) {
                let callback = i.parse().ok().and_then(|i: usize| callbacks.get_mut(i));
                let (_, state) = callback.ok_or_else(|| format!("a tensor of callback {i}, which it doesn't have"))?;
                state.tensors.push((name.to_string(), tensor));
            } else {
                tensors.insert(name, tensor);
            }
        }
        let counters = counters.ok_or("a checkpoint without counters")?;
        let Header { weights, settings, watch, best, .. } = header;
        Ok(Saved { weights, settings, position, watch, best, callbacks, counters, tensors, best_tensors })
    }

    /// Fails, saying what differs, unless training can go on from here with this model, data set and settings.
    pub fn check(&self, model: &Model, train: &Dataset, fit: &Fit) -> Result<()> {
        let weights = described(model);
        if self.weights != weights {
            model.matching(&self.weights("")?).complete()?;
        }
        let now = settings(model, train, fit);
        let of = |settings: &[(String, String)], name: &str| match settings.iter().find(|(n, _)| n == name) {
            Some((_, value)) => value.clone(),
            None => "none".to_string(),
        };
        for (name, _) in now.iter().chain(&self.settings) {
            let (got, want) = (of(&self.settings, name), of(&now, name));
            if got != want {
                return Err(Error::invalid(name, got, format!("{want}, as in this call of `fit`")));
            }
        }
        Ok(())
    }

    /// The weights by their names in the model, each the one that lies under this prefix, if there is one.
    fn weights(&self, prefix: &str) -> Result<Vec<(String, Tensor)>> {
        let weight = |d: &Described| {
            let name = in_file(&d.name);
            match self.tensors.get(&format!("{prefix}{name}")).or_else(|| self.tensors.get(&name)) {
                Some(tensor) => Ok((d.name.clone(), tensor.clone())),
                None => Err(Error::invalid("tensor", "none", format!("shape {:?}", d.shape)).at(&d.name)),
            }
        };
        self.weights.iter().map(weight).collect()
    }
}

/// What a checkpoint has for those who don't want to go on with it: see [`read_checkpoint`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The weights at that time, for [`Model::set_weights`].
    pub weights: Vec<(String, Tensor)>,
    /// The same with the average of the parameters in their places, if [`Fit::average`] kept one.
    pub averaged: Option<Vec<(String, Tensor)>>,
    /// Epochs that were through.
    pub epoch: usize,
    /// Batches of the next epoch that were through.
    pub batch: usize,
    /// What training had come to.
    pub history: History,
}

/// Reads a checkpoint's file ([`Checkpoints`](super::Checkpoints)).
///
/// # Errors
/// [`Error::File`] for a file that can't be read, that isn't a checkpoint, or of which a bit has changed since it was written.
pub fn read_checkpoint(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    let saved = Saved::read(path)?.map_err(|why| Error::file(path, why))?;
    let has_average = saved.tensors.keys().any(|name| name.starts_with(AVERAGE));
    Ok(Checkpoint {
        weights: saved.weights("")?,
        averaged: if has_average { Some(saved.weights(AVERAGE)?) } else { None },
        epoch: saved.position.epoch,
        batch: saved.position.batch,
        history: saved.position.history,
    })
}

/// The bytes of a file with weights and a digest.
pub(super) fn encode_weights(weights: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let named: Vec<(String, Tensor)> = weights.iter().map(|(name, tensor)| (in_file(name), tensor.clone())).collect();
    encode_with_digest(&named, HashMap::new())
}

/// [`History`] in JSON, but for the losses of single steps.
pub(super) mod history {
    use super::{Epoch, Exact, History, Validation};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Numbers = (u64, [Exact; 5], [Option<Exact>; 2]);

    #[derive(Serialize, Deserialize)]
    struct Record {
        epochs: Vec<Numbers>,
        validations: Vec<(u64, usize, [Exact; 2])>,
        steps: u64,
        first_step_seconds: Exact,
        failed_checkpoints: usize,
    }

    pub fn serialize<S: Serializer>(history: &History, serializer: S) -> Result<S::Ok, S::Error> {
        let epoch = |e: &Epoch| {
            let always = [e.loss, e.accuracy, e.learning_rate, e.seconds, e.images_per_second].map(Exact);
            (e.step, always, [e.val_loss, e.val_accuracy].map(|x| x.map(Exact)))
        };
        let validation = |v: &Validation| (v.step, v.epoch, [v.loss, v.accuracy].map(Exact));
        let record = Record {
            epochs: history.epochs.iter().map(epoch).collect(),
            validations: history.validations.iter().map(validation).collect(),
            steps: history.steps,
            first_step_seconds: Exact(history.first_step_seconds),
            failed_checkpoints: history.failed_checkpoints,
        };
        record.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<History, D::Error> {
        let record = Record::deserialize(deserializer)?;
        let epoch = |(step, always, validation): Numbers| {
            let [loss, accuracy, learning_rate, seconds, images_per_second] = always.map(|x| x.0);
            let [val_loss, val_accuracy] = validation.map(|x| x.map(|x| x.0));
            Epoch { step, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, images_per_second }
        };
        let validation = |(step, epoch, [loss, accuracy]): (u64, usize, [Exact; 2])| Validation {
            step,
            epoch,
            loss: loss.0,
            accuracy: accuracy.0,
        };
        Ok(History {
            epochs: record.epochs.into_iter().map(epoch).collect(),
            validations: record.validations.into_iter().map(validation).collect(),
            steps: record.steps,
            first_step_seconds: record.first_step_seconds.0,
            failed_checkpoints: record.failed_checkpoints,
            ..History::default()
        })
    }
}
