//! `zeta creds` as a person or a script calls it: the original's blobs and cases through the built
//! binary, and what zeta does beyond them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::sandbox::{Sandbox, chmod, names};
use super::vectors::{folder, load};
use crate::support::Terminal;

pub const UUID: &str = "4F2A-91C7";
pub const PASSPHRASE: &str = "todar-radaj-vofim-nadif-kapam-rarol";

/// What a call said.
pub struct Out {
    pub status: i32,
    pub said: String,
}

/// A machine: a home, a stick, and what this machine remembers of it.
pub struct Desk {
    pub place: Sandbox,
}

impl Desk {
    pub fn new() -> Desk {
        let desk = Desk { place: Sandbox::new() };
        for dir in ["home", "root", "stick"] {
            fs::create_dir(desk.path(dir)).unwrap();
        }
        fs::write(desk.path("stick.txt"), format!("{PASSPHRASE}\n")).unwrap();
        chmod(&desk.path("stick.txt"), 0o600);
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.0.join(name)
    }

    pub fn blob(&self) -> PathBuf {
        self.path("stick/zeta-creds.enc")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        command.arg("creds").args(args).env_clear().stdin(Stdio::null());
        command.env("HOME", "/home/zeta").env("STATE_DIRECTORY", self.path("state"));
        command.env("PATH", "/usr/bin:/bin").current_dir(&self.place.0);
        command
    }

    pub fn run(&self, args: &[&str]) -> Out {
        ran(&mut self.command(args))
    }

    /// `persist` with the usual lock.
    pub fn persist(&self, more: &[&str]) -> Out {
        let args = ["persist", "--output", "stick/zeta-creds.enc"];
        self.run(&[&args, &LOCK[..], more].concat())
    }

    /// `restore` with the usual lock, below `root`.
    pub fn restore(&self, more: &[&str]) -> Out {
        let args = ["restore", "--input", "stick/zeta-creds.enc", "--target-root", "root"];
        self.run(&[&args, &LOCK[..], more].concat())
    }
}

/// A login of Codex, as an argument.
pub const CODEX: &str = "codex={\"OPENAI_API_KEY\":\"FAKE-3\"}";

pub const LOCK: [&str; 4] = ["--usb-uuid", UUID, "--passphrase-file", "stick.txt"];

pub fn ran(command: &mut Command) -> Out {
    let out = command.output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    Out {
        status: out.status.code().unwrap_or(-1),
        said: String::from_utf8_lossy(&said).into_owned(),
    }
}

/// All files below a directory, by their paths in it.
pub fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => {
                    let name = entry.path().strip_prefix(dir).unwrap().display().to_string();
                    found.insert(name, fs::read(entry.path()).unwrap());
                }
            }
        }
    }
    found
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Restores each blob of the original whose place in the list is this one of every four. Each of
/// them stretches a passphrase, which is slow by design: all in one test take minutes on a busy
/// machine.
fn restore_every_fourth(first: usize) {
    let dir = folder("vectors");
    let mut files = names(&dir);
    files.retain(|name| name.ends_with(".json"));
    let made = files.iter().map(|name| load(&dir.join(name)));
    let vectors: Vec<Value> = made.filter(|vector| vector.get("cases").is_some()).collect();
    assert!(vectors.len() >= 49, "{}", vectors.len());
    let cases = vectors.iter().flat_map(|vector| {
        vector["cases"].as_array().unwrap().iter().map(move |case| (vector, case))
    });
    let cases: Vec<_> = cases.collect();
    assert!(cases.len() >= 71, "{}", cases.len());
    cases.iter().skip(first).step_by(4).for_each(|(vector, case)| restores(vector, case));
}

#[test]
fn every_blob_of_the_original_restores_as_it_did_there_1_of_4() {
    restore_every_fourth(0);
}

#[test]
fn every_blob_of_the_original_restores_as_it_did_there_2_of_4() {
    restore_every_fourth(1);
}

#[test]
fn every_blob_of_the_original_restores_as_it_did_there_3_of_4() {
    restore_every_fourth(2);
}

#[test]
fn every_blob_of_the_original_restores_as_it_did_there_4_of_4() {
    restore_every_fourth(3);
}

