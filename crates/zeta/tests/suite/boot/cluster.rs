//! A cluster that a booted machine can register in: its forge, and its repository over git.

use super::machine::Machine;
use crate::node::fake_github::{FakeGithub, TOKEN};
use crate::node::github_model::{NAME, OWNER};
use crate::node::served::Served;

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
