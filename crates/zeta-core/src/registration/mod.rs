//! How a node joins: `node.yaml` on the default branch, through one pull request that must never be
//! doubled.
//!
//! [`node`] is the file, [`receipt`] what was observed last, [`expiry`] until when a registration
//! counts, and [`decide`] says what to do next from what was observed now. *Could not ask* is an
//! answer of its own, and nothing follows from it.

pub mod expiry;
pub mod node;
pub mod receipt;

mod decide;

pub use decide::{
    Answer, From, Next, Policy, Pull, PullState, Seen, Stop, decide, is_of_node, rest_s,
};

/// The branch of a node's registration: without a timestamp, so that a second attempt meets the
/// first.
pub fn branch(node: &str) -> String {
    format!("register-node-{node}")
}

/// The title of its pull request.
pub fn title(node: &str) -> String {
    format!("node-register: {node}")
}

/// The branch on which a node's expiry is moved.
pub fn refresh_branch(node: &str) -> String {
    format!("refresh-node-{node}")
}

/// The branch on which a node leaves.
pub fn leave_branch(node: &str) -> String {
    format!("deregister-node-{node}")
}

/// The line in a body by which a pull request is known, whatever its title and branch became.
pub fn body_marker(node: &str) -> String {
    format!("<!-- zeta-node-registration: {node} -->")
}

/// Where the file of a node is.
pub fn node_path(maintainer: &str, node: &str) -> String {
    format!("maintainers/{maintainer}/cluster-nodes/{node}/node.yaml")
}

#[cfg(test)]
mod tests;
