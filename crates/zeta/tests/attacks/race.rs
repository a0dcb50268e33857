//! A20: names that are exchanged while they are walked, thousands of times a second.

use std::fs::symlink_metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use zeta_state::directory::tree::Tree;

use crate::arena::{Arena, OUTSIDER, Sharing, VICTIM, WAYS, gid_of, is_root, sharings, snapshot};
use crate::hand;
use crate::hand::Hand;
use crate::tally::Tally;

/// How long each variant is raced at least.
fn duration() -> Duration {
    let asked = std::env::var("ZETA_ATTACKS_RACE_MS").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(asked.unwrap_or(300))
}

/// A race goes on until the naive way has lost it so often: only then is not to lose worth a word.
const NAIVE_LOSSES: u32 = 8;

/// Where even that does not happen the machine is too slow, and the table says so.
const AT_MOST: Duration = Duration::from_secs(4);

/// How a race ended.
#[derive(Default)]
struct Raced {
    tried: u32,
    /// How often the code under test was led astray.
    lost: u32,
    /// How often the naive way was.
    naive: u32,
}

/// Exchanges two names until it is killed.
fn swap(uid: u32, gid: u32, one: PathBuf, other: PathBuf) -> Hand {
    hand::fork(uid, gid, true, move || {
        loop {
            let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
        }
    })
}

/// Lets a process of the victim try, by turns with the naive way of reading `path`, a file
/// at or below `shown`.
fn race(
    arena: &Arena,
    way: &'static str,
    (shown, path): (PathBuf, PathBuf),
    mut attempt: impl FnMut() -> bool,
) -> Raced {
    let gid = gid_of(VICTIM, arena.sharing);
    let at_least = duration();
    let answer = arena.safe.join("answer");
    let to = answer.clone();
    let hand = hand::fork(VICTIM, gid, false, move || {
        hand::set_env("ZETA_NO_OPENAT2", way);
        let (started, mut raced) = (Instant::now(), Raced::default());
        let goes_on = |naive| {
            let over = started.elapsed();
            over < at_least || naive < NAIVE_LOSSES && over < at_least.max(AT_MOST)
        };
        while goes_on(raced.naive) {
            raced.tried += 1;
            raced.lost += u32::from(attempt());
            raced.naive += u32::from(is_decoy(naive(&shown, &path)));
        }
        let Raced { tried, lost, naive } = raced;
        std::fs::write(to, format!("{tried} {lost} {naive}")).unwrap();
    });
    drop(hand);
    let counts = std::fs::read_to_string(&answer).expect("the victim's loop ended by a panic");
    std::fs::remove_file(answer).unwrap();
    let counts: Vec<u32> = counts.split(' ').map(|count| count.parse().unwrap()).collect();
    Raced { tried: counts[0], lost: counts[1], naive: counts[2] }
}

/// A record of the node that the tree at `base` has, through the code under test.
fn read(base: &Path) -> Option<Vec<u8>> {
    let tree = Tree::open(base).ok()??;
    let name = tree.read_local_node().ok()??;
    let node = tree.node(&name).ok()??;
    Some(node.read(&tree.base, "m.marker", 4096).ok()??.bytes)
}

fn is_decoy(bytes: Option<Vec<u8>>) -> bool {
    bytes.is_some_and(|bytes| String::from_utf8_lossy(&bytes).contains("decoy"))
}

/// The way that everybody writes first: look, then open.
fn naive(shown: &Path, path: &Path) -> Option<Vec<u8>> {
    let looked = symlink_metadata(shown).ok()?;
    if looked.is_symlink() { None } else { std::fs::read(path).ok() }
}

