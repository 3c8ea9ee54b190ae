//! How each network is trained if nobody says otherwise.

use crate::networks::Network;
use crate::{Decay, Optimizer};

/// What suits a network.
pub struct Recipe {
    pub optimizer: Optimizer,
    pub lr: Option<f64>,
    pub schedule: Decay,
    pub batch: usize,
}

impl Recipe {
    /// Optimizer, learning rate, its schedule and batch size where none are given.
    pub fn of(network: Network) -> Recipe {
        let (optimizer, lr, schedule, batch) = match network {
            Network::Softmax => (Optimizer::Sgd, Some(0.5), Decay::Constant, 100),
            Network::Sigmoid => (Optimizer::Adam, Some(0.003), Decay::Cosine, 100),
            Network::Kth => (Optimizer::Adam, Some(0.001), Decay::Cosine, 100),
            // As in the course that it comes from.
            Network::Das => (Optimizer::Adadelta, None, Decay::Constant, 128),
            _ => (Optimizer::Adam, Some(0.002), Decay::Cosine, 64),
        };
        Recipe { optimizer, lr, schedule, batch }
    }
}
