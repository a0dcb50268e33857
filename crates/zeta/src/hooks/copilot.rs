//! The dialect of GitHub Copilot CLI. Its input does not name the event.

use serde_json::{Value, json};
use zeta_core::hook::{Action, Answer, Event, Moment};

use super::field::{edit, shell, text};

/// The name of an event in the tool's file of hooks; `None` if it has none.
pub(super) fn event(moment: Moment) -> Option<&'static str> {
    Some(match moment {
        Moment::SessionStart => "sessionStart",
        Moment::Prompt => "userPromptSubmitted",
        Moment::BeforeTool => "preToolUse",
        Moment::AfterTool => "postToolUse",
        Moment::Stop => "agentStop",
        Moment::SessionEnd => "sessionEnd",
        Moment::Waiting => return None,
    })
}

/// Reads an event. The arguments of a tool are an object, or the text of one.
pub(super) fn read(moment: Moment, input: &Value) -> Event {
    let args = match input.get("toolArgs") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(args) => args.clone(),
        None => Value::Null,
    };
    let action = match text(input, "toolName").as_deref() {
        Some("create" | "edit" | "write") => edit(&args, &["path", "file_path"]),
        Some("bash") => shell(&args, &["command"], &[]),
        _ => Action::Other,
    };
    Event {
        moment,
        session: text(input, "sessionId").unwrap_or_default(),
        cwd: text(input, "cwd"),
        action,
        question: None,
        again: false,
        inner: false,
    }
}

/// Writes an answer. It has no way to tell the model something while the tool goes on.
pub(super) fn write(moment: Moment, answer: &Answer) -> Option<Value> {
    match (moment, answer) {
        (Moment::BeforeTool, Answer::Refuse(reason)) => {
            Some(json!({ "permissionDecision": "deny", "permissionDecisionReason": reason }))
        }
        _ => None,
    }
}
