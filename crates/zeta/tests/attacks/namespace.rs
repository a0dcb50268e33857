//! More of A24: the victim is in a user namespace in which root has no number, as in the sandboxes
//! of agents, and all owners that it does not know look alike.

use std::path::{Path, PathBuf};

use zeta_core::name::Label;
use zeta_state::directory::{anchor, group};

use crate::arena::{
    Arena, GROUP, MEMBER, OUTSIDER, Out, Sharing, VICTIM, WAYS, chmod, is_root, own, run, snapshot,
};
use crate::hand::{self, Inside};
use crate::tally::Tally;

const INSIDE: [Inside; 2] = [Inside::Same, Inside::Root];

/// A place whose parents are known: `/tmp` itself. Removed at the end, with its anchor.
struct InTmp(PathBuf);

impl InTmp {
    fn new(name: &str) -> InTmp {
        InTmp(PathBuf::from(format!("/tmp/zeta-attacks-ns-{name}-{}", std::process::id())))
    }
}

impl Drop for InTmp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        let _ = std::fs::remove_file(anchor::path_for(&self.0));
    }
}

/// A call as a user in a user namespace of its own, on the tree at `base`.
fn inside(arena: &Arena, uid: u32, kind: Inside, way: &str, base: &Path, words: &str) -> Out {
    let mut call = arena.cmd(uid, words);
    call.env("ZETA_STATE_DIR", base).env("ZETA_NO_OPENAT2", way);
    run(hand::unshare_as(&mut call, libc::CLONE_NEWUSER, Some(kind)))
}

/// Does the message name the owner that has no number here? A small system has no name for it.
fn names_an_unknown_owner(out: &Out) -> bool {
    out.err.contains("user nobody (65534)") || out.err.contains("user id 65534")
}

/// Reports whether an ordinary user may make user namespaces here; if not, says that it skips.
fn can_unshare(arena: &Arena, tally: &mut Tally) -> bool {
    let mut probe = arena.other(VICTIM, "true", &[]);
    let probe = hand::unshare_as(&mut probe, libc::CLONE_NEWUSER, Some(Inside::Same));
    let can = probe.spawn().is_ok_and(|mut child| child.wait().is_ok_and(|end| end.success()));
    if !can {
        tally.skip("no user namespaces for ordinary users");
    }
    can
}

const VERBS: [&str; 5] = ["lease acquire job", "heartbeat", "clean", "init", "status"];

#[test]
fn a24_an_owner_without_a_number_is_not_root_outside_of_root_s_places() {
    let mut tally = Tally::new("A24", "the victim is in a user namespace");
    if !is_root() {
        return;
    }
    let arena = Arena::empty(Sharing::Private);
    if !can_unshare(&arena, &mut tally) {
        return;
    }
    // A directory above that belongs to the outsider, whatever its mode.
    for mode in [0o755, 0o1777, 0o700] {
        own(&arena.world, OUTSIDER, OUTSIDER);
        chmod(&arena.world, mode);
        for way in WAYS {
            tally.way(way);
            for words in VERBS {
                for kind in INSIDE {
                    let out = inside(&arena, VICTIM, kind, way, &arena.base, words);
                    let named = out.status == 7 && out.err.contains("user namespace");
                    tally.outsider(named, &format!("{words}, {kind:?}, {mode:o}: {out:?}"));
                }
            }
        }
        assert_eq!(std::fs::read_dir(&arena.world).unwrap().count(), 0, "something was made");
    }
    // What the outsider puts where the victim's own tree would be: in /tmp itself.
    let place = InTmp::new("squat");
    for mode in ["0700", "0755", "0777", "2750", "2770", "3777"] {
        let script = format!("mkdir -p {0}/nodes && chmod {mode} {0}", place.0.display());
        assert_eq!(arena.script(OUTSIDER, &script).status, 0);
        let before = snapshot(&place.0);
        for way in WAYS {
            tally.way(way);
            for words in VERBS {
                for kind in INSIDE {
                    let out = inside(&arena, VICTIM, kind, way, &place.0, words);
                    let named = out.status == 7 && names_an_unknown_owner(&out);
                    tally.outsider(named, &format!("{words}, {kind:?}, {mode}: {out:?}"));
                }
            }
        }
        assert_eq!(snapshot(&place.0), before, "{mode}: it was changed");
        std::fs::remove_dir_all(&place.0).unwrap();
    }
    // In a namespace in which root has a number, an owner without one is not root.
    let mine = InTmp::new("root");
    let world = std::fs::metadata("/tmp").unwrap();
    if std::os::unix::fs::MetadataExt::uid(&world) == 0 {
        let out = inside(&arena, 0, Inside::Same, "0", &mine.0, "lease acquire job");
        tally.outsider(out.status == 0, &format!("root's own /tmp: {out:?}"));
        own(&arena.world, OUTSIDER, OUTSIDER);
        let out = inside(&arena, 0, Inside::Same, "0", &arena.base, "lease acquire job");
        let named = out.status == 7 && out.err.contains("could replace");
        tally.outsider(named, &format!("an outsider's directory: {out:?}"));
    }
}

