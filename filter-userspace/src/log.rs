//! Where log lines go: standard error, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Format, Level, Log};

/// Starts logging as the configuration says. `MXDP_LOG` overrides the level, in
/// the syntax of tracing-subscriber's directives. The second call does nothing.
pub fn start(log: Log) {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    // Libraries speak up when something is wrong; the kernel program's own lines
    // are asked for by filter.debug.
    let directives = format!("warn,mxdp={level},filter_ebpf=trace");
    let filter = EnvFilter::try_from_env("MXDP_LOG").unwrap_or_else(|_| EnvFilter::new(directives));
    let is_plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!is_plain);
    let started = match log.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
    // Another subscriber is there already, as in a test.
    _ = started;
}
