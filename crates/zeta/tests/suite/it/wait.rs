//! Waiting for a lease without taking it, the grace of a holder that is overdue, and a killed
//! holder that does not end.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use crate::support::{LIMIT, Sandbox, can, finish, run, signal, skip, test_name, wait_for};

/// A wrapper that holds `job` and is stopped outside of the guard, so that it does not renew.
fn stopped_holder(sandbox: &Sandbox, more: &[&str]) -> Child {
    let args = [&["lease", "exec", "job", "--ttl", "300ms"], more, &["--", "sleep", "30"]].concat();
    let holder = sandbox.cmd(&args).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the lease is held", || sandbox.lock_exists("job"));
    let is_outside = || {
        let guard = std::fs::File::open(sandbox.guard("job")).unwrap();
        flock(&guard, FlockOperation::NonBlockingLockExclusive).is_ok()
    };
    wait_for("it is stopped outside of the guard", || {
        signal(holder.id(), Signal::STOP);
        wait_for("it is stopped", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", holder.id())).unwrap();
            stat.contains(") T ")
        });
        let outside = is_outside();
        if !outside {
            signal(holder.id(), Signal::CONT);
        }
        outside
    });
    holder
}

fn end(mut holder: Child) {
    signal(holder.id(), Signal::TERM);
    signal(holder.id(), Signal::CONT);
    crate::support::wait(&mut holder, LIMIT);
}

#[test]
fn a_wait_ends_when_the_lease_is_released_and_does_not_take_it() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job", "--as", "otto"]).to_string();
    let mut call = sandbox.cmd(&["lease", "wait", "job", "--timeout", "15s"]);
    let started = Instant::now();
    let child = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
    let out = finish(child, started, LIMIT);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.starts_with("lease job is free, after "), "{out:?}");
    assert!(out.err.contains("waiting for otto"), "{out:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "it was woken: {:?}", started.elapsed());
    sandbox.refused(&["lease", "show", "job"], 4);
}

#[test]
fn a_wait_ends_with_6_after_its_timeout_and_with_0_if_the_tree_goes_away() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["lease", "wait", "job"]);
    sandbox.acquire(&["job", "--as", "otto"]);
    let out = sandbox.refused(&["lease", "wait", "job", "--timeout", "100ms"], 6);
    assert!(out.err.contains("lease job is held by otto"), "{out:?}");
    let mut call = sandbox.cmd(&["lease", "wait", "job", "--timeout", "15s"]);
    let child = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    std::fs::remove_dir_all(&sandbox.state).unwrap();
    assert_eq!(finish(child, Instant::now(), LIMIT).status, 0);
}

#[test]
fn grace_is_told_as_grace() {
    let sandbox = Sandbox::new();
    let holder = stopped_holder(&sandbox, &["--grace", "2m"]);
    let show = || sandbox.ok(&["lease", "show", "job"]);
    wait_for("the TTL is over", || show().contains("in_grace"));
    assert!(show().contains("its TTL has run out; free in 1m 5"), "{}", show());
    let list = sandbox.ok(&["lease", "list"]);
    assert!(list.contains("; free in 1m 5") && list.contains("s (grace)"), "{list}");
    let out = sandbox.refused(&["lease", "acquire", "job"], 3);
    assert!(out.err.contains("; free in 1m 5"), "{out:?}");
    end(holder);
}

#[test]
fn a_waiter_says_once_and_not_at_each_renewal_what_it_waits_for() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let mut waiter = sandbox.cmd(&["lease", "acquire", "job", "--wait", "2s"]);
    let waiter = waiter.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let queue = sandbox.guard("job").join("queue");
    wait_for("it waits", || std::fs::read_dir(&queue).is_ok_and(|dir| dir.count() > 0));
    for _ in 0..5 {
        sandbox.ok(&["lease", "renew", "job", "--token", &token]);
        std::thread::sleep(Duration::from_millis(100));
    }
    let out = finish(waiter, Instant::now(), LIMIT);
    assert_eq!(out.status, 6, "{out:?}");
    assert_eq!(out.err.matches("waiting for").count(), 1, "{out:?}");
}

#[test]
fn a_wait_keeps_its_limit_when_a_killed_holder_does_not_end() {
    let sandbox = Sandbox::new();
    if !can("strace", &["-e", "inject=pidfd_send_signal:retval=0", "true"]) {
        return skip(test_name!(), "no strace that can inject");
    }
    let holder = stopped_holder(&sandbox, &["--grace", "0s", "--policy", "kill"]);
    let overdue = || sandbox.ok(&["lease", "show", "job"]).contains("overdue");
    wait_for("the holder is overdue", overdue);
    // The kill is said to have worked, and does nothing: as with a holder that is frozen.
    let deaf = ["-f", "-o", "/dev/null", "-e", "inject=pidfd_send_signal:retval=0"];
    for (more, status, limit) in [(&["--wait", "1s"][..], 6, 6), (&[], 3, 7)] {
        let zeta = [env!("CARGO_BIN_EXE_zeta"), "lease", "acquire", "job"];
        let out = run(&mut sandbox.other("strace", &[&deaf[..], &zeta, more].concat()));
        assert_eq!(out.status, status, "{more:?}: {out:?}");
        assert!(out.took < Duration::from_secs(limit), "{more:?}: {out:?}");
        assert!(out.err.contains("was killed, but has not ended"), "{out:?}");
    }
    end(holder);
}
