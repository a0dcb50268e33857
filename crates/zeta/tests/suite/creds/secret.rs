//! Where a passphrase comes from, and that it goes nowhere else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::termios::LocalModes;
use zeta_creds::passphrase as source;
use zeta_creds::passphrase::{Sources, Used};
use zeta_creds::secret::PASSPHRASE_MAX;

use super::sandbox;
use super::sandbox::{OTHER, Sandbox, USER, part, put, skipped_without_root};
use crate::support::{Terminal, skip, test_name, wait_for};

const SECRET: &str = "correct-horse";

/// Parts that tell where a passphrase came from: `source,fd,0`, `source,variable,NAME`, …
pub fn play(words: &[&str], say: &dyn Fn(&str)) -> u8 {
    let [_, kind, value] = words else { panic!("no such part: {words:?}") };
    let mut sources = Sources { credential: Some("pass"), ..Sources::default() };
    match *kind {
        "fd" => sources.fd = value.parse().ok(),
        "file" => sources.file = Some(Path::new(value)),
        "variable" => sources.variable = Some(value),
        _ => {}
    }
    match source::passphrase(&sources) {
        Ok((secret, used)) => {
            say(&format!("{used:?} {}", String::from_utf8_lossy(secret.expose())));
            0
        }
        Err(error) => {
            say(&format!("{} {:?} {:?}", error.text, error.hints, error));
            error.kind.status()
        }
    }
}

fn from_file(path: &Path) -> Result<String, String> {
    let sources = Sources { file: Some(path), ..Sources::default() };
    match source::passphrase(&sources) {
        Ok((secret, used)) => {
            assert_eq!(used, Used::File);
            Ok(String::from_utf8_lossy(secret.expose()).into_owned())
        }
        Err(error) => Err(error.text),
    }
}

#[test]
fn one_end_of_a_line_is_cut_and_nothing_else() {
    let place = Sandbox::new();
    let path = place.0.join("pass");
    let longest = "x".repeat(PASSPHRASE_MAX);
    for (text, wanted) in [
        ("a\n", Some("a")),
        ("a\r\n", Some("a")),
        ("a\n\n", Some("a\n")),
        ("a\r", Some("a\r")),
        (" a ", Some(" a ")),
        ("", None),
        ("\n", None),
        ("\r\n", None),
        (&format!("{longest}\r\n"), Some(&longest)),
        (&format!("{longest}x"), None),
        (&format!("{longest}{longest}"), None),
    ] {
        put(&path, text, 0, 0o600);
        assert_eq!(from_file(&path).ok().as_deref(), wanted, "{text:.20?}");
    }
}

#[test]
fn a_file_that_others_know_is_refused() {
    let place = Sandbox::new();
    let path = place.0.join("pass");
    for mode in [0o640, 0o604, 0o620, 0o602] {
        put(&path, SECRET, 0, mode);
        let said = from_file(&path).unwrap_err();
        assert!(said.contains("others may read or write it") && !said.contains(SECRET), "{said}");
    }
    assert!(from_file(&place.0).unwrap_err().contains("not a file"));
    assert!(from_file(&place.0.join("none")).is_err());
    // The shape of sops and agenix: a link to a file that is safe.
    put(&path, SECRET, 0, 0o400);
    std::os::unix::fs::symlink(&path, place.0.join("link")).unwrap();
    assert_eq!(from_file(&place.0.join("link")).as_deref(), Ok(SECRET));
    if skipped_without_root(test_name!()) {
        return;
    }
    put(&path, SECRET, OTHER, 0o600);
    let said = from_file(&path).unwrap_err();
    assert!(said.contains("belongs to user id 65111"), "{said}");
}

/// Runs a part to its end and returns what it said and its status.
fn run(name: &str, before: &str, input: Stdio) -> (String, i32) {
    let out = part(name, before).stdin(input).output().unwrap();
    (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code().unwrap_or(-1))
}

