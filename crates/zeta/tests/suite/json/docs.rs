//! The answers of the guide, completions, manual pages and the demo.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{check, judge};
use crate::support::{Sandbox, can, find, run_within, skip, test_name};

#[test]
fn what_zeta_says_about_itself() {
    let sandbox = Sandbox::new();
    assert!(check(&sandbox, &["guide"], 0)["guide"].as_str().unwrap().contains("zeta status"));
    check(&sandbox, &["guide", "x"], 2);
    // An agent with a name reads who it is, beside the guide: that can be appended to a file.
    assert_eq!(check(&sandbox, &["guide"], 0).get("you"), None);
    sandbox.ok(&["run", "--as", "lior", "--", "true"]);
    for args in [
        &["lease", "acquire", "deploy", "--as", "vera"][..],
        &["claim", "acquire", "B-1", "--as", "vera"],
        &["lease", "acquire", "other", "--as", "otto"],
        &["heartbeat", "--as", "otto"],
        &["heartbeat", "--as", "vera"],
        &["bus", "send", "vera", "hello", "--as", "otto"],
    ] {
        sandbox.ok(args);
    }
    let you = check(&sandbox, &["guide", "--as", "vera"], 0)["you"].clone();
    let wanted = json!({
        "agent": "vera", "unread": 1, "holds": ["claim \"B-1\"", "lease deploy"], "here": ["otto"],
    });
    assert_eq!(you, wanted);
    let out = sandbox.zeta(&["guide", "--as", "vera"]);
    assert!(out.err.contains("you are agent vera. 1 message waits: zeta bus inbox."), "{out:?}");
    assert!(out.err.contains("You hold: claim \"B-1\", lease deploy. Also here: otto."), "{out:?}");
    assert_eq!(out.out, sandbox.zeta(&["guide"]).out);
    assert_eq!(out.err.lines().count(), 1, "{out:?}");
    // It is there also where no state directory can be used.
    std::fs::set_permissions(sandbox.dir.join("state"), PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(sandbox.zeta(&["guide", "--as", "vera"]).status, 0);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert_eq!(check(&sandbox, &["completions", shell], 0)["shell"], shell);
    }
    check(&sandbox, &["completions", "sh"], 2);
    let pages = check(&sandbox, &["man"], 0);
    assert!(pages["pages"].as_array().unwrap().iter().all(|page| page["page"].is_string()));
    let dir = sandbox.dir.join("man1");
    let written = check(&sandbox, &["man", "--dir", dir.to_str().unwrap()], 0);
    assert!(written["pages"].as_array().unwrap().iter().all(|page| page["file"].is_string()));
    check(&sandbox, &["man", "--dir", "/proc/nosuch"], 1);
}

#[test]
fn the_demo() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.dir.join("bin")).unwrap();
    for program in ["env", "sh"] {
        let link = sandbox.dir.join("bin").join(program);
        std::os::unix::fs::symlink(find(program).unwrap(), link).unwrap();
    }
    let mut without = sandbox.cmd(&["demo", "--json"]);
    let without = without.env("PATH", sandbox.dir.join("bin"));
    judge(&["demo"], &crate::support::run(without), 7);
    check(&sandbox, &["demo", "--nosuch"], 2);
    if !can("git", &["--version"]) {
        return skip(test_name!(), "needs git");
    }
    let mut demo = sandbox.cmd(&["demo", "--json"]);
    let out = run_within(demo.env("TMPDIR", &*sandbox.dir), std::time::Duration::from_secs(120));
    assert_eq!(judge(&["demo"], &out, 0)["outcome"], "shown");
}
