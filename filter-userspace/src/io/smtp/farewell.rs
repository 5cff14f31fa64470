//! What a client still sends when its session is over, and is read so that it can read the last
//! reply: to close with bytes unread would reset the connection.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::smtp::session::Linger;

/// How long a client that still sends may take to read the last reply.
const LINGER: Duration = Duration::from_secs(2);

/// How long the rest of a message may come whose refusal is written already, and how long it
/// may pause. It ends at once where its place is needed.
const LINGER_OF_MESSAGE: Duration = Duration::from_secs(600);
const PAUSE_OF_MESSAGE: Duration = Duration::from_secs(30);

/// The bytes that may still come when a session is over that had no message.
const LAST_COMMANDS: u64 = 512 * 1024;

/// Closes our side; reads what the client may still send, and throws it away. `most` is the
/// size of the largest message.
pub(super) async fn part(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    linger: Linger,
    most: u64,
) {
    _ = timeout(LINGER, client.shutdown()).await;
    let (mut left, whole, pause) = match linger {
        Linger::Nothing => return,
        Linger::Reply => (LAST_COMMANDS, LINGER, LINGER),
        // A client that sends for minutes reads only then why its message is refused.
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
