//! `audit` on real histories.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::{Repo, block};
use crate::support::{is_root, run, skip, test_name};

const AUDITS: &str = include_str!("audits.json");

#[test]
fn each_history_of_the_original_is_judged_as_there() {
    let audits: Vec<Value> = serde_json::from_str(AUDITS).unwrap();
    assert_eq!(audits.len(), 15);
    for entry in &audits {
        let repo = Repo::new();
        let mut ids = Vec::new();
        for commit in entry["commits"].as_array().unwrap() {
            let text = |key: &str| commit[key].as_str().unwrap();
            ids.push(repo.commit(text("date"), text("message").as_bytes()));
        }
        let args = entry["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
        let args: Vec<String> = args.map(|arg| arg.replace("{sha0}", &ids[0])).collect();
        let call: Vec<&str> =
            ["signature", "audit"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let status = i32::try_from(entry["expect"]["exit"].as_i64().unwrap()).unwrap();
        let answer = repo.json(&call, status);
        let index = |id: &Value| ids.iter().position(|known| id == known).unwrap().to_string();
        let commits = answer["commits"].as_array().into_iter().flatten();
        let found: BTreeMap<String, Value> =
            commits.map(|commit| (index(&commit["commit"]), commit["verdict"].clone())).collect();
        let wanted = entry["expect"]["status_by_commit_index"].as_object().unwrap();
        let wanted: BTreeMap<String, Value> =
            wanted.iter().map(|(at, verdict)| (at.clone(), verdict.clone())).collect();
        assert_eq!(found, wanted, "{}", entry["name"]);
    }
}

#[test]
fn a_squash_is_a_regression_for_git_and_none_for_the_lenient_reader() {
    let repo = Repo::new();
    let agents = "Co-authored-by: Cursor <cursoragent@cursor.com>\n";
    repo.commit("2026-05-01T10:00:00Z", format!("a\n\n{}", block(&[])).as_bytes());
    let squashed = format!("b\n\n{}\n---------\n\n{agents}", block(&[("Otto", "Vera")]));
    repo.commit("2026-05-02T10:00:00Z", squashed.as_bytes());
    repo.commit("2026-05-03T10:00:00Z", format!("c\n\n{agents}").as_bytes());
    repo.commit("2026-05-04T10:00:00Z", b"typo\n");
    let strict = repo.zeta(&["signature", "audit", "main"]);
    assert_eq!(strict.status, 1);
    let lines: Vec<&str> = strict.out.lines().collect();
    assert!(lines[0].starts_with("COMMIT") && lines[1].contains("HUMAN-AUTHORED-EXEMPT"));
    assert!(lines[2].ends_with("made by Cursor, and has no block"), "{lines:?}");
    assert!(lines[3].contains("its block stands where git does not look"), "{lines:?}");
    assert!(lines[4].ends_with("signed by Otto"), "{lines:?}");
    assert_eq!(lines[6], "1 CORRECT, 1 HUMAN-AUTHORED-EXEMPT, 2 REGRESSION");
    let lenient = repo.json(&["signature", "audit", "main", "--anywhere"], 1);
    let verdicts = |key: &str| {
        let commits = lenient["commits"].as_array().unwrap().iter();
        commits.map(|commit| commit[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let [human, regression, correct] = ["HUMAN-AUTHORED-EXEMPT", "REGRESSION", "CORRECT"];
    assert_eq!(verdicts("verdict"), [human, regression, correct, correct]);
    assert_eq!(verdicts("strict_verdict"), [human, regression, regression, correct]);
    // Ranges, and the colours of a terminal in none of them.
    repo.git(&["tag", "v1", "main~1"]);
    assert_eq!(repo.json(&["signature", "audit", "v1..main"], 0)["exempt"], 1);
    assert_eq!(repo.json(&["signature", "audit", "main~1"], 1)["regressions"], 2);
    assert_eq!(repo.json(&["signature", "audit"], 0)["exempt"], 1);
    assert!(!strict.out.contains('\u{1b}'));
}

#[test]
fn dates_are_days_times_and_how_long_ago() {
    let repo = Repo::new();
    repo.commit("2026-05-01T10:00:00Z", b"old\n");
    repo.commit("2027-05-01T10:00:00Z", b"of another year\n");
    let seen = |since: &str| {
        let answer = repo.json(&["signature", "audit", "--since", since], 0);
        answer["commits"].as_array().unwrap().len()
    };
    assert_eq!((seen("2026-05-01"), seen("2026-05-02")), (2, 1));
    assert_eq!((seen("2026-05-01T10:00:00Z"), seen("2026-05-01T12:00:01+02:00")), (2, 1));
    assert_eq!((seen("36500d"), seen("36500d ago")), (2, 2));
    for bad in ["soon", "", "2026-13-01", "yesterday", "-2d"] {
        let args = ["signature", "audit", &format!("--since={bad}")];
        assert_eq!(repo.zeta(&args).status, 2, "{bad:?}");
    }
    for bad in ["0", "01", "-1", "+1", "1.0", "", "many", "99999999999999999999"] {
        let args = ["signature", "audit", &format!("--max={bad}")];
        assert_eq!(repo.zeta(&args).status, 2, "{bad:?}");
    }
}

#[test]
fn what_is_no_commit_is_named_and_never_an_option_of_git() {
    let repo = Repo::new();
    // A repository without a commit.
    let empty = repo.zeta(&["signature", "audit"]);
    assert!(empty.status == 2 && empty.err.contains("\"HEAD\" is no commit"), "{empty:?}");
    repo.commit("2026-05-01T10:00:00Z", b"a\n");
    for name in ["nowhere", "--all", "-1", "main..nowhere", "--output=x", "HEAD:", ""] {
        for args in [vec!["--branch", name], vec!["--commit", name], vec!["--", name]] {
            let out = repo.zeta(&[&["signature", "audit"], &args[..]].concat());
            assert_eq!(out.status, 2, "{args:?}: {out:?}");
        }
    }
    assert!(!repo.dir.join("x").exists());
    // A file of the name of a branch is no file to git.
    std::fs::write(repo.dir.join("main"), "x").unwrap();
    repo.ok(&["signature", "audit", "main"]);
    let outside = repo.zeta(&["signature", "audit", "--repository", "/"]);
    assert!(outside.status == 2 && outside.err.contains("not a git repository"), "{outside:?}");
    let mut call = repo.zeta_command(&["signature", "audit"]);
    let without = run(call.env("PATH", "/nonexistent"));
    assert!(without.status == 2 && without.err.contains("git does not run"), "{without:?}");
}

#[test]
fn a_history_is_read_whatever_its_messages_its_settings_and_its_shape_are() {
    let repo = Repo::new();
    repo.commit("2026-05-01T10:00:00Z", format!("a\n\n{}", block(&[])).as_bytes());
    let crlf = format!("b\n\n{}", block(&[("Otto", "Crlf")])).replace('\n', "\r\n");
    repo.commit("2026-05-02T10:00:00Z", crlf.as_bytes());
    let latin = [b"c \xe9\n\n".as_slice(), block(&[("Otto", "Latin")]).as_bytes()].concat();
    repo.commit("2026-05-03T10:00:00Z", &latin);
    repo.commit("2026-05-04T10:00:00Z", "\u{1b}[31mred\u{1b}[0m\n".as_bytes());
    repo.commit("2026-05-05T10:00:00Z", b"");
    // Longer than is kept of one, and the next one is whole.
    let huge = [vec![b'x'; 3 << 20], b"\n\nAgent: x\n".to_vec()].concat();
    repo.commit("2026-05-06T10:00:00Z", &huge);
    repo.commit("2026-05-07T10:00:00Z", format!("d\n\n{}", block(&[("Otto", "D")])).as_bytes());
    for (key, value) in [
        ("log.showSignature", "true"),
        ("color.ui", "always"),
        ("format.pretty", "oneline"),
        ("log.decorate", "full"),
        ("i18n.logOutputEncoding", "UTF-16"),
    ] {
        repo.git(&["config", key, value]);
    }
    let answer = repo.json(&["signature", "audit", "HEAD"], 0);
    let correct: Vec<&str> = answer["commits"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|commit| commit["verdict"] == "CORRECT")
        .map(|commit| commit["block"][1]["value"].as_str().unwrap())
        .collect();
    assert_eq!(correct, ["D", "Latin", "Crlf", "Otto"]);
    assert_eq!(answer["commits"].as_array().unwrap().len(), 7);
    let shown = repo.ok(&["signature", "audit", "HEAD"]);
    assert!(!shown.contains('\u{1b}') && shown.contains("\\u001b"), "{shown}");
    // A detached head, a worktree, a directory below, a bare and a shallow clone.
    repo.git(&["checkout", "-q", "--detach", "HEAD~1"]);
    assert_eq!(repo.json(&["signature", "audit", "HEAD"], 0)["correct"], 3);
    repo.git(&["worktree", "add", "-q", "../tree", "main"]);
    assert_eq!(
        repo.json(&["signature", "audit", "HEAD", "--repository", "../tree"], 0)["correct"],
        4
    );
    repo.git(&["clone", "-q", "--bare", ".", "../bare"]);
    assert_eq!(
        repo.json(&["signature", "audit", "main", "--repository", "../bare"], 0)["correct"],
        4
    );
    let url = format!("file://{}", repo.dir.display());
    repo.git(&["clone", "-q", "--depth", "1", "--branch", "main", &url, "../shallow"]);
    let answer = repo.json(&["signature", "audit", "main", "--repository", "../shallow"], 0);
    assert_eq!((&answer["shallow"], &answer["correct"]), (&true.into(), &1.into()));
    let said = repo.ok(&["signature", "audit", "main", "--repository", "../shallow"]);
    assert!(said.ends_with("the convention may be older than it says\n"), "{said}");
    // What a hook inherits leads to no other repository.
    let mut call = repo.zeta_command(&["signature", "audit", "main", "--repository", "../bare"]);
    assert_eq!(run(call.env("GIT_DIR", "/nonexistent")).status, 0);
}

#[test]
fn a_history_that_is_broken_or_another_user_s_is_an_error_and_no_verdict() {
    let repo = Repo::new();
    let first = repo.commit("2026-05-01T10:00:00Z", b"a\n");
    repo.commit("2026-05-02T10:00:00Z", b"b\n");
    let object = repo.dir.join(".git/objects").join(&first[..2]).join(&first[2..]);
    let bytes = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    let broken = repo.zeta(&["signature", "audit", "main"]);
    assert!(broken.status == 2 && broken.err.contains("git log in "), "{broken:?}");
    std::fs::write(&object, bytes).unwrap();
    repo.ok(&["signature", "audit", "main"]);
    if !is_root() {
        return skip(test_name!(), "another user's repository needs root");
    }
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o444)).unwrap();
    run(&mut repo.sandbox.other("chown", &["-R", "65534", repo.dir.to_str().unwrap()]));
    let foreign = repo.zeta(&["signature", "audit", "main"]);
    assert!(foreign.status == 2 && foreign.err.contains("dubious ownership"), "{foreign:?}");
    assert!(!foreign.err.contains("--global"), "no command that changes git: {foreign:?}");
}
