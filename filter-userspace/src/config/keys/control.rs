//! `[control]`: the control socket.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};
use crate::config::values::read_absolute;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "The control socket", sections: &["control"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("control");

keys! {
    /// The socket on which the command line reaches the daemon; root only
    restart SOCKET = "socket";
}

/// The longest path of a unix socket, in bytes (unix(7), less its zero).
const SOCKET_PATH: usize = 107;

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Control {
    /// The socket.
    pub socket: PathBuf,
}

/// Reads `[control]`.
pub(in crate::config) fn read(section: Section<'_>) -> Control {
    let kind = format!("absolute path of at most {SOCKET_PATH} bytes");
    section.describe(SOCKET, &kind, "");
    let socket = read_absolute(&section, SOCKET, "/run/mxdp/mxdp.sock");
    if socket.as_os_str().len() > SOCKET_PATH {
        let message = format!("is longer than {SOCKET_PATH} bytes, which no socket may be");
        section.wrong(SOCKET, message);
    }
    section.finish();
    Control { socket }
}