#[test]
fn a24_a_victim_s_own_tree_works_in_a_user_namespace_and_only_for_the_victim() {
    let mut tally = Tally::new("A24", "one's own tree, from inside and from outside");
    if !is_root() {
        return;
    }
    let arena = Arena::empty(Sharing::Private);
    if !can_unshare(&arena, &mut tally) {
        return;
    }
    let place = InTmp::new("own");
    for way in WAYS {
        tally.way(way);
        for kind in INSIDE {
            let name = format!("job-{way}-{kind:?}").to_lowercase();
            let taken =
                inside(&arena, VICTIM, kind, way, &place.0, &format!("lease acquire {name}"));
            assert_eq!(taken.status, 0, "{kind:?}: {taken:?}");
            // The same lease is held for the victim outside, and for nobody else to see.
            let mut outside = arena.cmd(VICTIM, &format!("lease acquire {name} --as other"));
            let out = run(outside.env("ZETA_STATE_DIR", &place.0));
            assert_eq!(out.status, 3, "{kind:?}: {out:?}");
            for outsider in INSIDE {
                let out = inside(&arena, OUTSIDER, outsider, way, &place.0, "status");
                let named = out.status == 7 && names_an_unknown_owner(&out);
                tally.outsider(named, &format!("{outsider:?}: {out:?}"));
            }
        }
    }
}

#[test]
fn a24_a_tree_that_looks_like_a_group_s_is_one_only_by_root_s_anchor() {
    let mut tally = Tally::new("A24", "a group's tree, from a user namespace");
    if !is_root() {
        return;
    }
    let arena = Arena::empty(Sharing::Group);
    if !can_unshare(&arena, &mut tally) {
        return;
    }
    let place = InTmp::new("group");
    let label = Label::new("node", "node-a").unwrap();
    let script = format!("umask 027; mkdir -p {0}/nodes && chmod 2750 {0}", place.0.display());
    let all_refused = |tally: &mut Tally, what: &str| {
        for way in WAYS {
            tally.way(way);
            for kind in INSIDE {
                let out = inside(&arena, VICTIM, kind, way, &place.0, "lease acquire job");
                let refused = out.status == 7 && out.err.contains("root");
                tally.outsider(refused, &format!("{what}, {kind:?}: {out:?}"));
            }
        }
    };
    // Root's tree without its record of it: perhaps an outsider's.
    assert_eq!(group::place(&place.0, GROUP, &label, false).unwrap(), group::Placed::New);
    all_refused(&mut tally, "no anchor");
    let base =
        zeta_state::directory::trusted_dir::open(&place.0, &zeta_state::directory::purpose::STATE);
    let base = base.unwrap().unwrap();
    anchor::write(&base).unwrap();
    for kind in INSIDE {
        let out =
            inside(&arena, VICTIM, kind, "0", &place.0, "lease acquire job --ttl 1s --grace 0");
        assert_eq!(out.status, 0, "{kind:?}: {out:?}");
        let mut other = arena.cmd(MEMBER, "lease exec job -w 10 -- true");
        assert_eq!(run(other.env("ZETA_STATE_DIR", &place.0)).status, 0);
    }
    // It goes, and an outsider makes one that looks alike until it even has the same inode number.
    std::fs::remove_dir_all(&place.0).unwrap();
    drop(base);
    assert_eq!(arena.script(OUTSIDER, &script).status, 0);
    all_refused(&mut tally, "an outsider's");
    let anchor_path = anchor::path_for(&place.0);
    let forged = std::fs::read_to_string(&anchor_path).unwrap();
    let ino = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&place.0).unwrap());
    let forge = |line: &str| match line.split_once(": ") {
        Some(("ino", _)) => format!("ino: {ino}\n"),
        _ => format!("{line}\n"),
    };
    std::fs::write(&anchor_path, forged.lines().map(forge).collect::<String>()).unwrap();
    all_refused(&mut tally, "the inode number of root's");
    // An anchor of an older zeta has no time of birth, and proves nothing from inside.
    let short: String =
        forged.lines().filter(|line| !line.starts_with("born_ns")).map(forge).collect();
    std::fs::write(&anchor_path, short).unwrap();
    all_refused(&mut tally, "the inode number of root's, in an old anchor");
    // Nobody but root can write the anchor.
    let write = format!("echo x >{}", anchor_path.display());
    tally.outsider(arena.script(OUTSIDER, &write).status != 0, "an outsider wrote the anchor");
}
