//! The cases of the bus: a message exists completely or not at all, a claim is granted with its
//! record and its message or is as before, and the index is never wrong.
//!
//! What may remain after a kill: a message for a grant that was not made (it does not count), the
//! claim message of a release that was interrupted, the original's lock (stale after 5 s), and
//! incomplete files below `.zeta`. After an error that was reported: only what that error prevented
//! from being removed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use zeta_bus::messages::{Filter, list};

use super::fault::{ENOSPC, Fault, chosen, full};
use super::sandbox::Sandbox;
use super::scene::tell;
use super::trace::{Point, inject, pause, record, works};
use super::tree::{Entry, Tree};
use crate::bus::place::original_acquire;
use crate::support::{Out, skip};

const PUBLISH: &[&str] = &[
    "bus",
    "publish",
    "--as",
    "bob",
    "--topic",
    "shadow-catch",
    "--payload",
    "{\"content\":\"x\"}",
];
/// With branch and worktree the same call again is a renewal.
const ACQUIRE: &[&str] =
    &["claim", "acquire", "--from", "bob", "--item", "B-1", "--branch", "b", "--worktree", "/w"];
const RELEASE: &[&str] =
    &["claim", "release", "--from", "bob", "--item", "B-1", "--branch", "b", "--worktree", "/w"];
const CHECK: &[&str] = &["claim", "check", "--item", "B-1", "--json"];
/// How soon the next call must have gone through.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A call on a bus.
pub struct Scene {
    name: &'static str,
    before: &'static [&'static [&'static str]],
    args: &'static [&'static str],
    /// Another tool claims the item by a message that was not read yet.
    taken: bool,
    /// The index is as true as it can be when the call begins.
    warm: bool,
}

impl Scene {
    pub fn publish() -> Scene {
        Scene { name: "publish", before: &[PUBLISH], args: PUBLISH, taken: false, warm: true }
    }

    pub fn publish_first() -> Scene {
        Scene { name: "publish, first use", before: &[], warm: false, ..Scene::publish() }
    }

    pub fn acquire() -> Scene {
        let before: &[&[&str]] = &[PUBLISH, ACQUIRE, RELEASE];
        Scene { name: "claim acquire", before, args: ACQUIRE, taken: false, warm: true }
    }

    pub fn acquire_again() -> Scene {
        Scene { name: "claim acquire, again", before: &[ACQUIRE], ..Scene::acquire() }
    }

    pub fn acquire_taken() -> Scene {
        Scene { name: "claim acquire, taken", taken: true, warm: false, ..Scene::acquire() }
    }

    pub fn release() -> Scene {
        Scene { name: "claim release", before: &[ACQUIRE], args: RELEASE, ..Scene::acquire() }
    }
}

/// What stands on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    /// Ids of the messages.
    ids: BTreeSet<String>,
    /// Who has the item to the original: the newest word of each sender.
    original: BTreeSet<String>,
    /// Who has it to zeta.
    holders: BTreeSet<String>,
    /// The record of the claim stands.
    record: bool,
}

fn bus_of(sandbox: &Sandbox) -> PathBuf {
    sandbox.world.join("bus")
}

fn messages(sandbox: &Sandbox) -> Vec<Value> {
    let filter = Filter { expired: true, ..Filter::default() };
    let found = list(&bus_of(sandbox), &filter).unwrap();
    assert!(found.findings.is_empty(), "{:?}", found.findings);
    found.messages.into_iter().map(|seen| Value::Object(seen.envelope.to_object())).collect()
}

fn see(sandbox: &Sandbox) -> Sight {
    let mut original = BTreeSet::new();
    let all = messages(sandbox);
    for message in all.iter().filter(|message| message["topic"] == "claim") {
        let from = message["from"].as_str().unwrap().to_owned();
        match message["payload"]["action"] == "claim" {
            true => original.insert(from),
            false => original.remove(&from),
        };
    }
    let checked = sandbox.zeta(CHECK);
    assert!(matches!(checked.status, 0 | 3), "{checked:?}");
    let checked: Value = serde_json::from_str(&checked.out).unwrap();
    let holders = checked["claims"].as_array().unwrap().iter();
    let holders: BTreeSet<String> =
        holders.map(|claim| claim["from"].as_str().unwrap().to_owned()).collect();
    let ids = all.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
    let is_record = |path: &String| path.contains("/claim.b-1.") && !path.contains("/.guard/");
    let record = Tree::read(&sandbox.world).0.keys().any(is_record);
    Sight { ids, original, holders, record }
}