#[test]
fn a_credential_comes_first_and_then_what_was_named() {
    let place = Sandbox::new();
    let path = place.0.join("pass");
    put(&path, SECRET, 0, 0o444);
    let given = format!("export CREDENTIALS_DIRECTORY={}", place.0.display());
    assert_eq!(run("source,fd,9", &given, Stdio::null()).0, format!("Credential {SECRET}"));
    // systemd's own modes are its business, also for a file that is named by its path.
    let other = place.0.join("other");
    put(&other, "named", 0, 0o444);
    fs::remove_file(&path).unwrap();
    let name = format!("source,file,{}", other.display());
    assert_eq!(run(&name, &given, Stdio::null()).0, "File named");
    assert!(run(&name, "", Stdio::null()).0.contains("others may read"));
    let by_number = format!("exec 7<{}", other.display());
    for name in ["source,fd,7", "source,file,/dev/fd/7"] {
        let (said, _) = run(name, &by_number, Stdio::null());
        assert!(said.ends_with(" named"), "{name}: {said}");
    }
    let (said, status) = run("source,fd,9", "exec 9<&-", Stdio::null());
    assert!(said.contains("descriptor 9 is not open") && status == 2, "{said}");
    let (said, status) = run("source,none,-", "", Stdio::null());
    assert!(said.contains("no passphrase") && status == 2, "{said}");
}

