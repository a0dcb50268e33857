//! Every answer and every refusal of `zeta lease` fits its schema.

use serde_json::{Value, json};

use super::{Locked, age_by_a_boot, check, judge, loosen, misfits, tighten};
use crate::support::{Sandbox, run};

/// A lease that another agent holds, with its token.
fn held(sandbox: &Sandbox) -> String {
    sandbox.acquire(&["job", "--ttl", "5m", "--as", "otto"]).to_string()
}

#[test]
fn acquire() {
    let sandbox = Sandbox::new();
    let more = ["--ttl", "5m", "--pr", "7", "--purpose", "p", "--lease-id", "x", "--as", "otto"];
    let args = [&["lease", "acquire", "job"], &more[..]].concat();
    let granted = check(&sandbox, &args, 0);
    assert_eq!((&granted["outcome"], &granted["cause"]), (&json!("granted"), &json!("free")));
    assert_eq!(check(&sandbox, &args, 0)["cause"], "again");
    let refused = check(&sandbox, &["lease", "acquire", "job"], 3);
    assert_eq!((&refused["error"], &refused["agent"]), (&json!("refused"), &json!("otto")));
    assert_eq!(check(&sandbox, &["lease", "acquire", "job", "--wait", "50ms"], 6)["error"], "busy");
    let missing = check(&sandbox, &["lease", "acquire"], 2);
    let message = "the following required arguments were not provided: <NAME>";
    assert_eq!(missing["message"], message);
    check(&sandbox, &["lease", "acquire", "a/b"], 2);
    for text in ["pid: 7\nagent: x\n", "schema: 1\nkind: \"lease\"\n"] {
        std::fs::write(sandbox.lock("odd"), text).unwrap();
        check(&sandbox, &["lease", "acquire", "odd"], 3);
    }
    age_by_a_boot(&sandbox, "job");
    assert_eq!(check(&sandbox, &["lease", "acquire", "job"], 0)["cause"], "other_boot");
    loosen(&sandbox);
    check(&sandbox, &["lease", "acquire", "job"], 7);
}

#[test]
fn a_record_cannot_repeat_the_keys_of_an_error() {
    let sandbox = Sandbox::new();
    held(&sandbox);
    let forged = "\"reclaim\"\nerror: \"forged\"\nexit_status: 0\nhints: \"none\"\nmessage: \"m\"";
    sandbox.forge_keys("job", &[("policy", Some(forged))]);
    check(&sandbox, &["lease", "acquire", "job"], 3);
    let out = sandbox.zeta(&["lease", "acquire", "job", "--json"]);
    for key in ["error", "exit_status", "hints", "message"] {
        assert_eq!(out.out.matches(&format!("\"{key}\":")).count(), 1, "{out:?}");
    }
    // A record that is shown has all its keys.
    assert_eq!(check(&sandbox, &["lease", "show", "job"], 0)["error"], "forged");
}

#[test]
fn renew_release_and_check() {
    let sandbox = Sandbox::new();
    let verbs = [("renew", "renewed"), ("check", "mine"), ("release", "released")];
    for (verb, outcome) in verbs {
        let token = held(&sandbox);
        let checked = |token: &str, status| {
            check(&sandbox, &["lease", verb, "job", "--token", token], status)
        };
        check(&sandbox, &["lease", verb, "job"], 2);
        assert_eq!(checked("7", 5)["holder_fencing_token"].to_string(), token);
        if verb != "check" {
            let locked = Locked::new(&sandbox.guard("job"));
            assert_eq!(checked(&token, 6)["error"], "busy");
            drop(locked);
        }
        let good = checked(&token, 0);
        assert_eq!(good["outcome"], outcome);
        if verb == "release" {
            assert_eq!(checked(&token, 0)["outcome"], "already_released");
            held(&sandbox);
        } else {
            sandbox.ok(&["lease", "release", "job", "--token", &token]);
        }
        std::fs::write(sandbox.lock("job"), "pid: 7\n").unwrap();
        assert_eq!(checked(&token, 5)["outcome"], "lost");
        std::fs::remove_file(sandbox.lock("job")).unwrap();
        loosen(&sandbox);
        checked(&token, 7);
        tighten(&sandbox);
    }
}

