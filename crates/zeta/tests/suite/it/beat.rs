//! Beats: an agent that beats is shown as present, and no other agent can beat for it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Sandbox, finish, signal, until};

const SOON: Duration = Duration::from_secs(10);

fn persona(sandbox: &Sandbox, agent: &str) -> PathBuf {
    sandbox.node().join(format!("persona-{agent}.state"))
}

fn liveness(sandbox: &Sandbox, agent: &str) -> String {
    let status: Value = serde_json::from_str(&sandbox.ok(&["status", "--json"])).unwrap();
    let agents = status["nodes"][0]["agents"].as_array().unwrap();
    let found = agents.iter().find(|found| found["agent"] == agent);
    found.map_or("absent", |found| found["liveness"].as_str().unwrap()).to_owned()
}

#[test]
fn an_agent_that_beats_after_its_session_was_killed_is_here() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    let mut command = sandbox.cmd(&["run", "--as", "otto", "--", "sleep", "60"]);
    let mut wrapper = command.spawn().unwrap();
    let child = || {
        let text = std::fs::read_to_string(persona(&sandbox, "otto")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("child_pid: "))?.parse::<u32>().ok()
    };
    assert!(until(SOON, || child().is_some()));
    wrapper.kill().unwrap();
    wrapper.wait().unwrap();
    signal(child().unwrap(), Signal::KILL);
    assert!(until(SOON, || liveness(&sandbox, "otto") == "gone"));
    // What another agent writes about it is not its own beat.
    sandbox.ok(&["persona", "set", "otto", "task=t", "--as", "vera"]);
    assert_eq!(liveness(&sandbox, "otto"), "gone");
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    assert_eq!(liveness(&sandbox, "otto"), "live");
}

#[test]
fn a_command_that_outlives_its_zeta_run_is_named_with_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    let run = ["run", "--as", "otto", "--", "sleep", "60"];
    let mut wrapper = sandbox.cmd(&run).spawn().unwrap();
    let child = || {
        let text = std::fs::read_to_string(persona(&sandbox, "otto")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("child_pid: "))?.parse::<u32>().ok()
    };
    assert!(until(SOON, || child().is_some()));
    let pid = child().unwrap();
    assert!(!sandbox.ok(&["status"]).contains("is gone"));
    wrapper.kill().unwrap();
    wrapper.wait().unwrap();
    let words = format!("its zeta run (pid {}) is gone, and its command (pid {pid})", wrapper.id());
    let status = sandbox.ok(&["status"]);
    assert!(status.contains(&words) && status.contains(&format!("kill {pid}")), "{status}");
    let status: Value = serde_json::from_str(&sandbox.ok(&["status", "--json"])).unwrap();
    assert!(status["nodes"][0]["findings"].to_string().contains("lost_wrapper"), "{status}");
    let out = sandbox.refused(&run, 3);
    assert!(out.err.contains(&words) && out.err.contains(&format!("kill {pid}")), "{out:?}");
    signal(pid, Signal::TERM);
    assert!(until(SOON, || liveness(&sandbox, "otto") == "gone"));
    let status = sandbox.ok(&["status"]);
    assert!(status.contains("zeta persona clear otto"), "{status}");
    assert_eq!(sandbox.zeta(&["run", "--as", "otto", "--", "true"]).status, 0);
}

#[test]
fn nobody_beats_for_somebody_else() {
    let sandbox = Sandbox::new();
    let set = ["persona", "set", "alice", "task=t"];
    let beats =
        || std::fs::read_to_string(persona(&sandbox, "alice")).unwrap().contains("beat_seq");
    sandbox.ok(&[&set[..], &["--as", "bob"]].concat());
    assert!(!beats(), "bob beat for alice");
    let status = sandbox.ok(&["status"]);
    assert!(
        status.contains("agent alice has no heartbeat") && !status.contains("damaged"),
        "{status}"
    );
    sandbox.ok(&set);
    assert!(!beats(), "an unnamed agent beat for alice");
    sandbox.ok(&[&set[..], &["--as", "alice"]].concat());
    assert!(beats(), "alice did not beat for herself");
}

#[test]
fn nobody_beats_for_a_session_from_outside() {
    let sandbox = Sandbox::new();
    let script = r#""$Z" heartbeat --as otto || exit 7; touch "$D/inside"; exec sleep 30"#;
    let mut command = sandbox.cmd(&["run", "--as", "otto", "--", "sh", "-c", script]);
    command.env("Z", env!("CARGO_BIN_EXE_zeta")).env("D", &*sandbox.dir);
    let mut run = command.spawn().unwrap();
    assert!(until(SOON, || sandbox.dir.join("inside").exists()), "it may beat for itself");
    let record = || std::fs::read_to_string(persona(&sandbox, "otto")).unwrap();
    let before = record();
    let out = sandbox.refused(&["heartbeat", "--as", "otto"], 3);
    assert!(out.err.contains("which beats for it"), "{out:?}");
    let mut other = sandbox.cmd(&["heartbeat", "--as", "otto"]);
    assert_eq!(crate::support::run(other.env("ZETA_SESSION", "another")).status, 3);
    assert_eq!(record(), before);
    // The node is marked as seen by any beat, and another agent may beat.
    sandbox.ok(&["heartbeat", "--as", "vera"]);
    crate::support::signal(run.id(), rustix::process::Signal::TERM);
    crate::support::wait(&mut run, SOON);
}

