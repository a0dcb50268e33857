//! Claude Code.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Tool;
use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;

/// The settings of a person, in the form of a person: an uninstall brings back each byte.
const SETTINGS: &str = "{\n\t\"permissions\": { \"allow\": [\"Bash(ls:*)\"] },\r\n\
    \"hooks\": {\"Stop\":[ {\"hooks\":[{\"type\":\"command\",\"command\":\"true\"}]}]}\n }";

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
    lacks: &[],
};

fn prepare(_place: &Place) -> Outcome<()> {
    Ok(())
}

fn arguments(_place: &Place, port: u16, command: &mut Command) {
    command
        .args(["-p", "hi", "--output-format", "stream-json", "--verbose"])
        .args(["--permission-mode", "bypassPermissions"])
        .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{port}"))
        .env("ANTHROPIC_API_KEY", "none")
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
