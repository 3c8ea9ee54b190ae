//! The values of a model's parameters: reading and setting them, freezing, and models that take them over.

use super::Model;
use super::net::Net;
use super::network::Network;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor, TensorType};
use std::collections::HashMap;
use std::fmt;

/// What became of weights that needn't all be there: see [`Model::set_matching_weights`]. Its `Display` is a few lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Matching {
    /// Names that were set.
    pub matched: Vec<String>,
    /// Names of the model that were not given; they keep their values.
    pub missing: Vec<String>,
    /// Names that were given and that the model doesn't have.
    pub unexpected: Vec<String>,
    /// Names whose shapes differ, with what was given and what the model has; they keep their values.
    pub wrong_shape: Vec<(String, Shape, Shape)>,
}

impl Matching {
    /// Fails unless all of the model's weights were set and nothing was left over.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn complete(self) -> Result<()> {
        if self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty() {
            return Ok(());
        }
        Err(Error::invalid("weights", &self, "each of the model's, and no others"))
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} set", self.matched.len())?;
        let wrong = self.wrong_shape.iter().map(|(name, got, want)| format!("{name} (got {got}, want {want})")).collect();
        let lists = [("missing", &self.missing), ("unexpected", &self.unexpected), ("of another shape", &wrong)];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            let (first, rest) = names.split_at(names.len().min(8));
            write!(f, "; {} {what}: {}", names.len(), first.join(", "))?;
            if !rest.is_empty() {
                write!(f, ", ..")?;
            }
        }
        Ok(())
    }
}