fn restores(vector: &Value, case: &Value) {
    let desk = Desk::new();
    fs::copy(folder("vectors").join(text(vector, "blob").unwrap()), desk.blob()).unwrap();
    let passphrase = case.get("passphrase_file_base64").or(case.get("passphrase_utf8_base64"));
    fs::write(desk.path("stick.txt"), decoded(passphrase.unwrap())).unwrap();
    let uuid = text(case, "usb_uuid").unwrap();
    let mut args = vec!["restore", "--usb-uuid", uuid, "--input", "stick/zeta-creds.enc"];
    args.extend(["--passphrase-file", "stick.txt", "--target-root", "root"]);
    if let Some(persona) = text(case, "persona") {
        args.extend(["--persona", persona]);
    }
    let mut command = desk.command(&args);
    command.env("HOME", text(case, "home").unwrap());
    let out = ran(&mut command);
    let what = format!("{}/{}: {}", vector["name"], case["case"], out.said);
    let expect = &case["expect"];
    let also = expect.get("exit_also_ok").and_then(Value::as_array).cloned().unwrap_or_default();
    let fits = |value: &Value| value.as_i64() == Some(i64::from(out.status));
    assert!(fits(&expect["exit"]) || also.iter().any(fits), "{} {what}", out.status);
    let wanted = expect["files"].as_object().cloned().unwrap_or_default();
    // The original restores the login of Claude Code to where no version of today reads it.
    let today = |path: &str| path.replace(".config/claude/credentials", ".claude/.credentials");
    let wanted: BTreeMap<String, Vec<u8>> =
        wanted.iter().map(|(path, bytes)| (today(path), decoded(bytes))).collect();
    if out.status == 0 {
        assert_eq!(tree(&desk.path("root")), wanted, "{what}");
        let skipped = expect["skipped"].as_array().map_or(0, Vec::len);
        let skipped_count =
            out.said.lines().filter(|line| line.starts_with("passed over:")).count();
        assert_eq!(skipped_count, skipped, "{what}");
    } else {
        assert!(tree(&desk.path("root")).is_empty(), "nothing at all is written: {what}");
        assert!(out.said.contains("->"), "no next step is named: {what}");
    }
    let value = |files: &BTreeMap<String, Vec<u8>>| {
        let long = files.values().filter(|bytes| bytes.len() > 8);
        long.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<Vec<_>>()
    };
    for value in value(&wanted) {
        assert!(!out.said.contains(value.trim()), "{what}");
    }
}

#[test]
fn every_case_of_the_original_ends_with_its_number_and_shows_no_secret() {
    let cases = load(&folder("vectors").join("cli-cases.json"));
    for case in cases.as_array().unwrap() {
        let desk = Desk::new();
        let tmp = desk.place.0.display().to_string();
        let verb = match text(case, "tool").unwrap() {
            "picker" => "pick",
            verb => verb,
        };
        for (name, content) in case["files"].as_object().unwrap() {
            fs::write(desk.path(name), content.as_str().unwrap()).unwrap();
        }
        let args = case["argv"].as_array().unwrap().iter();
        let args: Vec<String> =
            args.map(|arg| arg.as_str().unwrap().replace("{tmp}", &tmp)).collect();
        let mut all = vec![verb];
        all.extend(args.iter().map(String::as_str));
        let mut command = desk.command(&all);
        for (key, value) in case["env"].as_object().unwrap() {
            command.env(key, value.as_str().unwrap());
        }
        let out = ran(&mut command);
        let what = format!("{}: {}", case["case"], out.said);
        assert_eq!(Some(i64::from(out.status)), case["expect"]["exit"].as_i64(), "{what}");
        for secret in case["secrets_that_must_not_appear"].as_array().unwrap() {
            assert!(!out.said.contains(secret.as_str().unwrap()), "{what}");
        }
        assert!(!out.said.contains("NOPE_UNSET"), "nor a variable's name: {what}");
        if out.status != 0 {
            assert!(out.said.contains("->"), "{what}");
        }
    }
}

