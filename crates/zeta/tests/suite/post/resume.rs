//! A persona goes on with the session of its tool.

use super::{Guard, write_program};

/// A tool whose hooks say the id of its session, as Claude Code's do. It goes on with the session
/// that it is given, or begins one.
const TOOL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 99
echo "begin $*" >>log
case "$1" in --resume) id=$2 ;; *) id=s-$(wc -l <log) ;; esac
[ -e odd ] && id=--dangerous
printf '{"session_id":"%s","cwd":"/","source":"startup"}' "$id" |
    CLAUDE_PID=$$ "$ZETA" hook run claude session-start >/dev/null
case "$1" in --resume) [ -e fail ] && exit 1 ;; esac
[ -e outage ] && { echo "529 overloaded" >&2; exit 1; }
echo "end $id" >>log
"#;

fn guard() -> Guard {
    let guard = Guard::new(1, "").only("otto");
    write_program(&guard.vendors.join("tool"), TOOL);
    let tool = guard.vendors.join("tool");
    let line = format!(
        "[lines.tool.tiers.high]\nprogram = {tool:?}\narguments = [\"{{resume}}\", \"x\"]\n\
         resume = [\"--resume\", \"{{session}}\"]\n"
    );
    guard.write_posts(1, "back_off_max = \"300ms\"\nevery = \"50ms\"", &line);
    guard.write_persona("otto", "tool", "");
    guard
}

fn start(guard: &Guard) -> super::Post {
    let mut command = guard.cmd(&["run", "1"]);
    command.env("ZETA", env!("CARGO_BIN_EXE_zeta"));
    super::Post::of(&mut command, guard.notes_path(1))
}

#[test]
fn the_next_tick_goes_on_with_the_session_of_the_last_one_until_that_fails() {
    let guard = guard();
    let post = start(&guard);
    guard.wait_for("end s-1", 3);
    assert_eq!(guard.log()[0], "begin x");
    assert_eq!(guard.log()[2], "begin --resume s-1 x");
    assert_eq!(post.end(), 0);
    // Also with another supervisor, and after an outage, which is not the session's fault.
    std::fs::write(guard.vendors.join("outage"), "").unwrap();
    let before = guard.count("begin --resume s-1");
    let post = start(&guard);
    guard.wait_for("begin --resume s-1", before + 1);
    guard.wait_report(1, |report| report["outcome"] == "outage");
    assert_eq!(post.end(), 0);
    std::fs::remove_file(guard.vendors.join("outage")).unwrap();
    // The operator's time for which a line is down need not pass here.
    for file in ["guard-post-assignments.json", "guard-post-1.json"] {
        std::fs::remove_file(guard.store.join(file)).unwrap();
    }
    std::fs::write(guard.vendors.join("fail"), "").unwrap();
    let anew = guard.count("begin x");
    let post = start(&guard);
    guard.wait_for("begin x", anew + 1);
    let log = guard.log();
    let at = log.iter().rposition(|line| line == "begin x").unwrap();
    assert!(log[..at].iter().rev().any(|line| line.starts_with("begin --resume s-1")), "{log:?}");
    assert_eq!(post.end(), 0);
    guard.check_end();
}

#[test]
fn an_id_that_looks_like_an_option_is_never_an_argument() {
    let guard = guard();
    std::fs::write(guard.vendors.join("odd"), "").unwrap();
    let post = start(&guard);
    guard.wait_for("end --dangerous", 2);
    assert_eq!(guard.count("begin --resume"), 0, "{:?}", guard.log());
    assert_eq!(post.end(), 0);
}
