//! Which node this machine is: the receipts of the original, and those that were carried here.

use zeta_cluster::identity::Identity;
use zeta_core::registration::node_path;

use super::fake_github::FakeGithub;
use super::machine::{Machine, opened};
use crate::support::{can, is_root, run, skip, test_name};

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

#[test]
fn a_session_whose_tree_is_gone_is_no_other_node() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    machine.sandbox.ok(&["init"]);
    assert_eq!(machine.register(&forge, &["--node", "kestrel"]).status, 0);
    let inner = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let mut session = machine.sandbox.cmd(&["run", "--as", "otto", "--", "sh", "-c"]);
    let script = "mv \"$ZETA_STATE_DIR\" \"$ZETA_STATE_DIR.gone\"; exec \"$0\" \"$@\"";
    session.arg(script).arg(inner.get_program()).args(inner.get_args());
    let out = run(machine.settle(&mut session));
    assert!(out.out.contains("waits for"), "{out:?}");
    assert_eq!(opened(&forge), 1, "{out:?}");
}

#[test]
fn an_agent_in_a_service_of_another_program_is_no_other_node() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(machine.register(&forge, &["--node", "kestrel"]).status, 0);
    let (first, second) = (machine.home.join("first"), machine.home.join("second"));
    let both = format!("{}:{}", first.display(), second.display());
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let out = run(command.env("STATE_DIRECTORY", both));
    assert!(out.status == 0 && out.out.contains("waits for"), "{out:?}");
    assert_eq!(opened(&forge), 1, "{out:?}");
    assert!(first.join("self-registered.marker").is_file(), "the first of its directories");
}

#[test]
fn a_service_that_can_enter_no_home_registers() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    machine.sandbox.ok(&["init"]);
    let home = machine.home.join("closed");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::symlink(".config", home.join(".config")).unwrap();
    for home in [home.as_path(), std::path::Path::new("/dev/null")] {
        let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
        command.env("STATE_DIRECTORY", machine.home.join("own")).env("HOME", home);
        let out = run(command.env("XDG_CONFIG_HOME", &machine.home));
        assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    }
    // Without a directory of its own it has no place for its receipt; root has one.
    if !is_root() {
        let (forge, machine) = (FakeGithub::new(), Machine::new());
        machine.sandbox.ok(&["init"]);
        let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
        let out = run(command.env("HOME", "/dev/null"));
        assert_eq!((out.status, opened(&forge)), (7, 0), "{out:?}");
        assert!(out.err.contains("cannot write /dev/null/.config/zeta/"), "{out:?}");
    }
}

#[test]
fn root_makes_nothing_in_the_home_of_another_user() {
    use std::os::unix::fs::chown;
    // Its own /var/lib, which goes away with the call.
    if !is_root() || !can("unshare", &["-m", "mount", "-t", "tmpfs", "none", "/var/lib"]) {
        return skip(test_name!(), "not root, or no mount of its own");
    }
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    machine.sandbox.ok(&["init"]);
    let home = machine.home.join("ace");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(64101), Some(64101)).unwrap();
    let inner = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let called = |after: &str| {
        let script = format!("mount -t tmpfs none /var/lib && \"$0\" \"$@\" {after}");
        let mut shell = machine.sandbox.other("unshare", &["-m", "sh", "-c", &script]);
        shell.arg(inner.get_program()).args(inner.get_args());
        run(machine.settle(&mut shell).env("HOME", &home))
    };
    let out = called("&& \"$0\" \"$@\" && ls /var/lib/zeta");
    assert!(out.out.contains("waits for") && out.out.contains("self-registered.marker"), "{out:?}");
    assert_eq!((opened(&forge), std::fs::read_dir(&home).unwrap().count()), (1, 0), "{out:?}");
    // The name that the user's own receipt has is this machine's.
    let config = home.join(".config/zeta");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("self-registered.marker"), "state=converged\nnode=kestrel\n")
        .unwrap();
    for path in [&config, &home.join(".config")] {
        chown(path, Some(64101), Some(64101)).unwrap();
    }
    let out = called("--dry-run");
    assert!(out.out.contains("name: kestrel"), "{out:?}");
}

#[test]
fn a_home_that_is_no_absolute_path_is_none() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    put(&machine, "state=converged\nnode=kestrel\nnode-path=x\n");
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace", "--dry-run"]);
    let out = run(command.env("HOME", "home").current_dir(&machine.sandbox.dir));
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("name: ") && !out.out.contains("kestrel"), "{out:?}");
}

#[test]
fn a_receipt_may_be_named_by_a_bare_name() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    command.env("ZETA_SELF_REGISTER_MARKER", "receipt").current_dir(&machine.home);
    let out = run(&mut command);
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    assert!(machine.home.join("receipt").is_file());
}

#[test]
fn a_umask_that_shuts_the_owner_out_makes_no_directory_that_nobody_can_enter() {
    use std::os::unix::fs::PermissionsExt as _;
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    machine.sandbox.ok(&["init"]);
    let inner = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let mut shell = machine.sandbox.other("sh", &["-c", "umask 777; exec \"$0\" \"$@\""]);
    shell.arg(inner.get_program()).args(inner.get_args());
    let out = run(machine.settle(&mut shell));
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    for dir in [".config", ".config/zeta"] {
        let mode = std::fs::metadata(machine.home.join(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{dir}");
    }
    assert_eq!(std::fs::read_dir(machine.home.join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_public_key_of_a_node_that_has_joined_stands_in_its_file_and_no_seed_does() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let call = |args: &[&str]| run(machine.settle(&mut machine.sandbox.cmd(args)));
    let dry = ["node", "register", "--maintainer", "ace", "--node", "node-0e", "--dry-run"];
    assert!(!call(&dry).out.contains("cluster-key"), "it has not joined");
    let dir = machine.home.join(".local/state/zeta/cluster");
    let bind = |node: &str| {
        let cluster = "0123456789abcdef0123456789abcdef".parse().unwrap();
        Identity::bind(&dir, &node.parse().unwrap(), &cluster).unwrap().public_key()
    };
    let key = bind("node-0e");
    let out = machine.register(&forge, &["--node", "node-0e"]);
    assert_eq!(out.status, 0, "{out:?}");
    let yaml = call(&dry).out;
    let line = format!("zeta.lucent-financial-group.com/cluster-key: {key}");
    assert!(yaml.contains(&line), "{line} is not in {yaml}");
    let seed = std::fs::read_to_string(dir.join("node.nk")).unwrap();
    assert!(!yaml.contains(seed.trim()));
    assert_eq!(machine.show()["cluster_key"], key);
    forge.model(|model| model.merge(1));
    let listed = run(&mut machine.command(&forge, "list", &["--json"]));
    assert!(listed.out.contains(&format!("\"cluster_key\":\"{key}\"")), "{listed:?}");
    // The key of another node is not this one's.
    let other = ["node", "register", "--maintainer", "ace", "--node", "node-0f", "--dry-run"];
    assert!(!call(&other).out.contains("cluster-key"));
    // What is wrong with the identity is said, and the registration goes on.
    std::fs::write(dir.join("identity"), "x").unwrap();
    let out = call(&dry);
    assert!(out.status == 0 && out.err.contains("no cluster key"), "{out:?}");
}
