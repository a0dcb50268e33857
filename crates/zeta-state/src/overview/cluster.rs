//! The cluster of an overview: what the bridge of this node says of itself, and the last cards of
//! the other nodes. This machine's own clock says which of them are silent.

use std::collections::BTreeMap;

use zeta_core::cluster::card::{Card, CardSeen, is_silent, silent_at_ns};
use zeta_core::cluster::copy;
use zeta_core::evidence::Age;
use zeta_core::layout::{self, RECORD_MAX};
use zeta_core::name::Label;
use zeta_core::overview::{Cluster, Lag, Overview, Peer, Quorum};
use zeta_core::record::{Fields, Text, parse};
use zeta_core::time::{NS_PER_MS, Now, parse_utc};

use super::sources::{News, Sources};
use crate::context::Context;
use crate::directory::copied::BridgeDir;

/// A bridge that has not written for so long has ended without a word, in ms: it writes every 10 s,
/// and without a server every 30 s.
const BRIDGE_SILENT_MS: u64 = 60_000;

/// A card, and when this machine saw it, by its wall clock.
#[derive(Debug)]
struct Seen {
    card: CardSeen,
    at_us: i64,
    is_verified: bool,
}

/// What the bridge wrote of itself.
#[derive(Debug)]
struct Bridge {
    said: Cluster,
    written_boot_ns: u64,
    is_of_this_boot: bool,
}

/// What is known of the cluster of a tree.
#[derive(Debug, Default)]
pub(super) struct ClusterView {
    bridge: Option<Bridge>,
    cards: BTreeMap<Label, Seen>,
    until_ns: Option<u64>,
}

impl ClusterView {
    /// Takes in what changed, and what the time changed; returns whether the overview did.
    pub(super) fn take(
        &mut self,
        news: &News,
        sources: &mut Sources,
        ctx: &Context,
        out: &mut Overview,
    ) -> bool {
        let now = ctx.now();
        if news.is_cluster_changed {
            self.bridge = read_bridge(sources, &now);
        }
        for (node, name, is_there) in &news.others {
            if name != layout::COPY_MARK {
                continue;
            }
            let seen = is_there.then(|| read_card(sources, node, &now)).flatten();
            match seen {
                Some(seen) => _ = self.cards.insert(node.clone(), seen),
                None => _ = self.cards.remove(node),
            }
        }
        let nodes = sources.view().nodes();
        self.cards.retain(|node, _| nodes.contains_key(node));
        let cluster = self.judge(&now);
        let is_changed = cluster != out.cluster;
        out.cluster = cluster;
        is_changed
    }

    /// Forgets a tree that is gone.
    pub(super) fn clear(&mut self, out: &mut Overview) -> bool {
        *self = ClusterView::default();
        out.cluster.take().is_some()
    }

    /// When a judgement changes by time alone, by the boot clock.
    pub(super) fn until_ns(&self) -> Option<u64> {
        self.until_ns
    }

    fn judge(&mut self, now: &Now) -> Option<Cluster> {
        let bridge = self.bridge.as_ref()?;
        let now_ns = now.reading.boot_ns;
        let mut cluster = bridge.said.clone();
        let bridge_until = bridge.written_boot_ns.saturating_add(BRIDGE_SILENT_MS * NS_PER_MS);
        let is_running = bridge.is_of_this_boot && now_ns <= bridge_until;
        if !is_running && cluster.state != "stopped" {
            cluster.state = "stopped".to_owned();
            cluster.since_us = None;
        }
        if !is_running {
            // What it saw then says nothing about now.
            (cluster.quorum, cluster.has_no_quorum) = (None, false);
            cluster.lag = Lag::default();
        }
        let mut until = is_running.then_some(bridge_until.saturating_add(NS_PER_MS));
        for (node, seen) in &self.cards {
            let silent = is_silent(&seen.card, now);
            if !silent {
                let next = Some(silent_at_ns(&seen.card)).filter(|at| *at > now_ns);
                until = until.into_iter().chain(next).min();
            }
            cluster.peers.push(Peer {
                node: node.to_string(),
                silent_since_us: silent.then_some(seen.at_us),
                is_verified: seen.is_verified,
            });
        }
        self.until_ns = until;
        Some(cluster)
    }
}

/// Reads what the bridge says of itself; `None` if it never ran.
fn read_bridge(sources: &Sources, now: &Now) -> Option<Bridge> {
    let tree = sources.view().tree();
    let dir = BridgeDir::find_cluster(tree, None).ok()??;
    let bytes = dir.read(tree, layout::CLUSTER_STATUS, layout::PERSONA_MAX).ok()??.bytes;
    let Ok(Text::Own(fields)) = parse(&bytes, layout::PERSONA_MAX) else { return None };
    let boot = fields.text("boot_id").map(|text| text.into_owned());
    Some(Bridge {
        said: said(&fields)?,
        written_boot_ns: fields.number("written_boot_ns")?,
        is_of_this_boot: boot.as_deref() == Some(&*now.host.boot_id),
    })
}

fn said(fields: &Fields<'_>) -> Option<Cluster> {
    let text = |key| fields.text(key).map(|text| text.into_owned());
    let time = |key| text(key).and_then(|text| parse_utc(&text).ok());
    let server = match (text("server"), text("server_version")) {
        (Some(name), Some(version)) => Some(format!("{name} {version}")),
        (name, _) => name,
    };
    Some(Cluster {
        state: text("state")?,
        since_us: time("since"),
        server,
        epoch: fields.number("epoch"),
        no_grant_before_us: time("no_grant_before"),
        quorum: quorum(fields),
        has_no_quorum: fields.raw("no_quorum").is_some(),
        lag: Lag {
            values: fields.number("lag"),
            unsent: fields.number("own_unsent").unwrap_or(0),
            messages: fields.number("mail_lag").unwrap_or(0),
            unsent_messages: fields.number("mail_pending").unwrap_or(0),
        },
        peers: Vec::new(),
    })
}

fn quorum(fields: &Fields<'_>) -> Option<Quorum> {
    Some(Quorum {
        servers: fields.number("quorum_servers")?,
        current: fields.number("quorum_current")?,
        needed: fields.number("quorum_needed")?,
    })
}

/// Reads the last card of another node; `None` if none has come yet.
fn read_card(sources: &Sources, node: &Label, now: &Now) -> Option<Seen> {
    let opened = sources.view().open_node(node).ok()??;
    let max = copy::copy_max(RECORD_MAX);
    let bytes = opened.read(sources.base(), layout::COPY_MARK, max).ok()??.bytes;
    let (about, original) = copy::read(&bytes, RECORD_MAX).ok()?;
    let Ok(Text::Own(fields)) = parse(&original, RECORD_MAX) else { return None };
    let card = Card::of(&fields).ok()?;
    let age_ms = match about.observed.age(now) {
        Age::Ms(age_ms) => age_ms,
        Age::Unclear => 0,
    };
    let age_us = i64::try_from(age_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    Some(Seen {
        at_us: now.reading.wall_us.saturating_sub(age_us),
        is_verified: about.verified,
        card: CardSeen {
            card,
            sequence: about.sequence,
            observed: about.observed,
            every_ms: about.card_every_ms.unwrap_or(0),
        },
    })
}
