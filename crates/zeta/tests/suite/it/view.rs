//! A view that follows the tree misses nothing: real processes change records under it, and what it
//! shows in the end is what an ordinary program reads from the disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use zeta_os::inotify::{DirectoryWatcher, Event};
use zeta_state::presence::view::{Change, View};

use super::worker;
use super::worker::Job;
use crate::support::{LIMIT, Sandbox, can, skip, test_name, until, wait};

const JOB: &str = "ZETA_IT_VIEW_JOB";
const TEST: [&str; 4] = ["--exact", "it::view::works", "--nocapture", "--test-threads=1"];

/// All records by node and file, read by the standard library. The history is none.
type Tree = BTreeMap<(String, String), Vec<u8>>;

fn on_disk(state: &Path) -> Tree {
    let mut tree = Tree::new();
    for node in fs::read_dir(state.join("nodes")).unwrap().flatten() {
        for file in fs::read_dir(node.path()).unwrap().flatten() {
            let names = [node.file_name(), file.file_name()].map(|n| n.into_string().unwrap());
            if !names.iter().any(|name| name.starts_with('.') || name == "history.log") {
                let [node, name] = names;
                tree.insert((node, name), fs::read(file.path()).unwrap());
            }
        }
    }
    tree
}

fn in_view(view: &View) -> Tree {
    let mut tree = Tree::new();
    for (node, seen) in view.nodes() {
        assert!(seen.faults.is_empty(), "{:?}", seen.faults);
        for (file, bytes) in &seen.records {
            tree.insert((node.to_string(), file.clone()), bytes.bytes.clone());
        }
    }
    tree
}

/// A view of a tree with one node, and the directory of the nodes.
fn view(sandbox: &Sandbox, follows: bool) -> (View, PathBuf) {
    sandbox.ok(&["heartbeat", "--as", "otto-cli"]);
    let mut view = View::open(&sandbox.state).unwrap().unwrap();
    if follows {
        assert!(view.follow(), "no inotify here");
    }
    view.refresh(&mut |_| {}).unwrap();
    assert_eq!(in_view(&view), on_disk(&sandbox.state));
    (view, sandbox.state.join("nodes"))
}

fn make_node(nodes: &Path, name: &str) -> PathBuf {
    use std::os::unix::fs::DirBuilderExt;
    let dir = nodes.join(name);
    fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
    dir
}

/// Publishes a marker by another hand, as the standard asks.
fn put(dir: &Path, name: &str, text: &str) {
    let temp = dir.join(format!(".tmp-{}-{name}", std::process::id()));
    fs::write(&temp, text).unwrap();
    fs::rename(temp, dir.join(format!("{name}.marker"))).unwrap();
}

/// Starts this binary again with another job.
fn again(sandbox: &Sandbox, job: &str) -> Child {
    let mut command = sandbox.other(std::env::current_exe().unwrap().to_str().unwrap(), &TEST);
    command.env(JOB, job).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn works() {
    let Ok(job) = std::env::var(JOB) else { return };
    let state = PathBuf::from(std::env::var_os("ZETA_STATE_DIR").unwrap());
    match job.as_str() {
        "scribble" => scribble(&state),
        "poll" => wait_for_the_last(&state),
        "tick" => change_twice_in_a_tick(&state),
        other => panic!("no such job: {other}"),
    }
}

/// Renames over, writes in place, removes; nodes come and go, too.
fn scribble(state: &Path) {
    let id = std::process::id();
    let nodes = state.join("nodes");
    let steady = make_node(&nodes, &format!("steady-{id}"));
    for round in 0..400 {
        put(&steady, &format!("m{}", round % 7), &format!("round: {round}\n"));
        fs::write(steady.join("last-seen.iso"), format!("{round:04}")).unwrap();
        if round % 5 == 0 {
            let _ = fs::remove_file(steady.join(format!("m{}.marker", round % 3)));
        }
        if round % 20 == 0 {
            let [name, other] = [0, 1].map(|n| format!("n{}-{id}", n + round % 3));
            let _ = fs::remove_dir_all(nodes.join(&name));
            put(&make_node(&nodes, &name), "new", &format!("round: {round}\n"));
            let _ = fs::remove_dir_all(nodes.join(&other));
            fs::rename(nodes.join(&name), nodes.join(&other)).unwrap();
            put(&nodes.join(&other), "moved", &format!("round: {round}\n"));
        }
    }
}

/// Succeeds when the view shows the last record, without any event from the kernel.
fn wait_for_the_last(state: &Path) {
    let mut view = View::open(state).unwrap().unwrap();
    view.follow();
    let mut last = false;
    while !last {
        let mut tell = |change: Change<'_>| {
            last |= matches!(change, Change::Record(_, "last.marker", Some(_)));
        };
        assert!(view.wait(LIMIT, &mut tell).unwrap(), "it saw nothing");
    }
}

