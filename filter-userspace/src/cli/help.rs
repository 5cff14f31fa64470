//! The part of the help and the manual beyond the arguments: examples and exit
//! codes, one [`Page`] per command.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use super::args::Arguments;
use super::error::Exit::{self, Alarm, Configuration, Done, Failed, Unreachable, Usage};

/// The examples and exit codes of a command.
pub(super) struct Page {
    /// The words of the command; empty for mxdp itself.
    pub(super) command: &'static str,
    /// The purpose of each example, and its command line.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// The exit codes it can have.
    pub(super) exits: &'static [Exit],
}

/// The exit codes of a command that talks to the daemon.
const DAEMON: &[Exit] = &[Done, Failed, Usage, Configuration, Unreachable];

/// A page for every command; a test fails if one is missing.
pub(super) const PAGES: &[Page] = &[
    Page {
        command: "",
        examples: &[
            ("Check the configuration, then run the daemon", "mxdp check && sudo mxdp run"),
            ("What is dropped right now?", "sudo mxdp status --watch"),
            ("Why is this sender blocked?", "mxdp lookup 203.0.113.7"),
            ("Approve it for a day", "sudo mxdp approve add 203.0.113.7 --for 1d"),
        ],
        exits: &Exit::ALL,
    },
    Page {
        command: "run",
        examples: &[
            ("With the default configuration", "mxdp run"),
            ("With another configuration", "mxdp run -c /srv/edge/mxdp.toml"),
        ],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        command: "trial",
        examples: &[("On loopback, from a checkout", "mxdp trial -c config/trial.toml")],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        command: "check",
        examples: &[
            ("Before a reload", "mxdp check && mxdp reload"),
            ("In a script", "mxdp check -c new.toml --json"),
            ("Test name servers, DNS lists, backends and ports too", "mxdp check --online"),
        ],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        command: "reload",
        examples: &[
            ("After a change of a list", "mxdp reload"),
            (
                "After most of a list was removed on purpose",
                "mxdp reload --accept /etc/mxdp/blocked.txt",
            ),
        ],
        exits: DAEMON,
    },
    Page {
        command: "status",
        examples: &[
            ("Once", "mxdp status"),
            ("Every second, with rates", "mxdp status --watch"),
            ("Alarms only", "mxdp status --json | jq -r '.alarms[]'"),
            ("For monitoring: exit code 6 if there is an alarm", "mxdp status --exit-code"),
        ],
        exits: &[Done, Failed, Usage, Configuration, Unreachable, Alarm],
    },
    Page {
        command: "lookup",
        examples: &[
            ("Two addresses, by the files", "mxdp lookup 192.0.2.1 2001:db8::1"),
            (
                "Which addresses of a list are dropped?",
                "mxdp lookup --json - < senders.txt | jq -r 'select(.action == \"drop\") | .ip'",
            ),
            ("What does the kernel do?", "mxdp lookup --live 192.0.2.1"),
        ],
        exits: &Exit::ALL,
    },
    Page {
        command: "explain",
        examples: &[
            (
                "Would this message pass, and by which rule?",
                "mxdp explain --ip 203.0.113.7 --from a@example.com --rcpt bob@example.org",
            ),
            (
                "With the state of the running daemon",
                "mxdp explain --live --ip 203.0.113.7 --from \"\" --rcpt bob@example.org --tls 1.3",
            ),
        ],
        exits: DAEMON,
    },
    Page {
        command: "spf",
        examples: &[
            (
                "Why does this message fail?",
                "mxdp spf 203.0.113.7 mail.example.com bob@example.com",
            ),
            (
                "With a particular name server",
                "mxdp spf 203.0.113.7 h example.com --server 192.0.2.53:53",
            ),
        ],
        exits: &[Done, Failed, Usage, Configuration],
    },
    Page {
        command: "approve",
        examples: &[
            ("Approve a network", "mxdp approve add 192.0.2.0/24"),
            ("Which networks are approved?", "mxdp approve list"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "approve add",
        examples: &[
            (
                "A customer, for a week",
                "mxdp approve add 192.0.2.0/24 --note \"ticket 4711\" --for 7d",
            ),
            ("One address", "mxdp approve add 2001:db8::25"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "approve remove",
        examples: &[("As `list` shows it", "mxdp approve remove 192.0.2.0/24")],
        exits: DAEMON,
    },
    Page {
        command: "approve list",
        examples: &[
            ("For people", "mxdp approve list"),
            ("Networks only", "mxdp approve list --json | jq -r '.[].prefix'"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "block",
        examples: &[
            ("Block a network", "mxdp block add 198.51.100.0/24"),
            ("Which networks are blocked?", "mxdp block list"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "block add",
        examples: &[
            ("During a spam run", "mxdp block add 198.51.100.0/24 --note \"spam run\" --for 2h30m"),
            (
                "Everything that is not approved by address",
                "mxdp block add 0.0.0.0/0 --force --for 10m",
            ),
        ],
        exits: DAEMON,
    },
    Page {
        command: "block remove",
        examples: &[("As `list` shows it", "mxdp block remove 198.51.100.0/24")],
        exits: DAEMON,
    },
    Page { command: "block list", examples: &[("For people", "mxdp block list")], exits: DAEMON },
    Page {
        command: "temp",
        examples: &[
            ("Block an address for ten minutes", "mxdp temp add 198.51.100.7 --for 10m"),
            ("Who is temporarily blocked?", "mxdp temp list"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "temp add",
        examples: &[
            ("An address", "mxdp temp add 198.51.100.7 --for 10m"),
            ("The /64 of an IPv6 address", "mxdp temp add 2001:db8::25 --for 12h"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "temp remove",
        examples: &[("An address", "mxdp temp remove 198.51.100.7")],
        exits: DAEMON,
    },
    Page {
        command: "temp list",
        examples: &[("For scripts", "mxdp temp list --json")],
        exits: DAEMON,
    },
    Page {
        command: "relay",
        examples: &[("Which hosts are suspended?", "mxdp relay list")],
        exits: DAEMON,
    },
    Page {
        command: "relay list",
        examples: &[("For scripts", "mxdp relay list --json")],
        exits: DAEMON,
    },
    Page {
        command: "relay resume",
        examples: &[
            ("A host that has been cleaned up", "mxdp relay resume 198.51.100.7"),
            ("All hosts of a customer", "mxdp relay resume --customer acme"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "traffic",
        examples: &[("What was blocked in the last day?", "mxdp traffic blocked --since 24h")],
        exits: DAEMON,
    },
    Page {
        command: "traffic blocked",
        examples: &[
            (
                "Why does this sender's mail not arrive?",
                "mxdp traffic blocked --sender \"*@example.com\" --since 7d",
            ),
            ("Follow live", "mxdp traffic blocked --follow"),
            ("For a spreadsheet", "mxdp traffic blocked --since 30d --all --csv > blocked.csv"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "traffic accepted",
        examples: &[
            ("Did it arrive?", "mxdp traffic accepted --recipient bob@example.org --text invoice"),
            (
                "What the backend rejected",
                "mxdp traffic accepted --status permanent,temporary --since 24h",
            ),
        ],
        exits: DAEMON,
    },
    Page {
        command: "traffic show",
        examples: &[(
            "The reference that a sender quotes from the reply",
            "mxdp traffic show 1KZ2ABCDEF0GH-1",
        )],
        exits: DAEMON,
    },
    Page {
        command: "top",
        examples: &[
            ("What is going on?", "mxdp top"),
            ("For a script, once", "mxdp top --json --count 1 --window 15m"),
        ],
        exits: DAEMON,
    },
    Page { command: "audit", examples: &[("Who changed what?", "mxdp audit")], exits: DAEMON },
    Page {
        command: "detach",
        examples: &[
            ("With the default configuration", "mxdp detach"),
            ("With another configuration", "mxdp detach -c /srv/edge/mxdp.toml"),
        ],
        exits: DAEMON,
    },
    Page {
        command: "token",
        examples: &[("For a colleague who may change lists", "mxdp token anna --rights write")],
        exits: &[Done, Failed, Usage],
    },
    Page {
        command: "completions",
        examples: &[(
            "For bash",
            "mxdp completions bash > /usr/share/bash-completion/completions/mxdp",
        )],
        exits: &[Done, Failed, Usage],
    },
    Page {
        command: "man",
        examples: &[
            ("Read the manual page", "mxdp man | man -l -"),
            (
                "Write all pages (mxdp.toml.5 belongs in man5, the others in man1)",
                "mxdp man --dir pages",
            ),
            ("Which configuration keys are there?", "mxdp man --reference"),
        ],
        exits: &[Done, Failed, Usage],
    },
];

/// The page of a command, by its words.
pub(super) fn page(words: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.command == words)
}

/// The command line, with the pages in the long help of every command.
pub(super) fn command() -> Command {
    with_pages(Arguments::command(), "")
}

fn with_pages(command: Command, words: &str) -> Command {
    let command = match page(words) {
        Some(page) => command.after_long_help(page.as_help()),
        None => command,
    };
    command.mut_subcommands(|inner| {
        let words = format!("{words} {}", inner.get_name());
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

    /// The words of every command, in the order of the help.
    fn commands(command: &Command, words: &str, into: &mut Vec<String>) {
        into.push(words.to_owned());
        for inner in command.get_subcommands() {
            let words = format!("{words} {}", inner.get_name());
            commands(inner, words.trim_start(), into);
        }
    }

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_its_page_and_long_help() {
        let mut known = Vec::new();
        commands(&command(), "", &mut known);
        assert_eq!(known, PAGES.iter().map(|page| page.command.to_owned()).collect::<Vec<_>>());
        for page in PAGES {
            let words =
                ["mxdp"].into_iter().chain(page.command.split_whitespace()).chain(["--help"]);
            let error = command().try_get_matches_from(words).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayHelp);
            let text = error.render().to_string();
            for part in ["Usage:", "Examples:", "Exit codes:", "  0  success"] {
                assert!(text.contains(part), "{}: {text}", page.command);
            }
        }
    }

    /// The arguments of each call of mxdp in an example, as a shell would split them.
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