/// How messages name the tree: it is another one each time that it is put back.
pub fn place_of(sandbox: &Sandbox) -> Option<String> {
    let meta = std::fs::metadata(sandbox.world.join("state")).ok()?;
    Some(format!("\"{:x}-{:x}/", meta.dev(), meta.ino()))
}

/// Lets the messages name the tree that was put back.
pub fn settle_in(sandbox: &Sandbox, before: Option<&str>) {
    let (Some(before), Some(now)) = (before, place_of(sandbox)) else { return };
    for entry in std::fs::read_dir(bus_of(sandbox)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace(before, &now)).unwrap();
        }
    }
}

/// Which of the calls: a test of all of them would last for minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    Early,
    Late,
}

/// Calls that ask the disk for room.
const TAKES_ROOM: [&str; 7] =
    ["write", "pwrite64", "openat", "openat2", "mkdirat", "renameat", "renameat2"];

/// Reports whether the fault is in this form; the short form fills the disk at each write.
pub fn is_told(point: &Point, fault: Fault) -> bool {
    point.takes(fault) && (full() || fault != ENOSPC || TAKES_ROOM.contains(&&*point.call))
}

/// Plays one scene with every fault at every call of a part.
pub fn play(test: &str, scene: &Scene, part: Part) {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test, "needs strace, and the right to trace");
    }
    scene.before.iter().for_each(|args| _ = sandbox.ok(args));
    if scene.taken {
        let now_us = zeta_os::host::wall_us();
        let claim = serde_json::json!({
            "topic": "claim", "payload": { "action": "claim", "itemId": "B-1" },
            "id": "taken", "from": "lior", "to": "*",
            "timestamp": zeta_bus::messages::utc_ms(now_us),
            "expiresAt": zeta_bus::messages::utc_ms(now_us + 3_600_000_000),
        });
        std::fs::write(bus_of(&sandbox).join("taken.json"), claim.to_string()).unwrap();
    }
    let state = Tree::read(&sandbox.world);
    let place = place_of(&sandbox);
    let set = || {
        state.put_back(&sandbox.world);
        sandbox.forget_home();
        settle_in(&sandbox, place.as_deref());
        if scene.warm {
            // A tick of the clock that files are stamped by.
            std::thread::sleep(Duration::from_millis(12));
            messages(&sandbox);
        }
    };
    set();
    let (clean, points) = record(&sandbox, scene.args);
    assert_eq!(clean.status, if scene.taken { 3 } else { 0 }, "{}: {clean:?}", scene.name);
    let new = see(&sandbox);
    set();
    let old = see(&sandbox);
    let (mut made, mut missed, mut wrong) = (0, 0, Vec::new());
    let (early, late) = points.split_at(points.len() / 2);
    let points = match part {
        Part::All => &points,
        Part::Early => early,
        Part::Late => late,
    };
    for point in points {
        for fault in chosen().iter().filter(|fault| is_told(point, **fault)) {
            set();
            let (out, struck) = inject(&sandbox, point, *fault, scene.args);
            if !struck {
                missed += 1;
                continue;
            }
            made += 1;
            let judged = Case { sandbox: &sandbox, scene, old: &old, new: &new, fault: *fault };
            let call = point.line.split_once(' ').map_or("", |(_, call)| call.trim_start());
            wrong.extend(tell(point, *fault, &out, judged.judge(call, &out)));
        }
    }
    eprintln!("{}: {made} injections at {} calls, {missed} missed", scene.name, points.len());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missed * 50 <= made, "{missed} faults never struck, {made} did");
}

/// Pauses an acquire right before it makes the original's lock, and lets the original claim the
/// item meanwhile.
pub fn claim_before_lock(test: &str) {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test, "needs strace, and the right to trace");
    }
    Scene::acquire().before.iter().for_each(|args| _ = sandbox.ok(args));
    let (clean, points) = record(&sandbox, ACQUIRE);
    assert_eq!(clean.status, 0, "{clean:?}");
    sandbox.ok(RELEASE);
    let makes_lock = |point: &&Point| {
        point.call == "openat" && point.line.contains(".lock") && point.line.contains("O_EXCL")
    };
    let point = points.iter().find(makes_lock).unwrap();
    let claim = || original_acquire(&bus_of(&sandbox), "lior", "B-1");
    let (out, claimed) = pause(&sandbox, point, ACQUIRE, claim);
    // On a machine that is slow the original may come too late, and finds the item taken.
    assert_eq!(out.status, if claimed { 3 } else { 0 }, "{out:?}");
    assert_eq!(see(&sandbox).original.len(), 1, "{out:?}");
}

