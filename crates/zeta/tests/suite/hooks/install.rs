//! `zeta hook install` and `uninstall`: what is in a file of an agent tool stays, byte for byte.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use super::run::Agent;
use crate::support::{Out, Sandbox, is_root, run, skip, test_name, wait_for};

const TOOLS: [(&str, &str); 6] = [
    ("claude", ".claude/settings.json"),
    ("codex", ".codex/hooks.json"),
    ("gemini", ".gemini/settings.json"),
    ("copilot", ".copilot/hooks/zeta.json"),
    ("opencode", ".config/opencode/plugin/zeta.js"),
    ("cursor", ".cursor/hooks.json"),
];

/// Settings with hooks of another program, as a person would keep them.
const THEIRS: &str = "{\r\n\t\"model\": \"x\",\r\n\t\"n\": 1.0e5,\r\n\t\"hooks\": {\r\n\t\t\
    \"PreToolUse\": [ { \"matcher\": \"Bash\", \"hooks\": [{\"type\":\"command\",\
    \"command\":\"guard.sh \\u00e9\"}] } ],\r\n\t\t\"Stop\": []\r\n\t}\r\n}";

fn hook(sandbox: &Sandbox, args: &[&str]) -> Out {
    let mut command = sandbox.cmd(&["hook"]);
    for variable in ["CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    run(command.args(args))
}

fn ok(sandbox: &Sandbox, args: &[&str]) -> String {
    let out = hook(sandbox, args);
    assert_eq!(out.status, 0, "{args:?}: {out:?}");
    out.out
}

fn write(sandbox: &Sandbox, file: &str, text: &str) -> PathBuf {
    let path = sandbox.dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// All paths below a directory.
fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(all_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

#[test]
fn after_an_uninstall_nothing_of_zeta_is_left() {
    for (tool, file) in TOOLS {
        let sandbox = Sandbox::new();
        let path = sandbox.dir.join(file);
        let dry = ok(&sandbox, &["install", tool, "--dry-run"]);
        assert!(
            dry.contains("+++ ") && dry.contains("hook run") | dry.contains("hook\", \"run"),
            "{dry}"
        );
        assert!(all_below(&sandbox.dir).is_empty(), "{tool}: a dry run writes nothing");
        assert!(ok(&sandbox, &["install", tool]).starts_with("installed"), "{tool}");
        let once = read(&path);
        assert!(ok(&sandbox, &["install", tool]).starts_with("unchanged"), "{tool}");
        assert_eq!(read(&path), once, "{tool}");
        assert!(ok(&sandbox, &["uninstall", tool]).starts_with("uninstalled"), "{tool}");
        let left: Vec<PathBuf> = all_below(&sandbox.dir)
            .into_iter()
            .filter(|path| !path.starts_with(sandbox.dir.join(".local")))
            .collect();
        assert!(left.is_empty(), "{tool}: {left:?}");
        assert!(!sandbox.dir.join(".local/state/zeta").exists(), "{tool}");
        assert!(ok(&sandbox, &["uninstall", tool]).starts_with("unchanged"), "{tool}");
    }
}

#[test]
fn the_settings_of_a_person_come_back_byte_for_byte() {
    for (tool, file) in [TOOLS[0], TOOLS[1], TOOLS[2], TOOLS[5]] {
        for text in [THEIRS.to_owned(), format!("\u{feff}{THEIRS}"), "{}".into(), "{ }\n".into()] {
            let sandbox = Sandbox::new();
            let path = write(&sandbox, file, &text);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            ok(&sandbox, &["install", tool]);
            ok(&sandbox, &["install", tool]);
            let with = read(&path);
            assert!(with.contains(" hook run "), "{tool}: {with}");
            assert_eq!(with.starts_with('\u{feff}'), text.starts_with('\u{feff}'));
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
            ok(&sandbox, &["uninstall", tool]);
            assert_eq!(read(&path), text, "{tool}: {with}");
        }
    }
}

#[test]
fn hooks_that_others_added_meanwhile_stay() {
    let sandbox = Sandbox::new();
    let path = write(&sandbox, ".claude/settings.json", "{}");
    ok(&sandbox, &["install", "claude"]);
    let theirs = "{\"hooks\":[{\"type\":\"command\",\"command\":\"theirs\"}]},\n      {\"hooks\"";
    std::fs::write(&path, read(&path).replacen("{\"hooks\"", theirs, 1)).unwrap();
    ok(&sandbox, &["uninstall", "claude"]);
    let value: serde_json::Value = serde_json::from_str(&read(&path)).unwrap();
    let group = serde_json::json!({"hooks": [{"type": "command", "command": "theirs"}]});
    assert_eq!(value, serde_json::json!({"hooks": {"SessionStart": [group]}}));
}

#[test]
fn codex_says_which_trust_may_be_gone() {
    let sandbox = Sandbox::new();
    let path = write(&sandbox, ".codex/hooks.json", "{}");
    ok(&sandbox, &["install", "codex"]);
    assert!(ok(&sandbox, &["status"]).contains("codex     untrusted"));
    assert_eq!(hook(&sandbox, &["uninstall", "codex", "--dry-run"]).err, "");
    let theirs = "]}\n      , {\"hooks\": []}\n    ]";
    std::fs::write(&path, read(&path).replacen("]}\n    ]", theirs, 1)).unwrap();
    let out = hook(&sandbox, &["uninstall", "codex"]);
    assert!(out.status == 0 && out.err.contains("moved up"), "{out:?}");
    assert!(!sandbox.dir.join(".local/state/zeta/hooks").exists());
}

#[test]
fn a_link_stays_and_its_target_is_changed() {
    let sandbox = Sandbox::new();
    let real = write(&sandbox, "dotfiles/claude.json", "{\n}\n");
    let link = write(&sandbox, ".claude/settings.json", "");
    std::fs::remove_file(&link).unwrap();
    symlink(&real, &link).unwrap();
    ok(&sandbox, &["install", "claude"]);
    assert!(link.is_symlink() && read(&real).contains(" hook run claude "));
    ok(&sandbox, &["uninstall", "claude"]);
    assert!(link.is_symlink());
    assert_eq!(read(&real), "{\n}\n");
}

#[test]
fn a_hard_link_is_refused_because_its_other_name_would_keep_the_old_text() {
    let sandbox = Sandbox::new();
    let real = write(&sandbox, "dotfiles/claude.json", "{}");
    let path = sandbox.dir.join(".claude/settings.json");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::hard_link(&real, &path).unwrap();
    let out = hook(&sandbox, &["install", "claude"]);
    assert!(out.status == 3 && out.err.contains("it is a hard link"), "{out:?}");
    assert_eq!((read(&path), path.metadata().unwrap().nlink()), ("{}".to_owned(), 2));
    std::fs::remove_file(&real).unwrap();
    ok(&sandbox, &["install", "claude"]);
    let with = read(&path);
    std::fs::hard_link(&path, &real).unwrap();
    assert_eq!(hook(&sandbox, &["uninstall", "claude"]).status, 3);
    assert_eq!((read(&path), read(&real)), (with.clone(), with));
}

#[test]
fn a_file_keeps_its_group() {
    if !is_root() {
        return skip(test_name!(), "needs root, to give a file to another group");
    }
    let sandbox = Sandbox::new();
    let path = write(&sandbox, ".claude/settings.json", "{}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&path, None, Some(12_345)).unwrap();
    for verb in ["install", "uninstall"] {
        ok(&sandbox, &[verb, "claude"]);
        let meta = path.metadata().unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o7777), (12_345, 0o640), "{verb}");
    }
    // A user who is not in that group cannot keep it.
    for path in all_below(&sandbox.dir).into_iter().chain([sandbox.dir.to_path_buf()]) {
        std::os::unix::fs::chown(path, Some(12_346), None).unwrap();
    }
    let mut command = sandbox.cmd(&["hook", "install", "claude"]);
    let out = run(command.uid(12_346).gid(12_346).env_remove("CLAUDE_CONFIG_DIR"));
    assert!(out.status == 3 && out.err.contains("cannot keep its group (12345)"), "{out:?}");
    assert_eq!(read(&path), "{}");
    let left = all_below(path.parent().unwrap());
    assert_eq!(left, [path], "no part of a file stays behind");
}

#[test]
fn a_hook_of_a_person_that_names_zeta_is_none_of_zeta() {
    let sandbox = Sandbox::new();
    let text = "{\"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \
        \"command\": \"echo x hook run claude y\"}]}]}}";
    let path = write(&sandbox, ".claude/settings.json", text);
    assert!(ok(&sandbox, &["status"]).contains("claude    absent"));
    ok(&sandbox, &["install", "claude"]);
    assert!(ok(&sandbox, &["status"]).contains("claude    installed"));
    let out = hook(&sandbox, &["uninstall", "claude"]);
    assert_eq!((out.status, out.err.as_str(), read(&path).as_str()), (0, "", text), "{out:?}");
    assert!(!sandbox.dir.join(".local/state/zeta/hooks").exists());
}

#[test]
fn a_file_that_cannot_be_changed_safely_is_refused_and_stays() {
    let sandbox = Sandbox::new();
    for (text, part) in [
        ("{\n  // why\n  \"a\": 1\n}", "settings.json:2: it has a comment"),
        ("{\"hooks\": {},\n \"hooks\": {}}", "settings.json:2: the key \"hooks\" is there twice"),
        ("{\"hooks\": null}", "is no object"),
        ("{\"hooks\": {\"Stop\": {}}}", "is no list"),
        ("{\"a\": 1,}", "is not JSON"),
        ("", "it is empty"),
        ("[]", "no JSON object"),
    ] {
        let path = write(&sandbox, ".claude/settings.json", text);
        for verb in ["install", "uninstall"] {
            let out = hook(&sandbox, &[verb, "claude"]);
            assert_eq!(out.status, 3, "{verb} {text:?}: {out:?}");
            assert!(out.err.contains(part), "{verb} {text:?}: {out:?}");
        }
        assert_eq!(read(&path), text);
        assert!(ok(&sandbox, &["status"]).contains("claude    broken"), "{text:?}");
    }
    let path = sandbox.dir.join(".claude/settings.json");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(hook(&sandbox, &["install", "claude"]).err.contains("not UTF-8"));
    std::fs::remove_file(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    assert!(hook(&sandbox, &["install", "claude"]).err.contains("leads nowhere"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(hook(&sandbox, &["install", "claude"]).err.contains("not a regular file"));
    std::fs::remove_dir(&path).unwrap();
    let path = write(&sandbox, ".claude/settings.json", "{}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    let out = hook(&sandbox, &["install", "claude"]);
    assert!(out.status == 3 && out.err.contains("read-only"), "{out:?}");
    // A file of zeta's own name that a person wrote.
    let path = write(&sandbox, ".copilot/hooks/zeta.json", "{\"mine\": 1}");
    assert!(hook(&sandbox, &["install", "copilot"]).err.contains("zeta did not write it"));
    assert!(ok(&sandbox, &["uninstall", "copilot"]).starts_with("unchanged"));
    assert_eq!(read(&path), "{\"mine\": 1}");
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !is_root() {
        return skip(test_name!(), "needs root, to give a file to another user");
    }
    let sandbox = Sandbox::new();
    let path = write(&sandbox, ".claude/settings.json", "{}");
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    let out = hook(&sandbox, &["install", "claude"]);
    assert!(out.status == 3 && out.err.contains("belongs to another user (12345)"), "{out:?}");
    assert_eq!(read(&path), "{}");
}

/// The command of an event before a tool, as it is installed.
fn installed(sandbox: &Sandbox, tool: &str) -> String {
    ok(sandbox, &["install", tool]);
    let (_, file) = TOOLS.iter().find(|(name, _)| *name == tool).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&read(&sandbox.dir.join(file))).unwrap();
    let command = match tool {
        "copilot" => &settings["hooks"]["preToolUse"][0]["bash"],
        "cursor" => &settings["hooks"]["preToolUse"][0]["command"],
        "gemini" => &settings["hooks"]["BeforeTool"][0]["hooks"][0]["command"],
        _ => &settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"],
    };
    command.as_str().unwrap().to_owned()
}

#[test]
fn an_installed_command_answers_and_does_nothing_without_its_program() {
    for tool in ["claude", "codex", "gemini", "copilot", "cursor"] {
        let sandbox = Sandbox::new();
        let command = installed(&sandbox, tool);
        let event = r#"{"session_id":"s","sessionId":"s","conversation_id":"s","cwd":"/"}"#;
        for (command, note) in [
            (command.clone(), ""),
            (command.replace(env!("CARGO_BIN_EXE_zeta"), "/nosuch/zeta"), ""),
            (command.replace("before-tool", "nosuch"), "zeta hook: an event is"),
        ] {
            let script = format!("echo '{event}' | sh -c \"$0\"");
            let out = run(&mut sandbox.other("sh", &["-c", &script, &command]));
            assert_eq!((out.status, out.out.as_str()), (0, ""), "{command}: {out:?}");
            assert!(out.err.starts_with(note), "{command}: {out:?}");
        }
    }
}

#[test]
fn a_program_that_cannot_run_or_is_killed_blocks_no_tool() {
    for tool in ["gemini", "copilot"] {
        let sandbox = Sandbox::new();
        let command = installed(&sandbox, tool);
        for program in ["\u{7f}ELF", "", "#!/nosuch/interpreter\n", "#!/bin/sh\nkill -9 $$\n"] {
            let broken = write(&sandbox, "broken/zeta", program);
            std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).unwrap();
            let path = broken.to_str().unwrap();
            let command = command.replace(env!("CARGO_BIN_EXE_zeta"), path);
            for shell in ["sh", "bash"] {
                let out = run(&mut sandbox.other(shell, &["-c", &command]));
                assert_eq!((out.status, out.out.as_str()), (0, ""), "{program:?}: {out:?}");
            }
        }
    }
}

#[test]
fn a_hook_behind_a_shell_knows_the_process_of_its_tool() {
    let sandbox = Sandbox::new();
    let command = installed(&sandbox, "gemini").replace("before-tool", "session-start");
    let mut tool =
        sandbox.other("sh", &["-c", "sh -c \"$0\" </dev/stdin; exec sleep 60", &command]);
    let process = tool.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut tool = Agent { process, session: "s".to_owned() };
    let event = format!("{{\"session_id\":\"s\",\"cwd\":\"{}\"}}", sandbox.dir.display());
    std::io::Write::write_all(&mut tool.process.stdin.take().unwrap(), event.as_bytes()).unwrap();
    let has = |text: &str| sandbox.ok(&["status", "--json"]).replace([' ', '"'], "").contains(text);
    wait_for("the session is there", || has("liveness:live"));
    assert!(has(&format!("pid:{},", tool.process.id())));
    tool.kill();
    wait_for("the session is gone", || has("liveness:gone"));
}

#[test]
fn a_program_that_moved_replaces_its_hooks_and_a_changed_hook_is_named() {
    let sandbox = Sandbox::new();
    let path = write(&sandbox, ".claude/settings.json", THEIRS);
    let moved = sandbox.dir.join("zeta");
    std::fs::copy(env!("CARGO_BIN_EXE_zeta"), &moved).unwrap();
    let out = run(&mut sandbox.other(moved.to_str().unwrap(), &["hook", "install", "claude"]));
    assert_eq!(out.status, 0, "{out:?}");
    assert!(ok(&sandbox, &["status"]).contains("claude    changed"));
    ok(&sandbox, &["install", "claude"]);
    assert!(ok(&sandbox, &["status"]).contains("claude    installed"));
    assert!(!read(&path).contains(moved.to_str().unwrap()));
    std::fs::write(&path, read(&path).replacen("hook run claude stop", "hook run claude  x", 1))
        .unwrap();
    std::fs::write(&path, read(&path).replacen("hook run claude prompt", "hook run claude x", 1))
        .unwrap();
    let out = hook(&sandbox, &["uninstall", "claude"]);
    assert!(out.status == 0 && out.err.contains("stays: "), "{out:?}");
    assert!(read(&path).contains("hook run claude x") && read(&path).contains("guard.sh"));
}

#[test]
fn hooks_of_an_earlier_version_are_replaced_and_taken_out() {
    for (tool, file) in [TOOLS[0], TOOLS[3]] {
        let sandbox = Sandbox::new();
        let path = sandbox.dir.join(file);
        ok(&sandbox, &["install", tool]);
        // As if the version before had written another time limit, here and into its journal.
        let journals = sandbox.dir.join(".local/state/zeta/hooks");
        let journal = std::fs::read_dir(journals).unwrap().next().unwrap().unwrap().path();
        let earlier = |text: String| {
            let text = text.replace("\"timeout\":5", "\"timeout\":9");
            let text = text.replace("timeout\\\":5", "timeout\\\":9");
            text.replace("\"timeoutSec\": 5", "\"timeoutSec\": 9")
                .replace("timeoutSec\\\": 5", "timeoutSec\\\": 9")
        };
        for file in [&path, &journal] {
            let text = read(file);
            assert_ne!(earlier(text.clone()), text, "{tool}: {text}");
            std::fs::write(file, earlier(text)).unwrap();
        }
        assert!(ok(&sandbox, &["install", tool]).starts_with("installed"), "{tool}");
        assert!(!read(&path).contains(":9") && !read(&path).contains(": 9"), "{tool}");
        let out = hook(&sandbox, &["uninstall", tool]);
        assert!(out.err.is_empty() && !path.exists(), "{tool}: {out:?}");
    }
}

#[test]
fn a_project_has_files_of_its_own() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.dir.join("r/.git")).unwrap();
    std::fs::create_dir_all(sandbox.dir.join("r/src")).unwrap();
    let call = |args: &[&str], dir: &str| {
        run(sandbox.cmd(&["hook"]).args(args).current_dir(sandbox.dir.join(dir)))
    };
    assert_eq!(call(&["install", "claude", "--project"], "r/src").status, 0);
    let path = sandbox.dir.join("r/.claude/settings.local.json");
    assert!(read(&path).contains(" hook run claude "));
    assert_eq!(call(&["uninstall", "claude", "--project"], "r").status, 0);
    assert!(!sandbox.dir.join("r/.claude").exists());
    let out = call(&["install", "claude", "--project"], ".");
    assert!(out.status == 2 && out.err.contains("in no git repository"), "{out:?}");
}
