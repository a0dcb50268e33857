//! Planting into homes and system directories: what arrives, what is refused, what is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeta_creds::file_writer::{File, FileSet, Options, Outcome, Owner, Prepared, plant, prepare};
use zeta_os::error::Kind;
use zeta_os::users::{Account, account_by_name, account_by_uid};

use super::sandbox::{
    OTHER, Sandbox, USER, chmod, hand, in_own_mounts, names, own, part, part_words, put, seen,
    skipped_without_root,
};
use crate::support::test_name;

const SECRET: &str = "never-to-be-seen-elsewhere";

/// A user whose home is a directory of the test.
pub fn account(home: &Path) -> Account {
    let home = home.to_str().unwrap().to_owned();
    Account { name: "tester".to_owned(), uid: USER, gid: USER, groups: vec![USER, 65_120], home }
}

pub fn options() -> Options {
    Options { hand: hand(""), ..Options::default() }
}

pub fn file(target: &str, text: &str, mode: u32) -> File {
    let bytes = text.as_bytes().to_vec().into();
    File { target: target.to_owned(), bytes, mode, login: None }
}

pub fn for_user(home: &Path, files: Vec<File>) -> Vec<FileSet> {
    vec![FileSet { owner: Owner::User(account(home)), files }]
}

/// One file for the user.
pub fn one(home: &Path, target: &str, options: &Options) -> Outcome {
    let orders = for_user(home, vec![file(target, SECRET, 0o600)]);
    plant(&orders, options).unwrap().remove(0).remove(0)
}

fn refusal(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused(finding) => finding.text,
        other => panic!("{other:?}"),
    }
}

/// For a part: prepares two files and is killed before they get their names.
pub fn prepare_for_system(root: &Path) -> Prepared {
    prepare(&system(), &Options { root: root.to_owned(), ..options() }).unwrap()
}

fn system() -> Vec<FileSet> {
    let files = vec![file("/etc/zeta/one", SECRET, 0o600), file("/etc/zeta/two", "2", 0o644)];
    vec![FileSet { owner: Owner::System, files }]
}

/// For a part: a small file and a large one.
pub fn plant_two(root: &Path) -> Result<Vec<Vec<Outcome>>, String> {
    let large = "x".repeat(200_000);
    let files = vec![file(".a/small", SECRET, 0o600), file(".b/large", &large, 0o600)];
    plant(&for_user(&root.join("home"), files), &options()).map_err(|error| error.text)
}

#[test]
fn a_user_gets_its_files_as_its_own_and_a_repetition_finds_them() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o755);
    let files = || {
        let key = file(".ssh/id.pub", "ssh-ed25519 A", 0o644);
        for_user(&home, vec![file(".claude/x/.credentials.json", SECRET, 0o600), key])
    };
    let dry = plant(&files(), &Options { dry_run: true, ..options() }).unwrap();
    assert_eq!(dry, [[Outcome::Written, Outcome::Written]]);
    assert_eq!(names(&home), [""; 0], "a dry run writes nothing");
    assert_eq!(plant(&files(), &options()).unwrap(), [[Outcome::Written, Outcome::Written]]);
    let path = home.join(".claude/x/.credentials.json");
    assert_eq!(seen(&path), (USER, 0o600, SECRET.to_owned()));
    assert_eq!(seen(&home.join(".ssh/id.pub")).1, 0o644);
    for dir in [".claude", ".claude/x", ".ssh"] {
        let meta = fs::metadata(home.join(dir)).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (USER, USER, 0o700), "{dir}");
    }
    let inode = fs::metadata(&path).unwrap().ino();
    let again = plant(&files(), &options()).unwrap();
    assert_eq!(again, [[Outcome::AlreadyPresent, Outcome::AlreadyPresent]]);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(names(&home.join(".claude/x")), [".credentials.json"]);
}

