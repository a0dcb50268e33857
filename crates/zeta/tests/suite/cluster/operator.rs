//! A server in operator mode: logins are `.creds` files, a JWT of an account and the seed of a key.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::nats::Server;
use super::programs;
use crate::support::{Out, Sandbox, run, run_within, test_name};

/// Signs claims about `subject`.
fn jwt(by: &KeyPair, subject: &KeyPair, name: &str, expires: Option<u64>, nats: &Value) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "jti": name.to_uppercase(), "iat": now - 60, "iss": by.public_key(), "name": name,
        "sub": subject.public_key(), "nats": nats,
    });
    if let Some(expires) = expires {
        claims["exp"] = json!(expires);
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let text = format!("{head}.{}", part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(by.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

/// The claims of an account without limits; `with_streams` has JetStream.
fn account(with_streams: bool) -> Value {
    let stored = if with_streams { -1 } else { 0 };
    json!({
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": stored,
            "disk_storage": stored, "streams": stored, "consumer": stored,
        },
        "default_permissions": { "pub": {}, "sub": {} },
        "type": "account", "version": 2,
    })
}

struct Operator {
    key: KeyPair,
    system: KeyPair,
    store: KeyPair,
}

impl Operator {
    fn new() -> Operator {
        let (system, store) = (KeyPair::new_account(), KeyPair::new_account());
        Operator { key: KeyPair::new_operator(), system, store }
    }

    fn config(&self) -> String {
        let Operator { key, system, store } = self;
        let claims = json!({ "type": "operator", "version": 2 });
        let own = jwt(key, key, "operator", None, &claims);
        let of = |account_key, name, streams| jwt(key, account_key, name, None, &account(streams));
        format!(
            "operator: {own}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n  \
             {system}: {}\n  {store}: {}\n}}\n",
            of(system, "sys", false),
            of(store, "store", true),
            system = system.public_key(),
            store = store.public_key(),
        )
    }

    /// The text of a `.creds` file of a user of the account with the streams.
    fn creds(&self, expires: Option<u64>) -> String {
        let user = KeyPair::new_user();
        let claims = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user",
            "version": 2,
        });
        let token = jwt(&self.store, &user, "user", expires, &claims);
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed().unwrap()
        )
    }
}

#[test]
fn a_creds_file_is_a_login_of_a_server_in_operator_mode() {
    for (name, program) in programs(test_name!()) {
        let (sandbox, operator) = (Sandbox::new(), Operator::new());
        let dir = sandbox.dir.join("server");
        let config =
            operator.config() + "server_name: alone\njetstream { store_dir: \"{dir}/store\" }\n";
        let server = Server::start_configured(&program, &dir, &config).unwrap();
        let file = sandbox.dir.join("user.creds");
        let write = |text: &str| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        };
        let call = |args: &[&str]| -> Out {
            let mut command = sandbox.cmd(args);
            command.env("ZETA_CLUSTER_SERVER", server.url());
            command.env("ZETA_CLUSTER_CREDENTIALS", &file).env("ZETA_AGENT", "otto");
            run(&mut command)
        };
        write(&operator.creds(None));
        let begun = std::time::Instant::now();
        let made = loop {
            let made = call(&["cluster", "init"]);
            if made.status == 0 || begun.elapsed() > Duration::from_secs(60) {
                break made;
            }
        };
        assert_eq!(made.status, 0, "{name}: {made:?}");
        for args in [
            &["cluster", "join"] as &[&str],
            &["cluster", "status"],
            &["lease", "acquire", "job", "--scope", "cluster"],
            &["cluster", "compact"],
        ] {
            let out = call(args);
            assert_eq!(out.status, 0, "{name}: {args:?}: {out:?}");
        }
        // Expired, of another operator, and cut.
        let good = operator.creds(None);
        for (text, part) in [
            (operator.creds(Some(1_700_000_000)), "refuses the login"),
            (Operator::new().creds(None), "refuses the login"),
            (good.split("-----BEGIN USER").next().unwrap().to_owned(), "no login"),
        ] {
            write(&text);
            let out = call(&["cluster", "status"]);
            assert_eq!(out.status, 7, "{name}: {out:?}");
            assert!(out.err.contains(part) && out.err.contains("->"), "{name}: {part}: {out:?}");
            let seed = good.lines().find(|line| line.starts_with("SU")).unwrap();
            assert!(!out.err.contains(seed), "{out:?}");
        }
    }
}

#[test]
fn accounts_of_a_configuration_are_refused_where_an_operator_signs_them() {
    for (name, program) in programs(test_name!()) {
        let (sandbox, operator) = (Sandbox::new(), Operator::new());
        let member = format!("node-a={}", KeyPair::new_user().public_key());
        let store = sandbox.dir.join("store").display().to_string();
        let args = [
            "cluster",
            "config",
            "--member",
            &member,
            "--store-dir",
            &store,
            "--listen",
            "127.0.0.1:-1",
        ];
        let config = sandbox.ok(&args);
        let file = sandbox.dir.join("nats.conf");
        // It would take the configuration, and then not start.
        std::fs::write(&file, operator.config() + &config).unwrap();
        let mut command = std::process::Command::new(&program);
        let out = run_within(command.arg("-c").arg(&file), Duration::from_secs(60));
        assert_ne!(out.status, 0, "{name}: {out:?}");
        assert!(out.err.contains("operators do not allow Accounts"), "{name}: {out:?}");
        let login = sandbox.dir.join("user.creds");
        std::fs::write(&login, operator.creds(None)).unwrap();
        let mut command = sandbox.cmd(&args);
        let out = run(command.env("ZETA_CLUSTER_CREDENTIALS", &login));
        assert_eq!((out.status, out.out.as_str()), (7, ""), "{out:?}");
        for part in ["operator mode", "user.creds", "docs/use/cluster.md"] {
            assert!(out.err.contains(part), "{part}: {out:?}");
        }
    }
}
