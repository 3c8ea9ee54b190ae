//! What the examples share.

/// Shows the crate's warnings on stderr; `RUST_LOG=striate=info` shows more.
pub fn start_logging() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).format_target(false).init();
}
