//! `zeta cluster status`: what the servers keep for the cluster, and what is wrong with it.

use std::collections::BTreeSet;

use zeta_core::cluster::Id;
use zeta_core::cluster::epoch::WIRE;
use zeta_core::cluster::subject::Stream;
use zeta_core::layout::RECORD_MAX;
use zeta_core::overview::Quorum;
use zeta_os::error::{Kind, Result};

use crate::account::Account;
use crate::api::{Follower, Info};
use crate::connection::Connection;
use crate::gate::{SERIALIZED, Version};
use crate::init::{RESTORE, check_jetstream, look, read_meta};
use crate::meta::Meta;
use crate::monitor::{Monitors, Said};
use crate::store::Store;
use crate::stream;
use crate::trouble::Trouble;

/// The first version that can write through to its disk before it answers.
const CAN_SYNC: Version = Version(2, 10, 0);
/// The first version that keeps what a full stream has. An older one drops the oldest values,
/// though it was configured to refuse new ones.
const REFUSES_NEW: Version = Version(2, 10, 0);
/// A stream is called nearly full from this part on, in percent.
const NEARLY_FULL: u64 = 80;

/// Whether what was acknowledged outlives a loss of power. A killed server loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerSafe {
    /// Each write is on the disk before its answer.
    Yes,
    /// The last writes may be lost: up to two minutes of them.
    No,
    /// Not all servers that keep the streams said it.
    Unknown,
}

impl PowerSafe {
    /// The word for it in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            PowerSafe::Yes => "yes",
            PowerSafe::No => "no",
            PowerSafe::Unknown => "unknown",
        }
    }
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// Its name.
    pub name: &'static str,
    /// How many servers keep it.
    pub replicas: u64,
    /// The server that leads it.
    pub leader: Option<String>,
    /// The other servers that keep it, as the leader sees them.
    pub followers: Vec<Follower>,
    /// How many operations the slowest of them lacks.
    pub lag: u64,
    /// How many messages it has.
    pub messages: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many it may have.
    pub max_bytes: u64,
    /// The sequence of its last message.
    pub last_sequence: u64,
}

impl StreamStatus {
    /// How many servers have all of it: the one that leads, and those that keep up.
    fn current(&self) -> u64 {
        let keep_up = self.followers.iter().filter(|follower| follower.current).count() as u64;
        keep_up + u64::from(self.leader.is_some() || self.replicas == 1)
    }
}

/// Something that is wrong, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The exit status that it leads to; `None` for a note.
    pub kind: Option<Kind>,
    /// What it is about, as one word.
    pub word: &'static str,
    /// What is so.
    pub text: String,
    /// What to do next.
    pub hint: &'static str,
}

/// The state of the cluster as one server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The servers that were named.
    pub servers: String,
    /// The name of the one that answered.
    pub server_name: String,
    /// Its version.
    pub version: String,
    /// Whose account the login belongs to.
    pub account: Account,
    /// The record of the cluster.
    pub meta: Option<Meta>,
    /// Whether acknowledged writes outlive a loss of power.
    pub power_safe: PowerSafe,
    /// The streams that are there.
    pub streams: Vec<StreamStatus>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

impl Status {
    /// The exit status: 0 if the cluster can be used.
    pub fn exit_status(&self) -> u8 {
        self.findings.iter().find_map(|finding| finding.kind).map_or(0, Kind::status)
    }

    /// Counts the servers; `None` if no stream is there.
    pub fn quorum(&self) -> Option<Quorum> {
        quorum(&self.streams)
    }

    /// Says it first if the machine that asks is in a cluster which is not on this server.
    pub fn seen_by_member(&mut self, cluster: &Id) {
        let is_here = match &self.meta {
            Some(meta) => meta.held.cluster == *cluster,
            None => self.findings.iter().all(|finding| finding.word != NOT_INITIALIZED),
        };
        if !is_here {
            self.findings.retain(|finding| finding.word != NOT_INITIALIZED);
            let text = format!("this machine is in the cluster {cluster}, which is not here");
            let hint = "name its own servers; if they lost it: zeta cluster init --after-loss";
            self.findings.insert(0, finding(Some(Kind::Unsafe), "other_cluster", text, hint));
        }
    }
}

/// Counts the servers of streams; `None` if there are none.
pub(crate) fn quorum(streams: &[StreamStatus]) -> Option<Quorum> {
    let servers = streams.iter().map(|stream| stream.replicas).max()?;
    let current = streams.iter().map(StreamStatus::current).min()?;
    Some(Quorum { servers, current, needed: servers / 2 + 1 })
}

