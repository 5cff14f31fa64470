//! The configuration file.

use std::path::Path;

/// A configuration of any bytes is accepted, or refused with the places of its errors.
///
/// # Panics
///
/// When it is refused without a reason, or with a place that is not in it.
pub fn config(data: &[u8]) {
    match mxdp::config::parse_bytes(data, Path::new("/nonexistent/mxdp.toml")) {
        Ok(config) => _ = config.warnings(),
        Err(errors) => {
            let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!(!errors.0.is_empty(), "refused without a reason");
            for error in &errors.0 {
                assert!(error.line <= lines, "line {} of {lines}: {error}", error.line);
                assert!(!error.message.is_empty(), "an error without words");
            }
        }
    }
}
