//! The request for a registration, and its result.

use std::path::PathBuf;

use zeta_core::name::Label;
use zeta_core::registration::node::ClusterNode;
use zeta_core::registration::receipt::{Receipt, State};
use zeta_core::registration::{Answer, Policy, Pull, Seen, Stop, node_path};

use super::read_receipt;
use crate::forge::Search;
use crate::git::Author;
use crate::node::repository::Connection;
use zeta_os::error::Result;
use zeta_os::host;
use zeta_state::lease::acquire::Refusal;

/// The detail of a receipt while nothing but time is needed.
pub(crate) const WAITS: &str = "a pull request waits";
/// The detail of the receipt of a pull request that was opened just now.
pub(crate) const OPENED: &str = "opened by this node";

/// The node to register, and the repository.
pub struct RegisterRequest<'a> {
    /// The node.
    pub node: Label,
    /// The forge's user that it belongs to.
    pub maintainer: String,
    /// Its file.
    pub file: ClusterNode,
    /// The repository.
    pub site: &'a Connection,
    /// The author of the commit.
    pub author: Author,
    /// A pull request that was closed may be followed by another one.
    pub reopen: bool,
    /// Least time between attempts, in s.
    pub min_interval_s: i64,
    /// The path of the receipt.
    pub receipt: PathBuf,
}

/// The result of a registration.
#[derive(Debug, Clone)]
pub enum RegisterOutcome {
    /// The node is on the default branch.
    Registered,
    /// A pull request waits, opened by this call or before.
    Waiting(Pull),
    /// This call opened one.
    Opened(Pull),
    /// Nothing was done, for this reason.
    Stopped(Stop),
    /// Another agent of this node is at it.
    InFlight(Box<Refusal>),
}

impl RegisterRequest<'_> {
    /// Its file in the repository.
    pub(super) fn path(&self) -> String {
        node_path(&self.maintainer, self.node.as_str())
    }

    pub(super) fn seen(&self, look: Search) -> Result<Seen> {
        let (forge, path) = (&self.site.forge, self.path());
        // That of another node says nothing about this one's attempts.
        let receipt = read_receipt(&self.receipt)?.filter(|seen| seen.node == self.node.as_str());
        let on_main = forge.file(&path);
        // A node that is there, or about which no answer came, needs no further question.
        let pulls = match on_main {
            Answer::Absent => forge.pulls(self.node.as_str(), &path, look),
            _ => Answer::Absent,
        };
        Ok(Seen { receipt, on_main, pulls })
    }

    pub(super) fn policy(&self) -> Policy {
        let (reopen, min_interval_s) = (self.reopen, self.min_interval_s);
        Policy { reopen, min_interval_s, now_s: host::wall_us() / 1_000_000 }
    }

    /// A receipt of what was just observed; what later runs rely on stays.
    pub(super) fn receipt(
        &self,
        state: State,
        detail: String,
        before: Option<&Receipt>,
    ) -> Receipt {
        Receipt {
            state,
            node: self.node.to_string(),
            observed_us: host::wall_us(),
            node_path: self.path(),
            pr_url: None,
            branch: None,
            detail,
            last_attempt_s: None,
            retry_after_s: None,
            opened_url: None,
            machine: Vec::new(),
        }
        .following(before)
    }
}