/// Looks at the streams.
pub(crate) async fn streams(
    connection: &Connection,
) -> std::result::Result<Vec<StreamStatus>, Trouble> {
    let mut found = Vec::with_capacity(stream::ALL.len());
    for stream in stream::ALL {
        found.push(connection.info(stream.name()).await?);
    }
    Ok(streams_of(&found))
}

fn streams_of(found: &[Option<Info>]) -> Vec<StreamStatus> {
    let seen = stream::ALL.into_iter().zip(found);
    seen.filter_map(|(stream, info)| Some(stream_status(stream, info.as_ref()?))).collect()
}

/// There is no cluster on the server.
const NOT_INITIALIZED: &str = "not_initialized";

fn finding(kind: Option<Kind>, word: &'static str, text: String, hint: &'static str) -> Finding {
    Finding { kind, word, text, hint }
}

/// Looks at the cluster.
///
/// # Errors
/// No server is reached, it refuses the login, it has no JetStream, or it does not answer.
pub fn status(store: &Store, monitors: &Monitors) -> Result<Status> {
    let said = monitors.ask();
    store.block(|connection| run(connection, said))?
}

async fn run(
    connection: &Connection,
    said: Vec<std::result::Result<Said, String>>,
) -> Result<Status> {
    check_jetstream(connection).await?;
    let (server_name, version) = connection.server();
    let found = look(connection).await?;
    let has_record = found.last().is_some_and(Option::is_some);
    let (meta, damage) = match read_meta(connection, has_record).await {
        Ok(meta) => (meta, None),
        Err(error) if error.kind == Kind::Unsafe => (None, Some(error.text)),
        Err(error) => return Err(error),
    };
    let (said, silent): (Vec<_>, Vec<_>) = said.into_iter().partition(std::result::Result::is_ok);
    let said: Vec<Said> = said.into_iter().flatten().collect();
    let keepers = found.iter().flatten().flat_map(|info| keepers(info, &server_name)).collect();
    let power_safe = judge_power(&version, &keepers, &said);
    let mut findings = findings(&found, meta.as_ref(), damage, &version);
    findings.extend(silent.into_iter().filter_map(std::result::Result::err).map(|text| Finding {
        kind: None,
        word: "monitor_silent",
        text,
        hint: "give the port that 'http' names in the configuration of the server",
    }));
    let (servers, streams) = (connection.servers().to_string(), streams_of(&found));
    // It was found out by the first question.
    let account = connection.account().await.unwrap_or(Account::Store);
    Ok(Status { servers, server_name, version, account, meta, power_safe, streams, findings })
}

/// The names of the servers that keep a stream; `answered` is the one that was asked.
fn keepers(info: &Info, answered: &str) -> Vec<String> {
    let leader = info.leader.clone().or_else(|| (!info.is_clustered).then(|| answered.to_owned()));
    let followers = info.followers.iter().map(|follower| follower.name.clone());
    leader.into_iter().chain(followers).collect()
}

fn stream_status(stream: Stream, info: &Info) -> StreamStatus {
    StreamStatus {
        name: stream.name(),
        replicas: info.replicas(),
        leader: info.leader.clone(),
        followers: info.followers.clone(),
        lag: info.followers.iter().map(|follower| follower.lag).max().unwrap_or(0),
        messages: info.messages,
        bytes: info.bytes,
        max_bytes: info.max_bytes(),
        last_sequence: info.last_sequence,
    }
}

/// Judges by the version, and by what the servers that keep the streams say of themselves: one that
/// does not sync is enough to lose writes, and one that says nothing to know nothing.
fn judge_power(version: &str, keepers: &BTreeSet<String>, said: &[Said]) -> PowerSafe {
    let of = |name: &String| said.iter().find(|said| said.server == *name);
    if Version::parse(version).is_some_and(|version| version < CAN_SYNC)
        || keepers.iter().filter_map(of).any(|said| !said.syncs_always)
    {
        return PowerSafe::No;
    }
    match !keepers.is_empty() && keepers.iter().all(|name| of(name).is_some()) {
        true => PowerSafe::Yes,
        false => PowerSafe::Unknown,
    }
}

