//! The control socket itself: how it comes into being, and how it is reached.
//!
//! Step by step, because `std` binds and listens in one call, and connects
//! without a time-out.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    setsockopt, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::{TimeVal, TimeValLike};

/// How long two daemons that start at once wait for each other.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// The control socket of this process: nobody but its user (root) can connect.
///
/// Dropping it removes the file, unless another process has since put its own
/// in the place.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    identity: (u64, u64),
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon answers on it.
    #[error("mxdp is already running{}; its control socket is {}", pid_of(*.pid), path.display())]
    Running {
        /// Its process id, unless it is too busy to be asked.
        pid: Option<i32>,
        /// The socket.
        path: PathBuf,
    },
    /// Something else bears the name.
    #[error(
        "{}: is there and is not a socket, so it is left alone; \
         move it away or choose another control socket",
        path.display()
    )]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {doing}: {error}", path.display())]
    System {
        /// The socket or its folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it did not work.
        error: io::Error,
    },
}

impl ControlSocket {
    /// Makes the socket with mode 0600, and its folder (0755) if there is none.
    /// A socket that a dead daemon left behind is replaced.
    ///
    /// # Errors
    ///
    /// If a live daemon has it, if the name belongs to something else than a
    /// socket, or if the system refuses.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |doing| {
            let path = path.to_owned();
            move |error| BindError::System { path, doing, error }
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        make_folder(folder).map_err(failed("making its folder"))?;
        // From the look at the old socket to listening on the new one, nobody
        // else may do the same: both would take the other's for a dead one.
        let _alone = lock(path).map_err(failed("waiting for another start"))?;
        remove_stale(path)?;
        let listener = listen_privately(path).map_err(failed("binding"))?;
        let made = fs::symlink_metadata(path).map_err(failed("looking at it"))?;
        Ok(Self { listener, path: path.to_owned(), identity: (made.dev(), made.ino()) })
    }

    /// The listener, for a runtime that never waits in accept(2).
    pub(super) fn nonblocking_listener(&self) -> io::Result<UnixListener> {
        self.listener.set_nonblocking(true)?;
        self.listener.try_clone()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(socket = ?self.path, %error, "the control socket stays behind");
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    // Whatever the umask: other users may see that there is a socket.
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Keeps others from starting meanwhile; goes when dropped.
struct Alone {
    _held: Flock<File>,
    path: PathBuf,
}

impl Drop for Alone {
    fn drop(&mut self) {
        // While it is held: whoever waits for it sees that the name has gone, and makes
        // another. A file that cannot be removed is in nobody's way.
        _ = fs::remove_file(&self.path);
    }
}

/// Locks a file beside the socket that only its owner can open: a lock on the folder is
/// anybody's to take who can read it.
fn lock(socket: &Path) -> io::Result<Alone> {
    let mut name = socket.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let path = socket.with_file_name(name);
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => {
                let locked = held.metadata()?;
                let is_there = fs::symlink_metadata(&path)
                    .is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino()));
                if is_there {
                    return Ok(Alone { _held: held, path });
                }
            }
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            Err((_, error)) => return Err(error.into()),
        }
    }
}

/// Removes the socket of a daemon that is no more.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |doing| move |error| BindError::System { path: path.to_owned(), doing, error };
    let running = |pid| BindError::Running { pid, path: path.to_owned() };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looking at it")(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match connect_within(path, Duration::from_secs(1)) {
        Ok(stream) => Err(running(listener_pid(&stream).ok())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("removing the socket of a dead daemon"))
        }
        // It listens and is too busy to say who it is.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(running(None)),
        Err(error) => Err(failed("asking whether it is in use")(error)),
    }
}

fn pid_of(pid: Option<i32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// The connections that the kernel keeps while the daemon's hands are full.
const BACKLOG: i32 = 128;

/// A listener at `path` whose file has mode 0600 from its first moment.
fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    let fd = stream()?;
    // Linux gives the file the mode of the socket's own inode, less the umask
    // (`unix_bind_bsd` in net/unix/af_unix.c); before listen(2) nobody gets in.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(UnixListener::from(fd))
}

/// A connection to `path`. A listener whose backlog is full is waited for, at
/// most for `patience`; then the error is [`io::ErrorKind::WouldBlock`].
pub(super) fn connect_within(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let fd = stream()?;
    let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX).max(1);
    setsockopt(&fd, SendTimeout, &TimeVal::milliseconds(patience))?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

/// The process that called listen(2) on the other side of `stream`.
fn listener_pid(stream: &UnixStream) -> io::Result<i32> {
    Ok(getsockopt(stream, PeerCredentials)?.pid())
}

fn stream() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?)
}
