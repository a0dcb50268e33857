//! `zeta creds guard` with real processes against an issuer that ends a login whose token comes a
//! second time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::cli::{Desk, LOCK, PASSPHRASE, UUID, tree};
use super::issuer::{Issuer, login, token_of};
use super::sandbox::{in_own_mounts, part, put, skipped_without_root};
use crate::support::{LIMIT, Out, run_within, signal, test_name, wait, wait_for};

/// A home with a login, and its issuer.
pub struct Place {
    pub desk: Desk,
    pub issuer: Issuer,
}

pub const BLOB: &str = "stick/zeta-creds.enc";

impl Place {
    pub fn new() -> Place {
        let place = Place { desk: Desk::new(), issuer: Issuer::new() };
        fs::create_dir(place.desk.path("home/.claude")).unwrap();
        fs::write(place.login(), login("r0", 0)).unwrap();
        place
    }

    pub fn login(&self) -> PathBuf {
        self.desk.path("home/.claude/.credentials.json")
    }

    /// The tool of the issuer, as a shell would call it.
    fn tool(&self, how: &str) -> Command {
        part(&format!("tool,{},{},{how}", self.issuer.port, self.login().display()), "")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.desk.command(args);
        command.env("HOME", self.desk.path("home"));
        command.env("ZETA_STATE_DIR", self.desk.path("tree"));
        command.env("ZETA_BUS_DIR", self.desk.path("bus"));
        command
    }

    /// A call of the guard around the tool.
    pub fn guard(&self, args: &[&str], how: &str) -> Command {
        let mut command = self.command(&[&["guard", "claude", "--json"], args].concat());
        let tool = self.tool(how);
        command.arg("--").arg(tool.get_program()).args(tool.get_args());
        command
    }

    pub fn run(&self, args: &[&str], how: &str) -> (i32, Value) {
        answer(&run_within(&mut self.guard(args, how), Duration::from_secs(60)))
    }

    pub fn start(&self, args: &[&str], how: &str) -> Child {
        let mut command = self.guard(args, how);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until the tool has come to a step.
    pub fn reaches(&self, step: &str) {
        let path = format!("{}.{step}", self.login().display());
        wait_for("the tool waits", || fs::exists(&path).unwrap());
    }

    pub fn go(&self) {
        fs::write(format!("{}.go", self.login().display()), "").unwrap();
    }

    /// Checks that the login of the file is the one that the issuer accepts.
    #[track_caller]
    pub fn is_alive(&self) {
        let seen = self.issuer.seen();
        assert!(!seen.revoked, "a token came twice: {:?}", seen.given);
        assert_eq!(token_of(&self.login()), seen.given.last().cloned());
    }

    pub fn seal(&self) {
        let args = ["persist", "--output", BLOB, "--persona", "otto", "--bake-found"];
        let out = run_within(&mut self.command(&[&args[..], &LOCK].concat()), LIMIT * 3);
        assert_eq!(out.status, 0, "{out:?}");
    }

    /// The refresh token that a machine without a home would get from the blob.
    pub fn sealed(&self) -> Option<String> {
        let _ = fs::remove_dir_all(self.desk.path("root"));
        fs::create_dir(self.desk.path("root")).unwrap();
        let out = self.desk.restore(&["--persona", "otto", "--accept-older"]);
        assert_eq!(out.status, 0, "{}", out.said);
        token_of(&self.desk.path("root/home/zeta/.claude/.credentials.json"))
    }
}

/// The object that a call printed on stderr.
pub fn answer(out: &Out) -> (i32, Value) {
    let line = out.err.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("{out:?}"));
    // Shown if the test fails.
    eprint!("{}", out.err);
    assert_eq!(out.out, "", "stdout is the command's");
    (out.status, serde_json::from_str(line).unwrap())
}

pub const SEAL: [&str; 8] =
    ["--output", BLOB, "--persona", "otto", "--usb-uuid", UUID, "--passphrase-file", "stick.txt"];

/// `calls` guarded refreshes in sixteen loops at once; returns how many were refreshed here.
fn race(place: &Place, calls: usize) -> usize {
    let (next, refreshed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < calls {
                    let (status, said) = place.run(&["--force", "--wait", "1m"], "plain");
                    assert_eq!(status, 0, "{said}");
                    match said["outcome"].as_str() {
                        Some("refreshed") => refreshed.fetch_add(1, Ordering::Relaxed),
                        Some("renewed_by_another") => 0,
                        _ => panic!("{said}"),
                    };
                }
            });
        }
    });
    refreshed.into_inner()
}

