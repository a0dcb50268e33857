//! The queue: a waiter keeps its ticket while it holds the lease, and the waiters behind it are
//! woken, however the holding ends.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Out, Sandbox, finish, one_is_faster, signal, skip, test_name, until, wait};

const SOON: Duration = Duration::from_secs(10);

fn entries(sandbox: &Sandbox, dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(sandbox.guard("job").join(dir)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn holds(sandbox: &Sandbox, pid: u32) -> bool {
    if !sandbox.state.join("local-node").exists() {
        return false;
    }
    let record = std::fs::read_to_string(sandbox.lock("job")).unwrap_or_default();
    record.contains(&format!("\npid: {pid}\n"))
}

/// A wrapper in the line behind `before` others, whose command runs for a minute.
fn in_line(sandbox: &Sandbox, before: usize, ttl: &str) -> Child {
    let args = ["lease", "exec", "job", "--wait", "30s", "--ttl", ttl, "--", "sleep", "60"];
    let child = sandbox.cmd(&args).stderr(Stdio::null()).spawn().unwrap();
    assert!(until(SOON, || entries(sandbox, "queue").len() > before), "it does not queue");
    child
}

/// A single call that waits behind `before` others.
fn call_in_line(sandbox: &Sandbox, before: usize) -> Child {
    let mut call = sandbox.cmd(&["lease", "acquire", "job", "--wait", "30s"]);
    let call = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(until(SOON, || entries(sandbox, "queue").len() > before), "it does not queue");
    call
}

/// The command of a `lease exec`.
fn command(wrapper: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", wrapper.id());
    // The first child; a command that runs for a moment has a witness beside it.
    let children = std::fs::read_to_string(children).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

/// Ends the command of a `lease exec`, so that its wrapper releases.
fn end_command(wrapper: &mut Child) {
    signal(command(wrapper), Signal::TERM);
    wait(wrapper, SOON);
}

/// A sandbox in which a wrapper waited for the lease and has it now, and `second` came to wait
/// behind it while both waited: it sleeps on the first one's ticket.
fn handed_over(ttl: &str, second: impl Fn(&Sandbox) -> Child) -> (Sandbox, Child, Child) {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let first = in_line(&sandbox, 0, ttl);
    let second = second(&sandbox);
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
    assert!(until(SOON, || holds(&sandbox, first.id())), "the head of the line got nothing");
    assert_eq!(entries(&sandbox, "queue").len(), 2, "a holder that waited keeps its ticket");
    (sandbox, first, second)
}

fn granted(out: &Out) {
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn a_release_hands_the_lease_to_the_next_in_line() {
    one_is_faster(Duration::from_millis(900), || {
        let (sandbox, mut first, second) = handed_over("5m", |sandbox| call_in_line(sandbox, 1));
        let released = Instant::now();
        end_command(&mut first);
        let out = finish(second, released, SOON);
        granted(&out);
        assert_eq!(entries(&sandbox, "queue"), Vec::<String>::new());
        assert!(entries(&sandbox, ".").iter().all(|name| !name.starts_with(".tmp")));
        out.took
    });
}

#[test]
fn a_stopped_holder_that_waited_keeps_nobody_in_line() {
    one_is_faster(Duration::from_millis(1500), || {
        let (sandbox, mut first, mut second) =
            handed_over("300ms", |sandbox| in_line(sandbox, 1, "5m"));
        let third = call_in_line(&sandbox, 2);
        signal(first.id(), Signal::STOP);
        assert!(until(SOON, || holds(&sandbox, second.id())), "the second waits for a stopped one");
        let released = Instant::now();
        end_command(&mut second);
        let out = finish(third, released, SOON);
        granted(&out);
        signal(first.id(), Signal::CONT);
        end_command(&mut first);
        assert_eq!(entries(&sandbox, "queue"), Vec::<String>::new());
        out.took
    });
}

#[test]
fn a_killed_holder_that_waited_is_replaced_at_once() {
    let (_stage, mut first, second) = handed_over("5m", |sandbox| call_in_line(sandbox, 1));
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
    one_is_faster(Duration::from_millis(900), || {
        let (sandbox, mut first, second) = handed_over("5m", |sandbox| call_in_line(sandbox, 1));
        let record = std::fs::read_to_string(sandbox.lock("job")).unwrap();
        let token = record.split("fencing_token: ").nth(1).unwrap().lines().next().unwrap();
        let broken = Instant::now();
        sandbox.ok(&["lease", "break", "job", "--expect", token, "--reason", "test"]);
        let out = finish(second, broken, SOON);
        granted(&out);
        end_command(&mut first);
        assert_eq!(entries(&sandbox, "queue"), Vec::<String>::new());
        out.took
    });
}

#[test]
fn a_holder_whose_node_or_tree_is_removed_learns_it() {
    for part in ["tree", "node", "moved"] {
        let sandbox = Sandbox::new();
        let args = ["lease", "exec", "job", "--ttl", "800ms", "--on-lost", "kill", "--"];
        let mut command = sandbox.cmd(&args);
        let exec = command.args(["sleep", "30"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let exec = exec.spawn().unwrap();
        assert!(until(SOON, || sandbox.state.exists() && holds(&sandbox, exec.id())));
        match part {
            "tree" => std::fs::remove_dir_all(&sandbox.state).unwrap(),
            "node" => std::fs::remove_dir_all(sandbox.node()).unwrap(),
            _ => std::fs::rename(sandbox.node(), sandbox.dir.join("moved")).unwrap(),
        }
        let removed = Instant::now();
        let other = sandbox.acquire(&["job"]);
        let out = finish(exec, removed, SOON);
        assert_eq!(out.status, 5, "{part}: {out:?}");
        sandbox.ok(&["lease", "check", "job", "--token", &other.to_string()]);
    }
}

#[test]
fn a_guard_that_is_removed_costs_its_holder_nothing() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    std::fs::remove_dir_all(sandbox.guard("job")).unwrap();
    sandbox.ok(&["lease", "renew", "job", "--token", &token]);
    std::fs::remove_dir_all(sandbox.guard("job")).unwrap();
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
    assert!(sandbox.acquire(&["job"]) > token.parse().unwrap());
}

#[test]
fn whoever_releases_for_a_holder_that_waited_frees_the_line() {
    one_is_faster(Duration::from_millis(400), || {
        let (sandbox, mut first, second) = handed_over("5m", |sandbox| call_in_line(sandbox, 1));
        let record = std::fs::read_to_string(sandbox.lock("job")).unwrap();
        let token = record.split("fencing_token: ").nth(1).unwrap().lines().next().unwrap();
        let released = Instant::now();
        sandbox.ok(&["lease", "release", "job", "--token", token]);
        let out = finish(second, released, SOON);
        granted(&out);
        assert_eq!(entries(&sandbox, "queue"), Vec::<String>::new());
        end_command(&mut first);
        out.took
    });
}

#[test]
fn the_ticket_of_a_holder_in_another_pid_namespace_is_known_as_the_holder_s() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child", zeta, "lease", "exec", "job"];
    let mut inside = sandbox.other("unshare", &unshare);
    let inside = inside.args(["--wait", "10m", "--ttl", "1s", "--", "sleep", "60"]);
    let mut inside = inside.stderr(Stdio::null()).spawn().unwrap();
    if !until(Duration::from_secs(3), || entries(&sandbox, "queue").len() == 1) {
        let _ = inside.kill();
        inside.wait().unwrap();
        return skip(test_name!(), "needs a pid namespace");
    }
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
    let record = || std::fs::read_to_string(sandbox.lock("job")).unwrap_or_default();
    assert!(until(SOON, || record().contains("\nchild_pid: ")), "it got nothing");
    inside.kill().unwrap();
    inside.wait().unwrap();
    // Unknown never robs before the TTL; then the ticket goes with the lease.
    let token = sandbox.acquire(&["job", "--wait", "10s"]).to_string();
    assert_eq!(entries(&sandbox, "queue"), Vec::<String>::new());
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
}
