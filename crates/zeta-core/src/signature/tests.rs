//! The vectors of the original, and what each part does with texts of every kind.

use proptest::prelude::*;
use serde_json::Value;

use super::audit::{Class, Commit, Reader, Ship, Signed, judge as judge_commit, ship_of};
use super::beat::{Beats, State};
use super::block::{Block, Fault, Key, is_task};
use super::check::{anywhere, judge, judge_message, judge_pr_body};
use super::co_author::CoAuthors;
use super::message::{BadValue, check_values, cleaned, has_block, task_of, with_block};
use super::trailer::{COMMENT, as_read, trailers};

const BODIES: &str = include_str!("vectors/bodies.json");

fn bodies() -> Vec<Value> {
    serde_json::from_str(BODIES).unwrap()
}

fn body(name: &str) -> String {
    let bodies = bodies();
    let found = bodies.iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("{name}"))["body"].as_str().unwrap().to_owned()
}

fn block() -> Block<'static> {
    judge(body("complete").as_bytes()).unwrap()
}

#[test]
fn each_body_of_the_original_is_judged_as_there() {
    let bodies = bodies();
    assert_eq!(bodies.len(), 71);
    for entry in &bodies {
        let (name, expect) = (&entry["name"], &entry["expect"]);
        let text = entry["body"].as_str().unwrap();
        if text.is_empty() {
            // Nothing to judge: the verb ends with 2 before it asks.
            assert_eq!(expect["exit"], 2, "{name}");
            continue;
        }
        let judged = judge(text.as_bytes());
        let stage = judged.as_ref().map_or_else(Fault::stage, |_| "pass");
        assert_eq!(stage, expect["stage"], "{name}: {judged:?}");
        assert_eq!(judged.is_ok(), expect["exit"] == 0, "{name}");
        if let (Err(Fault::Missing(keys)), Some(missing)) = (&judged, expect.get("missing")) {
            let keys: Vec<&str> = keys.iter().map(|key| key.name()).collect();
            assert_eq!(Value::from(keys), *missing, "{name}");
        }
        if let (Err(Fault::Value { key, .. }), Some(named)) = (&judged, expect.get("key")) {
            assert_eq!(key.name(), named, "{name}");
        }
    }
}

#[test]
fn a_block_in_any_place_is_found_whole_and_the_last_one_counts() {
    for (name, agent) in [
        ("complete", "Otto"),
        ("text-after-block", "Otto"),
        ("heading-after-block", "Otto"),
        ("rule-line-in-body", "Otto"),
        ("rule-line-after-block", "Otto"),
        ("only-the-block", "Otto"),
        ("title-directly-above", "Otto"),
        ("inside-code-fence", "Otto"),
        ("crlf-lines", "Otto"),
        ("folded-value", "Otto"),
        ("block-twice", "Otto"),
    ] {
        let found = anywhere(body(name).as_bytes()).unwrap_or_else(|| panic!("{name}"));
        assert!(found.is_complete() && found.block.faults().is_empty(), "{name}: {found:?}");
        assert_eq!(found.block.get(Key::Agent), Some(agent), "{name}");
    }
    let twice = anywhere(body("block-twice").as_bytes()).unwrap();
    assert_eq!(twice.line, 16);
    // A line between makes two parts, and neither is whole; the larger one is shown.
    for (name, len) in [("blank-line-inside", 6), ("stray-line-inside", 6), ("without-task", 9)] {
        let found = anywhere(body(name).as_bytes()).unwrap();
        assert!(!found.is_complete() && found.block.len() == len, "{name}: {found:?}");
    }
    assert_eq!(anywhere(body("no-block").as_bytes()), None);
    assert_eq!(anywhere(b"a\n\nAgent: Otto\nTask: 1\n"), None);
    assert_eq!(anywhere(b""), None);
}

/// The form of the blocks of the founding page, which break the grammar that they founded.
#[test]
fn each_fault_of_a_block_of_the_founding_page_is_named() {
    let text = body("complete")
        .replace("Mode: shared", "Mode: operator-authorized")
        .replace("Human-Review: none", "Human-Review: pre-merge-pending")
        .replace("Evidence: none", "Evidence: the operator read it in the chat")
        .replace("autonomous-fail-open", "substrate-authoring")
        .replace("Otto-12", "B-0852.3a");
    let text = format!("{text}\nCo-authored-by: Claude <co-author@example.invalid>\n");
    // The empty line above the co-author hides the block from git.
    let Err(Fault::Missing(keys)) = judge(text.as_bytes()) else { panic!() };
    assert_eq!(keys.len(), 10);
    let found = anywhere(text.as_bytes()).unwrap();
    let faults = found.block.faults();
    let stages: Vec<&str> = faults.iter().map(Fault::stage).collect();
    let all = ["enum", "enum", "enum", "enum", "task", "evidence-without-review"];
    assert_eq!(stages, all, "{faults:?}");
    assert!(faults[0].to_string().contains("shared or dedicated-agent or human-only or unknown"));
}

