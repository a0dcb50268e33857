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
    /// How many servers have what was written, when the bridge looked last; `None` if it could not.
    pub quorum: Option<Quorum>,
    /// The servers said that they are too few to write.
    pub has_no_quorum: bool,
    /// What has not come to this node yet, or has not left it.
    pub lag: Lag,
    /// The other nodes, by their names.
    pub peers: Vec<Peer>,
}

/// How many servers are there, of those that keep the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// How many keep each stream.
    pub servers: u64,
    /// How many have all of the stream that the fewest have all of.
    pub current: u64,
    /// How many it takes to write.
    pub needed: u64,
}

impl Quorum {
    /// Returns whether something can be written.
    pub fn is_reached(self) -> bool {
        self.current >= self.needed
    }

    /// How many servers have all, and how many may fail, for people.
    pub fn text(self) -> String {
        let Quorum { servers, current, needed } = self;
        if (servers, current) == (1, 1) {
            return "one server has all that was written; without it nothing can be".to_owned();
        }
        let so = match current.checked_sub(needed) {
            None => "so nothing can be written".to_owned(),
            Some(0) => "so one more must not fail".to_owned(),
            Some(spare) => format!("so {spare} may fail"),
        };
        format!(
            "{current} of {servers} servers have all that was written, {needed} are needed, {so}"
        )
    }
}

/// Fewer values are on their way at each moment, and no line says so.
const MANY: u64 = 100;

/// What has not come to a node yet, or has not left it, when its bridge wrote that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// How many values the streams had that the bridge had not seen; `None` if it could not look.
    pub values: Option<u64>,
    /// How many records of this node other nodes do not see.
    pub unsent: u64,
    /// How many messages had not been read.
    pub messages: u64,
    /// How many messages wait to be sent.
    pub unsent_messages: u64,
}

impl Lag {
    /// What lags behind, in the words of a line; none if nothing does.
    fn words(self) -> impl Iterator<Item = String> {
        let many = |count: u64| if count < MANY { 0 } else { count };
        let counted = [
            (many(self.values.unwrap_or(0).saturating_add(self.messages)), "behind"),
            (self.unsent.saturating_add(many(self.unsent_messages)), "unsent"),
        ];
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(n, word)| format!("{n} {word}"))
    }
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

    /// Returns whether enough servers are there to write, if that is known.
    pub fn has_quorum(&self) -> Option<bool> {
        let counted = self.quorum.map(Quorum::is_reached);
        if self.has_no_quorum { Some(false) } else { counted }
    }

    /// The cluster in one line, as in `3 nodes, 1 silent, 2 of 3 servers, 5 behind`.
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
        match self.quorum {
            _ if self.has_quorum() == Some(false) => text += ", no quorum",
            Some(Quorum { current, servers, .. }) if servers > 1 => {
                text += &format!(", {current} of {servers} servers");
            }
            _ => {}
        }
        self.lag.words().for_each(|words| text += &format!(", {words}"));
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

    #[test]
    fn a_line_says_whether_most_servers_are_there_and_what_lags_behind() {
        let quorum = |servers, current| Some(Quorum { servers, current, needed: servers / 2 + 1 });
        let lag = |values, unsent| Lag { values, unsent, ..Lag::default() };
        for (quorum, lag, wanted) in [
            (None, lag(None, 0), "1 node"),
            (quorum(1, 1), lag(Some(0), 0), "1 node"),
            (quorum(1, 0), lag(Some(0), 0), "1 node, no quorum"),
            (quorum(3, 3), lag(Some(0), 0), "1 node, 3 of 3 servers"),
            (quorum(3, 2), lag(Some(700), 0), "1 node, 2 of 3 servers, 700 behind"),
            (quorum(3, 2), lag(Some(99), 1), "1 node, 2 of 3 servers, 1 unsent"),
            (quorum(3, 1), lag(None, 912), "1 node, no quorum, 912 unsent"),
            (
                None,
                Lag { values: Some(60), unsent: 2, messages: 40, unsent_messages: 400 },
                "1 node, 100 behind, 402 unsent",
            ),
        ] {
            let state = "connected".to_owned();
            let cluster = Cluster { state, quorum, lag, ..Cluster::default() };
            assert_eq!(cluster.summary(), wanted);
        }
        let state = "away".to_owned();
        let cluster = Cluster { state, has_no_quorum: true, ..Cluster::default() };
        assert_eq!(cluster.summary(), "1 node, away, no quorum");
        let texts = [3, 2, 1].map(|current| quorum(3, current).unwrap().text());
        assert!(quorum(1, 1).unwrap().text().contains("without it"));
        for (text, so) in texts.iter().zip(["so 1 may fail", "must not fail", "be written"]) {
            assert!(text.ends_with(so), "{text}");
        }
    }
}
