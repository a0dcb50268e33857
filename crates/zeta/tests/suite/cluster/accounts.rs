//! `zeta cluster config`: servers take it, and with it nodes join, read and write what is theirs.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::nats::{Outcome, Server};
use super::{by_key, identity_dir, programs, seed};
use crate::support::{Sandbox, test_name};

/// Has a server examine a configuration.
pub(super) fn examine(program: &Path, file: &Path) {
    let out = Command::new(program).arg("-t").arg("-c").arg(file).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && text.contains("is valid"), "{file:?}: {text}");
}

fn nodes(count: usize) -> String {
    let line = |at| format!("node-{at} {}\n", nkeys::KeyPair::new_user().public_key());
    (0..count).map(line).collect()
}

#[test]
fn each_server_takes_the_configuration() {
    let programs = programs(test_name!());
    let sandbox = Sandbox::new();
    let (file, list) = (sandbox.dir.join("c.conf"), sandbox.dir.join("nodes"));
    let list_text = list.display().to_string();
    let base = ["cluster", "config", "--nodes", &list_text];
    let (cert, key, ca) = certificates(&sandbox.dir);
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &ca];
    let routes = ["--routes", "nats://b.lan:6222,nats://c.lan:6222", "--server-name", "a"];
    for count in [1, 3, 50] {
        std::fs::write(&list, nodes(count)).unwrap();
        for more in [vec![], tls.to_vec(), routes.to_vec(), [tls.as_slice(), &routes].concat()] {
            let text = sandbox.ok(&[&base, more.as_slice()].concat());
            assert_eq!(text.matches("nkey: U").count(), count + 1);
            std::fs::write(&file, text).unwrap();
            programs.iter().for_each(|(_, program)| examine(program, &file));
        }
    }
    // What Debian's server does not know is for those that do.
    let text = sandbox.ok(&[&base, ["--server-version", "2.12"].as_slice()].concat());
    std::fs::write(&file, text).unwrap();
    for (name, program) in &programs {
        if *name == "newer" {
            examine(program, &file);
        }
    }
    // One key for the administrator, whose seed is not printed.
    let admin = std::fs::read_to_string(identity_dir(&sandbox).join("admin.nk")).unwrap();
    let again = sandbox.zeta(&base);
    assert!(!again.out.contains(admin.trim()) && again.err.contains("admin.nk"), "{again:?}");
    let key = nkeys::KeyPair::from_seed(admin.trim()).unwrap().public_key();
    assert!(again.out.contains(&key), "{again:?}");
}

/// A certificate, its key, and the one that signed it, as files.
fn certificates(dir: &Path) -> (String, String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let cert = path("c.pem", made.cert.pem());
    (cert.clone(), path("k.pem", made.signing_key.serialize_pem()), cert)
}

#[test]
fn a_list_that_is_none_is_refused() {
    let sandbox = Sandbox::new();
    let list = sandbox.dir.join("nodes");
    let file = list.display().to_string();
    let key = nkeys::KeyPair::new_user().public_key();
    let config = ["cluster", "config", "--nodes", &file];
    sandbox.refused(&config, 7);
    let admin = sandbox.dir.join("admin.nk");
    sandbox.refused(&["cluster", "config", "--admin", admin.to_str().unwrap()], 2);
    assert!(!admin.exists(), "a refused call made a key");
    for (text, part) in [
        ("# none\n".to_owned(), "no node is named"),
        ("node-a SUABC\n".to_owned(), "line 1"),
        (format!("node-a {key}\nnode-a {key}\n"), "line 2"),
        (format!("node-a {key}\nnode-b {key}\n"), "node-b"),
        (format!("Node-A {key}\n"), "line 1"),
    ] {
        std::fs::write(&list, &text).unwrap();
        let out = sandbox.zeta(&config);
        assert!(matches!(out.status, 2 | 7) && out.err.contains(part), "{text}: {out:?}");
    }
    std::fs::write(&list, format!("node-a {key}\n")).unwrap();
    let twice = format!("node-a={key}");
    sandbox.refused(&[&config, ["--member", &twice].as_slice()].concat(), 2);
    sandbox.refused(&[&config, ["--server-name", "a\" }"].as_slice()].concat(), 2);
    sandbox.refused(&[&config, ["--server-version", "two"].as_slice()].concat(), 2);
}

/// A server with an account for each of two nodes, and the cluster on it.
pub(super) struct Accounts {
    pub(super) operator: Sandbox,
    pub(super) nodes: [(String, Sandbox); 2],
    pub(super) server: Server,
}

