//! A kill at one named moment, where the standard says what is left: after an exchange, and between
//! a fork and the record of the child. And a token file that is cut short, or goes with its guard.

use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use super::fault::Fault;
use super::sandbox::Sandbox;
use super::trace::{Point, inject, pause, record, shorten, works};
use crate::support::{LIMIT, skip, test_name, until};

/// The guard of the lease `job`.
fn guard(sandbox: &Sandbox) -> PathBuf {
    let nodes = sandbox.world.join("state/nodes");
    let node = std::fs::read_dir(nodes).unwrap().next().unwrap().unwrap().path();
    node.join(".guard/job.lock")
}

/// The temporary files in it.
fn temps(sandbox: &Sandbox) -> usize {
    let entries = std::fs::read_dir(guard(sandbox)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".tmp-")).count()
}

fn next(points: &[Point], is_it: impl Fn(&Point) -> bool) -> Option<(usize, &Point)> {
    points.iter().enumerate().find(|(_, point)| is_it(point))
}

#[test]
fn a_kill_after_an_exchange_leaves_the_old_record_to_the_next_call() {
    let sandbox = Sandbox::below_tmp();
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    let token = sandbox.ok(&["lease", "acquire", "job"]);
    let renew = ["lease", "renew", "job", "--token", &token];
    let (out, points) = record(&sandbox, &renew);
    assert_eq!(out.status, 0, "{out:?}");
    let Some((at, _)) = next(&points, |point| point.line.contains("RENAME_EXCHANGE")) else {
        return skip(test_name!(), "needs a /tmp on a disk");
    };
    let (_, unlink) = next(&points[at..], |point| point.call == "unlinkat").unwrap();
    assert_eq!(temps(&sandbox), 0);
    let (out, struck) = inject(&sandbox, unlink, Fault::Kill, &renew);
    assert!(struck, "{out:?}");
    assert_eq!(temps(&sandbox), 1, "the old record");
    let record = sandbox.ok(&["lease", "show", "job", "--json"]);
    assert!(record.contains("\"renew_seq\":2"), "the exchange was the change: {record}");
    sandbox.ok(&renew);
    assert_eq!(temps(&sandbox), 0);
}

#[test]
fn a_child_whose_wrapper_is_killed_before_its_record_has_done_nothing() {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    let done = sandbox.world.join("done");
    let args = ["lease", "exec", "job", "--", "touch", done.to_str().unwrap()];
    sandbox.ok(&args);
    let (out, points) = record(&sandbox, &args);
    assert!(out.status == 0 && done.exists(), "{out:?}");
    std::fs::remove_file(&done).unwrap();
    let is_fork = |point: &Point| ["clone", "clone3", "fork", "vfork"].contains(&&*point.call);
    let (forked, _) = next(&points, is_fork).unwrap();
    let is_rename = |point: &Point| point.call.starts_with("rename");
    let (_, publish) = next(&points[forked..], is_rename).unwrap();
    // strace goes on until the child has ended, too.
    let (out, struck) = inject(&sandbox, publish, Fault::Kill, &args);
    assert!(struck, "{out:?}");
    assert!(!done.exists(), "the child ran without a record");
    sandbox.ok(&["lease", "acquire", "job", "--wait", "5s"]);
}

#[test]
fn a_token_that_could_not_be_written_whole_is_not_granted() {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    sandbox.ok(&["lease", "acquire", "other"]);
    let args = ["lease", "acquire", "job"];
    let (out, points) = record(&sandbox, &args);
    assert_eq!(out.status, 0, "{out:?}");
    let token: u64 = out.out.trim().parse().unwrap();
    sandbox.ok(&["lease", "release", "job", "--token", out.out.trim()]);
    let (_, write) = next(&points, |point| point.call == "pwrite64").unwrap();
    let out = shorten(&sandbox, write, &args);
    assert_eq!(out.status, 7, "{out:?}");
    assert!(out.err.contains("No space left"), "{out:?}");
    assert!(sandbox.ok(&["lease", "acquire", "job"]).parse::<u64>().unwrap() > token);
}

/// What `zeta log` says of the lease `job`: its spans, and how many lines cannot be read.
fn history(sandbox: &Sandbox) -> (Vec<String>, u64) {
    let log = sandbox.ok(&["log", "--json", "--lease", "job"]);
    let log: serde_json::Value = serde_json::from_str(&log).unwrap();
    let tell = |span: &serde_json::Value| {
        format!("{} {}", span["agent"].as_str().unwrap(), span["ended"].as_str().unwrap_or("lasts"))
    };
    let spans = log["spans"].as_array().unwrap().iter().map(tell).collect();
    (spans, log["unread_lines"].as_u64().unwrap())
}