#[test]
fn a20_exchanged_while_walked() {
    let mut tally = Tally::new("A20", "names exchanged while they are walked");
    let (mut tried, mut naive) = (0, 0);
    for sharing in sharings() {
        for part in ["$N", "$N/m.marker"] {
            for way in WAYS {
                tally.way(way);
                let arena = Arena::new(*sharing);
                // A look-alike that would be believed, and a link to it that is exchanged with the
                // real one.
                let plant = format!(
                    "cp -a {part} $W/decoy && if [ -d $W/decoy ]; then f=$W/decoy/m.marker; else \
                     f=$W/decoy; fi && sed -i s/a:/decoy:/ $f && ln -s $W/decoy {part}.beside"
                );
                let by = if part == "$N" { 0 } else { arena.insider() };
                let out = arena.script(by, &plant);
                assert_eq!(out.status, 0, "{out:?}");
                let name = |tail: &str| {
                    let path =
                        if part == "$N" { arena.node() } else { arena.node().join("m.marker") };
                    PathBuf::from(format!("{}{tail}", path.display()))
                };
                let decoy = snapshot(&arena.world.join("decoy"));
                let racer = swap(by, by, name(""), name(".beside"));
                let base = arena.base.clone();
                let paths = (name(""), arena.node().join("m.marker"));
                let raced = race(&arena, way, paths, move || is_decoy(read(&base)));
                tally.add_insider(raced.tried, raced.tried - raced.lost);
                tried += raced.tried;
                naive += raced.naive;
                for words in ["marker set m a=c", "heartbeat", "lease exec job -n -- true", "clean"]
                {
                    let out =
                        crate::arena::run(arena.cmd(VICTIM, words).env("ZETA_NO_OPENAT2", way));
                    tally.insider(matches!(out.status, 0 | 7), &format!("{words}: {out:?}"));
                }
                drop(racer);
                let Raced { tried, lost, .. } = raced;
                assert_eq!(lost, 0, "{part} was followed {lost} times in {tried} ({way})");
                // A marker that is written in the race may be exchanged, but never written through.
                let after = snapshot(&arena.world.join("decoy"));
                assert_eq!(after, decoy, "{part}: it was written through a link");
            }
        }
    }
    assert!(naive > 0, "in {tried} tries not even the naive way lost: that was no race");
    tally.note(&format!("the naive way lost {naive} of {tried}"));
}

#[test]
fn a20_base_exchanged_by_an_outsider() {
    let mut tally = Tally::new("A20b", "the base exchanged by its false owner");
    if !is_root() {
        return;
    }
    for way in WAYS {
        tally.way(way);
        let arena = Arena::empty(Sharing::Private);
        // The link leads to a directory of the victim that would do.
        let script = "mkdir -m 700 $S/own $S/own/nodes $S/own/nodes/node-a; \
                      echo node-a >$S/own/local-node; \
                      chmod 600 $S/own/local-node; echo decoy >$S/own/nodes/node-a/m.marker";
        assert_eq!(arena.script(VICTIM, script).status, 0);
        let script = "mkdir -m 700 $B; ln -s $S/own $B.beside";
        assert_eq!(arena.script(OUTSIDER, script).status, 0);
        let before = snapshot(&arena.safe);
        let beside = arena.world.join("state.beside");
        let racer = swap(OUTSIDER, OUTSIDER, arena.base.clone(), beside);
        let base = arena.base.clone();
        let paths = (base.clone(), base.join("nodes/node-a/m.marker"));
        let attempt = move || Tree::open(&base).is_ok() || is_decoy(read(&base));
        let Raced { tried, lost, naive } = race(&arena, way, paths, attempt);
        tally.add_outsider(tried, tried - lost);
        assert!(naive > 0, "in {tried} tries not even the naive way lost: that was no race");
        tally.note(&format!("the naive way lost {naive} of {tried} in the last"));
        for words in ["lease acquire job", "heartbeat", "init", "clean"] {
            let out = crate::arena::run(arena.cmd(VICTIM, words).env("ZETA_NO_OPENAT2", way));
            tally.outsider(out.status == 7, &format!("{words}: {out:?}"));
        }
        drop(racer);
        assert_eq!(lost, 0, "the base was followed {lost} times in {tried}");
        assert_eq!(snapshot(&arena.safe), before, "something was written there");
    }
}

/// The walk that replaces `openat2` is taken where that call is missing, or forbidden by a unit.
#[test]
fn a20_a_kernel_without_openat2() {
    let mut tally = Tally::new("A20k", "a kernel or a unit without openat2");
    if !is_root() || std::process::Command::new("strace").arg("-V").output().is_err() {
        return tally.skip("no strace here");
    }
    let arena = Arena::new(Sharing::Private);
    for errno in ["ENOSYS", "EPERM"] {
        let inject = format!("inject=openat2:error={errno}");
        let zeta = crate::arena::built();
        let own = arena.world.join(errno);
        for words in ["lease exec job -n -- true", "heartbeat", "marker set m a=c", "lease list"] {
            let mut args = vec!["-f", "-o", "/dev/null", "-e", "trace=openat2", "-e", &inject];
            args.push(zeta.to_str().unwrap());
            args.extend(words.split(' '));
            let mut call = arena.other(0, "strace", &args);
            let out = crate::arena::run(call.env("ZETA_STATE_DIR", &own));
            tally.insider(out.status == 0, &format!("{errno}: {words}: {out:?}"));
        }
    }
}
