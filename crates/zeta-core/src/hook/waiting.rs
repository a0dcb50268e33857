//! An agent that waits for a person: what its record says, and when that counts.

use std::cmp::Reverse;

use super::{Moment, Question, cut};
use crate::presence::Liveness;
use crate::record::Fields;
use crate::time::{format_utc, parse_utc};

/// The key of what the agent waits for.
pub const WAITS_FOR: &str = "waits_for";
/// The key of the time since when.
pub const WAITS_SINCE: &str = "waits_since";
/// The key that is there if the question is of a call of a tool, whose end is the answer.
pub const WAITS_FOR_CALL: &str = "waits_for_call";
/// Calls beside the one that asks begin within this time, in ms. One that begins later is of a
/// model that has got its answer.
const BESIDE_MS: i64 = 10_000;
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
        Question::General(text) | Question::Exact(text) | Question::OfCall(text) => text,
    };
    match question {
        Question::OfCall(_) => fields.set_text(WAITS_FOR_CALL, "true"),
        _ => fields.remove(WAITS_FOR_CALL),
    }
    fields.set_text(WAITS_FOR, &cut(text, QUESTION_MAX));
    fields.set_text(WAITS_SINCE, &format_utc(wall_us));
}

/// Takes out that the agent waits.
pub fn clear(fields: &mut Fields<'_>) {
    fields.remove(WAITS_FOR);
    fields.remove(WAITS_SINCE);
    fields.remove(WAITS_FOR_CALL);
}

/// What an event says of the agent's question.
#[derive(Debug, Clone, Copy)]
pub struct Sign<'a> {
    /// When the tool calls.
    pub moment: Moment,
    /// An agent does it that the session's own one started.
    pub inner: bool,
    /// The question that the call of the tool would put.
    pub question: Option<&'a Question>,
}

/// Judges whether an event shows that the agent waits no more. While a person is asked about a call
/// of a tool, calls beside it begin and end, and so do those of agents that the agent started.
pub fn judge_answered(fields: &Fields<'_>, sign: &Sign<'_>, wall_us: i64) -> bool {
    let Some(asked) = fields.text(WAITS_FOR) else { return false };
    let of_call = fields.raw(WAITS_FOR_CALL).is_some();
    match sign.moment {
        Moment::Waiting => false,
        Moment::AfterTool if of_call => matches!(
            sign.question, Some(Question::OfCall(text)) if cut(text, QUESTION_MAX) == asked
        ),
        Moment::BeforeTool if of_call => {
            let since_us = fields.text(WAITS_SINCE).and_then(|text| parse_utc(&text).ok());
            let beside = |since_us: i64| wall_us.saturating_sub(since_us) < BESIDE_MS * 1000;
            !sign.inner && !since_us.is_some_and(beside)
        }
        Moment::BeforeTool | Moment::AfterTool => true,
        Moment::SessionStart | Moment::Prompt | Moment::Stop | Moment::SessionEnd => !sign.inner,
    }
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
    fn a_question_about_a_call_waits_for_the_end_of_that_call() {
        use Moment::{AfterTool, BeforeTool, Prompt, SessionEnd, SessionStart, Stop};
        let long = "x".repeat(300);
        let call = |text: &str| Some(Question::OfCall(text.to_owned()));
        let (asked, other) = (call(&long), call("permission for Read: /a"));
        let mut fields = Fields::new("persona");
        let sign = |moment, inner| Sign { moment, inner, question: asked.as_ref() };
        assert!(!judge_answered(&fields, &sign(Prompt, false), 0), "it waits for nothing");
        set(&mut fields, asked.as_ref().unwrap(), 1_000_000);
        for (moment, inner, question, wall_s, answered) in [
            (AfterTool, false, &asked, 2, true),
            (AfterTool, true, &asked, 2, true),
            (AfterTool, false, &other, 2, false),
            (AfterTool, false, &other, 60, false),
            (AfterTool, true, &other, 60, false),
            (AfterTool, false, &None, 60, false),
            (BeforeTool, false, &other, 2, false),
            // A person said no, and the agent does something else.
            (BeforeTool, false, &other, 11, true),
            (BeforeTool, true, &other, 11, false),
            (Prompt, false, &None, 2, true),
            (Stop, false, &None, 2, true),
            (Stop, true, &None, 2, false),
            (SessionStart, false, &None, 2, true),
            (SessionEnd, false, &None, 2, true),
            (Moment::Waiting, false, &asked, 60, false),
        ] {
            let sign = Sign { moment, inner, question: question.as_ref() };
            let judged = judge_answered(&fields, &sign, wall_s * 1_000_000);
            assert_eq!(judged, answered, "{sign:?} {wall_s}");
        }
        // Nothing says to which call another question belongs, so any sign ends it.
        for question in [Question::Exact("q".into()), Question::General("q".into())] {
            clear(&mut fields);
            set(&mut fields, &question, 1_000_000);
            for (moment, inner) in [(AfterTool, true), (BeforeTool, false), (Stop, false)] {
                assert!(judge_answered(&fields, &sign(moment, inner), 0), "{moment:?}");
            }
        }
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
