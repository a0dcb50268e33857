//! A kill at one named moment, where the standard says what is left: after an exchange, and between
//! a fork and the record of the child.

use super::fault::Fault;
use super::sandbox::Sandbox;
use super::trace::{Point, inject, record, works};
use crate::support::{skip, test_name};

/// The temporary files in the guard of the lease `job`.
fn temps(sandbox: &Sandbox) -> usize {
    let nodes = sandbox.world.join("state/nodes");
    let node = std::fs::read_dir(nodes).unwrap().next().unwrap().unwrap().path();
    let guard = std::fs::read_dir(node.join(".guard/job.lock")).unwrap();
    let names = guard.map(|entry| entry.unwrap().file_name().into_string().unwrap());
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
