//! What a server can do, proven on it before anything is trusted to it.
//!
//! Old servers drop what they do not know in silence, and with several replicas those before 2.9.21
//! accept several writers at once. So a scratch stream is raced for, and removed again.

use std::path::Path;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use zeta_core::cluster::subject::MAJOR;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::host;

use crate::api::Write;
use crate::connection::Connection;
use crate::identity;
use crate::member::Member;
use crate::trouble::Trouble;

/// How often callers race, and how many of them.
const ROUNDS: usize = 20;
pub(crate) const RACERS: usize = 8;

/// The file of a node with what it has proven: lines of a cluster, a version and replicas.
const PROVEN_FILE: &str = "proven";
const PROVEN_MAX: u64 = 16 * 1024;
const TEMP: &str = ".proven.";
const PROVING: &str = "cannot prove what the server can do";

/// The first version that lets one writer at a time win with several replicas.
pub(crate) const SERIALIZED: Version = Version(2, 9, 21);

/// The version of a server: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// Reads a version, as in `2.9.10` or `2.12.0-beta.1`.
    pub fn parse(text: &str) -> Option<Version> {
        let plain = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = plain.split('.').map(|part| part.parse().ok());
        Some(Version(parts.next()??, parts.next()??, parts.next()??))
    }
}

/// What was seen on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// How many writers each round accepted; one is right.
    pub accepted: Vec<usize>,
    /// A write is compared with the last one on a whole pattern of subjects. Without that, a lease
    /// of the cluster has one subject for all nodes.
    pub by_pattern: bool,
    /// A message that replaces all others of the stream is refused.
    pub rollup_refused: bool,
}

/// Races on the server and says whether it may keep the cluster with this many replicas.
pub(crate) async fn examine(connection: &Connection, replicas: u64) -> Result<Proof> {
    let examined = try_examine(connection, replicas).await?;
    examined.map_err(|trouble| trouble.explain(PROVING))
}

/// As [`examine`]; the inner trouble is that the scratch stream was not made.
async fn try_examine(
    connection: &Connection,
    replicas: u64,
) -> Result<std::result::Result<Proof, Trouble>> {
    let (stream, subject) = names(&host::random_hex()?);
    let fault = |trouble: Trouble| trouble.explain(PROVING);
    let settings = json!({
        "name": &stream,
        "subjects": [format!("{subject}.>")],
        "num_replicas": replicas,
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_bytes": 1 << 20,
        // If this call is killed, the rest goes by itself, but for an empty stream.
        "max_age": 600_000_000_000_u64,
    });
    // Writers on one connection are served one after another, and prove nothing.
    let mut racers = Vec::with_capacity(RACERS);
    for at in 0..RACERS {
        racers.push(connection.another(at).await?);
    }
    if let Err(trouble) = connection.create(&stream, &settings).await {
        return Ok(Err(trouble));
    }
    let proof = prove(connection, &racers, &subject).await;
    // The proof counts even if the scratch stream stays.
    let _ = connection.change(&format!("STREAM.DELETE.{stream}"), &Value::Null).await;
    let proof = proof.map_err(fault)?;
    judge(&connection.server().1, replicas, &proof)?;
    Ok(Ok(proof))
}

/// The name of a scratch stream, and what its subjects begin with.
fn names(id: &str) -> (String, String) {
    (format!("ZETA1_PROBE_{id}"), format!("{MAJOR}.probe.{id}"))
}

/// Proves that a server may keep leases, at a node's first use of its version. The proof stands in
/// the directory of the identity.
pub(crate) fn pass(member: &Member, dir: &Path, replicas: u64) -> Result<()> {
    let path = dir.join(PROVEN_FILE);
    let (_, version) =
        member.store().block(|connection| std::future::ready(connection.server()))?;
    let line = format!("{} {version} {replicas}\n", member.identity().cluster);
    let known = read_plain(&path, PROVEN_MAX).unwrap_or_default();
    let known = String::from_utf8_lossy(&known).into_owned();
    if known.split_inclusive('\n').any(|proven| proven == line) {
        return Ok(());
    }
    member.store().block(|connection| examine_or_judge(connection, replicas))??;
    // Without the file the next call proves it again.
    let kept = if known.len() + line.len() > PROVEN_MAX as usize { "" } else { &known };
    let _ = identity::keep(&path, TEMP, format!("{kept}{line}").as_bytes());
    Ok(())
}

/// As [`examine`], for a login that may not make a stream: then the version decides.
async fn examine_or_judge(connection: &Connection, replicas: u64) -> Result<()> {
    let (_, version) = connection.server();
    match try_examine(connection, replicas).await? {
        Ok(_) => Ok(()),
        Err(trouble @ Trouble::Unknown(_)) => Err(trouble.explain(PROVING)),
        Err(_) => {
            let hoped = Proof { accepted: vec![1], by_pattern: true, rollup_refused: true };
            judge(&version, replicas, &hoped)
        }
    }
}

