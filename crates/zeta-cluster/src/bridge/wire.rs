//! The connection of a bridge, as what it reads and writes: values that are judged and signed.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zeta_core::cluster::envelope::Gone;
use zeta_core::cluster::subject::{Stream, Subject, lease_pattern};
use zeta_core::name::{Label, RecordName};
use zeta_os::error::{Error, Kind};

use crate::api::{Stored, Write};
use crate::connection::Connection;
use crate::meta::Meta;
use crate::signer::{Dropped, Received, Signer};
use crate::trouble::Trouble;

/// Why a connection is given up.
#[derive(Debug)]
pub(super) enum End {
    /// It ended, or a server does not answer: connect again after a while.
    Lost(String),
    /// What is stored is not what it was: connect and read everything again, at once.
    Again(String),
    /// The bridge must not go on.
    Refused(Error),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> End {
        match trouble {
            Trouble::Forbidden(_) => End::Refused(trouble.explain("this login may not do that")),
            trouble => End::Lost(trouble.to_string()),
        }
    }
}

/// An error of this machine, or of a server that is not the right one. Only what may pass is tried
/// again.
impl From<Error> for End {
    fn from(error: Error) -> End {
        match error.kind {
            Kind::Busy => End::Lost(error.text),
            _ => End::Refused(error),
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, End>;

/// A value, or why it is dropped and by which node it may have been written.
pub(super) type Opened = std::result::Result<Received, (Option<Label>, Dropped)>;

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Put {
    /// It is stored, with this sequence.
    Stored(u64),
    /// Another value is the last one.
    Conflict,
    /// It may be stored, or may still be: read the subject.
    Unknown,
    /// The stream, or its server, takes nothing now, for this reason.
    Full(String),
}

/// A connection, and the keys of this node.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) connection: Connection,
    pub(super) signer: Rc<Signer>,
    /// The record of the cluster, and its revision.
    pub(super) meta: Meta,
    pub(super) revision: u64,
}

impl Wire {
    /// Judges a value that was read.
    pub(super) fn open(&self, stored: Stored) -> Result<Opened> {
        // The third token of a state subject, and of a message, names the only node that may write.
        let mut tokens = stored.subject.split('.').skip(1);
        let writer = match (tokens.next(), tokens.next()) {
            (Some("state" | "bus"), Some(node)) => node.parse().ok(),
            _ => None,
        };
        Ok(self.signer.open(stored)?.map_err(|dropped| (writer, dropped)))
    }

    /// Reads the last value of a subject of this node. One that breaks the rules was written by
    /// another hand, and counts as a revision without a value.
    pub(super) async fn last(&self, subject: &Subject) -> Result<Option<(u64, Option<Received>)>> {
        let last = self.connection.last(subject.stream().name(), &subject.to_string()).await?;
        let Some(stored) = last else { return Ok(None) };
        let sequence = stored.sequence;
        Ok(Some((sequence, self.open(stored)?.ok())))
    }

    /// The last number of a stream now. A list ends there: a peer that writes all the time would
    /// make it endless.
    pub(super) async fn last_sequence(&self, stream: Stream) -> Result<u64> {
        let info = self.connection.info(stream.name()).await?;
        Ok(info.map_or(0, |info| info.last_sequence))
    }

    /// Lists the last values of all subjects that fit a pattern.
    pub(super) async fn list(&self, stream: Stream, pattern: &str) -> Result<Vec<Stored>> {
        Ok(self.connection.list(stream.name(), pattern).await?)
    }

    /// Writes a value under a subject of this node, if `expected` is the last sequence.
    pub(super) async fn write(
        &self,
        subject: &Subject,
        expected: u64,
        counter: u64,
        body: &[u8],
        gone: Option<Gone>,
    ) -> Result<Put> {
        self.send(subject, expected, None, counter, body, gone).await
    }

    /// Returns whether the store has a value of a lease.
    pub(super) async fn has_lease(&self, lease: &RecordName) -> Result<bool> {
        let subject = match self.meta.lease_by_pattern {
            true => lease_pattern(lease),
            false => Subject::Lease { name: lease.clone(), node: None }.to_string(),
        };
        Ok(self.connection.last(Stream::Lease.name(), &subject).await?.is_some())
    }

    /// Writes a value of a lease, if `expected` is the last sequence of all nodes.
    pub(super) async fn write_lease(
        &self,
        lease: &RecordName,
        expected: u64,
        body: &[u8],
    ) -> Result<Put> {
        let by_pattern = self.meta.lease_by_pattern;
        let node = by_pattern.then(|| self.signer.identity.node.clone());
        let pattern = by_pattern.then(|| lease_pattern(lease));
        let subject = Subject::Lease { name: lease.clone(), node };
        let counter = self.signer.next_counter();
        self.send(&subject, expected, pattern.as_deref(), counter, body, None).await
    }

    async fn send(
        &self,
        subject: &Subject,
        expected: u64,
        expected_on: Option<&str>,
        counter: u64,
        body: &[u8],
        gone: Option<Gone>,
    ) -> Result<Put> {
        let headers = self.signer.seal(self.meta.held.epoch, counter, subject, body, gone)?;
        self.publish(subject, expected, expected_on, &headers, body).await
    }

    /// Writes a message of this node that has so many ms of its life left.
    pub(super) async fn write_message(
        &self,
        subject: &Subject,
        expected: u64,
        left_ms: u64,
        body: &[u8],
    ) -> Result<Put> {
        let epoch = self.meta.held.epoch;
        let headers = self.signer.seal_message(epoch, subject, body, left_ms)?;
        self.publish(subject, expected, None, &headers, body).await
    }

    async fn publish(
        &self,
        subject: &Subject,
        expected: u64,
        expected_on: Option<&str>,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Put> {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let text = subject.to_string();
        let write = Write {
            subject: &text,
            expected: Some(expected),
            expected_on,
            headers: &headers,
            body,
        };
        match self.connection.publish(write).await {
            Ok(sequence) => Ok(Put::Stored(sequence)),
            Err(trouble) if Trouble::CONFLICTS.iter().any(|code| trouble.is(*code)) => {
                Ok(Put::Conflict)
            }
            Err(trouble) if trouble.is_full() => Ok(Put::Full(trouble.to_string())),
            Err(Trouble::Unknown(_)) => Ok(Put::Unknown),
            Err(trouble) => Err(trouble.into()),
        }
    }
}

/// How long a bridge waits before it connects again: longer each time, and each bridge another
/// time, so that a server that comes back is not met by all at once.
pub(super) fn back_off(attempt: u32, random: u64) -> Duration {
    let longest_ms = (1000_u64 << attempt.min(5)).min(30_000);
    Duration::from_millis(longest_ms / 2 + random % (longest_ms / 2))
}

/// Waits until a moment. One that is there is not waited for: a timer has a tick of 1 ms.
pub(super) async fn due_at(at: Instant) {
    if at > Instant::now() {
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_due_waits_for_no_tick_of_a_timer() {
        let now = Instant::now();
        assert_eq!(due_at(now).now_or_never(), Some(()));
        assert_eq!(due_at(now + Duration::from_secs(60)).now_or_never(), None);
    }

    #[test]
    fn a_bridge_waits_longer_each_time_and_half_a_minute_at_most() {
        assert_eq!(back_off(0, 0), Duration::from_millis(500));
        assert_eq!(back_off(0, 499), Duration::from_millis(999));
        for random in [0, 7, u64::MAX] {
            for attempt in [5, 30, u32::MAX] {
                let wait = back_off(attempt, random);
                assert!((15_000..30_000).contains(&wait.as_millis()), "{wait:?}");
            }
        }
    }
}