#[test]
fn an_entry_that_a_full_disk_has_torn_costs_no_other_one_and_fails_no_verb() {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    sandbox.ok(&["lease", "acquire", "other"]);
    let args = ["lease", "acquire", "job", "--as", "ann"];
    let (out, points) = record(&sandbox, &args);
    assert_eq!(out.status, 0, "{out:?}");
    sandbox.ok(&["lease", "release", "job", "--token", out.out.trim(), "--as", "ann"]);
    let (_, write) = next(&points, |point| point.of_history && point.call == "write").unwrap();
    let out = shorten(&sandbox, write, &args);
    assert_eq!(out.status, 0, "{out:?}");
    let token = out.out.trim();
    sandbox.ok(&["lease", "release", "job", "--token", token, "--as", "ann"]);
    assert_eq!(history(&sandbox), (vec!["ann released".to_owned(); 2], 0));
    // The injected call writes nothing; here is what a part of it leaves.
    let log = guard(&sandbox).join("../../history.log");
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (begun, ended) = (&lines[1][..40], lines[3]);
    std::fs::write(&log, format!("{}\n{begun}{ended}\n", lines[..3].join("\n"))).unwrap();
    assert_eq!(history(&sandbox), (vec!["ann released".to_owned(); 2], 1));
}

#[test]
fn a_process_that_is_killed_before_its_entry_leaves_a_gap_that_the_next_one_closes() {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    sandbox.ok(&["lease", "acquire", "other"]);
    let acquire = ["lease", "acquire", "job", "--as", "ann", "--lease-id", "one"];
    let (out, points) = record(&sandbox, &acquire);
    let release = ["lease", "release", "job", "--token", out.out.trim(), "--as", "ann"];
    let (_, of_release) = record(&sandbox, &release);
    let kill = |points: &[Point], args: &[&str]| {
        let (_, write) = next(points, |point| point.of_history && point.call == "write").unwrap();
        let (out, struck) = inject(&sandbox, write, Fault::Kill, args);
        assert!(struck, "{out:?}");
    };
    // A grant without an entry, whose release has one.
    kill(&points, &acquire);
    let token = sandbox.ok(&acquire);
    assert_eq!(history(&sandbox), (vec!["ann released".to_owned()], 0));
    sandbox.ok(&["lease", "release", "job", "--token", &token, "--as", "ann"]);
    assert_eq!(history(&sandbox), (vec!["ann released".to_owned(); 2], 0));
    // A release without an entry: the tree says so, and the next grant.
    let token = sandbox.ok(&acquire);
    kill(&of_release, &["lease", "release", "job", "--token", &token, "--as", "ann"]);
    let ended = ["ann released", "ann released", "ann unrecorded"];
    assert_eq!(history(&sandbox).0, ended);
    sandbox.ok(&["lease", "acquire", "job", "--as", "bob"]);
    assert_eq!(history(&sandbox).0, [&ended[..], &["bob lasts"]].concat());
}

#[test]
fn a_first_acquire_whose_guard_is_removed_says_so() {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    // A guard that is there and knows no token: both calls go the same way.
    let again = |token: &str| {
        sandbox.ok(&["lease", "release", "job", "--token", token]);
        std::fs::remove_file(guard(&sandbox).join("fencing_token")).unwrap();
    };
    let args = ["lease", "acquire", "job"];
    again(&sandbox.ok(&args));
    let (out, points) = record(&sandbox, &args);
    assert_eq!(out.status, 0, "{out:?}");
    again(out.out.trim());
    let makes_token = |point: &Point| {
        let line = &point.line;
        point.call == "openat" && line.contains("fencing_token") && line.contains("O_EXCL")
    };
    let (_, open) = next(&points, makes_token).unwrap();
    let remove = || {
        let inside = || {
            let guard = std::fs::File::open(guard(&sandbox)).unwrap();
            flock(&guard, FlockOperation::NonBlockingLockExclusive).is_err()
        };
        assert!(until(LIMIT, inside), "it did not enter");
        std::fs::remove_dir_all(guard(&sandbox)).unwrap();
    };
    let (out, ()) = pause(&sandbox, open, &args, remove);
    assert_eq!(out.status, 7, "{out:?}");
    assert!(out.err.contains("removed or replaced while it was in use"), "{out:?}");
    sandbox.ok(&args);
}