impl Model {
    /// The parameters by name, `layer/weight` and `layer/bias`, in the order of the layers: convolutions `[k_h, k_w, c_in / groups, c_out]`,
    /// dense layers `[in, out]`. The running means of batch norm are among them.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn weights(&mut self) -> Result<Vec<(String, Tensor)>> {
        pollster::block_on(self.weights_async())
    }

    /// [`Model::weights`] for programs that mustn't block.
    pub async fn weights_async(&mut self) -> Result<Vec<(String, Tensor)>> {
        let pages = self.read_pages().await?;
        self.layout.parameters.iter().map(|p| Ok((p.name.clone(), p.values(&pages)?))).collect()
    }

    async fn read_pages(&mut self) -> Result<Vec<Vec<f32>>> {
        let mut pages = Vec::with_capacity(self.layout.pages.len());
        for i in 0..self.layout.pages.len() {
            pages.push(self.runtime.state(&self.layout.page_name(i)).await?.as_f32()?.to_vec());
        }
        Ok(pages)
    }

    /// Sets all parameters and running means, in any order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that the model doesn't have or that comes twice, for one that is missing, and for a tensor of
    /// another shape or type; then nothing is changed. [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn set_weights(&mut self, weights: &[(String, Tensor)]) -> Result<()> {
        pollster::block_on(self.set_weights_async(weights))
    }

    /// [`Model::set_weights`] for programs that mustn't block.
    pub async fn set_weights_async(&mut self, weights: &[(String, Tensor)]) -> Result<()> {
        let names = || self.layout.parameters.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        let mut pages = self.layout.empty();
        let mut seen = vec![false; self.layout.parameters.len()];
        for (name, tensor) in weights {
            let Some(i) = self.layout.parameters.iter().position(|p| p.name == *name) else {
                return Err(Error::invalid("weights", format!("'{name}'"), format!("names of this model: {}", names())));
            };
            if std::mem::replace(&mut seen[i], true) {
                return Err(Error::invalid("weights", format!("'{name}' twice"), "each name once"));
            }
            let p = &self.layout.parameters[i];
            tensor.tensor_type().expect("weights", &TensorType::f32(p.shape.clone())).map_err(|e| e.at(name))?;
            p.fill(&mut pages, tensor.as_f32()?);
        }
        if let Some(i) = seen.iter().position(|seen| !seen) {
            let missing = &self.layout.parameters[i].name;
            return Err(Error::invalid("weights", format!("none for '{missing}'"), format!("all of {}", names())));
        }
        self.set_pages(pages).await
    }

    /// Sets the weights whose names and shapes are the model's, and says what became of the others.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that comes twice and for a tensor of another type than f32; then nothing is changed.
    /// [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn set_matching_weights(&mut self, weights: &[(String, Tensor)]) -> Result<Matching> {
        pollster::block_on(self.set_matching_weights_async(weights))
    }

    /// [`Model::set_matching_weights`] for programs that mustn't block.
    pub async fn set_matching_weights_async(&mut self, weights: &[(String, Tensor)]) -> Result<Matching> {
        let mut given = HashMap::new();
        for (name, tensor) in weights {
            if given.insert(name.as_str(), tensor).is_some() {
                return Err(Error::invalid("weights", format!("'{name}' twice"), "each name once"));
            }
        }
        let mut pages = self.read_pages().await?;
        let result = self.matching(weights);
        for p in self.layout.parameters.iter().filter(|p| result.matched.contains(&p.name)) {
            p.fill(&mut pages, given[p.name.as_str()].as_f32().map_err(|e| e.at(&p.name))?);
        }
        self.set_pages(pages).await?;
        Ok(result)
    }

    /// How names and shapes of these weights match the model's.
    pub(crate) fn matching(&self, weights: &[(String, Tensor)]) -> Matching {
        let mut given: HashMap<&str, &Tensor> = weights.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut result = Matching::default();
        for p in &self.layout.parameters {
            match given.remove(p.name.as_str()) {
                None => result.missing.push(p.name.clone()),
                Some(tensor) if *tensor.shape() != p.shape => {
                    result.wrong_shape.push((p.name.clone(), tensor.shape().clone(), p.shape.clone()));
                }
                Some(_) => result.matched.push(p.name.clone()),
            }
        }
        let left = weights.iter().filter(|(name, _)| given.contains_key(name.as_str()));
        result.unexpected = left.map(|(name, _)| name.clone()).collect();
        result
    }

    /// Names and shapes of [`Model::weights`].
    pub fn weight_shapes(&self) -> Vec<(String, Shape)> {
        self.layout.parameters.iter().map(|p| (p.name.clone(), p.shape.clone())).collect()
    }

    /// Says whether training changes the parameters of the layers whose names match `pattern`, in which each `*` stands for any characters:
    /// `model.set_trainable("layer1.*", false)`. Returns their number. What freezing means: [`Net::trainable`].
    ///
    /// The model is loaded anew, with the same values, so data sets go to the device again.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no layer matches. [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn set_trainable(&mut self, pattern: &str, trainable: bool) -> Result<usize> {
        pollster::block_on(self.set_trainable_async(pattern, trainable))
    }

    /// [`Model::set_trainable`] for programs that mustn't block.
    pub async fn set_trainable_async(&mut self, pattern: &str, trainable: bool) -> Result<usize> {
        let mut network = self.network.clone();
        let mut n = 0;
        for layer in network.layers.iter_mut().filter(|layer| matches(pattern, &layer.name)) {
            layer.trainable = trainable;
            n += 1;
        }
        if n == 0 {
            let names: Vec<&str> = self.network.layers.iter().map(|l| l.name.as_str()).collect();
            return Err(Error::invalid("pattern", format!("'{pattern}'"), format!("one that matches of {}", names.join(", "))));
        }
        let weights = self.weights_async().await?;
        let mut model = Model::without_values(network, self.device())?;
        model.set_weights_async(&weights).await?;
        (model.trained, model.largest_batch, model.loader_threads) = (self.trained, self.largest_batch, self.loader_threads);
        *self = model;
        Ok(n)
    }

    /// The network up to one of the layers, whose layers have the names that they have here: what another head is put on. The new
    /// model takes the weights over by [`Model::set_matching_weights`].
    ///
    /// ```
    /// use striate::{Device, Seed, nn::Sequential};
    ///
    /// let device = Device::cpu();
    /// let mut digits = Sequential::new([28, 28, 1]).conv2d(8, 3).relu().flatten().dense(10).build(&device, Seed(1))?;
    /// let mut letters = digits.net_up_to("flatten")?.dense(26).named("letters").build(&device, Seed(2))?;
    /// let report = letters.set_matching_weights(&digits.weights()?)?;
    /// assert_eq!(report.matched, ["conv2d/weight", "conv2d/bias"]);
    /// letters.set_trainable("conv2d", false)?;
    /// assert_eq!(letters.parameters(), 26 * 26 * 8 * 26 + 26);
    /// # Ok::<(), striate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no layer has.
    pub fn net_up_to(&self, layer: &str) -> Result<Net> {
        self.network.net(layer)
    }

    /// A model that predicts what one of the layers gives, with a copy of the weights: a feature extractor.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no layer has. [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn features(&mut self, layer: &str) -> Result<Model> {
        pollster::block_on(self.features_async(layer))
    }

    /// [`Model::features`] for programs that mustn't block.
    pub async fn features_async(&mut self, layer: &str) -> Result<Model> {
        let net = self.net_up_to(layer)?;
        let weights = self.weights_async().await?;
        let mut model = Model::without_values(Network::new(&[&net], self.network.seed)?, self.device())?;
        let empty = model.layout.empty();
        model.set_pages(empty).await?;
        model.set_matching_weights_async(&weights).await?;
        Ok(model)
    }
}

/// Whether the pattern, in which `*` stands for any characters, is all of the name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name) in
            [("*", ""), ("*", "a"), ("a*", "a"), ("a*c", "abcc"), ("*b*", "abc"), ("a.*.w*", "a.b.c.w1"), ("a", "a")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a", "ab"), ("a*", "b"), ("a*c", "ab"), ("ab*b", "ab"), ("*b*b*", "abc")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
