//! A post from its first tick to its end, and what another one may not do meanwhile.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{Guard, Post};
use crate::support::{LIMIT, run, signal, until, wait, wait_for};

fn persona(guard: &Guard, name: &str) -> Value {
    let out = run(&mut guard.sandbox.cmd(&["--json", "persona", "get", name]));
    serde_json::from_str(&out.out).unwrap_or_default()
}

#[test]
fn a_post_runs_the_agent_of_its_persona_tick_by_tick_and_reports_each_end() {
    let guard = Guard::new(1, "").only("otto");
    let post = guard.start(1);
    // No scheduler ran before: the post asks it.
    guard.wait_for("end a otto 1 0", 2);
    let at = guard.store.join("work/otto");
    let begun = "begin a otto 1 high otto-post1 guard-post.otto";
    let begun = format!("{begun} at={} prompt=do {{it}}", at.display());
    assert_eq!(guard.log()[0], begun);
    let report = guard.wait_report(1, |report| report["number"] == 2);
    assert_eq!((&report["outcome"], &report["status"]), (&"ok".into(), &0.into()), "{report}");
    let record = persona(&guard, "otto");
    assert_eq!((&record["post"], &record["line"]), (&1.into(), &"a".into()), "{record}");
    assert_eq!((&record["tier"], &record["harness"]), (&"high".into(), &"cli".into()));
    let status = guard.sandbox.ok(&["status", "--json"]);
    assert!(status.contains("\"otto-post1\""), "{status}");
    let status: Value = serde_json::from_str(&status).unwrap();
    let agents = status["nodes"][0]["agents"].as_array().unwrap();
    let otto = agents.iter().find(|agent| agent["agent"] == "otto").unwrap();
    assert_eq!((&otto["liveness"], &otto["post"]), (&"live".into(), &1.into()), "{otto}");
    assert_eq!(status["findings"].as_array().map(Vec::len), Some(0), "{status}");
    assert!(guard.sandbox.lock_exists("guard-post-1"));
    assert_eq!(post.end(), 0, "{}", guard.notes(1));
    assert!(!guard.sandbox.lock_exists("guard-post-1"));
    assert_eq!(persona(&guard, "otto")["post"], Value::Null);
    guard.check_end();
}

#[test]
fn a_post_has_one_supervisor_and_the_second_one_is_refused_by_name() {
    let guard = Guard::new(1, "").only("otto");
    let first = guard.start(1);
    guard.wait_for("end a otto 1 0", 1);
    let out = run(&mut guard.cmd(&["run", "1"]));
    assert_eq!(out.status, 3, "{out:?}");
    assert!(out.err.contains("lease guard-post-1 is held by guard-post-1"), "{out:?}");
    assert_eq!(first.end(), 0);
    let out = run(&mut guard.cmd(&["run", "2"]));
    assert!(out.status == 2 && out.err.contains("there is no post 2"), "{out:?}");
}

#[test]
fn a_persona_that_works_elsewhere_is_waited_for_and_counts_as_no_failure() {
    let guard = Guard::new(1, "").only("otto");
    let mut holder = guard.sandbox.cmd(&["lease", "exec", "guard-post.otto", "--", "sleep", "600"]);
    let mut holder = holder.spawn().unwrap();
    wait_for("the lease is held", || guard.sandbox.lock_exists("guard-post.otto"));
    let post = guard.start(1);
    wait_for("the post was refused twice", || guard.notes(1).matches("is held by").count() >= 2);
    assert_eq!((guard.count("begin"), guard.reports(1).len()), (0, 0), "{}", guard.notes(1));
    signal(holder.id(), Signal::TERM);
    wait(&mut holder, LIMIT);
    guard.wait_for("end a otto 1 0", 1);
    assert_eq!(post.end(), 0);
    guard.check_end();
}

#[test]
fn a_signal_ends_the_tick_that_runs_and_it_is_no_failure() {
    let guard = Guard::new(1, "grace = \"10s\"").only("otto");
    guard.set("a", "slow");
    let post = guard.start(1);
    guard.wait_for("slow", 1);
    assert_eq!(post.end(), 0, "{}", guard.notes(1));
    assert_eq!(guard.count("end a otto 1 143"), 1, "{:?}", guard.log());
    assert_eq!(guard.reports(1).len(), 0);
    guard.check_end();
    guard.sandbox.refused(&["lease", "show", "guard-post.otto"], 4);
}

