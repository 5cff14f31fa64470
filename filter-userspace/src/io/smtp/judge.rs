//! Answers a session's questions by the policy in force.

use std::net::IpAddr;
use std::sync::Arc;

use super::edge::{Edge, Generation, Shared, Standing};
use super::events::Event;
use crate::policy::pipeline::{self, Facts};
use crate::smtp::refusal::Reason;
use crate::smtp::reply::Enhanced;
use crate::smtp::session::{Answer, Attempt, Outcome, Question, Session};

/// What is known of a client, asked once when it is first needed.
pub(super) struct Judge {
    edge: Arc<Edge>,
    generation: Arc<Generation>,
    client: IpAddr,
    standing: Option<Standing>,
    size: Option<u64>,
}

impl Judge {
    pub(super) const fn new(edge: Arc<Edge>, generation: Arc<Generation>, client: IpAddr) -> Self {
        Self { edge, generation, client, standing: None, size: None }
    }

    /// The generation of the message that is open.
    pub(super) const fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    pub(super) fn answer(&mut self, question: &Question, session: &Session) -> Answer {
        if let Question::Mail { parameters, .. } = question {
            // A message is judged by one generation, from MAIL to its end.
            self.generation = self.edge.generation();
            self.standing = None;
            self.size = parameters.size;
        }
        let standing = self.standing.get_or_insert_with(|| self.edge.standing(self.client));
        let (Question::Mail { sender, .. } | Question::Rcpt { sender, .. }) = question;
        let facts = Facts {
            client: self.client,
            tls: session.client().tls.as_ref(),
            connection: &standing.connection,
            sender,
            size: self.size,
        };
        let policy = &self.generation.policy;
        match question {
            Question::Mail { .. } => Answer::Mail(pipeline::mail(policy, &facts)),
            Question::Rcpt { recipient, .. } => {
                Answer::Rcpt(pipeline::rcpt(policy, &facts, recipient, &mut Shared(&self.edge)))
            }
        }
    }

    /// Takes note of what became of a recipient.
    pub(super) fn record(&mut self, attempt: Attempt, session: &Session) {
        if let (Outcome::Refused(refusal), Some(recipient)) = (&attempt.outcome, &attempt.recipient)
        {
            let at_backend = refusal.passed.as_deref().is_some_and(|reply| {
                attempt.size == 0
                    && reply.code == 550
                    && matches!(reply.enhanced, Some(Enhanced(5, 1, 1)))
            });
            let now = std::time::Instant::now();
            if at_backend {
                self.edge.remember_invalid(recipient, now);
            }
            let invalid =
                matches!(refusal.reason, Reason::UnknownRecipient | Reason::TooManyInvalid);
            if at_backend || invalid {
                self.edge.strike(self.client, &self.generation, now);
            }
        }
        let standing = self.standing.get_or_insert_with(|| self.edge.standing(self.client));
        self.edge.events.add(Event {
            client: self.client,
            country: standing.country.clone(),
            helo: session.helo().to_owned(),
            tls: session.client().tls.as_ref().map(|tls| tls.text.clone()),
            attempt,
        });
    }
}
