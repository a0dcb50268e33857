//! What is said, and where: nothing is lost in silence, and one answer is one object.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use super::kill::{end, holder};
use crate::support::{Out, Sandbox, skip, test_name};

/// A call whose stdout is a full disk.
fn into_full(sandbox: &Sandbox, args: &[&str]) -> Out {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.cmd(args);
    let out = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let err = String::from_utf8(out.stderr).unwrap();
    let status = out.status.code().unwrap();
    Out { status, out: String::new(), err, took: std::time::Duration::ZERO }
}

fn json(out: &str) -> Value {
    serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

#[test]
fn what_could_not_be_printed_is_a_fault_and_a_token_is_told_all_the_same() {
    let sandbox = Sandbox::new();
    let out = into_full(&sandbox, &["lease", "acquire", "job", "-q"]);
    assert_eq!(out.status, 1, "{out:?}");
    let token = json(&sandbox.ok(&["lease", "show", "job", "--json"]))["fencing_token"].to_string();
    let step = format!("zeta lease release job --token {token}");
    assert!(out.err.contains("could not print") && out.err.contains(&step), "{out:?}");
    sandbox.ok(&["marker", "set", "m", "a=b"]);
    for args in [
        vec!["lease", "show", "job"],
        vec!["lease", "list", "--json"],
        vec!["lease", "check", "job", "--token", &token],
        vec!["lease", "renew", "job", "--token", &token],
        vec!["marker", "get", "m", "a"],
        vec!["status"],
        vec!["status", "--json"],
        vec!["doctor"],
        vec!["guide"],
        vec!["--help"],
        vec!["lease", "release", "job", "--token", &token, "--json"],
    ] {
        let out = into_full(&sandbox, &args);
        assert_eq!(out.status, 1, "{args:?}: {out:?}");
        assert!(out.err.contains("could not print"), "{args:?}: {out:?}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_fault() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["job"]);
    for args in [&["status"][..], &["status", "--json"], &["lease", "show", "job"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = sandbox.cmd(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {out:?}");
    }
}

#[test]
fn a_list_with_findings_is_one_object_and_drops_no_odd_name() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["job"]);
    sandbox.ok(&["marker", "set", "m"]);
    sandbox.ok(&["persona", "set", "p"]);
    for file in ["A B.lock", "e\u{1b}[1m.lock", "X.marker", "persona-A.state", "notes.txt"] {
        std::fs::write(sandbox.node().join(file), "x\n").unwrap();
    }
    for (list, good, odd) in [
        ("lease", "leases", vec!["A B.lock", "e\\u{1b}[1m.lock"]),
        ("marker", "markers", vec!["X.marker"]),
        ("persona", "personas", vec!["persona-A.state"]),
    ] {
        let out = sandbox.zeta(&[list, "list", "--json"]);
        assert_eq!(out.status, 7, "{out:?}");
        let object = json(&out.out);
        assert_eq!(object[good].as_array().unwrap().len(), 1, "{object}");
        let findings = object["findings"].as_array().unwrap();
        assert_eq!(findings.len(), odd.len(), "{object}");
        let out = sandbox.refused(&[list, "list"], 7);
        for name in odd {
            let said = |finding: &Value| finding["message"].as_str().unwrap().contains(name);
            assert!(findings.iter().any(said), "{name}: {object}");
            assert!(out.err.contains(name) && !out.err.contains('\u{1b}'), "{out:?}");
        }
    }
}

#[test]
fn a_list_that_was_cut_says_so() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    sandbox.ok(&["heartbeat"]);
    for number in 0..4_100 {
        std::fs::write(sandbox.node().join(format!("n{number}")), "").unwrap();
    }
    for list in ["lease", "marker", "persona"] {
        let out = sandbox.refused(&[list, "list"], 7);
        assert!(out.err.contains("more than 4096 entries"), "{out:?}");
    }
}

#[test]
fn a_record_by_hand_plays_no_tricks_on_a_terminal_and_speaks_for_no_verb() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["marker", "set", "m", "a=b"]);
    let path = sandbox.node().join("m.marker");
    let text = std::fs::read_to_string(&path).unwrap();
    let trick = "c: \"\u{9b}31m \u{202e}x \\\"q\\\" é\"\nend: true\n";
    std::fs::write(&path, text.replace("end: true\n", trick)).unwrap();
    for args in [&["marker", "get", "m"][..], &["marker", "get", "m", "c", "--json"]] {
        let out = sandbox.ok(args);
        assert!(out.contains("\"\\u009b31m \\u202ex \\\"q\\\" é\""), "{out}");
    }
    assert_eq!(sandbox.ok(&["marker", "get", "m", "c"]), "\\u009b31m \\u202ex \\\"q\\\" é");

    let token = sandbox.acquire(&["job"]).to_string();
    sandbox.forge_keys("job", &[("policy", Some("\"reclaim\"\noutcome: \"forged\"\ngap_ms: 7"))]);
    let renewed = sandbox.ok(&["lease", "renew", "job", "--token", &token, "--json"]);
    assert_eq!(renewed.matches("\"outcome\"").count(), 1, "{renewed}");
    assert_eq!(json(&renewed)["outcome"], "renewed");
    assert!(json(&renewed).get("gap_ms").is_none(), "{renewed}");
}

