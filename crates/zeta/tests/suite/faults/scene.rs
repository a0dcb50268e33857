//! What is called, upon which state: a verb, its record, and how the state before it is made.

use super::fault::{Fault, chosen, full};
use super::sandbox::Sandbox;
use super::trace::{Point, inject, record, works};
use super::tree::Tree;
use super::verdict::{Run, judge};
use crate::support::{Out, skip};

const TOKEN: &str = "TOKEN";
const ACQUIRE: &[&str] =
    &["lease", "acquire", "job", "--lease-id", "attempt-1", "--as", "bob", "--ttl", "1h"];
const MARKER: &[&str] = &["marker", "set", "build", "--as", "bob", "branch=main", "step=2"];
const PERSONA: &[&str] =
    &["persona", "set", "bob", "--as", "bob", "--status", "working", "--task", "t-2"];
const BEAT: &[&str] = &["heartbeat", "--as", "bob"];

/// A verb on a state.
pub struct Scene {
    /// For people.
    pub name: &'static str,
    /// Calls that make the state before; what the last acquire printed is `TOKEN` in later ones.
    before: &'static [&'static [&'static str]],
    /// The call itself.
    args: &'static [&'static str],
    /// The file that it changes.
    pub record: &'static str,
    /// How the record is read back.
    pub read: &'static [&'static str],
    /// The new state is that there is no record.
    pub removes: bool,
    /// The node's `last-seen.iso` changes, too.
    pub beats: bool,
    /// Nothing stands there before.
    pub first: bool,
}

const LEASE: Scene = Scene {
    name: "",
    before: &[],
    args: ACQUIRE,
    record: "job.lock",
    read: &["lease", "show", "job", "--json"],
    removes: false,
    beats: false,
    first: false,
};
const OF_MARKER: Scene = Scene {
    args: MARKER,
    record: "build.marker",
    read: &["marker", "get", "build", "--json"],
    ..LEASE
};
const OF_PERSONA: Scene = Scene {
    args: PERSONA,
    record: "persona-bob.state",
    read: &["persona", "get", "bob", "--json"],
    ..LEASE
};

impl Scene {
    /// On a machine that has no tree.
    pub fn acquire_first() -> Scene {
        Scene { name: "acquire, first use", first: true, ..LEASE }
    }

    /// The guard stands, the lease is free.
    pub fn acquire_free() -> Scene {
        let before: &[&[&str]] = &[ACQUIRE, &["lease", "release", "job", "--token", TOKEN]];
        Scene { name: "acquire, free", before, ..LEASE }
    }

    /// An expired record of another holder exists.
    pub fn acquire_over() -> Scene {
        let before: &[&[&str]] =
            &[&["lease", "acquire", "job", "--as", "ann", "--ttl", "100ms", "--grace", "0"]];
        Scene { name: "acquire, takeover", before, ..LEASE }
    }

    pub fn renew() -> Scene {
        let args = &["lease", "renew", "job", "--token", TOKEN];
        Scene { name: "renew", before: &[ACQUIRE], args, ..LEASE }
    }

    pub fn release() -> Scene {
        let args = &["lease", "release", "job", "--token", TOKEN];
        Scene { name: "release", before: &[ACQUIRE], args, removes: true, ..LEASE }
    }

    /// The tree stands, the marker and its guard do not.
    pub fn marker_new() -> Scene {
        Scene { name: "marker set, new", before: &[ACQUIRE], ..OF_MARKER }
    }

    pub fn marker_over() -> Scene {
        let before: &[&[&str]] = &[&["marker", "set", "build", "--as", "ann", "branch=old", "x=1"]];
        Scene { name: "marker set, over", before, ..OF_MARKER }
    }

    pub fn persona_new() -> Scene {
        Scene { name: "persona set, new", before: &[ACQUIRE], ..OF_PERSONA }
    }

