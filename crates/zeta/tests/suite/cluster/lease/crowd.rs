//! Many callers on several nodes that wait for one lease of the cluster.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Nodes, serve};
use crate::cluster::{nats, program};
use crate::support::{Sandbox, finish, test_name};

const NODES: u8 = 3;
const EACH: usize = 20;
/// For all of them, on a machine that is busy.
const LONG: Duration = Duration::from_secs(100);

#[test]
fn sixty_callers_on_three_nodes_get_it_one_after_the_other_and_each_once() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, NODES);
    let log = sandbox.dir.join("log");
    // The first call on each node proves the server.
    for node in &nodes.nodes {
        let token = node.acquire("first", &[]);
        node.release("first", token);
    }
    let held = nodes.nodes[0].acquire("job", &["--ttl", "5m"]);
    let script = "echo begin $ME $ZETA_FENCING_TOKEN >> $LOG; sleep 0.01; echo end $ME >> $LOG";
    let (begun, mut waiting) = (Instant::now(), Vec::new());
    for (at, node) in nodes.nodes.iter().enumerate() {
        for number in 0..EACH {
            let args =
                ["lease", "exec", "job", "--scope", "cluster", "-w", "100s", "--", "sh", "-c"];
            let mut command = node.cmd(&[&args[..], &[script]].concat());
            command.env("ME", format!("{at}-{number}")).env("LOG", &log);
            waiting.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        }
    }
    nodes.nodes[0].release("job", held);
    for child in waiting {
        let out = finish(child, begun, LONG);
        assert_eq!(out.status, 0, "{out:?}");
    }
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 2 * EACH * usize::from(NODES), "{text}");
    let (mut last, mut seen) = (held, std::collections::BTreeSet::new());
    for pair in lines.chunks(2) {
        let [begin, end] = pair else { panic!("{text}") };
        assert!(
            begin[0] == "begin" && end[0] == "end" && begin[1] == end[1],
            "two at once: {text}"
        );
        let token = begin[2].parse().unwrap();
        assert!(token > last, "token {token} after {last}");
        last = token;
        assert!(seen.insert(begin[1]), "{} ran twice", begin[1]);
    }
}
