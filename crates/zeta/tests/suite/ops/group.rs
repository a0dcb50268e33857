//! A tree that several users share, made by root: real users (by number), a real group, real modes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::sandbox::{Done, Sandbox, run};
use crate::cluster::bridge::Node;
use crate::cluster::{nats, program};
use crate::support::{anchor_of, find, is_root, skip, test_name, wait_for};

/// Two members and an outsider; they need no line in `/etc/passwd`.
const ALICE: &str = "64101";
const BOB: &str = "64102";
const MALLORY: &str = "64103";
/// The user of the services, a member, too.
const SERVICE: &str = "64104";

/// A sandbox with a group of its own, which goes away with the test.
struct GroupSandbox {
    sandbox: Sandbox,
    group: String,
    binary: PathBuf,
}

impl GroupSandbox {
    /// `None`, loudly, where this cannot be tested.
    fn new(test: &str) -> Option<GroupSandbox> {
        if !is_root() {
            skip(test, "not root");
            return None;
        }
        for program in ["setpriv", "groupadd", "groupdel", "getent"] {
            if find(program).is_none() {
                skip(test, &format!("no {program}"));
                return None;
            }
        }
        let sandbox = Sandbox::new();
        let tail = sandbox.dir().file_name().unwrap().to_string_lossy().replace("zeta-ops-", "zt");
        // Others may not search the build directory; the copy they may run.
        let binary = sandbox.dir().join("zeta");
        fs::copy(env!("CARGO_BIN_EXE_zeta"), &binary).unwrap();
        let group = GroupSandbox { sandbox, group: tail, binary };
        run("groupadd", &["--system", &group.group]);
        Some(group)
    }

    fn init(&self, more: &[&str]) -> Done {
        let args = ["init", "--group", &self.group, "--no-install"];
        self.sandbox.zeta(&[&args[..], more].concat())
    }

    fn gid(&self) -> u32 {
        let out = Command::new("getent").args(["group", &self.group]).output().unwrap().stdout;
        String::from_utf8(out).unwrap().split(':').nth(2).unwrap().parse().unwrap()
    }

    /// Makes a call as another user, a member of the group or not.
    fn by(&self, uid: &str, member: bool, args: &[&str]) -> Done {
        Done::of(&mut self.call_by(uid, member, args))
    }

    fn call_by(&self, uid: &str, member: bool, args: &[&str]) -> Command {
        let gid = self.gid().to_string();
        let groups = if member { format!("--groups={gid}") } else { "--clear-groups".to_owned() };
        let mut call = Command::new("setpriv");
        call.args(["--reuid", uid, "--regid", uid, &groups]).arg(&self.binary).args(args);
        self.sandbox.dress(&mut call).env("USER", format!("user-{uid}"));
        call
    }

    fn anchor(&self) -> PathBuf {
        anchor_of(&self.sandbox.tree())
    }
}

impl Drop for GroupSandbox {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.anchor());
        let _ = fs::remove_file(anchor_of(&self.sandbox.bus()));
        let _ = Command::new("groupdel").arg(&self.group).output();
    }
}

#[test]
fn only_root_makes_a_group_s_tree() {
    let Some(sandbox) = GroupSandbox::new(test_name!()) else { return };
    sandbox.init(&[]).expect(0);
    let args = ["init", "--group", &sandbox.group, "--no-install"];
    let done = sandbox.by(ALICE, true, &args).expect(2);
    assert!(done.err.contains("only root") && done.err.contains("sudo"), "{}", done.err);
    let again = sandbox.init(&["--json"]).expect(0).json();
    assert_eq!(again["mode"], "group");
    assert_eq!(crate::json::misfits("init", &again), [""; 0], "{again}");
}

