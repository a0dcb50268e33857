//! The answers of `zeta claim`.

use std::process::Command;

use serde_json::{Value, json};

use super::judge;
use crate::bus::place::Place;
use crate::support::run;

fn answer(command: &mut Command, args: &[&str], status: i32) -> Value {
    judge(args, &run(command.args(args)), status)
}

/// Runs `zeta claim VERB --from WHO --item B-1 MORE` and compares its answer with the contract.
fn claim(place: &Place, verb: &str, from: &str, more: &[&str], status: i32) -> Value {
    let args = [&["claim", verb, "--from", from, "--item", "B-1"], more].concat();
    answer(&mut place.cmd(&["--json"]), &args, status)
}

fn check(place: &Place, status: i32) -> Value {
    answer(&mut place.cmd(&["--json"]), &["claim", "check", "--item", "B-1"], status)
}

#[test]
fn a_claim_from_its_grant_to_its_release() {
    let place = Place::new();
    assert_eq!(
        check(&place, 0),
        json!({"item_id": "B-1", "claims": [], "claimed": false, "yours": false})
    );
    let place_of_work = ["--branch", "feat/x", "--worktree", "/w/1"];
    let first = claim(&place, "acquire", "otto", &place_of_work, 0);
    assert_eq!((&first["outcome"], &first["acquired"]), (&json!("granted"), &json!(true)));
    assert!(first["message_id"].is_string() && first["worktree"] == "/w/1", "{first}");
    let token = first["fencing_token"].to_string();
    let own = ["--token", &token];
    assert_eq!(claim(&place, "acquire", "otto", &own, 0)["outcome"], "renewed");
    assert_eq!(claim(&place, "acquire", "otto", &place_of_work, 0)["outcome"], "renewed");
    let namesake = claim(&place, "acquire", "otto", &[], 3);
    assert_eq!(namesake["claims"][0]["same_name"], true, "{namesake}");
    assert_eq!(claim(&place, "check", "otto", &own, 0)["yours"], true);
    assert_eq!(claim(&place, "check", "otto", &[], 3)["yours"], false);
    assert_eq!(claim(&place, "check", "vera", &[], 3)["claims"][0].get("same_name"), None);
    assert_eq!(claim(&place, "check", "otto", &["--token", "7"], 5)["outcome"], "lost");
    let renewed = claim(&place, "renew", "otto", &["--ttl", "1h", "--token", &token], 0);
    assert_eq!(renewed["outcome"], "renewed");
    assert!(renewed.get("acquired").is_none(), "{renewed}");
    let held = claim(&place, "acquire", "vera", &[], 3);
    assert_eq!((&held["outcome"], &held["claimed_by"]), (&json!("held"), &json!(["otto"])));
    assert_eq!(held["claims"][0]["branch"], "feat/x");
    assert_eq!(check(&place, 3)["claims"][0]["fencing_token"], first["fencing_token"]);
    let list = answer(&mut place.cmd(&["--json"]), &["claim", "list"], 0);
    assert_eq!(list["claims"][0]["item_id"], "B-1");
    let late = claim(&place, "acquire", "vera", &["--wait", "10ms"], 6);
    assert_eq!((&late["outcome"], late["waited_ms"].is_u64()), (&json!("held"), true), "{late}");
    let handed = claim(&place, "handover", "otto", &["--to", "vera", "--token", &token], 0);
    assert_eq!(handed["outcome"], "handed_over");
    assert_eq!((&handed["from"], &handed["to"]), (&json!("otto"), &json!("vera")));
    assert!(handed.get("acquired").is_none(), "{handed}");
    let released = claim(&place, "release", "vera", &[], 0);
    assert_eq!((&released["outcome"], &released["stood"]), (&json!("released"), &json!(true)));
    let again = claim(&place, "release", "vera", &[], 4);
    assert_eq!((&again["outcome"], &again["error"]), (&json!("free"), &json!("not_found")));
    let token = handed["fencing_token"].to_string();
    let again = claim(&place, "release", "vera", &["--token", &token], 0);
    assert_eq!((&again["outcome"], &again["stood"]), (&json!("already_released"), &json!(false)));
    assert_eq!(claim(&place, "check", "vera", &["--token", &token], 5)["outcome"], "lost");
}

