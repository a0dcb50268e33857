//! The answers of `zeta node`, at the fake of GitHub.

use serde_json::{Value, json};

use super::judge;
use crate::node::fake_github::{FakeGithub, Fault};
use crate::node::github_model::Call;
use crate::node::machine::Machine;
use crate::support::run;

fn answer(machine: &Machine, forge: &FakeGithub, verb: &str, more: &[&str], status: i32) -> Value {
    let mut command = machine.command(forge, verb, &[more, &["--json"]].concat());
    judge(&["node", verb], &run(&mut command), status)
}

fn register(machine: &Machine, forge: &FakeGithub, more: &[&str], status: i32) -> Value {
    answer(machine, forge, "register", &[&["--maintainer", "ace"], more].concat(), status)
}

fn show(machine: &Machine, status: i32) -> Value {
    let mut command = machine.sandbox.cmd(&["node", "show", "--json"]);
    judge(&["node", "show"], &run(command.env("HOME", &machine.home)), status)
}

#[test]
fn a_registration_from_its_preview_to_its_end() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let preview = register(&machine, &forge, &["--dry-run"], 0);
    assert_eq!(preview["outcome"], "dry_run");
    assert!(preview["yaml"].as_str().unwrap().contains("kind: "), "{preview}");
    assert_eq!(show(&machine, 4)["error"], "not_found");
    answer(&machine, &forge, "list", &[], 4);
    assert_eq!(register(&machine, &forge, &[], 0)["outcome"], "opened");
    assert_eq!(show(&machine, 0)["state"], "pr-opened");
    assert_eq!(register(&machine, &forge, &[], 0)["outcome"], "waiting");
    forge.model(|model| model.close(1));
    let closed = register(&machine, &forge, &[], 3);
    assert_eq!((&closed["state"], &closed["error"]), (&json!("closed"), &json!("refused")));
    register(&machine, &forge, &["--reopen"], 0);
    forge.model(|model| model.merge(2));
    assert_eq!(register(&machine, &forge, &[], 0)["outcome"], "registered");
    let nodes = answer(&machine, &forge, "list", &[], 0);
    let node = nodes["nodes"][0]["node"].as_str().unwrap();
    assert_eq!(preview["node"], node);
    let leave = ["--maintainer", "ace", "--reason", "sold"];
    let gone = answer(&machine, &forge, "deregister", &[&[node], &leave[..]].concat(), 0);
    assert_eq!(gone["nodes"][0]["outcome"], "opened");
    let other = [&["node-0ther"], &leave[..]].concat();
    answer(&machine, &forge, "deregister", &other, 4);
    assert_eq!(answer(&machine, &forge, "deregister", &["--dead"], 0), json!({"nodes": []}));
}

#[test]
fn an_intent_and_its_steward() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(answer(&machine, &forge, "steward", &[], 0), json!({"outcome": "no_intent"}));
    assert_eq!(register(&machine, &forge, &["--intent"], 0)["outcome"], "intended");
    assert_eq!(answer(&machine, &forge, "steward", &[], 0)["outcome"], "opened");
    forge.model(|model| model.merge(1));
    assert_eq!(answer(&machine, &forge, "steward", &[], 0)["outcome"], "registered");
}

#[test]
fn another_agent_of_the_node_is_at_it() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    register(&machine, &forge, &["--intent"], 0);
    for (lease, verb) in [("register-steward", "steward"), ("register-pr-in-flight", "register")] {
        machine.sandbox.ok(&["--as", "otto", "lease", "acquire", lease]);
        let taken = match verb {
            "register" => register(&machine, &forge, &[], 3),
            verb => answer(&machine, &forge, verb, &[], 3),
        };
        assert_eq!((&taken["outcome"], &taken["agent"]), (&json!("held"), &json!("otto")));
    }
}

#[test]
fn what_fails_and_what_is_refused() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    register(&machine, &forge, &["--expires", "1d"], 2);
    register(&machine, &forge, &["--nosuch"], 2);
    answer(&machine, &forge, "deregister", &[], 2);
    answer(&machine, &forge, "steward", &["--every", "soon"], 2);
    answer(&machine, &forge, "list", &["--nosuch"], 2);
    judge(&["node", "show"], &machine.sandbox.zeta(&["node", "show", "x", "--json"]), 2);
    forge.fault(Call::Contents, Fault::Status(500), 50);
    let failed = register(&machine, &forge, &[], 1);
    assert_eq!((&failed["state"], &failed["error"]), (&json!("check-failed"), &json!("fault")));
    // Without a token the user is not logged in.
    std::fs::remove_file(machine.home.join("token")).unwrap();
    for verb in ["register", "list", "deregister"] {
        let more: &[&str] = match verb {
            "register" => &["--maintainer", "ace"],
            "deregister" => &["--dead"],
            _ => &[],
        };
        assert_eq!(answer(&machine, &forge, verb, more, 7)["error"], "unsafe");
    }
}

#[test]
fn an_attempt_that_failed_is_not_repeated_on_the_same_day() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    // Without write access nothing can be pushed.
    forge.model(|model| model.fork());
    register(&machine, &forge, &[], 7);
    let busy = register(&machine, &forge, &[], 6);
    assert!(busy["message"].as_str().unwrap().contains("the next attempt is due in "), "{busy}");
}
