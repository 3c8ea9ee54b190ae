//! What the examples share.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::process::exit;

/// `println!` for programs whose output is piped: the standard one panics when the reader leaves.
macro_rules! println {
    () => { println!("") };
    ($($text:tt)*) => { $crate::common::print_line(format_args!($($text)*)) };
}

/// Prints a line. Where the reader has had enough (`| head`), the program ends as others do then: by SIGPIPE, for a shell status 141.
pub fn print_line(text: fmt::Arguments<'_>) {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => exit(141),
        Err(e) => {
            eprintln!("can't write the output: {e}");
            exit(1);
        }
    }
}

/// Shows the crate's warnings on stderr; `RUST_LOG=striate=info` shows more.
pub fn start_logging() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).format_target(false).init();
}