    pub fn persona_over() -> Scene {
        let before: &[&[&str]] = &[&["persona", "set", "bob", "--as", "bob", "--task", "t-1"]];
        Scene { name: "persona set, over", before, ..OF_PERSONA }
    }

    pub fn beat_new() -> Scene {
        let before: &[&[&str]] = &[ACQUIRE];
        Scene { name: "heartbeat, new", before, args: BEAT, beats: true, ..OF_PERSONA }
    }

    pub fn beat_over() -> Scene {
        let before: &[&[&str]] = &[PERSONA, BEAT];
        Scene { name: "heartbeat, over", before, args: BEAT, beats: true, ..OF_PERSONA }
    }

    /// Makes the state before; returns the arguments of the call.
    fn set_up(&self, sandbox: &Sandbox) -> Vec<String> {
        let mut token = String::new();
        for args in self.before {
            let args = filled(args, &token);
            let said = sandbox.ok(&words(&args));
            if args.iter().any(|word| word == "acquire") {
                token = said;
            }
        }
        filled(self.args, &token)
    }
}

fn filled(args: &[&str], token: &str) -> Vec<String> {
    args.iter().map(|word| if *word == TOKEN { token } else { word }.to_owned()).collect()
}

pub fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// Plays scenes with every fault at every call, and fails with all that went wrong.
pub fn play(test: &str, scenes: &[Scene]) {
    let mut wrong = Vec::new();
    let ways: &[bool] = if full() { &[false, true] } else { &[false] };
    for (scene, no_openat2) in scenes.iter().flat_map(|scene| ways.iter().map(move |w| (scene, *w)))
    {
        let sandbox = Sandbox::new(no_openat2);
        if !works(&sandbox) {
            return skip(test, "needs strace, and the right to trace");
        }
        let (made, findings) = play_one(&sandbox, scene);
        let name = format!("{}{}", scene.name, if no_openat2 { ", no openat2" } else { "" });
        eprintln!("{name}: {made}");
        wrong.extend(findings.into_iter().map(|finding| format!("{name}: {finding}")));
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

fn play_one(sandbox: &Sandbox, scene: &Scene) -> (String, Vec<String>) {
    let args = scene.set_up(sandbox);
    // What is to be expired is, in each copy.
    std::thread::sleep(std::time::Duration::from_millis(110));
    let old = Tree::read(&sandbox.world);
    sandbox.forget_home();
    let (out, points) = record(sandbox, &words(&args));
    assert_eq!(out.status, 0, "{}: the clean run failed: {out:?}", scene.name);
    let new = Tree::read(&sandbox.world);
    assert!(points.len() > 20, "{}: the record of the clean run is cut: {points:?}", scene.name);
    let run = Run { sandbox, scene, args: &args, old: &old, new: &new };
    let (mut made, mut missed, mut findings) = (0, 0, Vec::new());
    for point in &points {
        for fault in chosen().iter().filter(|fault| point.takes(**fault)) {
            old.put_back(&sandbox.world);
            sandbox.forget_home();
            let (out, struck) = inject(sandbox, point, *fault, &words(&args));
            if !struck {
                missed += 1;
                continue;
            }
            made += 1;
            findings.extend(tell(point, *fault, &out, judge(&run, *fault, point, &out)));
        }
    }
    // The program takes the same way each time, but for a read more or less of a file of /proc.
    if missed * 50 > made {
        findings.push(format!("{missed} faults never struck, {made} did"));
    }
    (format!("{made} injections at {} calls, {missed} missed", points.len()), findings)
}

pub fn tell(point: &Point, fault: Fault, out: &Out, found: Vec<String>) -> Vec<String> {
    let at = |what| {
        let (call, k, said) = (&point.line, point.k, out.err.trim());
        format!("{what}\n    {fault:?} at #{k} {call}\n    ended {} saying {said:?}", out.status)
    };
    found.into_iter().map(at).collect()
}
