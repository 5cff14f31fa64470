//! Reads what a client still sends when its session is over, so that it can read the last reply:
//! closing with unread bytes would reset the connection.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::smtp::session::Linger;

/// The time limit for a client that still sends to read the last reply.
const LINGER: Duration = Duration::from_secs(2);

/// The time limit for the rest of a message that is refused already, and for a pause in it. It ends
/// at once if its slot is needed.
const LINGER_OF_MESSAGE: Duration = Duration::from_secs(600);
const PAUSE_OF_MESSAGE: Duration = Duration::from_secs(30);

/// The maximum number of bytes after a session without a message.
const LAST_COMMANDS: u64 = 512 * 1024;

/// Closes our side; reads and discards what the client still sends. `most` is the size of the
/// largest message.
pub(super) async fn part(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    linger: Linger,
    most: u64,
) {
    _ = timeout(LINGER, client.shutdown()).await;
    let (mut left, whole, pause) = match linger {
        Linger::Nothing => return,
        Linger::Reply => (LAST_COMMANDS, LINGER, LINGER),
        // A client that sends for minutes reads the refusal of its message only then.
        Linger::Message => {
            let most = most.saturating_mul(2).max(LAST_COMMANDS);
            (most, LINGER_OF_MESSAGE, PAUSE_OF_MESSAGE)
        }
    };
    let read = async {
        let mut buffer = vec![0; 4096];
        while left > 0 {
            match timeout(pause, client.read(&mut buffer)).await {
                Ok(Ok(count @ 1..)) => left = left.saturating_sub(count as u64),
                _ => return,
            }
        }
    };
    _ = timeout(whole, read).await;
}
