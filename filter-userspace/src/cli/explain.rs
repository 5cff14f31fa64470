//! `explain`: what would happen to a message.

use std::path::Path;

use super::args::Envelope;
use super::error::{CliError, Exit};
use super::output::{Colour, Output, Style, clean};
use super::table::{Align, Table};
use crate::control::client::call;
use crate::control::protocol::Request;
use crate::offline::Lookup;
use crate::policy::explain::{ExplainedEnvelope, Explanation};

/// Explains by the configuration and its files.
pub(super) fn from_files(
    config: &Path,
    envelope: &Envelope,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let lookup = Lookup::open(config).map_err(CliError::configuration)?;
    let explained = lookup.explain(&wanted(envelope)).map_err(CliError::usage)?;
    print(&explained, output)
}

/// Explains by the state of the daemon.
pub(super) fn live(
    socket: &Path,
    envelope: &Envelope,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let explained: Explanation = call(socket, &Request::Explain(wanted(envelope)))?;
    print(&explained, output)
}

fn wanted(envelope: &Envelope) -> ExplainedEnvelope {
    ExplainedEnvelope {
        ip: envelope.ip,
        helo: envelope.helo.clone(),
        from: envelope.from.clone(),
        rcpt: envelope.rcpt.clone(),
        size: envelope.size,
        tls: envelope.tls.0,
        certificate: envelope.certificate,
        relay: envelope.relay,
    }
}

fn print(explained: &Explanation, output: &mut Output) -> Result<Exit, CliError> {
    if output.json {
        output.object(explained)?;
    } else {
        let text = render(explained, output.style);
        output.text(&text)?;
    }
    Ok(Exit::Done)
}

fn render(explained: &Explanation, style: Style) -> String {
    let mut table = Table::new(["STAGE", "VERDICT", "DETAIL"].map(|name| (name, Align::Left)));
    for stage in &explained.stages {
        let verdict = match (stage.reached, stage.passes) {
            (false, _) => "not reached",
            (true, true) => "pass",
            (true, false) => "REFUSE",
        };
        let reason = stage.reason.as_deref();
        let found: Vec<_> = [reason.unwrap_or_default(), &stage.note]
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(clean)
            .collect();
        table.row([stage.stage.clone(), verdict.to_owned(), found.join("; ")]);
    }
    let mut text = table.render("");
    let last = match explained.stages.iter().find(|stage| !stage.passes) {
        Some(stage) => match &stage.reply {
            Some(reply) => format!("{}: {}", style.paint("refused", Colour::Red), clean(reply)),
            None => format!("{}: the client gets no reply", style.paint("dropped", Colour::Red)),
        },
        None => {
            "All checks of the envelope pass. mxdp checks the content when the message is sent, \
                 and the mail server decides."
                .to_owned()
        }
    };
    text.push_str(&format!("\n{last}\n"));
    text
}
