//! What a person sees of `zeta status`: claims by their items, terminals of any width, agents that
//! have ended.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use rustix::process::Signal;
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use crate::support::{Sandbox, open_terminal, signal, wait_for};

/// A sandbox with a bus of its own, and calls on both.
struct Place {
    sandbox: Sandbox,
}

impl Place {
    fn new() -> Place {
        Place { sandbox: Sandbox::new() }
    }

    fn claim(&self, item: &str, from: &str, branch: &str, worktree: &str) {
        let args = ["claim", "acquire", "--item", item, "--from", from];
        let place = ["--branch", branch, "--worktree", worktree];
        let mut command = self.sandbox.cmd(&[&args[..], &place].concat());
        command.env("ZETA_BUS_DIR", self.sandbox.dir.join("bus"));
        let out = crate::support::run(&mut command);
        assert_eq!(out.status, 0, "{out:?}");
    }

    fn text(&self, args: &[&str]) -> String {
        let mut command = self.sandbox.cmd(&[&["status"], args].concat());
        command.env("ZETA_BUS_DIR", self.sandbox.dir.join("bus"));
        let out = crate::support::run(&mut command);
        assert_eq!(out.status, 0, "{out:?}");
        out.out
    }

    fn findings(&self) -> Vec<Value> {
        let all: Value = serde_json::from_str(&self.text(&["--json"])).unwrap();
        all["nodes"][0]["findings"].as_array().cloned().unwrap_or_default()
    }

    /// What `zeta status` shows on a terminal of that width.
    fn on_terminal(&self, columns: u16) -> String {
        let (controller, device) = open_terminal();
        let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&device, size).unwrap();
        let mut command = self.sandbox.cmd(&["status"]);
        command.env("TERM", "xterm").env("NO_COLOR", "1").stdout(Stdio::from(device));
        let mut child = command.spawn().unwrap();
        // Closes the test's copy of the terminal's end, so that reading ends with the program.
        drop(command);
        let mut shown = Vec::new();
        // At the end, a terminal answers with an error.
        let _ = File::from(controller).read_to_end(&mut shown);
        assert!(child.wait().unwrap().success());
        String::from_utf8(shown).unwrap().replace('\r', "")
    }
}

/// The columns that a line takes on a terminal; the test's texts have no combining characters.
fn width(line: &str) -> usize {
    line.chars().map(|c| if ('\u{3000}'..'\u{ffdc}').contains(&c) { 2 } else { 1 }).sum()
}

#[test]
fn a_claim_is_shown_with_its_item_branch_and_worktree() {
    let place = Place::new();
    place.claim("FIX-9", "otto-cli", "feat/x", "/home/zeta/wt-1");
    place.sandbox.acquire(&["deploy"]);
    let text = place.text(&[]);
    let row = text.lines().find(|line| line.starts_with("FIX-9")).unwrap();
    for part in ["held", "otto-cli", "feat/x", "/home/zeta/wt-1"] {
        assert!(row.contains(part), "{part}: {row}");
    }
    assert!(text.contains("CLAIM") && text.contains("\ndeploy "), "{text}");
    assert!(!text.contains("claim.fix-9"), "the name of a claim's lease helps no person: {text}");
}

#[test]
fn leases_are_listed_in_columns_also_beside_a_claim_s() {
    let place = Place::new();
    place.claim("FIX-9", "otto-cli", "feat/x", "/home/zeta/wt-1");
    place.sandbox.acquire(&["deploy"]);
    let text = place.sandbox.ok(&["lease", "list"]);
    let standing: Vec<_> = text.lines().map(|line| line.find(" held ")).collect();
    assert!(standing.len() == 2 && standing[0] == standing[1], "{text}");
}

#[test]
fn a_free_claim_is_taken_as_a_claim() {
    let place = Place::new();
    place.claim("fix it", "otto-cli", "feat/x", "/home/zeta/wt-1");
    let leases: Value =
        serde_json::from_str(&place.sandbox.ok(&["lease", "list", "--json"])).unwrap();
    let lease = leases["leases"][0]["lease"].as_str().unwrap();
    crate::json::age_by_a_boot(&place.sandbox, lease);
    let finding = place.findings().remove(0);
    assert_eq!(finding["finding"], "dead_holder");
    let hint = finding["hints"][0].as_str().unwrap();
    assert_eq!(hint, "free to take: zeta claim acquire --item 'fix it'");
    let message = finding["message"].as_str().unwrap();
    assert!(message.starts_with("claim fix it: otto-cli "), "{message}");
    // On another bus the claim would be another one, so the hint names the bus.
    let out = place.sandbox.cmd(&["status"]).env("ZETA_BUS_DIR", "/nonexistent").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let bus = place.sandbox.dir.join("bus");
    assert!(text.contains(&format!("--item 'fix it' --bus-dir {}", bus.display())), "{text}");
    // Without its item, no command can be named that takes the claim.
    place.sandbox.forge_keys(lease, &[("item", None)]);
    let finding = place.findings().remove(0);
    let hint = finding["hints"][0].as_str().unwrap();
    assert!(hint.contains("zeta claim acquire") && !hint.contains("lease"), "{hint}");
}

