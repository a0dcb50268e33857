//! Which node this machine is: the receipts of the original, and those that were carried here.

use zeta_core::registration::node_path;

use super::fake_github::FakeGithub;
use super::machine::{Machine, opened};
use crate::support::run;

fn put(machine: &Machine, text: &str) {
    let receipt = machine.receipt();
    std::fs::create_dir_all(receipt.parent().unwrap()).unwrap();
    std::fs::write(receipt, text).unwrap();
}

#[test]
fn a_node_of_the_original_is_not_registered_a_second_time() {
    let host = run(&mut std::process::Command::new("hostname")).out;
    let host = host.trim().split('.').next().unwrap_or_default().to_lowercase();
    let second = "state=converged\nobserved-at=2026-05-19T10:11:12Z\n\
                  node-path=maintainers/ace/cluster-nodes/kestrel/node.yaml\ndetail=on main\n";
    for (text, node) in [
        (second, "kestrel"),
        ("2026-05-19T10:11:12Z\n", &host),
        ("https://github.com/forest/trees/pull/7\n", &host),
    ] {
        let (forge, machine) = (FakeGithub::new(), Machine::new());
        forge.model(|model| model.commit("main", &node_path("ace", node), "kind: ClusterNode\n"));
        put(&machine, text);
        let out = machine.register(&forge, &[]);
        assert!(out.status == 0 && out.out.contains("registered"), "{text:?}: {out:?}");
        assert_eq!((opened(&forge), machine.show()["node"].as_str()), (0, Some(node)));
    }
}

#[test]
fn an_attempt_of_the_original_counts_and_a_name_that_is_none_here_is_told() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let now = zeta_os::host::wall_us() / 1_000_000;
    let path = node_path("ace", "kestrel");
    put(&machine, &format!("state=pr-failed\nnode-path={path}\nlast-pr-attempt-epoch={now}\n"));
    let out = machine.register(&forge, &[]);
    assert_eq!((out.status, opened(&forge)), (6, 0), "{out:?}");
    put(&machine, &format!("state=converged\nnode-path={}\n", node_path("ace", "Kestrel.local")));
    let out = machine.register(&forge, &[]);
    assert_eq!((out.status, opened(&forge)), (7, 0), "{out:?}");
    assert!(out.err.contains("Kestrel.local") && out.err.contains("--node"), "{out:?}");
}

#[test]
fn a_receipt_that_was_carried_to_another_machine_gives_it_no_name() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(machine.register(&forge, &["--node", "node-0e"]).status, 0);
    let kept = std::fs::read_to_string(machine.receipt()).unwrap();
    let ours = zeta_os::machine::bindings().unwrap();
    assert_eq!(kept.contains("machine="), !ours.is_empty(), "{kept}");
    assert!(ours.iter().all(|binding| kept.contains(binding)), "{kept}");
    assert!(machine.register(&forge, &[]).out.contains("waits for"), "its own is believed");
    forge.model(|model| model.merge(1));
    let lines = kept.lines().filter(|line| !line.starts_with("machine="));
    let other = lines.map(|line| format!("{line}\n")).collect::<String>();
    put(&machine, &(other + "machine=00112233445566778899aabbccddeeff\n"));
    let mut show = machine.sandbox.cmd(&["node", "show"]);
    let out = run(machine.settle(&mut show));
    assert!(out.status == 4 && out.err.contains("another machine"), "{out:?}");
    let out = machine.register(&forge, &[]);
    assert_eq!((out.status, opened(&forge)), (0, 2), "{out:?}");
    assert_ne!(machine.show()["node"], "node-0e");
}

#[test]
fn a_session_s_name_of_the_tree_is_no_other_node() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    machine.sandbox.ok(&["init"]);
    forge.model(|model| model.commit("main", &node_path("ace", "kestrel"), "kind: ClusterNode\n"));
    put(&machine, &format!("state=converged\nnode-path={}\n", node_path("ace", "kestrel")));
    let inner = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let mut session = machine.sandbox.cmd(&["run", "--as", "otto", "--"]);
    session.arg(inner.get_program()).args(inner.get_args());
    let out = run(machine.settle(&mut session));
    assert!(out.status == 0 && out.out.contains("registered"), "{out:?}");
    assert_eq!((opened(&forge), machine.show()["node"].as_str()), (0, Some("kestrel")));
}
