//! The cases of notes: a call that leaves one, by a handover or a release, fails or is killed at
//! each of its system calls. The claim has its old or its new holder, its new one sees the note,
//! and a note whose call did not go through is seen by no agent.

use std::time::Duration;

use serde_json::Value;

use super::bus::{is_told, place_of, settle_in};
use super::fault::{Fault, chosen};
use super::sandbox::Sandbox;
use super::scene::tell;
use super::trace::{inject, record, works};
use super::tree::Tree;
use crate::support::{Out, skip};

/// Branch and worktree show that a later call is the holder's.
const PLACE: [&str; 4] = ["--branch", "b", "--worktree", "/w"];

/// Who has the item, and the note that is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    holder: Option<String>,
    note: Option<String>,
}

fn see(sandbox: &Sandbox) -> Sight {
    let out = sandbox.zeta(&["claim", "check", "B-1", "--json"]);
    assert!(matches!(out.status, 0 | 3), "{out:?}");
    let seen: Value = serde_json::from_str(&out.out).unwrap();
    let holders = seen["claims"].as_array().unwrap();
    assert!(holders.len() <= 1, "doubled: {seen}");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let holder = holders.first().and_then(|claim| text(&claim["from"]));
    Sight { holder, note: text(&seen["note"]["text"]) }
}

/// Plays `claim VERB --note` of bob, who has the item and a note from ann.
pub fn play(test: &str, verb: &[&str]) {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test, "needs strace, and the right to trace");
    }
    let file = |text: &str| {
        let file = sandbox.dir.join(text);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let (one, two) = (file("one"), file("two"));
    let claim = |from: &str, verb: &[&str], more: &[&str]| -> Vec<String> {
        let args = [&["claim"], verb, &["B-1", "--from", from], &PLACE, more].concat();
        args.into_iter().map(str::to_owned).collect()
    };
    let ok = |args: Vec<String>| sandbox.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    ok(claim("ann", &["acquire"], &[]));
    ok(claim("ann", &["handover", "--to", "bob"], &["--note", &one]));
    ok(claim("bob", &["acquire"], &[]));
    let args = claim("bob", verb, &["--note", &two]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let state = Tree::read(&sandbox.world);
    let place = place_of(&sandbox);
    let set = || {
        state.put_back(&sandbox.world);
        sandbox.forget_home();
        settle_in(&sandbox, place.as_deref());
        // A tick of the clock that files are stamped by: the index is as true as it can be.
        std::thread::sleep(Duration::from_millis(12));
        see(&sandbox)
    };
    let old = set();
    assert_eq!((old.holder.as_deref(), old.note.as_deref()), (Some("bob"), Some("one")));
    let (clean, points) = record(&sandbox, &args);
    assert_eq!(clean.status, 0, "{clean:?}");
    let new = see(&sandbox);
    assert_eq!(new.note.as_deref(), Some("two"));
    assert_ne!(new.holder, old.holder);
    let (mut made, mut missed, mut wrong) = (0, 0, Vec::new());
    for point in &points {
        for fault in chosen().iter().filter(|fault| is_told(point, **fault)) {
            set();
            let (out, struck) = inject(&sandbox, point, *fault, &args);
            if !struck {
                missed += 1;
                continue;
            }
            made += 1;
            let found = judge(&sandbox, &args, (&old, &new), *fault, &out);
            wrong.extend(tell(point, *fault, &out, found));
        }
    }
    eprintln!("{verb:?}: {made} injections at {} calls, {missed} missed", points.len());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missed * 50 <= made, "{missed} faults never struck, {made} did");
}

fn judge(
    sandbox: &Sandbox,
    args: &[&str],
    (old, new): (&Sight, &Sight),
    fault: Fault,
    out: &Out,
) -> Vec<String> {
    let mut wrong = Vec::new();
    if (out.status == 137) != (fault == Fault::Kill) || out.err.contains("panicked") {
        wrong.push("it hung, panicked or was not killed".to_owned());
    }
    let now = see(sandbox);
    // Between its note and its commit a call may have replaced the note that the holder has read.
    let torn = Sight { note: None, ..old.clone() };
    if now != *old && now != *new && now != torn {
        wrong.push(format!("a third state: {now:?}"));
    }
    if out.status == 0 && now != *new {
        wrong.push(format!("it said that it was done: {now:?}"));
    }
    let next = sandbox.zeta(args);
    let done = matches!(next.status, 3..=5) && now.holder == new.holder;
    if (next.status != 0 && !done) || see(sandbox) != *new {
        wrong.push(format!("the next call did not go through: {next:?}, {:?}", see(sandbox)));
    }
    wrong
}
