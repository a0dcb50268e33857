//! Every example of every `--help` is run: a user's first call is one of them, pasted.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::TempDir;

/// Examples that are not run here, each with where it is run instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("zeta demo", "tests/suite/demo.rs"),
    ("zeta init --group", "tests/suite/ops, in a tree of its own"),
    ("zeta unit install --system", "tests/suite/ops/unit.rs, into a tree of its own"),
    ("zeta web --open", "tests/suite/web: it would open a browser here"),
    ("zeta web --port", "tests/suite/web, on a free port"),
    ("zeta cluster", "tests/suite/cluster, on servers of its own"),
    ("zeta claim acquire B-0856 --scope cluster", "tests/suite/cluster/lease, likewise"),
    ("zeta node register --remote", "tests/suite/node: git is no real one here"),
];

/// Examples whose status is not 0, by how they begin.
const STATUS: &[(&str, i32)] = &[
    // Keeps beating until it is ended, here by `timeout`.
    ("zeta heartbeat --as otto-cli --every", 124),
    // The example names another grant than the current one.
    ("zeta lease break deploy --expect", 3),
    ("zeta lease release migration", 5),
    ("zeta lease break deploy --damaged", 3),
    // Runs the agents of a post until it is ended.
    ("zeta post run", 124),
    // Follows until it is ended.
    ("zeta bus watch", 124),
    ("zeta watch --json | head", 0),
    ("zeta watch", 124),
    ("zeta status --watch", 124),
    ("zeta web", 124),
    ("zeta bus wait", 124),
    ("zeta bus subscribe --surface otto-cli --follow", 124),
    // No such message was stored.
    ("zeta bus read", 4),
    ("zeta bus send otto 'done' --reply-to", 4),
    ("zeta bus status 9aceec27", 4),
    // The item was not claimed before.
    ("zeta claim release --path", 4),
    ("zeta claim release B-0856 --token", 5),
    ("zeta claim release --token", 5),
    ("zeta claim release B-0856", 4),
    ("zeta claim check B-0856 --token", 5),
    ("zeta claim renew", 5),
    ("zeta claim handover", 5),
    ("echo 'next: the tests of errors' | zeta claim handover", 5),
    ("echo 'parser done; next: the tests of errors' | zeta claim release", 4),
    // There is no login at a forge here; the first two do not need one.
    ("zeta node register --repo acme/cluster --maintainer ace --intent", 0),
    ("zeta node register --repo acme/cluster --maintainer ace --dry-run", 0),
    ("zeta node register", 7),
    ("zeta node list", 7),
    ("zeta node deregister", 7),
    // There is no terminal to ask for a passphrase.
    ("zeta creds pick --usb-uuid 4F2A-91C7 --output c.enc\n", 2),
    // Waits for the end of a login that is good for decades.
    ("zeta creds guard claude --watch", 124),
    // The blob lacks some of the required credentials.
    ("zeta creds verify", 8),
    // No tick was made yet, so no post is manned.
    ("zeta post list", 7),
    // The call has the token of no lease.
    ("zeta repair check rebuild", 3),
    // The disk of the example is not here.
    ("zeta flash plan --image", 3),
    ("zeta flash write --image installer.iso --to-file", 0),
    ("zeta flash write", 3),
    // There is no receipt yet.
    ("zeta node show", 4),
    // No machine that runs tests has the disk of the example.
    ("zeta install plan", 7),
    ("zeta install run", 7),
    ("zeta install status --manifest", 7),
];

/// How many seconds an example may take: stretching a passphrase is slow on a busy machine.
const LIMIT: u64 = 60;

