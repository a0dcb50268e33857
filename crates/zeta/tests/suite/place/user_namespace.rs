//! User and pid namespaces: the same leases inside and outside, and no verdict on a process that
//! cannot be seen.

use std::time::Duration;

use super::{Place, USER};
use crate::support::{is_root, skip, test_name};

const BWRAP: &str = "bwrap --ro-bind / / --dev /dev --proc /proc --bind /tmp /tmp \
                     --unshare-user --unshare-pid --unshare-ipc";

/// Ways to another pid namespace: with a `/proc` of its own, and with the machine's.
const PID_NAMESPACES: [&str; 3] = [
    BWRAP,
    "unshare --map-root-user --pid --fork --mount-proc",
    "unshare --map-root-user --pid --fork",
];

#[test]
fn a_holder_outside_is_never_dead_inside_and_the_other_way_round() {
    for sandbox in PID_NAMESPACES {
        let place = Place::new();
        if !place.can(test_name!(), sandbox) {
            continue;
        }
        let probe = "$Z lease acquire job --as other --ttl 1m; echo $?";
        let (inside, none) = (format!("{sandbox} "), String::new());
        for (holder, other) in [(&none, &inside), (&inside, &none), (&inside, &inside)] {
            // The holder lives: another namespace cannot tell, and waits for the TTL.
            let script = format!(
                "exec {holder}$Z lease exec job --ttl 1m --as a -- \
                 sh -c 'touch $D/holds; while [ ! -e $D/done ]; do sleep 0.02; done'"
            );
            let mut held = place.command(&script);
            let mut held = held.stderr(std::process::Stdio::null()).spawn().unwrap();
            let until = |what: &str| {
                crate::support::wait_for(what, || place.dir.join("holds").exists());
            };
            until("it holds");
            let probe = format!("exec {other} sh -c '{probe}'");
            let out = place.script(&probe);
            assert!(out.out.trim().ends_with('3'), "{holder} / {other}: {out:?}");
            std::fs::write(place.dir.join("done"), "").unwrap();
            assert_eq!(crate::support::wait(&mut held, Duration::from_secs(20)), 0);
            for file in ["holds", "done"] {
                std::fs::remove_file(place.dir.join(file)).unwrap();
            }
        }
        // A session outside, its command inside: the leases are the session's.
        let session = format!(
            "exec $Z run --as a -- {sandbox} sh -c '$Z lease acquire mine -q >/dev/null && \
             $Z status --json && $Z lease acquire mine --as b; echo $?'"
        );
        let out = place.script(&session);
        assert!(out.out.trim().ends_with('3'), "{sandbox}: {out:?}");
        // It has ended, and so have its leases.
        let out = place.script("exec $Z lease acquire mine --as b -q");
        assert_eq!(out.status, 0, "{sandbox}: {out:?}");
    }
}

