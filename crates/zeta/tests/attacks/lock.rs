//! A17 to A19: the kernel's locks and watches, used against the processes that rely on them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::arena::{
    Arena, OUTSIDER, Sharing, VICTIM, WAYS, finish, gid_of, is_root, run, sharings, until,
};
use crate::hand;
use crate::tally::Tally;

#[test]
fn a18_flock_by_a_reader() {
    let mut tally = Tally::new("A18", "a lock by somebody who can only read");
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        if is_root() {
            for path in ["$B", "$B/nodes", "$N", "$G", "$L", "$G/fencing_token"] {
                let out = arena.script(OUTSIDER, &format!("exec 3<{path} && flock -n 3"));
                tally.outsider(out.status != 0, &format!("{path}: {out:?}"));
            }
            // zeta never waits for a lock that every user can take.
            let _hand = lock(&arena, OUTSIDER, arena.world.clone(), c"locker");
            arena.ok(VICTIM, "lease exec job -n -- true");
        }
        let insider = arena.insider();
        for path in [arena.base.clone(), arena.base.join("nodes"), arena.node()] {
            let _hand = lock(&arena, insider, path.clone(), c"locker");
            let out = arena.zeta(VICTIM, "lease exec job -n -- true");
            tally.insider(out.status == 0, &format!("{}: {out:?}", path.display()));
        }
        // An insider can stay inside. The error names him, with control characters escaped.
        let token = arena.ok(VICTIM, "lease acquire job -q");
        let hand = lock(&arena, insider, arena.guard(), c"ev\x1b[31mil");
        let calls = ["renew", "release", "check"]
            .map(|verb| WAYS.map(|way| (verb, format!("lease {verb} job --token {token}"), way)));
        let answers: Vec<_> = std::thread::scope(|scope| {
            let call = |words, way| run(arena.cmd(VICTIM, words).env("ZETA_NO_OPENAT2", way));
            let start = |(verb, words, way)| (verb, scope.spawn(move || call(words, way)));
            let calls = calls.iter().flatten().map(|(verb, words, way)| (*verb, &**words, *way));
            let calls: Vec<_> = calls.map(start).collect();
            calls.into_iter().map(|(verb, call)| (verb, call.join().unwrap())).collect()
        });
        for (verb, out) in answers {
            let named = out.err.contains(&hand.pid.to_string()) && !out.err.contains('\x1b');
            let bounded = out.status == 6 && out.took < Duration::from_secs(8);
            let free = verb == "check" && out.status == 0;
            tally.insider(free || named && bounded, &format!("{verb}: {out:?}"));
        }
        drop(hand);
        arena.ok(VICTIM, &format!("lease renew job --token {token}"));
    }
}

fn lock(
    arena: &Arena,
    uid: u32,
    path: std::path::PathBuf,
    name: &'static std::ffi::CStr,
) -> hand::Hand {
    let shown = path.clone();
    let hand = hand::fork(uid, gid_of(uid, arena.sharing), false, move || {
        hand::rename_self(name);
        let dir = File::open(&path).unwrap();
        flock(&dir, FlockOperation::NonBlockingLockExclusive).unwrap();
        std::mem::forget(dir);
    });
    let taken = File::open(&shown).unwrap();
    assert!(flock(taken.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err(), "not locked");
    hand
}

#[test]
fn a19_lock_inherited_by_a_child() {
    let mut tally = Tally::new("A19", "a lock that a child inherits");
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        for way in WAYS {
            tally.way(way);
            let script = "exec 3>&- ; ls -l /proc/self/fd; sleep 30 >/dev/null 2>&1 </dev/null &";
            for mode in ["lease exec job -n --", "run --", "lease exec job --fenced --"] {
                let mut call = arena.cmd(VICTIM, mode);
                let out = run(call.args(["sh", "-c", script]).env("ZETA_NO_OPENAT2", way));
                assert_eq!(out.status, 0, "{mode}: {out:?}");
                let inherits = out.out.contains(arena.base.to_str().unwrap());
                // A fenced command keeps the guard by purpose, until it ends itself.
                let fenced = mode.contains("fenced");
                tally.insider(!inherits || fenced, &format!("{mode} inherits: {out:?}"));
                let next = run(arena
                    .cmd(VICTIM, "lease exec job -w 3 -- true")
                    .env("ZETA_NO_OPENAT2", way));
                let free = next.status == 0 && next.took < Duration::from_secs(3);
                tally.insider(free, &format!("{mode}: what stayed behind keeps it: {next:?}"));
            }
        }
    }
}

