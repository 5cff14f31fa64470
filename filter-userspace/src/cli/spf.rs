//! `spf`: an SPF evaluation, printed as a tree.

use std::path::Path;

use super::args::SpfArguments;
use super::error::{CliError, Exit};
use super::output::{Colour, Output, Style, clean};
use crate::offline::{self, SpfQuestion};
use crate::spf::{Evaluation, Identity, Outcome};

/// Evaluates SPF and prints the result.
pub(super) fn evaluate(
    config: Option<&Path>,
    arguments: &SpfArguments,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let question = SpfQuestion {
        ip: arguments.ip,
        helo: &arguments.helo,
        from: &arguments.from,
        servers: &arguments.servers,
    };
    let evaluation = offline::spf(config, &question).map_err(CliError::configuration)?;
    if output.json {
        output.object(&evaluation)?;
    } else {
        let text = render(&evaluation, output.style);
        output.text(&text)?;
    }
    Ok(Exit::Done)
}

fn render(evaluation: &Evaluation, style: Style) -> String {
    let colour = match evaluation.outcome {
        Outcome::Pass => Colour::Bold,
        Outcome::Fail | Outcome::PermError => Colour::Red,
        _ => Colour::Yellow,
    };
    let identity = match evaluation.identity {
        Identity::MailFrom => "the sender's domain",
        Identity::Helo => "the client's HELO name",
    };
    let mut text = evaluation.tree();
    let result = style.paint(evaluation.outcome.name(), colour);
    let domain = clean(&evaluation.domain);
    text.push_str(&format!("\n{result} for {} of {domain}, {identity}\n", evaluation.client));
    let more = [("problem", &evaluation.problem), ("explanation", &evaluation.explanation)];
    for (label, said) in more {
        if let Some(said) = said {
            text.push_str(&format!("{label}: {}\n", clean(said)));
        }
    }
    text
}