/// Publishes a marker of the standard, whose file is never written in place.
fn put_own(dir: &Path, name: &str, round: usize) {
    let head = format!("schema: 1\nkind: \"marker\"\nmarker: \"{name}\"\n");
    put(dir, name, &format!("{head}round: {round}\nend: true\n"));
}

/// Changes a node, and the directory of the nodes, right after a view has read them: on a file
/// system whose clock ticks slowly, the times are the same as before.
fn change_twice_in_a_tick(state: &Path) {
    let nodes = state.join("nodes");
    for node in fs::read_dir(&nodes).unwrap().flatten() {
        fs::remove_dir_all(node.path()).unwrap();
    }
    let mut view = View::open(state).unwrap().unwrap();
    for round in 0..100 {
        let dirs = ["a", "b"].map(|name| nodes.join(format!("{name}{round}")));
        for dir in &dirs {
            std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
                .create(dir)
                .unwrap();
            view.refresh(&mut |_| {}).unwrap();
            assert_eq!(view.nodes().len(), fs::read_dir(&nodes).unwrap().count(), "{dir:?}");
        }
        for text in 0..2 {
            put_own(&dirs[0], "m", 2 * round + text);
            view.refresh(&mut |_| {}).unwrap();
            assert_eq!(in_view(&view), on_disk(state), "{round} {text}");
        }
    }
}

#[test]
fn a_change_in_the_same_tick_of_the_clock_is_seen() {
    let sandbox = Sandbox::new();
    // Since Linux 6.13 many file systems have times finer than a tick; ramfs has not.
    let mount = "mount -t ramfs -o mode=0700 ramfs \"$0\"";
    let dir = sandbox.dir.join("ramfs");
    fs::create_dir(&dir).unwrap();
    let unshare = ["--mount", "sh", "-c"];
    if !can("unshare", &[&unshare[..], &[mount, dir.to_str().unwrap()]].concat()) {
        return skip(test_name!(), "needs to mount");
    }
    let script = format!("{mount} && \"$1\" init && shift && exec \"$@\"");
    let mut command = sandbox.other("unshare", &unshare);
    command.arg(script).arg(&dir).arg(env!("CARGO_BIN_EXE_zeta"));
    command.arg(std::env::current_exe().unwrap()).args(TEST);
    command.env("ZETA_STATE_DIR", dir.join("state")).env(JOB, "tick");
    let out = crate::support::run(&mut command);
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn a_view_that_follows_ends_with_every_final_state() {
    let sandbox = Sandbox::new();
    let (mut view, _) = view(&sandbox, true);
    let mut children: Vec<Child> = (0..3).map(|_| again(&sandbox, "scribble")).collect();
    children.extend((0..2).map(|_| worker::start(&sandbox, Job::Loop { rounds: 100 })));
    // The sum of all reported changes must be the same.
    let mut replayed: Tree = in_view(&view);
    let mut tell = |change: Change<'_>| match change {
        Change::Record(node, file, Some(bytes)) => {
            replayed.insert((node.to_string(), file.to_owned()), bytes.bytes.clone());
        }
        Change::Record(node, file, None) => {
            let key = (node.to_string(), file.to_owned());
            assert!(replayed.remove(&key).is_some(), "{key:?} went and never came");
        }
        Change::NodeAdded(_)
        | Change::NodeReplaced(_)
        | Change::NodeRemoved(_)
        | Change::Other(..) => {}
    };
    let done = until(LIMIT, || {
        view.wait(Duration::from_millis(10), &mut tell).unwrap();
        children.iter_mut().all(|child| child.try_wait().unwrap().is_some())
    });
    assert!(done, "the others did not end");
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    view.refresh(&mut tell).unwrap();
    let disk = on_disk(&sandbox.state);
    assert!(disk.len() > 20, "{disk:?}");
    assert_eq!(in_view(&view), disk);
    assert_eq!(replayed, disk);
}

