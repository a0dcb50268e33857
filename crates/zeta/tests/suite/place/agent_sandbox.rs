//! The sandboxes that agent tools put around the commands of their agents: Claude Code's, by the
//! call that it makes, and Codex's, by its own program.

use std::process::{Child, Stdio};

use super::Place;
use crate::support::{LIMIT, Out, find, skip, test_name, wait, wait_for};

/// As Claude Code 2.1.332 calls it, without its proxies and the files that it hides.
const CLAUDE: &str = "bwrap --new-session --die-with-parent --unshare-net --ro-bind / / \
    --bind $D/work $D/work --ro-bind $D/work/.git/hooks $D/work/.git/hooks --dev /dev \
    --unshare-pid --unshare-user --cap-drop ALL --cap-add CAP_SETFCAP --proc /proc";

/// Codex refuses to have its own home below the directory for temporary files.
fn codex(mode: &str) -> String {
    format!(
        "cd $D/work && exec env HOME=$D/home TMPDIR=$D/tmp codex sandbox \
         -c 'sandbox_mode=\"{mode}\"' -- sh -c '. $D/run'"
    )
}

fn place() -> Place {
    let place = Place::new();
    let out = place.script(
        "mkdir -p $D/home $D/tmp $D/work/.git/hooks
         echo 'ref: refs/heads/main' >$D/work/.git/HEAD
         $Z lease acquire held --as otto -q && $Z bus send vera hello --as otto -q",
    );
    assert_eq!(out.status, 0, "{out:?}");
    place
}

/// Runs these words in a sandbox; the last line of the answer is the status.
fn inside(place: &Place, sandbox: &str, words: &str) -> Out {
    std::fs::write(place.dir.join("run"), format!("{words} 2>&1; echo $?\n")).unwrap();
    place.script(sandbox)
}

fn claude() -> String {
    format!("cd $D/work && exec {CLAUDE} sh -c '. $D/run'")
}

/// What reads works, and what writes names both ways out of the sandbox in one sentence.
fn reads_only(place: &Place, sandbox: &str) {
    let out = |words: &str| inside(place, sandbox, words).out.trim().to_owned();
    for (words, part) in [
        ("$Z status", "held"),
        ("$Z lease list", "otto"),
        ("$Z lease show held", "otto"),
        ("$Z claim list", ""),
        ("$Z claim check B-1", "free"),
        ("$Z claim check --path a", ""),
        ("$Z bus list", "hello"),
        ("$Z guide", "zeta"),
        ("$Z doctor", "read_only"),
    ] {
        let said = out(words);
        assert!(said.ends_with('0') && said.contains(part), "{words}: {said}");
    }
    for words in [
        "$Z lease acquire x --as a",
        "$Z lease exec x -- true",
        "$Z claim acquire B-1",
        "$Z claim acquire --path a",
        "$Z bus send otto x",
        "$Z bus inbox --as vera",
        "$Z heartbeat",
        "$Z run --as a -- true",
        "$Z claim release B-1 --note $D/run",
    ] {
        let said = out(words);
        let hints: Vec<&str> =
            said.lines().filter(|line| line.contains("read-only here")).collect();
        if words.contains("release") {
            assert!(said.ends_with('4'), "{words}: {said}");
            continue;
        }
        assert!(said.ends_with('7') && hints.len() == 1, "{words}: {said}");
        for part in ["status, list, show, check", "hooks", "MCP", "allowWrite"] {
            assert!(said.contains(part), "{words}: {said}");
        }
    }
    let none = place.script("exec $Z lease list");
    assert!(!none.out.contains('x'), "{none:?}");
}

#[test]
fn in_the_sandbox_of_claude_code_what_reads_works_and_what_writes_says_what_does() {
    let place = place();
    if place.can(test_name!(), &format!("{CLAUDE} true &&")) {
        reads_only(&place, &claude());
    }
}

