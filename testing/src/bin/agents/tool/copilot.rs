//! GitHub Copilot CLI.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Tool;
use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;
use crate::record::{GOES_ON, GREETING, MAIL, WARNING};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "copilot",
    program: String::new(),
    first_args: Vec::new(),
    prepare,
    arguments,
    settings: ".copilot/hooks/zeta.json",
    before: None,
    edit,
    shell,
    served: |name| format!("zeta-{name}"),
    terminal: None,
    lacks: &[GREETING, WARNING, MAIL, GOES_ON],
};

fn prepare(_place: &Place) -> Outcome<()> {
    Ok(())
}

fn arguments(_place: &Place, port: u16, command: &mut Command) {
    command
        .args(["-p", "hi", "--allow-all-paths"])
        .env("COPILOT_OFFLINE", "true")
        .env("COPILOT_PROVIDER_BASE_URL", format!("http://127.0.0.1:{port}/v1"))
        .env("COPILOT_PROVIDER_API_KEY", "none")
        .env("COPILOT_MODEL", "stand-in")
        .env("COPILOT_ALLOW_ALL", "true");
}

fn edit(path: &Path, text: &str) -> Turn {
    Turn::Call("create".to_owned(), json!({"path": path, "file_text": text}))
}

fn shell(command: &str) -> Turn {
    Turn::Call("bash".to_owned(), json!({"command": command, "description": "a command"}))
}