#[test]
fn a_refused_init_has_created_no_group() {
    let Some(sandbox) = GroupSandbox::new(test_name!()) else { return };
    let is_there = |group: &str| {
        Command::new("getent").args(["group", group]).output().unwrap().status.success()
    };
    // A name that may be misspelt.
    for more in [&["--no-install"][..], &[]] {
        let args = [&["init", "--group", "zt-misspelt"], more].concat();
        let done = sandbox.sandbox.zeta(&args).expect(4);
        assert!(done.err.contains("groupadd --system zt-misspelt"), "{}", done.err);
        assert!(!is_there("zt-misspelt") && !sandbox.sandbox.tree().exists());
    }
    if is_there("zeta") {
        return skip(test_name!(), "there is a group zeta on this machine");
    }
    sandbox.sandbox.zeta(&["init"]).expect(0);
    sandbox.sandbox.zeta(&["init", "--group", "zeta", "--no-install"]).expect(4);
    let done = sandbox.sandbox.zeta(&["init", "--group", "zeta"]).expect(7);
    assert!(done.err.contains("--replace"), "{}", done.err);
    assert!(!is_there("zeta"), "the refused call has created a group");
}

#[test]
fn the_tree_has_its_modes_and_repeating_is_safe() {
    let Some(sandbox) = GroupSandbox::new(test_name!()) else {
        return;
    };
    let done = sandbox.init(&[]).expect(0).out;
    assert!(done.contains("found    group") && done.contains("root made"), "{done}");
    let (gid, node) = (sandbox.gid(), sandbox.sandbox.node_name());
    let before: Vec<_> = ["", "nodes", "README.md", "local-node", &node]
        .iter()
        .map(|below| {
            let meta = fs::metadata(sandbox.sandbox.tree().join(below)).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (0, gid), "{below:?}");
            (meta.mode() & 0o7777, meta.ino())
        })
        .collect();
    let modes: Vec<u32> = before.iter().map(|(mode, _)| *mode).collect();
    assert_eq!(modes, [0o2750, 0o3770, 0o444, 0o640, 0o2770]);
    let anchor = fs::read_to_string(sandbox.anchor()).unwrap();
    assert!(anchor.contains(&format!("ino: {}\n", before[0].1)), "{anchor}");
    let again = sandbox.init(&[]).expect(0).out;
    assert!(again.contains("found    group"), "{again}");
    assert_eq!(sandbox.sandbox.node_name(), node);
    assert_eq!(fs::metadata(sandbox.sandbox.tree()).unwrap().ino(), before[0].1);
    let left = fs::read_dir(sandbox.sandbox.dir()).unwrap().flatten().map(|e| e.file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("refused")));
}

#[test]
fn members_work_in_turns_and_an_outsider_is_told_the_group() {
    let name = "members_work_in_turns_and_an_outsider_is_told_the_group";
    let Some(sandbox) = GroupSandbox::new(name) else { return };
    sandbox.init(&[]).expect(0);
    let token = sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(0);
    let held = sandbox.by(BOB, true, &["lease", "acquire", "a"]).expect(3);
    assert!(held.err.contains("user-64101"), "{}", held.err);
    sandbox.by(ALICE, true, &["lease", "release", "a", "--token", token.out.trim()]).expect(0);
    let short = ["lease", "acquire", "a", "--ttl", "100ms", "--grace", "100ms"];
    sandbox.by(BOB, true, &short).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(300));
    // One member cleans what another left, and a third takes over what is left.
    let cleaned = sandbox.by(ALICE, true, &["clean"]).expect(0);
    assert!(cleaned.out.contains("a.lock: expired"), "{}", cleaned.out);
    sandbox.by(BOB, true, &short).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(300));
    sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(0);
    sandbox.by(ALICE, true, &["doctor"]).expect(0);
    sandbox.by(ALICE, true, &["init"]).expect(0);
    // Both have written the history.
    let log = sandbox.by(BOB, true, &["log"]).expect(0);
    let agents = [ALICE, BOB].map(|uid| format!("user-{uid}"));
    assert!(agents.iter().all(|agent| log.out.contains(agent)), "{}", log.out);
    assert_eq!(log.out.lines().count(), 5, "{}", log.out);
    let outside = sandbox.by(MALLORY, false, &["lease", "list"]).expect(7);
    assert!(outside.err.contains(&sandbox.group), "{}", outside.err);
    assert!(outside.err.contains("not a member"), "{}", outside.err);
    let doctor = sandbox.by(MALLORY, false, &["doctor"]).expect(7);
    assert!(doctor.out.contains("gpasswd"), "{}", doctor.out);
}

