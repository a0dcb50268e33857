//! The dialect of Claude Code. Codex answers in the same shape.

use serde_json::{Value, json};
use zeta_core::hook::{Action, Answer, Event, Moment, Question, permission};

use super::field::{edit, object, shell, text};

/// The name of an event in the settings of the tool; `None` if it has none.
pub(super) fn event(moment: Moment) -> Option<&'static str> {
    Some(match moment {
        Moment::SessionStart => "SessionStart",
        Moment::Prompt => "UserPromptSubmit",
        Moment::BeforeTool => "PreToolUse",
        Moment::AfterTool => "PostToolUse",
        Moment::Stop => "Stop",
        Moment::Waiting => "PermissionRequest",
        Moment::SessionEnd => "SessionEnd",
    })
}

/// The event that repeats a question after six seconds, and the only one for questions of an MCP
/// server and of agents below this one.
pub(super) const NOTIFICATION: &str = "Notification";
/// The notifications that need a person.
pub(super) const NEEDS_PERSON: [&str; 5] = [
    "permission_prompt",
    "worker_permission_prompt",
    "agent_needs_input",
    "elicitation_dialog",
    "elicitation_url_dialog",
];

/// Reads an event.
pub(super) fn read(moment: Moment, input: &Value) -> Event {
    let tool = input.get("tool_input").unwrap_or(&Value::Null);
    let action = match text(input, "tool_name").as_deref() {
        Some("Edit" | "Write" | "MultiEdit") => edit(tool, &["file_path"]),
        Some("NotebookEdit") => edit(tool, &["notebook_path"]),
        Some("Bash") => shell(tool, &["command"], &[]),
        _ => Action::Other,
    };
    read_with(moment, input, action)
}

/// Reads all of an event but what the tool does.
pub(super) fn read_with(moment: Moment, input: &Value, action: Action) -> Event {
    Event {
        moment,
        session: text(input, "session_id").unwrap_or_default(),
        cwd: text(input, "cwd"),
        action,
        question: question(input),
        again: input.get("stop_hook_active") == Some(&Value::Bool(true)),
        inner: text(input, "agent_id").is_some(),
    }
}

/// What a person is asked: by a notification, or before a tool runs.
fn question(input: &Value) -> Option<Question> {
    let Some(tool) = text(input, "tool_name") else {
        // Earlier versions do not name the kind.
        let kind = text(input, "notification_type");
        let needs = kind.is_none_or(|kind| NEEDS_PERSON.contains(&kind.as_str()));
        return text(input, "message").filter(|_| needs).map(Question::General);
    };
    let args = input.get("tool_input").unwrap_or(&Value::Null);
    if let Some(asked) = args.pointer("/questions/0").and_then(|asked| text(asked, "question")) {
        return Some(Question::OfCall(asked));
    }
    let what = ["command", "file_path", "notebook_path", "url", "description"];
    let what = what.iter().find_map(|key| text(args, key));
    Some(permission(&tool, what.as_deref()))
}

/// Writes an answer.
pub(super) fn write(moment: Moment, answer: &Answer) -> Option<Value> {
    let name = event(moment)?;
    let inner = match (moment, answer) {
        (_, Answer::Nothing) => return None,
        (Moment::Stop, Answer::Refuse(reason)) => {
            return Some(json!({ "decision": "block", "reason": reason }));
        }
        (Moment::BeforeTool, Answer::Refuse(reason)) => json!({
            "hookEventName": name,
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }),
        (
            Moment::SessionStart | Moment::Prompt | Moment::BeforeTool | Moment::AfterTool,
            Answer::Tell(text) | Answer::Refuse(text),
        ) => json!({ "hookEventName": name, "additionalContext": text }),
        _ => return None,
    };
    Some(object("hookSpecificOutput", inner))
}
