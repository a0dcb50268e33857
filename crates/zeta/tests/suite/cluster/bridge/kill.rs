//! The verbs of a lease of the cluster, killed at their system calls: one node holds it at any
//! moment, tokens grow, and the other node is granted it as soon as the first one has ended it.
//!
//! The short form kills at the calls that change something or speak to the server, and refuses the
//! look at the guard that follows a write. `ZETA_FAULTS=all` takes every call and every error.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{nats, program};
use super::{Node, cluster, value};
use crate::faults::fault::{ALL, EIO, Fault, full};
use crate::faults::trace::{Point, points_of};
use crate::support::{Out, Sandbox, run, run_within, skip, test_name};

/// Calls that change files, or by which the server is asked and answers.
const TAKEN: [&str; 11] = [
    "write",
    "pwrite64",
    "writev",
    "recvfrom",
    "connect",
    "mkdirat",
    "renameat",
    "renameat2",
    "flock",
    "unlinkat",
    "fsync",
];
/// What the runtime waits by, and random numbers.
const ENDLESS: [&str; 3] = ["epoll_wait", "futex", "getrandom"];
/// The number that it writes to wake itself.
const WAKES: &str = r"\1\0\0\0\0\0\0\0";
/// No call may last longer, also one whose connection was broken by an error.
const LIMIT: Duration = Duration::from_secs(40);
/// Half of the TTL: what comes sooner did not come by it.
const BY_ITSELF: Duration = Duration::from_secs(30);

/// A verb and the state before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Acquire,
    Renew,
    Release,
    Break,
    Exec,
    Claim,
    HandOver,
    Unclaim,
}

/// Two nodes, and what was wrong with them.
struct World {
    a: Node,
    b: Node,
    dir: PathBuf,
    wrong: Vec<String>,
}

/// One injection.
struct Case<'a> {
    world: &'a World,
    verb: Verb,
    /// The lease, or the item.
    name: String,
    /// What the state before was granted by.
    token: String,
    out: Out,
}

type Judged = Result<(), String>;

/// Fails a judgement.
macro_rules! ensure {
    ($so:expr, $($what:tt)+) => { if !$so { return Err(format!($($what)+)); } };
}

impl Verb {
    fn is_claim(self) -> bool {
        matches!(self, Verb::Claim | Verb::HandOver | Verb::Unclaim)
    }

    /// The call that makes the state before.
    fn before(self) -> Option<Verb> {
        match self {
            Verb::Acquire | Verb::Exec | Verb::Claim => None,
            Verb::Renew | Verb::Release | Verb::Break => Some(Verb::Acquire),
            Verb::HandOver | Verb::Unclaim => Some(Verb::Claim),
        }
    }

