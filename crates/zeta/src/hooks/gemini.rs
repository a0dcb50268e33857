//! The dialect of Gemini CLI. It ignores a refusal in the shape of Claude Code.

use serde_json::{Value, json};
use zeta_core::hook::{Action, Answer, Event, Moment, Question};

use super::claude;
use super::field::{edit, shell, text};

/// The name of an event in the settings of the tool; `None` if it has none.
pub(super) fn event(moment: Moment) -> Option<&'static str> {
    Some(match moment {
        Moment::SessionStart => "SessionStart",
        Moment::Prompt => "BeforeAgent",
        Moment::BeforeTool => "BeforeTool",
        Moment::AfterTool => "AfterTool",
        Moment::Stop => "AfterAgent",
        Moment::Waiting => "Notification",
        Moment::SessionEnd => "SessionEnd",
    })
}

/// Reads an event.
pub(super) fn read(moment: Moment, input: &Value) -> Event {
    let tool = input.get("tool_input").unwrap_or(&Value::Null);
    let action = match text(input, "tool_name").as_deref() {
        Some("write_file" | "replace") => edit(tool, &["file_path"]),
        Some("run_shell_command") => shell(tool, &["command"], &["dir_path", "directory"]),
        _ => Action::Other,
    };
    let mut event = claude::read_with(moment, input, action);
    if let Some(details) = input.get("details") {
        let what = ["command", "filePath", "fileName"].iter().find_map(|key| text(details, key));
        event.question = text(details, "title")
            .filter(|_| moment == Moment::Waiting)
            .map(|title| Question::Exact(what.map_or(title.clone(), |w| format!("{title}: {w}"))))
            .or(event.question);
    }
    event
}

/// Writes an answer.
pub(super) fn write(moment: Moment, answer: &Answer) -> Option<Value> {
    match (moment, answer) {
        (Moment::BeforeTool | Moment::Stop, Answer::Refuse(reason)) => {
            Some(json!({ "decision": "deny", "reason": reason }))
        }
        // Before a tool no text reaches the model: the person reads it.
        (Moment::BeforeTool, Answer::Tell(text)) => Some(json!({ "systemMessage": text })),
        (
            Moment::SessionStart | Moment::Prompt | Moment::AfterTool,
            Answer::Tell(text) | Answer::Refuse(text),
        ) => Some(json!({
            "hookSpecificOutput": { "hookEventName": event(moment)?, "additionalContext": text }
        })),
        _ => None,
    }
}
