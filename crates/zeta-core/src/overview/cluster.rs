//! The cluster in an overview: the server, the other nodes, and the links between them.

/// The cluster, as the bridge of this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The word of the bridge: `connected`, `away` (no server answers), `waiting` (another machine
    /// may use the node's name), `missing` (the store lost a stream), or `stopped`.
    pub state: String,
    /// Since when.
    pub since_us: Option<i64>,
    /// The name and the version of the server.
    pub server: Option<String>,
    /// The epoch: it grows when the store lost what it had acknowledged.
    pub epoch: Option<u64>,
    /// Nobody is granted a lease of the cluster before this time.
    pub no_grant_before_us: Option<i64>,
    /// The other nodes, by their names.
    pub peers: Vec<Peer>,
}

/// Another node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// When its last card was seen by this machine, if no card came for four beats since. It is not
    /// dead: nothing is known of it.
    pub silent_since_us: Option<i64>,
    /// Its key signed the last card.
    pub is_verified: bool,
}

impl Cluster {
    /// Returns whether the bridge of this node is connected.
    pub fn is_connected(&self) -> bool {
        self.state == "connected"
    }

    /// The cluster in one line, as in `3 nodes, 1 silent`.
    pub fn summary(&self) -> String {
        let nodes = self.peers.len() + 1;
        let silent = self.peers.iter().filter(|peer| peer.silent_since_us.is_some()).count();
        let mut text = format!("{nodes} {}", if nodes == 1 { "node" } else { "nodes" });
        if silent > 0 {
            text += &format!(", {silent} silent");
        }
        if !self.is_connected() {
            text += ", ";
            text += &self.state;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, silent_since_us: Option<i64>) -> Peer {
        Peer { node: node.into(), silent_since_us, is_verified: true }
    }

    #[test]
    fn a_line_says_how_many_nodes_there_are_and_what_is_wrong() {
        let mut cluster = Cluster { state: "connected".into(), ..Cluster::default() };
        assert_eq!(cluster.summary(), "1 node");
        cluster.peers = vec![peer("b", None), peer("c", Some(7))];
        assert_eq!(cluster.summary(), "3 nodes, 1 silent");
        cluster.state = "away".into();
        assert_eq!(cluster.summary(), "3 nodes, 1 silent, away");
    }
}
