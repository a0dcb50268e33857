//! The dialect of Cursor, from its documentation: the tool itself was not tried.

use serde_json::{Value, json};
use zeta_core::hook::{Action, Answer, Event, Moment};

use super::field::{edit, shell, text};

/// The name of an event in the tool's file of hooks; `None` if it has none.
pub(super) fn event(moment: Moment) -> Option<&'static str> {
    Some(match moment {
        Moment::SessionStart => "sessionStart",
        Moment::Prompt => "beforeSubmitPrompt",
        Moment::BeforeTool => "preToolUse",
        Moment::AfterTool => "postToolUse",
        Moment::Stop => "stop",
        Moment::SessionEnd => "sessionEnd",
        Moment::Waiting => return None,
    })
}

/// Reads an event.
pub(super) fn read(moment: Moment, input: &Value) -> Event {
    let tool = input.get("tool_input").unwrap_or(&Value::Null);
    let action = match text(input, "tool_name").as_deref() {
        Some("Write" | "Edit" | "Delete") => edit(tool, &["file_path", "path"]),
        Some("Shell") => shell(tool, &["command"], &["working_directory", "cwd"]),
        _ => Action::Other,
    };
    let root = || input.get("workspace_roots")?.get(0)?.as_str().map(str::to_owned);
    Event {
        moment,
        session: text(input, "conversation_id")
            .or_else(|| text(input, "session_id"))
            .unwrap_or_default(),
        cwd: text(input, "cwd").or_else(root),
        action,
        question: None,
        again: false,
        inner: false,
    }
}

/// Writes an answer.
pub(super) fn write(moment: Moment, answer: &Answer) -> Option<Value> {
    match (moment, answer) {
        (Moment::BeforeTool, Answer::Refuse(reason)) => Some(json!({
            "permission": "deny", "user_message": reason, "agent_message": reason
        })),
        (Moment::SessionStart | Moment::AfterTool, Answer::Tell(text)) => {
            Some(json!({ "additional_context": text }))
        }
        _ => None,
    }
}