fn no_login_is_lost(calls: usize) {
    let place = Place::new();
    let refreshed = race(&place, calls);
    place.is_alive();
    let seen = place.issuer.seen();
    println!("{calls} calls, {refreshed} refreshes");
    assert_eq!(seen.refreshes, refreshed, "each refresh was one call's");
    assert!(refreshed > 0 && refreshed < calls, "{refreshed} of {calls}: that was no race");
}

#[test]
fn of_many_callers_at_once_one_refreshes_and_no_login_is_lost() {
    no_login_is_lost(300);
}

#[test]
#[ignore = "minutes: cargo test -p zeta --test suite -- --ignored ten_thousand"]
fn ten_thousand_raced_refreshes_lose_no_login() {
    no_login_is_lost(10_000);
}

#[test]
fn without_the_guard_the_same_race_loses_the_login() {
    let place = Place::new();
    for _ in 0..40 {
        let tools: Vec<Child> = (0..16).map(|_| place.tool("plain").spawn().unwrap()).collect();
        for mut tool in tools {
            wait(&mut tool, LIMIT);
        }
        if place.issuer.seen().revoked {
            return;
        }
    }
    panic!("no race in 640 calls: the test with the guard shows nothing");
}

#[test]
fn a_guard_that_is_killed_at_any_step_leaves_the_login_that_works() {
    for step in ["before", "asked", "half"] {
        let place = Place::new();
        let mut first = place.start(&["--force"], step);
        place.reaches(step);
        signal(first.id(), Signal::KILL);
        wait(&mut first, LIMIT);
        // The tool lives on, so the lease is not free.
        let (status, said) = place.run(&["--force", "--wait", "200ms"], "plain");
        assert_eq!((status, said["outcome"].as_str()), (6, Some("held")), "{step}: {said}");
        let second = place.start(&["--force"], "plain");
        std::thread::sleep(Duration::from_millis(100));
        place.go();
        let out = crate::support::finish(second, std::time::Instant::now(), LIMIT);
        let (status, said) = answer(&out);
        assert_eq!(status, 0, "{step}: {said}");
        assert!(matches!(said["outcome"].as_str(), Some("renewed_by_another" | "refreshed")));
        place.is_alive();
    }
}

#[test]
fn what_a_command_leaves_is_judged_and_a_broken_file_gets_its_content_back() {
    let place = Place::new();
    let of = |args: &[&str], how: &str| {
        let (status, said) = place.run(args, how);
        (status, said["outcome"].as_str().unwrap_or_default().to_owned())
    };
    // It is good for decades.
    assert_eq!(of(&[], "plain"), (0, "still_valid".to_owned()));
    assert_eq!(of(&["--margin", "40000d"], "plain"), (0, "refreshed".to_owned()));
    assert_eq!(of(&["--force"], "nothing"), (5, "not_renewed".to_owned()));
    // A command that fails after the refresh has refreshed.
    assert_eq!(of(&["--force"], "fails"), (0, "refreshed".to_owned()));
    place.is_alive();
    let before = fs::read(place.login()).unwrap();
    assert_eq!(of(&["--force"], "cut"), (5, "broken".to_owned()));
    assert_eq!(fs::read(place.login()).unwrap(), before);
    let left = fs::read_to_string(format!("{}.zeta-broken", place.login().display())).unwrap();
    assert!(left.contains("\"a-r3\""), "the new token may be in it: {left}");
    let place = Place::new();
    let (status, said) = place.run(&["--force"], "removed");
    assert_eq!((status, said["outcome"].as_str()), (5, Some("removed")));
    assert!(!place.login().exists(), "a logout is not undone");
}

#[test]
fn a_login_that_cannot_be_guarded_is_named_with_the_reason() {
    let place = Place::new();
    let of = |place: &Place, args: &[&str]| {
        let out = run_within(&mut place.command(args), LIMIT);
        (out.status, out.err)
    };
    let cases: [(&[&str], i32, &str); 9] = [
        (&["guard", "nosuch", "--", "true"], 2, "known are claude, gemini, codex"),
        (&["guard", "gh-cli", "--", "true"], 2, "known are"),
        (&["guard", "codex", "--", "true"], 3, ".codex/auth.json: there is no login"),
        (&["guard", "claude"], 2, "an argument is missing"),
        (&["guard", "claude", "--margin", "x", "--", "true"], 2, "margin"),
        (&["guard", "claude", "--force", "--", "/no/such"], 5, "cannot run /no/such"),
        (&["guard", "claude", "--usb-uuid", "x", "--", "true"], 2, "--output"),
        (&["guard", "claude", "--output", BLOB, "--usb-uuid", "x", "--", "true"], 2, "--persona"),
        (&["guard", "claude", "--passphrase-env", "X", "--", "true"], 2, "environment"),
    ];
    for (args, status, text) in cases {
        let (came, said) = of(&place, args);
        assert!(came == status && said.contains(text), "{args:?}: {came} {said}");
    }
    assert_eq!(place.issuer.seen().refreshes, 0);
    // Half a login, from a tool that was killed: no command may run with it.
    let whole = fs::read(place.login()).unwrap();
    fs::write(place.login(), &whole[..whole.len() / 2]).unwrap();
    let (status, said) = of(&place, &["guard", "claude", "--", "touch", "ran"]);
    assert!(status == 3 && said.contains("zeta creds restore"), "{status} {said}");
    assert!(!place.desk.path("ran").exists());
    fs::remove_file(place.login()).unwrap();
    assert_eq!(of(&place, &["guard", "claude", "--", "true"]).0, 3);
}

