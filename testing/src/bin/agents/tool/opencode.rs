//! OpenCode.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Tool;
use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;
use crate::record::{GREETING, NAME};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "opencode",
    program: String::new(),
    first_args: Vec::new(),
    prepare,
    arguments,
    settings: ".config/opencode/plugin/zeta.js",
    edit,
    shell,
    lacks: &[GREETING, NAME],
};

fn prepare(place: &Place, tool: &Tool) -> Outcome<()> {
    // The tool brings this package from the network for every directory with plugins.
    let packages = Path::new(&tool.program).ancestors().nth(3).unwrap_or(Path::new("/"));
    for dir in [place.home().join(".config/opencode"), place.repo().join(".opencode")] {
        fs::create_dir_all(&dir)?;
        symlink(packages, dir.join("node_modules"))?;
    }
    Ok(())
}

fn arguments(_place: &Place, port: u16, command: &mut Command) {
    let config = json!({
        "model": "stand-in/model",
        "autoupdate": false,
        "permission": {"edit": "allow", "bash": "allow"},
        "provider": {"stand-in": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": format!("http://127.0.0.1:{port}/v1"), "apiKey": "none"},
            "models": {"model": {"tool_call": true}},
        }},
    });
    command
        .args(["run", "hi"])
        .env("OPENCODE_CONFIG_CONTENT", config.to_string())
        .env("OPENCODE_DISABLE_AUTOUPDATE", "1")
        .env("OPENCODE_DISABLE_MODELS_FETCH", "1");
}

fn edit(path: &Path, text: &str) -> Turn {
    Turn::Call("write".to_owned(), json!({"filePath": path, "content": text}))
}

fn shell(command: &str) -> Turn {
    Turn::Call("bash".to_owned(), json!({"command": command, "description": "a command"}))
}
