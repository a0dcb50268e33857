//! The dialect of the plugin that `zeta hook install opencode` writes for OpenCode.

use serde_json::{Value, json};
use zeta_core::hook::{Action, Answer, Event, Moment, Question, patch};

use super::field::{edit, shell, text};

/// Reads an event: `{session, inner, cwd, tool, args, question}`. The session is the outermost one;
/// `inner` says that another one, which it made, does it.
pub(super) fn read(moment: Moment, input: &Value) -> Event {
    let args = input.get("args").unwrap_or(&Value::Null);
    let action = match text(input, "tool").as_deref() {
        Some("write" | "edit") => edit(args, &["filePath"]),
        Some("patch" | "apply_patch") => {
            let patch = ["patchText", "patch"].iter().find_map(|key| text(args, key));
            Action::Edit(patch::paths(&patch.unwrap_or_default()))
        }
        Some("bash") => shell(args, &["command"], &["workdir"]),
        _ => Action::Other,
    };
    Event {
        moment,
        session: text(input, "session").unwrap_or_default(),
        cwd: text(input, "cwd"),
        action,
        question: text(input, "question").map(Question::Exact),
        again: false,
        inner: input.get("inner") == Some(&Value::Bool(true)),
    }
}

/// Writes an answer; the plugin throws `deny`, and adds `tell` to what the tool answers.
pub(super) fn write(answer: &Answer) -> Option<Value> {
    match answer {
        Answer::Nothing => None,
        Answer::Tell(text) => Some(json!({ "tell": text })),
        Answer::Refuse(reason) => Some(json!({ "deny": reason })),
    }
}
