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
    Answer, From, Next, Policy, Pull, PullState, Seen, Stop, decide, decide_wait_s, is_of_node,
    is_of_older_tool, rest_s,
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

/// How every marker begins.
const MARKER_BEGIN: &str = "<!-- zeta-node-registration: ";

/// The line in a body by which a pull request is known, whatever its title and branch became.
pub fn body_marker(node: &str) -> String {
    format!("{MARKER_BEGIN}{node} -->")
}

/// Where the file of a node is.
pub fn node_path(maintainer: &str, node: &str) -> String {
    format!("maintainers/{maintainer}/cluster-nodes/{node}/node.yaml")
}

/// The node whose file is at `path`; `None` if it is no node's.
pub fn node_of_path(path: &str) -> Option<&str> {
    let (maintainer, rest) = path.strip_prefix("maintainers/")?.split_once("/cluster-nodes/")?;
    let node = rest.strip_suffix("/node.yaml")?;
    let one = |part: &str| !part.is_empty() && !part.contains('/');
    (one(maintainer) && one(node)).then_some(node)
}

#[cfg(test)]
mod tests;
