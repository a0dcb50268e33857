//! The cases of a handover of paths: a call that fails or is killed at each of its system calls.
//! There is one holder in any case, the old one or the new one, and both can go on with what they
//! have. And a reader that looks while the claim is handed over.

use serde_json::Value;

use super::fault::{Fault, chosen};
use super::joint::is_made;
use super::sandbox::{Sandbox, run};
use super::scene::tell;
use super::trace::{inject, pause, record, works};
use super::tree::Tree;
use crate::support::{Out, skip, test_name};

const CLAIM: [&str; 6] = ["claim", "acquire", "--path", "src/", "--as", "ann"];

fn call(sandbox: &Sandbox, verb: &str, more: &[&str]) -> Out {
    sandbox.zeta(&[&["claim", verb, "--path", "src/"], more].concat())
}

/// A call of another session: claims of one session never exclude each other.
fn of_another(sandbox: &Sandbox, args: &[&str]) -> Out {
    let mut zeta = sandbox.cmd(env!("CARGO_BIN_EXE_zeta"));
    run(zeta.args(args).env("ZETA_SESSION", "s-2"))
}

/// The names of the holders, as any agent sees them.
fn holders(sandbox: &Sandbox) -> Vec<String> {
    let out = of_another(sandbox, &["claim", "check", "--path", "src/", "--json", "--as", "eve"]);
    let seen: Value = serde_json::from_str(&out.out).unwrap_or_else(|_| panic!("{out:?}"));
    let holders = seen["holders"].as_array().unwrap().iter();
    holders.map(|holder| holder["agent"].as_str().unwrap().to_owned()).collect()
}

pub fn play(test: &str) {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test, "needs strace, and the right to trace");
    }
    let set = || {
        Tree::default().put_back(&sandbox.world);
        sandbox.forget_home();
        // With a second claim there is an index of them.
        sandbox.ok(&["claim", "acquire", "--path", "other/", "--as", "ann"]);
        sandbox.ok(&CLAIM)
    };
    let hand_over = |token: &str| -> Vec<String> {
        let args = ["claim", "handover", "--path", "src/", "--to", "bob", "--as", "ann"];
        [&args[..], &["--token", token]].concat().into_iter().map(str::to_owned).collect()
    };
    let args = hand_over(&set());
    let (clean, points) = record(&sandbox, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((clean.status, holders(&sandbox)), (0, vec!["bob".to_owned()]), "{clean:?}");
    let (mut made, mut missed, mut wrong) = (0, 0, Vec::new());
    for point in &points {
        for fault in chosen().iter().filter(|fault| is_made(point, **fault)) {
            let token = set();
            let args = hand_over(&token);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let (out, struck) = inject(&sandbox, point, *fault, &args);
            if !struck {
                missed += 1;
                continue;
            }
            made += 1;
            wrong.extend(tell(point, *fault, &out, judge(&sandbox, &args, &token, *fault, &out)));
        }
    }
    eprintln!("handover: {made} injections at {} calls, {missed} missed", points.len());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missed * 50 <= made, "{missed} faults never struck, {made} did");
}

fn judge(sandbox: &Sandbox, args: &[&str], token: &str, fault: Fault, out: &Out) -> Vec<String> {
    let mut wrong = Vec::new();
    if (out.status == 137) != (fault == Fault::Kill) || out.err.contains("panicked") {
        wrong.push("it hung, panicked or was not killed".to_owned());
    }
    let now = holders(sandbox);
    let is_done = match now.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bob"] => true,
        ["ann"] => false,
        _ => {
            wrong.push(format!("the holders are {now:?}"));
            return wrong;
        }
    };
    if out.status == 0 && !is_done {
        wrong.push("it said that it was done, and it was not".to_owned());
    }
    let kept = call(sandbox, "check", &["--token", token]);
    if kept.status != if is_done { 5 } else { 0 } {
        wrong.push(format!("the old holder's check: {kept:?}"));
    }
    let next = sandbox.zeta(args);
    if next.status != if is_done { 5 } else { 0 } {
        wrong.push(format!("the next call: {next:?}"));
    }
    if !is_done {
        return wrong;
    }
    if out.status == 0 {
        for verb in ["check", "renew"] {
            let known = call(sandbox, verb, &["--as", "bob", "--token", out.out.trim()]);
            if known.status != 0 {
                wrong.push(format!("{verb} with the token that was printed: {known:?}"));
            }
        }
    }
    // The new holder binds it to its session, which ends with its command: of its paths, one is
    // enough.
    let mut session = sandbox.cmd(env!("CARGO_BIN_EXE_zeta"));
    let bind = "\"$ZETA\" claim acquire --path src/a && \"$ZETA\" claim check --path src/b";
    let session = session.args(["run", "--as", "bob", "--", "sh", "-c", bind]);
    let bound = run(session.env("ZETA", env!("CARGO_BIN_EXE_zeta")));
    if bound.status != 0 || !bound.out.contains("yours") {
        wrong.push(format!("the new holder's session: {bound:?}"));
    }
    let after = holders(sandbox);
    if !after.is_empty() {
        wrong.push(format!("after the session: {after:?}"));
    }
    wrong
}

#[test]
fn a_claim_is_not_free_to_a_reader_while_it_is_handed_over() {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    let mut claim = sandbox.cmd(env!("CARGO_BIN_EXE_zeta"));
    let token = run(claim.args(CLAIM).env("ZETA_SESSION", "s-2")).out.trim().to_owned();
    let args = ["claim", "check", "--path", "src/a", "--as", "eve"];
    let (out, points) = record(&sandbox, &args);
    assert_eq!(out.status, 3, "{out:?}");
    // It has read which grants there are, and now reads this one.
    let file = format!("\"{:024x}.lock\"", token.parse::<u64>().unwrap());
    let read = points.iter().find(|point| point.line.contains(&file)).unwrap();
    let hand_over = || call(&sandbox, "handover", &["--to", "bob", "--token", &token]);
    let (out, handed) = pause(&sandbox, read, &args, hand_over);
    assert_eq!(handed.status, 0, "{handed:?}");
    assert_eq!(out.status, 3, "{out:?}");
    assert!(out.err.contains("bob"), "{out:?}");
}

#[test]
fn a_reader_of_grants_whose_last_one_goes_meanwhile_finds_none() {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test_name!(), "needs strace, and the right to trace");
    }
    let token = sandbox.ok(&["lease", "acquire", "job", "--slots", "2"]);
    let args = ["lease", "show", "job"];
    let (out, points) = record(&sandbox, &args);
    assert_eq!(out.status, 0, "{out:?}");
    let opened = points.iter().position(|point| point.line.contains("\"job.grants\"")).unwrap();
    let list = points[opened..].iter().find(|point| point.line.contains("\".\"")).unwrap();
    let release = || sandbox.zeta(&["lease", "release", "job", "--token", &token]);
    let (out, released) = pause(&sandbox, list, &args, release);
    assert_eq!(released.status, 0, "{released:?}");
    assert_eq!(out.status, 4, "it is free: {out:?}");
}
