//! Claims: one winner, bound to a session, published to all, and understood by the original.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use zeta_core::bus::item::Item;

use super::place::Place;
use crate::support::{LIMIT, finish, signal, until, wait};

#[test]
fn of_sixteen_callers_one_wins_and_the_others_are_told_who() {
    for round in 0..4 {
        let place = Place::new();
        let item = format!("B-{round}/ü ✓");
        let started = std::time::Instant::now();
        let calls: Vec<_> = (0..16)
            .map(|number| {
                let from = format!("agent-{number}");
                let branch = format!("feat/{number}");
                let args = ["claim", "acquire", "--from", &from, "--item", &item, "--branch"];
                let args: Vec<&str> =
                    args.iter().chain(&[&branch[..], "--json"]).copied().collect();
                let mut command = place.cmd(&args);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let outs: Vec<_> = calls.into_iter().map(|call| finish(call, started, LIMIT)).collect();
        let won: Vec<usize> = (0..16).filter(|at| outs[*at].status == 0).collect();
        assert_eq!(won.len(), 1, "{outs:?}");
        let winner = format!("agent-{}", won[0]);
        for (at, out) in outs.iter().enumerate().filter(|(at, _)| *at != won[0]) {
            assert_eq!(out.status, 3, "{out:?}");
            let json: Value = serde_json::from_str(&out.out).unwrap();
            assert_eq!(json["claimed_by"], serde_json::json!([winner]), "{at}: {out:?}");
            assert_eq!(json["claims"][0]["branch"], format!("feat/{}", won[0]));
        }
        assert_eq!(place.original_holders(&item), [winner]);
        assert!(place.files().iter().all(|name| !name.starts_with("acquire-")));
    }
}

#[test]
fn a_claim_is_told_renewed_and_given_back() {
    let place = Place::new();
    let first =
        place.acquire_with(0, "otto-cli", "B-1", &["--branch", "feat/x", "--worktree", "/w/1"]);
    assert_eq!(first["acquired"], true);
    assert_eq!(first["worktree"], "/w/1");
    let out = place.ends(3, &["claim", "acquire", "--from", "vera", "--item", "B-1"]);
    for said in ["otto-cli", "since", "feat/x", "/w/1", "--wait"] {
        assert!(out.err.contains(said), "{said}: {out:?}");
    }
    let again = place.again(0, "otto-cli", "B-1");
    assert_eq!(again["renewed"], true);
    assert_eq!(again["fencing_token"], first["fencing_token"]);
    let token = place.token("otto-cli", "B-1");
    let renewed = place.json(0, &["claim", "renew", "B-1", "--token", &token]);
    assert_eq!(renewed["fencing_token"], first["fencing_token"]);
    let check = place.json(3, &["claim", "check", "--item", "B-1"]);
    assert_eq!(check["claims"].as_array().unwrap().len(), 1);
    assert_eq!(check["claims"][0]["branch"], "feat/x", "a renewal keeps what was said");
    place.json(5, &["claim", "renew", "--from", "vera", "--item", "B-1"]);
    assert_eq!(place.release(0, "otto-cli", "B-1")["stood"], true);
    assert_eq!(place.json(0, &["claim", "check", "--item", "B-1"])["claimed"], false);
    assert!(place.original_holders("B-1").is_empty());
    let second = place.acquire(0, "vera", "B-1");
    assert!(second["fencing_token"].as_u64() > first["fencing_token"].as_u64());
    // Who comes late with an old token has lost.
    let old = first["fencing_token"].to_string();
    place.ends(5, &["claim", "release", "--from", "otto-cli", "--item", "B-1", "--token", &old]);
    assert_eq!(place.original_holders("B-1"), ["vera"]);
    let list = place.json(0, &["claim", "list"]);
    assert_eq!(list["claims"][0]["from"], "vera");
    assert_eq!(list["claims"].as_array().unwrap().len(), 1);
}

/// Runs a shell in a session of `agent`, which ends when the test says so.
fn session(place: &Place, agent: &str, script: &str) -> std::process::Child {
    let mut command = place.cmd(&["run", "--as", agent, "--", "sh", "-c", script]);
    command.env("ZETA", env!("CARGO_BIN_EXE_zeta")).stdout(Stdio::piped());
    command.process_group(0).spawn().unwrap()
}

#[test]
fn a_dead_session_s_claim_is_free_at_once_and_a_live_one_keeps_it() {
    let place = Place::new();
    let script = "\"$ZETA\" claim acquire --item B-2 >\"$ZETA_STATE_DIR/../got\"; exec sleep 60";
    let mut holder = session(&place, "otto-cli", script);
    let got = place.sandbox.dir.join("got");
    let held =
        || std::fs::read_to_string(&got).is_ok_and(|text| text.trim().parse::<u64>().is_ok());
    assert!(until(LIMIT, held));
    let refused = place.acquire(3, "vera", "B-2");
    assert_eq!(refused["claimed_by"], serde_json::json!(["otto-cli"]));
    // The same name in another session is another holder.
    place.acquire(3, "otto-cli", "B-2");
    place.ends(3, &["claim", "release", "--from", "otto-cli", "--item", "B-2"]);
    assert_eq!(place.json(3, &["claim", "check", "--item", "B-2"])["claimed"], true);
    // All processes of the session die at once, the wrapper too, so that none releases anything.
    rustix::process::kill_process_group(
        rustix::process::Pid::from_raw(holder.id().try_into().unwrap()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    wait(&mut holder, LIMIT);
    assert_eq!(place.json(0, &["claim", "check", "--item", "B-2"])["claimed"], false);
    let taken = place.json(0, &["claim", "acquire", "--from", "vera", "--item", "B-2"]);
    assert!(taken["fencing_token"].as_u64().unwrap() > 0);
    assert_eq!(place.original_holders("B-2"), ["vera"], "nor does the original see the dead one");
}

#[test]
fn the_end_of_a_session_gives_its_claims_back() {
    let place = Place::new();
    let script =
        "\"$ZETA\" claim acquire --item B-3 >/dev/null && \"$ZETA\" claim check --item B-3";
    let mut holder = session(&place, "otto-cli", script);
    // The holder's own check says that the item is its own.
    assert_eq!(wait(&mut holder, LIMIT), 0);
    assert_eq!(place.json(0, &["claim", "check", "--item", "B-3"])["claimed"], false);
    assert!(place.original_holders("B-3").is_empty(), "the original sees the release, too");
}

#[test]
fn the_original_is_told_when_a_claim_s_lease_is_broken_or_cleaned_away() {
    let place = Place::new();
    let lease = place.acquire(0, "otto-cli", "B-12")["lease"].as_str().unwrap().to_owned();
    let token = place.json(3, &["claim", "check", "--item", "B-12"])["claims"][0]["fencing_token"]
        .to_string();
    place.ends(0, &["lease", "break", &lease, "--expect", &token, "--reason", "test"]);
    assert!(place.original_holders("B-12").is_empty());
    let args = ["claim", "acquire", "--from", "vera", "--item", "B-12", "--ttl", "100ms"];
    place.ends(0, &args);
    assert_eq!(place.original_holders("B-12"), ["vera"]);
    let cleaned = || {
        place.ends(0, &["clean"]);
        place.original_holders("B-12").is_empty()
    };
    assert!(until(LIMIT, cleaned), "{:?}", place.original_holders("B-12"));
}

#[test]
fn surfaces_of_a_persona_claim_beside_each_other_only_if_both_share() {
    let place = Place::new();
    let share = |status: i32, from: &str, item: &str| {
        place.acquire_with(status, from, item, &["--shareable"])
    };
    share(0, "otto-cli", "B-4");
    share(0, "otto-desktop", "B-4");
    share(3, "vera", "B-4");
    place.acquire(3, "otto-vscode", "B-4");
    place.acquire(3, "vera", "B-4");
    let check = place.json(3, &["claim", "check", "--item", "B-4"]);
    assert_eq!(check["claims"].as_array().unwrap().len(), 2);
    place.release(0, "otto-cli", "B-4");
    place.acquire(3, "vera", "B-4");
    place.release(0, "otto-desktop", "B-4");
    place.acquire(0, "vera", "B-4");
    // A claim that is not shareable cannot be joined.
    share(3, "otto-cli", "B-4");
    share(3, "vera-codex", "B-4");
    place.acquire(0, "otto/cli/1@node-1", "B-5");
    share(3, "otto/desktop", "B-5");
}

#[test]
fn a_claim_is_handed_over_without_a_moment_in_which_it_is_free() {
    let place = Place::new();
    let first =
        place.acquire_with(0, "otto-cli", "B-6", &["--branch", "feat/x", "--worktree", "/w/1"]);
    let token = place.token("otto-cli", "B-6");
    let over =
        ["claim", "handover", "B-6", "--from", "otto-cli", "--to", "vera", "--token", &token];
    let handed = place.json(0, &over);
    assert!(handed["fencing_token"].as_u64() > first["fencing_token"].as_u64());
    assert_eq!(place.original_holders("B-6"), ["vera"]);
    // The message of the new claim says where the work is, too, as that of the first one did.
    let listed = place.json(0, &["bus", "list", "--topic", "claim"]);
    let payload = &messages(&listed).iter().find(|m| m["from"] == "vera").unwrap()["payload"];
    assert_eq!((&payload["branch"], &payload["worktree"]), (&"feat/x".into(), &"/w/1".into()));
    place.acquire(3, "otto-cli", "B-6");
    place.ends(5, &over);
    // The new holder has only its name to show, and once.
    let taken = place.acquire(0, "vera", "B-6");
    assert_eq!(taken["renewed"], true);
    place.acquire(3, "vera", "B-6");
    let claim = &place.json(3, &["claim", "check", "B-6"])["claims"][0];
    assert_eq!((&claim["branch"], &claim["worktree"]), (&"feat/x".into(), &"/w/1".into()));
    assert_eq!((&taken["branch"], &taken["worktree"]), (&"feat/x".into(), &"/w/1".into()));
    place.release(0, "vera", "B-6");
    assert_eq!(place.json(0, &["claim", "check", "--item", "B-6"])["claimed"], false);
}

#[test]
fn what_the_original_claimed_is_respected_and_what_we_claim_it_sees() {
    let place = Place::new();
    place.ends(0, &["bus", "list"]);
    place.acquire(0, "otto-cli", "X");
    place.original_publish("lior", "claim", "B-7");
    let refused = place.acquire(3, "vera", "B-7");
    assert_eq!(refused["claimed_by"], serde_json::json!(["lior"]));
    // Another agent may have its sender's name. By the original's rule it is its sender.
    place.acquire(3, "lior", "B-7");
    let args = ["claim", "acquire", "--from", "lior", "--item", "B-7"];
    let out = crate::support::run(place.cmd(&args).env("ZETA_BUS_IDS", "original"));
    assert_eq!(out.status, 0, "{out:?}");
    let args = ["claim", "release", "--from", "lior", "--item", "B-7"];
    let out = crate::support::run(place.cmd(&args).env("ZETA_BUS_IDS", "original"));
    assert_eq!(out.status, 0, "{out:?}");
    assert!(place.original_holders("B-7").is_empty());
    place.original_publish("lior", "claim", "B-7");
    place.acquire(3, "vera", "B-7");
    place.original_publish("lior", "release", "B-7");
    place.acquire(0, "vera", "B-7");
    assert_eq!(place.original_holders("B-7"), ["vera"]);
}

#[test]
fn a_claim_stands_when_its_messages_are_cleaned_away() {
    let place = Place::new();
    place.acquire(0, "otto-cli", "B-8");
    place.ends(0, &["bus", "clean"]);
    assert!(place.files().is_empty(), "{:?}", place.files());
    place.acquire(3, "vera", "B-8");
    let check = place.json(3, &["claim", "check", "--item", "B-8"]);
    assert_eq!(check["claims"][0]["from"], "otto-cli");
    let list = place.json(0, &["claim", "list"]);
    assert_eq!(list["claims"][0]["item_id"], "B-8");
    std::fs::remove_dir_all(place.bus.join(".zeta")).unwrap();
    place.acquire(3, "vera", "B-8");
    place.release(0, "otto-cli", "B-8");
    place.acquire(0, "vera", "B-8");
}

#[test]
fn two_trees_on_one_bus_do_not_both_claim() {
    let (place, other) = (Place::new(), Place::new());
    place.acquire(0, "otto-cli", "B-9");
    let args = ["claim", "acquire", "--from", "vera", "--item", "B-9"];
    let mut elsewhere = other.sandbox.cmd(&args);
    let out = crate::support::run(elsewhere.env("ZETA_BUS_DIR", &place.bus));
    assert_eq!(out.status, 3, "{out:?}");
    // And one tree on two buses keeps their items apart.
    let mut beside = place.sandbox.cmd(&args);
    let out = crate::support::run(beside.env("ZETA_BUS_DIR", &other.bus));
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn whoever_waits_gets_it_when_it_is_given_back() {
    for original in [false, true] {
        let place = Place::new();
        place.ends(0, &["bus", "list"]);
        match original {
            true => {
                place.acquire(0, "x", "other");
                place.original_publish("otto-cli", "claim", "B-10");
            }
            false => _ = place.acquire(0, "otto-cli", "B-10"),
        }
        let args = ["claim", "acquire", "--from", "vera", "--item", "B-10", "--wait", "15s"];
        // A wait ends at its limit, whether the holder has a lease or only a message.
        let short = ["claim", "acquire", "--from", "lior", "--item", "B-10", "--wait", "300ms"];
        let out = place.ends(6, &short);
        assert!(out.err.contains("otto-cli"), "{out:?}");
        let started = std::time::Instant::now();
        let mut command = place.cmd(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let waiting = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        match original {
            true => _ = place.original_publish("otto-cli", "release", "B-10"),
            false => _ = place.release(0, "otto-cli", "B-10"),
        }
        let out = finish(waiting, started, LIMIT);
        assert_eq!(out.status, 0, "{out:?}");
        let out = place.ends(6, &short);
        assert!(out.err.contains("vera") && out.err.contains("(waited "), "{out:?}");
        assert_eq!(out.err.matches("waiting for").count(), 1, "{out:?}");
    }
}

fn messages(answer: &Value) -> &[Value] {
    answer["messages"].as_array().unwrap()
}

#[test]
fn the_state_directory_is_told_on_the_bus_when_asked_for() {
    let place = Place::new();
    place.ends(0, &["marker", "set", "hello", "to=world"]);
    place.ends(0, &["lease", "acquire", "deploy"]);
    let json = place.json(0, &["bus", "publish", "--from", "otto-cli", "--from-state"]);
    let records: Vec<&str> =
        messages(&json).iter().map(|m| m["payload"]["record"].as_str().unwrap()).collect();
    assert_eq!(records, ["deploy.lock", "hello.marker"]);
    assert_eq!(json["messages"][1]["payload"]["fields"]["to"], "world");
    let again = place.json(0, &["bus", "publish", "--from", "otto-cli", "--from-state"]);
    assert_eq!(again, serde_json::json!({ "messages": [] }));
    place.ends(0, &["marker", "clear", "hello"]);
    let gone = place.json(0, &["bus", "publish", "--from", "otto-cli", "--from-state"]);
    assert_eq!(gone["messages"][0]["payload"]["change"], "gone");
    let listed = place.json(0, &["bus", "list", "--topic", "state-change"]);
    assert_eq!(messages(&listed).len(), 3);
}

#[test]
fn a_stopped_holder_of_a_session_is_not_robbed() {
    let place = Place::new();
    let script = "\"$ZETA\" claim acquire --item B-11 >\"$ZETA_STATE_DIR/../got\"; exec sleep 60";
    let mut holder = session(&place, "otto-cli", script);
    let got = place.sandbox.dir.join("got");
    assert!(until(LIMIT, || std::fs::read_to_string(&got).is_ok_and(|t| !t.is_empty())));
    signal(holder.id(), Signal::STOP);
    place.acquire(3, "vera", "B-11");
    signal(holder.id(), Signal::CONT);
    signal(holder.id(), Signal::TERM);
    wait(&mut holder, LIMIT);
    place.acquire(0, "vera", "B-11");
}

#[test]
fn two_agents_of_one_name_do_not_get_one_item() {
    let place = Place::new();
    let work = ["--branch", "feat/x", "--worktree", "/w/1"];
    let first = place.acquire_with(0, "ann", "B-13", &work);
    // A second shell of the same user, as the guide says, on a branch of its own.
    let args = ["claim", "acquire", "B-13", "--as", "ann"];
    let out = place.ends(3, &[&args[..], &["--branch", "feat/y", "--worktree", "/w/2"]].concat());
    for said in ["ann", "since", "feat/x", "/w/1", "held by you?", "zeta run --as", "--token"] {
        assert!(out.err.contains(said), "{said}: {out:?}");
    }
    assert!(!out.err.contains(&place.token("ann", "B-13")), "a token is no advice: {out:?}");
    for more in [&[][..], &["--branch", "feat/x"], &["--worktree", "/w/1"], &["--token", "7"]] {
        place.ends(3, &[&args[..], more].concat());
    }
    // Neither does it end or pass on what the first one has.
    for verb in [&["release"][..], &["renew"], &["handover", "--to", "vera"]] {
        let out = place.ends(3, &[&["claim"], verb, &["B-13", "--as", "ann"]].concat());
        assert!(out.err.contains("held by you?"), "{out:?}");
    }
    place.ends(3, &["claim", "check", "B-13", "--as", "ann"]);
    // The first one repeats its call, and goes on.
    let again = place.acquire_with(0, "ann", "B-13", &work);
    assert_eq!(again["fencing_token"], first["fencing_token"]);
    assert_eq!(place.json(0, &["claim", "list"])["claims"][0]["branch"], "feat/x");
    // In a session it needs nothing more, and another session is another agent.
    let other = ["claim", "acquire", "B-13", "--as", "ann", "--branch", "b", "--worktree", "/w/1"];
    let out = crate::support::run(place.cmd(&other).env("ZETA_SESSION", "0b"));
    assert_eq!(out.status, 3, "{out:?}");
    place.release(0, "ann", "B-13");
    place.ends(4, &["claim", "release", "B-13", "--as", "ann"]);
    place.ends(2, &["claim", "acquire"]);
    place.ends(2, &["claim", "acquire", "B-13", "--item", "B-14"]);
}

#[test]
fn a_holder_under_the_same_name_that_only_a_message_names_is_another_one() {
    let (place, other) = (Place::new(), Place::new());
    place.acquire(0, "ann", "B-15");
    // Its lease is in another tree.
    let args = ["claim", "acquire", "B-15", "--from", "ann"];
    let mut elsewhere = other.sandbox.cmd(&args);
    let out = crate::support::run(elsewhere.env("ZETA_BUS_DIR", &place.bus));
    assert_eq!(out.status, 3, "{out:?}");
    let args = ["claim", "release", "B-15", "--from", "ann"];
    let mut elsewhere = other.sandbox.cmd(&args);
    let out = crate::support::run(elsewhere.env("ZETA_BUS_DIR", &place.bus));
    assert_eq!(out.status, 3, "{out:?}");
    place.again(0, "ann", "B-15");
    // A claim of the original ends by a release of its name, as the original does it.
    place.original_publish("lior", "claim", "B-16");
    place.acquire(3, "lior", "B-16");
    place.release(0, "lior", "B-16");
    place.acquire(0, "lior", "B-16");
    // The lease counts, whatever the original publishes under the holder's name.
    place.original_publish("lior", "claim", "B-16");
    place.again(0, "lior", "B-16");
    place.original_publish("lior", "release", "B-16");
    place.acquire(3, "vera", "B-16");
}

#[test]
fn the_lease_of_a_claim_is_not_taken_by_the_verbs_of_leases() {
    let place = Place::new();
    let lease = place.acquire(0, "otto-cli", "B-17")["lease"].as_str().unwrap().to_owned();
    let token = place.token("otto-cli", "B-17");
    for args in [
        &["lease", "acquire", &lease][..],
        &["lease", "renew", &lease, "--token", &token],
        &["lease", "release", &lease, "--token", &token],
        &["lease", "exec", &lease, "--", "true"],
    ] {
        let out = place.ends(2, args);
        assert!(out.err.contains("zeta claim"), "{out:?}");
    }
    place.ends(0, &["lease", "check", &lease, "--token", &token]);
    place.ends(0, &["lease", "show", &lease]);
    place.again(0, "otto-cli", "B-17");
    let out = place.ends(2, &["lease", "acquire", "src/main.rs"]);
    assert!(out.err.contains("zeta claim acquire src/main.rs"), "{out:?}");
    place.ends(0, &["claim", "acquire", "src/main.rs"]);
}

#[test]
fn the_lease_of_a_claim_names_the_agent_of_the_claim() {
    let place = Place::new();
    let lease = place.acquire(0, "otto-cli", "B-18")["lease"].as_str().unwrap().to_owned();
    let agent = || place.json(0, &["lease", "show", &lease])["agent"].clone();
    assert_eq!(agent(), "otto-cli");
    let token = place.token("otto-cli", "B-18");
    place.ends(0, &["claim", "renew", "B-18", "--from", "otto-cli", "--token", &token]);
    assert_eq!(agent(), "otto-cli");
    let over = ["claim", "handover", "B-18", "--from", "otto-cli", "--to", "vera"];
    place.ends(0, &[&over[..], &["--token", &token]].concat());
    assert_eq!(agent(), "vera");
}

#[test]
fn an_item_whose_messages_are_gone_is_not_shared_with_its_holder() {
    let place = Place::new();
    place.acquire(0, "otto-cli", "B-19");
    place.ends(0, &["bus", "clean"]);
    place.acquire_with(3, "otto-desktop", "B-19", &["--shareable"]);
}

#[test]
fn a_release_by_token_is_published_once_and_also_when_the_grant_is_gone() {
    let place = Place::new();
    place.acquire(0, "otto-cli", "B-20");
    place.release(0, "otto-cli", "B-20");
    let told = place.files();
    place.release(0, "otto-cli", "B-20");
    assert_eq!(place.files(), told, "it was released before");
    let lease = place.acquire(0, "otto-cli", "B-20")["lease"].as_str().unwrap().to_owned();
    std::fs::remove_file(place.sandbox.lock(&lease)).unwrap();
    assert_eq!(place.original_holders("B-20"), ["otto-cli"]);
    place.release(0, "otto-cli", "B-20");
    assert!(place.original_holders("B-20").is_empty());
}

#[test]
fn a_shared_claim_is_renewed_and_stays_shared() {
    let place = Place::new();
    let first = place.acquire_with(0, "otto-cli", "B-21", &["--shareable"]);
    let token = place.token("otto-cli", "B-21");
    let renew = ["claim", "renew", "B-21", "--from", "otto-cli", "--token", &token];
    assert_eq!(place.json(0, &renew)["fencing_token"], first["fencing_token"]);
    place.acquire_with(0, "otto-desktop", "B-21", &["--shareable"]);
    place.acquire(3, "vera", "B-21");
}

#[test]
fn a_claim_that_is_renewed_for_another_agent_names_no_process_of_the_caller_s_session() {
    let place = Place::new();
    let first = place.acquire(0, "vera", "B-22");
    let (lease, token) = (first["lease"].as_str().unwrap(), &first["fencing_token"]);
    let script = format!("\"$ZETA\" claim renew B-22 --from vera --token {token} >/dev/null");
    let mut other = session(&place, "otto-cli", &format!("{script} && exec sleep 60"));
    let show = || place.json(0, &["lease", "show", lease]);
    assert!(until(LIMIT, || show()["fencing_token"] != *token), "it was not renewed");
    let shown = show();
    assert_eq!((&shown["agent"], &shown["pid"]), (&"vera".into(), &Value::Null), "{shown}");
    signal(other.id(), Signal::TERM);
    wait(&mut other, LIMIT);
}

#[test]
fn an_acquire_of_the_original_that_is_at_work_is_waited_for() {
    let place = Place::new();
    place.acquire(0, "warm", "up");
    let lock = place.bus.join(Item::new("B-23").unwrap().original_lock());
    std::fs::write(&lock, std::process::id().to_string()).unwrap();
    let args = ["claim", "acquire", "--from", "vera", "--item", "B-23"];
    let ours = place.cmd(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(&lock).unwrap();
    let out = finish(ours, Instant::now(), LIMIT);
    assert_eq!(out.status, 0, "{out:?}");
    // One that does not end is named, and not waited for without an end.
    let lock = place.bus.join(Item::new("B-24").unwrap().original_lock());
    std::fs::write(&lock, std::process::id().to_string()).unwrap();
    let out = place.ends(6, &["claim", "acquire", "--from", "vera", "--item", "B-24"]);
    assert!(out.err.contains(&std::process::id().to_string()), "{out:?}");
    assert!(out.took < Duration::from_secs(15), "{out:?}");
}

#[test]
fn by_the_original_s_rule_a_release_ends_what_the_name_holds_outside_of_a_session() {
    let place = Place::new();
    let original = |status: i32, verb: &str, from: &str, item: &str| {
        let args = ["claim", verb, "--from", from, "--item", item];
        let out = crate::support::run(place.cmd(&args).env("ZETA_BUS_IDS", "original"));
        assert_eq!(out.status, status, "{verb} {from} {item}: {out:?}");
    };
    // A session of the same name is another agent's.
    let args = ["claim", "acquire", "--from", "lior", "--item", "B-25"];
    let out = crate::support::run(place.cmd(&args).env("ZETA_SESSION", "0a"));
    assert_eq!(out.status, 0, "{out:?}");
    original(3, "release", "lior", "B-25");
    assert_eq!(place.original_holders("B-25"), ["lior"]);
    // A release that ends nothing is published all the same, and the holder keeps the item.
    let told = place.files().len();
    original(0, "release", "otto-cli", "B-25");
    assert_eq!(place.files().len(), told + 1);
    assert_eq!(place.original_holders("B-25"), ["lior"]);
    place.acquire(3, "vera", "B-25");
}

/// The lock of the original for an item, with a pid in it and `age` old.
fn lock_of_the_original(place: &Place, item: &str, pid: u32, age: Duration) -> PathBuf {
    place.ends(0, &["bus", "send", "vera", "a bus"]);
    let lock = place.bus.join(format!("acquire-{item}.lock"));
    std::fs::write(&lock, pid.to_string()).unwrap();
    let file = std::fs::File::options().write(true).open(&lock).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
    lock
}

#[test]
fn the_lock_of_a_killed_call_is_sat_out_within_the_wait() {
    let place = Place::new();
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let lock = lock_of_the_original(&place, "B-1", ended.id(), Duration::ZERO);
    let acquire = ["claim", "acquire", "B-1", "--as", "otto"];
    let busy = place.ends(6, &acquire);
    assert!(busy.err.contains("ended while it claimed it") && busy.err.contains("5 s"), "{busy:?}");
    let waited = place.ends(0, &[&acquire[..], &["--wait", "30s"]].concat());
    assert!(waited.took < Duration::from_secs(15) && !lock.exists(), "{waited:?}");
}

#[test]
fn a_lock_whose_number_another_process_has_got_stays_and_the_text_says_so() {
    let place = Place::new();
    let mut living = Command::new("sleep").arg("60").spawn().unwrap();
    let acquire = ["claim", "acquire", "B-1", "--as", "otto", "--wait", "1s"];
    // As far as anything says, this process made the lock.
    let lock = lock_of_the_original(&place, "B-1", living.id(), Duration::ZERO);
    let held = place.ends(6, &acquire);
    let pid = living.id();
    let claiming = format!("process {pid} (sleep, state S) is claiming it");
    assert!(
        held.err.contains(&claiming) && held.err.contains("until that process ends"),
        "{held:?}"
    );
    assert!(!held.err.contains("5 s") && lock.exists(), "{held:?}");
    signal(pid, Signal::STOP);
    let stopped = place.ends(6, &acquire);
    assert!(stopped.err.contains(&format!("it is stopped: kill -CONT {pid}")), "{stopped:?}");
    signal(pid, Signal::CONT);
    // The lock is older than the process.
    lock_of_the_original(&place, "B-1", pid, Duration::from_secs(7200));
    let outlived = place.ends(6, &acquire);
    let later = format!("the process {pid} of now (sleep) began 1h 59m after the lock was made");
    assert!(outlived.err.contains(&later), "{outlived:?}");
    assert!(outlived.err.contains(&format!("rm {}", lock.display())), "{outlived:?}");
    assert!(lock.exists(), "a process that lives is not robbed");
    living.kill().unwrap();
    living.wait().unwrap();
    place.ends(0, &acquire);
}
