//! Whether an agent works or waits, as the hooks of its tool say: its *turn* runs from a prompt to
//! the end of the answer.

use super::Moment;
use crate::record::Fields;
use crate::time::NS_PER_MS;

/// The key of the state of the turn.
pub const TURN: &str = "turn";
/// The key of the number of turns that a prompt began.
pub const TURNS: &str = "turns";

/// The key of how often in a row the end of the turn was put off because there was mail.
pub const STOPS: &str = "stops";
/// The key of when it was put off last, in ns of the boot clock.
pub const PUT_OFF_NS: &str = "put_off_boot_ns";
/// How often in a row the end of a turn may be put off.
const STOPS_MAX: u64 = 8;
/// How long a hook may last, with some room.
const HOOK_NS: u64 = 3_000 * NS_PER_MS;

/// The state of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The agent works, or asks its person something.
    Running,
    /// The agent waits for a prompt.
    Over,
}

impl Turn {
    /// The word of records.
    pub fn word(self) -> &'static str {
        match self {
            Turn::Running => "running",
            Turn::Over => "over",
        }
    }
}

/// Reads the turn of a record; `None` if no hook has called.
pub fn of(fields: &Fields<'_>) -> Option<Turn> {
    let word = fields.text(TURN)?;
    [Turn::Running, Turn::Over].into_iter().find(|turn| turn.word() == word)
}

/// Reads how many turns prompts began.
pub fn count(fields: &Fields<'_>) -> u64 {
    fields.number(TURNS).unwrap_or(0)
}

/// Writes what an event says about the turn.
pub fn note(fields: &mut Fields<'_>, moment: Moment) {
    let turn = match moment {
        Moment::Prompt => {
            fields.set_number(TURNS, count(fields).saturating_add(1));
            Turn::Running
        }
        Moment::BeforeTool | Moment::AfterTool => Turn::Running,
        Moment::Stop => Turn::Over,
        // A session also begins anew within a turn, as after its context was made shorter.
        Moment::SessionStart if of(fields).is_none() => Turn::Over,
        // A question is a part of a turn; a tool that has waited for long says so between turns.
        Moment::SessionStart | Moment::Waiting => return,
        Moment::SessionEnd => return fields.remove(TURN),
    };
    fields.set_text(TURN, turn.word());
}

/// Decides whether the end of a turn may be put off for mail: the number of this time in a row.
/// `again` says that it was put off before.
pub fn decide_put_off(fields: &Fields<'_>, again: bool) -> Option<u64> {
    let times = if again { fields.number(STOPS).unwrap_or(0) } else { 0 };
    (times < STOPS_MAX).then_some(times + 1)
}

/// Writes that the end of the turn is put off.
pub fn put_off(fields: &mut Fields<'_>, times: u64, now_ns: u64) {
    fields.set_number(STOPS, times);
    fields.set_number(PUT_OFF_NS, now_ns);
    fields.set_text(TURN, Turn::Running.word());
}

/// Writes that the turn is over, unless another hook has put off this very end. A tool whose user
/// and whose project have hooks of zeta calls both at once, and one of them gives the mail. The
/// next end comes after the answer to it: its hook, which began at `began_ns`, began later. The
/// count stays while ends of one turn were put off (`again`), or its other hook would begin anew.
pub fn end(fields: &mut Fields<'_>, began_ns: u64, again: bool) {
    let put_off_ns = fields.number(PUT_OFF_NS);
    let beside = put_off_ns.and_then(|put_off_ns| put_off_ns.checked_sub(began_ns));
    if beside.is_none_or(|beside_ns| beside_ns > HOOK_NS) {
        note(fields, Moment::Stop);
        if !again {
            fields.remove(STOPS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_put_off_eight_times_in_a_row_at_most() {
        let mut fields = Fields::new("persona");
        for (again, times) in [(false, 1), (true, 2), (true, 3), (false, 1)] {
            assert_eq!(decide_put_off(&fields, again), Some(times));
            put_off(&mut fields, times, 0);
            assert_eq!(of(&fields), Some(Turn::Running));
        }
        fields.set_number(STOPS, 8);
        assert_eq!(
            (decide_put_off(&fields, true), decide_put_off(&fields, false)),
            (None, Some(1))
        );
    }

    #[test]
    fn an_end_that_another_hook_put_off_is_none() {
        const S: u64 = 1_000_000_000;
        for (put_off_ns, began_ns, over) in [
            (None, 100 * S, true),
            (Some(100 * S), 99 * S, false),
            (Some(100 * S), 100 * S, false),
            (Some(100 * S), 100 * S + 1, true),
            // Of another boot.
            (Some(100 * S), 9 * S, true),
        ] {
            let mut fields = Fields::new("persona");
            note(&mut fields, Moment::Prompt);
            if let Some(put_off_ns) = put_off_ns {
                put_off(&mut fields, 4, put_off_ns);
            }
            end(&mut fields, began_ns, true);
            let is_over = of(&fields) == Some(Turn::Over);
            assert_eq!(is_over, over, "{put_off_ns:?} {began_ns}");
            assert_eq!(fields.number(STOPS), put_off_ns.map(|_| 4), "{put_off_ns:?} {began_ns}");
            end(&mut fields, 200 * S, false);
            assert_eq!((of(&fields), fields.number(STOPS)), (Some(Turn::Over), None));
        }
    }

    #[test]
    fn a_turn_runs_from_a_prompt_to_the_stop() {
        use Moment::{AfterTool, BeforeTool, Prompt, SessionEnd, SessionStart, Stop, Waiting};
        let (running, over) = (Some(Turn::Running), Some(Turn::Over));
        let mut fields = Fields::new("persona");
        assert_eq!((of(&fields), count(&fields)), (None, 0));
        for (moment, turn, turns) in [
            (Waiting, None, 0),
            (SessionStart, over, 0),
            (Waiting, over, 0),
            (Prompt, running, 1),
            (BeforeTool, running, 1),
            (Waiting, running, 1),
            (SessionStart, running, 1),
            (AfterTool, running, 1),
            (Stop, over, 1),
            // A turn that no prompt began.
            (BeforeTool, running, 1),
            (Stop, over, 1),
            (Prompt, running, 2),
            (SessionEnd, None, 2),
        ] {
            note(&mut fields, moment);
            assert_eq!((of(&fields), count(&fields)), (turn, turns), "{moment:?}");
        }
        fields.set_text(TURN, "garbage");
        assert_eq!(of(&fields), None);
    }
}
