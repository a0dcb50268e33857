//! Tests of the demo, which makes claims about the rest: it must be able to fail, and leave
//! nothing.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{TempDir, find, skip, test_name};
use serde_json::Value;

/// A directory for temporary files that belongs to one test.
struct Sandbox(TempDir);

impl Sandbox {
    fn new(name: &str) -> Sandbox {
        let dir = TempDir::new(&format!("demo-{name}"), 0o700);
        fs::create_dir(dir.join("tmp")).unwrap();
        fs::create_dir(dir.join("bin")).unwrap();
        Sandbox(dir)
    }

    fn zeta(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        let path = std::env::var("PATH").unwrap();
        command.args(args).env("TMPDIR", self.0.join("tmp"));
        command.env("PATH", format!("{}:{path}", self.0.join("bin").display()));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.zeta(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a demo to its last check. Its leases are short: on a machine that is too busy for them
    /// a demo stops early, says that it showed nothing, and is run again.
    fn run_to_the_end(&self) -> (Output, Value) {
        for _ in 0..4 {
            let output = self.run(&["demo", "--json"]);
            let report = json(&output);
            if claims(&report).iter().any(|(text, _)| text.contains("no process is left")) {
                return (output, report);
            }
            assert_eq!(output.status.code(), Some(1), "{report:#}");
            assert_eq!(report["outcome"], "not_shown", "{report:#}");
            eprintln!("a demo that stopped early: {report:#}");
        }
        panic!("no demo came to its end");
    }

    /// Puts a `git` before the real one that does `first`, then what it was asked for.
    fn bend_git(&self, first: &str) {
        let real = find("git").unwrap();
        let bent = format!("#!/bin/sh\n{first}\nexec '{}' \"$@\"\n", real.display());
        let path = self.0.join("bin/git");
        fs::write(&path, bent).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Nothing is in the directory for temporary files, and no process knows of it any more.
    fn assert_nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.0.join("tmp")).unwrap().flatten().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let processes = processes_that_know(&self.0.join("tmp/zeta-demo-"));
        assert!(processes.is_empty(), "left running: {processes:?}");
    }
}

/// The demo needs two programs; without them the test cannot run here, and says so.
fn cannot_run(test: &str) -> bool {
    let Some(missing) = ["git", "flock"].into_iter().find(|program| find(program).is_none()) else {
        return false;
    };
    skip(test, &format!("there is no {missing} here"));
    true
}

/// Processes with `path` in their environment.
fn processes_that_know(path: &Path) -> Vec<String> {
    let needle = path.to_str().unwrap().as_bytes();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let knows = processes.filter(|entry| {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.windows(needle.len()).any(|window| window == needle)
    });
    knows.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one object on one line: {text}");
    serde_json::from_str(&text).unwrap()
}

fn claims(report: &Value) -> Vec<(&str, bool)> {
    let claims = report["claims"].as_array().unwrap().iter();
    claims.map(|c| (c["text"].as_str().unwrap(), c["checked"].as_bool().unwrap())).collect()
}

#[test]
fn every_claim_is_checked_and_nothing_is_left() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("json");
    let (output, report) = sandbox.run_to_the_end();
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["outcome"], "shown");
    let claims = claims(&report);
    assert!(claims.iter().all(|(_, checked)| *checked), "{claims:?}");
    for wanted in [
        "won the lease register-pr-in-flight, the other two wait in the queue",
        "was killed half-way through its push, and nothing of it landed",
        "ms after the kill, with a higher token",
        "which is alive, after TTL and grace",
        "set the marker self-registered",
        "the repository refused the late push of",
        "no process is left",
    ] {
        assert!(claims.iter().any(|(text, _)| text.contains(wanted)), "no claim: {wanted}");
    }
    let at_ms: Vec<u64> =
        report["claims"].as_array().unwrap().iter().map(|c| c["at_ms"].as_u64().unwrap()).collect();
    assert!(at_ms.is_sorted(), "{at_ms:?}");
    sandbox.assert_nothing_is_left();
}