#[test]
fn a_slow_pipe_is_read_to_its_end() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let slow = std::thread::spawn(move || {
        for piece in ["corr", "ect-horse", "\n"] {
            writer.write_all(piece.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    assert_eq!(run("source,fd,0", "", reader.into()).0, format!("Fd {SECRET}"));
    slow.join().unwrap();
}

#[test]
fn neither_a_variables_name_nor_its_value_is_repeated() {
    let set = format!("export PASS={SECRET}");
    assert_eq!(run("source,variable,PASS", &set, Stdio::null()).0, format!("Variable {SECRET}"));
    // The user typed the passphrase where its variable's name belongs.
    for name in [SECRET, "a=correct-horse", ""] {
        let (said, status) = run(&format!("source,variable,{name}"), "", Stdio::null());
        assert!(said.contains("is not set") && status == 2, "{said}");
        assert!(!said.contains("horse"), "{said}");
    }
    let (said, _) = run("source,variable,PASS", "export PASS=", Stdio::null());
    assert!(said.contains("empty") && !said.contains("PASS"), "{said}");
}

#[test]
fn a_process_with_a_secret_is_not_dumped_and_not_read() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let mut command = Command::new("setpriv");
    let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    let place = Sandbox::new();
    // A copy that the user may run, wherever the build directory is.
    let program = place.0.join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let script = sandbox::part_words("hold-secret")
        .replace(std::env::current_exe().unwrap().to_str().unwrap(), program.to_str().unwrap());
    command.args([&uid, &gid, "--clear-groups", "/bin/sh", "-c"]);
    let limits = format!("ulimit -c unlimited; exec {script}");
    let mut holder = command.arg(limits).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "held\n");
    let pid = holder.id();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    // Its memory: another process of the same user, which could read it otherwise.
    let read = |pid: u32| {
        let mut reader = Command::new("setpriv");
        reader.args([&uid, &gid, "--clear-groups", "head", "-c0"]).arg(format!("/proc/{pid}/mem"));
        reader.output().unwrap().status.success()
    };
    let sleeper =
        Command::new("setpriv").args([&uid, &gid, "--clear-groups", "sleep", "20"]).spawn();
    let mut sleeper = sleeper.unwrap();
    wait_for("an ordinary process is readable", || read(sleeper.id()));
    assert!(!read(pid));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    // Its pages: "dd" is not dumped.
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let flags = maps.lines().filter(|line| line.starts_with("VmFlags:"));
    let undumped = flags.filter(|line| line.contains(" dd") && line.contains(" wf"));
    assert!(undumped.count() >= 1, "no page of it is kept out of dumps");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

fn has_setsid(test: &str) -> bool {
    let here = Command::new("setsid").arg("--version").output().is_ok();
    if !here {
        skip(test, "no setsid (Debian package util-linux)");
    }
    here
}

/// A part of this test binary at a terminal; what it says goes to a file.
fn terminal(name: &str, result: &Path) -> Terminal {
    Terminal::run(&part(name, &format!("exec 3>{}", result.display())))
}

#[test]
fn a_hidden_prompt_shows_nothing_and_knows_its_keys() {
    if !has_setsid(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let result = place.0.join("result");
    let mut terminal = terminal("ask", &result);
    let before = terminal.before;
    assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
    terminal.wait_for("Passphrase: ");
    assert!(!terminal.modes().intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
    terminal.keys("wrong\x15corrr\x7fect-horsé\x7fe\t\r".as_bytes());
    assert_eq!(terminal.end(), Some(0));
    assert_eq!(fs::read_to_string(&result).unwrap(), format!("got {SECRET:?}\n"));
    assert_eq!(terminal.modes(), before, "the terminal is as it was");
    assert_eq!(terminal.shown.trim_end(), "Passphrase:", "nothing that was typed is shown");
}

#[test]
fn giving_up_and_signals_leave_the_terminal_as_it_was() {
    if !has_setsid(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    for (number, keys) in [&b"abc\x03"[..], &b"abc\x04"[..], b"", b""].into_iter().enumerate() {
        let result = place.0.join(format!("result-{number}"));
        let mut terminal = terminal("ask", &result);
        let before = terminal.before;
        terminal.wait_for("Passphrase: ");
        assert!(!terminal.modes().contains(LocalModes::ECHO));
        let given_up = !keys.is_empty();
        if given_up {
            terminal.keys(keys);
        } else {
            let signal = if number == 2 { "TERM" } else { "INT" };
            let pid = last_child_of(terminal.child.id()).to_string();
            assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        }
        let wanted = [3, 3, 128 + libc::SIGTERM, 128 + libc::SIGINT][number];
        assert_eq!(terminal.end(), Some(wanted), "case {number}");
        assert_eq!(terminal.modes(), before, "case {number}");
        let said = fs::read_to_string(&result).unwrap();
        assert_eq!(said.contains("given up"), given_up, "{said}");
        assert!(!said.contains("abc") && !terminal.shown.contains("abc"));
    }
}

/// The last of the processes that start each other.
fn last_child_of(pid: u32) -> u32 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.map(|task| fs::read_to_string(task.path().join("children")));
    let all = children.flatten().collect::<String>();
    let child = all.split_whitespace().next().and_then(|child| child.parse().ok());
    child.map_or(pid, last_child_of)
}

#[test]
fn a_line_is_asked_for_in_the_open() {
    if !has_setsid(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let result = place.0.join("result");
    for (keys, wanted) in [("bake\r", "Ok(Some(\"bake\"))\n"), ("\x04", "Ok(None)\n")] {
        let mut terminal = terminal("line", &result);
        terminal.wait_for("Which? ");
        terminal.keys(keys.as_bytes());
        assert_eq!(terminal.end(), Some(0));
        assert_eq!(fs::read_to_string(&result).unwrap(), wanted);
        assert_eq!(terminal.shown.contains("bake"), keys.starts_with("bake"));
    }
}

#[test]
fn without_a_terminal_systemd_is_asked() {
    if !has_setsid(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let program = place.0.join("systemd-ask-password");
    let ask = |script: &str| {
        put(&program, &format!("#!/bin/sh\n{script}\n"), 0, 0o755);
        let before = format!("export FAKE_VALUE=x PATH={}:$PATH", place.0.display());
        let inner = part("ask", &before);
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(inner.get_program()).args(inner.get_args());
        let out = command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let checked = "case \" $* \" in *' --timeout=300 '*) echo correct-horse;; esac";
    assert_eq!(ask(checked), format!("got {SECRET:?}\n"));
    let printed = ask("[ -z \"$FAKE_VALUE\" ] && echo correct-horse");
    assert_eq!(printed, format!("got {SECRET:?}\n"), "a possible secret is not passed on");
    assert!(ask("exit 1").contains("nobody gave the passphrase"));
    assert!(ask("echo").contains("nobody gave the passphrase"));
    fs::remove_file(&program).unwrap();
    let before = format!("export PATH={}", place.0.display());
    let inner = part("ask", &before);
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(inner.get_program()).args(inner.get_args());
    let mut said = String::new();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(said.contains("no terminal to ask at"), "{said}");
}
