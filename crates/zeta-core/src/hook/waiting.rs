//! An agent that waits for a person: what its record says, and when that counts.

use std::cmp::Reverse;

use super::{Question, cut};
use crate::presence::Liveness;
use crate::record::Fields;
use crate::time::{format_utc, parse_utc};

/// The key of what the agent waits for.
pub const WAITS_FOR: &str = "waits_for";
/// The key of the time since when.
pub const WAITS_SINCE: &str = "waits_since";
/// Longest question that is kept, in characters.
const QUESTION_MAX: usize = 200;

/// What an agent waits for a person to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The question, as the tool says it.
    pub question: String,
    /// How long it has waited, in ms, where the clock can tell.
    pub age_ms: Option<u64>,
}

/// Writes that the agent waits. A reminder of a question changes nothing.
pub fn set(fields: &mut Fields<'_>, question: &Question, wall_us: i64) {
    let text = match question {
        Question::General(_) if fields.raw(WAITS_FOR).is_some() => return,
        Question::General(text) | Question::Exact(text) => text,
    };
    fields.set_text(WAITS_FOR, &cut(text, QUESTION_MAX));
    fields.set_text(WAITS_SINCE, &format_utc(wall_us));
}

/// Takes out that the agent waits.
pub fn clear(fields: &mut Fields<'_>) {
    fields.remove(WAITS_FOR);
    fields.remove(WAITS_SINCE);
}

/// Judges whether an agent waits for a person: its record says so, and it is not gone.
pub fn judge(fields: &Fields<'_>, liveness: Liveness, wall_us: i64) -> Option<Waiting> {
    let question = fields.text(WAITS_FOR)?.into_owned();
    if liveness == Liveness::Gone {
        return None;
    }
    let since_us = fields.text(WAITS_SINCE).and_then(|text| parse_utc(&text).ok());
    let age_us = since_us.map(|since_us| wall_us.saturating_sub(since_us));
    let age_ms = age_us.and_then(|age_us| u64::try_from(age_us).ok()).map(|age_us| age_us / 1000);
    Some(Waiting { question, age_ms })
}

/// Returns the place of a waiting agent among others: the one that has waited longest comes first,
/// and all of them come before an agent that does not wait.
pub fn rank(waiting: &Waiting) -> Reverse<Option<u64>> {
    Reverse(Some(waiting.age_ms.map_or(0, |age_ms| age_ms.saturating_add(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_waits_as_long_as_its_record_says_so_and_it_is_not_gone() {
        let mut fields = Fields::new("persona");
        assert_eq!(judge(&fields, Liveness::Live, 9_000_000), None);
        set(&mut fields, &Question::General("run it?".into()), 2_000_000);
        let waits = |age_ms| Some(Waiting { question: "run it?".into(), age_ms });
        for (liveness, wall_us, expected) in [
            (Liveness::Live, 9_000_000, waits(Some(7_000))),
            (Liveness::Hung, 9_000_000, waits(Some(7_000))),
            (Liveness::Silent, 9_000_000, waits(Some(7_000))),
            (Liveness::Live, 1_000_000, waits(None)),
            (Liveness::Gone, 9_000_000, None),
        ] {
            assert_eq!(judge(&fields, liveness, wall_us), expected, "{liveness:?} {wall_us}");
        }
        fields.set_text(WAITS_SINCE, "yesterday");
        assert_eq!(judge(&fields, Liveness::Live, 9_000_000), waits(None));
        clear(&mut fields);
        assert_eq!(judge(&fields, Liveness::Live, 9_000_000), None);
    }

    #[test]
    fn a_reminder_changes_nothing_and_another_question_does() {
        let mut fields = Fields::new("persona");
        let mut asked = |question, wall_us| {
            set(&mut fields, &question, wall_us);
            let waits = judge(&fields, Liveness::Live, 9_000_000).unwrap();
            (waits.question.chars().count(), waits.age_ms)
        };
        assert_eq!(asked(Question::Exact("one".into()), 2_000_000), (3, Some(7_000)));
        assert_eq!(asked(Question::General("a person".into()), 5_000_000), (3, Some(7_000)));
        let long = Question::Exact("x".repeat(300));
        assert_eq!(asked(long, 6_000_000), (QUESTION_MAX, Some(3_000)));
    }
}