struct Case<'a> {
    sandbox: &'a Sandbox,
    scene: &'a Scene,
    old: &'a Sight,
    new: &'a Sight,
    fault: Fault,
}

impl Case<'_> {
    fn judge(&self, call: &str, out: &Out) -> Vec<String> {
        let mut wrong = Vec::new();
        let killed = self.fault == Fault::Kill;
        match out.status {
            -9 => wrong.push("it hung".to_owned()),
            137 if killed => {}
            _ if killed => wrong.push("it was not killed".to_owned()),
            _ => {}
        }
        if out.err.contains("panicked") {
            wrong.push("it panicked".to_owned());
        }
        let halves = self.halves();
        if !halves.is_empty() {
            wrong.push(format!("half of a message: {halves:?}"));
            return wrong;
        }
        let now = see(self.sandbox);
        // The index says what one says that was made anew.
        let _ = std::fs::remove_dir_all(bus_of(self.sandbox).join(".zeta/index"));
        let anew = see(self.sandbox);
        if now != anew {
            wrong.push(format!("the index was wrong: {now:?}, and is {anew:?}"));
        }
        if !now.ids.is_superset(&self.old.ids) || now.ids.len() > self.old.ids.len() + 1 {
            wrong.push(format!("messages: {:?}, before {:?}", now.ids, self.old.ids));
        }
        if self.scene.args == PUBLISH {
            if out.status == 0 && !now.ids.contains(out.out.trim()) {
                wrong.push("it said that it was stored, and it was not".to_owned());
            }
        } else {
            self.claims(call, out, &now, &mut wrong);
        }
        self.next_call(&mut wrong);
        wrong
    }

    /// Messages that are not whole.
    fn halves(&self) -> Vec<String> {
        let bus = Tree::read(&self.sandbox.world);
        let half = |(path, entry): (&String, &Entry)| {
            let name = path.strip_prefix("bus/")?;
            let Entry::File { bytes, .. } = entry else { return None };
            let id = name.strip_suffix(".json").filter(|name| !name.contains('/'))?;
            zeta_core::bus::Envelope::parse(bytes, id).is_err().then(|| path.clone())
        };
        bus.0.iter().filter_map(half).collect()
    }

    fn claims(&self, call: &str, out: &Out, now: &Sight, wrong: &mut Vec<String>) {
        let (old, new) = (self.old, self.new);
        let stands = match (&now.holders, now.record) {
            held if held == (&new.holders, new.record) => new,
            held if held == (&old.holders, old.record) => old,
            held => return wrong.push(format!("a third state: {held:?}")),
        };
        if out.status == 0 && stands != new {
            wrong.push("it said that it was done, and it was not".to_owned());
        }
        // The holder that zeta sees is the holder that the original sees.
        if !now.original.is_superset(&now.holders) {
            wrong.push(format!("the original does not see it: {now:?}"));
        }
        let void = now.original != now.holders;
        // A removal that failed, and a disk that takes no word.
        let excused = self.fault == Fault::Kill
            || call.starts_with("unlinkat(")
            || self.scene.args == RELEASE;
        if void && !(excused && out.status != 0) {
            wrong.push(format!("a word that is void stayed: {now:?}"));
        }
    }

    /// Life goes on at once; a lock that stayed is stale after its time.
    fn next_call(&self, wrong: &mut Vec<String>) {
        let lock = bus_of(self.sandbox).join("acquire-B-1.lock");
        if let Ok(file) = std::fs::File::options().write(true).open(&lock) {
            file.set_modified(SystemTime::now() - Duration::from_secs(10)).unwrap();
        }
        let next = self.sandbox.zeta(self.scene.args);
        let right = if self.scene.taken { 3 } else { 0 };
        // After a release that was complete, nothing is held.
        let released = self.scene.args == RELEASE && next.status == 4;
        if (next.status != right && !released) || next.took > AT_ONCE {
            return wrong.push(format!("the next call did not go through: {next:?}"));
        }
        let end = see(self.sandbox);
        if self.scene.args != PUBLISH && (end.holders != self.new.holders) {
            wrong.push(format!("the next call did not do its work: {end:?}"));
        }
        if end.original != end.holders {
            wrong.push(format!("the next call left a void word: {end:?}"));
        }
    }
}
