//! OpenCode.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Tool;
use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;
use crate::record::{GOES_ON, GREETING};

/// The tool.
pub const TOOL: Tool = Tool {
    name: "opencode",
    program: String::new(),
    first_args: Vec::new(),
    prepare,
    arguments,
    settings: ".config/opencode/plugin/zeta.js",
    before: None,
    edit,
    shell,
    served: |name| format!("zeta_{name}"),
    terminal: None,
    lacks: &[GREETING, GOES_ON],
};

fn prepare(place: &Place) -> Outcome<()> {
    // Where there are plugins, the tool asks the network for a package at each start. Without a
    // network it tries that again for 100 s, unless npm is set otherwise.
    place.write(".npmrc", "fetch-retries=0\n")
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