/// Lists what is wrong, the worst first.
fn findings(
    found: &[Option<Info>],
    meta: Option<&Meta>,
    damage: Option<String>,
    version: &str,
) -> Vec<Finding> {
    let wrong = Some(Kind::Unsafe);
    let is_empty = found.iter().all(Option::is_none);
    let mut findings = Vec::new();
    if let Some(damage) = damage {
        findings.push(finding(wrong, "record_damaged", damage, RESTORE));
    } else if meta.is_none() && (is_empty || found.iter().flatten().all(|info| info.messages == 0))
    {
        let text = "there is no cluster on this server".to_owned();
        let hint = "make it once: zeta cluster init; or if there was one: --after-loss, too";
        findings.push(finding(wrong, NOT_INITIALIZED, text, hint));
        return findings;
    } else if meta.is_none() {
        let text = "the record of the cluster is lost".to_owned();
        findings.push(finding(wrong, "record_lost", text, RESTORE));
    }
    if let Some(held) = meta.map(|meta| &meta.held)
        && !(held.wire_min..=held.wire_max).contains(&WIRE)
    {
        let (low, high) = (held.wire_min, held.wire_max);
        let text = format!("the cluster speaks the versions {low} to {high}, and this zeta {WIRE}");
        findings.push(finding(wrong, "other_version", text, "install a zeta of the same version"));
    }
    let replicas = found.iter().flatten().map(Info::replicas).max().unwrap_or(1);
    if replicas > 1 && Version::parse(version).is_none_or(|version| version < SERIALIZED) {
        let text =
            format!("nats-server {version} lets several writers win with {replicas} replicas");
        let hint = "take nats-server 2.10 or later on all servers";
        findings.push(finding(wrong, "several_winners", text, hint));
    }
    if has_known_holes(version) {
        let text = format!(
            "nats-server {version} has holes that are published (CVE-2026-33248, CVE-2026-33223)"
        );
        let hint = "take 2.11.15, 2.12.6 or later, or a distribution that mends its own; never \
                    use verify_and_map";
        findings.push(finding(None, "known_holes", text, hint));
    }
    for (stream, info) in stream::ALL.into_iter().zip(found) {
        stream_findings(stream, info.as_ref(), replicas, version, &mut findings);
    }
    findings.sort_by_key(|finding| match finding.kind {
        Some(Kind::Unsafe) => 0,
        Some(_) => 1,
        None => 2,
    });
    findings
}

/// Reports whether a version is older than the mends of both published holes.
fn has_known_holes(version: &str) -> bool {
    Version::parse(version).is_some_and(|version| {
        version < Version(2, 11, 15) || (Version(2, 12, 0)..Version(2, 12, 6)).contains(&version)
    })
}

