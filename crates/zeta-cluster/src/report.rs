//! What `zeta cluster` says, as text and as JSON.

use std::fmt::Write as _;

use zeta_core::json::Object;
use zeta_core::time::format_utc;

use crate::gate::RACERS;
use crate::init::Initialized;
use crate::meta::Meta;
use crate::status::{PowerSafe, Status, StreamStatus};

/// The cluster that `init` made or found, as JSON.
pub fn initialized(done: &Initialized) -> Object {
    let mut object = Object::new();
    object.flag("created", done.created);
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
    let verb = if done.created { "made" } else { "found" };
    let mut text = format!(
        "{verb} the cluster {} at {servers}, with {}",
        meta.held.cluster,
        copies(*replicas)
    );
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

/// The state of the cluster as JSON.
pub fn status(status: &Status) -> Object {
    let mut object = Object::new();
    object.flag("healthy", status.exit_status() == 0);
    object.text("servers", &status.servers).text("server_name", &status.server_name);
    object.text("version", &status.version).text("power_safe", status.power_safe.word());
    if let Some(meta) = &status.meta {
        record(&mut object, meta);
    }
    object.objects("streams", &status.streams, |object, stream| {
        object.text("name", stream.name).number("replicas", stream.replicas);
        object.text_if("leader", stream.leader.as_deref()).number("lag", stream.lag);
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
    let _ = write!(text, "\npower    {}", power(status.power_safe));
    for stream in &status.streams {
        let StreamStatus { name, leader, messages, bytes, max_bytes, .. } = stream;
        let _ = write!(
            text,
            "\nstream   {name:<11}  {messages} messages, {bytes} of {max_bytes} bytes, {}",
            copies(stream.replicas)
        );
        if stream.replicas > 1 {
            let leader = leader.as_deref().unwrap_or("no server");
            let _ = write!(text, ", led by {leader}, lag {}", stream.lag);
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
