//! The leases of the cluster over NATS: a [`Store`] for the verbs of leases.
//!
//! One value stands under the subjects of a lease. A write expects its sequence and is signed; what
//! is read counts only if the key of its node signed it. News come from the feed of the stream, and
//! are hints.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use serde_json::Value;
use zeta_core::cluster::envelope::Trust;
use zeta_core::cluster::lease::{Answer, Entry, Terms, Write};
use zeta_core::cluster::subject::{Item, LIVE, MAJOR, Stream, Subject, lease_pattern};
use zeta_core::name::{Label, RecordName};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::lease::cluster::Store;

use crate::api::{Info, of_server};
use crate::gate;
use crate::member::Member;
use crate::pause;
use crate::setting::Setting;
use crate::store::Written;

/// For so long the record of the cluster is not read again.
pub(crate) const FRESH: Duration = Duration::from_secs(5);
/// The header with the sequence of a value that the feed brings.
const SEQUENCE: &str = "Nats-Sequence";

/// The leases of the cluster, over one connection.
#[derive(Debug)]
pub struct Leases {
    member: Member,
    /// When the record of the cluster was read.
    read: Instant,
    /// The clock of the server in µs, and the boot clock at which it was read: the wall clock of
    /// this machine may jump.
    server: (i64, u64),
    feed: Option<(RecordName, Subscriber)>,
}

/// Opens the leases of the cluster for the node whose identity stands in `dir`. At the first use of
/// a version of a server it is proven that only one of several writers wins there.
///
/// # Errors
/// This machine has joined no cluster; no server is reached within the limit; the server may not
/// keep leases.
pub fn open(setting: &Setting, dir: &Path, limit: Duration) -> Result<Box<dyn Store>> {
    // Before the record of the cluster is read: it must not seem younger than it is.
    let read = Instant::now();
    let member = Member::open_within(setting, dir, limit)?;
    let (info, server) = look(&member, dir)?;
    gate::pass(&member, dir, info.replicas())?;
    Ok(Box::new(Leases { member, read, server, feed: None }))
}

/// Looks at the stream of the leases, and at the clock of its server.
fn look(member: &Member, dir: &Path) -> Result<(Info, (i64, u64))> {
    let info = |stream: Stream| {
        let verb = format!("STREAM.INFO.{}", stream.name());
        let asked = member.store().block(|connection| connection.read(&verb, &Value::Null))?;
        let answer = asked.map_err(|trouble| trouble.explain("cannot look at the leases"))?;
        Ok::<Info, Error>(Info::of(&answer))
    };
    let here = host::reading();
    let leases = info(Stream::Lease)?;
    let until_us = member.meta().0.held.no_grant_before_us;
    let server_us = match leases.server_us() {
        Some(server_us) => server_us,
        None if until_us <= 0 => here.wall_us,
        // Servers before 2.10 do not say it, and the wall clock of this machine must not end the
        // time without grants. What the server took last tells that it is at least so late.
        None => {
            let seen_us = leases.last_us.max(info(Stream::State)?.last_us).unwrap_or(0);
            let is_over = seen_us >= until_us || pause::is_over(member, dir)?;
            if is_over { here.wall_us.max(until_us) } else { seen_us }
        }
    };
    Ok((leases, (server_us, here.boot_ns)))
}

impl Leases {
    fn subject(&self, lease: &RecordName) -> String {
        match self.member.meta().0.lease_by_pattern {
            true => lease_pattern(lease),
            false => Subject::Lease { name: lease.clone(), node: None }.to_string(),
        }
    }

    /// Returns the writer and the bytes of a value, as far as they are to be believed.
    fn open(&self, lease: &RecordName, stored: crate::Stored) -> Result<Entry> {
        let again = stored.clone();
        let mut opened = self.member.signer().open(stored)?;
        if let Ok(received) = &opened
            && received.trust == Trust::UnknownKey
        {
            // Its card has the key, if the operator does not name all keys.
            self.read_card(&received.envelope.node)?;
            opened = self.member.signer().open(again)?;
        }
        Ok(match opened {
            Ok(received)
                if received.trust.is_verified()
                    && matches!(&received.subject, Subject::Lease { name, .. } if name == lease) =>
            {
                Entry::read(&received.body, lease, &received.envelope.node)
            }
            _ => Entry::Unreadable,
        })
    }

