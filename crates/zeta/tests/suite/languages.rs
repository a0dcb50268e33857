//! The programs of `docs/use/languages.md` run as they stand there: each takes a lease, claims
//! files, sends mail and waits for the answer.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::support::{LIMIT, Out, Sandbox, can, find, finish, run, signal, skip, test_name};

/// Writes the program of a language into the sandbox, in a repository with the claimed files.
fn program(language: &str, file: &str) -> Sandbox {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/use/languages.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    let (text, _) = rest.split_once("\n```").unwrap();
    assert!(text.lines().count() <= 25, "{language}: {}", text.lines().count());
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.dir.join(".git")).unwrap();
    std::fs::create_dir(sandbox.dir.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zeta"), sandbox.dir.join("bin/zeta")).unwrap();
    std::fs::write(sandbox.dir.join(file), text).unwrap();
    sandbox
}

/// A call of the program as the agent otto, in a session.
fn call(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.cmd(&["run", "--as", "otto", "--"]);
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", sandbox.dir.join("bin").display());
    command.args(words).current_dir(&sandbox.dir).env("PATH", path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// As [`call`], without a session.
fn bare(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.other(find(words[0]).unwrap().to_str().unwrap(), &words[1..]);
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", sandbox.dir.join("bin").display());
    command.current_dir(&sandbox.dir).env("PATH", path).env("ZETA_AGENT", "otto");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    command
}

fn as_vera(sandbox: &Sandbox, args: &[&str]) -> Out {
    let mut command = sandbox.cmd(args);
    run(command.args(["--as", "vera"]).current_dir(&sandbox.dir))
}

fn check(sandbox: &Sandbox, words: &[&str]) {
    let is_free = || as_vera(sandbox, &["lease", "list"]).out.trim().is_empty();
    // Its work, with an answer to its mail.
    let started = Instant::now();
    let child = call(sandbox, words).spawn().unwrap();
    let asked = as_vera(sandbox, &["bus", "wait", "--timeout", "30s"]);
    assert_eq!(asked.status, 0, "{asked:?}");
    let mail = as_vera(sandbox, &["bus", "inbox"]);
    assert!(mail.out.contains("deployed: please look at it"), "{mail:?}");
    as_vera(sandbox, &["bus", "send", "otto", "looks good"]);
    let out = finish(child, started, LIMIT);
    assert_eq!(out.status, 0, "{out:?}");
    let (_, rest) = out.out.split_once("deploying with the token ").expect("it says that");
    let (token, rest) = rest.split_once('\n').unwrap();
    assert!(token.parse::<u64>().is_ok(), "{out:?}");
    assert!(rest.starts_with("deployed\n") && rest.contains("looks good"), "{out:?}");
    assert!(is_free(), "{:?}", as_vera(sandbox, &["lease", "list"]));
    // Another agent has the lease, or one of the files: it does no work, and leaves nothing behind.
    for held in [&["lease", "acquire", "deploy"][..], &["claim", "acquire", "--path", "docs/"]] {
        let token = as_vera(sandbox, held).out.trim().to_owned();
        let out = run(&mut call(sandbox, words));
        assert_eq!((out.status, out.out.as_str()), (3, ""), "{held:?}: {out:?}");
        assert!(as_vera(sandbox, &["lease", "list"]).out.lines().count() == 1, "{held:?}");
        let release: Vec<&str> =
            held.iter().map(|word| if *word == "acquire" { "release" } else { *word }).collect();
        let out = as_vera(sandbox, &[&release[..], &["--token", &token]].concat());
        assert_eq!(out.status, 0, "{release:?}: {out:?}");
    }
    // Killed while it waits for the answer, it leaves nothing behind, either.
    let started = Instant::now();
    let child = call(sandbox, words).spawn().unwrap();
    let asked = as_vera(sandbox, &["bus", "wait", "--timeout", "30s"]);
    assert_eq!(asked.status, 0, "{asked:?}");
    let show = as_vera(sandbox, &["lease", "list", "--json"]);
    let leases: Value = serde_json::from_str(&show.out).unwrap();
    let program = &leases["leases"].as_array().unwrap().iter().find(|l| l["lease"] == "deploy");
    let pid = program.unwrap()["child_pid"].as_u64().unwrap();
    signal(u32::try_from(pid).unwrap(), Signal::KILL);
    // What the program had called waits on, with the pipe that is read here.
    as_vera(sandbox, &["bus", "send", "otto", "go on"]);
    assert_eq!(finish(child, started, LIMIT).status, 128 + 9);
    assert!(is_free(), "{:?}", as_vera(sandbox, &["lease", "list"]));
}

/// Without a session it gives back what it has, also if it loses its lease, or is ended.
fn check_bare(sandbox: &Sandbox, words: &[&str]) {
    let left = || as_vera(sandbox, &["lease", "list"]).out;
    for name in ["vera", "otto"] {
        run(&mut sandbox.cmd(&["bus", "inbox", "--as", name]));
    }
    let started = Instant::now();
    let child = bare(sandbox, words).spawn().unwrap();
    assert_eq!(as_vera(sandbox, &["bus", "wait", "--timeout", "30s"]).status, 0);
    assert_eq!(left().lines().count(), 2, "{}", left());
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::TERM).unwrap();
    let out = finish(child, started, LIMIT);
    assert!(out.status != 0 && left().trim().is_empty(), "{}: {out:?}", left());
    let real = sandbox.dir.join("bin/zeta");
    std::fs::rename(&real, sandbox.dir.join("bin/real")).unwrap();
    let robs = "#!/bin/sh\nall=\"$* \" token=${all##*--token }\ncase $all in *'lease check '*) \
                real lease break deploy --expect \"${token%% *}\" --reason test >&2;; esac\n\
                exec real \"$@\"\n";
    std::fs::write(&real, robs).unwrap();
    std::fs::set_permissions(&real, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let out = run(&mut bare(sandbox, words));
    assert!(out.status == 5 && left().trim().is_empty(), "{}: {out:?}", left());
}

#[test]
fn the_program_in_shell_does_what_the_page_says() {
    let sandbox = program("sh", "deploy.sh");
    check(&sandbox, &["sh", "deploy.sh"]);
    check_bare(&sandbox, &["sh", "deploy.sh"]);
}

#[test]
fn the_program_in_python_does_what_the_page_says() {
    if find("python3").is_none() {
        return skip(test_name!(), "needs python3");
    }
    let sandbox = program("python", "deploy.py");
    check(&sandbox, &["python3", "deploy.py"]);
    check_bare(&sandbox, &["python3", "deploy.py"]);
}

#[test]
fn the_program_in_typescript_does_what_the_page_says() {
    // Later versions read types without an option, and know the option.
    let node = ["node", "--experimental-strip-types", "--no-warnings"];
    if !can(node[0], &[node[1], node[2], "-e", ""]) {
        return skip(test_name!(), "needs node 22.6 or later, which reads TypeScript");
    }
    let sandbox = program("typescript", "deploy.ts");
    check(&sandbox, &[&node[..], &["deploy.ts"]].concat());
    check_bare(&sandbox, &[&node[..], &["deploy.ts"]].concat());
}
