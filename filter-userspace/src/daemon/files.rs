//! The files in use, watched: a change asks for a reload.

use std::time::Duration;

use tokio::sync::mpsc;

use super::message::{Message, Origin};
use crate::generation::watched::FileStamps;
use crate::io::watch::{Watch, stamp};

/// Changes that come closer together are one: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(300);

/// Watches the files in use; a reload may bring others.
pub(super) async fn forward_changes(
    mut new_files: mpsc::UnboundedReceiver<FileStamps>,
    messages: mpsc::Sender<Message>,
) {
    let (changes, mut changed) = mpsc::channel(1);
    let mut watch: Option<Watch> = None;
    loop {
        tokio::select! {
            files = new_files.recv() => {
                let Some(files) = files else { return };
                let failure = watch_files(&mut watch, &files, &changes).err();
                if messages.send(Message::SourceChecked(Origin::Files, failure)).await.is_err() {
                    return;
                }
            }
            Some(()) = changed.recv() => {
                tokio::time::sleep(SETTLE).await;
                while changed.try_recv().is_ok() {}
                if messages.send(Message::Reload("files changed")).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Watches anew each time: a folder of the same name may be another by now. The previous watch
/// ends when the new one is in place, so that no change of a file in both is missed.
fn watch_files(
    watch: &mut Option<Watch>,
    files: &FileStamps,
    changes: &mpsc::Sender<()>,
) -> Result<(), String> {
    if files.is_empty() {
        *watch = None;
        return Ok(());
    }
    let paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
    let tell = changes.clone();
    let new = Watch::start(&paths, move || _ = tell.try_send(()))
        .map_err(|error| format!("files are not watched ({error}); `mxdp reload` loads them"))?;
    *watch = Some(new);
    // What changed since it was read, and before it was watched.
    if files.iter().any(|(path, seen)| stamp(path) != *seen) {
        _ = changes.try_send(());
    }
    Ok(())
}