#[test]
fn a_hanging_agent_does_not_hold_up_a_signal() {
    let guard = Guard::new(1, "").only("otto");
    guard.set("a", "hang");
    let post = guard.start(1);
    guard.wait_for("hangs", 1);
    assert_eq!(post.end(), 0, "{}", guard.notes(1));
    guard.check_end();
}

#[test]
fn a_supervisor_that_lost_its_post_leaves_the_tick_of_its_successor_alone() {
    let guard = Guard::new(1, "grace = \"10s\"").only("otto");
    guard.set("a", "slow");
    let mut first = guard.start(1);
    guard.wait_for("begin a otto 1", 1);
    signal(first.0.id(), Signal::STOP);
    let shown = run(&mut guard.sandbox.cmd(&["lease", "show", "guard-post-1", "--json"]));
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let token = shown["fencing_token"].as_u64().expect("a token").to_string();
    guard.sandbox.ok(&["lease", "release", "guard-post-1", "--token", &token]);
    let second = guard.start(1);
    guard.wait_for("begin a otto 1", 2);
    signal(first.0.id(), Signal::CONT);
    assert_eq!(wait(&mut first.0, LIMIT), 3, "{}", guard.notes(1));
    // It ended by itself, and its successor works on.
    assert_eq!(second.end(), 0, "{}", guard.notes(1));
    assert_eq!(guard.count("end a otto 1 143"), 1, "{:?}\n{}", guard.log(), guard.notes(1));
    guard.check_end();
}

