//! Gemini CLI.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Tool;
use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;

/// The settings of a person: this tool reads comments.
const SETTINGS: &str = "{\n  // how I log in\n  \"security\": {\"auth\": {\"selectedType\": \
    \"gemini-api-key\"}}\n\t/* no more */\n}\n";

/// The tool.
pub const TOOL: Tool = Tool {
    name: "gemini",
    program: String::new(),
    first_args: Vec::new(),
    prepare,
    arguments,
    settings: ".gemini/settings.json",
    before: Some(SETTINGS),
    edit,
    shell,
    served: |name| format!("mcp_zeta_{name}"),
    lacks: &[],
};

fn prepare(_place: &Place) -> Outcome<()> {
    Ok(())
}

fn arguments(_place: &Place, port: u16, command: &mut Command) {
    command
        .args(["-y", "-o", "stream-json", "-p", "hi"])
        .env("GOOGLE_GEMINI_BASE_URL", format!("http://127.0.0.1:{port}"))
        .env("GEMINI_API_KEY", "none")
        .env("GEMINI_CLI_TRUST_WORKSPACE", "true");
}

fn edit(path: &Path, text: &str) -> Turn {
    Turn::Call("write_file".to_owned(), json!({"file_path": path, "content": text}))
}

fn shell(command: &str) -> Turn {
    Turn::Call("run_shell_command".to_owned(), json!({"command": command}))
}