/// Adds what is wrong with one stream; all are kept by so many servers.
fn stream_findings(
    stream: Stream,
    info: Option<&Info>,
    replicas: u64,
    version: &str,
    findings: &mut Vec<Finding>,
) {
    let wrong = Some(Kind::Unsafe);
    let name = stream.name();
    let Some(info) = info else {
        let text = format!("the stream {name} is lost");
        findings.push(finding(wrong, "stream_lost", text, RESTORE));
        return;
    };
    let differences = stream::differences(&stream::settings(stream, replicas), &info.config);
    if !differences.is_empty() {
        let text = format!("the stream {name} was changed: {}", differences.join("; "));
        let hint = "another program changed it: put its settings back";
        findings.push(finding(wrong, "stream_changed", text, hint));
    }
    if !info.is_led() {
        let text = format!("the stream {name} has no leader, so nothing can be written");
        let hint = "see whether most of the servers run";
        findings.push(finding(Some(Kind::Busy), "no_leader", text, hint));
    }
    for follower in info.followers.iter().filter(|follower| !follower.current) {
        let text = format!("{} does not keep up with the stream {name}", follower.name);
        let hint = "see whether that server runs: until then one more must not fail";
        findings.push(finding(None, "replica_behind", text, hint));
    }
    let (bytes, room) = (info.bytes, info.max_bytes());
    if room > 0 && bytes.saturating_add(RECORD_MAX as u64) > room {
        let text = format!("the stream {name} is full: it has {bytes} of {room} bytes");
        let hint =
            "zeta cluster compact removes what nobody needs; until then nothing new is taken";
        findings.push(finding(wrong, "full", text, hint));
    } else if room > 0 && bytes.saturating_mul(100) >= room.saturating_mul(NEARLY_FULL) {
        let text = format!("the stream {name} has {bytes} of {room} bytes");
        let hint = match Version::parse(version).is_some_and(|version| version < REFUSES_NEW) {
            true => {
                "a server of this version drops its oldest values soon, with leases that are \
                     held: zeta cluster compact removes what nobody needs"
            }
            false => "when it is full, nothing new is taken: zeta cluster compact makes room",
        };
        findings.push(finding(None, "nearly_full", text, hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meta() -> Meta {
        Meta::new("0".repeat(32).parse().unwrap(), true, 1000, 0)
    }

    fn infos(replicas: u64, change: impl Fn(&str, &mut Value)) -> Vec<Option<Info>> {
        let one = |stream: Stream| {
            let (name, config) = (stream.name(), stream::settings(stream, replicas));
            let mut answer = json!({ "config": config, "state": { "messages": 1, "bytes": 100 } });
            change(name, &mut answer);
            (!answer.is_null()).then(|| Info::of(&answer))
        };
        stream::ALL.into_iter().map(one).collect()
    }

    fn words(
        found: &[Option<Info>],
        meta: Option<&Meta>,
        version: &str,
    ) -> (Vec<&'static str>, u8) {
        let findings = findings(found, meta, None, version);
        let words = findings.iter().map(|finding| finding.word).collect();
        let status = Status {
            servers: String::new(),
            server_name: String::new(),
            version: version.to_owned(),
            account: Account::Store,
            meta: None,
            power_safe: PowerSafe::Unknown,
            streams: Vec::new(),
            findings,
        };
        (words, status.exit_status())
    }

    #[test]
    fn each_fault_has_its_word_and_its_exit_status() {
        let (meta, mut later) = (meta(), meta());
        (later.held.wire_min, later.held.wire_max) = (WIRE + 1, WIRE + 2);
        let lease = |change: fn(&mut Value)| {
            infos(3, move |name, answer| {
                if name == "ZETA1_LEASE" {
                    change(answer)
                }
            })
        };
        let good = infos(3, |_, _| {});
        let cluster = |answer: &mut Value| {
            let behind = json!([{ "name": "n2", "current": false, "lag": 3 }]);
            answer["cluster"] = json!({ "leader": "n1", "replicas": behind });
        };
        for (found, meta, version, wanted, status) in [
            (good.clone(), Some(&meta), "2.15.1", vec![], 0),
            (good.clone(), Some(&meta), "2.9.10", vec!["several_winners", "known_holes"], 7),
            (infos(1, |_, _| {}), Some(&meta), "2.9.10", vec!["known_holes"], 0),
            (infos(1, |_, _| {}), Some(&meta), "2.12.5", vec!["known_holes"], 0),
            (infos(1, |_, _| {}), Some(&meta), "2.11.15", vec![], 0),
            (infos(1, |_, _| {}), Some(&later), "2.15.1", vec!["other_version"], 7),
            (good, None, "2.15.1", vec!["record_lost"], 7),
            (vec![None, None, None, None], None, "2.9.10", vec!["not_initialized"], 7),
            (lease(|a| *a = Value::Null), Some(&meta), "2.15.1", vec!["stream_lost"], 7),
            (
                lease(|a| a["config"]["max_age"] = 7.into()),
                Some(&meta),
                "2.15.1",
                vec!["stream_changed"],
                7,
            ),
            (
                lease(|a| a["cluster"] = json!({ "leader": "" })),
                Some(&meta),
                "2.15.1",
                vec!["no_leader"],
                6,
            ),
            (lease(cluster), Some(&meta), "2.15.1", vec!["replica_behind"], 0),
            (
                lease(|a| a["state"]["bytes"] = 60_000_000.into()),
                Some(&meta),
                "2.15.1",
                vec!["nearly_full"],
                0,
            ),
            (
                lease(|a| a["state"]["bytes"] = 67_108_000.into()),
                Some(&meta),
                "2.15.1",
                vec!["full"],
                7,
            ),
        ] {
            assert_eq!(words(&found, meta, version), (wanted, status), "{version}");
        }
    }

    #[test]
    fn power_is_safe_only_where_each_server_that_keeps_a_stream_says_so() {
        use PowerSafe::{No, Unknown, Yes};
        let said = |server: &str, syncs_always| Said { server: server.to_owned(), syncs_always };
        let keepers: BTreeSet<String> = ["n1", "n2"].map(str::to_owned).into();
        for (version, keepers, said, wanted) in [
            ("2.9.25", &keepers, vec![], No),
            ("2.9.25", &keepers, vec![said("n1", true), said("n2", true)], No),
            ("2.10.0", &keepers, vec![said("n1", true), said("n2", true)], Yes),
            ("2.10.0", &keepers, vec![said("n1", true), said("n2", false)], No),
            ("2.10.0", &keepers, vec![said("n2", false)], No),
            ("2.10.0", &keepers, vec![said("n1", true), said("n3", true)], Unknown),
            ("2.10.0", &keepers, vec![said("n1", true), said("n1", true)], Unknown),
            ("2.10.0", &keepers, vec![], Unknown),
            ("newest", &keepers, vec![], Unknown),
            // Another server says nothing about this cluster.
            ("2.10.0", &keepers, vec![said("n3", false)], Unknown),
            ("2.10.0", &BTreeSet::new(), vec![said("n1", true)], Unknown),
        ] {
            assert_eq!(judge_power(version, keepers, &said), wanted, "{version}, {said:?}");
        }
    }
}
