//! `status --watch`: the status, refreshed every second.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::error::{CliError, Exit, Failed};
use super::output::{Colour, Output, clean, report};
use super::status::{Earlier, View, render};
use super::time::now;
use crate::control::client::{CallError, call};
use crate::control::protocol::{Request, Status};

const EVERY: Duration = Duration::from_secs(1);

// ECMA-48: cursor home, erase to the end of the line or page, show the cursor.
const HOME: &str = "\x1b[H";
const ERASE_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// Shows the status every second until it is interrupted.
pub(super) fn status(socket: &Path, output: &mut Output) -> Result<Exit, CliError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::system(error.to_string()))?;
    let watched = runtime.block_on(watch(socket.to_owned(), output));
    if output.is_terminal && !output.json {
        output.text(SHOW_CURSOR)?;
        output.flush()?;
    }
    // A daemon that does not answer must not delay the exit.
    runtime.shutdown_background();
    watched.map(|()| Exit::Done)
}

async fn watch(socket: PathBuf, output: &mut Output) -> Result<(), CliError> {
    let listen = |kind| signal(kind).map_err(|error| CliError::system(error.to_string()));
    let mut interrupted: [Signal; 2] =
        [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
    let [interrupt, terminate] = &mut interrupted;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut earlier: Option<(Status, Instant)> = None;
    let mut seen = false;
    loop {
        let asked = async {
            ticks.tick().await;
            let socket = socket.clone();
            tokio::task::spawn_blocking(move || call::<Status>(&socket, &Request::Status)).await
        };
        let answer = tokio::select! {
            answer = asked => answer.map_err(|error| CliError::system(error.to_string()))?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        let at = Instant::now();
        match answer {
            Ok(status) => {
                if !seen && output.is_terminal && !output.json {
                    output.text(HIDE_CURSOR)?;
                }
                show(&status, earlier.as_ref().map(|(status, then)| (status, at - *then)), output)?;
                seen = true;
                earlier = Some((status, at));
            }
            // A daemon that was seen may be restarting: wait for it.
            Err(error) if seen => gone(error, output)?,
            Err(error) => return Err(error.into()),
        }
        output.flush()?;
    }
}

fn show(
    status: &Status,
    earlier: Option<(&Status, Duration)>,
    output: &mut Output,
) -> Result<(), CliError> {
    if output.json {
        output.object(status)?;
        return Ok(());
    }
    let earlier = earlier.map(|(status, ago)| Earlier { status, seconds: ago.as_secs_f64() });
    let text = render(status, View::Screen(earlier), now(), output.style);
    draw(&text, output)
}

fn gone(error: CallError, output: &mut Output) -> Result<(), CliError> {
    let CliError::Failed(Failed { kind, message, .. }) = CliError::from(error) else {
        return Ok(());
    };
    if output.json || !output.is_terminal {
        report(output.json, kind, &message);
        return Ok(());
    }
    let label = output.style.paint("ALARM", Colour::Red);
    draw(&format!("{label}  {}\n", clean(&message)), output)
}

fn draw(text: &str, output: &mut Output) -> Result<(), CliError> {
    if output.is_terminal {
        let size = terminal_size::terminal_size();
        let size = size.map_or((80, 24), |(columns, rows)| (columns.0, rows.0));
        output.text(&screen(text, size.0.into(), size.1.into()))?;
    } else {
        output.line(text)?;
    }
    Ok(())
}

/// The sequence that draws the text over the former one, cut to the screen: one line too many
/// would scroll the first line, perhaps an alarm, off the screen.
fn screen(text: &str, columns: usize, rows: usize) -> String {
    let mut lines: Vec<String> = text.lines().map(|line| cut(line, columns)).collect();
    let hidden = (lines.len() + 1).saturating_sub(rows.max(2));
    if hidden > 0 {
        lines.truncate(lines.len() - hidden - 1);
        lines.push(cut(&format!("… {} more lines", hidden + 1), columns));
    }
    let mut screen = HOME.to_owned();
    for line in lines {
        screen.push_str(&line);
        screen.push_str(ERASE_LINE);
        screen.push_str("\r\n");
    }
    screen.push_str(ERASE_BELOW);
    screen
}

/// The first `columns` characters. Colour sequences have no width and are always ended.
fn cut(line: &str, columns: usize) -> String {
    let mut cut = String::new();
    let mut shown = 0;
    let mut in_sequence = false;
    for c in line.chars() {
        in_sequence |= c == '\x1b';
        if in_sequence {
            cut.push(c);
            in_sequence = c != 'm';
        } else if shown < columns {
            cut.push(c);
            shown += 1;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_holds_what_fits() {
        assert_eq!(screen("one\ntwo\n", 80, 24), "\x1b[Hone\x1b[K\r\ntwo\x1b[K\r\n\x1b[J");
        let long = (1..=9).map(|line| format!("line {line}\n")).collect::<String>();
        assert_eq!(
            screen(&long, 14, 5),
            "\x1b[Hline 1\x1b[K\r\nline 2\x1b[K\r\nline 3\x1b[K\r\n… 6 more lines\x1b[K\r\n\x1b[J"
        );
        assert_eq!(screen(&long, 80, 10).matches("\r\n").count(), 9);
        assert!(!screen(&long, 80, 10).contains('…'));
        // A terminal without any room must not cause a panic.
        screen(&long, 0, 0);
    }

    #[test]
    fn a_line_is_cut_between_its_colours() {
        assert_eq!(cut("\x1b[1;31mALARM\x1b[0m  eth0", 7), "\x1b[1;31mALARM\x1b[0m  ");
        assert_eq!(cut("\x1b[1;31mALARM\x1b[0m", 2), "\x1b[1;31mAL\x1b[0m");
    }

    #[test]
    fn json_is_one_object_per_refresh() {
        let status = super::super::status::tests::busy(0);
        let mut output = Output::captured(true);
        show(&status, None, &mut output).unwrap();
        show(&status, Some((&status, EVERY)), &mut output).unwrap();
        let text = output.captured_text();
        let parsed: Vec<Status> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed, [status.clone(), status]);
    }
}