    fn read_card(&self, node: &Label) -> Result<()> {
        let card = Subject::State { node: node.clone(), item: Item::Card };
        if let Some(stored) = self.member.store().last(Stream::State.name(), &card.to_string())? {
            let _ = self.member.signer().open(stored)?;
        }
        Ok(())
    }

    /// Subscribes to the news of a lease; false if they were subscribed to already.
    fn follow(&mut self, lease: &RecordName) -> Result<bool> {
        if self.feed.as_ref().is_some_and(|(followed, _)| followed == lease) {
            return Ok(false);
        }
        let subject = self.subject(lease);
        let rest = subject.strip_prefix(MAJOR).unwrap_or_default().trim_start_matches('.');
        let live = format!("{LIVE}{rest}");
        let feed = self.member.store().block(|connection| connection.follow(live.clone()))?;
        let feed = feed.map_err(|trouble| trouble.explain(&format!("cannot follow {live}")))?;
        self.feed = Some((lease.clone(), feed));
        Ok(true)
    }
}

impl Store for Leases {
    fn terms(&mut self, limit: Duration) -> Result<Terms> {
        if self.read.elapsed() > FRESH {
            self.member.store().limit(limit);
            let read = Instant::now();
            self.member.read_meta()?;
            if self.member.meta().0.held.no_grant_before_us > 0 {
                self.server = look(&self.member, &self.member.identity().dir)?.1;
            }
            self.read = read;
        }
        let held = &self.member.meta().0.held;
        let (server_us, then_ns) = self.server;
        let since_us = host::reading().boot_ns.saturating_sub(then_ns) / 1000;
        let since_us = i64::try_from(since_us).unwrap_or(i64::MAX);
        Ok(Terms {
            node: self.member.identity().node.clone(),
            tree: String::new(),
            epoch: held.epoch,
            floor: held.floor,
            no_grant_before_us: held.no_grant_before_us,
            max_ttl_ms: held.max_ttl_ms,
            removed_up_to: held.removed_up_to(Stream::Lease),
            server_us: server_us.saturating_add(since_us),
        })
    }

    fn read(&mut self, lease: &RecordName, limit: Duration) -> Result<(u64, Entry)> {
        let store = self.member.store();
        store.limit(limit);
        match store.last(Stream::Lease.name(), &self.subject(lease))? {
            None => Ok((0, Entry::Absent)),
            Some(stored) => Ok((stored.sequence, self.open(lease, stored)?)),
        }
    }

    fn write(&mut self, lease: &RecordName, write: &Write, limit: Duration) -> Result<Answer> {
        let Some(text) = write.entry.render() else {
            return Err(Error::new(Kind::Fault, "neither a grant nor an end is to be written"));
        };
        self.member.store().limit(limit);
        Ok(match self.member.write_lease(lease, write.expected, text.as_bytes())? {
            Written::Stored(revision) => Answer::Accepted { revision },
            Written::Conflict => Answer::Refused,
            Written::Unknown(_) => Answer::Unknown,
        })
    }

    fn wait(&mut self, lease: &RecordName, revision: u64, limit: Duration) -> Result<bool> {
        let until = Instant::now() + limit;
        // What came before the subscription does not come with it.
        if self.follow(lease)? && self.read(lease, limit)?.0 != revision {
            return Ok(true);
        }
        let Some((_, feed)) = &mut self.feed else { return Ok(false) };
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            match self.member.store().block_within(rest, |_| feed.next())? {
                Err(_) => return Ok(false),
                Ok(None) => {
                    self.feed = None;
                    return Err(Error::new(Kind::Busy, "the connection to the cluster ended"));
                }
                Ok(Some(message)) => {
                    let headers = message.headers.as_ref();
                    let number = headers.and_then(|headers| of_server(headers, SEQUENCE));
                    let sequence = number.and_then(|number| number.parse::<u64>().ok());
                    if sequence.is_none_or(|sequence| sequence > revision) {
                        return Ok(true);
                    }
                }
            }
        }
    }
}