/// One sandbox per example: a state directory, and the programs that examples name.
struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    fn new() -> Sandbox {
        let dir = TempDir::new("examples", 0o700);
        std::fs::create_dir(dir.join("bin")).unwrap();
        // Claims on paths are of a repository.
        std::fs::create_dir(dir.join(".git")).unwrap();
        for program in [
            "claude",
            "git",
            "systemctl",
            "../deploy.sh",
            "../nightly.sh",
            "../agent.sh",
            "../review.sh",
        ] {
            let path = dir.join("bin").join(program);
            std::fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let zeta = dir.join("bin/zeta");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zeta"), zeta).unwrap();
        Sandbox { dir }
    }

    /// Runs a line, and ends it with the status 124 after this many seconds.
    fn sh(&self, line: &str, token: &str, seconds: u64) -> (i32, String) {
        let path = format!(
            "{}:{}",
            self.dir.join("bin").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let limited = format!("timeout {seconds} sh -c \"$0\"");
        let done = Command::new("sh")
            .args(["-c", &limited, line])
            .current_dir(&self.dir)
            .env("PATH", path)
            .env("ZETA_STATE_DIR", self.dir.join("state"))
            .env("ZETA_BUS_DIR", self.dir.join("bus"))
            .env("HOME", &self.dir)
            .env("WIFI", "{\"ssid\":\"home\"}")
            .env("STATE_DIRECTORY", self.dir.join("services"))
            .env("ZETA_FENCING_TOKEN", token)
            .env_remove("GH_TOKEN")
            .env_remove("GITHUB_TOKEN")
            .env_remove("ZETA_SESSION")
            .env_remove("ZETA_AGENT")
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        (done.status.code().unwrap_or(-1), said)
    }

    /// Prepares what the examples of a verb need: a held lease, a marker, a persona.
    fn prepare(&self, path: &str) -> String {
        let (_, said) = self.sh("zeta -q heartbeat", "", LIMIT);
        assert!(said.is_empty(), "{said}");
        let verb = path.rsplit(' ').next().unwrap_or_default();
        if matches!(verb, "get" | "clear") {
            for line in
                ["zeta marker set self-registered branch=b", "zeta persona set otto-cli task=t"]
            {
                let line = line.replace(" task=t", " --task t");
                assert_eq!(self.sh(&line, "", LIMIT).0, 0);
            }
        }
        if path.contains("creds") {
            let made = "mkdir -p .config/gh && echo x > .config/gh/hosts.yml && \
                        zeta -q creds passphrase > pp && chmod 600 pp && zeta -q creds persist \
                        --usb-uuid 4F2A-91C7 --output c.enc --passphrase-file pp && \
                        echo x > hosts.yml && mkdir .claude && echo \
                        '{\"claudeAiOauth\":{\"accessToken\":\"x\",\"expiresAt\":4102444800000}}' \
                        > .claude/.credentials.json && zeta -q creds persist --usb-uuid 4F2A-91C7 \
                        --output c.enc --passphrase-file pp --update --persona otto --bake-found";
            let (status, said) = self.sh(made, "", LIMIT);
            assert_eq!(status, 0, "{said}");
        }
        if path.contains("zeta signature") {
            // git is a real one here, with a repository of two branches and a tag.
            let made = "rm bin/git; rm -r .git; git init -q -b main && git config user.name a && \
                        git config user.email a@b && git commit -q --allow-empty -m a && \
                        git tag v1 && git branch topic && git clone -q . shop && \
                        git update-ref refs/remotes/origin/main HEAD";
            let (status, said) = self.sh(made, "", LIMIT);
            assert_eq!(status, 0, "{said}");
        }
        if path.contains("zeta post") {
            let registry = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/guard-posts");
            let made = format!("mkdir -p .config/zeta && cp -r {registry}/. .config/zeta/");
            let (status, said) = self.sh(&made, "", LIMIT);
            assert_eq!(status, 0, "{said}");
        }
        if path.contains("zeta flash") {
            let image = crate::flash::image(4 << 20);
            std::fs::write(self.dir.join("installer.iso"), image).unwrap();
            let key =
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1tGq1d9pP4S0m0uVtb1yq7o2bqIYp9m0Yk0qQm";
            let made = format!(
                "sha256sum installer.iso > SHA256SUMS && mkdir -p .ssh && \
                 echo {key} > .ssh/id_ed25519.pub"
            );
            let (status, said) = self.sh(&made, "", LIMIT);
            assert_eq!(status, 0, "{said}");
        }
        if path.contains("zeta install") {
            let manifest =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/install/worker.toml");
            let made = format!("cp {manifest} node.toml && echo secret > pw");
            let (status, said) = self.sh(&made, "", LIMIT);
            assert_eq!(status, 0, "{said}");
        }
        if path.contains("zeta repair") {
            self.prepare_policy();
        }
        if path.contains("lease") && !matches!(verb, "acquire" | "exec") {
            let (status, token) = self.sh("zeta -q lease acquire deploy", "", LIMIT);
            assert_eq!(status, 0, "{token}");
            return token.trim().to_owned();
        }
        String::new()
    }

    /// Writes a policy of repairs with one persona.
    fn prepare_policy(&self) {
        let made = "umask 22; mkdir -p .config/zeta && \
             printf '[personas.otto]\\nscope = \"rebuild\"\\nneeds_post = false\\n' \
             > .config/zeta/repair-policy.toml";
        let (status, said) = self.sh(made, "", LIMIT);
        assert_eq!(status, 0, "{said}");
    }
}

/// Collects the example lines of a command and of all its subcommands, with the path of each one.
fn examples(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let shown = help.split_once("Example").map_or("", |(_, shown)| shown);
    for line in shown.lines() {
        if let Some(line) = line.strip_prefix("  ")
            && line.contains("zeta ")
            && !line.starts_with(' ')
        {
            found.push((path.to_owned(), line.to_owned()));
        }
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        examples(inner, &format!("{path} {}", inner.get_name()), found);
    }
}

#[test]
fn every_verb_has_an_example() {
    fn without(command: &clap::Command, path: &str, bare: &mut Vec<String>) {
        let mut found = Vec::new();
        examples(command, path, &mut found);
        if found.is_empty() {
            bare.push(path.to_owned());
        }
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            without(inner, &format!("{path} {}", inner.get_name()), bare);
        }
    }
    let mut bare = Vec::new();
    without(&zeta::cli::command(), "zeta", &mut bare);
    assert_eq!(bare, Vec::<String>::new(), "these have no example in their --help");
}

#[test]
fn every_example_runs() {
    let mut found = Vec::new();
    examples(&zeta::cli::command(), "zeta", &mut found);
    assert!(found.len() > 20, "{found:?}");
    for (path, line) in &found {
        if ELSEWHERE.iter().any(|(begin, _)| line.starts_with(begin)) {
            continue;
        }
        let sandbox = Sandbox::new();
        let token = sandbox.prepare(path);
        let whole = format!("{line}\n");
        let wanted = STATUS.iter().find(|(begin, _)| whole.starts_with(begin));
        let wanted = wanted.map_or(0, |(_, status)| *status);
        // An example that is ended by its limit has shown by then that it keeps running.
        let seconds = if wanted == 124 { 3 } else { LIMIT };
        let (status, said) = sandbox.sh(line, &token, seconds);
        assert_eq!(status, wanted, "example of '{path}':\n  {line}\n{said}");
        let tree = sandbox.dir.join("state");
        assert!(tree.exists() || line.contains("completions") || line.contains("man"), "{line}");
    }
}
