//! A1 to A5: what another user prepares at or above the path of the state directory.

use std::path::Path;

use crate::arena::{
    Arena, OUTSIDER, Sharing, VICTIM, chmod, gid_of, is_root, own, run, sharings, snapshot,
};
use crate::hand;
use crate::tally::{Call, Tally};

/// Every verb, which must end with `7` and these words.
fn all(words: &'static str) -> Vec<Call<'static>> {
    let verbs = [
        "lease acquire job",
        "lease acquire job --wait 1s",
        "lease renew job --token 7",
        "lease release job --token 7",
        "lease check job --token 7",
        "lease show job",
        "lease list",
        "lease break job --damaged --reason r",
        "lease exec job -n -- touch /nonexistent/effect",
        "run -- true",
        "heartbeat",
        "marker set m a=b",
        "persona set p --task t",
        "status",
        "clean",
        "init",
        "doctor",
    ];
    verbs.iter().map(|verb| (*verb, 7, words)).collect()
}

fn same(arena: &Arena, what: &str, path: &Path, work: impl FnOnce()) {
    let before = snapshot(path);
    work();
    assert_eq!(snapshot(path), before, "{what}: it was changed");
    arena.assert_safe(what);
}

#[test]
fn a01_base_made_by_somebody_else() {
    let mut tally = Tally::new("A1", "the base was made by somebody else");
    if !is_root() {
        return;
    }
    for mode in ["0700", "0755", "0777", "1777", "2750", "2770", "3777"] {
        let arena = Arena::empty(Sharing::Private);
        let script = format!(
            "mkdir $B $B/nodes $B/nodes/node-a && echo node-a >$B/local-node \
                              && chmod {mode} $B && chmod 777 $B/nodes $B/nodes/node-a"
        );
        assert_eq!(arena.script(OUTSIDER, &script).status, 0);
        same(&arena, mode, &arena.base, || tally.calls(&arena, true, &all("65001")));
        // Root is no less careful: it does not build in there.
        let out = arena.zeta(0, "lease acquire job");
        tally.outsider(out.status == 7 && out.err.contains("65001"), "root adopted it");
    }
    let arena = Arena::empty(Sharing::Private);
    std::fs::write(&arena.base, "a file").unwrap();
    own(&arena.base, OUTSIDER, OUTSIDER);
    same(&arena, "file", &arena.base, || tally.calls(&arena, true, &all("not a directory")));
}

#[test]
fn a02_base_with_acl_given_away() {
    let mut tally = Tally::new("A2", "an ACL survives chown and chmod");
    // user:65001:rwx and the mask, as the kernel keeps it.
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, !0), (2, 7, OUTSIDER), (4, 5, !0), (16, 7, !0), (32, 0, !0)];
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        acl.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        for sharing in sharings() {
            let (mode, owner) = match sharing {
                Sharing::Private => (0o700, VICTIM),
                Sharing::Group => (0o2750, 0),
            };
            let arena = Arena::empty(*sharing);
            std::fs::create_dir(&arena.base).unwrap();
            let flags = rustix::fs::XattrFlags::empty();
            if let Err(errno) = rustix::fs::setxattr(&arena.base, name, &acl, flags) {
                tally.skip(&format!("no ACL on this file system: {errno}"));
                return;
            }
            // An administrator repairs owner and mode by hand.
            own(&arena.base, owner, gid_of(VICTIM, *sharing));
            chmod(&arena.base, mode);
            same(&arena, name, &arena.base, || tally.calls(&arena, true, &all("ACL")));
        }
    }
}