#[test]
fn the_files_are_shown_as_they_change_and_a_table_ends_it() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("text");
    let state = sandbox.0.join("state");
    // A caller inside a session, a repository and a state directory of its own: none has an effect.
    let output = sandbox
        .zeta(&["demo", "--state-dir", state.to_str().unwrap()])
        .env("ZETA_STATE_DIR", sandbox.0.join("not-this-one"))
        .env("ZETA_SESSION", "somebody-elses")
        .env("ZETA_NODE", "not-this-node")
        .env("GIT_DIR", sandbox.0.join("no-such-repository"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for wanted in [
        "register-pr-in-flight.lock appears\n",
        "register-pr-in-flight.lock changes\n",
        "register-pr-in-flight.lock is removed\n",
        "self-registered.marker appears\n",
        "SIGKILL to otto-",
        "SIGSTOP to otto-",
        "SIGCONT to otto-",
        "  at ms  checked  what happened, and the evidence\n",
    ] {
        assert!(text.contains(wanted), "not shown: {wanted:?} in\n{text}");
    }
    assert!(!text.contains("  NO  ") && !text.contains('\x1b'), "{text}");
    assert!(text.lines().last().unwrap().starts_with("All "), "{text}");
    assert!(!sandbox.0.join("not-this-one").exists());
    // The state is left where it was asked for, and another demo does not run in it.
    assert!(state.join("nodes").is_dir());
    let again = sandbox.run(&["demo", "--state-dir", state.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    sandbox.assert_nothing_is_left();
}

#[test]
fn a_repository_that_forgets_its_tokens_fails_the_demo() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("forget");
    sandbox
        .bend_git("case \" $* \" in *' push '*) rm -f \"${DEMO_REMOTE-.}/fencing-token\";; esac");
    let (output, report) = sandbox.run_to_the_end();
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["outcome"], "not_shown", "{report:#}");
    let refuted: Vec<_> = claims(&report).into_iter().filter(|(_, checked)| !checked).collect();
    assert!(
        refuted.iter().any(|(text, _)| text.contains("refused the late push")),
        "the fence was open, and the demo did not notice: {report:#}"
    );
    sandbox.assert_nothing_is_left();
}

#[test]
fn a_push_without_its_token_fails_the_demo() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("drop");
    sandbox.bend_git(
        "for word do shift; case $word in fencing-token=*) word=other=1;; esac\n\
         set -- \"$@\" \"$word\"; done",
    );
    let output = sandbox.run(&["demo", "--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert!(report["message"].as_str().unwrap().contains("before its time"), "{report:#}");
    sandbox.assert_nothing_is_left();
}

#[test]
fn a_hook_that_is_not_there_fails_the_demo() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("hook");
    let gone = "rm -f \"$DEMO_REMOTE/hooks/pre-receive\"";
    sandbox.bend_git(&format!("case \" $* \" in *' push '*) {gone};; esac"));
    let output = sandbox.run(&["demo"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("before its time"), "{text}");
    sandbox.assert_nothing_is_left();
}

/// Plays the demo beside a page that is connected; true if it showed all, and the page stayed until
/// it was interrupted.
fn plays_on_a_page(sandbox: &Sandbox) -> bool {
    let mut command = sandbox.zeta(&["demo", "--web"]);
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let (host, query) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut browser = TcpStream::connect(host).unwrap();
    write!(browser, "GET /{query} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    browser.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut rest = lines.map(Result::unwrap);
    if !rest.any(|line| line.starts_with("All ")) {
        assert_eq!(demo.wait().unwrap().code(), Some(1));
        return false;
    }
    // The page is still served.
    TcpStream::connect(host).unwrap();
    let pid = rustix::process::Pid::from_child(&demo);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(host).is_err());
    true
}

#[test]
fn a_page_shows_the_demo_and_stays_until_ctrl_c() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("web");
    // On a busy machine a demo may stop early.
    assert!((0..4).any(|_| plays_on_a_page(&sandbox)), "no demo came to its end");
    sandbox.assert_nothing_is_left();
}

#[test]
fn the_page_of_a_killed_demo_ends_too() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("web-killed");
    let mut command = sandbox.zeta(&["demo", "--web"]);
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let url = BufReader::new(demo.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let host = url.strip_prefix("http://").unwrap().split_once('/').unwrap().0;
    demo.kill().unwrap();
    demo.wait().unwrap();
    crate::support::wait_for("the page ends", || TcpStream::connect(host).is_err());
}

#[test]
fn without_git_the_next_step_is_named() {
    let sandbox = Sandbox::new("nogit");
    for program in ["env", "sh"] {
        let target = find(program).unwrap();
        std::os::unix::fs::symlink(target, sandbox.0.join("bin").join(program)).unwrap();
    }
    let output = sandbox.zeta(&["demo"]).env("PATH", sandbox.0.join("bin")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.contains("git") && text.contains("apt install git"), "{text}");
    sandbox.assert_nothing_is_left();
}

#[test]
fn interrupted_it_takes_everything_with_it() {
    if cannot_run(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new("interrupt");
    let mut demo =
        sandbox.zeta(&["demo"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let needle = sandbox.0.join("tmp/zeta-demo-");
    // The demo itself is not marked: three agents and their wrappers are.
    while processes_that_know(&needle).len() < 6 {
        assert!(Instant::now() < until, "its agents never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&demo);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(128 + 2));
    sandbox.assert_nothing_is_left();
}
