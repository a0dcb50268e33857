//! The view where there is no terminal: lines, or overviews as JSON.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::Agent;
use crate::json::misfits;
use crate::support::{LIMIT, Sandbox, can, skip, test_name, wait};

/// A call whose lines are read one by one.
struct Stream {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Stream {
    fn start(command: &mut Command) -> Stream {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Stream { child, lines }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the output ended: {line:?}");
        line.trim_end().to_owned()
    }

    /// Reads on until a line has this text.
    fn find(&mut self, text: &str) -> String {
        loop {
            let line = self.next();
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_change_is_a_line() {
    let sandbox = Sandbox::new();
    let mut stream = Stream::start(&mut sandbox.cmd(&["status", "--watch"]));
    let first = stream.next();
    assert!(
        first.ends_with(&format!("{}: 0 agents, 0 leases", sandbox.state.display())),
        "{first}"
    );
    assert!(stream.next().ends_with("nothing needs a person"));
    let otto = Agent::start(&sandbox, "otto");
    let line = stream.find("otto is here: live");
    let time: Vec<usize> =
        line.get(..8).unwrap().split(':').map(|it| it.parse().unwrap()).collect();
    assert!(time[0] < 24 && time[1] < 60 && time[2] < 60, "{line}");
    sandbox.ok(&["bus", "send", "otto", "look here", "--as", "max"]);
    stream.find("max -> otto: look here");
    let token = sandbox.acquire(&["deploy", "--as", "otto"]).to_string();
    stream.find("deploy: otto took it");
    sandbox
        .ok(&["lease", "break", "deploy", "--expect", &token, "--as", "max", "--reason", "hung"]);
    stream.find("deploy: otto lost it, broken by max: hung");
    drop(otto);
    stream.find("otto was live, is gone");
}

#[test]
fn it_ends_with_the_reader_of_its_output_without_a_further_change() {
    for args in [&["watch"][..], &["watch", "--json"]] {
        let sandbox = Sandbox::new();
        sandbox.ok(&["heartbeat", "--as", "otto"]);
        let mut child = sandbox.cmd(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        drop(lines);
        assert_eq!(wait(&mut child, LIMIT), 0, "{args:?}");
    }
}

#[test]
fn with_json_each_change_is_an_overview_that_fits_its_schema() {
    let sandbox = Sandbox::new();
    let mut stream = Stream::start(&mut sandbox.cmd(&["watch", "--json"]));
    let mut next = || -> Value {
        let overview = serde_json::from_str(&stream.next()).unwrap();
        assert_eq!(misfits("watch", &overview), [""; 0], "{overview}");
        overview
    };
    assert_eq!(next()["agents"], Value::Array(Vec::new()));
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    sandbox.ok(&["persona", "set", "otto", "--as", "otto", "task=the prices"]);
    sandbox.acquire(&["deploy", "--as", "otto", "--purpose", "release"]);
    sandbox.ok(&["bus", "send", "otto", "look here", "--as", "max"]);
    loop {
        let overview = next();
        let known = |list: &str| overview[list].as_array().unwrap().first().cloned();
        if let (Some(agent), Some(lease), Some(message)) =
            (known("agents"), known("leases"), known("messages"))
            && agent.get("task").is_some()
        {
            assert_eq!((&agent["name"], &lease["purpose"]), (&"otto".into(), &"release".into()));
            assert_eq!((&message["text"], &agent["unread"]), (&"look here".into(), &1.into()));
            break;
        }
    }
}

#[test]
fn a_full_output_is_a_fault_that_is_said() {
    if !std::path::Path::new("/dev/full").exists() {
        crate::support::skip(crate::support::test_name!(), "there is no /dev/full");
        return;
    }
    let sandbox = Sandbox::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.cmd(&["watch"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("could not print"), "{said}");
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.refused(&["status", "--watch", "--waiting"], 2);
    sandbox.refused(&["watch", "agents"], 2);
}

#[test]
fn with_too_few_descriptors_it_says_so_and_does_not_turn() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["deploy", "--as", "ann"]);
    if !can("prlimit", &["--version"]) {
        return skip(test_name!(), "needs prlimit");
    }
    for limit in 8..=14 {
        let nofile = format!("--nofile={limit}:{limit}");
        let args = [&nofile, env!("CARGO_BIN_EXE_zeta"), "watch", "--json"];
        let mut command = sandbox.other("prlimit", &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1200));
        child.kill().unwrap();
        let out = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8(out.stdout).unwrap(), out.stderr);
        let lines: Vec<&str> = out.lines().collect();
        // A process that cannot even start says that itself.
        let Some(last) = lines.last() else {
            assert!(!err.is_empty(), "{limit}: it said nothing at all");
            continue;
        };
        assert!(lines.len() < 4, "{limit}: nothing happened, and it says so: {lines:#?}");
        let last: Value = serde_json::from_str(last).unwrap();
        let (leases, findings) = (&last["leases"], &last["findings"]);
        let knows = leases.to_string().contains("deploy");
        assert!(knows || findings.to_string().contains("oo many open files"), "{limit}: {last}");
    }
}
