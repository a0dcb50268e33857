//! `check` and `write` on messages of every kind.

use serde_json::Value;

use super::{Repo, block, with_input};
use crate::json::judge;
use crate::support::run;

const BODIES: &str = include_str!("../../../../zeta-core/src/signature/vectors/bodies.json");

#[test]
fn the_program_ends_with_the_numbers_of_the_original_for_each_body() {
    let repo = Repo::new();
    let bodies: Vec<Value> = serde_json::from_str(BODIES).unwrap();
    for entry in &bodies {
        let (text, wanted) = (entry["body"].as_str().unwrap(), &entry["expect"]["exit"]);
        let args = ["signature", "check"];
        let out = with_input(repo.zeta_command(&["--json", "signature", "check"]), text.as_bytes());
        let status = i32::try_from(wanted.as_i64().unwrap()).unwrap();
        let answer = judge(&args, &out, status);
        if status < 2 {
            assert_eq!(answer["stage"], entry["expect"]["stage"], "{}", entry["name"]);
        }
    }
}

#[test]
fn a_refusal_names_what_is_wrong_and_the_lenient_reader_names_all() {
    let repo = Repo::new();
    let founding = block(&[
        ("Mode: shared", "Mode: operator-authorized"),
        ("Review: none", "Review: pre-merge-pending"),
        ("Task: Otto-12", "Task: B-0852.3a"),
    ]);
    let text = format!("feat: a\n\n{founding}\nCo-authored-by: Claude <c@example.invalid>\n");
    let file = repo.dir.join("message");
    std::fs::write(&file, &text).unwrap();
    let strict = repo.zeta(&["signature", "check", "message"]);
    assert_eq!(strict.status, 1);
    assert!(strict.err.contains("the block lacks Agency-Signature-Version, Agent,"), "{strict:?}");
    for flag in ["--anywhere", "--lenient"] {
        let out = repo.zeta(&["signature", "check", flag, "message"]);
        assert_eq!(out.status, 1);
        for part in ["Credential-Mode is \"operator-authorized\"", "pre-merge", "B-0852.3a"] {
            assert!(out.err.contains(part), "{out:?}");
        }
    }
    let whole = text.replace(&founding, &block(&[]));
    std::fs::write(&file, whole).unwrap();
    assert_eq!(repo.zeta(&["signature", "check", "message"]).status, 1);
    let said = repo.ok(&["signature", "check", "--anywhere", "message"]);
    assert!(said.starts_with("accepted: signed by Otto in line 3, where git does not"), "{said}");
    let answer = repo.json(&["signature", "check", "--anywhere", "message"], 0);
    assert_eq!(
        (&answer["stage"], &answer["strict_stage"]),
        (&"pass".into(), &"missing-key".into())
    );
    std::fs::write(&file, block(&[])).unwrap();
    repo.ok(&["signature", "check", "--pr-body", "message"]);
    std::fs::write(&file, format!("```text\n{}```\n", block(&[]))).unwrap();
    let fenced = repo.json(&["signature", "check", "--pr-body", "message"], 1);
    assert_eq!(fenced["stage"], "code-fence");
}

#[test]
fn no_message_is_too_odd_or_too_long() {
    let repo = Repo::new();
    let check = |text: &[u8]| with_input(repo.zeta_command(&["signature", "check"]), text).status;
    let good = format!("feat: a\n\n{}", block(&[]));
    assert_eq!(check(good.as_bytes()), 0);
    assert_eq!(check(b""), 2);
    assert_eq!(check(b" \n\t\r\n"), 2);
    assert_eq!(check(&[0xff; 100]), 1);
    assert_eq!(check(format!("{good}\0").as_bytes()), 1);
    assert_eq!(check(format!("a\0{good}").as_bytes()), 1);
    assert_eq!(check(good.replace("Otto\n", "\u{1b}[31mOtto\n").as_bytes()), 0);
    let bytes = [b"feat: \xff\n\n".as_slice(), good.replace("feat: a\n\n", "").as_bytes()].concat();
    assert_eq!(check(&bytes), 0);
    // Hundreds of thousands of lines, each of which is looked at more than once.
    let long = format!("feat: a\n\n{}\n{}", "Key: value\n".repeat(200_000), block(&[]));
    assert_eq!(check(long.as_bytes()), 0);
    let folded = format!("feat: a\n\n{}{}", block(&[]), " folded\n".repeat(200_000));
    assert_eq!(check(folded.as_bytes()), 1);
    assert_eq!(check(&vec![b'x'; (64 << 20) + 1]), 2);
    let shown = with_input(
        repo.zeta_command(&["signature", "check"]),
        good.replace("Otto\n", "\u{1b}]0;x\u{7}\n").as_bytes(),
    );
    assert!(shown.status == 0 && !shown.out.contains('\u{1b}'), "{shown:?}");
    let lost = repo.zeta(&["signature", "check", "no-such-file"]);
    assert!(lost.status == 2 && lost.err.contains("no-such-file"), "{lost:?}");
    assert_eq!(repo.zeta(&["signature", "check", "--everything"]).status, 2);
}