#[test]
fn what_differs_is_kept_unless_told_otherwise() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o700);
    put(&home.join("a"), "newer", USER, 0o600);
    put(&home.join("b"), SECRET, USER, 0o644);
    put(&home.join("c"), "unreadable", USER, 0o000);
    for name in ["a", "b", "c"] {
        let before = seen(&home.join(name));
        assert_eq!(one(&home, name, &options()), Outcome::KeptDiffering, "{name}");
        assert_eq!(seen(&home.join(name)), before);
        let over = Options { overwrite: true, ..options() };
        assert_eq!(one(&home, name, &over), Outcome::Written, "{name}");
        assert_eq!(seen(&home.join(name)), (USER, 0o600, SECRET.to_owned()));
    }
}

/// Sets up one trap; returns the target and what the finding must name.
type Trap = fn(&Sandbox, &Path) -> (&'static str, &'static str);

const TRAPS: [(&str, Trap); 9] = [
    ("a link in the middle", |place, home| {
        symlink(place.0.join("victim"), home.join(".config")).unwrap();
        (".config/zeta/x", ".config: it is a symbolic link")
    }),
    ("a link at the end", |place, home| {
        symlink(place.0.join("victim/precious"), home.join("x")).unwrap();
        ("x", "x: it is a symbolic link")
    }),
    ("a dangling link", |place, home| {
        symlink(place.0.join("victim/new"), home.join("x")).unwrap();
        ("x", "symbolic link")
    }),
    ("a hard link", |place, home| {
        let precious = place.0.join("victim/own");
        put(&precious, "own", USER, 0o600);
        fs::hard_link(precious, home.join("x")).unwrap();
        ("x", "2 names")
    }),
    ("a FIFO", |_, home| {
        assert!(Command::new("mkfifo").arg(home.join("x")).status().unwrap().success());
        own(&home.join("x"), USER);
        ("x", "a FIFO")
    }),
    ("a directory", |_, home| {
        fs::create_dir(home.join("x")).unwrap();
        own(&home.join("x"), USER);
        ("x", "a directory")
    }),
    ("somebody else's file", |_, home| {
        put(&home.join("x"), SECRET, OTHER, 0o644);
        ("x", "belongs to user id 65111")
    }),
    ("somebody else's directory", |_, home| {
        fs::create_dir(home.join("d")).unwrap();
        own(&home.join("d"), OTHER);
        chmod(&home.join("d"), 0o777);
        ("d/x", "d: it belongs to user id 65111")
    }),
    ("root's directory", |_, home| {
        fs::create_dir(home.join("d")).unwrap();
        ("d/x", "d: it belongs to user root (0)")
    }),
];

#[test]
fn each_trap_is_refused_and_named_and_its_victim_unharmed() {
    if skipped_without_root(test_name!()) {
        return;
    }
    for (what, trap) in TRAPS {
        for overwrite in [false, true] {
            let place = Sandbox::new();
            let home = place.dir("home", USER, 0o755);
            let victim = place.dir("victim", 0, 0o777);
            put(&victim.join("precious"), "precious", 0, 0o666);
            let (target, named) = trap(&place, &home);
            let before = names(&victim);
            let files = vec![file(target, SECRET, 0o600), file("fine", "fine", 0o600)];
            let options = Options { overwrite, ..options() };
            let outcomes = plant(&for_user(&home, files), &options).unwrap().remove(0);
            let said = refusal(outcomes[0].clone());
            assert!(said.contains(named), "{what}: {said}");
            assert_eq!(outcomes[1], Outcome::Written, "{what}: the others go on");
            assert_eq!(names(&victim), before, "{what}");
            assert_eq!(seen(&victim.join("precious")).2, "precious", "{what}");
            let found = Command::new("grep").arg("-rl").arg(SECRET).arg(&victim).output().unwrap();
            assert!(found.stdout.is_empty(), "{what}: the secret went to the victim");
        }
    }
}

