//! What a user sees of training: a bar on a terminal, a line an epoch everywhere. A browser has neither standard error nor output:
//! there lines go to the log.

use super::Epoch;
use super::clock::Clock;
use crate::nn::summary::grouped;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};

/// What training prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Progress {
    /// [`Progress::Bar`] if standard error is a terminal, else [`Progress::Lines`].
    #[default]
    Auto,
    /// A bar on standard error while an epoch runs, and the line of [`Progress::Lines`] after it.
    Bar,
    /// A line on standard output after each epoch: loss and accuracy, `val` those of the validation set, seconds and images a second
    /// of training. One before them if the first step took more than a second to come.
    Lines,
    /// Nothing.
    Silent,
}

/// Seconds to the first step that are worth a line.
const LONG: f64 = 1.0;

/// Sums over the samples of an epoch so far.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Sums {
    pub loss: f64,
    pub correct: f64,
    pub samples: usize,
}

impl Sums {
    pub fn loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    pub fn accuracy(&self) -> f64 {
        self.correct / self.samples as f64
    }
}

/// Prints what a [`Progress`] asks for.
pub(super) struct Reporter {
    bar: bool,
    lines: bool,
    n_epochs: usize,
    current: Option<ProgressBar>,
    last_look: Clock,
}

impl Reporter {
    pub fn new(progress: Progress, n_epochs: usize) -> Reporter {
        let progress = match progress {
            Progress::Auto if std::io::stderr().is_terminal() => Progress::Bar,
            Progress::Auto => Progress::Lines,
            other => other,
        };
        Reporter {
            bar: progress == Progress::Bar && !cfg!(target_arch = "wasm32"),
            lines: progress != Progress::Silent,
            n_epochs,
            current: None,
            last_look: Clock::start(),
        }
    }

    /// Whether it is time to look at the metrics: ten times a second for a bar, else once, to notice a NaN.
    pub fn is_due(&self) -> bool {
        self.last_look.seconds() > if self.bar { 0.1 } else { 1.0 }
    }

    /// Until the first step has ended: on a terminal a line with a clock, else nothing yet.
    pub fn start_preparing(&mut self) {
        if self.bar {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("preparing, {elapsed}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(std::time::Duration::from_secs(1));
            self.current = Some(spinner);
        }
    }

    /// `seconds` is the time to the end of the first step, of an epoch of `n_samples`.
    pub fn end_preparing(&mut self, seconds: f64, epoch: usize, n_samples: usize) {
        self.clear();
        if self.lines && seconds > LONG {
            print(&format!("first step after {seconds:.1} s"));
        }
        self.start_epoch(epoch, n_samples);
    }

    /// A line for what went wrong: where training prints nothing, in the log.
    pub fn warn(&mut self, line: &str) {
        if self.lines {
            self.note(line);
        } else {
            log::warn!("{line}");
        }
    }

    /// A line for what isn't an epoch.
    pub fn note(&mut self, line: &str) {
        match &self.current {
            _ if !self.lines => {}
            Some(bar) => bar.suspend(|| print(line)),
            None => print(line),
        }
    }

    pub fn start_epoch(&mut self, epoch: usize, n_samples: usize) {
        self.last_look = Clock::start();
        // While the first step is being prepared, that is what the terminal's line says.
        if self.bar && self.current.is_none() {
            let bar = ProgressBar::new(n_samples as u64);
            // The message is cut, as what wraps on a narrow terminal would stay there when the bar is cleared.
            if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:16}] {wide_msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(format!("epoch {}/{}", epoch + 1, self.n_epochs));
            self.current = Some(bar);
        }
    }

    pub fn update(&mut self, sums: &Sums, n_samples: usize, seconds: f64) {
        self.last_look = Clock::start();
        if let Some(bar) = &self.current {
            bar.set_message(message(sums, n_samples, seconds));
            bar.set_position(sums.samples as u64);
        }
    }

    pub fn end_epoch(&mut self, epoch: usize, result: &Epoch) {
        self.clear();
        if !self.lines {
            return;
        }
        print(&line(epoch, self.n_epochs, result));
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.clear();
    }
}

fn print(line: &str) {
    if cfg!(target_arch = "wasm32") {
        log::info!("{line}");
    } else {
        // A reader who has had enough (`| head`) doesn't end training.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

fn message(sums: &Sums, n_samples: usize, seconds: f64) -> String {
    let rate = sums.samples as f64 / seconds.max(1e-9);
    let left = ((n_samples - sums.samples.min(n_samples)) as f64 / rate).round() as u64;
    let time = format!("{}:{:02} left", left / 60, left % 60);
    let rate = grouped(rate.round() as u64);
    format!("loss {} acc {:.4} {rate} img/s {time}", number(sums.loss()), sums.accuracy())
}

/// The line of an epoch, of at most 80 columns where numbers are as they usually are.
fn line(epoch: usize, n_epochs: usize, e: &Epoch) -> String {
    let val_loss = e.val_loss.map(|loss| format!(" val {}", number(loss))).unwrap_or_default();
    let val_accuracy = e.val_accuracy.map(|accuracy| format!(" val {accuracy:.4}")).unwrap_or_default();
    // A data set of numbers has no accuracy.
    let accuracy = if e.accuracy.is_nan() { String::new() } else { format!("  acc {:.4}{val_accuracy}", e.accuracy) };
    let metrics = format!("loss {}{val_loss}{accuracy}", number(e.loss));
    let rate = grouped(e.images_per_second.round() as u64);
    format!("epoch {}/{n_epochs}  {metrics}  {:.1} s  {rate} img/s", epoch + 1, e.seconds)
}

fn number(x: f64) -> String {
    if x.abs() < 1000.0 { format!("{x:.4}") } else { format!("{x:.3e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut epoch = Epoch {
            step: 1,
            loss: 0.21529,
            accuracy: 0.93449,
            val_loss: None,
            val_accuracy: None,
            learning_rate: 0.001,
            seconds: 35.21,
            images_per_second: 11_500.3,
        };
        assert_eq!(line(0, 3, &epoch), "epoch 1/3  loss 0.2153  acc 0.9345  35.2 s  11,500 img/s");
        (epoch.val_loss, epoch.val_accuracy) = (Some(0.05), Some(0.985));
        let with_validation = line(9, 10, &epoch);
        assert_eq!(with_validation, "epoch 10/10  loss 0.2153 val 0.0500  acc 0.9345 val 0.9850  35.2 s  11,500 img/s");
        assert_eq!(with_validation.len(), 80);
        epoch.loss = 12_345.6;
        assert!(line(0, 3, &epoch).contains("loss 1.235e4 val 0.0500"));
    }

    #[test]
    fn the_bar_fits_in_80_columns() {
        let sums = Sums { loss: 999.0 * 30_000.0, correct: 30_000.0, samples: 30_000 };
        let message = message(&sums, 60_000, 0.031);
        assert_eq!(message, "loss 999.0000 acc 1.0000 967,742 img/s 0:00 left");
        // Prefix, bar, brackets and blanks.
        assert!("epoch 10/10".len() + 16 + 4 + message.len() <= 80, "{}", message.len());
    }
}