#[test]
fn what_was_persisted_is_restored_with_owner_and_mode_and_a_second_time_is_there_already() {
    let desk = Desk::new();
    fs::write(desk.path("hosts.yml"), "oauth_token: FAKE-1\n").unwrap();
    let bakes = ["--bake-cred", "gh-cli=@hosts.yml", "--persona", "otto", "--bake-cred"];
    for format in ["zcv1", "zcv2"] {
        let out = desk.persist(&[&bakes[..], &[CODEX, "--format", format, "--verify"]].concat());
        assert_eq!(out.status, 0, "{}", out.said);
        assert!(out.said.contains("gh-cli, codex baked"), "{}", out.said);
        let blob = fs::read(desk.blob()).unwrap();
        assert_eq!(blob[..4].to_ascii_lowercase(), format.as_bytes());
        assert!(
            out.said.contains("every user of this machine can read"),
            "no warning of a literal"
        );
    }
    let dry = desk.restore(&["--persona", "otto", "--dry-run"]);
    assert!(dry.said.contains("would be written") && tree(&desk.path("root")).is_empty());
    for word in ["written", "already present"] {
        let out = desk.restore(&["--persona", "otto"]);
        assert_eq!(out.status, 0, "{}", out.said);
        assert_eq!(out.said.matches(word).count(), 2, "{}", out.said);
    }
    let hosts = desk.path("root/home/zeta/.config/gh/hosts.yml");
    assert_eq!(super::sandbox::seen(&hosts).1, 0o600);
    fs::write(&hosts, "oauth_token: NEWER\n").unwrap();
    let out = desk.restore(&[]);
    assert!(out.status == 0 && out.said.contains("differs and was kept"), "{}", out.said);
    assert!(fs::read_to_string(&hosts).unwrap().contains("NEWER"));
    let out = desk.restore(&["--overwrite"]);
    assert!(out.status == 0 && out.said.contains(": written"), "{}", out.said);
    // A planted link is refused and named; the rest is restored.
    fs::remove_file(&hosts).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &hosts).unwrap();
    let out = desk.restore(&["--persona", "otto", "--overwrite"]);
    assert_eq!(out.status, 8, "{}", out.said);
    assert!(out.said.contains("refused") && out.said.contains("symbolic link"), "{}", out.said);
}

#[test]
fn an_older_save_is_refused_where_a_newer_one_was_seen() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=one"]).status, 0);
    let old = fs::read(desk.blob()).unwrap();
    let out = desk.persist(&["--update", "--bake-cred", "install-answers={}"]);
    assert!(out.status == 0 && out.said.contains("save 2"), "{}", out.said);
    assert_eq!(desk.restore(&[]).status, 0);
    let holds = desk.run(&[&["inspect", "--input", "stick/zeta-creds.enc"], &LOCK[..]].concat());
    assert!(holds.said.contains("gh-cli") && holds.said.contains("install-answers"));
    assert!(!holds.said.contains("one"), "{}", holds.said);
    fs::write(desk.blob(), &old).unwrap();
    let out = desk.restore(&[]);
    assert_eq!(out.status, 8, "{}", out.said);
    assert!(out.said.contains("save 1") && out.said.contains("--accept-older"), "{}", out.said);
    assert_eq!(desk.restore(&["--accept-older"]).status, 0);
    // A machine that was installed a moment ago has seen nothing.
    fs::remove_dir_all(desk.path("state")).unwrap();
    assert_eq!(desk.restore(&[]).status, 0);
    // Its own save counts on from what lies on the stick.
    fs::remove_dir_all(desk.path("state")).unwrap();
    let out = desk.persist(&["--update", "--bake-cred", "install-answers={}"]);
    assert!(out.status == 0 && out.said.contains("save 2"), "{}", out.said);
}

#[test]
fn a_damaged_blob_is_told_from_a_wrong_passphrase_and_its_backup_is_used() {
    let desk = Desk::new();
    for value in ["one", "two"] {
        assert_eq!(desk.persist(&["--bake-cred", &format!("gh-cli={value}")]).status, 0);
    }
    let good = fs::read(desk.blob()).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    fs::write(desk.blob(), &bad).unwrap();
    let out = desk.restore(&[]);
    assert!(out.status == 5 && out.said.contains("damaged"), "{}", out.said);
    let wrong = ["--usb-uuid", "0000-0000", "--passphrase-file", "stick.txt"];
    let args = ["restore", "--input", "stick/zeta-creds.enc", "--target-root", "root"];
    fs::write(desk.blob(), &good).unwrap();
    let out = desk.run(&[&args[..], &wrong].concat());
    assert!(out.status == 5 && out.said.contains("wrong passphrase or stick"), "{}", out.said);
    fs::write(desk.blob(), &good[..100]).unwrap();
    let out = desk.restore(&["--accept-older"]);
    assert!(out.status == 0 && out.said.contains("ATTENTION: the backup"), "{}", out.said);
}