#[test]
fn an_expired_lease_is_renewed_and_not_the_caller_s_by_a_check() {
    let sandbox = Sandbox::new();
    let args = ["job", "--ttl", "100ms", "--lease-id", "x"];
    let token = sandbox.acquire(&args).to_string();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let late = check(&sandbox, &["lease", "check", "job", "--token", &token], 5);
    assert!(late.get("outcome").is_none(), "{late}");
    let renewed = check(&sandbox, &["lease", "renew", "job", "--token", &token], 0);
    assert!(renewed["gap_ms"].as_u64().unwrap() > 0, "{renewed}");
}

#[test]
fn show_and_list() {
    let sandbox = Sandbox::new();
    check(&sandbox, &["lease", "list"], 0);
    assert_eq!(check(&sandbox, &["lease", "show", "job"], 4)["error"], "not_found");
    held(&sandbox);
    sandbox.acquire(&["never", "--policy", "never", "--pr", "7", "--purpose", "p"]);
    sandbox.acquire(&["short", "--ttl", "100ms", "--grace", "0s"]);
    for (name, text) in [("foreign", "pid: 7\n"), ("damaged", "schema: 1\nkind: \"lease\"\n")] {
        std::fs::write(sandbox.lock(name), text).unwrap();
    }
    age_by_a_boot(&sandbox, "never");
    let list = check(&sandbox, &["lease", "list"], 0);
    for lease in list["leases"].as_array().unwrap() {
        let name = lease["lease"].as_str().unwrap();
        let shown = check(&sandbox, &["lease", "show", name], 0);
        assert_eq!(shown["fencing_token"], lease["fencing_token"]);
    }
    assert_eq!(list["leases"].as_array().unwrap().len(), 5, "{list}");
    std::fs::write(sandbox.node().join("A B.lock"), "x\n").unwrap();
    let findings = check(&sandbox, &["lease", "list"], 7);
    assert_eq!(findings["findings"].as_array().unwrap().len(), 1, "{findings}");
    check(&sandbox, &["lease", "show", "a/b"], 2);
    check(&sandbox, &["lease", "list", "x"], 2);
    loosen(&sandbox);
    check(&sandbox, &["lease", "show", "job"], 7);
    assert_eq!(check(&sandbox, &["lease", "list"], 7)["error"], "unsafe");
}

#[test]
fn a_counted_lease() {
    let sandbox = Sandbox::new();
    let acquire = |agent| ["lease", "acquire", "job", "--slots", "2", "--as", agent];
    let one = check(&sandbox, &acquire("ann"), 0);
    let two = check(&sandbox, &acquire("bob"), 0);
    assert_eq!((&one["slots"], &two["slots"]), (&json!(2), &json!(2)));
    let refused = check(&sandbox, &acquire("cat"), 3);
    assert_eq!((&refused["agent"], &refused["other_holders"]), (&json!("ann"), &json!(1)));
    let alone = check(&sandbox, &["lease", "exec", "job", "-n", "--", "true"], 3);
    assert_eq!(alone["other_holders"], 1);
    let shown = check(&sandbox, &["lease", "show", "job"], 0);
    let holders = shown["holders"].as_array().unwrap();
    assert_eq!((holders.len(), &holders[1]["agent"]), (2, &json!("bob")), "{shown}");
    let listed = check(&sandbox, &["lease", "list"], 0);
    assert_eq!(listed["leases"].as_array().unwrap().len(), 2, "{listed}");
    let status = check(&sandbox, &["status"], 0);
    assert_eq!(status["nodes"][0]["leases"].as_array().unwrap().len(), 2, "{status}");
    let token = two["fencing_token"].to_string();
    let verbs = [("renew", "renewed"), ("check", "mine"), ("release", "released")];
    for (verb, outcome) in verbs {
        let answer = check(&sandbox, &["lease", verb, "job", "--token", &token], 0);
        assert_eq!(answer["outcome"], outcome);
    }
    let shown = check(&sandbox, &["lease", "show", "job"], 0);
    assert_eq!(shown["holders"].as_array().unwrap().len(), 1, "{shown}");
    check(&sandbox, &["lease", "acquire", "job", "--slots", "0"], 2);
}

