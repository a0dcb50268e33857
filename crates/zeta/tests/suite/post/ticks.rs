//! How ticks end: well, badly, never, and with children that would stay.

use serde_json::Value;

use super::{Guard, is_alive};
use crate::support::{LIMIT, run, until};

#[test]
fn a_vendor_that_is_down_is_left_within_one_tick_by_all_posts() {
    let guard = Guard::new(3, "");
    let posts = [1, 2, 3].map(|post| guard.start(post));
    for begin in ["end a otto", "end b lior", "end c vera"] {
        guard.wait_for(begin, 1);
    }
    guard.set("a", "outage");
    let down = guard.wait_report_of("outage");
    assert_eq!(down["persona"], "otto");
    guard.wait_for("end b otto", 1);
    let mut log = guard.log().into_iter();
    let after_outage = log.position(|line| line.starts_with("end a otto") && line.ends_with(" 1"));
    assert!(after_outage.is_some());
    let next = log.find(|line| line.starts_with("begin") && line.contains(" otto ")).unwrap();
    assert!(next.starts_with("begin b otto"), "the very next tick of otto: {next}");
    for post in posts {
        assert_eq!(post.end(), 0);
    }
    let notes = (1..=3).map(|post| guard.notes(post)).collect::<String>();
    assert!(notes.contains("a is down"), "{notes}");
    guard.check_end();
}

impl Guard {
    /// Waits for a report of any post with this outcome.
    #[track_caller]
    fn wait_report_of(&self, outcome: &str) -> Value {
        let find = || {
            let mut all = (1..=3).flat_map(|post| self.reports(post));
            all.find(|report| report["outcome"] == outcome)
        };
        assert!(until(LIMIT * 3, || find().is_some()), "{outcome}");
        find().unwrap()
    }
}

#[test]
fn an_agent_that_fails_counts_as_failing_and_is_left_after_three_times() {
    let guard = Guard::new(1, "every = \"20ms\"\nback_off_max = \"100ms\"").only("otto");
    guard.set("a", "fail");
    let post = guard.start(1);
    guard.wait_for("end b otto 1 0", 1);
    assert_eq!(guard.count("begin a otto"), 3, "{:?}", guard.log());
    let report = guard.wait_report(1, |report| report["outcome"] == "failed");
    assert_eq!((&report["status"], &report["line"]), (&9.into(), &"a".into()), "{report}");
    assert_eq!(post.end(), 0);
    guard.check_end();
}

#[test]
fn a_program_that_is_not_there_counts_as_failing_and_is_not_tried_in_a_hurry() {
    let guard = Guard::new(1, "every = \"200ms\"").only("otto");
    let none = "[lines.d.tiers.high]\nprogram = \"/no/such/agent\"\n";
    guard.write_posts(1, "every = \"200ms\"", none);
    guard.write_persona("otto", "d b", "");
    let post = guard.start(1);
    guard.wait_for("end b otto 1 0", 1);
    let reports = guard.reports(1);
    let failed: Vec<&Value> = reports.iter().filter(|report| report["line"] == "d").collect();
    assert_eq!(failed.len(), 3, "{reports:?}");
    assert!(failed.iter().all(|report| report["status"] == 127), "{failed:?}");
    let at = |at: usize| failed[at]["at_us"].as_i64().unwrap();
    assert!(at(1) - at(0) >= 200_000 && at(2) - at(1) >= 400_000, "{failed:?}");
    assert!(guard.notes(1).contains("/no/such/agent"), "{}", guard.notes(1));
    assert_eq!(post.end(), 0);
}

#[test]
fn a_tick_that_cannot_begin_takes_no_line_from_its_persona_and_is_named() {
    let ticks = "every = \"20ms\"\nback_off_max = \"100ms\"";
    let guard = Guard::new(1, ticks).only("otto");
    let none = guard.sandbox.dir.join("no-repository");
    guard.write_posts(1, &format!("{ticks}\nrepository = {none:?}"), "");
    let post = guard.start(1);
    // Three are enough for a line that fails.
    let last = guard.wait_report(1, |report| report["number"] == 6);
    let begun: Vec<Value> = guard.reports(1);
    let same = |report: &Value| report["cut"] == "start" && report["line"] == "a";
    assert!(begun.iter().all(same) && same(&last), "{begun:#?}");
    assert!(guard.notes(1).contains(none.to_str().unwrap()), "{}", guard.notes(1));
    guard.write_posts(1, ticks, "");
    guard.wait_for("end a otto 1 0", 1);
    assert_eq!((guard.count("begin b"), post.end()), (0, 0), "{}", guard.notes(1));
    guard.check_end();
}

#[test]
fn an_agent_that_hangs_is_ended_after_its_limit_and_counts_as_failing() {
    let guard = Guard::new(1, "").only("otto");
    guard.write_posts(1, "limit = \"700ms\"", "");
    guard.set("a", "hang");
    let post = guard.start(1);
    let report = guard.wait_report(1, |report| report["cut"] == "time");
    assert_eq!((&report["outcome"], &report["status"]), (&"failed".into(), &Value::Null));
    assert!(report["took_ms"].as_u64().unwrap() >= 700, "{report}");
    guard.set("a", "");
    guard.wait_for("end a otto 1 0", 1);
    assert_eq!(post.end(), 0);
    guard.check_end();
    let listed = run(&mut guard.cmd(&["list"]));
    assert!(listed.out.contains("post 1: otto"), "{listed:?}");
}

#[test]
fn what_an_agent_leaves_behind_is_gone_when_its_tick_is_reported() {
    for todo in ["children", "forget"] {
        let guard = Guard::new(1, "every = \"10m\"").only("otto");
        guard.set("a", todo);
        let post = guard.start(1);
        guard.wait_report(1, |report| report["outcome"] == "ok");
        let children = guard.children();
        assert_eq!(children.len(), if todo == "children" { 3 } else { 1 });
        let alive: Vec<u32> = children.into_iter().filter(|pid| is_alive(*pid)).collect();
        assert_eq!(alive, Vec::<u32>::new(), "{todo}");
        assert_eq!(post.end(), 0);
        guard.check_end();
    }
}
