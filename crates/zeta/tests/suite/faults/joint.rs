//! The cases of leases that several holders have. After a fault at any call of an acquire, a
//! release or a break the grants are those of before or of after, an answer of success is true, no
//! place is lost, and the next call goes through at once. Grants are counted by their files: a file
//! counts while the record of the lease stands.

use std::time::Duration;

use super::fault::{ENOSPC, Fault, chosen, full};
use super::sandbox::{Sandbox, run};
use super::scene::tell;
use super::trace::{Point, inject, record, works};
use super::tree::Tree;
use crate::bus::place::original_holders;
use crate::support::{Out, skip};

/// How soon the next call must have gone through.
const AT_ONCE: Duration = Duration::from_secs(3);
/// In the arguments: the token that the last acquire printed.
const TOKEN: &str = "TOKEN";

const ANN: &[&str] = &["lease", "acquire", "job", "--slots", "2", "--as", "ann"];
const BOB: &[&str] =
    &["lease", "acquire", "job", "--slots", "2", "--as", "bob", "--lease-id", "attempt-1"];
const CAT: &[&str] = &["lease", "acquire", "job", "--slots", "2", "--as", "cat"];
const CLAIM_ANN: &[&str] = &["claim", "acquire", "--path", "docs/", "--as", "ann"];
const CLAIM_BOB: &[&str] = &["claim", "acquire", "--path", "src/", "--as", "bob"];
const CLAIM_CAT: &[&str] = &["claim", "acquire", "--path", "src/a", "--as", "cat"];
/// How the original calls what bob claims.
const ITEM: &str = "path:repo:src/";

/// A call upon grants.
pub struct Scene {
    name: &'static str,
    before: &'static [&'static [&'static str]],
    args: &'static [&'static str],
    /// A request that is refused as long as bob has its grant, and is granted otherwise.
    third: &'static [&'static str],
    /// Grants before and after.
    grants: (usize, usize),
    /// How the call may end, but with 0, if it is made again after it was done.
    again: i32,
    on_bus: bool,
}

impl Scene {
    pub fn last_slot() -> Scene {
        let before: &[&[&str]] = &[ANN];
        Scene {
            name: "acquire of the last slot",
            before,
            args: BOB,
            third: CAT,
            grants: (1, 2),
            again: 0,
            on_bus: false,
        }
    }

    pub fn release() -> Scene {
        let args = &["lease", "release", "job", "--token", TOKEN];
        let before: &[&[&str]] = &[ANN, BOB];
        Scene { name: "release", before, args, grants: (2, 1), again: 5, ..Scene::last_slot() }
    }

    pub fn break_one() -> Scene {
        let args = &["lease", "break", "job", "--expect", TOKEN, "--reason", "x"];
        Scene { name: "break", args, again: 3, ..Scene::release() }
    }

    pub fn claim() -> Scene {
        let before: &[&[&str]] = &[CLAIM_ANN];
        let (args, third) = (CLAIM_BOB, CLAIM_CAT);
        Scene {
            name: "claim acquire --path",
            before,
            args,
            third,
            again: 0,
            on_bus: true,
            ..Scene::last_slot()
        }
    }

    pub fn unclaim() -> Scene {
        let before: &[&[&str]] = &[CLAIM_ANN, CLAIM_BOB];
        let args = &["claim", "release", "--path", "src/", "--token", TOKEN];
        let grants = (2, 1);
        Scene { name: "claim release --path", before, args, grants, again: 5, ..Scene::claim() }
    }

    /// Makes the state before; the arguments of the call.
    fn set_up(&self, sandbox: &Sandbox) -> Vec<String> {
        Tree::default().put_back(&sandbox.world);
        sandbox.forget_home();
        let mut said = String::new();
        self.before.iter().for_each(|args| said = sandbox.ok(args));
        let word = |word: &&str| if *word == TOKEN { said.clone() } else { (*word).to_owned() };
        self.args.iter().map(word).collect()
    }
}