    fn args(self, name: &str, token: &str, ran: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Verb::Acquire => &["lease", "acquire", name, "--scope", "cluster"],
            Verb::Renew => &["lease", "renew", name, "--token", token],
            Verb::Release => &["lease", "release", name, "--token", token],
            Verb::Break => &["lease", "break", name, "--expect", token, "--reason", "test"],
            Verb::Exec => &["lease", "exec", name, "--scope", "cluster", "--", "sh", "-c", ran],
            Verb::Claim => &["claim", "acquire", name, "--scope", "cluster"],
            Verb::HandOver => &["claim", "handover", name, "--to", "vera", "--token", token],
            Verb::Unclaim => &["claim", "release", name, "--token", token],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

impl World {
    fn new(sandbox: &Sandbox, server: &super::super::nats::Server) -> World {
        let [a, b] = ["node-a", "node-b"].map(|name| Node::new(name, server).started());
        let dir = sandbox.dir.to_path_buf();
        World { a, b, dir, wrong: Vec::new() }
    }

    fn call(&self, node: &Node, args: &[String]) -> Out {
        run_within(&mut self.cmd(node, args, &[]), LIMIT)
    }

    /// A call of `zeta`, below another program if one is named.
    fn cmd(&self, node: &Node, args: &[String], below: &[&str]) -> std::process::Command {
        let zeta = [env!("CARGO_BIN_EXE_zeta")];
        let args = args.iter().map(String::as_str);
        let words: Vec<&str> = below.iter().chain(&zeta).copied().chain(args).collect();
        let mut command = node.sandbox.other(words[0], &words[1..]);
        command.env("ZETA_CLUSTER_SERVER", node.url()).env("ZETA_AGENT", &node.name);
        command
    }

    fn args(&self, verb: Verb, name: &str, token: &str) -> Vec<String> {
        let ran = format!("echo $ZETA_FENCING_TOKEN >> {}", self.ran(name).display());
        verb.args(name, token, &ran)
    }

    /// What the command of `exec` writes.
    fn ran(&self, name: &str) -> PathBuf {
        self.dir.join(format!("ran-{name}"))
    }

    fn prepare(&self, verb: Verb, name: &str) -> String {
        let Some(before) = verb.before() else { return String::new() };
        let out = self.call(&self.a, &self.args(before, name, ""));
        assert_eq!(out.status, 0, "{out:?}");
        out.out.trim_end().to_owned()
    }

    /// Runs the verb below strace; returns the trace, too.
    fn traced(&self, verb: Verb, name: &str, token: &str, options: &[&str]) -> (Out, String) {
        let log = self.dir.join("trace");
        let log_path = log.display().to_string();
        let below = [&["strace", "-o", &log_path], options].concat();
        let out = run_within(&mut self.cmd(&self.a, &self.args(verb, name, token), &below), LIMIT);
        (out, String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned())
    }

    /// The calls of a verb, of its own process alone. An answer of a server comes in one piece or
    /// in more, so the calls of the shortest of three runs are those that most runs have.
    fn record(&self, verb: Verb) -> Vec<Point> {
        // The first call of all proves the server.
        let runs = ["first", "second", "third", "fourth"].map(|name| {
            let name = format!("{name}-{}", verb as u8);
            let done = self.traced(verb, &name, &self.prepare(verb, &name), &["-f"]);
            assert_eq!(done.0.status, 0, "{done:?}");
            points_of_main(&done.1)
        });
        runs.into_iter().skip(1).min_by_key(Vec::len).unwrap()
    }

    /// Plays a verb with a fault at each of its calls.
    fn play(&mut self, verb: Verb) {
        let (mut made, mut missed) = (0, 0);
        for (at, point) in self.record(verb).iter().enumerate() {
            for (kind, fault) in ALL.iter().filter(|fault| is_chosen(point, **fault)).enumerate() {
                let name = format!("job-{}-{at}-{kind}", verb as u8);
                let token = self.prepare(verb, &name);
                let trace = format!("trace={}", point.call);
                let inject =
                    format!("inject={}:{}:when={}", point.call, fault.expression(), point.k);
                let options = ["-e", &trace, "-e", &inject];
                let (out, trace) = self.traced(verb, &name, &token, &options);
                if !trace.contains("SIGKILL") && !trace.contains("(INJECTED)") {
                    missed += 1;
                    continue;
                }
                made += 1;
                let said = format!("{fault:?} at {} ended {}: {}", point.line, out.status, out.err);
                let found = Case { world: self, verb, name, token, out }.judge();
                self.wrong.extend(found.err().map(|what| format!("{what}\n    {said}")));
            }
        }
        eprintln!("verb {}: {made} injections, {missed} missed", verb as u8);
        assert!(made > 15 && missed * 10 <= made, "{made} struck, {missed} did not");
    }
}

/// The calls of the process that was started first, in the trace of all.
fn points_of_main(trace: &str) -> Vec<Point> {
    let main = trace.split_once(' ').map_or("", |(pid, _)| pid).to_owned() + " ";
    points_of(
        &trace.split_inclusive('\n').filter(|line| line.starts_with(&main)).collect::<String>(),
    )
}

fn is_chosen(point: &Point, fault: Fault) -> bool {
    let call = point.call.as_str();
    match (full(), fault) {
        // The kernel refuses these to nobody, and the libraries end the process then.
        (true, Fault::Error { .. }) => {
            point.takes(fault) && !ENDLESS.contains(&call) && !point.line.contains(WAKES)
        }
        (true, Fault::Kill) => true,
        (false, Fault::Kill) => TAKEN.contains(&call),
        // The look at the guard after a record was written.
        (false, fault) => fault == EIO && call == "newfstatat",
    }
}

impl Case<'_> {
    fn a(&self, words: &[&str]) -> Out {
        self.world.call(&self.world.a, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    /// The other node tries to get it.
    fn b(&self, wait: bool) -> Out {
        let noun = if self.verb.is_claim() { "claim" } else { "lease" };
        let args = [noun, "acquire", &self.name, "--scope", "cluster", "--wait", "35s"];
        let args = &args[..if wait { 7 } else { 5 }];
        self.world.call(&self.world.b, &args.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    fn record(&self) -> Option<String> {
        let dir = self.world.a.sandbox.state.join("nodes/node-a");
        std::fs::read_to_string(dir.join(format!("{}.lock", self.name))).ok()
    }

    fn judge(&self) -> Judged {
        ensure!(self.out.status != -9, "it hung");
        ensure!(!self.out.err.contains("panicked"), "it panicked");
        let token = match self.verb {
            Verb::Exec => self.ran()?,
            Verb::Claim | Verb::HandOver | Verb::Unclaim => self.judge_claim()?,
            _ => self.judge_lease()?,
        };
        // It is free now, and the other node gets it at once.
        let next = self.b(true);
        ensure!(next.status == 0, "the other node did not get it: {next:?}");
        ensure!(next.took < BY_ITSELF, "the other node got it by the TTL: {next:?}");
        let new = number(&next.out)?;
        ensure!(Some(new) > token, "token {new} after {token:?}");
        if !self.verb.is_claim() {
            let beside = self.a(&["lease", "acquire", &self.name, "--scope", "cluster"]);
            ensure!(beside.status == 3, "both nodes hold it: {beside:?}");
            // What the dead holder left behind does not count any more.
            if let Some(record) = self.record() {
                let old = value(&record, "fencing_token");
                let check = self.a(&["lease", "check", &self.name, "--token", &old]);
                ensure!(check.status == 5, "its check passes beside the other node: {check:?}");
            }
        }
        let noun = if self.verb.is_claim() { "claim" } else { "lease" };
        let token = next.out.trim_end();
        let args = [noun, "release", &self.name, "--token", token].map(str::to_owned);
        let released = self.world.call(&self.world.b, &args);
        ensure!(released.status == 0, "the other node cannot release it: {released:?}");
        Ok(())
    }

    /// The token by which the command ran; at most one command did.
    fn ran(&self) -> Result<Option<u64>, String> {
        let text = std::fs::read_to_string(self.world.ran(&self.name)).unwrap_or_default();
        ensure!(text.lines().count() < 2, "it ran twice: {text}");
        ensure!(self.out.status != 0 || !text.is_empty(), "it ended with 0 and did not run");
        text.lines().next().map(number).transpose()
    }

    /// Judges what stands, and ends it; returns the highest token that was granted.
    fn judge_lease(&self) -> Result<Option<u64>, String> {
        let before = self.token.parse().ok();
        let is_end = matches!(self.verb, Verb::Release | Verb::Break);
        let Some(record) = self.record() else {
            ensure!(is_end || self.verb == Verb::Acquire, "the record is lost");
            ensure!(is_end || self.out.status != 0, "it said granted, and no record stands");
            return Ok(before);
        };
        ensure!(record.contains("scope: \"cluster\""), "the record is of the node: {record}");
        ensure!(!is_end || self.out.status != 0, "it said that it was done, and it was not");
        let token = value(&record, "fencing_token");
        ensure!(self.verb == Verb::Acquire || token == self.token, "another grant: {token}");
        let printed = self.out.out.trim();
        let says = self.verb == Verb::Acquire && !printed.is_empty();
        ensure!(!says || printed == token, "it printed {printed}, and {token} was granted");
        let verb = |verb: &str| self.a(&["lease", verb, &self.name, "--token", &token]);
        let other = self.b(false);
        match other.status {
            3 if !is_end => {
                for word in ["check", "renew"] {
                    let out = verb(word);
                    ensure!(out.status == 0, "{word}: {out:?}");
                }
            }
            3 => {}
            // The store has ended it, and the call was killed before the record.
            0 if is_end => {
                ensure!(number(&other.out)? > number(&token)?, "token {} after {token}", other.out);
                let args = ["lease", "release", &self.name, "--token", other.out.trim()];
                self.world.call(&self.world.b, &args.map(str::to_owned));
            }
            _ => return Err(format!("both nodes hold it: {other:?}")),
        }
        let released = verb("release");
        let is_over = matches!((released.status, is_end), (0, _) | (5, true));
        ensure!(is_over && self.record().is_none(), "its release: {released:?}");
        Ok(token.parse().ok().max(before))
    }

    /// The record of the claim.
    fn claim(&self) -> Option<String> {
        let dir = self.world.a.sandbox.state.join("nodes/node-a");
        let mut files = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
        let begin = format!("/claim.{}.", self.name);
        let is_it = |path: &PathBuf| path.display().to_string().contains(&begin);
        let file = files.find(|path| is_it(path) && path.extension().is_some_and(|e| e == "lock"));
        std::fs::read_to_string(file?).ok()
    }

    /// As [`Case::judge_lease`], for a claim.
    fn judge_claim(&self) -> Result<Option<u64>, String> {
        let lease = |token: &str, from: &str| {
            self.a(&["claim", "release", &self.name, "--token", token, "--from", from])
        };
        let record = self.claim();
        let before = self.token.parse().ok();
        let Some(record) = record else {
            // A handover that was cut off behind the store ends the claim.
            ensure!(self.verb == Verb::Unclaim || self.out.status != 0, "it said granted");
            return Ok(before);
        };
        ensure!(record.contains("scope: \"cluster\""), "the record is of the node: {record}");
        let (token, holder) = (value(&record, "fencing_token"), value(&record, "claim_from"));
        let is_done = self.out.status == 0;
        let as_said = match self.verb {
            Verb::HandOver => holder == "vera",
            verb => verb == Verb::Claim,
        };
        ensure!(!is_done || as_said, "it said that it was done: {record}");
        let other = self.b(false);
        let is_over = self.verb == Verb::HandOver && self.claim().is_none();
        if other.status == 0 && (self.verb == Verb::Unclaim || is_over) {
            let args = ["claim", "release", &self.name, "--token", other.out.trim()];
            self.world.call(&self.world.b, &args.map(str::to_owned));
        } else {
            ensure!(other.status == 3, "both nodes hold it: {other:?}");
            let is_named = other.err.contains(&holder) || other.err.contains("vera");
            ensure!(is_named, "{holder} holds it: {other:?}");
            ensure!(!is_done || other.err.contains(&holder), "{holder} holds it: {other:?}");
        }
        let released = lease(&token, &holder);
        let may_be_over = matches!(self.verb, Verb::Unclaim | Verb::HandOver) && !is_done;
        let is_over = released.status == 0 || may_be_over && matches!(released.status, 4 | 5);
        ensure!(is_over, "its release: {released:?}");
        Ok(token.parse().ok().max(before))
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no token"))
}

fn play(test: &str, verbs: &[Verb]) {
    let Some(program) = program(test, nats::newer()) else { return };
    let sandbox = Sandbox::new();
    if !run(&mut sandbox.other("strace", &["-o", "/dev/null", "true"])).status.eq(&0) {
        return skip(test, "needs strace, and the right to trace");
    }
    let server = cluster(&program, &sandbox);
    let mut world = World::new(&sandbox, &server);
    for verb in verbs {
        world.play(*verb);
    }
    let wrong = &world.wrong;
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_acquire_or_a_renewal_that_is_killed_leaves_one_holder_of_the_cluster_or_none() {
    play(test_name!(), &[Verb::Acquire, Verb::Renew]);
}

#[test]
fn a_release_or_a_break_that_is_killed_leaves_one_holder_of_the_cluster_or_none() {
    play(test_name!(), &[Verb::Release, Verb::Break]);
}

#[test]
fn an_exec_that_is_killed_leaves_the_lease_of_the_cluster_to_the_next_node() {
    play(test_name!(), &[Verb::Exec]);
}

#[test]
fn a_verb_of_a_claim_that_is_killed_leaves_one_holder_of_the_cluster_or_none() {
    play(test_name!(), &[Verb::Claim, Verb::HandOver, Verb::Unclaim]);
}
