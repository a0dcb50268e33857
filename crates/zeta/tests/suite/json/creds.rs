//! The answers of `zeta creds`, which ends with numbers of its own.

use std::process::Command;

use serde_json::{Value, json};

use super::judge;
use crate::creds::cli::{Desk, LOCK};
use crate::support::run;

fn answer(desk: &Desk, args: &[&str], status: i32) -> Value {
    judge_call(&mut desk.command(args), args, status)
}

fn judge_call(command: &mut Command, args: &[&str], status: i32) -> Value {
    judge(&["creds", args[0]], &run(command.arg("--json")), status)
}

const BLOB: &str = "stick/zeta-creds.enc";
const WRONG: [&str; 4] = ["--usb-uuid", "0000-0000", "--passphrase-file", "stick.txt"];

#[test]
fn a_blob_from_its_making_to_its_restore() {
    let desk = Desk::new();
    let persist = [&["persist", "--output", BLOB], &LOCK[..]].concat();
    let saved =
        answer(&desk, &[&persist[..], &["--bake-cred", "gh-cli=x", "--verify"]].concat(), 0);
    assert_eq!((&saved["outcome"], &saved["verified"]), (&json!("saved"), &json!(true)));
    assert_eq!(saved["baked"], json!(["gh-cli"]));
    let outside = answer(&desk, &["inspect", "--input", BLOB], 0);
    assert_eq!((&outside["format"], &outside["generation"]), (&json!("zcv2"), &json!(1)));
    let inspect = [&["inspect", "--input", BLOB], &LOCK[..]].concat();
    assert_eq!(answer(&desk, &inspect, 0)["credentials"][0]["id"], "gh-cli");
    let verify = [&["verify", "--input", BLOB], &LOCK[..]].concat();
    let lacking = answer(&desk, &verify, 8);
    assert_eq!((&lacking["files"], &lacking["error"]), (&json!(1), &json!("not_found")));
    let restore = [&["restore", "--input", BLOB, "--target-root", "root"], &LOCK[..]].concat();
    let dry = answer(&desk, &[&restore[..], &["--dry-run"]].concat(), 0);
    assert_eq!(dry["files"][0]["outcome"], "would_write");
    assert_eq!(answer(&desk, &restore, 0)["files"][0]["outcome"], "written");
    assert_eq!(answer(&desk, &restore, 0)["files"][0]["outcome"], "already_present");
    // A link where a file belongs is refused.
    let place = desk.path("root/home/zeta/.config/gh/hosts.yml");
    std::fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &place).unwrap();
    let refused = answer(&desk, &restore, 8);
    assert_eq!((&refused["outcome"], &refused["error"]), (&json!("restored"), &json!("refused")));
    assert_eq!(refused["files"][0]["outcome"], "refused");
    for (verb, flag) in [("restore", "--input"), ("verify", "--input")] {
        answer(&desk, &[&[verb, flag, BLOB], &WRONG[..]].concat(), 5);
    }
    let update = [&["persist", "--output", BLOB, "--update"], &WRONG[..]].concat();
    answer(&desk, &update, 5);
}