#[test]
fn a_home_that_is_not_the_users_own_is_refused() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let real = place.dir("real", USER, 0o755);
    let linked = place.0.join("linked");
    symlink(&real, &linked).unwrap();
    lchown(&linked, Some(USER), Some(USER)).unwrap();
    let open = place.dir("open", 0, 0o777);
    let inside = open.join("home");
    fs::create_dir(&inside).unwrap();
    own(&inside, USER);
    let homes: [(PathBuf, &str); 5] = [
        (linked, "symbolic link"),
        (place.dir("foreign", OTHER, 0o755), "belongs to user id 65111"),
        (place.dir("world", USER, 0o777), "others may write to it"),
        (inside, "others may write to it"),
        (place.0.join("missing"), "no such directory"),
    ];
    for (home, named) in homes {
        let said = refusal(one(&home, ".zeta/x", &options()));
        assert!(said.contains(named), "{}: {said}", home.display());
    }
    assert_eq!(names(&real), [""; 0]);
    let closed = place.dir("closed", USER, 0o500);
    let said = refusal(one(&closed, "x", &options()));
    assert!(said.contains("may not"), "{said}");
    assert_eq!(names(&closed), [""; 0]);
}

/// `/home` is a link to `/var/home` on systems whose root is read-only.
#[test]
fn a_link_of_root_above_a_home_is_followed_and_no_other() {
    if skipped_without_root(test_name!()) {
        return;
    }
    for (target, root) in [("/var/home", true), ("var/home", true), ("../r/./var//home", false)] {
        let place = Sandbox::new();
        let machine = place.dir("r", 0, 0o755);
        fs::create_dir_all(machine.join("var/home/ace")).unwrap();
        own(&machine.join("var/home/ace"), USER);
        symlink(target, machine.join("home")).unwrap();
        let options = match root {
            // An absolute link means the machine that is written to, and not this one.
            true => Options { root: machine.clone(), ..options() },
            false => options(),
        };
        let home = if root { PathBuf::from("/home/ace") } else { machine.join("home/ace") };
        let orders = for_user(&home, vec![file(".zeta/x", SECRET, 0o600)]);
        assert_eq!(plant(&orders, &options).unwrap(), [[Outcome::Written]], "{target}");
        let there = machine.join("var/home/ace/.zeta/x");
        assert_eq!(seen(&there), (USER, 0o600, SECRET.to_owned()), "{target}");
        assert_eq!(plant(&orders, &options).unwrap(), [[Outcome::AlreadyPresent]], "{target}");
        // A directory in which others may make a link proves nothing about who made it.
        chmod(&machine, 0o777);
        let said = refusal(plant(&orders, &options).unwrap().remove(0).remove(0));
        assert!(!said.contains("move it away"), "{said}");
        chmod(&machine, 0o755);
        lchown(machine.join("home"), Some(USER), Some(USER)).unwrap();
        let said = refusal(plant(&orders, &options).unwrap().remove(0).remove(0));
        assert!(said.contains("symbolic link") && !said.contains("move it away"), "{said}");
    }
    // Links that lead nowhere, in a circle, or out of the root.
    let place = Sandbox::new();
    let machine = place.dir("r", 0, 0o755);
    fs::create_dir(place.0.join("ace")).unwrap();
    own(&place.0.join("ace"), USER);
    for target in ["home", "none", "..", "../..", "/../.."] {
        symlink(target, machine.join("home")).unwrap();
        let options = Options { root: machine.clone(), ..options() };
        let orders = for_user(Path::new("/home/ace"), vec![file("x", SECRET, 0o600)]);
        refusal(plant(&orders, &options).unwrap().remove(0).remove(0));
        assert_eq!(names(&place.0.join("ace")), [""; 0], "{target}");
        fs::remove_file(machine.join("home")).unwrap();
    }
}

#[test]
fn system_files_are_roots_and_their_way_is_roots_too() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let root = place.dir("root", 0, 0o755);
    let etc = root.join("etc");
    fs::create_dir(&etc).unwrap();
    let options = Options { root: root.clone(), ..options() };
    assert_eq!(plant(&system(), &options).unwrap(), [[Outcome::Written, Outcome::Written]]);
    assert_eq!(seen(&etc.join("zeta/one")), (0, 0o600, SECRET.to_owned()));
    assert_eq!(fs::metadata(etc.join("zeta")).unwrap().mode() & 0o7777, 0o755);
    fs::remove_dir_all(etc.join("zeta")).unwrap();
    for (prepare, named) in [
        (chmod as fn(&Path, u32), "others may write to it (mode 0775)"),
        (|path, _| own(path, USER), "belongs to user id 65110"),
    ] {
        prepare(&etc, 0o775);
        for outcome in plant(&system(), &options).unwrap().remove(0) {
            let said = refusal(outcome);
            assert!(said.contains(named), "{said}");
        }
    }
    assert_eq!(names(&etc), [""; 0]);
}

