//! Codex CLI.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Terminal, Tool};
use crate::Outcome;
use crate::model::Turn;
use crate::place::Place;

/// The hooks of a person, in the form of a person.
const HOOKS: &str = "{\n   \"hooks\": {\"Stop\" : [{\"hooks\":\n[{\"type\":\"command\",\
    \"command\":\"true\"}]}]}\n}\n";

/// What it asks its model in a terminal beside the conversation.
const TITLE: &str = "Generate a concise, single-line task title";

/// The tool.
pub const TOOL: Tool = Tool {
    name: "codex",
    program: String::new(),
    first_args: Vec::new(),
    prepare,
    arguments,
    settings: ".codex/hooks.json",
    before: Some(HOOKS),
    edit,
    shell,
    served: |name| format!("mcp__zeta__{name}"),
    terminal: Some(Terminal {
        prepare: prepare_terminal,
        arguments: in_terminal,
        asks,
        title: Some(TITLE),
    }),
    lacks: &[],
};

fn prepare(place: &Place) -> Outcome<()> {
    let repo = place.repo();
    // The address of the model is given at each start. The last entry answers a question of the
    // tool in a terminal, whether its person wants another model.
    let config = format!(
        "model = \"gpt-5.5\"\nmodel_provider = \"stand-in\"\n\n[model_providers.stand-in]\n\
         name = \"stand-in\"\nbase_url = \"http://127.0.0.1:1/v1\"\nenv_key = \"STAND_IN_KEY\"\n\
         wire_api = \"responses\"\n\n[projects.\"{}\"]\ntrust_level = \"trusted\"\n\n\
         [notice.model_migrations]\n\"gpt-5.5\" = \"gpt-6-sol\"\n",
        repo.display()
    );
    place.write(".codex/config.toml", &config)
}

fn arguments(_place: &Place, port: u16, command: &mut Command) {
    command.args(["exec", "--json", "--skip-git-repo-check", "-s", "danger-full-access"]);
    prompt(port, command);
}

fn prepare_terminal(_place: &Place) -> Outcome<()> {
    Ok(())
}

fn in_terminal(port: u16, command: &mut Command) {
    command.args(["-a", "on-request", "-s", "read-only"]);
    prompt(port, command);
}

fn asks() -> Turn {
    let mut arguments = json!({"cmd": "touch new && printf 'it-%s' ran"});
    arguments["sandbox_permissions"] = json!("require_escalated");
    arguments["justification"] = json!("It writes.");
    Turn::Call("exec_command".to_owned(), arguments)
}

fn prompt(port: u16, command: &mut Command) {
    let address = format!("model_providers.stand-in.base_url=\"http://127.0.0.1:{port}/v1\"");
    command
        // The trust in hooks is given by a person in the program itself.
        .args(["--dangerously-bypass-hook-trust", "-c", &address, "hi"])
        .env("STAND_IN_KEY", "none");
}

fn edit(path: &Path, text: &str) -> Turn {
    let path = path.display();
    let patch = format!("*** Begin Patch\n*** Add File: {path}\n+{text}\n*** End Patch\n");
    Turn::Call("apply_patch".to_owned(), Value::String(patch))
}

fn shell(command: &str) -> Turn {
    Turn::Call("exec_command".to_owned(), json!({"cmd": command}))
}