impl Accounts {
    pub(super) fn start(program: &Path) -> Accounts {
        let operator = Sandbox::new();
        let nodes = [Sandbox::new(), Sandbox::new()].map(|sandbox| {
            let line = sandbox.ok(&["cluster", "join", "--key-only"]);
            (line.split_once(' ').unwrap().0.to_owned(), sandbox)
        });
        let lines = nodes.iter().map(|(_, node)| node.ok(&["cluster", "join", "--key-only"]));
        let list = operator.dir.join("nodes");
        std::fs::write(&list, lines.map(|line| line + "\n").collect::<String>()).unwrap();
        let list = list.display().to_string();
        let config =
            operator.ok(&["cluster", "config", "--nodes", &list, "--store-dir", "{dir}/store"]);
        let dir = operator.dir.join("server");
        let server = Server::start_configured(program, &dir, &config).unwrap();
        let accounts = Accounts { operator, nodes, server };
        accounts.wait_for_jetstream();
        accounts
    }

    fn wait_for_jetstream(&self) {
        let begun = std::time::Instant::now();
        while begun.elapsed().as_secs() < 60 {
            let ready = self.admin().and_then(|mut admin| admin.api("INFO", &Value::Null));
            if ready.is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("JetStream is not ready");
    }

    pub(super) fn admin_file(&self) -> String {
        identity_dir(&self.operator).join("admin.nk").display().to_string()
    }

    /// The plain client of the administrator.
    pub(super) fn admin(&self) -> Outcome<super::nats::Client> {
        let seed = std::fs::read_to_string(self.admin_file())?;
        self.server.client_as(&by_key(&seed))
    }

    /// The plain client of a node.
    pub(super) fn client(&self, at: usize) -> super::nats::Client {
        self.server.client_as(&by_key(&seed(&self.nodes[at].1))).unwrap()
    }

    pub(super) fn init(&self) {
        let (url, file) = (self.server.url(), self.admin_file());
        self.operator.ok(&["cluster", "init", "--server", &url, "--credentials", &file]);
    }
}

fn json_of(sandbox: &Sandbox, args: &[&str]) -> Value {
    let out = sandbox.zeta(&[&["--json"], args].concat());
    serde_json::from_str(&out.out).unwrap_or_else(|_| panic!("{args:?}: {out:?}"))
}

#[test]
fn nodes_with_accounts_of_their_own_join_and_see_the_cluster() {
    for (name, program) in programs(test_name!()) {
        let accounts = Accounts::start(&program);
        let url = accounts.server.url();
        let (node, sandbox) = &accounts.nodes[0];
        // A node cannot make the cluster.
        let out = sandbox.refused(&["cluster", "init", "--server", &url], 7);
        assert!(out.err.contains("administrator"), "{name}: {out:?}");
        accounts.init();
        for (_, sandbox) in &accounts.nodes {
            let joined = json_of(sandbox, &["cluster", "join", "--server", &url]);
            assert_eq!((&joined["joined"], &joined["account"]), (&json!(true), &json!("node")));
            let status = json_of(sandbox, &["cluster", "status", "--server", &url]);
            assert_eq!((&status["healthy"], &status["account"]), (&json!(true), &json!("node")));
            // It finds the cluster, as all callers do.
            let found = json_of(sandbox, &["cluster", "init", "--server", &url]);
            assert_eq!((&found["created"], &found["cluster"]), (&json!(false), &joined["cluster"]));
        }
        // One that the operator has not added yet says what to do, and how.
        let third = Sandbox::new();
        let out = third.zeta(&["cluster", "join", "--server", &url]);
        let line = third.ok(&["cluster", "join", "--key-only"]);
        assert_eq!(out.status, 6, "{out:?}");
        for part in [line.as_str(), "zeta cluster config", "repeat"] {
            assert!(out.out.contains(part), "{out:?} has no {part}");
        }
        // Nobody gets in without a login.
        let out = Sandbox::new().zeta(&["cluster", "status", "--server", &url]);
        assert!(out.status == 7 && out.err.contains("refuses the login"), "{out:?}");

        // The wildcards: each own subject is written, and the feed brings it to the other node, by
        // the patterns of a bridge that follows a part.
        let (mut one, mut two) = (accounts.client(0), accounts.client(1));
        for part in ["state.*.lock.*", "bus.*", "lease.>"] {
            two.subscribe(&format!("zeta1.live.{part}")).unwrap();
        }
        two.flush().unwrap();
        let subjects = [
            format!("zeta1.state.{node}.lock.a=b"),
            format!("zeta1.bus.{node}"),
            format!("zeta1.lease.job.{node}"),
        ];
        for subject in &subjects {
            let stored = one.request(subject, "x").unwrap();
            assert!(stored["seq"].as_u64().is_some(), "{name}, {subject}: {stored}");
        }
        let begun = std::time::Instant::now();
        while two.received.len() < subjects.len() && begun.elapsed().as_secs() < 20 {
            two.flush().unwrap();
        }
        let seen: Vec<&str> = two.received.iter().map(|(subject, _)| subject.as_str()).collect();
        for subject in &subjects {
            let live = subject.replacen("zeta1.", "zeta1.live.", 1);
            assert!(seen.contains(&live.as_str()), "{name}: {live} is not in {seen:?}");
        }
    }
}
