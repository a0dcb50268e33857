//! The answers of the guide, completions, manual pages and the demo.

use super::{check, judge};
use crate::support::{Sandbox, can, find, run_within, skip, test_name};

#[test]
fn what_zeta_says_about_itself() {
    let sandbox = Sandbox::new();
    assert!(check(&sandbox, &["guide"], 0)["guide"].as_str().unwrap().contains("zeta status"));
    check(&sandbox, &["guide", "x"], 2);
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
