//! Two other evaluators of SPF to compare with: pyspf, and Mail::SPF of Perl.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};

use super::clients::perl_libraries;
use super::{Process, environment, find};
use crate::netns::Namespace;

/// Reads `ip helo from` lines, and answers a result a line. The name server is
/// 127.0.0.1.
const PYSPF: &str = "import sys, DNS\n\
    DNS.defaults['server'] = ['127.0.0.1']\n\
    import spf\n\
    DNS.defaults['server'] = ['127.0.0.1']\n\
    spf.MAX_PER_LOOKUP_TIME = 2\n\
    for line in sys.stdin:\n\
    \x20   ip, helo, sender = line.rstrip('\\n').split(' ')\n\
    \x20   try: result = spf.check2(i=ip, s=sender, h=helo, timeout=5, querytime=10)[0]\n\
    \x20   except Exception as error: result = 'broken'\n\
    \x20   print(result.lower(), flush=True)\n";

const MAIL_SPF: &str = r#"use Mail::SPF; use Net::DNS::Resolver; $| = 1;
my $resolver = Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], retry => 1, udp_timeout => 2);
my $server = Mail::SPF::Server->new(dns_resolver => $resolver, hostname => 'mx.example.org');
while (my $line = <STDIN>) {
    chomp $line; my ($ip, $helo, $from) = split / /, $line;
    my $result = eval {
        my $request = Mail::SPF::Request->new(versions => [1], scope => 'mfrom',
            identity => $from, ip_address => $ip, helo_identity => $helo);
        $server->process($request)->code;
    } || 'broken';
    print lc($result), "\n";
}"#;

/// An evaluator that answers questions, ended when dropped.
pub struct Judge {
    _process: Process,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    /// pyspf.
    #[must_use]
    pub fn pyspf(namespace: &Namespace) -> Self {
        let module = find("usr/lib/python3/dist-packages/spf.py");
        let mut command = namespace.command(find("python3.11"));
        command
            .args(["-W", "ignore", "-c", PYSPF])
            .env("PYTHONPATH", module.parent().expect("its folder"));
        Self::start(command)
    }

    /// Mail::SPF.
    #[must_use]
    pub fn mail_spf(namespace: &Namespace) -> Self {
        let mut command = namespace.command(find("perl"));
        command.args(["-e", MAIL_SPF]).env("PERL5LIB", perl_libraries());
        Self::start(command)
    }

    fn start(mut command: std::process::Command) -> Self {
        command.envs(environment()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the evaluator starts");
        let questions = child.stdin.take().expect("its input");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Self { _process: Process(child), questions, answers }
    }

    /// Its result.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn ask(&mut self, ip: &str, helo: &str, from: &str) -> String {
        writeln!(self.questions, "{ip} {helo} {from}").expect("it reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        assert!(answer.ends_with('\n'), "the evaluator has ended");
        answer.trim().to_owned()
    }
}