#[test]
fn a_link_leads_to_one_login_with_one_lease() {
    let place = Place::new();
    place.seal();
    let real = place.desk.path("home/kept/.credentials.json");
    fs::create_dir(real.parent().unwrap()).unwrap();
    fs::rename(place.login(), &real).unwrap();
    symlink(&real, place.login()).unwrap();
    let (status, said) = place.run(&[&SEAL[..], &["--force"]].concat(), "plain");
    assert_eq!((status, said["path"].as_str()), (0, real.to_str()), "{said}");
    place.is_alive();
    assert!(fs::symlink_metadata(place.login()).unwrap().is_symlink());
    // The copy belongs where the tool looks, and not where the link leads.
    assert_eq!(place.sealed(), Some("r1".to_owned()));
}

#[test]
fn root_refreshes_no_login_of_another_user() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Place::new();
    put(&place.login(), &login("r0", 0), super::sandbox::OTHER, 0o600);
    let (status, said) = place.run(&["--force"], "plain");
    assert_eq!((status, said["error"].as_str()), (3, Some("unsafe")), "{said}");
    assert!(said["message"].as_str().unwrap().contains("it belongs to user id"), "{said}");
    assert_eq!(place.issuer.seen().refreshes, 0);
}

#[test]
fn a_refresh_renews_the_copy_and_a_killed_write_back_is_made_up_for() {
    let place = Place::new();
    place.seal();
    let (status, said) = place.run(&[&SEAL[..], &["--force"]].concat(), "plain");
    assert_eq!((status, said["copy"].as_str()), (0, Some("renewed")), "{said}");
    assert_eq!(place.sealed(), Some("r1".to_owned()));
    // Refreshed without a blob, as a guard that was killed before it renewed the copy.
    assert_eq!(place.run(&["--force"], "plain").0, 0);
    assert_eq!(place.sealed(), Some("r1".to_owned()));
    let (status, said) = place.run(&SEAL, "plain");
    let came = (said["outcome"].as_str(), said["copy"].as_str());
    assert_eq!((status, came), (0, (Some("still_valid"), Some("renewed"))), "{said}");
    assert_eq!(place.sealed(), Some("r2".to_owned()));
    let (_, said) = place.run(&SEAL, "plain");
    assert_eq!(said["copy"], Value::Null, "it was renewed already: {said}");
    place.is_alive();
}

#[test]
fn a_copy_that_cannot_be_renewed_keeps_no_login_from_its_refresh() {
    let place = Place::new();
    let seal = [&SEAL[..], &["--force"]].concat();
    // No blob, then a wrong passphrase, then none.
    let (status, said) = place.run(&seal, "plain");
    assert_eq!((status, said["outcome"].as_str()), (9, Some("refreshed")), "{said}");
    assert!(!place.desk.blob().exists(), "it makes no blob");
    place.seal();
    let blob = fs::read(place.desk.blob()).unwrap();
    fs::write(place.desk.path("stick.txt"), "todar-radaj-vofim-nadif-kapam-xxxxx\n").unwrap();
    assert_eq!(place.run(&seal, "plain").0, 9);
    fs::remove_file(place.desk.path("stick.txt")).unwrap();
    let (status, said) = place.run(&seal, "plain");
    assert_eq!((status, said["outcome"].as_str()), (9, Some("refreshed")), "{said}");
    assert_eq!(fs::read(place.desk.blob()).unwrap(), blob);
    fs::write(place.desk.path("stick.txt"), PASSPHRASE).unwrap();
    place.is_alive();
    assert_eq!(place.issuer.seen().refreshes, 3);
}