#[test]
fn a_squatted_directory_is_refused_by_owner_and_moved_aside_untouched_on_request() {
    let name = "a_squatted_directory_is_refused_by_owner_and_moved_aside_untouched_on_request";
    let Some(sandbox) = GroupSandbox::new(name) else { return };
    let tree = sandbox.sandbox.tree();
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("bait"), "x").unwrap();
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o777)).unwrap();
    chown(&tree, Some(1), Some(1)).unwrap();
    let ino = fs::metadata(&tree).unwrap().ino();
    for args in [&["init"][..], &["lease", "acquire", "a"], &["doctor"]] {
        let done = sandbox.sandbox.zeta(args).expect(7);
        assert!(format!("{}{}", done.out, done.err).contains("user daemon (1)"), "{}", done.err);
    }
    let refused = sandbox.init(&[]).expect(7);
    assert!(refused.err.contains("user daemon (1)"), "{}", refused.err);
    assert!(refused.err.contains("--replace"), "{}", refused.err);
    let done = sandbox.init(&["--replace"]).expect(0);
    assert!(done.out.contains(".refused-"), "{}", done.out);
    let aside = fs::read_dir(sandbox.sandbox.dir()).unwrap().flatten().map(|entry| entry.path());
    let aside = aside.filter(|path| path.to_string_lossy().contains("tree.refused-"));
    let aside: Vec<_> = aside.collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    let meta = fs::metadata(&aside[0]).unwrap();
    assert_eq!((meta.ino(), meta.uid(), meta.mode() & 0o7777), (ino, 1, 0o777));
    assert!(aside[0].join("bait").exists());
    assert_eq!(sandbox.sandbox.mode(""), 0o2750);
    sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(0);
    let doctor = sandbox.sandbox.zeta(&["doctor"]).expect(0);
    assert!(doctor.out.contains("moved aside"), "{}", doctor.out);
}

#[test]
fn a_private_tree_of_root_keeps_its_name_and_is_replaced_only_on_request() {
    let name = "a_private_tree_of_root_keeps_its_name_and_is_replaced_only_on_request";
    let Some(sandbox) = GroupSandbox::new(name) else { return };
    sandbox.sandbox.zeta(&["init"]).expect(0);
    let node = sandbox.sandbox.node_name();
    let refused = sandbox.init(&[]).expect(7);
    assert!(refused.err.contains("private to root"), "{}", refused.err);
    let seen = sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(7);
    assert!(seen.err.contains("user root (0)"), "{}", seen.err);
    assert!(seen.err.contains("--state-dir") && seen.err.contains("--group"), "{}", seen.err);
    sandbox.init(&["--replace"]).expect(0);
    assert_eq!(sandbox.sandbox.node_name(), node);
}

#[test]
fn another_directory_under_the_same_name_is_found_by_the_anchor() {
    let name = "another_directory_under_the_same_name_is_found_by_the_anchor";
    let Some(sandbox) = GroupSandbox::new(name) else { return };
    let (tree, other) = (sandbox.sandbox.tree(), sandbox.sandbox.dir().join("other"));
    sandbox.init(&[]).expect(0);
    fs::rename(&tree, &other).unwrap();
    // Where root made one, no answer is given without it.
    for args in
        [&["status"][..], &["status", "--json"], &["lease", "list"], &["lease", "show", "a"]]
    {
        let done = sandbox.by(ALICE, true, args).expect(7);
        assert!(done.err.contains("it is missing"), "{args:?}: {}", done.err);
    }
    sandbox.init(&[]).expect(0);
    fs::rename(&tree, sandbox.sandbox.dir().join("real")).unwrap();
    fs::rename(&other, &tree).unwrap();
    let done = sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(7);
    assert!(done.err.contains("not the directory that root made"), "{}", done.err);
    assert!(done.err.contains("it was replaced since"), "{}", done.err);
    let doctor = sandbox.by(ALICE, true, &["doctor"]).expect(7);
    assert!(doctor.out.contains("not the directory that root made"), "{}", doctor.out);
    // Without an anchor the mounts decide, and they tell nothing here.
    fs::remove_file(sandbox.anchor()).unwrap();
    sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(0);
    let doctor = sandbox.by(ALICE, true, &["doctor"]).expect(0);
    assert!(doctor.out.contains("state-anchor"), "{}", doctor.out);
}

