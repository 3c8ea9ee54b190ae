//! Ctrl-C in programs that train.

use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the first Ctrl-C sets, so that training ends after the step; a second one ends the program.
pub fn on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            // The shell's prompt gets a line of its own.
            eprintln!();
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}