#[test]
fn in_the_sandboxes_of_codex_zeta_reads_or_works() {
    if find("codex").is_none() {
        return skip(test_name!(), "needs codex, the program of Codex CLI");
    }
    let place = place();
    if inside(&place, &codex("read-only"), "true").out.trim() != "0" {
        return skip(test_name!(), "codex cannot make its sandbox here");
    }
    reads_only(&place, &codex("read-only"));
    // It may write to /tmp, where the tree is.
    let out = |words: &str| inside(&place, &codex("workspace-write"), words).out.trim().to_owned();
    assert!(out("touch .git/x").ends_with('1'), "Codex lets no command write there");
    assert!(out("$Z lease acquire held --as a").ends_with('3'));
    assert!(out("$Z lease acquire own --as a -q").ends_with('0'));
    assert!(out("$Z claim acquire --path src/ --as a -q").ends_with('0'));
    assert!(out("$Z bus inbox --as vera").contains("hello"));
    let seen = place.script("cd $D/work; exec $Z claim check --path src/a --as b");
    assert_eq!(seen.status, 3, "{seen:?}");
}

/// A process that stands for an agent's own, which hooks name.
struct Agent(Child);

impl Agent {
    fn start(place: &Place) -> Agent {
        let mut command = place.command("exec sleep 600");
        Agent(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Runs a hook of Claude Code for a session, outside of any sandbox.
    fn hook(&self, place: &Place, session: &str, event: &str) -> Out {
        let pid = self.0.id();
        place.script(&format!(
            "export CLAUDE_PID={pid} CLAUDE_ENV_FILE=$D/env-{session} XDG_CONFIG_HOME=$D/none
             echo '{{\"session_id\":\"{session}\",\"cwd\":\"'$D/work'\",\"tool_name\":\"Edit\",
             \"tool_input\":{{\"file_path\":\"src/a\"}}}}' | exec $Z hook run claude {event}"
        ))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_hooked_session_and_its_claims_on_paths_are_one_thing_inside_and_outside() {
    let place = place();
    // Allowed to write to the tree and the bus, as a setting of the tool can do it.
    let sandbox = format!("{CLAUDE} --bind $D/state $D/state --bind $D/bus $D/bus");
    if !place.can(test_name!(), &format!("{sandbox} true &&")) {
        return;
    }
    let (mut holder, other) = (Agent::start(&place), Agent::start(&place));
    for (agent, session) in [(&holder, "one"), (&other, "two")] {
        let started = agent.hook(&place, session, "session-start");
        assert_eq!((started.status, started.err.as_str()), (0, ""), "{started:?}");
    }
    let in_session = |session: &str, words: &str| {
        let sandbox = format!("cd $D/work && . $D/env-{session}; exec {sandbox} sh -c '. $D/run'");
        inside(&place, &sandbox, words).out.trim().to_owned()
    };
    // A command of the agent, inside, claims for its session, whose process is outside.
    let said = in_session("one", "$Z claim acquire --path src/ -q");
    assert!(said.ends_with('0'), "{said}");
    let edit = other.hook(&place, "two", "before-tool");
    assert!(edit.out.contains("deny") && edit.out.contains("it is alive"), "{edit:?}");
    // Inside, the agents' processes cannot be seen: they are not dead, and hold what they hold.
    for session in ["one", "two"] {
        let status = in_session(session, "$Z status --json");
        assert!(status.matches("\"life\":\"unknown\"").count() >= 2, "{status}");
        assert!(!status.contains("\"dead\"") && !status.contains("\"gone\""), "{status}");
    }
    let said = in_session("two", "$Z claim acquire --path src/a");
    assert!(said.ends_with('3') && said.contains("src/"), "{said}");
    let said = in_session("one", "$Z claim check --path src/a");
    assert!(said.ends_with('0'), "{said}");
    let cleaned = in_session("two", "$Z clean --json");
    assert!(cleaned.contains("\"removed\":[]"), "{cleaned}");
    // Outside, its death is seen at once; inside, it is unknown still.
    holder.0.kill().unwrap();
    wait(&mut holder.0, LIMIT);
    let said = in_session("two", "$Z claim acquire --path src/a");
    assert!(said.ends_with('3'), "unknown is not dead: {said}");
    wait_for("the claim is free", || {
        place.script("cd $D/work; exec $Z claim check --path src/a --as b").status == 0
    });
    assert_eq!(other.hook(&place, "two", "before-tool").out, "");
}
