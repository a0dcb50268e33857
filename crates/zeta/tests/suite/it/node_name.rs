//! The name of this machine's node outlives the tree, and belongs to one machine.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::support::{Sandbox, can, is_root, run, skip, test_name};

/// The name of the node, after the first use of a tree.
fn name(sandbox: &Sandbox) -> String {
    sandbox.ok(&["init", "--quiet"]);
    fs::read_to_string(sandbox.state.join("local-node")).unwrap()
}

/// The files that keep the name.
fn kept(home: &Path) -> Vec<PathBuf> {
    let dir = home.join(".local/state/zeta/node-name");
    fs::read_dir(dir).map_or(Vec::new(), |entries| entries.map(|e| e.unwrap().path()).collect())
}

/// Returns true if this machine has a card by which it is known.
fn is_known(test: &str) -> bool {
    let known = !zeta_os::machine::bindings().unwrap().is_empty();
    if !known {
        skip(test, "this machine shows no network card of its own");
    }
    known
}

#[test]
fn the_node_keeps_its_name_when_the_tree_is_lost() {
    let sandbox = Sandbox::new();
    if !is_known(test_name!()) {
        return;
    }
    let first = name(&sandbox);
    fs::remove_dir_all(&sandbox.state).unwrap();
    assert_eq!(name(&sandbox), first, "the tree was lost");
    let files = kept(&sandbox.dir);
    assert!(!files.is_empty());
    for file in &files {
        assert_eq!(fs::read_to_string(file).unwrap(), format!("node: {first}"));
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o600);
    }
    // A tree that has its name does not look at the kept one, and does not change it.
    files.iter().for_each(|file| fs::write(file, "node: node-other\n").unwrap());
    assert_eq!(name(&sandbox), first);
    fs::remove_dir_all(&sandbox.state).unwrap();
    assert_eq!(name(&sandbox), "node-other\n");
    // What is no name is passed over.
    files.iter().for_each(|file| fs::write(file, "node: A B\n").unwrap());
    fs::remove_dir_all(&sandbox.state).unwrap();
    assert!(name(&sandbox).starts_with("node-"));
}

#[test]
fn without_a_home_of_its_user_the_name_is_in_the_tree_alone() {
    let sandbox = Sandbox::new();
    let home = sandbox.dir.join("home");
    fs::create_dir(&home).unwrap();
    let mut homes = vec![("", "none"), ("/", "root directory"), ("home", "relative")];
    homes.push(("/proc/self/no", "not there and not to be made"));
    let own = home.display().to_string();
    match is_root() {
        true => std::os::unix::fs::chown(&home, Some(12345), None).unwrap(),
        false => fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).unwrap(),
    }
    homes.push((&own, "another user's, or not writable"));
    for (home, what) in homes {
        let out = run(sandbox.cmd(&["init"]).env("HOME", home).current_dir(&*sandbox.dir));
        assert_eq!(out.status, 0, "home {what}: {out:?}");
        assert!(sandbox.state.join("local-node").exists());
        fs::remove_dir_all(&sandbox.state).unwrap();
    }
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0, "nothing was made there");
    assert!(!Path::new("/.local/state/zeta").exists());
}

#[test]
fn a_node_whose_leases_stand_keeps_its_name_when_only_the_file_of_it_is_removed() {
    let sandbox = Sandbox::new();
    // Without a home nothing is kept outside of the tree.
    let acquire = |agent: &str| {
        run(sandbox.cmd(&["lease", "acquire", "deploy", "--as", agent]).env("HOME", ""))
    };
    assert_eq!(acquire("ann").status, 0);
    let file = sandbox.state.join("local-node");
    let first = fs::read_to_string(&file).unwrap();
    // Nodes that come first by name: one without leases, and one with a lease of another boot.
    for node in ["aaa", "bbb"] {
        let dir = sandbox.state.join("nodes").join(node);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let own = sandbox.state.join("nodes").join(first.trim()).join("deploy.lock");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other = "11111111-2222-4333-8444-555555555555";
    let old = fs::read_to_string(own).unwrap().replace(boot_id.trim(), other);
    fs::write(sandbox.state.join("nodes/bbb/deploy.lock"), old).unwrap();
    fs::remove_file(&file).unwrap();
    let out = acquire("bob");
    assert_eq!(out.status, 3, "two holders: {out:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
}

/// Makes calls on a machine whose only card has the address `$1` (of the kind `$2`).
const WITH_CARD: &str = r#"
mount -t tmpfs none /sys/class/net &&
mkdir -p /sys/class/net/eth0/device &&
echo "$1" >/sys/class/net/eth0/address && echo "$2" >/sys/class/net/eth0/addr_assign_type &&
exec "$0" init --quiet"#;

#[test]
fn a_home_or_an_image_that_machines_share_gives_each_its_own_name() {
    let sandbox = Sandbox::new();
    if !can("unshare", &["-rm", "mount", "-t", "tmpfs", "none", "/sys/class/net"]) {
        return skip(test_name!(), "no mount over /sys/class/net");
    }
    let on = |address: &str, kind: &str| {
        // A tree of its own, as each machine has one in its /tmp.
        let _ = fs::remove_dir_all(&sandbox.state);
        let zeta = env!("CARGO_BIN_EXE_zeta");
        let mut call =
            sandbox.other("unshare", &["-rm", "sh", "-c", WITH_CARD, zeta, address, kind]);
        let out = run(&mut call);
        assert_eq!(out.status, 0, "{out:?}");
        fs::read_to_string(sandbox.state.join("local-node")).unwrap()
    };
    let (one, two) = ("00:1b:21:0a:0b:0c", "00:1b:21:0a:0b:0d");
    let first = on(one, "0");
    let second = on(two, "0");
    assert_ne!(first, second);
    assert_eq!((on(one, "0"), on(two, "0")), (first.clone(), second));
    // The address of a container's card is random: nothing is kept for it.
    assert_ne!(on(one, "1"), first);
    assert_eq!(kept(&sandbox.dir).len(), 2);
}

#[test]
fn init_refuses_a_name_that_this_machine_does_not_have() {
    let sandbox = Sandbox::new();
    let out = sandbox.refused(&["init", "--node", "node-other"], 7);
    assert!(out.err.contains("node-other") && out.err.contains("--node"), "{out:?}");
    assert!(!sandbox.state.join("local-node").exists(), "nothing was made");
    let own = name(&sandbox);
    sandbox.refused(&["init", "--node", "node-other"], 7);
    sandbox.ok(&["init", "--node", own.trim()]);
}
