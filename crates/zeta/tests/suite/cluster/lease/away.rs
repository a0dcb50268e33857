//! A holder whose servers do not answer: what is said before its lease is lost, and then.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;

use super::{Node, Nodes, serve};
use crate::cluster::{nats, program};
use crate::support::{LIMIT, Sandbox, signal, test_name, wait, wait_for};

/// For a part of a TTL, on a machine that is busy.
const LONG: Duration = Duration::from_secs(90);
/// The shortest TTL.
const TTL: [&str; 4] = ["--scope", "cluster", "--ttl", "30s"];
/// Works until the file `done` is there.
const WORK: &str = "while ! test -e \"$DONE\"; do sleep 0.1; done";

/// A wrapper around a command that works under the lease `deploy`, and what it says.
struct Holder {
    child: Child,
    lines: Receiver<String>,
}

impl Holder {
    /// `lease exec`, or `run` with a script that acquires the lease.
    fn start(node: &Node, verb: &str, on_lost: &str) -> Holder {
        let mut command = match verb {
            "exec" => {
                let args = [&["lease", "exec", "deploy", "--on-lost", on_lost][..], &TTL].concat();
                node.cmd(&[&args[..], &["--", "sh", "-c", WORK]].concat())
            }
            _ => {
                let script = format!("\"$Z\" lease acquire deploy {} && {WORK}", TTL.join(" "));
                let args = ["run", "--as", "otto", "--on-lost", on_lost, "--", "sh", "-c"];
                node.cmd(&[&args[..], &[&script]].concat())
            }
        };
        command.env("Z", env!("CARGO_BIN_EXE_zeta")).env("DONE", node.sandbox.dir.join("done"));
        let holder = Holder::of(&mut command);
        wait_for("the lease is held", || node.record("deploy").is_some());
        holder
    }

    fn of(command: &mut Command) -> Holder {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| _ = sender.send(line));
        });
        Holder { child, lines }
    }

    /// Reads what it says up to a line with this part, and returns how many lines had `counted`.
    fn read_to(&self, part: &str, counted: &str) -> usize {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(LONG);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} in {said:?}"));
            said.push(line);
            if said.last().is_some_and(|line| line.contains(part)) {
                return said.iter().filter(|line| line.contains(counted)).count();
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const UNRENEWED: &str = "could not be renewed in the cluster, and is yours for";

#[test]
fn a_holder_is_told_twice_before_its_lease_is_lost_and_then_its_command_ends() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    std::thread::scope(|scope| {
        for verb in ["exec", "run"] {
            let program = &program;
            scope.spawn(move || {
                let sandbox = Sandbox::new();
                let mut server = serve(program, &sandbox, "s");
                let nodes = Nodes::new(&server, 1);
                let mut holder = Holder::start(&nodes.nodes[0], verb, "term");
                server.kill();
                let warnings = holder.read_to("is not yours any more", UNRENEWED);
                assert_eq!(warnings, 2, "{verb}");
                assert_eq!(wait(&mut holder.child, LIMIT), 5, "{verb}");
                assert_eq!(nodes.nodes[0].record("deploy"), None, "{verb}");
            });
        }
    });
}

#[test]
fn a_holder_is_told_when_its_servers_answer_again() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    std::thread::scope(|scope| {
        for verb in ["exec", "run"] {
            let program = &program;
            scope.spawn(move || {
                let sandbox = Sandbox::new();
                let server = serve(program, &sandbox, "s");
                let nodes = Nodes::new(&server, 1);
                let node = &nodes.nodes[0];
                let mut holder = Holder::start(node, verb, "term");
                signal(server.pid(), Signal::STOP);
                holder.read_to(UNRENEWED, UNRENEWED);
                signal(server.pid(), Signal::CONT);
                holder.read_to("is renewed in the cluster again", UNRENEWED);
                std::fs::write(node.sandbox.dir.join("done"), "").unwrap();
                assert_eq!(wait(&mut holder.child, LIMIT), 0, "{verb}");
                assert_eq!(node.record("deploy"), None, "{verb}");
            });
        }
    });
}