#[test]
fn a_run_that_is_killed_between_the_phases_leaves_nothing_for_the_next() {
    let place = Sandbox::new();
    let root = place.0.canonicalize().unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    let name = format!("prepare-and-wait,{}", root.display());
    let mut killed = part(&name, "").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(killed.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "[[Written, Written]]\n");
    let temps = names(&root.join("etc/zeta"));
    assert!(temps.len() == 2 && temps.iter().all(|name| name.starts_with(".zeta-plant-")));
    // A living one's files are not touched.
    let options = Options { root: root.clone(), ..options() };
    drop(prepare(&system(), &options).unwrap());
    assert_eq!(names(&root.join("etc/zeta")), temps);
    killed.kill().unwrap();
    killed.wait().unwrap();
    plant(&system(), &options).unwrap();
    assert_eq!(names(&root.join("etc/zeta")), ["one", "two"]);
}

#[test]
fn what_was_prepared_and_not_committed_goes_away() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o755);
    let orders = for_user(&home, vec![file(".zeta/deep/x", SECRET, 0o600)]);
    let prepared = prepare(&orders, &options()).unwrap();
    assert_eq!(names(&home.join(".zeta/deep")).len(), 1);
    drop(prepared);
    assert_eq!(names(&home), [""; 0]);
    let prepared = prepare(&orders, &options()).unwrap();
    put(&home.join(".zeta/deep/x"), "quicker", USER, 0o600);
    let said = refusal(prepared.commit().remove(0).remove(0));
    assert!(said.contains("another process made it meanwhile"), "{said}");
    assert_eq!(seen(&home.join(".zeta/deep/x")).2, "quicker");
    assert_eq!(names(&home.join(".zeta/deep")), ["x"]);
}

#[test]
fn a_directory_that_is_moved_away_with_the_file_is_told() {
    let place = Sandbox::new();
    let root = place.0.canonicalize().unwrap();
    fs::create_dir_all(root.join("etc/zeta")).unwrap();
    let prepared = prepare_for_system(&root);
    fs::rename(root.join("etc/zeta"), root.join("etc/elsewhere")).unwrap();
    for outcome in prepared.commit().remove(0) {
        let said = refusal(outcome);
        assert!(said.contains("was moved away"), "{said}");
    }
    assert_eq!(names(&root.join("etc")), ["elsewhere"], "nothing is made in its place");
    let again = plant(&system(), &Options { root: root.clone(), ..options() }).unwrap();
    assert_eq!(again, [[Outcome::Written, Outcome::Written]]);
}

#[test]
fn without_root_only_ones_own_files_are_written() {
    let place = Sandbox::new();
    let me = rustix::process::geteuid().as_raw();
    let mut own = account(&place.0);
    own.uid = me;
    let orders = |account: &Account| {
        let files = vec![file(".zeta/x", SECRET, 0o600)];
        vec![FileSet { owner: Owner::User(account.clone()), files }]
    };
    assert_eq!(plant(&orders(&own), &options()).unwrap(), [[Outcome::Written]]);
    assert_eq!(seen(&place.0.join(".zeta/x")), (me, 0o600, SECRET.to_owned()));
    if rustix::process::geteuid().is_root() {
        return;
    }
    own.uid = OTHER;
    assert_eq!(plant(&orders(&own), &options()).unwrap_err().kind, Kind::Refused);
    let said = refusal(plant(&system(), &options()).unwrap().remove(0).remove(0));
    assert!(said.contains("only root"), "{said}");
}