#[test]
fn the_note_is_a_hint_and_the_factor_that_was_named_decides() {
    let desk = Desk::new();
    fs::write(desk.path("keyfile"), [7; 32]).unwrap();
    let lock = ["--uefi-keyfile", "keyfile", "--passphrase-file", "stick.txt"];
    let keep = ["persist", "--output", "stick/zeta-creds.enc", "--bake-cred", "gh-cli=x"];
    assert_eq!(desk.run(&[&keep[..], &lock].concat()).status, 0);
    let note = desk.path("stick/zeta-creds.factor");
    assert_eq!(fs::read_to_string(&note).unwrap(), "uefiKeyfile\n");
    let out = desk.restore(&[]);
    assert!(out.status == 5 && out.said.contains("give --uefi-keyfile"), "{}", out.said);
    let restore = |blob: &str| {
        let args = ["restore", "--input", blob, "--target-root", "root"];
        desk.run(&[&args[..], &lock].concat())
    };
    assert_eq!(restore("stick/zeta-creds.enc").status, 0);
    // A copy that left the note behind, and a note that was lost or is another blob's.
    fs::copy(desk.blob(), desk.path("copy")).unwrap();
    assert_eq!(restore("copy").status, 0);
    assert_eq!(desk.run(&[&keep[..], &lock].concat()).status, 0);
    for text in [Some("usbISerial\n"), Some("tpm"), None] {
        match text {
            Some(text) => fs::write(&note, text).unwrap(),
            None => fs::remove_file(&note).unwrap(),
        }
        assert_eq!(restore("stick/zeta-creds.enc").status, 0, "{text:?}");
        let out = restore("stick/zeta-creds.bak");
        assert!(out.status == 8 && out.said.contains("save 1"), "{text:?}: {}", out.said);
    }
    fs::write(desk.path("keyfile"), [7; 31]).unwrap();
    let out = restore("stick/zeta-creds.enc");
    assert!(out.status == 2 && out.said.contains("31 bytes"), "{}", out.said);
    for serial in ["", " A1", "A1 "] {
        let lock = ["--usb-iserial", serial, "--passphrase-file", "stick.txt"];
        assert_eq!(desk.run(&[&keep[..], &lock].concat()).status, 2, "{serial:?}");
    }
}

#[test]
fn at_boot_no_blob_is_fine_and_the_staged_passphrase_goes_at_the_end() {
    let desk = Desk::new();
    let boot = |more: &[&str]| {
        let args = ["restore", "--at-boot", "--input", "stick/zeta-creds.enc"];
        let lock = ["--usb-uuid", UUID, "--target-root", "root"];
        desk.run(&[&args[..], &lock, more].concat())
    };
    let staged = ["--passphrase-file", "stick.txt"];
    let out = boot(&staged);
    assert!(out.status == 0 && out.said.contains("nothing to restore"), "{}", out.said);
    assert!(!desk.path("stick.txt").exists(), "it was for a boot that is over");
    let out = boot(&staged);
    assert_eq!(out.status, 0, "{}", out.said);
    for (passphrase, status) in [(PASSPHRASE, 0), ("wrong", 5)] {
        fs::write(desk.path("stick.txt"), PASSPHRASE).unwrap();
        let loose = desk.persist(&[]);
        assert!(loose.status == 2 && loose.said.contains("mode 0600"), "{}", loose.said);
        chmod(&desk.path("stick.txt"), 0o600);
        assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
        fs::write(desk.path("stick.txt"), passphrase).unwrap();
        let out = boot(&staged);
        assert_eq!(out.status, status, "{}", out.said);
        assert!(!desk.path("stick.txt").exists(), "{}", out.said);
    }
    let out = boot(&staged);
    assert!(out.status == 2 && out.said.contains("is not there"), "{}", out.said);
}

#[test]
fn at_boot_only_a_person_is_given_another_try_and_a_stick_has_to_be_there() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    fs::create_dir(desk.path("credentials")).unwrap();
    fs::write(desk.path("credentials/zeta-creds-passphrase"), "wrong").unwrap();
    let args = ["restore", "--at-boot", "--ask", "--usb-uuid", UUID, "--target-root", "root"];
    let mut boot = desk.command(&[&args[..], &["--input", "stick/zeta-creds.enc"]].concat());
    let out = ran(boot.env("CREDENTIALS_DIRECTORY", desk.path("credentials")));
    assert_eq!(out.status, 5, "{}", out.said);
    assert_eq!(out.said.matches("wrong passphrase").count(), 1, "{}", out.said);

    // A directory that is not there is no stick that holds nothing.
    let out = desk.run(&[&args[..], &["--input", "esp/zeta-creds.enc"]].concat());
    assert!(out.status == 3 && out.said.contains("mounted"), "{}", out.said);
}

