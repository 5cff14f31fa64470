//! The approved and blocked senders of a configuration, compiled.

use super::source::Source;
use super::sources::{Sources, counts};
use crate::config::Config;
use crate::config::smtp::Smtp;
use crate::policy::senders::{SenderClass, SenderLists};

/// The approved and blocked senders.
pub(super) fn senders(config: &Config, smtp: &Smtp, sources: &mut Sources<'_>) -> SenderLists {
    let mut builder = SenderLists::builder(config.limits.prefixes);
    let senders = &smtp.senders;
    let inline =
        [(SenderClass::Approved, &senders.approved), (SenderClass::Blocked, &senders.blocked)];
    let name = config.path.display().to_string();
    for (class, patterns) in inline {
        for (pattern, line) in patterns {
            if let Err(wrong) = builder.add_one(class, &name, *line, pattern) {
                sources.errors.extend(wrong.lines().iter().cloned());
            }
        }
    }
    let approved = senders.approved_files.iter().map(|path| (SenderClass::Approved, path));
    let blocked = senders.blocked_files.iter().map(|path| (SenderClass::Blocked, path));
    for (class, path) in approved.chain(blocked) {
        let source = match class {
            SenderClass::Approved => Source::of_approved(path, config),
            SenderClass::Blocked => Source::of_blocked(path, config),
        };
        let file = path.display().to_string();
        let taken = sources.take(&source, |bytes| {
            let read = builder.read(class, &file, bytes);
            let read = read.map_err(|wrong| wrong.to_string())?;
            let counts = counts(read.len());
            Ok((read, counts))
        });
        if let Some(read) = taken {
            sources.warnings.extend(read.remarks().iter().cloned());
            builder.add(read);
        }
    }
    builder.build()
}
