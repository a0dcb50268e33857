//! Wrong calls: exit status 2, one sentence that says what would be right, and nothing made.

use crate::support::Sandbox;

#[test]
fn wrong_calls_say_what_would_be_right() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(121);
    for (args, words) in [
        (vec!["lease", "acquire", ".."], "use 1 to 120"),
        (vec!["lease", "acquire", "a/b"], "use 1 to 120"),
        (vec!["lease", "acquire", "Deploy"], "use 1 to 120"),
        (vec!["lease", "acquire", ""], "use 1 to 120"),
        (vec!["lease", "acquire", "a b"], "use 1 to 120"),
        (vec!["lease", "acquire", "a\nb"], "use 1 to 120"),
        (vec!["lease", "acquire", "é"], "use 1 to 120"),
        (vec!["lease", "acquire", "--", "-rf"], "use 1 to 120"),
        (vec!["lease", "acquire", &long], "use 1 to 120"),
        (vec!["lease", "acquire", "x", "--ttl", "0"], "between 100ms and 31d"),
        (vec!["lease", "acquire", "x", "--ttl", "32d"], "between 100ms and 31d"),
        (vec!["lease", "acquire", "x", "--ttl", "10 parsecs"], "as in 30s, 10m or 1h30m"),
        (vec!["lease", "acquire", "x", "--ttl=-5s"], "as in 30s, 10m or 1h30m"),
        (vec!["lease", "acquire", "x", "--wait", "soon"], "as in 30s, 10m or 1h30m"),
        (vec!["lease", "acquire", "x", "--policy", "rob"], "reclaim, kill or never"),
        (vec!["lease", "acquire", "x", "--pr", "many"], "many"),
        (vec!["lease", "acquire", "x", "--frob"], "--frob"),
        (vec!["lease", "acquire"], "NAME"),
        (vec!["lease", "frob"], "frob"),
        (vec!["lease", "renew", "x", "--token", "twelve"], "whole number"),
        (vec!["lease", "renew", "x", "--token", "0"], "whole number"),
        (vec!["lease", "renew", "x", "--token", "9007199254740992"], "whole number"),
        (vec!["lease", "renew", "x", "--token=-1"], "whole number"),
        (vec!["lease", "check", "x"], "--token"),
        (vec!["lease", "exec", "x"], "CMD"),
        (vec!["lease", "exec", "x", "-n", "-w", "3", "--", "true"], "cannot be used with"),
        (vec!["lease", "exec", "x", "--on-lost", "cry", "--", "true"], "warn, term or kill"),
        (vec!["lease", "exec", "x", "-E", "300", "--", "true"], "300"),
        (vec!["lease", "break", "x", "--reason", "r"], "--expect"),
        (vec!["heartbeat", "--every", "1s", "--count", "0"], "--count"),
        (vec!["lease", "acquire", "x", "--as", "Otto"], "RFC 1123"),
        (vec!["lease", "acquire", "x", "--node", "a.b"], "RFC 1123"),
        (vec!["persona", "set", "a_b"], "RFC 1123"),
        (vec!["persona", "set", "a", "Key=1"], "a to z"),
        (vec!["marker", "set", "a", "schema=2"], "written by zeta itself"),
    ] {
        let out = sandbox.refused(&args, 2);
        assert!(out.err.contains(words), "{args:?} should say {words:?}: {}", out.err);
        assert!(!out.err.contains("panicked"), "{args:?}: {}", out.err);
        assert!(out.out.is_empty(), "{args:?} printed data: {}", out.out);
    }
    assert!(!sandbox.state.exists(), "a wrong call made a tree");
    let out = sandbox.refused(&["lease", "list", "--state-dir", "/tmp/../etc/x"], 2);
    assert!(out.err.contains("absolute path"), "{out:?}");
}

#[test]
fn a_text_that_does_not_fit_into_a_record_is_refused_before_anything_is_granted() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(5000);
    let bidi = "\u{202e}".repeat(700);
    for args in [["--purpose", &long], ["--lease-id", &long], ["--purpose", &bidi]] {
        let out = sandbox.refused(&["lease", "acquire", "x", args[0], args[1]], 2);
        assert!(out.err.contains("4096"), "{out:?}");
        sandbox.refused(&["lease", "show", "x"], 4);
    }
}

#[test]
fn refusals_name_the_holder_and_the_next_step() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["x", "--as", "otto-cli", "--purpose", "a \u{1b}[31mtrick"]);
    let out = sandbox.refused(&["lease", "acquire", "x"], 3);
    for words in ["otto-cli", "since", "until", "zeta lease acquire x --wait", "zeta lease break x"]
    {
        assert!(out.err.contains(words), "no {words:?} in {}", out.err);
    }
    assert!(!out.err.contains('\u{1b}'), "a record played a trick on the terminal");
    let json = sandbox.zeta(&["lease", "acquire", "x", "--json"]);
    assert_eq!(json.status, 3);
    let object: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(object["agent"], "otto-cli");
    assert_eq!(object["fencing_token"], token);
    assert_eq!(object["exit_status"], 3);
    assert_eq!(sandbox.zeta(&["lease", "show", "nothing"]).status, 4);
}
