//! What `zeta cluster` says, as text and as JSON.

use std::fmt::Write as _;

use zeta_core::json::Object;
use zeta_core::record::quote;
use zeta_core::time::format_utc;

use crate::account::Account;
use crate::api::Follower;
use crate::compact::Compacted;
use crate::gate::RACERS;
use crate::init::Initialized;
use crate::join::{Joined, Key};
use crate::keys::Keys;
use crate::meta::Meta;
use crate::status::{PowerSafe, Status, StreamStatus};

/// The cluster that `init` made or found, as JSON.
pub fn initialized(done: &Initialized) -> Object {
    let mut object = Object::new();
    object.flag("created", done.created);
    if let Some(restored) = &done.restored {
        object.list("restored", restored.iter().map(|name| quote(name)));
    }
    object.text("servers", &done.servers).text("version", &done.version);
    object.number("replicas", done.replicas);
    record(&mut object, &done.meta);
    if let Some(proof) = &done.proof {
        object.list("accepted", proof.accepted.iter().map(ToString::to_string));
    }
    object
}

/// The same for people.
pub fn initialized_text(done: &Initialized) -> String {
    let Initialized { meta, servers, version, replicas, .. } = done;
    let verb = match (done.created, &done.restored) {
        (_, Some(_)) => "made again",
        (true, None) => "made",
        (false, None) => "found",
    };
    let mut text = format!(
        "{verb} the cluster {} at {servers}, with {}",
        meta.held.cluster,
        copies(*replicas)
    );
    if let Some(restored) = &done.restored {
        let what = if restored.is_empty() { "nothing but the record" } else { "" };
        let streams = restored.join(", ");
        let (epoch, until) = (meta.held.epoch, format_utc(meta.held.no_grant_before_us));
        let _ = write!(
            text,
            "\nstreams that were made: {what}{streams}\nit is epoch {epoch} now; no lease is \
             granted before {until}"
        );
    }
    if let Some(proof) = &done.proof {
        let rounds = proof.accepted.len();
        let _ = write!(
            text,
            "\nproven on nats-server {version}: of {RACERS} writers at once one won, {rounds} times"
        );
    }
    text
}

fn copies(replicas: u64) -> String {
    match replicas {
        1 => "one replica".to_owned(),
        more => format!("{more} replicas"),
    }
}

/// The keys of the record of a cluster.
fn record(object: &mut Object, meta: &Meta) {
    let held = &meta.held;
    object.text("cluster", held.cluster.as_str()).number("cluster_epoch", held.epoch);
    object.number("token_floor", held.floor);
    object.number("max_ttl_ms", held.max_ttl_ms);
    object.text("no_grant_before", &format_utc(held.no_grant_before_us));
    object.flag("lease_by_pattern", meta.lease_by_pattern);
    object.text("created_at", &format_utc(meta.created_us));
}

/// What was removed from the store, as JSON.
pub fn compacted(done: &Compacted) -> Object {
    let mut object = Object::new();
    object.flag("dry_run", done.dry_run).number("found", count(done.found));
    for (word, counted) in done.counts() {
        object.number(word, count(counted));
    }
    object.list("nodes_forgotten", done.forgotten().iter().map(|node| quote(node.as_str())));
    object.number("removed", count(done.removed)).number("changed", count(done.changed));
    object.number("token_floor", done.meta.held.floor);
    object
}

/// The same for people.
pub fn compacted_text(done: &Compacted) -> String {
    let all = done.plan.values.len();
    let [(_, gone), (_, leases), (_, records)] = done.counts();
    let verb = if done.dry_run { "would be removed" } else { "to be removed" };
    let mut text = format!(
        "{all} of {} values {verb}: {gone} words that a record is gone, {leases} ends of leases \
         and what stands below them, {records} records of silent nodes",
        done.found
    );
    for node in done.forgotten() {
        let _ = write!(text, "\n{node} is forgotten: its name is free");
    }
    if !done.dry_run {
        let Compacted { removed, changed, .. } = done;
        let _ = write!(text, "\n{removed} removed, {changed} had changed and stay");
    }
    text
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The key of a node, and what became of its joining, as JSON.
pub fn joined(key: &Key, joined: Option<&Joined>) -> Object {
    let mut object = Object::new();
    object.flag("joined", matches!(joined, Some(Joined::Yes { .. })));
    object.text("node", key.node.as_str()).text("public_key", &key.public_key);
    object.text("line", &key.line()).flag("key_made", key.made);
    match joined {
        Some(Joined::Yes { cluster, before, servers, account }) => {
            object.text("cluster", cluster.as_str()).flag("joined_before", *before);
            object.text("servers", servers).text("account", account.word());
        }
        Some(Joined::Waits { servers }) => {
            object.text("servers", servers);
        }
        None => {}
    }
    object
}

/// The same for people. `unnamed` is whether the configuration names no server.
pub fn joined_text(key: &Key, joined: &Joined, unnamed: bool) -> String {
    let (node, line) = (&key.node, key.line());
    match joined {
        Joined::Yes { cluster, before, servers, account } => {
            let verb = if *before { "is" } else { "is now" };
            let mut text = format!("{node} {verb} a node of the cluster {cluster} at {servers}");
            let _ = write!(text, "\nits line: {line}\n{}", trusting(*account));
            if unnamed {
                let _ = write!(
                    text,
                    "\nfor all later calls, in the configuration: cluster_server = \"{servers}\""
                );
            }
            text
        }
        Joined::Waits { servers } => format!(
            "the servers at {servers} do not know {node} yet\n\
             the operator adds this line to the file of the nodes: {line}\n\
             and gives the servers what 'zeta cluster config --nodes FILE' prints; then repeat \
             this call"
        ),
    }
}

/// The configuration of a server as JSON.
pub fn server_config(admin: &str, nodes: &Keys, text: &str) -> Object {
    let mut object = Object::new();
    object.text("admin", admin).text("config", text);
    object.objects("nodes", nodes.iter(), |object, (node, key)| {
        object.text("node", node.as_str()).text("public_key", key);
    });
    object
}

/// What the account of a login means for the nodes.
fn trusting(account: Account) -> &'static str {
    match account {
        Account::Node => "this node has an account of its own, and can write only what is its own",
        Account::Store => {
            "this login has the account of the store: those that have it trust each other"
        }
    }
}