#[test]
fn a_private_tmp_is_no_place_to_make_or_keep_a_tree() {
    let test = test_name!();
    let Some(sandbox) = GroupSandbox::new(test) else { return };
    let private = sandbox.sandbox.dir().join("systemd-private-0-zeta/tmp");
    let tmp = sandbox.sandbox.dir().join("tmp");
    fs::create_dir_all(&private).unwrap();
    fs::create_dir(&tmp).unwrap();
    let inside = |args: &str| {
        let script = format!(
            "mount --bind {} {tmp} && ZETA_STATE_DIR={tmp}/tree {} {args}",
            private.display(),
            sandbox.binary.display(),
            tmp = tmp.display(),
        );
        let mut call = Command::new("unshare");
        call.args(["--mount", "sh", "-c", &script]);
        Done::of(sandbox.sandbox.dress(&mut call))
    };
    let probe = inside("guide");
    if probe.status != 0 {
        return skip(test, &format!("no mount namespace here: {}", probe.err.trim()));
    }
    // Those that only read know as little.
    let verbs = ["init", "init --group zeta --no-install", "lease acquire a", "run -- true"];
    for args in verbs.into_iter().chain(["status", "status --json", "lease list", "lease show a"]) {
        let done = inside(args).expect(7);
        assert!(done.err.contains("PrivateTmp=no"), "{args}: {}", done.err);
    }
    assert!(fs::read_dir(&private).unwrap().next().is_none());
    let doctor = inside("doctor").expect(7);
    assert!(doctor.out.contains("private_tmp"), "{}", doctor.out);
    run("rmdir", &[&private]);
}

#[test]
fn doctor_finds_a_node_directory_that_members_cannot_use() {
    let Some(sandbox) = GroupSandbox::new(test_name!()) else {
        return;
    };
    sandbox.init(&[]).expect(0);
    sandbox.sandbox.chmod(&sandbox.sandbox.node_name(), 0o700);
    let doctor = sandbox.sandbox.zeta(&["doctor"]).expect(7);
    assert!(doctor.out.contains("mode: ") && doctor.out.contains("2770"), "{}", doctor.out);
    sandbox.sandbox.chmod(&sandbox.sandbox.node_name(), 0o2770);
    sandbox.sandbox.zeta(&["doctor"]).expect(0);
    sandbox.sandbox.chmod("nodes", 0o700);
    sandbox.init(&[]).expect(7);
    sandbox.sandbox.zeta(&["doctor"]).expect(7);
}

