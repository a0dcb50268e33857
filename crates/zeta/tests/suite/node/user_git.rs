//! The user's own git is the user's: its ssh, its settings, its kinds of repositories. And the
//! token is where it is needed, and nowhere else.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;

use super::fake_github::{FakeGithub, Fault, TOKEN};
use super::github_model::{Call, NAME, OWNER};
use super::machine::{Machine, opened};
use super::tls;
use crate::support::{LIMIT, Out, run, wait, wait_for};

fn program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

#[test]
fn ssh_is_started_as_the_user_s_git_starts_it() {
    let machine = Machine::new();
    let ssh = machine.home.join("my ssh");
    program(&ssh, "for last; do :; done\nexec sh -c \"$last\"");
    let settings = machine.home.join(".gitconfig");
    let named = format!("'{}'", ssh.display());
    type Change<'a> = &'a dyn Fn(&mut Command);
    let ways: [(&str, Change); 4] = [
        ("core.sshCommand", &|_| {
            let text = format!("[core]\n\tsshCommand = \"{named}\"\n[ssh]\n\tvariant = ssh\n");
            std::fs::write(&settings, text).unwrap();
        }),
        ("GIT_CONFIG_COUNT", &|command| {
            let set = [
                ("GIT_CONFIG_COUNT", "2"),
                ("GIT_CONFIG_KEY_0", "core.sshCommand"),
                ("GIT_CONFIG_VALUE_0", &named),
                ("GIT_CONFIG_KEY_1", "ssh.variant"),
                ("GIT_CONFIG_VALUE_1", "ssh"),
            ];
            command.envs(set);
        }),
        ("GIT_SSH", &|command| {
            command.env("GIT_SSH", &ssh).env("GIT_SSH_VARIANT", "ssh");
        }),
        ("GIT_SSH_COMMAND", &|command| {
            command.env("GIT_SSH_COMMAND", &named).env("GIT_SSH_VARIANT", "ssh");
        }),
    ];
    for (way, change) in ways {
        let forge = FakeGithub::new();
        let remote =
            format!("git@127.0.0.1:{}", forge.model(|model| model.place().to_owned()).display());
        let _ = std::fs::remove_file(&settings);
        let mut command = machine.sandbox.cmd(&["node", "register", "--maintainer", "ace"]);
        command.args(["--node", "node-1", "--min-interval", "0s", "--remote", &remote]);
        machine.settle(&mut command);
        for key in ["GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_CONFIG_COUNT"] {
            command.env_remove(key);
        }
        change(&mut command);
        let out = run(&mut command);
        assert!(out.status == 0 && out.out.contains("opened"), "{way}: {out:?}");
    }
}

#[test]
fn repositories_of_both_kinds_are_used_whatever_the_user_makes_by_default() {
    for (kind, by_default) in [("sha256", "sha1"), ("sha1", "sha256"), ("sha256", "sha256")] {
        let machine = Machine::new();
        let remote = machine.home.join("r.git");
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            let out = run(command.arg("--git-dir").arg(&remote).args(args).stdin(Stdio::null()));
            assert_eq!(out.status, 0, "{args:?}: {out:?}");
            out.out.trim().to_owned()
        };
        let format = format!("--object-format={kind}");
        git(&["init", "-q", "--bare", "-b", "main", &format]);
        let tree = git(&["hash-object", "-t", "tree", "-w", "--stdin"]);
        let who = ["-c", "user.name=p", "-c", "user.email=p@example.org"];
        let commit = git(&[&who[..], &["commit-tree", &tree, "-m", "first"]].concat());
        git(&["update-ref", "refs/heads/main", &commit]);
        let settings = format!("[init]\n\tdefaultObjectFormat = {by_default}\n");
        std::fs::write(machine.home.join(".gitconfig"), settings).unwrap();
        let call = |verb: &[&str]| -> Out {
            let mut command = machine.sandbox.cmd(&["--node", "node-1", "node"]);
            command.args(verb).arg("--remote").arg(&remote);
            run(machine.settle(&mut command))
        };
        let register = ["register", "--maintainer", "ace", "--min-interval", "0s"];
        let out = call(&register);
        assert!(out.out.contains("opened"), "{kind} {by_default}: {out:?}");
        git(&["update-ref", "refs/heads/main", "refs/heads/register-node-node-1"]);
        assert!(call(&register).out.contains("registered"));
        assert!(call(&["list"]).out.contains("node-1"));
        let leave = ["deregister", "--maintainer", "ace", "--reason", "sold"];
        let out = call(&leave);
        assert!(out.out.contains("opened"), "{kind} {by_default}: {out:?}");
    }
}