#[test]
fn an_agent_need_not_name_itself() {
    let sandbox = Sandbox::new();
    sandbox.refused(&["persona", "set", "--task", "x"], 2);
    assert!(!sandbox.state.exists());
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let script =
        format!("{zeta} persona set --task B-1 && {zeta} persona set colour=red && {zeta} status");
    let out = sandbox.ok(&["run", "--as", "otto", "--", "sh", "-c", &script]);
    let record = std::fs::read_to_string(persona(&sandbox, "otto")).unwrap();
    assert!(record.contains("task: \"B-1\"") || record.contains("task: B-1"), "{record}");
    assert!(record.contains("colour: "), "{record}");
    // What 'zeta run' sets is not what a person chose.
    assert!(out.contains("this machine's own") && !out.contains("ZETA_NODE"), "{out}");
    sandbox.ok(&["--as", "vera", "persona", "set", "--task", "y"]);
    assert!(persona(&sandbox, "vera").exists());
    // Its own word is a beat of the node, too.
    let fresh = Sandbox::new();
    fresh.ok(&["--as", "vera", "persona", "set", "--task", "y"]);
    let status = fresh.ok(&["status"]);
    assert!(status.contains("last beat ") && !status.contains("no beat on record"), "{status}");
    sandbox.refused(&["marker", "set"], 2);
}

#[test]
fn a_broken_last_seen_line_keeps_no_agent_from_its_beat() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    let line = sandbox.node().join("last-seen.iso");
    let before = std::fs::read_to_string(persona(&sandbox, "otto")).unwrap();
    std::fs::remove_file(&line).unwrap();
    std::os::unix::fs::symlink("/dev/null", &line).unwrap();
    let out = sandbox.refused(&["heartbeat", "--as", "otto"], 7);
    assert!(out.err.contains("last-seen.iso"), "{out:?}");
    assert_ne!(std::fs::read_to_string(persona(&sandbox, "otto")).unwrap(), before);
}

#[test]
fn a_heartbeat_that_goes_on_outlives_a_fault_and_tells_it_once() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    sandbox.ok(&["heartbeat"]);
    let line = sandbox.node().join("last-seen.iso");
    std::fs::remove_file(&line).unwrap();
    std::os::unix::fs::symlink("/dev/null", &line).unwrap();
    let mut command =
        sandbox.cmd(&["heartbeat", "--as", "otto", "--every", "100ms", "--count", "60"]);
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let beats = |text: &str| {
        std::fs::read_to_string(persona(&sandbox, "otto")).is_ok_and(|have| have.contains(text))
    };
    assert!(until(SOON, || beats("beat_seq: 5\n")), "it did not go on");
    std::fs::remove_file(&line).unwrap();
    let out = finish(child, started, Duration::from_secs(30));
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(out.err.matches("last-seen.iso").count(), 1, "{out:?}");
    assert!(line.is_file() && beats("beat_seq: 60\n"));
}

/// A process that ends with the test, however that ends.
struct Service(std::process::Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_heartbeat_that_is_a_service_tells_its_manager_how_it_is() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    sandbox.ok(&["heartbeat"]);
    let line = sandbox.node().join("last-seen.iso");
    let path = sandbox.dir.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut command = sandbox.cmd(&["heartbeat", "--every", "1h"]);
    // It is fed long before the next beat.
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let service = Service(command.spawn().unwrap());
    let heard: Vec<String> = (0..4).map(|_| hear()).collect();
    drop(service);
    assert_eq!(heard, ["READY=1\nSTATUS=beating", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);

    // What fails is told, and the service goes on.
    std::fs::remove_file(&line).unwrap();
    std::os::unix::fs::symlink("/dev/null", &line).unwrap();
    let mut command = sandbox.cmd(&["heartbeat", "--every", "100ms"]);
    command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null());
    let _service = Service(command.spawn().unwrap());
    let told = (0..200).map(|_| hear()).find(|text| text.contains("STATUS="));
    assert!(told.as_ref().is_some_and(|text| text.contains("last-seen.iso")), "{told:?}");
    std::fs::remove_file(&line).unwrap();
    let well = (0..2000).map(|_| hear()).any(|text| text == "READY=1\nSTATUS=beating");
    assert!(well, "the end of the fault is told, too");
}
