//! Three servers with an account for each node: `zeta cluster config` makes them, and what nodes do
//! works on them, also after one was killed and after a stream was lost.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::accounts::examine;
use super::nats::{self, Server};
use super::{by_key, identity_dir, program};
use crate::support::{Out, Sandbox, run, test_name};

/// How long servers may take to find each other.
const SOON: Duration = Duration::from_secs(90);

struct Three {
    operator: Sandbox,
    nodes: [Sandbox; 2],
    servers: Vec<Server>,
}

impl Three {
    /// Makes a configuration for each server, has the programs examine it, and starts them.
    fn start(programs: &[&std::path::Path]) -> Three {
        let operator = Sandbox::new();
        let nodes = [Sandbox::new(), Sandbox::new()];
        let lines = nodes.each_ref().map(|node| node.ok(&["cluster", "join", "--key-only"]) + "\n");
        let list = operator.dir.join("nodes");
        std::fs::write(&list, lines.concat()).unwrap();
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = held.map(|port| port.local_addr().unwrap().port());
        let mut servers = Vec::new();
        for (at, port) in ports.iter().enumerate() {
            let others = ports.iter().filter(|other| *other != port);
            let routes: Vec<String> =
                others.map(|other| format!("nats://127.0.0.1:{other}")).collect();
            let text = operator.ok(&[
                "cluster",
                "config",
                "--nodes",
                &list.display().to_string(),
                "--store-dir",
                "{dir}/store",
                "--server-name",
                &format!("n{at}"),
                "--routes-listen",
                &format!("127.0.0.1:{port}"),
                "--routes",
                &routes.join(","),
            ]);
            let file = operator.dir.join("examined");
            std::fs::write(&file, &text).unwrap();
            programs.iter().for_each(|program| examine(program, &file));
            let dir = operator.dir.join(format!("n{at}"));
            servers.push(Server::start_configured(programs[0], &dir, &text).unwrap());
        }
        Three { operator, nodes, servers }
    }

    fn urls(&self) -> String {
        self.servers.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    fn admin_file(&self) -> String {
        identity_dir(&self.operator).join("admin.nk").display().to_string()
    }

    /// Repeats a call that ends with 6 while servers agree on a leader.
    fn until_ready(&self, sandbox: &Sandbox, args: &[&str]) -> Out {
        let begun = Instant::now();
        loop {
            let mut command = sandbox.cmd(args);
            let out =
                run(command.env("ZETA_CLUSTER_SERVER", self.urls()).env("ZETA_AGENT", "otto"));
            if out.status == 0 || begun.elapsed() > SOON {
                return out;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn done(&self, sandbox: &Sandbox, args: &[&str]) -> Value {
        let out = self.until_ready(sandbox, &[&["--json"], args].concat());
        assert_eq!(out.status, 0, "{args:?}: {out:?}");
        serde_json::from_str(&out.out).unwrap()
    }

    fn refused(&self, sandbox: &Sandbox, args: &[&str], status: i32) -> Out {
        let mut command = sandbox.cmd(args);
        let out = run(command.env("ZETA_CLUSTER_SERVER", self.urls()).env("ZETA_AGENT", "otto"));
        assert_eq!(out.status, status, "{args:?}: {out:?}");
        out
    }
}

#[test]
fn three_servers_with_accounts_outlive_one_of_them_and_a_lost_stream() {
    let Some(newer) = program(test_name!(), nats::newer()) else { return };
    let debian = program(test_name!(), nats::debian());
    let programs: Vec<_> = std::iter::once(newer.as_path()).chain(debian.as_deref()).collect();
    let mut three = Three::start(&programs);
    let admin = three.admin_file();
    let init = ["cluster", "init", "--replicas", "3", "--credentials", &admin];
    let made = three.done(&three.operator, &init);
    assert_eq!((&made["replicas"], &made["created"]), (&json!(3), &json!(true)), "{made}");
    let [one, two] = &three.nodes;
    for node in [one, two] {
        let joined = three.done(node, &["cluster", "join"]);
        assert_eq!((&joined["joined"], &joined["account"]), (&json!(true), &json!("node")));
    }
    let acquire = ["lease", "acquire", "job", "--scope", "cluster"];
    let token = three.done(one, &acquire)["fencing_token"].as_u64().unwrap();
    let out = three.refused(two, &acquire, 3);
    assert!(out.err.contains("held") || out.err.contains("otto"), "{out:?}");
    // One of three servers is gone, and the others go on.
    three.servers[0].kill();
    let [one, two] = &three.nodes;
    let token_text = token.to_string();
    let release = ["lease", "release", "job", "--token", &token_text];
    three.done(one, &release);
    let next = three.done(two, &acquire)["fencing_token"].as_u64().unwrap();
    assert!(next > token, "{token} {next}");

    // A stream is lost. A node cannot make it again, and the administrator can.
    let seed = std::fs::read_to_string(&admin).unwrap();
    let mut client = three.servers[1].client_as(&by_key(&seed)).unwrap();
    client.api("STREAM.DELETE.ZETA1_LEASE", &Value::Null).unwrap();
    let again = ["cluster", "init", "--after-loss"];
    let out = three.refused(one, &again, 7);
    assert!(out.err.contains("--credentials"), "{out:?}");
    let out = three.refused(one, &["cluster", "status"], 7);
    assert!(out.out.contains("ZETA1_LEASE") && out.out.contains("--after-loss"), "{out:?}");
    let by_admin = [again.as_slice(), &["--credentials", &admin]].concat();
    let out = three.until_ready(one, &[&["--json"], by_admin.as_slice()].concat());
    if out.status == 0 {
        let restored: Value = serde_json::from_str(&out.out).unwrap();
        assert_eq!(restored["restored"], json!(["ZETA1_LEASE"]), "{restored}");
        assert_eq!(restored["cluster_epoch"], json!(2), "{restored}");
        assert_eq!(restored["replicas"], json!(3), "{restored}");
    } else {
        // The stream was made by a call whose answer came too late, and it was repeated.
        assert!(out.out.contains("nothing was lost"), "{out:?}");
    }
    // Nobody is granted a lease yet, and the reason has a time.
    let out = three.refused(two, &["lease", "acquire", "other", "--scope", "cluster"], 6);
    assert!(out.err.contains("lost"), "{out:?}");
}