/// Counts the grants that count.
fn grants(sandbox: &Sandbox) -> usize {
    let tree = Tree::read(&sandbox.world);
    let plain = |path: &&String| path.ends_with(".lock") && !path.contains("/.guard/");
    let files: Vec<&String> = tree.0.keys().filter(plain).collect();
    let stands = files.iter().any(|path| !path.contains(".grants/"));
    if stands { files.iter().filter(|path| path.contains(".grants/")).count() } else { 0 }
}

/// Plays one scene with every fault at every call; the short form fills the disk at each write.
pub fn play(test: &str, scene: &Scene) {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test, "needs strace, and the right to trace");
    }
    let args = scene.set_up(&sandbox);
    assert_eq!(grants(&sandbox), scene.grants.0, "{}", scene.name);
    let (clean, points) = record(&sandbox, &refs(&args));
    assert_eq!((clean.status, grants(&sandbox)), (0, scene.grants.1), "{}: {clean:?}", scene.name);
    let (mut made, mut missed, mut wrong) = (0, 0, Vec::new());
    for point in &points {
        for fault in chosen().iter().filter(|fault| is_made(point, **fault)) {
            let args = scene.set_up(&sandbox);
            let (out, struck) = inject(&sandbox, point, *fault, &refs(&args));
            if !struck {
                missed += 1;
                continue;
            }
            made += 1;
            wrong.extend(tell(point, *fault, &out, judge(&sandbox, scene, &args, *fault, &out)));
        }
    }
    eprintln!("{}: {made} injections at {} calls, {missed} missed", scene.name, points.len());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missed * 50 <= made, "{missed} faults never struck, {made} did");
}

pub fn is_made(point: &Point, fault: Fault) -> bool {
    let takes_room = ["write", "pwrite64", "openat", "openat2", "mkdirat", "renameat2", "renameat"];
    point.takes(fault) && (full() || fault != ENOSPC || takes_room.contains(&&*point.call))
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn judge(
    sandbox: &Sandbox,
    scene: &Scene,
    args: &[String],
    fault: Fault,
    out: &Out,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let killed = fault == Fault::Kill;
    if out.status == -9 || out.err.contains("panicked") || (killed && out.status != 137) {
        wrong.push("it hung, panicked or was not killed".to_owned());
    }
    let now = grants(sandbox);
    let (old, new) = scene.grants;
    if now != old && now != new {
        wrong.push(format!("{now} grants"));
    }
    let is_done = now == new;
    match out.status {
        0 if !is_done => wrong.push("it said that it was done, and it was not".to_owned()),
        status if !killed && status != 0 && is_done && !is_doubtful(out) => {
            wrong.push("it said that it failed, and it was done".to_owned());
        }
        _ => {}
    }
    let has_bob = (now == 2, original_holders(&sandbox.world.join("bus"), ITEM) == ["bob"]);
    if scene.on_bus && has_bob == (true, false) && !no_word(fault, out) {
        wrong.push("the original does not see it".to_owned());
    }
    if scene.on_bus
        && has_bob == (false, true)
        && !killed
        && !no_word(fault, out)
        && !is_doubtful(out)
    {
        wrong.push("the original sees what is no more".to_owned());
    }
    // Claims of one session never exclude each other.
    let mut third = sandbox.cmd(env!("CARGO_BIN_EXE_zeta"));
    let third = run(third.args(scene.third).env("ZETA_SESSION", "s-2"));
    if third.status != if now == 2 { 3 } else { 0 } {
        wrong.push(format!("with {now} grants: {third:?}"));
    }
    let next = sandbox.zeta(&refs(args));
    let right = match (is_done, new > old) {
        (true, _) => next.status == scene.again || next.status == 0,
        // The third one has the place.
        (false, true) => next.status == 3,
        (false, false) => next.status == 0,
    };
    if !right || next.took > AT_ONCE {
        wrong.push(format!("the next call: {next:?}"));
    }
    wrong
}

/// It says itself that it may be done: the answer could not be printed, or the guard could not be
/// looked at after the change.
fn is_doubtful(out: &Out) -> bool {
    ["could not print", "may count all the same"].iter().any(|text| out.err.contains(text))
}

/// A bus that could not be written or read: no claim on paths depends on it.
fn no_word(fault: Fault, out: &Out) -> bool {
    matches!(fault, Fault::Error { .. }) && (out.err.contains("announced") || out.status == 0)
}