async fn prove(
    connection: &Connection,
    racers: &[Connection],
    subject: &str,
) -> std::result::Result<Proof, Trouble> {
    for (at, racer) in racers.iter().enumerate() {
        racer.publish_to_new(scratch(&format!("{subject}.first.{at}"), Some(0))).await?;
    }
    let mut accepted = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        accepted.push(race(racers, &format!("{subject}.race.{round}")).await?);
    }
    let pattern = format!("{subject}.pattern.*");
    let mut patterned = Vec::with_capacity(2);
    for name in ["a", "b"] {
        let on = format!("{subject}.pattern.{name}");
        let write = Write { expected_on: Some(&pattern), ..scratch(&on, Some(0)) };
        patterned.push(is_accepted(connection.publish(write).await)?);
    }
    let on = format!("{subject}.rollup");
    let rollup = Write { headers: &[("Nats-Rollup", "all")], ..scratch(&on, None) };
    let rollup_refused = match connection.publish(rollup).await {
        Ok(_) => false,
        Err(Trouble::Refused { .. }) => true,
        Err(trouble) => return Err(trouble),
    };
    Ok(Proof { accepted, by_pattern: patterned == [true, false], rollup_refused })
}

fn scratch(subject: &str, expected: Option<u64>) -> Write<'_> {
    Write { subject, expected, expected_on: None, headers: &[], body: b"zeta" }
}

/// Lets all writers replace the same message; returns how many of them were accepted. Debian's
/// server serializes those that expect no message at all, and not those that expect one.
async fn race(racers: &[Connection], subject: &str) -> std::result::Result<usize, Trouble> {
    let Some(first) = racers.first() else { return Ok(0) };
    let expected = first.publish(scratch(subject, Some(0))).await?;
    let mut running = JoinSet::new();
    for connection in racers {
        let (connection, subject) = (connection.clone(), subject.to_owned());
        running.spawn(async move { connection.publish(scratch(&subject, Some(expected))).await });
    }
    let mut accepted = 0;
    for answer in running.join_all().await {
        accepted += usize::from(is_accepted(answer)?);
    }
    Ok(accepted)
}

fn is_accepted(answer: std::result::Result<u64, Trouble>) -> std::result::Result<bool, Trouble> {
    match answer {
        Ok(_) => Ok(true),
        Err(trouble) if Trouble::CONFLICTS.iter().any(|code| trouble.is(*code)) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// Says whether a server may keep the cluster; the error names what it did.
fn judge(version: &str, replicas: u64, proof: &Proof) -> Result<()> {
    let most = proof.accepted.iter().copied().max().unwrap_or(0);
    let remedy = match replicas {
        1 => "take another server: nats-server 2.10 or later",
        _ => "take nats-server 2.10 or later on all servers, or one replica: --replicas 1",
    };
    let refuse = |why: String| Err(Error::new(Kind::Unsafe, why).hint(remedy));
    if most > 1 {
        let rounds = proof.accepted.iter().filter(|accepted| **accepted > 1).count();
        return refuse(format!(
            "nats-server {version} with {replicas} replicas lets several writers win at once: up \
             to {most} of {RACERS}, in {rounds} of {ROUNDS} rounds"
        ));
    }
    if most == 0 {
        return refuse(format!("nats-server {version} let none of {RACERS} writers win"));
    }
    // A race that nobody lost proves less than the version does.
    if replicas > 1 && Version::parse(version).is_none_or(|version| version < SERIALIZED) {
        return refuse(format!(
            "nats-server {version} is known to let several writers win with {replicas} replicas"
        ));
    }
    if !proof.rollup_refused {
        return refuse(format!("nats-server {version} lets one message remove all others"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(accepted: &[usize], rollup_refused: bool) -> Proof {
        Proof { accepted: accepted.to_vec(), by_pattern: true, rollup_refused }
    }

    #[test]
    fn a_server_is_judged_by_what_it_did_and_by_what_is_known() {
        let good = [1; ROUNDS];
        let race = |first: [usize; 2]| [first.as_slice(), &good[2..]].concat();
        for (version, replicas, proof, refusal) in [
            ("2.9.10", 1, proof(&good, true), None),
            ("2.9.10", 3, proof(&good, true), Some("is known to let several")),
            ("2.9.21", 3, proof(&good, true), None),
            ("2.15.1", 3, proof(&good, true), None),
            ("2.15.1", 3, proof(&race([2, 3]), true), Some("up to 3 of 8, in 2 of 20 rounds")),
            ("2.15.1", 1, proof(&race([2, 1]), true), Some("up to 2 of 8, in 1 of 20 rounds")),
            ("2.15.1", 1, proof(&[0; ROUNDS], true), Some("none of 8")),
            ("2.15.1", 1, proof(&good, false), Some("remove all others")),
            ("newest", 3, proof(&good, true), Some("newest is known")),
        ] {
            match (judge(version, replicas, &proof), refusal) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => {
                    assert!(error.text.contains(part), "{version}: {}", error.text);
                    assert_eq!((error.kind, error.hints.len()), (Kind::Unsafe, 1));
                }
                (judged, _) => panic!("{version}, {replicas}, {proof:?}: {judged:?}"),
            }
        }
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        let parse = |text| Version::parse(text);
        assert!(parse("2.9.10") < parse("2.9.21") && parse("2.9.21") < parse("2.10.0"));
        assert_eq!(parse("2.12.0-beta.1"), Some(Version(2, 12, 0)));
        for odd in ["", "2", "2.9", "two.9.1", "v2.9.1"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
