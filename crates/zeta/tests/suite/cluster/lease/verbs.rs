//! What each verb says and does, one call after the other.

use super::{Nodes, serve};
use crate::cluster::programs;
use crate::support::{Sandbox, test_name};

#[test]
fn one_node_holds_it_and_the_next_one_gets_a_higher_token() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = serve(&program, &sandbox, name);
        let nodes = Nodes::new(&server, 2);
        let (a, b) = nodes.pair();
        let first = a.acquire("deploy", &["--purpose", "release"]);
        let record = a.record("deploy").unwrap();
        for line in
            ["scope: \"cluster\"", "node: \"node-a\"", "cluster_epoch: 1", "cluster_revision: "]
        {
            assert!(record.contains(line), "{line} is not in {record}");
        }
        let out = b.refused(&["lease", "acquire", "deploy", "--scope", "cluster"], 3);
        for part in ["otto-node-a", "node-a", "since", "until", "release"] {
            assert!(out.err.contains(part), "{part}: {out:?}");
        }
        assert_eq!(b.record("deploy"), None);
        let token = first.to_string();
        a.ok(&["lease", "check", "deploy", "--token", &token]);
        a.ok(&["lease", "check", "deploy", "--token", &token, "--strong"]);
        a.ok(&["lease", "renew", "deploy", "--token", &token]);
        a.release("deploy", first);
        assert_eq!(a.record("deploy"), None);
        let second = b.acquire("deploy", &[]);
        assert!(second > first, "{name}: {second} after {first}");
        a.refused(&["lease", "acquire", "deploy", "--scope", "cluster"], 3);
        // A lease of the node alone is another door.
        a.sandbox.ok(&["lease", "list"]);
        b.release("deploy", second);
        let third = a.acquire("deploy", &[]);
        assert!(third > second);
    }
}
