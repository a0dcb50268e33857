//! Leases of the cluster: the verbs on real servers, with a tree and an identity for each node.

mod away;
mod crowd;
mod memory;
mod scenes;
mod verbs;

use std::path::{Path, PathBuf};
use std::process::Command;

use zeta_cluster::Setting;
use zeta_cluster::identity::Identity;
use zeta_cluster::init::{self, Asked};
use zeta_cluster::store::Store;
use zeta_core::name::Label;

use super::nats::Server;
use crate::support::{Out, Sandbox, run};

/// Nodes with one server: `node-a`, `node-b`, and so on.
pub struct Nodes {
    pub nodes: Vec<Node>,
}

/// A node: a tree, a directory of what outlives it, and a name.
pub struct Node {
    pub sandbox: Sandbox,
    pub name: Label,
    pub url: String,
}

impl Node {
    /// A call of `zeta` on this node.
    pub fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd(args);
        command.env("ZETA_NODE", self.name.as_str()).env("ZETA_CLUSTER_SERVER", &self.url);
        command.env("ZETA_AGENT", format!("otto-{}", self.name));
        command
    }

    pub fn zeta(&self, args: &[&str]) -> Out {
        run(&mut self.cmd(args))
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.zeta(args);
        assert_eq!(out.status, 0, "zeta {args:?} on {}: {out:?}", self.name);
        out.out.trim_end().to_owned()
    }

    pub fn refused(&self, args: &[&str], status: i32) -> Out {
        let out = self.zeta(args);
        assert_eq!(out.status, status, "zeta {args:?} on {}: {out:?}", self.name);
        assert!(!out.err.is_empty(), "zeta {args:?} ended with {status} and said nothing");
        out
    }

    /// Acquires a lease of the cluster and returns its token.
    pub fn acquire(&self, lease: &str, more: &[&str]) -> u64 {
        let args = ["lease", "acquire", lease, "--scope", "cluster"];
        self.ok(&[&args, more].concat()).parse().unwrap()
    }

    pub fn release(&self, lease: &str, token: u64) {
        self.ok(&["lease", "release", lease, "--token", &token.to_string()]);
    }

    /// How its cluster is reached.
    pub fn setting(&self) -> Setting {
        Setting::new(self.url.parse().unwrap())
    }

    /// The directory of the identity.
    pub fn identity(&self) -> PathBuf {
        self.sandbox.dir.join(".local/state/zeta/cluster")
    }

    /// The record of a lease on this node.
    pub fn record(&self, lease: &str) -> Option<String> {
        let nodes = self.sandbox.state.join("nodes").join(self.name.as_str());
        std::fs::read_to_string(nodes.join(format!("{lease}.lock"))).ok()
    }
}

impl Nodes {
    /// Makes a cluster on a server, and nodes that know each other's keys.
    pub fn new(server: &Server, count: u8) -> Nodes {
        Nodes::of(&server.url(), count)
    }

    /// As [`Nodes::new`], for servers at these addresses.
    pub fn of(url: &str, count: u8) -> Nodes {
        let setting = Setting::new(url.parse().unwrap());
        let made = init::init(&Store::open(&setting).unwrap(), Asked::default()).unwrap();
        let cluster = &made.meta.held.cluster;
        let nodes: Vec<Node> = (0..count)
            .map(|at| Node {
                sandbox: Sandbox::new(),
                name: format!("node-{}", char::from(b'a' + at)).parse().unwrap(),
                url: url.to_owned(),
            })
            .collect();
        let lines: String = nodes
            .iter()
            .map(|node| {
                let bound = Identity::bind(&node.identity(), &node.name, cluster).unwrap();
                format!("{} {}\n", node.name, bound.public_key())
            })
            .collect();
        for node in &nodes {
            std::fs::write(node.identity().join("keys"), &lines).unwrap();
        }
        Nodes { nodes }
    }

    /// Two of them.
    pub fn pair(&self) -> (&Node, &Node) {
        (&self.nodes[0], &self.nodes[1])
    }
}

/// A server in a directory of a test.
pub fn serve(program: &Path, sandbox: &Sandbox, name: &str) -> Server {
    Server::start(program, &sandbox.dir.join(name), "").unwrap()
}
