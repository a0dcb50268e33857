//! Whether an agent works or waits, as the hooks of its tool say: its *turn* runs from a prompt to
//! the end of the answer.

use super::Moment;
use crate::record::Fields;

/// The key of the state of the turn.
pub const TURN: &str = "turn";
/// The key of the number of turns that a prompt began.
pub const TURNS: &str = "turns";

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

#[cfg(test)]
mod tests {
    use super::*;

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
