//! What is drawn of a day with an outage.

use super::*;
use crate::schedule::tests::{label, many, outage_of, policy};
use crate::schedule::{Ticked, tick};

const MINUTE_US: i64 = 60_000_000;
const DAY_MS: u64 = 86_400_000;

/// A tick at a minute, and what is remembered of it.
fn remember(past: &mut Vec<Past>, minute: i64, ticked: Ticked) -> State {
    let (at_us, turn) = (minute * MINUTE_US, ticked.state.turn);
    past.extend(ticked.changes.into_iter().map(|change| Past { at_us, turn, change }));
    ticked.state
}

#[test]
fn what_was_stays_as_it_was_and_what_is_planned_follows() {
    let policy = policy(many(4), 3);
    let mut past = Vec::new();
    let state = remember(&mut past, 0, tick(&policy, &State::default(), &[], 0));
    let report = outage_of("p000", "anthropic");
    let state = remember(&mut past, 10, tick(&policy, &state, &[report], 600_000));
    // The next tick would begin a turn: post 3 gets another persona.
    let next = tick(&policy, &state, &[], DAY_MS);
    assert_eq!(next.state.posts[&3].persona, label("p003"));
    let picture = Picture::new(&policy, &next.state, &past, 30 * MINUTE_US, 2 * DAY_MS);
    assert_eq!((picture.from_us(), picture.posts), (0, 3));
    let of_post = |post| {
        let spans = picture.spans.iter().filter(move |span| span.post == post);
        spans.map(|span| {
            let line = span.who.choice.line.as_str();
            (span.who.persona.as_str(), line, span.from_us / MINUTE_US, span.is_planned)
        })
    };
    let third: Vec<_> = of_post(3).take(3).collect();
    assert_eq!(
        third,
        [
            ("p002", "anthropic", 0, false),
            ("p002", "openai", 10, false),
            ("p003", "openai", 30, true),
        ]
    );
    assert!(of_post(1).all(|(_, _, from, is_planned)| is_planned == (from >= 30)));
    let outage =
        Outage { line: label("anthropic"), from_us: 10 * MINUTE_US, to_us: 30 * MINUTE_US };
    assert_eq!(picture.outages, [outage]);
    assert!(picture.spans.iter().all(|span| span.to_us <= picture.to_us));
}

#[test]
fn a_trial_that_failed_is_one_outage_and_a_post_without_a_change_is_there() {
    let line = || label("anthropic");
    let down = |minute| Past {
        at_us: minute * MINUTE_US,
        turn: 1,
        change: Change::Down { line: line(), down_ms: 1 },
    };
    let up = Past { at_us: 9 * MINUTE_US, turn: 1, change: Change::Up { line: line() } };
    let past = [down(1), down(5), up, down(20)];
    let policy = policy(many(1), 1);
    let state = tick(&policy, &State::default(), &[], 0).state;
    let picture = Picture::new(&policy, &state, &past, 30 * MINUTE_US, 0);
    let times = |outage: &Outage| (outage.from_us / MINUTE_US, outage.to_us / MINUTE_US);
    assert_eq!(picture.outages.iter().map(times).collect::<Vec<_>>(), [(1, 9), (20, 30)]);
    let [span] = &picture.spans[..] else { panic!("{:?}", picture.spans) };
    assert_eq!((span.from_us, span.to_us), (MINUTE_US, 30 * MINUTE_US));
}

#[test]
fn a_drawing_is_whole_and_bounded_whatever_is_in_it() {
    for (count, posts, ahead_ms) in [(0, 0, 0), (1, 1, 0), (4, 3, 7 * DAY_MS), (9, 40, u64::MAX)] {
        let policy = policy(many(count), posts);
        let state = tick(&policy, &State::default(), &[], 0).state;
        for now_us in [0, 1_796_000_000_000_000, i64::MAX, i64::MIN] {
            let svg = svg::draw(&Picture::new(&policy, &state, &[], now_us, ahead_ms));
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
            let odd = svg.lines().find(|line| line.contains("NaN") || line.contains("inf"));
            assert_eq!((odd, svg.len() >> 21), (None, 0));
            for tag in ["g", "text", "title", "style"] {
                let opened = svg.matches(&format!("<{tag}>")).count()
                    + svg.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
            }
        }
    }
}