#[test]
fn a_guard_says_what_came_of_the_login() {
    let desk = Desk::new();
    let login = desk.path("home/.gemini/oauth_creds.json");
    std::fs::create_dir(login.parent().unwrap()).unwrap();
    let old = r#"{"refresh_token":"FAKE-1","expiry_date":1000}"#;
    std::fs::write(&login, old).unwrap();
    let guard = |more: &[&str], command: &str, status: i32| {
        let args = [&["guard", "gemini"], more, &["--json", "--", "sh", "-c", command]].concat();
        let mut call = desk.command(&args);
        call.env("HOME", desk.path("home")).env("ZETA_STATE_DIR", desk.path("tree"));
        judge(&["creds", "guard"], &run(&mut call), status)
    };
    let left = guard(&[], "exit 4", 5);
    assert_eq!((&left["outcome"], &left["command_status"]), (&json!("not_renewed"), &json!(4)));
    assert_eq!(left["until"], "1970-01-01T00:00:01.000000Z");
    let file = login.display();
    let refresh = |token: &str| {
        let new = format!(r#"{{"refresh_token":"{token}","expiry_date":4102444800000}}"#);
        format!("echo '{new}' >{file}")
    };
    let came = guard(&[], &refresh("FAKE-2"), 0);
    assert_eq!((&came["outcome"], &came["command_status"]), (&json!("refreshed"), &json!(0)));
    assert_eq!(guard(&[], "exit 4", 0)["outcome"], "still_valid");
    assert_eq!(guard(&["--force"], &format!("echo >{file}"), 5)["outcome"], "broken");
    assert_eq!(guard(&["--force", "--wait", "x"], "true", 2)["error"], "usage");
    let copy = [&["--force", "--output", BLOB, "--persona", "otto"], &LOCK[..]].concat();
    let came = guard(&copy, &refresh("FAKE-3"), 9);
    assert_eq!((&came["outcome"], &came["error"]), (&json!("refreshed"), &json!("not_found")));
    assert_eq!(guard(&["--force"], &format!("rm {file}"), 5)["outcome"], "removed");
    assert_eq!(guard(&[], "true", 3)["error"], "not_found");
}

#[test]
fn a_pick_that_writes_nothing() {
    let desk = Desk::new();
    let pick = [&["pick", "--output", BLOB], &LOCK[..]].concat();
    let dry = answer(&desk, &[&pick[..], &["--bake-cred", "gh-cli=x", "--dry-run"]].concat(), 0);
    assert_eq!(
        dry,
        json!({"outcome": "dry_run", "path": BLOB, "baked": ["gh-cli"], "left_out": []})
    );
    assert_eq!(answer(&desk, &[&pick[..], &["--defer-all"]].concat(), 0)["outcome"], "saved");
    assert_eq!(answer(&desk, &[&pick[..], &["--defer-all"]].concat(), 0)["outcome"], "unchanged");
    let persist = [&["persist", "--output", BLOB], &LOCK[..]].concat();
    assert_eq!(answer(&desk, &persist, 3)["error"], "refused");
    answer(&desk, &[&persist[..], &["--bake-cred", "nosuch=x"]].concat(), 3);
    answer(&desk, &[&pick[..], &["--bake-cred", "nosuch=x"]].concat(), 3);
}

#[test]
fn what_was_done_and_could_not_be_remembered() {
    let desk = Desk::new();
    let forgetful = |args: &[&str]| {
        judge_call(desk.command(args).env("STATE_DIRECTORY", "/proc/none"), args, 9)
    };
    let persist = [&["persist", "--output", BLOB, "--bake-cred", "gh-cli=x"], &LOCK[..]].concat();
    let saved = forgetful(&persist);
    assert_eq!((&saved["outcome"], &saved["error"]), (&json!("saved"), &json!("fault")));
    let restore = [&["restore", "--input", BLOB, "--target-root", "root"], &LOCK[..]].concat();
    let restored = forgetful(&restore);
    assert_eq!(restored["outcome"], "restored");
    assert_eq!(restored["files"][0]["outcome"], "written");
}

#[test]
fn wrong_calls_and_what_is_not_there() {
    let desk = Desk::new();
    for args in [
        &["pick"][..],
        &["persist", "--nosuch"],
        &["restore"],
        &["verify", "--input", BLOB],
        &["inspect", "--nosuch"],
        &["passphrase", "x"],
    ] {
        answer(&desk, args, 2);
    }
    for verb in ["restore", "verify", "inspect"] {
        answer(&desk, &[&[verb, "--input", BLOB], &LOCK[..]].concat(), 3);
    }
    answer(&desk, &[&["persist", "--output", "nosuch/c.enc"], &LOCK[..]].concat(), 4);
    answer(&desk, &[&["pick", "--defer-all", "--output", "nosuch/c.enc"], &LOCK[..]].concat(), 4);
    std::fs::write(desk.blob(), "not a blob").unwrap();
    for verb in ["restore", "verify", "inspect"] {
        answer(&desk, &[&[verb, "--input", BLOB], &LOCK[..]].concat(), 4);
    }
    let made = answer(&desk, &["passphrase"], 0);
    assert_eq!(made["entropy_bits"], 96);
}

#[test]
fn at_boot_nothing_to_restore_is_an_answer() {
    let desk = Desk::new();
    let boot = ["restore", "--at-boot", "--input", BLOB, "--target-root", "root"];
    let args = [&boot[..], &LOCK].concat();
    let nothing = answer(&desk, &args, 0);
    assert_eq!(nothing, json!({"outcome": "nothing_to_restore", "blob": BLOB}));
}
