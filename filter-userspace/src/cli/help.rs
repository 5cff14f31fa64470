//! What the help and the manual say beside the arguments: examples and exit
//! codes, one [`Page`] a verb.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use super::args::Arguments;
use super::error::Exit::{self, Alarm, Configuration, Done, Failed, Unreachable, Usage};

/// The examples and exit codes of a verb.
pub(super) struct Page {
    /// The verb's words; empty for mxdp itself.
    pub(super) verb: &'static str,
    /// What it is for, and the command.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// The exit codes it can have.
    pub(super) exits: &'static [Exit],
}

const ASKS: &[Exit] = &[Done, Failed, Usage, Configuration, Unreachable];

/// A page for every verb; the tests see to it that none is missing.
pub(super) const PAGES: &[Page] = &[
    Page {
        verb: "",
        examples: &[
            ("Check the configuration, then run the daemon", "mxdp check && sudo mxdp run"),
            ("What is dropped at this moment?", "sudo mxdp status --watch"),
            ("Why is this sender not let in?", "mxdp lookup 203.0.113.7"),
            ("Let it in for a day", "sudo mxdp approve add 203.0.113.7 --for 1d"),
        ],
        exits: &Exit::ALL,
    },
    Page {
        verb: "run",
        examples: &[
            ("With /etc/mxdp/mxdp.toml", "mxdp run"),
            ("With another configuration", "mxdp run -c /srv/edge/mxdp.toml"),
        ],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        verb: "trial",
        examples: &[("On loopback, from a checkout", "mxdp trial -c config/trial.toml")],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        verb: "check",
        examples: &[
            ("Before a reload", "mxdp check && mxdp reload"),
            ("In a script", "mxdp check -c new.toml --json"),
            ("Name servers, DNS lists, backends and ports too", "mxdp check --online"),
        ],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        verb: "reload",
        examples: &[
            ("After a list was changed", "mxdp reload"),
            (
                "After most of a list was removed on purpose",
                "mxdp reload --accept /etc/mxdp/blocked.txt",
            ),
        ],
        exits: ASKS,
    },
    Page {
        verb: "status",
        examples: &[
            ("Once", "mxdp status"),
            ("Every second, with rates", "mxdp status --watch"),
            ("The alarms alone", "mxdp status --json | jq -r '.alarms[]'"),
            ("For monitoring: 6 when there is an alarm", "mxdp status --exit-code"),
        ],
        exits: &[Done, Failed, Usage, Configuration, Unreachable, Alarm],
    },
    Page {
        verb: "lookup",
        examples: &[
            ("Two addresses, from the files", "mxdp lookup 192.0.2.1 2001:db8::1"),
            (
                "The dropped ones of a list of addresses",
                "mxdp lookup --json - < senders.txt | jq -r 'select(.action == \"drop\") | .ip'",
            ),
            ("What does the kernel itself do?", "mxdp lookup --live 192.0.2.1"),
        ],
        exits: &Exit::ALL,
    },
    Page {
        verb: "explain",
        examples: &[
            (
                "Would this be let in, and by which rule?",
                "mxdp explain --ip 203.0.113.7 --from a@example.com --rcpt bob@example.org",
            ),
            (
                "As the daemon sees it now",
                "mxdp explain --live --ip 203.0.113.7 --from \"\" --rcpt bob@example.org --tls 1.3",
            ),
        ],
        exits: ASKS,
    },
    Page {
        verb: "spf",
        examples: &[
            (
                "Why does this message fail?",
                "mxdp spf 203.0.113.7 mail.example.com bob@example.com",
            ),
            (
                "By a certain name server",
                "mxdp spf 203.0.113.7 h example.com --server 192.0.2.53:53",
            ),
        ],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        verb: "approve",
        examples: &[
            ("Let a network in", "mxdp approve add 192.0.2.0/24"),
            ("What was let in?", "mxdp approve list"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "approve add",
        examples: &[
            (
                "A customer, until the list file has it",
                "mxdp approve add 192.0.2.0/24 --note \"ticket 4711\" --for 7d",
            ),
            ("One address", "mxdp approve add 2001:db8::25"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "approve remove",
        examples: &[("As it was added", "mxdp approve remove 192.0.2.0/24")],
        exits: ASKS,
    },
    Page {
        verb: "approve list",
        examples: &[
            ("For people", "mxdp approve list"),
            ("The networks alone", "mxdp approve list --json | jq -r '.[].prefix'"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "block",
        examples: &[
            ("Keep a network out", "mxdp block add 198.51.100.0/24"),
            ("What was kept out?", "mxdp block list"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "block add",
        examples: &[
            (
                "A spam run, for some hours",
                "mxdp block add 198.51.100.0/24 --note \"spam run\" --for 2h30m",
            ),
            ("Every address not itself approved", "mxdp block add 0.0.0.0/0 --force --for 10m"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "block remove",
        examples: &[("As it was added", "mxdp block remove 198.51.100.0/24")],
        exits: ASKS,
    },
    Page { verb: "block list", examples: &[("For people", "mxdp block list")], exits: ASKS },
    Page {
        verb: "temp",
        examples: &[
            ("Ten minutes of quiet", "mxdp temp add 198.51.100.7 --for 10m"),
            ("Who is temporarily blocked?", "mxdp temp list"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "temp add",
        examples: &[
            ("An address", "mxdp temp add 198.51.100.7 --for 10m"),
            ("The /64 of an IPv6 address", "mxdp temp add 2001:db8::25 --for 12h"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "temp remove",
        examples: &[("An address", "mxdp temp remove 198.51.100.7")],
        exits: ASKS,
    },
    Page { verb: "temp list", examples: &[("For scripts", "mxdp temp list --json")], exits: ASKS },
    Page { verb: "relay", examples: &[("Who may not send out?", "mxdp relay list")], exits: ASKS },
    Page {
        verb: "relay list",
        examples: &[("For scripts", "mxdp relay list --json")],
        exits: ASKS,
    },
    Page {
        verb: "relay resume",
        examples: &[
            ("A host, once it is clean", "mxdp relay resume 198.51.100.7"),
            ("All hosts of a customer", "mxdp relay resume --customer acme"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "traffic",
        examples: &[("What was blocked in the last day?", "mxdp traffic blocked --since 24h")],
        exits: ASKS,
    },
    Page {
        verb: "traffic blocked",
        examples: &[
            (
                "Why does this sender's mail not arrive?",
                "mxdp traffic blocked --sender \"*@example.com\" --since 7d",
            ),
            ("As it comes", "mxdp traffic blocked --follow"),
            ("For a spreadsheet", "mxdp traffic blocked --since 30d --all --csv > blocked.csv"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "traffic accepted",
        examples: &[
            ("Did it arrive?", "mxdp traffic accepted --recipient bob@example.org --text invoice"),
            (
                "What the backend rejected",
                "mxdp traffic accepted --status permanent,temporary --since 24h",
            ),
        ],
        exits: ASKS,
    },
    Page {
        verb: "traffic show",
        examples: &[("What a sender quotes of our reply", "mxdp traffic show 1KZ2ABCDEF0GH-1")],
        exits: ASKS,
    },
    Page {
        verb: "top",
        examples: &[
            ("What is going on?", "mxdp top"),
            ("For a script, once", "mxdp top --json --count 1 --window 15m"),
        ],
        exits: ASKS,
    },
    Page { verb: "audit", examples: &[("Who changed what?", "mxdp audit")], exits: ASKS },
    Page {
        verb: "detach",
        examples: &[
            ("Of the daemon, or what it left", "mxdp detach"),
            ("Of another configuration", "mxdp detach -c /srv/edge/mxdp.toml"),
        ],
        exits: ASKS,
    },
    Page {
        verb: "token",
        examples: &[("For a colleague who may change lists", "mxdp token anna --rights write")],
        exits: &[Done, Failed, Usage],
    },
    Page {
        verb: "completions",
        examples: &[(
            "For bash",
            "mxdp completions bash > /usr/share/bash-completion/completions/mxdp",
        )],
        exits: &[Done, Failed, Usage],
    },
    Page {
        verb: "man",
        examples: &[
            ("Read it", "mxdp man | man -l -"),
            (
                "Write all pages: mxdp.toml.5 belongs in man5, the others in man1",
                "mxdp man --dir pages",
            ),
            ("Which keys are there, and what do they do?", "mxdp man --reference"),
        ],
        exits: &[Done, Failed, Usage],
    },
];

/// The page of a verb, by its words.
pub(super) fn page(verb: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.verb == verb)
}

/// The command with its pages in the long help of every verb.
pub(super) fn command() -> Command {
    with_pages(Arguments::command(), "")
}

fn with_pages(command: Command, verb: &str) -> Command {
    let command = match page(verb) {
        Some(page) => command.after_long_help(page.as_help()),
        None => command,
    };
    command.mut_subcommands(|inner| {
        let words = format!("{verb} {}", inner.get_name());
        with_pages(inner, words.trim_start())
    })
}

impl Page {
    fn as_help(&self) -> String {
        let mut text = String::from("Examples:\n");
        for (purpose, example) in self.examples {
            // Writing to a string does not fail.
            let colon = if purpose.ends_with('?') { "" } else { ":" };
            let _ = writeln!(text, "  {purpose}{colon}\n      {example}");
        }
        text.push_str("\nExit codes:\n");
        for exit in self.exits {
            let _ = writeln!(text, "  {}  {}", *exit as u8, exit.meaning());
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches, error::ErrorKind};

    use super::*;

    /// Every verb's words, in the order of the help.
    fn verbs(command: &Command, verb: &str, into: &mut Vec<String>) {
        into.push(verb.to_owned());
        for inner in command.get_subcommands() {
            let words = format!("{verb} {}", inner.get_name());
            verbs(inner, words.trim_start(), into);
        }
    }

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_has_its_page_and_long_help() {
        let mut known = Vec::new();
        verbs(&command(), "", &mut known);
        assert_eq!(known, PAGES.iter().map(|page| page.verb.to_owned()).collect::<Vec<_>>());
        for page in PAGES {
            let words = ["mxdp"].into_iter().chain(page.verb.split_whitespace()).chain(["--help"]);
            let error = command().try_get_matches_from(words).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayHelp);
            let text = error.render().to_string();
            for part in ["Usage:", "Examples:", "Exit codes:", "  0  done"] {
                assert!(text.contains(part), "{}: {text}", page.verb);
            }
        }
    }

    /// What the shell would start mxdp with, once for each time it does.
    fn calls(example: &str) -> Vec<Vec<String>> {
        example
            .split(['|', '&'])
            .filter_map(|part| part.find("mxdp ").map(|start| &part[start..]))
            .map(|part| part.split(['<', '>']).next().unwrap())
            .map(|call| {
                let mut words = Vec::new();
                for (index, piece) in call.split('"').enumerate() {
                    if index % 2 == 1 {
                        words.push(piece.to_owned());
                    } else {
                        words.extend(piece.split_whitespace().map(str::to_owned));
                    }
                }
                words
            })
            .collect()
    }

    #[test]
    fn every_example_parses() {
        for page in PAGES {
            for (purpose, example) in page.examples {
                let calls = calls(example);
                assert!(!calls.is_empty(), "{example}");
                for words in calls {
                    let matches = command().try_get_matches_from(&words);
                    let arguments = matches
                        .and_then(|matches| Arguments::from_arg_matches(&matches))
                        .unwrap_or_else(|error| panic!("{purpose}: {words:?}: {error}"));
                    arguments.refuse_what_has_no_effect().unwrap();
                }
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            "mxdp",
            "mxdp frobnicate",
            "mxdp lookup",
            "mxdp lookup 192.0.2.256",
            "mxdp lookup 192.0.2.0/24",
            "mxdp approve add 192.0.2.0/33",
            "mxdp approve add 192.0.2.1 --force",
            "mxdp approve add 192.0.2.1 --for 0s",
            "mxdp block add example.org",
            "mxdp temp add 192.0.2.1",
            "mxdp temp add 192.0.2.0/24 --for 10m",
            "mxdp completions tcsh",
        ] {
            let outcome = command().try_get_matches_from(words.split(' '));
            assert!(outcome.is_err(), "{words}");
        }
        for words in [
            "mxdp run --socket /tmp/x",
            "mxdp check --socket /tmp/x",
            "mxdp lookup 192.0.2.1 --socket /tmp/x",
            "mxdp lookup - 192.0.2.1",
            "mxdp lookup --live - -",
            "mxdp man --json",
            "mxdp completions bash -c /tmp/x",
        ] {
            let matches = command().try_get_matches_from(words.split(' ')).unwrap();
            let arguments = Arguments::from_arg_matches(&matches).unwrap();
            assert!(arguments.refuse_what_has_no_effect().is_err(), "{words}");
        }
    }
}