#[test]
fn two_claims_in_one_place_are_a_finding() {
    let place = Place::new();
    place.claim("A", "otto-cli", "feat/a", "/home/zeta/wt-1");
    place.claim("B", "vera-codex", "feat/b", "/home/zeta/wt-1");
    place.claim("C", "rex", "feat/a", "/home/zeta/wt-3");
    let findings = place.findings();
    let words: Vec<_> = findings.iter().map(|f| (&f["finding"], &f["about"])).collect();
    let wanted = [
        (&"shared_worktree".into(), &"/home/zeta/wt-1".into()),
        (&"shared_branch".into(), &"feat/a".into()),
    ];
    assert_eq!(words, wanted, "{findings:?}");
    assert_eq!(
        findings[0]["message"],
        "otto-cli and vera-codex work in one worktree: /home/zeta/wt-1"
    );
}

#[test]
fn no_row_is_wider_than_the_terminal() {
    let place = Place::new();
    place.claim("FIX-9", "otto-cli", "feat/the-lock-of-the-bus", "/home/zeta/worktrees/wt-1");
    place.claim("日本語の仕事", "vera-codex", "feat/a", "/home/zeta/worktrees/wt-2");
    let task = "task=日本語で書かれた、とても長い仕事の名前";
    let sandbox = &place.sandbox;
    sandbox.acquire(&["deploy", "--purpose", "日本語で書かれた、とても長い目的"]);
    sandbox.ok(&["heartbeat", "--as", "otto-cli"]);
    sandbox.ok(&["persona", "set", "otto-cli", "--as", "otto-cli", task, "status=working"]);
    for columns in [30, 60, 80, 200] {
        let text = place.on_terminal(columns);
        let tables: Vec<&str> =
            text.lines().skip_while(|line| !line.starts_with("AGENT")).collect();
        assert!(tables.len() > 8, "{text}");
        for line in tables {
            assert!(width(line) <= usize::from(columns), "{columns}: {line:?}\n{text}");
        }
        assert_eq!(text.contains("EVIDENCE"), columns == 200, "{columns}:\n{text}");
        for whole in ["otto-cli", "FIX-9", "deploy", "held"] {
            assert!(columns < 60 || text.contains(whole), "{columns}, {whole}:\n{text}");
        }
    }
}

#[test]
fn agents_that_have_ended_are_counted_and_all_shows_them() {
    let place = Place::new();
    for agent in ["a1", "a2"] {
        place.sandbox.ok(&["run", "--as", agent, "--", "true"]);
        let text = place.text(&[]);
        assert!(!text.contains(&format!("\n{agent} ")), "{text}");
        assert!(text.contains("nothing wrong was found"), "{text}");
    }
    assert!(place.text(&[]).contains("2 agents have ended: zeta status --all shows them"));
    let all = place.text(&["--all"]);
    assert!(all.contains("\na1 ") && all.contains("\na2 "), "{all}");
    let json: Value = serde_json::from_str(&place.text(&["--json"])).unwrap();
    assert_eq!(json["nodes"][0]["agents"].as_array().unwrap().len(), 2);
}

#[test]
fn a_holder_that_hangs_has_its_grace() {
    let place = Place::new();
    let sandbox = &place.sandbox;
    let pid = sandbox.dir.join("pid");
    let script = "zeta lease acquire deploy --ttl 100ms --grace 1h >/dev/null; \
        echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; kill -STOP $PPID; exec sleep 60";
    let args = ["run", "--as", "otto", "--beat", "100ms", "--", "sh", "-c", script];
    let mut run = sandbox.cmd(&[&args[..], &[pid.to_str().unwrap()]].concat());
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_zeta")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut run = run.env("PATH", path).stdout(Stdio::null()).spawn().unwrap();
    let found = || place.findings().into_iter().find(|f| f["finding"] == "holder_not_live");
    wait_for("the holder hangs", || pid.exists() && found().is_some());
    let hint = || found().unwrap()["hints"][0].as_str().unwrap().to_owned();
    wait_for("the grace", || hint().contains("when its grace ends"));
    assert!(hint().starts_with("it is free in 59m "), "{}", hint());
    assert!(place.text(&[]).contains("in 59m "), "{}", place.text(&[]));
    let command = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    for process in [run.id(), command] {
        signal(process, Signal::KILL);
    }
    run.wait().unwrap();
}
