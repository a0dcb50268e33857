//! `zeta cluster init`: makes the streams and the record of a cluster, once.
//!
//! Any number of callers may do it at once; all of them end with the same cluster. Nothing else
//! makes a stream: one that is missing later was lost, and is no first start.

use std::time::Instant;

use zeta_core::cluster::Id;
use zeta_core::cluster::envelope;
use zeta_core::cluster::subject::{Stream, Subject};
use zeta_core::time::{format_duration, format_utc};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;

use crate::api::{Info, Write};
use crate::connection::{Connection, DEADLINE, LOOK};
use crate::gate::{self, Proof};
use crate::meta::{MAX_TTL_DEFAULT_MS, Meta};
use crate::store::Store;
use crate::stream;
use crate::trouble::Trouble;

/// What to do where a part of a cluster was lost.
pub(crate) const RESTORE: &str = "bring back the store of the servers; if it is gone for good: \
                                  zeta cluster init --after-loss, on a machine that has joined";

/// A cluster that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialized {
    /// Its record.
    pub meta: Meta,
    /// Whether this call made the cluster.
    pub created: bool,
    /// The streams that were made again after a loss, if the call was for that.
    pub restored: Option<Vec<&'static str>>,
    /// How many servers keep each stream.
    pub replicas: u64,
    /// The servers that were named.
    pub servers: String,
    /// The version of the server that answered.
    pub version: String,
    /// What this call proved about the server; `None` if the cluster was there before.
    pub proof: Option<Proof>,
}

/// What a caller asks of a new cluster. `None` takes what is there, or the default.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// How many servers keep each stream.
    pub replicas: Option<u64>,
    /// The longest TTL of a lease, in ms. For as long no lease is granted after a loss.
    pub max_ttl_ms: Option<u64>,
    /// The cluster that the calling machine has joined.
    pub member_of: Option<Id>,
}

/// Makes the cluster, or finds it.
///
/// # Errors
/// The server has no JetStream, may not keep the cluster, or has streams of other settings; parts
/// of a cluster were lost; the calling machine is in a cluster that is not there; it is there, and
/// has another longest TTL than was asked for.
pub fn init(store: &Store, asked: Asked) -> Result<Initialized> {
    store.block(|connection| run(connection, asked))?
}

async fn run(connection: &Connection, asked: Asked) -> Result<Initialized> {
    check_jetstream(connection).await?;
    let found = look(connection).await?;
    let meta = read_meta(connection, found.last().is_some_and(Option::is_some)).await?;
    let there = || found.iter().flatten().map(Info::replicas).next();
    let replicas = asked.replicas.or_else(there).unwrap_or(1);
    for (stream, info) in stream::ALL.into_iter().zip(&found) {
        if let Some(info) = info {
            check_settings(stream, replicas, info)?;
        }
    }
    let done = |meta, created, proof| Initialized {
        meta,
        created,
        restored: None,
        replicas,
        servers: connection.servers().to_string(),
        version: connection.server().1,
        proof,
    };
    match decide_start(&found, meta)? {
        Start::Done(meta) => {
            check_ttl(asked.max_ttl_ms, &meta)?;
            Ok(done(meta, false, None))
        }
        Start::Create => {
            refuse_anew(&asked, connection)?;
            let proof = gate::examine(connection, replicas).await?;
            for stream in stream::ALL {
                create(connection, stream, replicas).await?;
            }
            let (meta, created) = write_meta(connection, proof.by_pattern, &asked).await?;
            check_ttl(asked.max_ttl_ms, &meta)?;
            Ok(done(meta, created, Some(proof)))
        }
    }
}

/// A machine that has joined a cluster makes no other one: a holder may still count on a lease of
/// the lost store while the new one grants it to another agent.
fn refuse_anew(asked: &Asked, connection: &Connection) -> Result<()> {
    let Some(cluster) = &asked.member_of else { return Ok(()) };
    let servers = connection.servers();
    let text = format!("this machine is in the cluster {cluster}, which is not at {servers}");
    Err(Error::new(Kind::Unsafe, text)
        .hint("bring back the store of its servers: leases that it granted may still be held")
        .hint("if they lost it: zeta cluster init --after-loss"))
}

