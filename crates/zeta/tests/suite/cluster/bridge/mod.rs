//! The bridge: trees as nodes of one machine, real servers, and bridges that are killed.

mod copy;
mod follow;
mod hostile;
mod kill;
mod lease;
mod loss;
mod much;
mod peer;
mod replay;
mod store;
mod views;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use zeta_cluster::identity::Identity;

use super::nats::Server;
use crate::support::{Sandbox, signal, until, wait};

/// How long something may take that a bridge does at once: the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// A tree that is a node, and its bridge.
pub(crate) struct Node {
    pub(crate) sandbox: Sandbox,
    pub(super) name: String,
    url: String,
    /// What its bridge follows.
    follow: &'static str,
    bridge: Option<Child>,
}

impl Node {
    /// Makes a node of the cluster on this server.
    pub(crate) fn new(name: &str, server: &Server) -> Node {
        let (sandbox, name) = (Sandbox::new(), name.to_owned());
        let node = Node { sandbox, name, url: server.url(), follow: "all", bridge: None };
        node.make_tree();
        node.join(server);
        node
    }

    /// Makes its tree.
    fn make_tree(&self) {
        self.sandbox.ok(&["init"]);
        std::fs::remove_dir_all(self.sandbox.node()).unwrap();
        let file = self.sandbox.state.join("local-node");
        std::fs::write(file, format!("{}\n", self.name)).unwrap();
    }

    pub(super) fn join(&self, server: &Server) {
        let answer = server.client().unwrap().last("ZETA1_META", "zeta1.meta").unwrap().unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix("cluster: ")).unwrap();
        let cluster = line.trim_matches('"').parse().unwrap();
        Identity::bind(&self.identity(), &self.name.parse().unwrap(), &cluster).unwrap();
    }

    /// The directory of its identity.
    pub(super) fn identity(&self) -> PathBuf {
        self.sandbox.dir.join(".local/state/zeta/cluster")
    }

    /// The address of its server.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Starts its bridge.
    pub(super) fn start(&mut self) {
        self.stop(Signal::KILL);
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command =
            self.sandbox.cmd(&["cluster", "bridge", "--verbose", "--server", &self.url]);
        command.args(["--follow", self.follow]);
        command.stdout(Stdio::null()).stderr(log);
        self.bridge = Some(command.spawn().unwrap());
    }

    /// Starts its bridge, and waits until it is connected.
    pub(crate) fn started(mut self) -> Node {
        self.start();
        self.wait_until("it is connected", |node| node.state() == "connected");
        self
    }

    /// The bridge uses another address from its next start on.
    pub(super) fn move_to(&mut self, server: &Server) {
        self.url = server.url();
    }

    /// Ends its bridge by a signal, and returns its exit status.
    pub(crate) fn stop(&mut self, number: Signal) -> i32 {
        let Some(mut child) = self.bridge.take() else { return 0 };
        signal(child.id(), number);
        wait(&mut child, SOON)
    }

    /// The exit status of its bridge, which ends by itself.
    pub(super) fn ended(&mut self) -> i32 {
        wait(&mut self.bridge.take().unwrap(), SOON)
    }

    fn log_path(&self) -> PathBuf {
        self.sandbox.dir.join("bridge.log")
    }

    /// What its bridge has logged.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A key of the status file; empty if it is not there.
    pub(super) fn status(&self, key: &str) -> String {
        let path = self.sandbox.state.join("cluster/status");
        value(&std::fs::read_to_string(path).unwrap_or_default(), key)
    }

    pub(super) fn state(&self) -> String {
        // A file of a bridge that was killed says nothing about the next one.
        match &self.bridge {
            Some(child) if self.status("pid") == child.id().to_string() => self.status("state"),
            _ => String::new(),
        }
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, so: impl Fn(&Node) -> bool) {
        let came = until(SOON, || {
            std::thread::sleep(Duration::from_millis(4));
            so(self)
        });
        assert!(came, "{}: not yet: {what}\n{}\n{}", self.name, self.log(), self.all());
    }

    /// The status file.
    pub(super) fn all(&self) -> String {
        std::fs::read_to_string(self.sandbox.state.join("cluster/status")).unwrap_or_default()
    }

    /// The path of the copy of another node's file.
    pub(super) fn copy(&self, other: &str, file: &str) -> PathBuf {
        self.sandbox.state.join("nodes").join(other).join(file)
    }

    /// The copy of another node's file.
    pub(crate) fn read(&self, other: &str, file: &str) -> Option<String> {
        std::fs::read_to_string(self.copy(other, file)).ok()
    }

    /// The copy of a lease of the cluster.
    pub(super) fn lease_copy(&self, lease: &str) -> String {
        let path = self.sandbox.state.join(format!("cluster/leases/{lease}.lease"));
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop(Signal::KILL);
    }
}

/// The value of a key in the text of a record, without its quotes.
pub(super) fn value(text: &str, key: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    found.unwrap_or_default().trim_matches('"').to_owned()
}

/// The lines of a record without those of its observer.
pub(super) fn original(copy: &str) -> String {
    copy.split_inclusive('\n').filter(|line| !line.starts_with("copy_")).collect()
}

/// Starts a server with a cluster on it.
pub(crate) fn cluster(program: &Path, sandbox: &Sandbox) -> Server {
    let server = Server::start(program, &sandbox.dir.join("server"), "").unwrap();
    sandbox.ok(&["cluster", "init", "--server", &server.url()]);
    server
}

/// Copies a directory with all that is in it.
pub(super) fn copy_dir(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

/// A connection without a login.
pub(super) fn setting(servers: zeta_cluster::Servers) -> zeta_cluster::Setting {
    zeta_cluster::Setting::new(servers)
}