#[test]
fn who_lost_a_lease_to_a_damaged_record_is_told_so() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let renew = ["lease", "renew", "job", "--token", &token];
    std::fs::write(sandbox.lock("job"), "schema: 1\nkind: \"lease\"\n").unwrap();
    let out = sandbox.refused(&renew, 5);
    assert!(out.err.contains("a damaged record is in its place"), "{out:?}");
    std::fs::write(sandbox.lock("job"), "pid: 7\n").unwrap();
    assert!(sandbox.refused(&renew, 5).err.contains("a record of another program"), "{out:?}");
    std::fs::remove_file(sandbox.lock("job")).unwrap();
    assert!(sandbox.refused(&renew, 5).err.contains("its record is gone"), "{out:?}");
}

#[test]
fn who_waits_is_told_what_is_so() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job", "--ttl", "5m"]).to_string();
    let acquire = ["lease", "acquire", "job", "--wait", "60ms"];
    let out = sandbox.refused(&acquire, 6);
    assert!(out.err.contains("its TTL ends in") && !out.err.contains("at the latest"), "{out:?}");
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
    // A live process came before, and does not take the free lease.
    let ns = |of: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{of}")).unwrap();
        link.to_str().unwrap().replace(|c: char| !c.is_ascii_digit(), "")
    };
    let (pid, pid_ns, time_ns) = (std::process::id(), ns("pid"), ns("time"));
    let ticket = format!("{:020}-{}-{pid}-0-{pid_ns}-{time_ns}", 1, u64::MAX);
    let ticket = sandbox.guard("job").join("queue").join(ticket);
    std::fs::write(&ticket, "").unwrap();
    let out = sandbox.refused(&acquire, 6);
    assert!(out.err.contains("is free, but other processes are ahead in the queue"), "{out:?}");
    std::fs::remove_file(&ticket).unwrap();
    let (wrapper, command) = holder(&sandbox, &["--ttl", "5m", "--grace", "7m"]);
    let out = sandbox.refused(&acquire, 6);
    assert!(out.err.contains("so 7m 0s of grace follow"), "{out:?}");
    end(wrapper, command);
}

#[test]
fn a_break_leaves_nothing_where_nothing_stood() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    sandbox.ok(&["heartbeat"]);
    sandbox.refused(&["lease", "break", "nosuch", "--damaged", "--reason", "r"], 4);
    assert!(!sandbox.guard("nosuch").exists(), "a guard was made for nothing");
}

#[test]
fn attributes_of_any_length_are_listed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    for number in 0..12 {
        let name = format!("user.{number:060}");
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(&sandbox.state, name, b"1", flags).is_err() {
            return skip(test_name!(), "no user attributes here");
        }
    }
    sandbox.ok(&["status"]);
}