/// The state of the cluster as JSON.
pub fn status(status: &Status) -> Object {
    let mut object = Object::new();
    object.flag("healthy", status.exit_status() == 0);
    object.text("servers", &status.servers).text("server_name", &status.server_name);
    object.text("version", &status.version).text("account", status.account.word());
    object.text("power_safe", status.power_safe.word());
    if let Some(meta) = &status.meta {
        record(&mut object, meta);
    }
    if let Some(quorum) = status.quorum() {
        object.number("quorum_servers", quorum.servers);
        object.number("quorum_current", quorum.current).number("quorum_needed", quorum.needed);
    }
    object.objects("streams", &status.streams, |object, stream| {
        object.text("name", stream.name).number("replicas", stream.replicas);
        object.text_if("leader", stream.leader.as_deref()).number("lag", stream.lag);
        object.objects("followers", &stream.followers, |object, follower| {
            object.text("server", &follower.name).flag("current", follower.current);
            object.number("lag", follower.lag);
        });
        object.number("messages", stream.messages).number("bytes", stream.bytes);
        object.number("max_bytes", stream.max_bytes).number("last_sequence", stream.last_sequence);
    });
    object.objects("findings", &status.findings, |object, finding| {
        object.finding(finding.word, &finding.text, [finding.hint]);
    });
    object
}

/// The same for people.
pub fn status_text(status: &Status) -> String {
    let mut text = format!("server   {}, nats-server {}", status.servers, status.version);
    if let Some(meta) = &status.meta {
        let made = format_utc(meta.created_us);
        let _ = write!(
            text,
            "\ncluster  {}, epoch {}, made {made}",
            meta.held.cluster, meta.held.epoch
        );
    }
    let _ = write!(text, "\naccount  {}", trusting(status.account));
    let _ = write!(text, "\npower    {}", power(status.power_safe));
    if let Some(quorum) = status.quorum().filter(|quorum| quorum.servers > 1) {
        let _ = write!(text, "\nquorum   {}", quorum.text());
    }
    for stream in &status.streams {
        let StreamStatus { name, leader, messages, bytes, max_bytes, .. } = stream;
        let _ = write!(
            text,
            "\nstream   {name:<11}  {messages} messages, {bytes} of {max_bytes} bytes, {}",
            copies(stream.replicas)
        );
        if stream.replicas > 1 {
            let leader = leader.as_deref().unwrap_or("no server");
            let _ = write!(text, ", led by {leader}");
            for Follower { name, current, lag } in &stream.followers {
                let odd = if *current { "" } else { " (does not keep up)" };
                let _ = write!(text, ", {name} lag {lag}{odd}");
            }
        }
    }
    for finding in &status.findings {
        let word = if finding.kind.is_some() { "wrong" } else { "note" };
        let _ = write!(text, "\n{word:<8} {}\n         -> {}", finding.text, finding.hint);
    }
    if status.findings.is_empty() {
        text.push_str("\nnothing wrong was found");
    }
    text
}

fn power(power_safe: PowerSafe) -> &'static str {
    match power_safe {
        PowerSafe::Yes => "safe: each write is on the disk before its answer",
        PowerSafe::No => {
            "not safe: a loss of power may take what was written in the last two minutes"
        }
        PowerSafe::Unknown => {
            "unknown: name the monitoring ports of the servers (--monitor), and they say it"
        }
    }
}