#[test]
fn a_post_goes_on_while_nobody_reads_what_it_says() {
    let guard = Guard::new(1, "limit = \"500ms\"").only("otto");
    guard.set("a", "flood");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = guard.cmd(&["run", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let post = Post(command.spawn().unwrap());
    drop(command);
    // The agent is held up, and what is said of its end has no reader either.
    for number in 1..=3 {
        let report = guard.wait_report(1, |report| report["number"] == number);
        assert_eq!(report["cut"], "time", "{report}");
    }
    assert_eq!(post.end(), 0);
    drop(reader);
    guard.check_end();
}

#[test]
fn a_torn_file_of_assignments_is_named_and_mended_and_the_post_goes_on() {
    let guard = Guard::new(1, "every = \"10m\"").only("otto");
    fs::create_dir(&guard.store).unwrap();
    let file = guard.store.join("guard-post-assignments.json");
    fs::write(&file, "{\"schema\": 1, \"kind\": \"guard-post-as").unwrap();
    let post = guard.start(1);
    guard.wait_for("end a otto 1 0", 1);
    assert!(guard.notes(1).contains("it is no file of assignments"), "{}", guard.notes(1));
    let aside = || {
        let names = fs::read_dir(&guard.store).unwrap().flatten().map(|entry| entry.file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        names.filter(|name| name.contains("assignments.json.damaged-")).count()
    };
    assert_eq!(aside(), 1);
    // Also while the post waits, and its next tick is far away.
    assert!(until(LIMIT, || guard.reports(1).len() == 1), "{}", guard.notes(1));
    let begun = guard.count("begin");
    let torn = guard.store.join("torn");
    let is_mended = || aside() >= 2 && file.exists();
    let tear = || {
        // What the scheduler writes at this moment may take its place.
        fs::write(&torn, "torn").unwrap();
        fs::rename(&torn, &file).unwrap();
        until(Duration::from_secs(2), is_mended)
    };
    assert!(until(LIMIT, tear), "{}", guard.notes(1));
    assert_eq!(post.end(), 0);
    assert_eq!(guard.count("begin"), begun, "the same persona stands there as before");
}

#[test]
fn assignments_of_a_clock_that_was_ahead_are_named_and_put_aside_and_the_posts_go_on() {
    let guard = Guard::new(1, "").only("otto");
    let file = guard.store.join("guard-post-assignments.json");
    let read = || serde_json::from_str::<Value>(&fs::read_to_string(&file).unwrap()).unwrap();
    let tick = || run(&mut guard.cmd(&["tick"]));
    assert_eq!(tick().status, 0);
    let ahead = || {
        let mut ahead = read();
        // Of the year 2036.
        ahead["fencing_token"] = 2_083_000_000_000_000_u64.into();
        fs::write(&file, ahead.to_string()).unwrap();
    };
    ahead();
    let out = tick();
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.err.contains("its token 2083000000000000 is above"), "{out:?}");
    assert!(out.err.contains("assignments.json.damaged-"), "{out:?}");
    assert!(read()["fencing_token"].as_u64().unwrap() < 2_083_000_000_000_000);
    let out = tick();
    assert!(out.status == 0 && !out.err.contains("damaged"), "{out:?}");
    // A post names it as well, after its next tick.
    ahead();
    let post = guard.start(1);
    let is_named = || guard.notes(1).contains("its token 2083000000000000 is above");
    assert!(until(LIMIT, is_named), "{}", guard.notes(1));
    guard.wait_for("end a otto 1 0", 2);
    assert_eq!(post.end(), 0);
}

#[test]
fn a_persona_that_left_the_policy_does_not_work_any_more_and_another_one_comes() {
    let guard = Guard::new(1, "");
    guard.remove_persona("vera");
    guard.remove_persona("lior");
    let post = guard.start(1);
    guard.wait_for("end a otto 1 0", 1);
    guard.remove_persona("otto");
    guard.write_persona("vera", "c a", "");
    guard.wait_for("end c vera 1 0", 1);
    let at = guard.count("begin a otto");
    guard.wait_for("end c vera 1 0", 2);
    assert_eq!(guard.count("begin a otto"), at);
    assert_eq!(persona(&guard, "vera")["post"], 1);
    assert_eq!(persona(&guard, "otto")["post"], Value::Null);
    // An operator's typing error does not stop what runs.
    fs::write(guard.config.join("posts.toml"), "[posts]\ncuont = 3").unwrap();
    guard.wait_for("end c vera 1 0", guard.count("end c vera 1 0") + 2);
    assert_eq!(guard.notes(1).matches("unknown field `cuont`").count(), 1, "{}", guard.notes(1));
    assert_eq!(post.end(), 0);
    guard.check_end();
}

#[test]
fn a_minimum_that_was_raised_counts_for_the_very_next_tick() {
    let guard = Guard::new(1, "").only("otto");
    let (agent, every) = (guard.agent(), "every = \"2s\"");
    let arguments = "[\"d\", \"{persona}\", \"{post}\", \"{tier}\", \"x\"]";
    let fast = format!("[lines.d.tiers.fast]\nprogram = {agent:?}\narguments = {arguments}\n");
    guard.write_posts(1, every, &fast);
    guard.write_persona("otto", "d a", "");
    let post = guard.start(1);
    guard.wait_for("end d otto 1 0", 1);
    guard.write_persona("otto", "d a", "min_tier = \"high\"");
    let begun = guard.count("begin d");
    guard.wait_for("end a otto 1 0", 1);
    assert_eq!(guard.count("begin d"), begun, "{:?}", guard.log());
    // And what is not compatible any more.
    let only = format!("{fast}[compatibility]\n\"otto+a\" = [\"other\"]\n");
    guard.write_posts(1, every, &only);
    guard.write_persona("otto", "a b", "");
    let begun = guard.count("begin a");
    guard.wait_for("end b otto 1 0", 1);
    assert_eq!((guard.count("begin a"), post.end()), (begun, 0), "{:?}", guard.log());
}

#[test]
fn a_supervisor_that_is_killed_at_any_step_leaves_what_the_next_one_goes_on_with() {
    let guard = Guard::new(2, "every = \"50ms\"");
    guard.set("c", "children");
    let mut ticks = 0;
    for round in 0..24u64 {
        let posts = [guard.start(1), guard.start(2)];
        // Each moment of a tick is hit sooner or later; a busy machine moves them all.
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 37));
        let [first, second] = posts;
        match round % 3 {
            0 => first.kill(),
            1 => second.kill(),
            _ => {
                first.kill();
                second.kill();
            }
        }
        ticks = guard.count("end");
    }
    let last = [guard.start(1), guard.start(2)];
    guard.wait_for("end", ticks + 6);
    for post in last {
        assert_eq!(post.end(), 0);
    }
    guard.check_end();
    let alive: Vec<u32> =
        guard.children().into_iter().filter(|pid| super::is_alive(*pid)).collect();
    assert_eq!(alive, Vec::<u32>::new());
    let listed = run(&mut guard.cmd(&["list", "--json"]));
    assert_eq!(listed.status, 0, "{listed:?}");
}
