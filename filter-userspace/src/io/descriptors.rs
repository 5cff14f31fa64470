//! Shares out the file descriptors of this process, so that none of its parts takes what another
//! needs.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files, rings, control, web console and everything else of a fixed number.
const FIXED: usize = 200;

/// The maximum number of DNS queries under way at once.
const QUESTIONS: usize = 4096;

/// Sockets of a query: it may be sent to two servers at once.
const OF_QUESTION: usize = 2;

/// Sockets of a session: the client's and the backend's.
const OF_SESSION: usize = 2;

/// The share of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// All descriptors.
    pub all: usize,
    /// DNS queries, without those that have [`reserved`] slots.
    pub questions: usize,
    /// Sessions.
    pub sessions: usize,
}

/// The budget of this process, after its soft limit is raised to its hard one.
#[must_use]
pub fn budget() -> Budget {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return share(usize::MAX) };
    if soft < hard {
        // If that fails, the soft limit applies.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        return share(usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX));
    }
    share(usize::try_from(hard).unwrap_or(usize::MAX))
}

fn share(all: usize) -> Budget {
    // With the reserved ones, all queries have an eighth.
    let questions = (all / 8 / OF_QUESTION * 2 / 3).clamp(1, QUESTIONS);
    let rest = all.saturating_sub(FIXED + of_all(questions) * OF_QUESTION);
    Budget { all, questions, sessions: (rest / OF_SESSION).max(1) }
}

/// The number of queries that are reserved for customers' mail besides `most` others, and as many
/// again for the names of clients.
#[must_use]
pub const fn reserved(questions: usize) -> usize {
    questions.div_ceil(4)
}

/// The number of queries, with those that have reserved slots.
#[must_use]
pub const fn of_all(questions: usize) -> usize {
    questions + 2 * reserved(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fit_into_the_whole() {
        for all in [400, 1024, 4096, 20_000, 65_536, 524_288, 1 << 30] {
            let Budget { questions, sessions, .. } = share(all);
            assert!(
                of_all(questions) * OF_QUESTION + sessions * OF_SESSION + FIXED <= all,
                "{all}"
            );
            assert!(sessions * OF_SESSION > all / 3 - FIXED / 2, "{all}: {sessions}");
        }
        assert_eq!(share(0), Budget { all: 0, questions: 1, sessions: 1 });
        assert_eq!(share(usize::MAX).questions, QUESTIONS);
    }
}