#[test]
fn a_full_or_read_only_disk_leaves_no_file_at_all() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o755);
    // A full disk ends all of it; a read-only one may be that of this place alone.
    let cases = [("size=64k", "Err", "No space left"), ("size=1m,ro", "Ok([[Refused", "read-only")];
    for (option, begins, said) in cases {
        let out = in_own_mounts(&format!(
            "mount -t tmpfs -o {option},uid={USER},mode=755 t {home}
            {part}; ls -AR {home}",
            home = home.display(),
            part = part_words(&format!("plant-two,{}", place.0.display())),
        ));
        let text = String::from_utf8_lossy(&out.stdout);
        let left = format!("{}:\n", home.display());
        assert!(text.starts_with(begins) && text.contains(said), "{text}");
        assert!(!text.contains("Written"), "{text}");
        assert!(text.ends_with(&left), "something was left: {text}");
    }
}

#[test]
fn the_child_is_told_nothing_secret_by_its_arguments_or_environment() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o755);
    let leaked = place.0.join("leaked");
    let look = format!("/bin/cat /proc/$$/cmdline /proc/$$/environ >{}", leaked.display());
    let options = Options { hand: hand(&look), ..options() };
    assert_eq!(one(&home, "x", &options), Outcome::Written);
    let leaked = fs::read(&leaked).unwrap();
    let has = |text: &str| leaked.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("plays_a_part") && !has(SECRET));
    assert!(!has("PATH=") && !has("CARGO"), "its environment is empty");
}

#[test]
fn a_child_that_dies_or_talks_nonsense_is_an_error() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o755);
    for script in ["exit 1", "echo nonsense; cat >/dev/null", "echo '{\"done\":[]}'"] {
        let mut hand = hand("");
        hand.args = ["-c", script].map(Into::into).to_vec();
        let orders = for_user(&home, vec![file("x", SECRET, 0o600)]);
        let error = plant(&orders, &Options { hand, ..options() }).unwrap_err();
        assert!(!error.text.contains(SECRET), "{error}");
    }
    assert_eq!(names(&home), [""; 0]);
}

#[test]
fn a_child_with_threads_does_not_half_become_a_user() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o755);
    let mut hand = hand("");
    for arg in &mut hand.args {
        let text = arg.to_str().unwrap().replace("plant-as", "plant-as-two");
        *arg = text.into();
    }
    let orders = for_user(&home, vec![file("x", SECRET, 0o600)]);
    let error = plant(&orders, &Options { hand, ..options() }).unwrap_err();
    assert!(error.text.contains("Threads"), "{error}");
    assert_eq!(names(&home), [""; 0]);
}

#[test]
fn what_is_asked_for_is_checked_before_anything_is_done() {
    let place = Sandbox::new();
    for target in ["", "/x", "a/../b", "./a", "a//b", "a/"] {
        let orders = for_user(&place.0, vec![file(target, SECRET, 0o600)]);
        assert_eq!(plant(&orders, &options()).unwrap_err().kind, Kind::Usage, "{target}");
    }
    for files in [
        vec![file("a", SECRET, 0o666)],
        vec![file("a", SECRET, 0o4755)],
        vec![file("a", SECRET, 0o600), file("a", SECRET, 0o600)],
    ] {
        let error = plant(&for_user(&place.0, files), &options()).unwrap_err();
        assert!(error.kind == Kind::Usage && !error.text.contains(SECRET), "{error}");
    }
    assert_eq!(names(&place.0), [""; 0]);
}

#[test]
fn accounts_are_read_from_the_files_below_a_root() {
    let place = Sandbox::new();
    fs::create_dir(place.0.join("etc")).unwrap();
    let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nzeta:x:1000:100:Z:/home/zeta/:/bin/sh\n";
    fs::write(place.0.join("etc/passwd"), passwd).unwrap();
    let group = "users:x:100:\nwheel:x:10:otto,zeta\nodd:x:y:zeta\nzetas:x:11:zetas\n";
    fs::write(place.0.join("etc/group"), group).unwrap();
    let zeta = account_by_name(&place.0, "zeta").unwrap();
    assert_eq!((zeta.uid, zeta.gid, zeta.home.as_str()), (1000, 100, "/home/zeta"));
    assert_eq!(zeta.groups, [10, 100]);
    assert_eq!(account_by_uid(&place.0, 1000).unwrap(), zeta);
    assert_eq!(account_by_name(&place.0, "nobody").unwrap_err().kind, Kind::NotFound);
}