/// A waiter gets the lease soon after its release; false if it took more than 3 s.
fn hands_over(arena: &Arena, disturb: impl FnOnce()) -> bool {
    let token = arena.ok(VICTIM, "lease acquire job -q");
    let mut waiter = arena.cmd(VICTIM, "lease acquire job -q --wait 15s");
    let waiter = waiter.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let queue = arena.guard().join("queue");
    until("it waits", || std::fs::read_dir(&queue).is_ok_and(|dir| dir.count() > 0));
    disturb();
    let released = Instant::now();
    arena.ok(VICTIM, &format!("lease release job --token {token}"));
    let out = finish(waiter, Instant::now());
    assert_eq!(out.status, 0, "{out:?}");
    arena.ok(VICTIM, &format!("lease release job --token {}", out.out.trim()));
    released.elapsed() < Duration::from_secs(3)
}

#[test]
fn a17_inotify_used_up_or_flooded() {
    let mut tally = Tally::new("A17", "inotify used up, or flooded with events");
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        let flood = || {
            // More than the 16,384 events that the kernel keeps for a sleeper.
            for at in 0..9_000 {
                let path = arena.node().join(format!("x{at}"));
                std::fs::write(&path, "").unwrap();
                std::fs::remove_file(path).unwrap();
            }
        };
        tally.insider(hands_over(&arena, flood), "flooded");
        if !is_root() {
            continue;
        }
        for uid in [OUTSIDER, VICTIM] {
            let _hand = hand::fork(uid, uid, false, || {
                hand::exhaust_inotify();
            });
            let handed = hands_over(&arena, || {});
            match uid {
                OUTSIDER => tally.outsider(handed, "another user's instances"),
                _ => tally.insider(handed, "our own instances"),
            }
        }
    }
}

/// Checks that tickets are only hints: a forged one costs a moment, and no process waits for ever
/// behind one.
#[test]
fn a18_forged_tickets() {
    let mut tally = Tally::new("A18t", "forged places in the line");
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        let queue = arena.guard().join("queue");
        hands_over(&arena, || {});
        // Always the first in the queue: a ticket of a live process, and one of an unknown process.
        for (pid, ns) in [(1, 0), (std::process::id(), 0), (1, 4_026_531_000u64)] {
            let forged = queue.join(format!("{:020}-{}-{pid}-0-{ns}-0", 1, u64::MAX / 2_000_000));
            let script = format!(": >{}", forged.display());
            assert_eq!(arena.script(arena.insider(), &script).status, 0);
            for way in WAYS {
                tally.way(way);
                let mut call = arena.cmd(VICTIM, "lease exec job -w 10 -- true");
                let out = run(call.env("ZETA_NO_OPENAT2", way));
                let soon = out.status == 0 && out.took < Duration::from_secs(3);
                tally.insider(soon, &format!("behind a forged ticket: {out:?}"));
            }
            let _ = std::fs::remove_file(forged);
        }
        // As many as one likes, of every kind.
        for at in 0..6_000 {
            let name = format!("{at:020}-{}-1-0-4026531000-0", u64::MAX / 2_000_000);
            std::os::unix::fs::symlink(arena.safe.join("precious"), queue.join(name)).unwrap();
        }
        for words in
            ["lease exec job -w 10 -- true", "lease exec job -n -- true", "status", "clean"]
        {
            let out = arena.zeta(VICTIM, words);
            let soon = out.status == 0 && out.took < Duration::from_secs(5);
            tally.insider(soon, &format!("{words} behind 6000 forged tickets: {out:?}"));
        }
        arena.assert_safe("forged tickets");
        if *sharing == Sharing::Private && is_root() {
            let out = arena.script(OUTSIDER, ": >$G/queue/1-2-3");
            tally.outsider(out.status != 0, "a ticket");
        }
    }
}