#[test]
fn a_server_gets_one_login_whatever_the_user_s_settings_hold() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (port, pem) = tls::door(&forge);
    let named = machine.home.join("ca.pem");
    std::fs::write(&named, pem).unwrap();
    let key = format!("http.https://localhost:{port}/.extraheader");
    for (key, value) in [(key.as_str(), "AUTHORIZATION: basic eDp5"), ("http.extraheader", "X: y")]
    {
        let mut config = Command::new("git");
        config.args(["config", "--global", key, value]);
        assert_eq!(run(machine.settle(&mut config)).status, 0);
    }
    let (repo, api) = (format!("{OWNER}/{NAME}"), format!("https://localhost:{port}"));
    let mut command = machine.sandbox.cmd(&["node", "register", "--maintainer", "ace"]);
    command.args(["--repo", &repo, "--api", &api]);
    machine.settle(&mut command).env("SSL_CERT_FILE", &named).env("GIT_SSL_CAINFO", &named);
    // The token of another server is there, and is not taken.
    let out = run(command.env("GH_TOKEN", "dotcom").env("GH_ENTERPRISE_TOKEN", TOKEN));
    assert_eq!(opened(&forge), 0, "no git is served there: {out:?}");
    assert!(!format!("{out:?}").contains(TOKEN), "{out:?}");
    assert!(forge.asked(Call::Contents) > 0, "{out:?}");
    let asked = forge.requests(|request| request.path.ends_with("/info/refs"));
    assert!(!asked.is_empty(), "{out:?}");
    for request in asked {
        let logins = request.headers.iter().filter(|(name, _)| name == "authorization");
        let logins: Vec<_> = logins.map(|(_, value)| value.as_str()).collect();
        assert!(logins.len() == 1 && logins[0] != "basic eDp5", "{logins:?}");
    }
}

#[test]
fn the_token_is_in_no_environment_that_does_not_need_it_and_in_no_core() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (log, bin) = (machine.home.join("log"), machine.home.join("bin"));
    std::fs::create_dir(&bin).unwrap();
    let real = crate::support::find("git").unwrap();
    let script =
        format!("{{ echo \"$@\"; env; }} >>{}; exec {} \"$@\"", log.display(), real.display());
    program(&bin.join("git"), &script);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let out = run(command.env("PATH", path));
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("push ") && log.contains("gc.auto"), "{log}");
    assert!(!log.contains("extraHeader"), "a hook of a local repository would get it: {log}");

    let (forge, machine) = (FakeGithub::new(), Machine::new());
    forge.fault(Call::Contents, Fault::Hang, 1);
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("it asks", || forge.asked(Call::Contents) > 0);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    wait(&mut child, LIMIT);
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let zeroes = core.split_whitespace().filter(|word| *word == "0").count();
    assert_eq!(zeroes, 2, "{core}");
}

#[test]
fn a_repository_without_a_commit_and_a_branch_that_is_not_there_are_told_apart() {
    let machine = Machine::new();
    let remote = machine.home.join("r.git");
    let mut git = Command::new("git");
    let out = run(git.args(["init", "-q", "--bare", "-b", "main"]).arg(&remote));
    assert_eq!(out.status, 0, "{out:?}");
    let out = machine.plain(&remote, &["--node", "node-1"]);
    let said = format!("{}: it has no default branch yet", remote.display());
    assert!(out.status != 0 && out.err.contains(&said), "{out:?}");
    let out = machine.plain(&remote, &["--node", "node-1", "--base", "next"]);
    assert!(out.status != 0 && out.err.contains("it has no branch \"refs/heads/next\""), "{out:?}");
}

#[test]
fn a_login_that_a_git_server_repeats_is_in_no_message() {
    use std::io::{Read as _, Write as _};
    let machine = Machine::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let behind = listener.local_addr().unwrap().to_string();
    // Git shows a refusal in plain text.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = [0; 4096];
            let read = stream.read(&mut asked).unwrap_or(0);
            let body = String::from_utf8_lossy(&asked[..read]).replace("\r\n", "; ");
            let head = "HTTP/1.1 403 No\r\nconnection: close\r\ncontent-type: text/plain\r\n";
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    let (port, pem) = tls::door_to(&behind);
    let named = machine.home.join("ca.pem");
    std::fs::write(&named, pem).unwrap();
    let mut command = machine.sandbox.cmd(&["node", "list", "--repo", "a/b"]);
    command.args(["--api", &format!("https://localhost:{port}")]);
    machine.settle(&mut command).env("SSL_CERT_FILE", &named).env("GIT_SSL_CAINFO", &named);
    let out = run(command.env("GH_ENTERPRISE_TOKEN", TOKEN));
    let sent = format!("x-access-token:{TOKEN}");
    let sent = base64::engine::general_purpose::STANDARD.encode(sent);
    assert!(out.err.contains("Basic (the token)"), "{out:?}");
    assert!(!out.err.contains(&sent) && !out.err.contains(TOKEN), "{out:?}");
}