#[test]
fn a_file_chooses_among_the_factors_that_are_named() {
    let desk = Desk::new();
    fs::write(desk.path("uuid"), format!("{UUID}\n")).unwrap();
    fs::write(desk.path("serial"), "A1\r\n").unwrap();
    let named = ["--usb-uuid-file", "uuid", "--usb-iserial-file", "serial"];
    let restore = || {
        let args = ["restore", "--input", "stick/zeta-creds.enc", "--target-root", "root"];
        let lock = ["--factor-file", "stick/zeta-creds.factor", "--passphrase-file", "stick.txt"];
        desk.run(&[&args[..], &lock, &named].concat())
    };
    // Without a note it is the UUID; then it is the serial number, which the note says.
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    assert_eq!(restore().status, 0);
    let serial = ["--usb-iserial", "A1", "--passphrase-file", "stick.txt"];
    let keep = ["persist", "--output", "stick/zeta-creds.enc", "--bake-cred", "gh-cli=x"];
    assert_eq!(desk.run(&[&keep[..], &serial].concat()).status, 0);
    let out = restore();
    assert_eq!(out.status, 0, "{}", out.said);
    // The one that the note names cannot be had, and the other one is not it.
    fs::rename(desk.path("serial"), desk.path("away")).unwrap();
    let out = restore();
    assert!(out.status == 2 && out.said.contains("names it"), "{}", out.said);
    fs::rename(desk.path("away"), desk.path("serial")).unwrap();
    // A note that names neither does not lock the blob; a new one needs to know what to choose.
    fs::write(desk.path("stick/zeta-creds.factor"), "uefiKeyfile\n").unwrap();
    assert_eq!(restore().status, 0);
    let by = ["--factor-file", "stick/zeta-creds.factor"];
    let out = desk.run(&[&keep[..], &named, &by, &serial[2..]].concat());
    assert!(out.status == 2 && out.said.contains("--uefi-keyfile"), "{}", out.said);
    // An update keeps what the blob is bound to.
    let update = ["persist", "--output", "stick/zeta-creds.enc", "--update"];
    let out = desk.run(&[&update[..], &named, &by, &serial[2..]].concat());
    assert_eq!(out.status, 0, "{}", out.said);
    let note = fs::read_to_string(desk.path("stick/zeta-creds.factor")).unwrap();
    assert_eq!(note, "usbISerial\n");
    let both = desk.run(&[&keep[..], &named, &serial[2..]].concat());
    assert!(both.status == 2 && both.said.contains("--factor-file"), "{}", both.said);
}

#[test]
fn nothing_picked_or_baked_leaves_a_blob_as_it_is_and_json_tells_the_number() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let before = fs::read(desk.blob()).unwrap();
    let out = desk.persist(&["--json"]);
    assert_eq!(out.status, 3, "{}", out.said);
    assert!(
        out.said.contains("\"exit_status\":3") && out.said.contains("--update"),
        "{}",
        out.said
    );
    let pick = ["pick", "--output", "stick/zeta-creds.enc", "--defer-all"];
    let out = desk.run(&[&pick[..], &LOCK].concat());
    assert!(out.status == 0 && out.said.contains("stays as it is"), "{}", out.said);
    assert_eq!(fs::read(desk.blob()).unwrap(), before);
    assert_eq!(desk.persist(&["--update"]).status, 0);
}

#[test]
fn what_lies_on_the_machine_is_found_and_baked() {
    let desk = Desk::new();
    let home = desk.path("home");
    fs::create_dir_all(home.join(".claude")).unwrap();
    fs::write(
        home.join(".claude/.credentials.json"),
        "{\"claudeAiOauth\":{\"accessToken\":\"FAKE-2\"}}",
    )
    .unwrap();
    let args = ["persist", "--output", "stick/zeta-creds.enc", "--bake-found", "--persona", "otto"];
    let mut command = desk.command(&[&args[..], &LOCK].concat());
    let out = ran(command.env("HOME", &home));
    assert!(out.status == 0 && out.said.contains("claude"), "{}", out.said);
    assert_eq!(desk.restore(&["--persona", "otto"]).status, 0);
    let there = tree(&desk.path("root"));
    assert!(there.contains_key("home/zeta/.claude/.credentials.json"), "{:?}", there.keys());
}