#[test]
fn a03_base_is_a_symlink() {
    let mut tally = Tally::new("A3", "the base is a symbolic link");
    let by = if is_root() { OUTSIDER } else { VICTIM };
    for target in ["$S/own", "own", "$S/dangling", "/tmp"] {
        let arena = Arena::empty(Sharing::Private);
        // A directory that would do for a state directory, were it not for the link.
        for own_dir in [arena.safe.join("own"), arena.world.join("own")] {
            std::fs::create_dir(&own_dir).unwrap();
            chmod(&own_dir, 0o700);
            own(&own_dir, VICTIM, VICTIM);
        }
        let before = (snapshot(&arena.safe), snapshot(&arena.world.join("own")));
        assert_eq!(arena.script(by, &format!("ln -s {target} $B")).status, 0);
        for (words, status, tells) in all("symbolic link") {
            for way in crate::arena::WAYS {
                tally.way(way);
                let out = run(arena.cmd(VICTIM, words).env("ZETA_NO_OPENAT2", way));
                let named = out.status == status && out.said().contains(tells);
                tally.outsider(named, &format!("{words} at {target}: {out:?}"));
            }
        }
        let after = (snapshot(&arena.safe), snapshot(&arena.world.join("own")));
        assert_eq!(before, after, "{target}: the link was followed");
    }
    // The same one step above.
    let arena = Arena::empty(Sharing::Private);
    assert_eq!(arena.script(by, "ln -s $S $W/above").status, 0);
    let mut call = arena.cmd(VICTIM, "lease acquire job");
    let out = run(call.env("ZETA_STATE_DIR", arena.world.join("above/state")));
    tally.outsider(out.status == 7 && out.err.contains("symbolic link"), "a link above");
    arena.assert_safe("a link above");
}

#[test]
fn a04_descriptor_from_before() {
    let mut tally = Tally::new("A4", "a descriptor that was kept from before");
    if !is_root() {
        return;
    }
    let arena = Arena::empty(Sharing::Private);
    assert_eq!(arena.script(OUTSIDER, "mkdir -m 777 $B && touch $B/bait").status, 0);
    let report = arena.world.join("report");
    let base = arena.base.clone();
    let (ask, answer) = (arena.world.join("ask"), report.clone());
    let _hand = hand::fork(OUTSIDER, OUTSIDER, true, move || {
        let kept = std::fs::File::open(&base).unwrap();
        std::fs::write(base.join("open"), "").unwrap();
        while !ask.exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let at = |path: &str| {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::openat(&kept, path, flags, mode).is_ok()
        };
        let said = format!("{} {}", at("planted"), at("nodes/planted"));
        std::fs::write(answer.with_extension("new"), said).unwrap();
        std::fs::rename(answer.with_extension("new"), answer).unwrap();
    });
    crate::arena::until("it is open", || arena.base.join("open").exists());
    same(&arena, "kept", &arena.base, || tally.calls(&arena, true, &all("65001")));
    // What the hint says: it is moved away, a new one is made. The descriptor is of the old one.
    std::fs::rename(&arena.base, arena.world.join("state.refused")).unwrap();
    let token = arena.ok(VICTIM, "lease acquire job -q");
    std::fs::write(arena.world.join("ask"), "").unwrap();
    crate::arena::until("it reports", || report.exists());
    let said = std::fs::read_to_string(&report).unwrap();
    tally.outsider(said == "true false", &format!("nodes through the old descriptor: {said}"));
    tally.outsider(!arena.base.join("planted").exists(), "a file in the new base");
    arena.ok(VICTIM, &format!("lease check job --token {token}"));
}

#[test]
fn a05_parent_that_others_may_write_to() {
    let mut tally = Tally::new("A5", "a parent without the sticky bit");
    for mode in [0o777, 0o775, 0o2777, 0o772] {
        let arena = Arena::empty(Sharing::Private);
        chmod(&arena.world, mode);
        tally.calls(&arena, true, &all("not sticky"));
        assert_eq!(std::fs::read_dir(&arena.world).unwrap().count(), 0, "something was made");
    }
    if is_root() {
        let arena = Arena::empty(Sharing::Private);
        own(&arena.world, OUTSIDER, OUTSIDER);
        for mode in [0o755, 0o1777] {
            chmod(&arena.world, mode);
            tally.calls(&arena, true, &all("65001"));
        }
        assert_eq!(std::fs::read_dir(&arena.world).unwrap().count(), 0, "something was made");
    }
    // What is no attack is no trouble: a project's directory hands on its group.
    let arena = Arena::empty(Sharing::Private);
    own(&arena.world, VICTIM, GROUP_OF_A_PROJECT);
    chmod(&arena.world, 0o2755);
    for _ in 0..2 {
        arena.ok(VICTIM, "lease exec job -n -- true");
    }
    for umask in [0, 0o177] {
        let arena = Arena::empty(Sharing::Private);
        for _ in 0..2 {
            let mut call = arena.cmd(VICTIM, "lease exec job -n -- true");
            let out = run(hand::umask(&mut call, umask));
            assert_eq!(out.status, 0, "umask {umask:o}: {out:?}");
        }
    }
}

const GROUP_OF_A_PROJECT: u32 = 65_030;
