//! Claude Code.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Terminal, Tool};
use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;

/// The settings of a person, in the form of a person: an uninstall brings back each byte.
const SETTINGS: &str = "{\n\t\"permissions\": { \"allow\": [\"Bash(ls:*)\"] },\r\n\
    \"hooks\": {\"Stop\":[ {\"hooks\":[{\"type\":\"command\",\"command\":\"true\"}]}]}\n }";

/// A key of 20 characters: so many of its end the tool remembers.
const KEY: &str = "none-none-none-none-";

/// The tool.
pub const TOOL: Tool = Tool {
    name: "claude",
    program: String::new(),
    first_args: Vec::new(),
    prepare,
    arguments,
    settings: ".claude/settings.json",
    before: Some(SETTINGS),
    edit,
    shell,
    served: |name| format!("mcp__zeta__{name}"),
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
    command
        .args(["-p", "hi", "--output-format", "stream-json", "--verbose"])
        .args(["--permission-mode", "bypassPermissions"]);
    environment(port, command);
}

/// Without it the tool asks for a theme, and whether it may trust the directory and the key.
fn prepare_terminal(place: &Place) -> Outcome<()> {
    let repo = place.repo();
    let state = json!({
        "hasCompletedOnboarding": true,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [KEY], "rejected": []},
        "projects": {repo.to_string_lossy(): {"hasTrustDialogAccepted": true}},
    });
    place.write(".claude.json", &state.to_string())
}

fn in_terminal(port: u16, command: &mut Command) {
    command.args(["--permission-mode", "default", "hi"]);
    environment(port, command);
}

fn asks() -> Turn {
    shell("touch new && printf 'it-%s' ran")
}

fn environment(port: u16, command: &mut Command) {
    command
        .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{port}"))
        .env("ANTHROPIC_API_KEY", KEY)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        // Otherwise the tools of servers are there only after a search for them.
        .env("ENABLE_TOOL_SEARCH", "false")
        // Without it, root is refused.
        .env("IS_SANDBOX", "1");
}

fn edit(path: &Path, text: &str) -> Turn {
    // A file that was not read before may only be made anew, so the scenes write new files.
    Turn::Call("Write".to_owned(), json!({"file_path": path, "content": text}))
}

fn shell(command: &str) -> Turn {
    Turn::Call("Bash".to_owned(), json!({"command": command}))
}
