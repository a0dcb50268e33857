//! What a bridge follows of other nodes: which values are sent to it, and which it lists.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use zeta_core::cluster::subject::{LIVE, Stream};
use zeta_core::name::Label;

/// What a bridge follows. Leases of the cluster, messages and the record of the cluster are always
/// followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Follow {
    /// All records of all nodes, as they are written.
    #[default]
    All,
    /// The same, but cards only when everything is read.
    Records,
    /// All records of these nodes.
    Nodes(BTreeSet<Label>),
}

/// What is right, for a text that is not.
const RULE: &str = "give all, records, or names of nodes, as in node-a,node-b";

impl FromStr for Follow {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Follow, &'static str> {
        match text {
            "all" => Ok(Follow::All),
            "records" => Ok(Follow::Records),
            nodes => {
                let nodes = nodes.split(',').map(|node| node.trim().parse());
                nodes.collect::<Result<_, _>>().map(Follow::Nodes).map_err(|_| RULE)
            }
        }
    }
}

impl fmt::Display for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Follow::All => f.write_str("all"),
            Follow::Records => f.write_str("records"),
            Follow::Nodes(nodes) => {
                let nodes: Vec<&str> = nodes.iter().map(Label::as_str).collect();
                f.write_str(&nodes.join(","))
            }
        }
    }
}

impl Follow {
    /// Returns whether the records of a node are followed; those of the own node always are.
    pub(crate) fn has(&self, own: &Label, node: &Label) -> bool {
        match self {
            Follow::All | Follow::Records => true,
            Follow::Nodes(nodes) => node == own || nodes.contains(node),
        }
    }

    /// The patterns of a stream by which it is listed. No value fits two of them.
    pub(crate) fn patterns(&self, own: &Label, stream: Stream) -> Vec<String> {
        match self {
            Follow::Nodes(nodes) if stream == Stream::State => {
                let nodes: BTreeSet<&Label> = nodes.iter().chain([own]).collect();
                nodes.iter().map(|node| format!("zeta1.state.{node}.>")).collect()
            }
            _ => vec![stream.pattern().to_owned()],
        }
    }

    /// The patterns of what the server sends as it is written. No value fits two of them.
    pub(crate) fn live(&self, own: &Label) -> Vec<String> {
        let state = match self {
            Follow::All => return vec![format!("{LIVE}>")],
            Follow::Records => ["*.lock.*", "*.marker.*", "*.persona.*"]
                .iter()
                .map(|kind| format!("zeta1.state.{kind}"))
                .chain([format!("zeta1.state.{own}.card.self")])
                .collect(),
            Follow::Nodes(_) => self.patterns(own, Stream::State),
        };
        let others = [Stream::Bus, Stream::Lease, Stream::Meta].map(|stream| stream.pattern());
        let all = state.into_iter().chain(others.map(str::to_owned));
        all.map(|text| text.replacen("zeta1.", LIVE, 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_is_a_word_or_names_of_nodes() {
        for text in ["all", "records", "node-a", "node-a,node-b"] {
            assert_eq!(text.parse::<Follow>().unwrap().to_string(), text);
        }
        assert_eq!("b, a".parse::<Follow>().unwrap().to_string(), "a,b");
        for text in ["", "a,", "*", "a.b", "Records", "a b"] {
            assert_eq!(text.parse::<Follow>(), Err(RULE), "{text:?}");
        }
    }

    #[test]
    fn cards_and_nodes_that_are_not_followed_are_not_subscribed() {
        let label = |name: &str| name.parse::<Label>().unwrap();
        let live = |text: &str| text.parse::<Follow>().unwrap().live(&label("me"));
        assert_eq!(live("all"), ["zeta1.live.>"]);
        let always = ["zeta1.live.bus.*", "zeta1.live.lease.>", "zeta1.live.meta"];
        let records = live("records");
        assert_eq!(
            records[..3],
            ["lock", "marker", "persona"].map(|kind| { format!("zeta1.live.state.*.{kind}.*") })
        );
        assert_eq!(records[3], "zeta1.live.state.me.card.self");
        assert_eq!(records[4..], always);
        let nodes = live("b,me");
        assert_eq!(nodes[..2], ["zeta1.live.state.b.>", "zeta1.live.state.me.>"]);
        assert_eq!(nodes[2..], always);
        let nodes: Follow = "b".parse().unwrap();
        for (node, is_followed) in [("b", true), ("me", true), ("c", false)] {
            assert_eq!(nodes.has(&label("me"), &label(node)), is_followed, "{node}");
        }
    }
}