#[test]
fn a_copy_that_is_newer_stays() {
    let place = Place::new();
    place.seal();
    // Another machine has sealed a later login of the same stick.
    fs::write(place.login(), login("later", 99)).unwrap();
    place.seal();
    fs::write(place.login(), login("r0", 0)).unwrap();
    let (status, said) = place.run(&[&SEAL[..], &["--force"]].concat(), "plain");
    assert_eq!((status, said["copy"].as_str()), (0, Some("kept_newer")), "{said}");
    assert_eq!(place.sealed(), Some("later".to_owned()));
}

/// A call of the guard as words of a shell.
fn words(place: &Place, args: &[&str], how: &str) -> String {
    let command = place.guard(args, how);
    let quoted = command.get_args().map(|arg| format!("'{}'", arg.to_string_lossy()));
    let env = command.get_envs().filter_map(|(key, value)| Some((key, value?)));
    let env =
        env.map(|(key, value)| format!("{}='{}'", key.to_string_lossy(), value.to_string_lossy()));
    let (env, quoted): (Vec<_>, Vec<_>) = (env.collect(), quoted.collect());
    let program = command.get_program().to_string_lossy().into_owned();
    format!("env -i {} {program} {}", env.join(" "), quoted.join(" "))
}

/// Runs a guard with one directory of the place on a small file system, and copies that to
/// `<directory>.after`. `before` is a script that runs in it first.
fn on_small_disk(place: &Place, dir: &str, before: &str, guard: &str) -> String {
    let dir = place.desk.path(dir).display().to_string();
    let out = in_own_mounts(&format!(
        "cp -r {dir} {dir}.copy; mount -t tmpfs -o size=128k,mode=700 t {dir}
        cp -r {dir}.copy/. {dir}; cd {dir}; {before}; cd {}
        {guard} 2>&1 || echo status $?
        cp -r {dir} {dir}.after",
        place.desk.path(".").display(),
    ));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_full_disk_loses_no_login() {
    if skipped_without_root(test_name!()) {
        return;
    }
    // Full before: the token is not spent.
    let place = Place::new();
    let guard = words(&place, &["--force"], "plain");
    let fill = "head -c 200k /dev/zero > fill 2>/dev/null || true";
    let said = on_small_disk(&place, "home/.claude", fill, &guard);
    assert!(said.contains("status 4") && said.contains("was not refreshed"), "{said}");
    assert_eq!(place.issuer.seen().refreshes, 0);
    let after = place.desk.path("home/.claude.after");
    assert_eq!(token_of(&after.join(".credentials.json")).as_deref(), Some("r0"));
    assert_eq!(super::sandbox::names(&after), [".credentials.json", "fill"]);
    // Full at the very moment when the tool has emptied its file.
    let place = Place::new();
    let guard = words(&place, &["--force"], "fills");
    let said = on_small_disk(&place, "home/.claude", ":", &guard);
    assert!(said.contains("status 5") && said.contains("\"broken\""), "{said}");
    let after = place.desk.path("home/.claude.after");
    assert_eq!(token_of(&after.join(".credentials.json")).as_deref(), Some("r0"), "{said}");
    let (login, broken) = (".credentials.json", ".credentials.json.zeta-broken");
    assert_eq!(super::sandbox::names(&after), [login, broken, "fill"]);
}

#[test]
fn a_full_stick_keeps_the_old_copy_and_the_new_login() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Place::new();
    place.seal();
    let guard = words(&place, &[&SEAL[..], &["--force"]].concat(), "plain");
    let fill = "head -c 200k /dev/zero > fill 2>/dev/null || true";
    let said = on_small_disk(&place, "stick", fill, &guard);
    assert!(said.contains("status 9") && said.contains("No space left"), "{said}");
    place.is_alive();
    let after = place.desk.path("stick.after");
    assert_eq!(
        fs::read(after.join("zeta-creds.enc")).unwrap(),
        fs::read(place.desk.blob()).unwrap()
    );
}