#[test]
fn a_block_has_what_options_the_configuration_and_the_session_say() {
    let repo = Repo::new();
    let plain = repo.ok(&["signature", "write", "--as", "otto"]);
    for line in [
        "Agent: otto\n",
        "Agent-Runtime: unknown\n",
        "Agent-Model: unknown\n",
        "Credential-Identity: ann@example.invalid\n",
        "Credential-Mode: unknown\n",
        "Human-Review: none\n",
        "Action-Mode: autonomous-fail-open\n",
        "Task: none\n",
    ] {
        assert!(plain.contains(line), "{line}: {plain}");
    }
    let config = repo.sandbox.dir.join(".config/zeta");
    std::fs::create_dir_all(&config).unwrap();
    let keys = "signature_runtime = \"Codex CLI\"\nsignature_model = \"m-1\"\n\
        signature_identity = \"bot\"\nsignature_credential_mode = \"dedicated-agent\"\n\
        signature_action_mode = \"supervised\"\n";
    std::fs::write(config.join("config.toml"), keys).unwrap();
    let zeta = env!("CARGO_BIN_EXE_zeta");
    // In a session that holds a claim, and with a variable over the configuration.
    let script = "zeta claim acquire B-0856 -q >/dev/null && zeta signature write";
    let script = script.replace("zeta ", &format!("{zeta} "));
    let mut call = repo.zeta_command(&["run", "--as", "vera", "--", "sh", "-c", &script]);
    let said = run(call.env("ZETA_AGENT_MODEL", "m-2"));
    assert_eq!(said.status, 0, "{said:?}");
    for line in [
        "Agent: vera\n",
        "Agent-Runtime: Codex CLI\n",
        "Agent-Model: m-2\n",
        "Credential-Identity: bot\n",
        "Credential-Mode: dedicated-agent\n",
        "Action-Mode: supervised\n",
        "Task: B-0856\n",
    ] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
    let given = ["--task", "#7", "--model", "m-3", "--review", "explicit", "--evidence", "chat"];
    let said = repo.ok(&[&["signature", "write", "--as", "otto"], &given[..]].concat());
    assert!(said.contains("Human-Review: explicit\nHuman-Review-Evidence: chat\n"), "{said}");
    assert!(said.contains("Agent-Model: m-3\n") && said.ends_with("Task: #7\n"), "{said}");
    let out = with_input(
        repo.zeta_command(&["signature", "check"]),
        format!("feat: a\n\n{said}").as_bytes(),
    );
    assert_eq!(out.status, 0);
    for (args, words) in [
        (["--task", "B-1.2"], "Task is \"B-1.2\""),
        (["--review", "explicit"], "Human-Review-Evidence is none"),
        (["--action-mode", "wild"], "Action-Mode is \"wild\""),
        (["--model", "a\nTask: 7"], "without control characters"),
    ] {
        let refused = repo.zeta(&[&["signature", "write", "--as", "otto"], &args[..]].concat());
        assert!(refused.status == 2 && refused.err.contains(words), "{refused:?}");
    }
}

/// The workflow of the documentation, as a runner runs it.
#[test]
fn the_recipe_of_ci_fails_a_pull_request_without_a_block() {
    let repo = Repo::new();
    let recipe = include_str!("../../../../../docs/examples/agency-signature.yml");
    let (_, script) = recipe.split_once("        run: |\n").unwrap();
    let script = script.lines().next().unwrap().trim();
    assert!(script.ends_with("zeta signature check --pr-body"), "{script}");
    let script = script.replace("zeta ", &format!("{} ", env!("CARGO_BIN_EXE_zeta")));
    let page = include_str!("../../../../../docs/use/signatures.md");
    assert!(page.contains("printf '%s' \"$BODY\" | zeta signature check --pr-body"));
    let runs = |body: &str| {
        let shell = ["-e", "-o", "pipefail", "-c", &script];
        let mut call = repo.clean(repo.sandbox.other("bash", &shell));
        run(call.env("BODY", body)).status
    };
    assert_eq!(runs(&format!("Words.\r\n\r\n{}", block(&[]).replace('\n', "\r\n"))), 0);
    assert_eq!(runs(&block(&[])), 0);
    for body in ["", "Words.", "$(touch x)", &format!("{}\nThanks!", block(&[]))] {
        assert_ne!(runs(body), 0, "{body}");
    }
}

#[test]
fn each_outcome_fits_its_schema() {
    let repo = Repo::new();
    let file = repo.dir.join("message");
    std::fs::write(&file, "feat: a\n").unwrap();
    let outcome = |args: &[&str], status: i32| {
        let all: Vec<&str> = ["signature"].iter().chain(args).copied().collect();
        repo.json(&all, status)["outcome"].as_str().map(str::to_owned)
    };
    let person = ["write", "--hook", "--into", "message"];
    assert_eq!(outcome(&["check", "--hook", "message"], 0).as_deref(), Some("exempt"));
    assert_eq!(outcome(&person, 0).as_deref(), Some("not_an_agent"));
    // An option of the call names an agent, too.
    assert_eq!(
        outcome(&["check", "--as", "otto", "--hook", "message"], 1).as_deref(),
        Some("refused")
    );
    assert_eq!(outcome(&["write", "--as", "otto"], 0).as_deref(), Some("printed"));
    let agent = ["write", "--as", "otto", "--hook", "--into", "message"];
    assert_eq!(outcome(&agent, 0).as_deref(), Some("added"));
    assert_eq!(outcome(&agent, 0).as_deref(), Some("unchanged"));
    assert_eq!(outcome(&["check", "--hook", "message"], 0).as_deref(), Some("accepted"));
    assert_eq!(outcome(&["check", "message"], 0).as_deref(), Some("accepted"));
    std::fs::write(&file, "a\n\n---\n\nb\n").unwrap();
    assert_eq!(outcome(&agent, 1), None);
    assert_eq!(outcome(&["write", "--hook"], 2), None);
    assert_eq!(outcome(&["check", "nothing-there"], 2), None);
    assert_eq!(outcome(&["check", "--anywhere", "message"], 1).as_deref(), Some("refused"));
}