#[test]
fn a_session_does_not_work_in_another_tree_under_the_same_name() {
    let place = Place::new();
    let bwrap = "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc";
    if !place.can(test_name!(), bwrap) {
        return;
    }
    // /tmp of its own; then with the tree bound into it; then with another tree there.
    let tmp = "--tmpfs /tmp --ro-bind $Z /tmp/z --dir $D";
    for verb in [
        "lease acquire a",
        "lease list",
        "status",
        "claim list",
        "heartbeat",
        "bus publish --topic shadow-catch --payload \"{\\\"content\\\":\\\"m\\\"}\"",
    ] {
        let script = format!("exec $Z run --as a -- {bwrap} {tmp} /tmp/z {verb}");
        let out = place.script(&script);
        assert_eq!(out.status, 7, "{verb}: {out:?}");
        assert!(out.err.contains("your session"), "{verb}: {out:?}");
    }
    let bound = "--bind $D/state $D/state";
    let script = format!("exec $Z run --as a -- {bwrap} {tmp} {bound} /tmp/z lease acquire a -q");
    assert_eq!(place.script(&script).status, 0);
    let two = "/tmp/z --state-dir /tmp/own lease acquire x -q && cp -a /tmp/own $D/state && \
               /tmp/z lease acquire b";
    let script = format!("exec $Z run --as a -- {bwrap} {tmp} sh -c '{two}'");
    let out = place.script(&script);
    assert!(out.status == 7 && out.err.contains("another directory"), "{out:?}");
    // Without a session: init and the doctor say that nobody else sees the tree.
    let script = format!("exec {bwrap} {tmp} /tmp/z --state-dir /tmp/own init");
    assert!(place.script(&script).out.contains("/tmp is this sandbox's own"));
    let script = format!("exec {bwrap} {tmp} /tmp/z --state-dir /tmp/own doctor");
    assert!(place.script(&script).out.contains("/tmp is this sandbox's own"));
    let script = format!("exec {bwrap} {tmp} {bound} /tmp/z --state-dir $D/state init");
    let out = place.script(&script);
    assert!(out.status == 0 && !out.out.contains("sandbox's own"), "{out:?}");
    // Another directory on purpose is no mistake, nor is a tree that was removed meanwhile.
    let other = "exec $Z run --as a -- env ZETA_STATE_DIR=$D/other $Z lease acquire x -q";
    assert_eq!(place.script(other).status, 0);
    let gone = "exec $Z run --as a -- sh -c 'rm -r $D/state; $Z lease acquire x -q'";
    assert_eq!(place.script(gone).status, 0);
}

#[test]
fn a_caller_without_a_number_is_told_so() {
    let place = Place::new();
    if !place.can(test_name!(), "unshare --user") {
        return;
    }
    for verb in ["lease acquire a", "lease list", "status", "run -- true", "bus list"] {
        let out = place.script(&format!("exec unshare --user $Z {verb}"));
        assert_eq!(out.status, 7, "{verb}: {out:?}");
        assert!(out.err.contains("no number of your own"), "{verb}: {out:?}");
        assert!(out.err.contains("--map-current-user"), "{verb}: {out:?}");
    }
    assert!(!place.state().exists(), "something was made");
    // What the hint says works.
    let out = place.script("exec unshare --map-current-user $Z lease acquire a -q");
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn a_place_whose_owner_cannot_be_known_is_refused_and_one_that_works_is_named() {
    if !is_root() {
        return skip(test_name!(), "needs root to make a directory of another user");
    }
    let place = Place::new();
    if !place.can(test_name!(), "unshare --map-current-user") {
        return;
    }
    // Root's own: outside it is fine, inside nobody can know.
    let above = place.dir.join("above");
    assert_eq!(place.as_tester("mkdir -m 755 $D/above && mkdir -m 1777 $D/above/open").status, 0);
    let dir = above.join("open/state");
    let zeta = |sandbox: &str, verb: &str| {
        place.script(&format!("exec {sandbox} $Z --state-dir {} {verb}", dir.display()))
    };
    assert_eq!(zeta("", "lease acquire a -q").status, 0);
    let out = zeta("unshare --map-current-user", "lease acquire a");
    assert_eq!(out.status, 7, "{out:?}");
    for words in ["user namespace in which root has no number", "outside of the sandbox"] {
        assert!(out.err.contains(words), "no {words:?}: {out:?}");
    }
    let hint = out.err.lines().find_map(|line| line.split_once("export ZETA_STATE_DIR="));
    let (_, named) = hint.expect("a place that works is named");
    let call = format!("exec unshare --map-current-user $Z --state-dir {named} lease acquire a -q");
    // Others use the machine meanwhile: the name may be taken since.
    let out = place.script(&call);
    assert!(out.status == 0 || out.status == 3, "{out:?}");
    let _ = place.script(&format!("rm -r {named}"));
    // Another user's.
    std::os::unix::fs::chown(&above, Some(USER + 1), None).unwrap();
    let out = zeta("", "lease acquire a");
    assert!(out.status == 7 && out.err.contains("could replace"), "{out:?}");
}