#[test]
fn the_body_of_a_pull_request_stands_below_its_title_and_keeps_its_fences() {
    let block = block().text();
    assert!(judge_pr_body(block.as_bytes()).is_ok());
    assert!(judge(block.as_bytes()).is_err());
    assert!(judge_pr_body(block.replace('\n', "\r\n").as_bytes()).is_ok());
    assert_eq!(judge_pr_body(format!("```text\n{block}```\n").as_bytes()), Err(Fault::Fenced));
    let ruled = judge_pr_body(format!("Words.\n\n---\n\n{block}").as_bytes());
    assert_eq!(ruled, Err(Fault::NoTrailers("it ends at a line of three hyphens")));
    for bad in ["", "words", "\0"] {
        assert!(judge_pr_body(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_task_is_none_a_number_or_a_word_with_one() {
    for good in ["none", "7", "#7", "task-7", "task-#7", "Otto-7", "B-0856", "AB12-9", "a-1"] {
        assert!(is_task(good), "{good}");
    }
    let bad = [
        "", "None", "B-", "-7", "B-0856.1", "B-7a", "A-B-7", "7B-7", "#", "##7", "task-#", "B 7",
        "ü-7",
    ];
    for bad in bad {
        assert!(!is_task(bad), "{bad}");
    }
}

#[test]
fn the_agents_of_every_vendor_are_known_and_people_are_none() {
    let agents = CoAuthors::default();
    let known = |line: &str| agents.in_message(format!("feat: a\n\n{line}\n").as_bytes());
    for (line, agent) in [
        ("Co-authored-by: Claude <co-author@example.invalid>", Some("Claude")),
        ("Co-Authored-By: Claude Opus 4.5 <noreply@anthropic.com>", Some("Claude")),
        ("co-authored-by : Claude Code <x@example.invalid>", Some("Claude")),
        ("Co-authored-by: codex <codex@openai.com>", Some("Codex")),
        ("Co-authored-by: Copilot <223556219+Copilot@users.noreply.github.com>", Some("Copilot")),
        ("Co-authored-by: x <198982749+Copilot@users.noreply.github.com>", Some("Copilot")),
        ("Co-authored-by: Cursor <cursoragent@cursor.com>", Some("Cursor")),
        ("Co-authored-by: gemini-code-assist[bot] <g@example.invalid>", Some("Gemini")),
        ("Co-authored-by: aider (gpt-5) <aider@aider.chat>", Some("Aider")),
        ("Co-authored-by: opencode <noreply@opencode.ai>", Some("OpenCode")),
        ("Co-authored-by: Jean-Claude Dupont <jc@example.invalid>", None),
        ("Co-authored-by: Claude Monet <monet@example.invalid>", None),
        ("Co-authored-by: Ann <ann@example.invalid>", None),
        ("Co-authored-by: <>", None),
        ("Co-authored-by:", None),
        ("Co-authored-by Claude", None),
        ("Thanks to Claude <noreply@anthropic.com>", None),
    ] {
        assert_eq!(known(line), agent, "{line}");
    }
    // Each line is looked at, in every place.
    let many = "a\n\nCo-authored-by: Ann <a@b>\r\nwords\nCo-authored-by: Claude <c@d>\r\n\nend";
    assert_eq!(agents.in_message(many.as_bytes()), Some("Claude"));
    assert_eq!(agents.of_address(b"cursoragent@cursor.com"), Some("Cursor"));
    assert_eq!(agents.of_address(b"ann@example.invalid"), None);
    assert_eq!(agents.of_address(b""), None);
}

#[test]
fn a_person_adds_rows_to_the_agents_and_none_that_means_all() {
    let mut agents = CoAuthors::default();
    agents.add("Robbie | Robbie the Robot | *@robots.example; R2 | - | r2@x").unwrap();
    let line = |text: &str| format!("a\n\nCo-authored-by: {text}\n");
    assert_eq!(agents.in_message(line("x <7@robots.example>").as_bytes()), Some("Robbie"));
    assert_eq!(agents.in_message(line("y <r2@x>").as_bytes()), Some("R2"));
    for bad in ["x", "x | *| -", "x|-|-", "|a|b", "x|a|b|c", "x | ** | *"] {
        assert!(agents.add(bad).is_err(), "{bad}");
    }
    assert_eq!(agents.in_message(line("Ann <ann@example.invalid>").as_bytes()), None);
    // Each row of the table is one.
    let rows = include_str!("co_authors.tsv").lines().skip(1);
    for row in rows {
        agents.add(&row.replace('\t', "|")).unwrap_or_else(|bad| panic!("{bad}"));
    }
}

#[test]
fn the_class_of_a_commit_depends_on_its_block_its_age_and_its_authors() {
    let signed = body("complete");
    let squashed = body("heading-after-block");
    let claude = "feat: a\n\nCo-authored-by: Claude <c@example.invalid>\n";
    let person = "docs: typo\n";
    let agents = CoAuthors::default();
    let class = |message: &str, at_us, reader, ship, author: &str| {
        let message = message.as_bytes();
        let commit = Commit { id: "1", at_us, author: author.as_bytes(), message };
        judge_commit(&commit, &Signed::of(message), (reader, ship), &agents).class
    };
    use Reader::{Anywhere, Strict};
    let (never, first, given) = (Ship::Never, Ship::First(50), Ship::Given(50));
    for (message, at_us, reader, ship, wanted) in [
        (&*signed, 10, Strict, never, Class::Correct),
        (&*signed, 10, Strict, first, Class::Correct),
        (&*squashed, 60, Strict, first, Class::Exempt),
        (&*squashed, 60, Anywhere, first, Class::Correct),
        (claude, 60, Strict, never, Class::Legacy),
        (claude, 49, Strict, first, Class::Legacy),
        (claude, 50, Strict, first, Class::Regression),
        (claude, 50, Anywhere, given, Class::Regression),
        (person, 60, Strict, given, Class::Exempt),
        (person, 40, Strict, given, Class::Legacy),
    ] {
        let found = class(message, at_us, reader, ship, "ann@example.invalid");
        assert_eq!(found, wanted, "{message:?} at {at_us}, {reader:?}, {ship:?}");
    }
    assert_eq!(class(person, 60, Strict, given, "cursoragent@cursor.com"), Class::Regression);
    assert_eq!((ship_of([7, 5, 6]), ship_of([])), (Ship::First(5), Ship::Never));
    // The version alone makes a commit a signed one; what is wrong is said beside it.
    let broken = "a\n\nAgency-Signature-Version: 1\nTask: B-1.2\n";
    let commit = Commit { id: "1", at_us: 1, author: b"", message: broken.as_bytes() };
    let read = Signed::of(commit.message);
    let judged = judge_commit(&commit, &read, (Strict, never), &agents);
    assert_eq!(judged.class, Class::Correct);
    assert_eq!(judged.fault.unwrap().stage(), "missing-key");
}

#[test]
fn the_idle_counter_counts_ticks_since_the_last_signed_commit() {
    let minute_us = 60_000_000;
    let now = 1000 * minute_us;
    let mut block = block();
    let mut beats = Beats::default();
    beats.add("c1", now - 30 * minute_us, &block, now);
    beats.add("c3", now - minute_us, &block, now);
    beats.add("c2", now - 3 * minute_us, &block, now);
    for (agent, minutes) in [("OTTO", 5), ("Vera", 5), ("", 12), ("Rex", 11)] {
        block.set(Key::Agent, agent.to_owned());
        beats.add("d", now - minutes * minute_us, &block, now);
    }
    // A clock that is wrong keeps no agent alive.
    block.set(Key::Agent, "Future");
    beats.add("e", now + 6 * minute_us, &block, now);
    block.set(Key::Agent, "Soon");
    beats.add("f", now + 4 * minute_us, &block, now);
    assert_eq!(beats.in_the_future, 1);
    let tick = super::beat::TICK_MS;
    let all = beats.done();
    let seen: Vec<_> = all
        .iter()
        .map(|beat| (&*beat.agent, beat.commits, beat.idle_ticks(now, tick), beat.state(now, tick)))
        .collect();
    let wanted = [
        ("Soon", 1, 0, State::Active),
        ("Otto", 4, 0, State::Active),
        ("Vera", 1, 2, State::Idle),
        ("Rex", 1, 5, State::Idle),
        ("-", 1, 6, State::Overdue),
    ];
    assert_eq!(seen, wanted);
    assert_eq!((&*all[1].commit, all[1].idle_ms(now)), ("c3", 60_000));
    assert_eq!(all[0].idle_ms(now), 0);
}

#[test]
fn a_block_is_put_last_above_the_scissors_or_into_trailers_that_are_there() {
    let block = block();
    let text = block.text();
    let put = |message: &str| {
        let whole = with_block(message.as_bytes(), &block, COMMENT).unwrap();
        String::from_utf8(whole).unwrap()
    };
    assert_eq!(put("feat: a\n"), format!("feat: a\n\n{text}"));
    assert_eq!(put("feat: a"), format!("feat: a\n\n{text}"));
    assert_eq!(put("feat: a\n\nbody\n\n\n"), format!("feat: a\n\nbody\n\n{text}"));
    let signed_off = "feat: a\n\nSigned-off-by: Ann <a@b>\n";
    assert_eq!(put(signed_off), format!("{signed_off}{text}"));
    let comments = "# Please enter the message.\n#\n# On branch main\n";
    assert_eq!(put(&format!("a\n\n{comments}")), format!("a\n\n{comments}\n{text}"));
    assert_eq!(put(&format!("a\n{comments}")), format!("a\n{comments}\n{text}"));
    // A line that git keeps, with -m, stays above the block.
    assert_eq!(put("a\n\n#7 is closed\n"), format!("a\n\n#7 is closed\n\n{text}"));
    let joined = format!("{signed_off}{text}\n{comments}");
    assert_eq!(put(&format!("{signed_off}\n{comments}")), joined);
    // An editor opens with an empty message: the title goes above.
    assert_eq!(put(&format!("\n{comments}")), format!("\n{comments}\n{text}"));
    assert_eq!(put(comments), format!("{comments}\n{text}"));
    assert_eq!(put(""), format!("\n\n{text}"));
    let cut = format!("a\n\n# {} >8 {}\n# x\n--- a/f\n+++ b/f\n", "-".repeat(24), "-".repeat(24));
    assert_eq!(put(&cut), format!("a\n\n{text}\n{}", &cut[3..]));
    assert!(has_block(put(&cut).as_bytes(), COMMENT) && !has_block(cut.as_bytes(), COMMENT));
    assert_eq!(put("a\n\n; words\n"), format!("a\n\n; words\n\n{text}"));
    let other = with_block(b"a\n\n; words\n# kept\n", &block, b";").unwrap();
    assert!(String::from_utf8(other).unwrap().ends_with(&format!("# kept\n\n{text}")));
    let ruled = with_block(b"a\n\n---\n\nb\n", &block, COMMENT);
    assert_eq!(ruled, Err(Fault::NoTrailers("it ends at a line of three hyphens")));
    assert_eq!(cleaned(cut.as_bytes(), COMMENT), b"a\n\n");
}

#[test]
fn a_block_that_would_not_be_good_is_not_written() {
    let with = |key, value: &'static str| {
        let mut block = block();
        block.set(key, value);
        check_values(&block)
    };
    assert_eq!(with(Key::Agent, "vera"), Ok(()));
    for bad in ["a\nTask: 7", "a\rb", "\u{1b}[31m", "\0"] {
        assert!(matches!(with(Key::Agent, bad), Err(BadValue::Control { .. })), "{bad:?}");
    }
    assert!(matches!(with(Key::Task, "B-1.2"), Err(BadValue::Fault(Fault::Task(_)))));
    assert!(matches!(with(Key::HumanReview, "explicit"), Err(BadValue::Fault(_))));
    assert_eq!(task_of(["B-0856", "src/**", "B-0856"]), Some("B-0856"));
    assert_eq!(task_of(["B-0856", "B-1"]), None);
    assert_eq!(task_of(["path:src/**"]), None);
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z-]{1,8}[ \t]{0,2}: ?[a-z ]{0,8}\r?\n",
        2 => "[ \t]{0,2}[a-z :]{0,8}\n",
        2 => Just("\n".to_owned()),
        1 => Just("Signed-off-by: a\n".to_owned()),
        1 => Just("(cherry picked from commit 1)\n".to_owned()),
        1 => "#[a-z: ]{0,6}\n",
        1 => "-{2,4} ?\n",
        1 => Just("Conflicts:\n".to_owned()),
        1 => "\\PC{0,6}",
    ]
}

fn message() -> impl Strategy<Value = String> {
    proptest::collection::vec(line(), 0..14).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_judge(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let read = as_read(&text);
        for found in trailers(&read, COMMENT) {
            prop_assert!(!found.key.is_empty() && found.end <= read.len());
        }
        let _ = (judge(&text), judge_pr_body(&text), anywhere(&text), Signed::of(&text));
    }

    #[test]
    fn what_is_written_reads_back_or_is_refused(text in message()) {
        let block = block();
        prop_assume!(!cleaned(text.as_bytes(), COMMENT).is_empty());
        if let Ok(whole) = with_block(text.as_bytes(), &block, COMMENT) {
            let clean = cleaned(&whole, COMMENT);
            prop_assert!(judge_message(&clean, COMMENT).is_ok());
            prop_assert!(anywhere(&whole).is_some_and(|found| found.is_complete()));
            prop_assert!(has_block(&whole, COMMENT));
            prop_assert!(Signed::of(&clean).strict.is_some());
        }
    }

    #[test]
    fn a_commit_without_the_name_of_the_version_is_unsigned_in_both_ways(text in message()) {
        let signed = Signed::of(text.as_bytes());
        prop_assert_eq!((signed.strict, signed.elsewhere), (None, None));
    }
}
