//! A14 to A16, A25 and A26: floods, full disks, and a base that is removed or replaced in use.

use std::process::Stdio;
use std::time::{Duration, Instant};

use zeta_state::directory::purpose::STATE;
use zeta_state::directory::{anchor, trusted_dir};

use crate::arena::{
    Arena, MEMBER, OUTSIDER, Sharing, VICTIM, WAYS, finish, is_root, run, sharings, snapshot, until,
};
use crate::hand;
use crate::tally::{ANY, Tally};

#[test]
fn a14_flooded_directories() {
    let mut tally = Tally::new("A14", "a directory with 8,000 entries");
    let target = std::ffi::OsStr::new("x");
    for sharing in sharings() {
        for below in ["", ".guard", ".guard/job.lock", "../..", ".."] {
            let arena = Arena::new(*sharing);
            let dir = arena.node().join(below);
            for at in 0..8_000 {
                let name = match at % 3 {
                    0 => format!("{at}.lock"),
                    1 => format!(".tmp-{at:032x}-0"),
                    _ => format!("x{at}"),
                };
                std::os::unix::fs::symlink(target, dir.join(name)).unwrap();
            }
            tally.calls(
                &arena,
                false,
                &[
                    ("lease exec job -n -- true", 0, ""),
                    ("lease list", ANY, ""),
                    ("status", ANY, ""),
                    ("heartbeat", 0, ""),
                    ("marker set m a=c", 0, ""),
                ],
            );
            if below.is_empty() {
                tally.calls(&arena, false, &[("lease list", ANY, "more"), ("status", ANY, "more")]);
            }
        }
    }
    // An outsider's flood beside the base.
    let arena = Arena::new(Sharing::Private);
    for at in 0..20_000 {
        let name = format!(".state.new-{at:032x}");
        std::os::unix::fs::symlink(target, arena.world.join(name)).unwrap();
    }
    tally.calls(
        &arena,
        true,
        &[
            ("lease exec job -n -- true", 0, ""),
            ("status", 0, ""),
            ("clean", 0, ""),
            ("doctor", ANY, ""),
        ],
    );
}