#[test]
fn a_kill_at_any_rename_of_the_write_back_leaves_a_copy_that_opens() {
    if Command::new("strace").arg("-V").output().is_err() {
        return crate::support::skip(test_name!(), "no strace (Debian package strace)");
    }
    let begun = Place::new();
    begun.seal();
    for k in 1.. {
        let place = Place::new();
        for (path, bytes) in tree(&begun.desk.place.0) {
            let copied = ["stick/", "state/"].iter().any(|dir| path.starts_with(dir));
            if copied {
                let path = place.desk.path(&path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        let plain = place.guard(&[&SEAL[..], &["--force"]].concat(), "plain");
        let mut traced = Command::new("strace");
        let inject = format!("inject=renameat,renameat2,rename:signal=SIGKILL:when={k}");
        let calls = "trace=renameat,renameat2,rename";
        traced.args(["-o", "/dev/null", "-e", calls, "-e", &inject]);
        traced.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
        traced.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let out = traced.current_dir(&place.desk.place.0).output().unwrap();
        // The tool of a guard that was killed may be at work.
        wait_for("the file is a login", || token_of(&place.login()).is_some());
        // Opening a blob is slow, and this one was opened before if it is the old one.
        if fs::read(place.desk.blob()).ok() != fs::read(begun.desk.blob()).ok() {
            let sealed = place.sealed();
            assert!(matches!(sealed.as_deref(), Some("r0" | "r1")), "rename {k}: {sealed:?}");
        }
        // The next call makes up for it, and no token came twice.
        let (status, said) = place.run(&[&SEAL[..], &["--margin", "40000d"]].concat(), "plain");
        assert_eq!(status, 0, "rename {k}: {said}");
        place.is_alive();
        assert_eq!(place.sealed(), token_of(&place.login()), "rename {k}");
        if out.status.success() {
            assert!(k > 4, "only {k} renames");
            return;
        }
    }
}

#[test]
fn a_watch_refreshes_before_the_end_and_a_signal_ends_it() {
    let place = Place::new();
    let mut watch = place.start(&["--watch", "--margin", "40000d"], "plain");
    wait_for("it refreshes", || place.issuer.seen().refreshes == 1);
    wait_for("the login is there", || token_of(&place.login()).as_deref() == Some("r1"));
    signal(watch.id(), Signal::TERM);
    assert_eq!(wait(&mut watch, LIMIT), 128 + 15);
    let mut quiet = place.start(&["--watch"], "plain");
    std::thread::sleep(Duration::from_millis(300));
    signal(quiet.id(), Signal::TERM);
    assert_eq!(wait(&mut quiet, LIMIT), 128 + 15);
    assert_eq!(place.issuer.seen().refreshes, 1, "it was good for decades");
    let timeless = r#"{"claudeAiOauth":{"accessToken":"x"}}"#;
    fs::write(place.login(), timeless).unwrap();
    let (status, said) = place.run(&["--watch"], "plain");
    assert_eq!((status, said["error"].as_str()), (3, Some("not_found")), "{said}");
}

#[test]
fn a_restore_writes_the_newer_login_and_says_why() {
    let place = Place::new();
    place.seal();
    let restore = |more: &[&str]| {
        let args = ["restore", "--input", BLOB, "--persona", "otto", "--json"];
        let mut command = place.command(&[&args[..], &LOCK, more].concat());
        let out = run_within(&mut command, LIMIT * 3);
        assert_eq!(out.status, 0, "{out:?}");
        let said: Value = serde_json::from_str(&out.out).unwrap();
        let text = |key: &str| said["files"][0][key].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("reason"))
    };
    let written = |more: &[&str], there: &str| {
        fs::write(place.login(), there).unwrap();
        let (came, reason) = restore(more);
        (came, reason, fs::read_to_string(place.login()).unwrap())
    };
    let (blob, newer) = (login("r0", 0), login("r9", 9));
    let older = blob.replace("4000000000000", "3000000000000").replace("a-r0", "a-r8");
    let of_another = blob.replace("4000000000000", "3000000000000").replace("r0", "r8");
    let (came, why, file) = written(&[], &newer);
    assert_eq!((came.as_str(), file == newer), ("kept_newer", true));
    assert!(why.contains("the file has the newer login (the blob's is good until 2096-"), "{why}");
    // A person who asks for it gets no older one either, unless that is said.
    assert_eq!(written(&["--overwrite"], &newer).0, "kept_newer");
    assert_eq!(written(&["--overwrite", "--accept-older"], &newer).2, blob);
    assert_eq!(
        written(&["--dry-run"], &older),
        ("would_write".to_owned(), written(&[], &older).1, older.clone())
    );
    let (came, why, file) = written(&[], &older);
    assert_eq!((came.as_str(), file == blob), ("written", true));
    assert!(why.contains("the file had an older login"), "{why}");
    // What was cut off is no login; what is of another kind may be one.
    for broken in ["", &newer[..newer.len() / 2]] {
        let (came, why, file) = written(&[], broken);
        assert_eq!((came.as_str(), file == blob), ("written", true), "{broken:?}");
        assert!(why.contains("empty or cut off"), "{why}");
    }
    for unknown in ["{}", "sealed:c2VhbGVk", &blob.replace("r0", "r7"), &of_another] {
        let (came, why, file) = written(&[], unknown);
        assert_eq!((came.as_str(), why.as_str(), file == unknown), ("kept_differing", "", true));
    }
}
