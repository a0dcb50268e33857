//! `zeta mcp install`: each tool's own command is called, and no file of a tool is touched.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::json::misfits;
use crate::support::{Out, Sandbox, run};

/// A program under this name that writes down how it was called, and ends with the status that the
/// text names for the call with this number.
fn program(sandbox: &Sandbox, name: &str, statuses: &str) {
    let dir = sandbox.dir.join("bin");
    std::fs::create_dir_all(&dir).unwrap();
    let log = sandbox.dir.join("calls");
    let text = format!(
        "#!/bin/sh\nfor word in {name} \"$@\"; do printf '<%s>' \"$word\"; done >>'{log}'\n\
         echo >>'{log}'\nset -- {statuses}\nshift $(($(wc -l <'{log}') - 1))\n\
         echo said by {name}; exit ${{1:-0}}\n",
        log = log.display()
    );
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn with_path(sandbox: &Sandbox, command: &mut Command) -> Out {
    let path = std::env::var("PATH").unwrap();
    run(command.env("PATH", format!("{}:{path}", sandbox.dir.join("bin").display())))
}

fn calls(sandbox: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.dir.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_tool_is_told_by_its_own_command() {
    let zeta = env!("CARGO_BIN_EXE_zeta");
    for (tool, add, remove) in [
        (
            "claude",
            "<claude><mcp><add><--scope><user><zeta><--><Z><mcp>",
            "<claude><mcp><remove><--scope><user><zeta>",
        ),
        ("codex", "<codex><mcp><add><zeta><--><Z><mcp>", "<codex><mcp><remove><zeta>"),
        (
            "gemini",
            "<gemini><mcp><add><--scope><user><zeta><Z><--><mcp>",
            "<gemini><mcp><remove><--scope><user><zeta>",
        ),
        ("copilot", "<copilot><mcp><add><zeta><--><Z><mcp>", "<copilot><mcp><remove><zeta>"),
        ("opencode", "<opencode><mcp><add><zeta><--><Z><mcp>", ""),
    ] {
        let sandbox = Sandbox::new();
        program(&sandbox, tool, "0");
        let add = add.replace('Z', zeta);
        let dry = with_path(&sandbox, &mut sandbox.cmd(&["mcp", "install", tool, "--dry-run"]));
        assert_eq!((dry.status, calls(&sandbox).len()), (0, 0), "{dry:?}");
        let said = with_path(&sandbox, &mut sandbox.cmd(&["mcp", "install", tool, "--json"]));
        assert_eq!(said.status, 0, "{said:?}");
        let object = serde_json::from_str(&said.out).unwrap();
        assert_eq!(misfits("mcp install", &object), Vec::<String>::new());
        assert_eq!(calls(&sandbox), std::slice::from_ref(&add));
        assert_eq!(object["said"], format!("said by {tool}"));
        assert!(dry.out.contains(object["command"].as_str().unwrap()), "{dry:?}");
        let gone = with_path(&sandbox, &mut sandbox.cmd(&["mcp", "uninstall", tool, "--json"]));
        let object = serde_json::from_str(&gone.out).unwrap();
        assert_eq!(misfits("mcp uninstall", &object), Vec::<String>::new());
        match remove.is_empty() {
            false => assert_eq!(calls(&sandbox), [add, remove.to_owned()]),
            true => assert_eq!((gone.status, calls(&sandbox).len()), (2, 1), "{gone:?}"),
        }
    }
}

#[test]
fn a_server_that_is_known_already_is_replaced_and_options_are_passed_on() {
    let sandbox = Sandbox::new();
    program(&sandbox, "claude", "1 0 0");
    let args = ["--as", "otto", "mcp", "install", "claude"];
    let out = with_path(&sandbox, &mut sandbox.cmd(&args));
    assert_eq!(out.status, 0, "{out:?}");
    let all = calls(&sandbox);
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].ends_with("<--as><otto><mcp>") && all[0] == all[2], "{all:?}");
    assert!(all[1].contains("<remove>"), "{all:?}");
}

#[test]
fn what_is_registered_means_the_same_wherever_the_tool_starts_it() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.cmd(&["--state-dir", "rel", "mcp", "install", "codex", "--dry-run"]);
    let out = run(command.current_dir(&sandbox.dir));
    let absolute = std::path::absolute(sandbox.dir.join("rel")).unwrap();
    let wanted = format!("--state-dir {} mcp", absolute.display());
    assert!(out.status == 0 && out.out.contains(&wanted), "{out:?}");
    for wrong in [["--as", "../x"], ["--node", "a b"]] {
        let args = [&wrong[..], &["mcp", "install", "codex", "--dry-run"]].concat();
        assert!(sandbox.refused(&args, 2).err.contains(wrong[1]), "{wrong:?}");
    }
}

#[test]
fn a_server_that_was_taken_out_for_nothing_is_named() {
    let sandbox = Sandbox::new();
    program(&sandbox, "claude", "1 0 1");
    let out = with_path(&sandbox, &mut sandbox.cmd(&["mcp", "install", "claude"]));
    assert_eq!((out.status, calls(&sandbox).len()), (1, 3), "{out:?}");
    assert!(out.err.contains("of before was taken out"), "{out:?}");
}

/// A tool that updates itself in the background leaves a process with its output.
#[test]
fn a_command_that_leaves_its_output_open_has_ended_all_the_same() {
    let sandbox = Sandbox::new();
    program(&sandbox, "codex", "0");
    let path = sandbox.dir.join("bin/codex");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("echo said by", "sleep 15 &\necho said by")).unwrap();
    let out = with_path(&sandbox, &mut sandbox.cmd(&["mcp", "install", "codex"]));
    assert_eq!((out.status, calls(&sandbox).len()), (0, 1), "{out:?}");
}

#[test]
fn what_cannot_be_done_says_why_and_what_to_do() {
    let sandbox = Sandbox::new();
    program(&sandbox, "codex", "1 1");
    let out = with_path(&sandbox, &mut sandbox.cmd(&["mcp", "install", "codex"]));
    assert_eq!(out.status, 1, "{out:?}");
    assert!(out.err.contains("said by codex") && out.err.contains("codex mcp add"), "{out:?}");
    let mut absent = sandbox.cmd(&["mcp", "install", "claude"]);
    let out = run(absent.env("PATH", sandbox.dir.join("bin")));
    assert_eq!(out.status, 1, "{out:?}");
    assert!(out.err.contains("claude mcp add"), "{out:?}");
    for (args, part) in [
        (["mcp", "install", "cursor"], "mcpServers"),
        (["mcp", "uninstall", "cursor"], "mcp.json"),
        (["mcp", "install", "emacs"], "claude, codex"),
    ] {
        let out = sandbox.refused(&args, 2);
        assert!(out.err.contains(part), "{out:?}");
    }
}
