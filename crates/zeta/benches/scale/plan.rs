//! What so many nodes ask of a server, from what one of each thing costs it.

use std::fmt::Write as _;

/// Agents on each node.
const AGENTS: f64 = 3.0;
/// Changes of each agent, in a second: one a minute.
const CHANGES: f64 = 1.0 / 60.0;
/// Cards of each node, in a second.
const CARDS: f64 = 1.0 / 10.0;
/// Leases that each node takes and gives back, in a second: one a minute, two writes each.
const LEASES: f64 = 1.0 / 60.0;
/// Nodes of a group that follow each other.
const GROUP: f64 = 32.0;

/// What one of each thing costs the server.
#[derive(Debug, Clone, Copy)]
pub struct Units {
    /// CPU of a write, in µs.
    pub write_us: f64,
    /// CPU of a delivery, in µs.
    pub delivery_us: f64,
    /// Bytes of a delivery on the wire.
    pub delivery_bytes: f64,
    /// Memory of a connection, in kB.
    pub connection_kb: f64,
    /// CPU of a settled connection in a second, in µs.
    pub connection_us: f64,
}

/// What so many nodes write in a second.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    nodes: f64,
    pub cards: f64,
    pub changes: f64,
    lease_writes: f64,
}

impl Load {
    pub fn of(nodes: usize) -> Load {
        let nodes = nodes as f64;
        Load {
            nodes,
            cards: nodes * CARDS,
            changes: nodes * AGENTS * CHANGES,
            lease_writes: nodes * LEASES * 2.0,
        }
    }
}

/// How far what a node writes reaches.
struct Reach {
    name: &'static str,
    /// How many others get a value of each kind: cards, changes and leases.
    others: fn(&Load) -> (f64, f64),
}

const REACHES: [Reach; 3] = [
    Reach { name: "all, cards too", others: |load| (load.nodes - 1.0, load.nodes - 1.0) },
    Reach { name: "all, without cards", others: |load| (0.0, load.nodes - 1.0) },
    Reach { name: "groups of 32", others: |load| (0.0, (load.nodes - 1.0).min(GROUP - 1.0)) },
];

/// Formats a table for 10 to 10,000 nodes, in Markdown.
pub fn table(units: &Units) -> String {
    let mut text = String::from(
        "| nodes | who follows whom | writes/s | deliveries/s | server's CPU | sent | memory |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for nodes in [10, 100, 1000, 10_000] {
        let load = Load::of(nodes);
        for reach in &REACHES {
            let (of_cards, of_changes) = (reach.others)(&load);
            let writes = load.cards + load.changes + load.lease_writes;
            // The end of a lease concerns all who wait; they are few. A lease of the cluster is a
            // local record, too, and counts as a change.
            let deliveries =
                load.cards * of_cards + (load.changes + load.lease_writes) * of_changes;
            let us = writes * units.write_us
                + deliveries * units.delivery_us
                + load.nodes * units.connection_us;
            let _ = writeln!(
                text,
                "| {nodes} | {} | {writes:.1} | {deliveries:.0} | {} | {:.2} MB/s | {:.1} MB |",
                reach.name,
                cores(us / 1e6),
                deliveries * units.delivery_bytes / 1e6,
                load.nodes * units.connection_kb / 1e3,
            );
        }
    }
    text
}

fn cores(cores: f64) -> String {
    match cores {
        few if few < 0.095 => format!("{:.2} % of a core", few * 100.0),
        few if few < 0.95 => format!("{:.0} % of a core", few * 100.0),
        many => format!("{many:.1} cores"),
    }
}
