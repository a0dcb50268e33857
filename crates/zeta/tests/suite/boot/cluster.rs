//! A cluster that a booted machine can register in: its forge, and its repository over git.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::machine::Machine;
use crate::node::fake_github::{FakeGithub, TOKEN};
use crate::node::github_model::{NAME, OWNER};

/// The cluster.
pub struct Cluster {
    pub forge: FakeGithub,
    served: Served,
}

impl Cluster {
    pub fn new() -> Cluster {
        let forge = FakeGithub::new();
        let served = Served::new(&forge.model(|model| model.place().to_owned()));
        Cluster { forge, served }
    }

    /// Gives a machine the token.
    pub fn entrust(&self, machine: &Machine) {
        machine.write("etc/zeta/forge-token", TOKEN, 0o600);
        let drop_in = "etc/systemd/system/zeta-node-register.service.d/token.conf";
        let text = "[Service]\nLoadCredential=forge-token:/etc/zeta/forge-token\n";
        machine.write(drop_in, text, 0o644);
    }

    /// Tells a machine where to register.
    pub fn invite(&self, machine: &Machine) {
        let arguments = format!(
            "ZETA_REGISTER_ARGS=--repo {OWNER}/{NAME} --api {} --remote {} --maintainer ace\n",
            self.forge.url, self.served.url
        );
        machine.write("etc/zeta/node-register.env", &arguments, 0o644);
    }

    /// Tells a machine where to register, without a forge.
    pub fn invite_by_git(&self, machine: &Machine) {
        let arguments =
            format!("ZETA_REGISTER_ARGS=--remote {} --maintainer ace\n", self.served.url);
        machine.write("etc/zeta/node-register.env", &arguments, 0o644);
    }

    /// How many pull requests there ever were.
    pub fn pulls(&self) -> usize {
        self.forge.model(|model| model.pulls.len())
    }
}

/// The repository, as git serves it.
struct Served {
    daemon: Child,
    url: String,
}

impl Served {
    fn new(repository: &Path) -> Served {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Not by 'git daemon', which would start it as a child that outlives its end.
        let path = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let path = Path::new(std::str::from_utf8(&path).unwrap().trim()).join("git-daemon");
        let mut daemon = Command::new(path);
        daemon.args(["--listen=127.0.0.1", "--export-all", "--enable=receive-pack"]);
        daemon.arg(format!("--port={port}"));
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        daemon.arg(format!("--base-path={}", repository.parent().unwrap().display()));
        let daemon = daemon.spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "git daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let name = repository.file_name().unwrap().to_string_lossy().into_owned();
        Served { daemon, url: format!("git://127.0.0.1:{port}/{name}") }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