#[test]
fn a_tree_that_was_made_at_boot_is_completed() {
    let Some(sandbox) = GroupSandbox::new(test_name!()) else {
        return;
    };
    let tree = sandbox.sandbox.tree();
    for (path, mode) in [(tree.clone(), 0o2750), (tree.join("nodes"), 0o3770)] {
        fs::create_dir(&path).unwrap();
        chown(&path, Some(0), Some(sandbox.gid())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let early = sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(7);
    assert!(early.err.contains("root decides the name"), "{}", early.err);
    sandbox.init(&[]).expect(0);
    assert_eq!(
        (sandbox.sandbox.mode("local-node"), sandbox.sandbox.mode("README.md")),
        (0o640, 0o444)
    );
    sandbox.by(ALICE, true, &["lease", "acquire", "a"]).expect(0);
    sandbox.by(BOB, true, &["doctor"]).expect(0);
}

#[test]
fn a_group_s_tree_comes_with_a_bus_on_which_all_members_claim() {
    let Some(sandbox) = GroupSandbox::new(test_name!()) else { return };
    sandbox.init(&[]).expect(0);
    let (bus, gid) = (sandbox.sandbox.bus(), sandbox.gid());
    let meta = fs::metadata(&bus).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, gid, 0o2770));
    assert!(anchor_of(&bus).exists());
    let claim = |uid, verb: &str, more: &[&str]| {
        sandbox.by(uid, true, &[&["claim", verb, "B-1"], more].concat())
    };
    let token = claim(ALICE, "acquire", &["--branch", "b"]).expect(0).out.trim().to_owned();
    let held = claim(BOB, "acquire", &[]).expect(3);
    assert!(held.err.contains("user-64101") && !held.err.contains("--bus-dir"), "{}", held.err);
    claim(BOB, "release", &[]).expect(5);
    claim(ALICE, "release", &["--token", &token]).expect(0);
    let short = claim(BOB, "acquire", &["--ttl", "100ms"]).expect(0);
    assert!(short.out.trim() > token.as_str());
    std::thread::sleep(std::time::Duration::from_millis(300));
    claim(ALICE, "acquire", &[]).expect(0);
    // Messages, their deliveries and what is cleaned are everybody's, too.
    let publish = ["bus", "publish", "--to", "user-64102", "--topic", "note", "--topic-ttl", "1h"];
    sandbox.by(ALICE, true, &[&publish[..], &["--payload", "1"]].concat()).expect(0);
    sandbox.by(BOB, true, &["bus", "subscribe"]).expect(0);
    let list = sandbox.by(BOB, true, &["bus", "list", "--topic", "note"]).expect(0);
    assert!(list.out.contains("user-64101 -> user-64102"), "{}", list.out);
    sandbox.by(BOB, true, &["bus", "clean"]).expect(0);
    sandbox.by(ALICE, true, &["doctor"]).expect(0);
    // An outsider is kept out, and gets no advice that leads away from the group.
    for args in [&["bus", "list"][..], &["claim", "acquire", "B-1"]] {
        let done = sandbox.by(MALLORY, false, args).expect(7);
        assert!(done.err.contains("not a member"), "{}", done.err);
    }
    let again = sandbox.init(&[]).expect(0);
    assert!(again.out.contains("2770 root"), "{}", again.out);
}

#[test]
fn a_bus_of_one_user_beside_a_group_s_tree_is_refused_for_claims_and_found() {
    let name = "a_bus_of_one_user_beside_a_group_s_tree_is_refused_for_claims_and_found";
    let Some(sandbox) = GroupSandbox::new(name) else { return };
    let bus = sandbox.sandbox.bus();
    sandbox.init(&[]).expect(0);
    // Where root makes the bus, no member makes one in its place.
    fs::remove_dir_all(&bus).unwrap();
    for args in [&["claim", "acquire", "B-1"][..], &["bus", "watch", "--timeout", "1s"]] {
        let done = sandbox.by(ALICE, true, args).expect(7);
        assert!(done.err.contains("zeta init --group"), "{}", done.err);
        assert!(!done.err.contains("--bus-dir"), "{}", done.err);
    }
    let doctor = sandbox.by(ALICE, true, &["doctor"]).expect(7);
    assert!(doctor.out.contains("does not exist"), "{}", doctor.out);
    // As a version without a group's bus left it.
    fs::remove_file(anchor_of(&bus)).unwrap();
    fs::create_dir(&bus).unwrap();
    fs::set_permissions(&bus, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&bus, Some(64101), Some(64101)).unwrap();
    let own = sandbox.by(ALICE, true, &["claim", "acquire", "B-1"]).expect(7);
    assert!(own.err.contains("is yours alone"), "{}", own.err);
    let other = sandbox.by(BOB, true, &["claim", "acquire", "B-1"]).expect(7);
    assert!(other.err.contains("64101") && !other.err.contains("--bus-dir"), "{}", other.err);
    let doctor = sandbox.by(ALICE, true, &["doctor"]).expect(7);
    assert!(doctor.out.contains("is one user's alone"), "{}", doctor.out);
    let refused = sandbox.init(&[]).expect(7);
    assert!(refused.err.contains("64101") && refused.err.contains("--replace"), "{}", refused.err);
    let done = sandbox.init(&["--replace"]).expect(0);
    assert!(done.out.contains("bus.refused-"), "{}", done.out);
    sandbox.by(BOB, true, &["claim", "acquire", "B-1"]).expect(0);
    sandbox.by(ALICE, true, &["doctor"]).expect(0);
}

