//! What SPF says about the sender, and the action of the recipient's domain.

use super::row::{Case, Passed, RcptRow};
use crate::dns::unasked;
use crate::policy::facts::{History, Known, Stop};
use crate::smtp::refusal::Stage;

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Spf, check };

fn check(case: &Case<'_>, known: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, recipient } = case;
    let Some(domain) = policy.domain_of(recipient) else {
        return Ok(Passed::with("not checked"));
    };
    let Some(actions) = &domain.spf else {
        return Ok(Passed::with("not checked for this domain"));
    };
    let tags = known.spf.as_ref().filter(|spf| policy.spf.tags(actions, &spf.evaluation));
    let passed = |note: String| Passed {
        header: tags.map(|checked| checked.field.clone()),
        ..Passed::with(note)
    };
    if policy.spf.exempt.iter().any(|network| network.contains(&facts.client)) {
        return Ok(passed("not checked: the client is exempt".to_owned()));
    }
    if let Some(why) = unasked(facts.client, policy.ask_private) {
        return Ok(passed(format!("not checked: {why}")));
    }
    let evaluation = &known.spf()?.evaluation;
    let rule = policy.rule(domain.line, "");
    match policy.spf.refusal(actions, evaluation, rule, facts.connection.approved.as_ref()) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(passed(format!("{}: {}", evaluation.outcome.name(), evaluation.summary()))),
    }
}