/// The record of the founding text, as any program may write it.
const FOUNDING: &str = "pid: 999999\ntimestamp: 2026-11-22T10:11:12.000000Z\npr: 41\n";

#[test]
fn a_record_of_the_founding_text_is_shown_with_what_it_says() {
    let sandbox = Sandbox::new();
    held(&sandbox);
    std::fs::write(sandbox.lock("register"), FOUNDING).unwrap();
    let shown = check(&sandbox, &["lease", "show", "register"], 0);
    assert_eq!((&shown["pid"], &shown["pr"]), (&json!(999_999), &json!(41)), "{shown}");
    assert_eq!(shown["since"], "2026-11-22T10:11:12.000000Z");
    assert_eq!(shown["timestamp"], shown["since"]);
    assert!(shown["until"].is_string() && shown.get("agent").is_none(), "{shown}");
    let refused = check(&sandbox, &["lease", "acquire", "register"], 3);
    assert_eq!((&refused["pid"], &refused["since"]), (&shown["pid"], &shown["since"]));
    let status = check(&sandbox, &["status"], 0).to_string();
    assert!(status.contains("\"pr\":41") && status.contains("\"pid\":999999"), "{status}");
    for verb in [&["lease", "show", "register"][..], &["lease", "list"], &["status"]] {
        let text = sandbox.ok(verb);
        assert!(text.contains("pid 999999"), "{verb:?}: {text}");
    }
    let text = sandbox.ok(&["lease", "show", "register"]);
    assert!(text.contains("since 2026-11-22") && text.contains("pr 41"), "{text}");
}

#[test]
fn every_answer_about_a_held_lease_has_agent_since_until_and_pr() {
    let sandbox = Sandbox::new();
    let more = ["--ttl", "5m", "--pr", "7", "--lease-id", "x", "--as", "otto"];
    let acquire = [&["lease", "acquire", "job"], &more[..]].concat();
    let granted = check(&sandbox, &acquire, 0);
    let token = granted["fencing_token"].to_string();
    let answers = [
        check(&sandbox, &acquire, 0),
        check(&sandbox, &["lease", "acquire", "job"], 3),
        check(&sandbox, &["lease", "wait", "job", "--timeout", "50ms"], 6),
        check(&sandbox, &["lease", "show", "job"], 0),
        check(&sandbox, &["lease", "list"], 0)["leases"][0].clone(),
        check(&sandbox, &["lease", "renew", "job", "--token", &token], 0),
        granted,
    ];
    for answer in answers {
        assert_eq!((&answer["agent"], &answer["pr"]), (&json!("otto"), &json!(7)), "{answer}");
        assert!(answer["since"].is_string() && answer["until"].is_string(), "{answer}");
    }
}

#[test]
fn wait() {
    let sandbox = Sandbox::new();
    let answer = check(&sandbox, &["lease", "wait", "job"], 0);
    assert_eq!((&answer["outcome"], &answer["lease_state"]), (&json!("free"), &json!("free")));
    held(&sandbox);
    assert_eq!(check(&sandbox, &["lease", "wait", "job", "--timeout", "50ms"], 6)["agent"], "otto");
    check(&sandbox, &["lease", "wait", "job", "--timeout", "soon"], 2);
    age_by_a_boot(&sandbox, "job");
    assert_eq!(check(&sandbox, &["lease", "wait", "job"], 0)["lease_state"], "other_boot");
    loosen(&sandbox);
    check(&sandbox, &["lease", "wait", "job"], 7);
}

