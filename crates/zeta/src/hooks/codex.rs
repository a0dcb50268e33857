//! The dialect of Codex CLI: the shape of Claude Code, with its own tools.

use serde_json::Value;
use zeta_core::hook::{Action, Event, Moment, patch};

use super::claude;
use super::field::{shell, text};

/// The name of an event in the tool's file of hooks; `None` if it has none.
pub(super) fn event(moment: Moment) -> Option<&'static str> {
    claude::event(moment)
}

/// Reads an event.
pub(super) fn read(moment: Moment, input: &Value) -> Event {
    let tool = input.get("tool_input").unwrap_or(&Value::Null);
    let action = match text(input, "tool_name").as_deref() {
        Some("apply_patch") => {
            let patch = ["command", "input", "patch"].iter().find_map(|key| text(tool, key));
            Action::Edit(patch::paths(&patch.unwrap_or_default()))
        }
        Some("Bash") => shell(tool, &["command", "cmd"], &["workdir"]),
        _ => Action::Other,
    };
    claude::read_with(moment, input, action)
}
