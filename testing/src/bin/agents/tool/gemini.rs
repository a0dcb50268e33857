//! Gemini CLI.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Terminal, Tool};
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
    terminal: Some(Terminal {
        prepare: prepare_terminal,
        arguments: in_terminal,
        asks,
        title: None,
    }),
    lacks: &[],
};

fn prepare(_place: &Place) -> Outcome<()> {
    Ok(())
}

fn arguments(_place: &Place, port: u16, command: &mut Command) {
    command.args(["-y", "-o", "stream-json", "-p", "hi"]);
    environment(port, command);
}

fn prepare_terminal(_place: &Place) -> Outcome<()> {
    Ok(())
}

fn in_terminal(port: u16, command: &mut Command) {
    command.args(["-i", "hi"]);
    environment(port, command);
}

fn asks() -> Turn {
    shell("touch new && printf 'it-ran'")
}

fn environment(port: u16, command: &mut Command) {
    command
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
