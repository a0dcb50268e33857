//! The line of those who wait: whoever waited keeps its ticket while it holds, and nobody behind it
//! is left asleep, however the holding ends.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::stage::{Out, Stage, finish, signal, until, wait};

const SOON: Duration = Duration::from_secs(10);

fn entries(stage: &Stage, dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(stage.guard("job").join(dir)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn holds(stage: &Stage, pid: u32) -> bool {
    let record = std::fs::read_to_string(stage.lock("job")).unwrap_or_default();
    record.contains(&format!("\npid: {pid}\n"))
}

/// A wrapper in the line behind `before` others, whose command runs for a minute.
fn in_line(stage: &Stage, before: usize, ttl: &str) -> Child {
    let args = ["lease", "exec", "job", "--wait", "30s", "--ttl", ttl, "--", "sleep", "60"];
    let child = stage.cmd(&args).stderr(Stdio::null()).spawn().unwrap();
    assert!(until(SOON, || entries(stage, "queue").len() > before), "it does not queue");
    child
}

/// A single call that waits behind `before` others.
fn call_in_line(stage: &Stage, before: usize) -> Child {
    let mut call = stage.cmd(&["lease", "acquire", "job", "--wait", "30s"]);
    let call = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(until(SOON, || entries(stage, "queue").len() > before), "it does not queue");
    call
}

/// The command of a `lease exec`.
fn command(wrapper: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", wrapper.id());
    std::fs::read_to_string(children).unwrap().trim().parse().unwrap()
}

/// Ends the command of a `lease exec`, so that its wrapper releases.
fn end_command(wrapper: &mut Child) {
    signal(command(wrapper), Signal::TERM);
    wait(wrapper, SOON);
}

/// A stage on which a wrapper waited for the lease and has it now, and `second` came to wait behind
/// it while both waited: it sleeps on the first one's ticket.
fn handed_over(ttl: &str, second: impl Fn(&Stage) -> Child) -> (Stage, Child, Child) {
    let stage = Stage::new();
    let token = stage.acquire(&["job"]).to_string();
    let first = in_line(&stage, 0, ttl);
    let second = second(&stage);
    stage.ok(&["lease", "release", "job", "--token", &token]);
    assert!(until(SOON, || holds(&stage, first.id())), "the head of the line got nothing");
    assert_eq!(entries(&stage, "queue").len(), 2, "a holder that waited keeps its ticket");
    (stage, first, second)
}

fn granted(out: &Out) {
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn a_release_hands_the_lease_to_the_next_in_line() {
    let (stage, mut first, second) = handed_over("5m", |stage| call_in_line(stage, 1));
    let released = Instant::now();
    end_command(&mut first);
    let out = finish(second, released, SOON);
    granted(&out);
    // Without the hand-over it would look once a second.
    assert!(out.took < Duration::from_millis(900), "nobody woke it: {out:?}");
    assert_eq!(entries(&stage, "queue"), Vec::<String>::new());
    assert!(entries(&stage, ".").iter().all(|name| !name.starts_with(".tmp")));
}

#[test]
fn a_stopped_holder_that_waited_keeps_nobody_in_line() {
    let (stage, mut first, mut second) = handed_over("300ms", |stage| in_line(stage, 1, "5m"));
    let third = call_in_line(&stage, 2);
    signal(first.id(), Signal::STOP);
    assert!(until(SOON, || holds(&stage, second.id())), "the second waits for a stopped one");
    let released = Instant::now();
    end_command(&mut second);
    let out = finish(third, released, SOON);
    granted(&out);
    assert!(out.took < Duration::from_millis(1500), "the third waits for a stopped one: {out:?}");
    signal(first.id(), Signal::CONT);
    end_command(&mut first);
    assert_eq!(entries(&stage, "queue"), Vec::<String>::new());
}

#[test]
fn a_killed_holder_that_waited_is_replaced_at_once() {
    let (_stage, mut first, second) = handed_over("5m", |stage| call_in_line(stage, 1));
    let command = command(&first);
    let killed = Instant::now();
    first.kill().unwrap();
    first.wait().unwrap();
    signal(command, Signal::KILL);
    let out = finish(second, killed, SOON);
    granted(&out);
}

#[test]
fn a_break_frees_the_line_though_the_holder_keeps_its_ticket() {
    let (stage, mut first, second) = handed_over("5m", |stage| call_in_line(stage, 1));
    let record = std::fs::read_to_string(stage.lock("job")).unwrap();
    let token = record.split("fencing_token: ").nth(1).unwrap().lines().next().unwrap();
    let broken = Instant::now();
    stage.ok(&["lease", "break", "job", "--expect", token, "--reason", "test"]);
    let out = finish(second, broken, SOON);
    granted(&out);
    assert!(out.took < Duration::from_millis(900), "nobody woke it: {out:?}");
    end_command(&mut first);
    assert_eq!(entries(&stage, "queue"), Vec::<String>::new());
}