/// What of all processes' arguments and environments that we may read holds a text.
fn told_by_proc(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let files = processes.flat_map(|entry| ["cmdline", "environ"].map(|f| entry.path().join(f)));
    let holds = |path: &PathBuf| {
        fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
    };
    files.filter(holds).map(|path| path.display().to_string()).collect()
}

/// A picker at a terminal.
pub fn picker(desk: &Desk, more: &[&str]) -> Terminal {
    let args = ["pick", "--usb-uuid", UUID, "--output", "stick/zeta-creds.enc"];
    Terminal::run(&desk.command(&[&args[..], more].concat()))
}

#[test]
fn a_person_picks_at_a_terminal_and_nothing_typed_is_shown() {
    let desk = Desk::new();
    let mut terminal = picker(&desk, &["--verify"]);
    terminal.wait_for("New passphrase");
    terminal.keys(b"FAKE-pass\r");
    terminal.wait_for("Once more");
    terminal.keys(b"FAKE-pass\r");
    terminal.wait_for("gh-cli (required");
    terminal.wait_for("[d] ");
    terminal.keys(b"b\n");
    terminal.wait_for("[l]iteral");
    terminal.keys(b"l\n");
    terminal.wait_for("not shown");
    terminal.keys(b"FAKE-token\r");
    terminal.wait_for("ssh-operator-pubkey (required");
    assert_eq!(told_by_proc("FAKE-token"), Vec::<String>::new());
    terminal.keys(b"b\n");
    terminal.wait_for("[l]iteral, [f]ile? [skip] ");
    terminal.shown.clear();
    terminal.keys(b"f\n");
    terminal.wait_for("path: ");
    terminal.keys(b"stick.txt\n");
    terminal.wait_for("try again");
    terminal.keys(b"\n");
    for _ in 0..3 {
        terminal.wait_for("[d] ");
        terminal.shown.clear();
        terminal.keys(b"\n");
    }
    terminal.wait_for("Save it?");
    terminal.keys(b"\n");
    assert_eq!(terminal.end(), Some(0), "{}", terminal.shown);
    assert!(!terminal.shown.contains("FAKE"), "{}", terminal.shown);
    fs::write(desk.path("stick.txt"), "FAKE-pass").unwrap();
    let holds = desk.run(&[&["inspect", "--input", "stick/zeta-creds.enc"], &LOCK[..]].concat());
    assert!(holds.said.contains("gh-cli"), "{}", holds.said);
    assert!(!holds.said.contains("ssh-operator-pubkey"), "{}", holds.said);
}

#[test]
fn giving_up_while_picking_writes_nothing() {
    for keys in [&b"\x03"[..], b"\x04"] {
        let desk = Desk::new();
        let mut terminal = picker(&desk, &["--passphrase-file", "stick.txt"]);
        terminal.wait_for("[d] ");
        terminal.keys(keys);
        let ended = terminal.end();
        assert!(ended == Some(3) || keys == b"\x03", "{ended:?} {}", terminal.shown);
        assert_ne!(ended, Some(0));
        assert!(names(&desk.path("stick")).is_empty());
        assert_eq!(terminal.modes(), terminal.before);
    }
}

#[test]
fn a_passphrase_is_made_for_whoever_wants_one() {
    let desk = Desk::new();
    let (one, two) = (desk.run(&["passphrase"]), desk.run(&["passphrase"]));
    assert_ne!(one.said, two.said);
    assert!(one.said.contains("96 bits"), "{}", one.said);
    let mut terminal = picker(&desk, &["--defer-all"]);
    terminal.wait_for("New passphrase");
    terminal.keys(b"\r");
    terminal.wait_for("Enter when you have it");
    let shown = terminal.shown.clone();
    let made = shown.split_whitespace().find(|word| word.matches('-').count() == 5).unwrap();
    terminal.keys(b"\n");
    assert_eq!(terminal.end(), Some(0), "{}", terminal.shown);
    fs::write(desk.path("stick.txt"), made).unwrap();
    assert_eq!(desk.restore(&[]).status, 0);
}
