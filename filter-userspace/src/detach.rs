//! Taking the filter off while no daemon runs.

use std::path::Path;

use crate::config::{DEFAULT_CONFIG, DEFAULT_PIN};
use crate::control::protocol::{Detached, Failure};
use crate::daemon::{build, misconfigured, refused};
use crate::io::kernel;

/// Removes every pin, link and map that a daemon left where `config`, or the
/// default configuration, says. Without a configuration file, the default
/// directory is looked at. Finding nothing is no error.
///
/// # Errors
///
/// If something of it could not be removed, or `config` cannot be read.
pub fn run(config: Option<&Path>) -> Result<Detached, Failure> {
    let default = Path::new(DEFAULT_CONFIG);
    let pins = match config {
        None if !default.exists() => Path::new(DEFAULT_PIN).to_owned(),
        _ => {
            let config = build::read_config(config.unwrap_or(default));
            config.map_err(|errors| misconfigured(&errors))?.filter.pin
        }
    };
    let interfaces = kernel::detach_pinned(&pins).map_err(|error| refused(&error))?;
    Ok(Detached { interfaces })
}