#[test]
fn a_note_from_its_writer_to_the_next_holder() {
    let place = Place::new();
    let file = place.sandbox.dir.join("note");
    std::fs::write(&file, "next: the tests").unwrap();
    let note = ["--note", file.to_str().unwrap()];
    let token = claim(&place, "acquire", "otto", &[], 0)["fencing_token"].to_string();
    let over = [&["--to", "vera", "--token", &token][..], &note].concat();
    let handed = claim(&place, "handover", "otto", &over, 0);
    assert_eq!((&handed["note"]["to"], &handed["note"]["from"]), (&json!("vera"), &json!("otto")));
    assert_eq!(check(&place, 3)["note"], handed["note"]);
    assert_eq!(claim(&place, "renew", "vera", &[], 0)["note"]["text"], "next: the tests");
    let token = handed["fencing_token"].to_string();
    let released = claim(&place, "release", "vera", &[&["--token", &token][..], &note].concat(), 0);
    assert!(std::fs::exists(released["note_file"].as_str().unwrap()).unwrap(), "{released}");
    assert_eq!(check(&place, 0)["note"]["from"], "vera");
    let taken = claim(&place, "acquire", "lior", &[], 0);
    assert_eq!(taken["note"].get("to"), None);
    assert_eq!(claim(&place, "release", "lior", &note[..1], 2)["error"], "usage");
}

#[test]
fn a_record_cannot_say_from_whom_a_claim_was_taken() {
    let place = Place::new();
    let first = claim(&place, "acquire", "otto", &[], 0);
    let (lease, token) = (first["lease"].as_str().unwrap(), first["fencing_token"].to_string());
    let forged = "\"reclaim\"\ntaken_from: \"vera\"\nacquired: false\nrenewed: \"no\"";
    place.sandbox.forge_keys(lease, &[("policy", Some(forged))]);
    let again = claim(&place, "acquire", "otto", &["--token", &token], 0);
    assert_eq!((&again["acquired"], &again["renewed"]), (&json!(true), &json!(true)));
    assert!(again.get("taken_from").is_none(), "{again}");
    let renewed = claim(&place, "renew", "otto", &["--token", &token], 0);
    assert!(renewed.get("taken_from").is_none());
}

#[test]
fn whoever_does_not_hold_the_item_is_told_who_does() {
    let place = Place::new();
    for (verb, more) in [("renew", &[][..]), ("handover", &["--to", "lior"])] {
        let lost = claim(&place, verb, "otto", more, 5);
        assert_eq!(lost["outcome"], "lost");
        assert!(lost["message"].as_str().unwrap().ends_with("it is free"), "{lost}");
    }
    let token = claim(&place, "acquire", "vera", &[], 0)["fencing_token"].to_string();
    for (verb, more) in [("renew", &[][..]), ("handover", &["--to", "lior"])] {
        let lost = claim(&place, verb, "otto", more, 5);
        assert!(lost["message"].as_str().unwrap().ends_with("it is held by vera"), "{lost}");
        assert_eq!(lost["claims"][0]["from"], "vera");
    }
    let other = (token.parse::<u64>().unwrap() - 1).to_string();
    let lost = claim(&place, "release", "otto", &["--token", &other], 5);
    assert_eq!((&lost["outcome"], &lost["holder"]), (&json!("lost"), &json!("vera")));
    let before = place.files();
    let lost = claim(&place, "release", "otto", &[], 5);
    assert!(lost["message"].as_str().unwrap().ends_with("it is held by vera"), "{lost}");
    assert_eq!(place.files(), before, "nothing is published");
}

#[test]
fn another_session_of_the_same_name_is_refused() {
    let place = Place::new();
    let mut first = place.cmd(&["--json"]);
    let args = ["claim", "acquire", "--from", "otto", "--item", "B-1"];
    answer(first.env("ZETA_SESSION", "0a"), &args, 0);
    for (verb, more) in [("release", &[][..]), ("renew", &[]), ("handover", &["--to", "lior"])] {
        let refused = claim(&place, verb, "otto", more, 3);
        assert_eq!((&refused["error"], &refused["outcome"]), (&json!("refused"), &json!("held")));
        assert!(refused["message"].as_str().unwrap().contains("held by you?"), "{refused}");
    }
}