#[test]
fn the_members_of_a_group_are_one_node_of_a_cluster() {
    let Some(sandbox) = GroupSandbox::new(test_name!()) else { return };
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    sandbox.init(&[]).expect(0);
    let home = sandbox.sandbox.dir();
    let server = nats::Server::start(&program, &home.join("server"), "").unwrap();
    let dir = home.join("cluster");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |file: &str| fs::metadata(dir.join(file)).unwrap().mode() & 0o7777;
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(SERVICE.parse().unwrap()), Some(sandbox.gid())).unwrap();
    set_mode(&dir, 0o2770);
    let url = server.url();
    let text = format!("cluster_server = {url:?}\ncluster_dir = {dir:?}\n");
    sandbox.sandbox.configure(&text);
    sandbox.by(SERVICE, true, &["cluster", "init"]).expect(0);
    sandbox.by(SERVICE, true, &["cluster", "join"]).expect(0);
    let mut bridge = sandbox.call_by(SERVICE, true, &["cluster", "bridge"]);
    let mut bridge = bridge.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let other = Node::new("node-b", &server).started();
    other.sandbox.acquire(&["theirs", "--ttl", "10m"]);
    let copy = sandbox.sandbox.tree().join("nodes/node-b/theirs.lock");
    wait_for("the bridge has written what another machine has", || copy.exists());
    let seen = sandbox.by(BOB, true, &["status", "--node", "node-b"]).expect(0);
    assert!(seen.out.contains("theirs"), "{}", seen.out);
    let acquire = ["lease", "acquire", "job", "--scope", "cluster"];
    let token = sandbox.by(ALICE, true, &acquire).expect(0);
    let renew = ["lease", "renew", "job", "--token", token.out.trim()];
    sandbox.by(ALICE, true, &renew).expect(0);
    let held = sandbox.by(BOB, true, &acquire).expect(3);
    assert!(held.err.contains("user-64101"), "{}", held.err);
    let release = ["lease", "release", "job", "--token", token.out.trim()];
    sandbox.by(ALICE, true, &release).expect(0);
    let exec = ["lease", "exec", "job", "--scope", "cluster", "--", "true"];
    sandbox.by(BOB, true, &exec).expect(0);
    let copy = sandbox.sandbox.tree().join("cluster/leases/job.lease");
    let ended = || fs::read_to_string(&copy).is_ok_and(|text| text.contains("lease_end"));
    wait_for("the bridge has seen the end of it", ended);
    let status = sandbox.by(BOB, true, &["cluster", "status"]).expect(0);
    assert!(status.out.contains(": connected since"), "{}", status.out);
    // An outsider has no part in it, and neither has the group in the login of the administrator.
    sandbox.by(MALLORY, false, &acquire).expect(7);
    let line = sandbox.by(BOB, true, &["cluster", "join", "--key-only"]).expect(0).out;
    let member = line.trim().replacen(' ', "=", 1);
    sandbox.by(SERVICE, true, &["cluster", "config", "--member", &member]).expect(0);
    assert_eq!(["node.nk", "identity", "admin.nk"].map(mode), [0o640, 0o660, 0o600]);
    // A directory that all may search is none of a group.
    set_mode(&dir, 0o2775);
    let open = sandbox.by(ALICE, true, &acquire).expect(7);
    assert!(open.err.contains("0640"), "{}", open.err);
    bridge.kill().unwrap();
    bridge.wait().unwrap();
}