#[test]
fn lost_events_cost_no_state() {
    let sandbox = Sandbox::new();
    let (mut view, nodes) = view(&sandbox, true);
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    if queue > 200_000 {
        return skip(test_name!(), &format!("a queue of {queue} events is too long to fill"));
    }
    let dir = make_node(&nodes, "busy");
    view.refresh(&mut |_| {}).unwrap();
    // An instance of the test's own gets the same events, and says that some were lost.
    let witness = DirectoryWatcher::new().unwrap();
    assert!(witness.follow(fs::File::open(&dir).unwrap().as_fd()).is_some());
    fs::write(dir.join("first.marker"), "made: before\n").unwrap();
    let files = ["a.marker", "b.marker"].map(|name| dir.join(name));
    for file in &files {
        fs::write(file, "made: busy\n").unwrap();
    }
    // One event each; the kernel merges only equal ones in a row.
    for round in 0..=queue {
        fs::set_permissions(&files[round % 2], fs::Permissions::from_mode(0o600)).unwrap();
    }
    put(&dir, "last", "made: after\n");
    make_node(&nodes, "late");
    fs::remove_file(dir.join("first.marker")).unwrap();
    let mut lost = false;
    witness.drain(|event| lost |= matches!(event, Event::Lost));
    assert!(lost, "no event was lost, so this test has shown nothing");
    view.refresh(&mut |_| {}).unwrap();
    assert_eq!(in_view(&view), on_disk(&sandbox.state));
    assert!(view.nodes().contains_key("late"));
    // And it still follows, also what came while events were lost.
    put(&nodes.join("late"), "after", "made: later\n");
    assert!(view.wait(LIMIT, &mut |_| {}).unwrap());
    assert_eq!(in_view(&view), on_disk(&sandbox.state));
}

#[test]
fn a_node_made_anew_is_followed_anew() {
    for follows in [true, false] {
        let sandbox = Sandbox::new();
        let (mut view, nodes) = view(&sandbox, follows);
        for round in 0..20 {
            let dir = make_node(&nodes, "again");
            put(&dir, "one", &format!("round: {round}\n"));
            assert!(view.wait(LIMIT, &mut |_| {}).unwrap());
            put(&dir, "two", &format!("round: {round}\n"));
            view.refresh(&mut |_| {}).unwrap();
            assert_eq!(in_view(&view), on_disk(&sandbox.state), "{follows} {round}");
            match round % 3 {
                0 => fs::remove_dir_all(&dir).unwrap(),
                1 => fs::rename(&dir, sandbox.dir.join(format!("away-{round}"))).unwrap(),
                _ => {
                    let other = nodes.join("other");
                    let _ = fs::remove_dir_all(&other);
                    fs::rename(&dir, &other).unwrap();
                    view.refresh(&mut |_| {}).unwrap();
                    put(&other, "three", &format!("round: {round}\n"));
                    view.refresh(&mut |_| {}).unwrap();
                    assert_eq!(in_view(&view), on_disk(&sandbox.state), "{follows} {round}");
                }
            }
            if round % 2 == 0 {
                view.refresh(&mut |_| {}).unwrap();
                assert!(!view.nodes().contains_key("again"));
            }
        }
    }
}

#[test]
fn a_view_that_goes_by_file_times_sees_each_change_at_once() {
    let sandbox = Sandbox::new();
    let (mut view, nodes) = view(&sandbox, false);
    let dir = make_node(&nodes, "quick");
    for (round, settles) in [false, false, false, true, false, true].iter().enumerate() {
        if *settles {
            // So old that the times of the directory are believed.
            std::thread::sleep(Duration::from_millis(1200));
            view.refresh(&mut |_| {}).unwrap();
        }
        // Renamed, then in place: neither of the last two changes the directory.
        put(&dir, "m", &format!("round: {round}\n"));
        view.refresh(&mut |_| {}).unwrap();
        assert_eq!(in_view(&view), on_disk(&sandbox.state), "{round}");
        for text in ["a", "b"] {
            fs::write(dir.join("m.marker"), format!("{text}: {round}\n")).unwrap();
            fs::write(dir.join("last-seen.iso"), format!("{text} {round}")).unwrap();
            view.refresh(&mut |_| {}).unwrap();
            assert_eq!(in_view(&view), on_disk(&sandbox.state), "{round} {text}");
        }
    }
    std::thread::sleep(Duration::from_millis(1200));
    view.refresh(&mut |_| {}).unwrap();
    view.refresh(&mut |change| panic!("nothing changed, and yet {change:?}")).unwrap();
}