#[test]
fn an_acquire_that_another_program_has_begun_is_busy() {
    let place = Place::new();
    place.ends(0, &["bus", "list"]);
    place.ends(0, &["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#]);
    let lock = place.bus.join("acquire-B-1.lock");
    std::fs::write(lock, std::process::id().to_string()).unwrap();
    assert_eq!(claim(&place, "acquire", "otto", &[], 6)["error"], "busy");
}

#[test]
fn wrong_calls() {
    let place = Place::new();
    claim(&place, "acquire", "Otto!", &[], 2);
    claim(&place, "acquire", "otto", &["--ttl", "1ms"], 2);
    claim(&place, "acquire", "otto", &["--wait", "soon"], 2);
    claim(&place, "release", "otto", &["--token", "x"], 2);
    claim(&place, "renew", "otto", &["--ttl", "never"], 2);
    claim(&place, "handover", "otto", &["--to", "*"], 2);
    for args in [&["claim", "check"][..], &["claim", "acquire"], &["claim", "list", "--nosuch"]] {
        answer(&mut place.cmd(&["--json"]), args, 2);
    }
}

#[test]
fn a_claim_on_paths() {
    let place = Place::new();
    let repo = place.sandbox.dir.join("repo");
    std::fs::create_dir_all(repo.join(".git")).unwrap();
    let claim = |verb: &str, paths: &[&str], more: &[&str], status| {
        let mut args = vec!["claim", verb];
        paths.iter().for_each(|path| args.extend(["--path", path]));
        args.extend(more);
        answer(place.cmd(&["--json"]).current_dir(&repo), &args, status)
    };
    let free = claim("check", &["src/a"], &[], 0);
    assert_eq!((&free["holders"], &free["own"]), (&json!([]), &json!([])));
    let first = claim("acquire", &["src/**", "x"], &["--as", "ann"], 0);
    assert_eq!((&first["outcome"], &first["space"]), (&json!("granted"), &json!("repo")));
    assert_eq!((&first["paths"], &first["mode"]), (&json!(["src/", "x/"]), &json!("exclusive")));
    for (verb, status) in [("acquire", 3), ("check", 3), ("renew", 3), ("release", 3)] {
        let held = claim(verb, &["src/a"], &[], status);
        assert_eq!(held["holders"][0]["agent"], "ann", "{verb}: {held}");
    }
    assert_eq!(claim("acquire", &["x"], &["--wait", "50ms"], 6)["error"], "busy");
    assert_eq!(claim("renew", &["y"], &[], 4)["error"], "not_found");
    assert_eq!(claim("release", &["src/**", "x"], &["--token", "7"], 5)["error"], "lost");
    assert_eq!(claim("acquire", &["/x"], &[], 2)["error"], "usage");
    let token = first["fencing_token"].to_string();
    let own = ["--token", token.as_str()];
    assert_eq!(claim("check", &["src/a"], &own, 0)["own"][0]["agent"], "ann");
    assert_eq!(claim("acquire", &["src/**", "x"], &own, 0)["outcome"], "renewed");
    assert_eq!(claim("renew", &["src/**", "x"], &own, 0)["outcome"], "renewed");
    let list = answer(&mut place.cmd(&["--json"]), &["claim", "list"], 0);
    assert_eq!(list["claims"][0]["item_id"], "path:repo:src/", "{list}");
    let here = claim("acquire", &["here"], &["--this-worktree", "--as", "ann"], 0);
    let top = std::fs::canonicalize(&repo).unwrap();
    assert_eq!(here["worktree"], json!(top), "{here}");
    let its = here["fencing_token"].to_string();
    assert_eq!(claim("check", &[], &["--token", &its], 0)["worktree"], json!(top));
    assert_eq!(claim("release", &[], &["--token", &its], 0)["worktree"], json!(top));
    let gone = claim("release", &[], &["--token", &its], 5);
    assert_eq!((&gone["error"], &gone["paths"]), (&json!("lost"), &json!(null)), "{gone}");
    assert_eq!(claim("handover", &["src/**", "x"], &["--to", "bob"], 3)["error"], "refused");
    let to_bob = [&own[..], &["--to", "bob", "--as", "ann"]].concat();
    let handed = claim("handover", &["src/**", "x"], &to_bob, 0);
    assert_eq!((&handed["from"], &handed["to"]), (&json!("ann"), &json!("bob")), "{handed}");
    let token = handed["fencing_token"].to_string();
    let own = ["--token", token.as_str()];
    assert_eq!(claim("release", &["src/**", "x"], &own, 0)["outcome"], "released");
}