#[test]
fn break_by_force() {
    let sandbox = Sandbox::new();
    let token = held(&sandbox);
    let args = |token| ["lease", "break", "job", "--reason", "r", "--expect", token];
    assert_eq!(check(&sandbox, &args("7"), 3)["error"], "refused");
    let missing = check(&sandbox, &["lease", "break", "job", "--reason", "r"], 2);
    assert!(missing["message"].as_str().unwrap().contains("--expect <N>"), "{missing}");
    let locked = Locked::new(&sandbox.guard("job"));
    check(&sandbox, &args(&token), 6);
    drop(locked);
    assert_eq!(check(&sandbox, &args(&token), 0)["outcome"], "broken");
    assert_eq!(check(&sandbox, &args(&token), 4)["error"], "not_found");
    let lost = check(&sandbox, &["lease", "renew", "job", "--token", &token], 5);
    assert!(lost["message"].as_str().unwrap().contains("was broken by"), "{lost}");
    assert_eq!((&lost["reason"], &lost["break_reason"]), (&json!("broken"), &json!("r")));
    loosen(&sandbox);
    check(&sandbox, &args(&token), 7);
}

#[test]
fn exec() {
    let sandbox = Sandbox::new();
    let script = sandbox.dir.join("no-program");
    std::fs::write(&script, "x").unwrap();
    let script = script.to_str().unwrap();
    for (command, status) in [("no-such-tool", 127), (script, 126)] {
        let error = check(&sandbox, &["lease", "exec", "job", "--", command], status);
        assert_eq!(error["error"], "fault");
    }
    let token = held(&sandbox);
    for (options, status) in [
        (&["-n"][..], 3),
        (&["-w", "50ms"], 6),
        (&["-n", "-E", "42"], 42),
        (&["-n", "-E", "0"], 0),
        (&["--fenced", "--token", "7"], 5),
        (&["--on-lost", "cry"], 2),
        (&["-E", "300"], 2),
    ] {
        let args = [&["lease", "exec", "job"], options, &["--", "true"]].concat();
        check(&sandbox, &args, status);
    }
    check(&sandbox, &["lease", "exec", "job"], 2);
    let long = ["--fenced", "--token", &token, "--fence-timeout", "200ms", "--", "sleep", "30"];
    check(&sandbox, &[&["lease", "exec", "job"], &long[..]].concat(), 1);
    // A command that was started has stdout and the exit status for itself.
    let started = ["--json", "lease", "exec", "free", "--", "sh", "-c", "echo data; exit 9"];
    let out = sandbox.zeta(&started);
    assert_eq!((out.status, out.out.as_str()), (9, "data\n"), "{out:?}");
    assert!(!out.err.contains('{'), "{out:?}");
    loosen(&sandbox);
    check(&sandbox, &["lease", "exec", "job", "--", "true"], 7);
}

/// The command goes on, so the line on stderr is no error of a call that ended.
#[test]
fn a_loss_under_a_command_that_goes_on_is_a_warning() {
    let sandbox = Sandbox::new();
    let break_it = "\"$0\" -q lease break job --reason r --expect $ZETA_FENCING_TOKEN && \
                    \"$0\" -q lease acquire job --as other && exit 4";
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let out = sandbox.zeta(&["lease", "exec", "--json", "job", "--", "sh", "-c", break_it, zeta]);
    assert_eq!(out.status, 4, "{out:?}");
    let lines: Vec<&str> = out.err.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "{out:?}");
    let warning: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(misfits("warning", &warning), [""; 0], "{warning}");
    assert_eq!(warning["error"], "lost");
    assert!(warning.get("exit_status").is_none(), "{warning}");
}

#[test]
fn the_option_may_stand_anywhere_before_the_two_dashes() {
    let sandbox = Sandbox::new();
    for args in [["--json", "lease", "show", "job"], ["lease", "show", "job", "--json"]] {
        judge(&["lease", "show"], &sandbox.zeta(&args), 4);
    }
    let out = run(&mut sandbox.cmd(&["lease", "exec", "job", "--frob", "--", "x", "--json"]));
    assert!(out.status == 2 && !out.err.contains('{'), "the option of another command: {out:?}");
}