/// On a tmpfs of 64 inodes and 256 KiB, filled up by `fill` while a lease is held.
fn on_a_small_disk(tally: &mut Tally, fill: &str) {
    for sharing in sharings() {
        for way in WAYS {
            tally.way(way);
            let arena = Arena::empty(*sharing);
            let script = format!(
                r#"mount -t tmpfs -o size=256k,nr_inodes=64,mode=1777 none $W || exit 9
                z() {{ "$Z" "$@"; }}
                z init >/dev/null 2>&1; t=$(z lease acquire job -q); z heartbeat >/dev/null
                l=$(echo $B/nodes/*/job.lock); cat $l >/dev/shm/zeta-copy.$$
                {fill}
                z lease acquire other 2>/dev/null; echo $?
                z lease renew job --token $t >/dev/null 2>&1; echo $?
                z marker set m a=b >/dev/null 2>&1; echo $?
                z lease check job --token $t >/dev/null; echo $?
                z heartbeat >/dev/null 2>&1; echo $?
                cmp $l /dev/shm/zeta-copy.$$ && echo same; rm /dev/shm/zeta-copy.$$
                z lease release job --token $t >/dev/null; echo $?
                rm -f $W/f*; z lease exec other -n -- true >/dev/null; echo $?"#
            );
            let mut command = arena.other(0, "sh", &["-c", &script]);
            command.env("ZETA_NO_OPENAT2", way).env("Z", crate::arena::built());
            let out = run(hand::unshare(&mut command, libc::CLONE_NEWNS, false));
            let said = out.out.split_whitespace().collect::<Vec<_>>().join(" ");
            tally.insider(said == "7 7 7 0 0 same 0 0", &format!("{fill}: {out:?}"));
        }
    }
}

#[test]
fn a15_no_inode_left() {
    let mut tally = Tally::new("A15", "a file system without an inode");
    if !is_root() {
        return tally.skip("needs root for a small file system");
    }
    on_a_small_disk(&mut tally, "i=0; while true 2>/dev/null >$W/f$i; do i=$((i+1)); done");
}

#[test]
fn a16_no_space_left() {
    let mut tally = Tally::new("A16", "a file system without a block");
    if !is_root() {
        return tally.skip("needs root for a small file system");
    }
    on_a_small_disk(&mut tally, "dd if=/dev/zero of=$W/f bs=1k count=9999 2>/dev/null");
}

#[test]
fn a25_another_directory_under_the_name() {
    let mut tally = Tally::new("A25", "the base replaced under a service");
    if !is_root() {
        return tally.skip("needs root for mounts");
    }
    // What is mounted inside the tree is not the tree, of whatever file system it is.
    for sharing in sharings() {
        for part in ["$B/nodes", "$N", "$N/.guard", "$G"] {
            for kind in ["bind", "tmpfs"] {
                for way in WAYS {
                    tally.way(way);
                    let arena = Arena::new(*sharing);
                    let mount = match kind {
                        "bind" => format!("cp -a {part} $W/copy && mount --bind $W/copy {part}"),
                        _ => format!("mount -t tmpfs -o mode=700 none {part}"),
                    };
                    let script = format!("{mount} || exit 9; exec $Z lease acquire job");
                    let mut command = arena.other(0, "sh", &["-c", &script]);
                    command.env("ZETA_NO_OPENAT2", way).env("Z", crate::arena::built());
                    let out = run(hand::unshare(&mut command, libc::CLONE_NEWNS, false));
                    tally.insider(out.status == 7, &format!("{kind} at {part} ({way}): {out:?}"));
                }
            }
        }
    }
    // In a group's tree the anchor tells another base from root's.
    let arena = Arena::new(Sharing::Group);
    let made = trusted_dir::open(&arena.base, &STATE).unwrap().unwrap();
    let anchored = Anchored(anchor::write(&made).unwrap());
    arena.ok(MEMBER, "lease exec job -n -- true");
    for way in WAYS {
        tally.way(way);
        for words in ["lease acquire job", "heartbeat", "status"] {
            let script = format!("cp -a $B $W/copy$$; mount --bind $W/copy$$ $B; exec $Z {words}");
            let mut command = arena.other(0, "sh", &["-c", &script]);
            command.env("ZETA_NO_OPENAT2", way).env("Z", crate::arena::built());
            let out = run(hand::unshare(&mut command, libc::CLONE_NEWNS, false));
            let named = out.status == 7 && out.said().contains("not the directory that root made");
            tally.insider(named, &format!("{words}: {out:?}"));
        }
    }
    drop(anchored);
}

/// An anchor, removed with the test.
struct Anchored(std::path::PathBuf);

impl Drop for Anchored {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a26_cleaned_away_and_made_again() {
    let mut tally = Tally::new("A26", "aged away, then made by somebody else");
    if !is_root() {
        return;
    }
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        let anchored = (*sharing == Sharing::Group).then(|| {
            let made = trusted_dir::open(&arena.base, &STATE).unwrap().unwrap();
            Anchored(anchor::write(&made).unwrap())
        });
        let token = arena.ok(VICTIM, "lease acquire job -q");
        let mut waiter = arena.cmd(VICTIM, "lease acquire job --wait 12s");
        let waiter = waiter.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let queue = arena.guard().join("queue");
        until("it waits", || std::fs::read_dir(&queue).is_ok_and(|dir| dir.count() > 0));
        // A cleaner, as systemd-tmpfiles without our line would.
        until("it is gone", || std::fs::remove_dir_all(&arena.base).is_ok());
        if *sharing == Sharing::Group {
            // Members do not make what root makes.
            for words in ["lease acquire job", "heartbeat", "marker set m a=b", "run -- true"] {
                let out = arena.zeta(MEMBER, words);
                let refused = out.status == 7 && !arena.base.exists();
                tally.insider(refused, &format!("{words}: {out:?}"));
            }
        }
        assert_eq!(arena.script(OUTSIDER, "mkdir -m 700 $B").status, 0);
        let before = snapshot(&arena.base);
        for words in ["acquire job", "exec job -n -- true"] {
            let words = format!("lease {words}");
            tally.calls(&arena, true, &[(&words, 7, "65001"), ("heartbeat", 7, "65001")]);
        }
        for words in ["renew", "release", "check"] {
            let out = arena.zeta(VICTIM, &format!("lease {words} job --token {token}"));
            tally.outsider(matches!(out.status, 5 | 7), &format!("{words}: {out:?}"));
        }
        let out = finish(waiter, Instant::now());
        // The cleaner may take the record first, which the waiter is granted then: for a moment.
        let ended = matches!(out.status, 0 | 7) && out.took < Duration::from_secs(5);
        tally.outsider(ended, &format!("a waiter: {out:?}"));
        assert_eq!(snapshot(&arena.base), before, "it was used");
        drop(anchored);
    }
}