/// The longest TTL is chosen once: nodes reckon with it.
pub(crate) fn check_ttl(asked_ms: Option<u64>, meta: &Meta) -> Result<()> {
    let found_ms = meta.held.max_ttl_ms;
    match asked_ms {
        Some(asked_ms) if asked_ms != found_ms => {
            let (found, asked) = (format_duration(found_ms), format_duration(asked_ms));
            let text =
                format!("the cluster is there, with {found} as the longest TTL, not {asked}");
            Err(Error::new(Kind::Unsafe, text).hint("leave out --max-ttl: it is chosen once"))
        }
        _ => Ok(()),
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// The cluster is there.
    Done(Meta),
    /// It was never complete.
    Create,
}

/// Decides by the streams, in the order of [`stream::ALL`], and the record.
fn decide_start(found: &[Option<Info>], meta: Option<Meta>) -> Result<Start> {
    let names = stream::ALL.into_iter().map(Stream::name).zip(found);
    let lost = |text: String| {
        Err(Error::new(Kind::Unsafe, text)
            .hint("zeta makes no new cluster over the rest of an old one")
            .hint(RESTORE)
            .hint("for a new cluster take another account or server"))
    };
    match meta {
        Some(meta) => {
            let missing: Vec<&str> =
                names.filter(|(_, info)| info.is_none()).map(|(name, _)| name).collect();
            match missing.is_empty() {
                true => Ok(Start::Done(meta)),
                false => lost(format!(
                    "the cluster {}, made on {}, lost the stream {}",
                    meta.held.cluster,
                    format_utc(meta.created_us),
                    missing.join(", ")
                )),
            }
        }
        None => {
            let mut used = names.filter(|(_, info)| info.as_ref().is_some_and(|i| i.messages > 0));
            match used.next() {
                Some((name, _)) => lost(format!(
                    "the stream {name} has records, but the record of the cluster is lost"
                )),
                None => Ok(Start::Create),
            }
        }
    }
}

/// Asks whether JetStream is there at all.
pub(crate) async fn check_jetstream(connection: &Connection) -> Result<()> {
    let doing = || format!("cannot use JetStream at {}", connection.servers());
    let asked = connection.read("INFO", &serde_json::Value::Null).await;
    asked.map(|_| ()).map_err(|trouble| trouble.explain(&doing()))
}

/// Looks at each stream, in the order of [`stream::ALL`].
pub(crate) async fn look(connection: &Connection) -> Result<Vec<Option<Info>>> {
    let mut found = Vec::with_capacity(stream::ALL.len());
    for name in stream::ALL.map(Stream::name) {
        let info = connection.info(name).await;
        found.push(info.map_err(|trouble| trouble.explain(&looking(name)))?);
    }
    Ok(found)
}

fn looking(name: &str) -> String {
    format!("cannot look at the stream {name}")
}

/// Reads the record of the cluster, if its stream is there.
pub(crate) async fn read_meta(connection: &Connection, is_there: bool) -> Result<Option<Meta>> {
    Ok(read_meta_at(connection, is_there).await?.map(|(meta, _)| meta))
}

/// As [`read_meta`], with the revision.
pub(crate) async fn read_meta_at(
    connection: &Connection,
    is_there: bool,
) -> Result<Option<(Meta, u64)>> {
    if !is_there {
        return Ok(None);
    }
    let stored = connection.last(Stream::Meta.name(), &Subject::Meta.to_string()).await;
    let Some(stored) = stored.map_err(|t| t.explain("cannot read the record of the cluster"))?
    else {
        return Ok(None);
    };
    match Meta::read(&stored.body) {
        Ok(meta) => Ok(Some((meta, stored.sequence))),
        Err(damage) => Err(Error::new(
            Kind::Unsafe,
            format!("the record of the cluster (message {}) is damaged: {damage}", stored.sequence),
        )
        .hint(
            "a later version of zeta may have written it; else bring back the store of the servers",
        )),
    }
}

/// Refuses a stream that is not as zeta makes it.
pub(crate) fn check_settings(stream: Stream, replicas: u64, info: &Info) -> Result<()> {
    let wanted = stream::settings(stream, replicas);
    let differences = stream::differences(&wanted, &info.config);
    if differences.is_empty() {
        return Ok(());
    }
    let text =
        format!("the stream {} is not as zeta needs it: {}", stream.name(), differences.join("; "));
    let hint = match differences.iter().any(|one| one.starts_with("num_replicas")) {
        true => "name the number of replicas that it has: --replicas",
        false => {
            "another program made or changed it, or the server is too old for a setting: take \
                  another account or server for zeta"
        }
    };
    Err(Error::new(Kind::Unsafe, text).hint(hint))
}

/// Creates a stream, or finds the one that another call created, and waits until it can be written.
pub(crate) async fn create(connection: &Connection, stream: Stream, replicas: u64) -> Result<()> {
    let name = stream.name();
    let request = stream::request(&stream::settings(stream, replicas), host::wall_us());
    let doing = || format!("cannot create the stream {name}");
    let created = match connection.create(name, &request).await {
        Ok(info) => Ok(info),
        // Another call created it with its own first sequence, or the answer was lost.
        Err(trouble) if trouble.is(Trouble::STREAM_EXISTS) => Err(trouble),
        Err(trouble @ Trouble::Unknown(_)) => Err(trouble),
        Err(trouble) => return Err(trouble.explain(&doing())),
    };
    match (settle(connection, name, created.as_ref().ok()).await?, created) {
        (Some(info), _) => check_settings(stream, replicas, &info),
        (None, Ok(_)) => Err(Error::new(Kind::Busy, format!("the stream {name} has no leader"))
            .hint("see whether most of the servers run, then repeat the call")),
        (None, Err(trouble)) => Err(trouble.explain(&doing())),
    }
}

/// Waits until a stream is there and led: servers that keep it together agree on it first. `None`
/// if that does not come in time.
async fn settle(
    connection: &Connection,
    name: &str,
    created: Option<&Info>,
) -> Result<Option<Info>> {
    let begun = Instant::now();
    let mut seen = created.cloned();
    loop {
        if seen.as_ref().is_some_and(Info::is_led) {
            return Ok(seen);
        }
        if begun.elapsed() > DEADLINE {
            return Ok(None);
        }
        tokio::time::sleep(LOOK).await;
        seen = connection.info(name).await.map_err(|t| t.explain(&looking(name)))?;
    }
}

/// Writes the record of the cluster, or reads that of another call; and whether it was this one.
async fn write_meta(
    connection: &Connection,
    lease_by_pattern: bool,
    asked: &Asked,
) -> Result<(Meta, bool)> {
    let max_ttl_ms = asked.max_ttl_ms.unwrap_or(MAX_TTL_DEFAULT_MS);
    let meta = Meta::new(new_id()?, lease_by_pattern, max_ttl_ms, host::wall_us());
    let (subject, body) = (Subject::Meta.to_string(), meta.render());
    let version = envelope::MINOR.to_string();
    let write = Write {
        subject: &subject,
        expected: Some(0),
        expected_on: None,
        headers: &[(envelope::VERSION, &version)],
        body: body.as_bytes(),
    };
    let begun = Instant::now();
    loop {
        let failed = match connection.publish_to_new(write).await {
            Ok(_) => return Ok((meta, true)),
            Err(trouble) => trouble,
        };
        // A conflict, or an answer that was lost: the record says whose it is. Where another write
        // is not applied yet, there is a conflict and no record.
        let is_open = matches!(failed, Trouble::Unknown(_))
            || Trouble::CONFLICTS.iter().any(|code| failed.is(*code));
        let written = if is_open { read_meta(connection, true).await? } else { None };
        if let Some(written) = written {
            let is_own = written.held.cluster == meta.held.cluster;
            return Ok((written, is_own));
        }
        if !is_open || begun.elapsed() > DEADLINE {
            return Err(failed.explain("cannot write the record of the cluster"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn new_id() -> Result<Id> {
    let id = host::random_hex()?.parse();
    id.map_err(|error| Error::new(Kind::Fault, format!("a new id of a cluster: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(messages: u64) -> Option<Info> {
        let answer = serde_json::json!({ "config": {}, "state": { "messages": messages } });
        Some(Info::of(&answer))
    }

    fn meta() -> Meta {
        Meta::new("0".repeat(32).parse().unwrap(), true, 1000, 0)
    }

    #[test]
    fn a_cluster_is_made_only_where_none_was() {
        let none = || vec![None, None, None, None];
        let all = |state| vec![info(state), info(0), info(0), info(1)];
        let decide = |found: Vec<Option<Info>>, meta| decide_start(&found, meta);
        assert_eq!(decide(none(), None), Ok(Start::Create));
        // A call that was killed.
        assert_eq!(decide(vec![info(0), info(0), None, None], None), Ok(Start::Create));
        assert_eq!(decide(vec![info(0), info(0), info(0), info(0)], None), Ok(Start::Create));
        assert_eq!(decide(all(7), Some(meta())), Ok(Start::Done(meta())));
        for (found, record, part) in [
            (vec![info(7), info(0), info(0), None], None, "ZETA1_STATE has records"),
            (vec![info(0), info(0), info(2), info(0)], None, "ZETA1_LEASE has records"),
            (vec![info(7), None, None, info(1)], Some(meta()), "ZETA1_BUS, ZETA1_LEASE"),
        ] {
            let error = decide(found, record).unwrap_err();
            assert_eq!(error.kind, Kind::Unsafe);
            assert!(error.text.contains(part), "{}", error.text);
        }
    }
}