#[test]
fn a_file_that_is_written_in_place_is_seen_in_a_directory_that_rests() {
    let sandbox = Sandbox::new();
    let (mut view, nodes) = view(&sandbox, false);
    let dir = make_node(&nodes, "resting");
    put(&dir, "m", "by: another program\n");
    fs::write(dir.join("last-seen.iso"), "x").unwrap();
    for name in ["m.marker", "last-seen.iso"] {
        // So old that the times of the directory and of its files are believed.
        std::thread::sleep(Duration::from_millis(1200));
        view.refresh(&mut |_| {}).unwrap();
        fs::write(dir.join(name), "by: the same, later\n").unwrap();
        view.refresh(&mut |_| {}).unwrap();
        assert_eq!(in_view(&view), on_disk(&sandbox.state), "{name}");
    }
}

#[test]
fn a_record_whose_mode_is_mended_is_read() {
    for follows in [true, false] {
        let sandbox = Sandbox::new();
        let (mut view, nodes) = view(&sandbox, follows);
        let dir = make_node(&nodes, "mended");
        put_own(&dir, "m", 1);
        let file = dir.join("m.marker");
        let set_mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o666);
        view.refresh(&mut |_| {}).unwrap();
        // So old that the times of the directory are believed; no mode of a file changes them.
        std::thread::sleep(Duration::from_millis(1200));
        view.refresh(&mut |_| {}).unwrap();
        assert_eq!(view.nodes()["mended"].faults.len(), 1, "{follows}");
        set_mode(0o600);
        view.refresh(&mut |_| {}).unwrap();
        assert_eq!(in_view(&view), on_disk(&sandbox.state), "{follows}");
    }
}

#[test]
fn without_instances_or_watches_a_view_looks_for_itself() {
    let unshare = ["--user", "--map-root-user", "sh", "-c"];
    if can("unshare", &[&unshare[..], &["test $(stat -c %u /) != 0"]].concat()) {
        return skip(
            test_name!(),
            "root's directories belong to no known user in this user namespace",
        );
    }
    let limits = [("instances", "0"), ("watches", "0"), ("watches", "2")];
    for (what, limit) in limits {
        let set = format!("echo {limit} > /proc/sys/user/max_inotify_{what}");
        if !can("unshare", &[&unshare[..], &[&set]].concat()) {
            return skip(test_name!(), "needs a user namespace");
        }
        let sandbox = Sandbox::new();
        let (_, nodes) = view(&sandbox, false);
        let binary = std::env::current_exe().unwrap();
        let script = format!("{set}; exec {} {}", binary.display(), TEST.join(" "));
        let mut command = sandbox.other("unshare", &unshare);
        command.arg(&script).env(JOB, "poll").stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let dirs = ["a", "b"].map(|name| make_node(&nodes, name));
        // Most often it looks at intervals by now; where it does not yet, it must work, too.
        std::thread::sleep(Duration::from_millis(400));
        put(&dirs[1], "last", "made: last\n");
        assert_eq!(wait(&mut child, LIMIT), 0, "{what} {limit}");
    }
}

#[test]
fn what_could_not_be_read_is_named_and_read_as_soon_as_it_can_be() {
    for follows in [true, false] {
        let sandbox = Sandbox::new();
        let (mut view, nodes) = view(&sandbox, follows);
        let dir = make_node(&nodes, "odd");
        put(&dir, "good", "made: well\n");
        std::os::unix::fs::symlink("good.marker", dir.join("link.marker")).unwrap();
        view.refresh(&mut |_| {}).unwrap();
        let odd = &view.nodes()["odd"];
        assert_eq!(odd.records.keys().collect::<Vec<_>>(), ["good.marker"]);
        assert_eq!(odd.faults.keys().collect::<Vec<_>>(), ["link.marker"]);
        fs::remove_file(dir.join("link.marker")).unwrap();
        view.refresh(&mut |_| {}).unwrap();
        assert_eq!(in_view(&view), on_disk(&sandbox.state), "{follows}");
    }
}

#[test]
fn a_tree_that_was_replaced_is_an_error_and_no_empty_view() {
    for follows in [true, false] {
        let sandbox = Sandbox::new();
        let (mut view, _) = view(&sandbox, follows);
        fs::rename(&sandbox.state, sandbox.dir.join("old")).unwrap();
        assert!(view.refresh(&mut |_| {}).is_err());
        sandbox.ok(&["heartbeat"]);
        assert!(view.wait(LIMIT, &mut |_| {}).is_err());
    }
}
