//! The store of the cluster as blocking functions: reads of the leader, and compare-and-set.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use zeta_os::error::{Error, Kind, Result};

use crate::api::{Stored, Write};
use crate::connection::{CONNECT_ALL, Connection, DEADLINE, late};
use crate::setting::Setting;
use crate::trouble::Trouble;

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is stored, with this sequence.
    Stored(u64),
    /// The last message was not the expected one, so it is not stored.
    Conflict,
    /// It may be stored, or may still be: read the subject, and look for what was written.
    Unknown(String),
}

/// A connection to the store. It is never made again by itself: see [`crate::connection`].
#[derive(Debug)]
pub struct Store {
    runtime: Option<Runtime>,
    connection: Connection,
    /// How long a read or a write may take, in ms.
    limit_ms: AtomicU64,
}

impl Store {
    /// Connects.
    ///
    /// # Errors
    /// No server is reached in a few seconds, it is no NATS server, or it refuses the login.
    pub fn open(setting: &Setting) -> Result<Store> {
        Store::open_within(setting, CONNECT_ALL)
    }

    /// As [`Store::open`], with a limit.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_within(setting: &Setting, limit: Duration) -> Result<Store> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Error::new(Kind::Fault, format!("cannot start a runtime: {error}")))?;
        let connection = runtime.block_on(Connection::open_within(setting, limit));
        match connection {
            Ok(connection) => {
                let limit_ms = AtomicU64::new(ms(DEADLINE));
                Ok(Store { runtime: Some(runtime), connection, limit_ms })
            }
            Err(error) => {
                // A name that no server of names answers would hold this process for seconds.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// From now on a read or a write may take no longer than this, and never longer than ten
    /// seconds.
    pub fn limit(&self, limit: Duration) {
        self.limit_ms.store(ms(limit.min(DEADLINE)), Ordering::Relaxed);
    }

    fn left(&self) -> Duration {
        Duration::from_millis(self.limit_ms.load(Ordering::Relaxed))
    }

    /// Reads the last message of a subject from the leader of its stream. The answer is a hint: a
    /// leader that was cut off answers for seconds more. Only a write decides.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>> {
        let doing = || format!("cannot read {subject} from the stream {stream}");
        let limit = self.left();
        self.block_within(limit, |connection| connection.last(stream, subject))?
            .unwrap_or_else(|_| Err(late(limit)))
            .map_err(|trouble| trouble.explain(&doing()))
    }

    /// Writes a message if the last one is the expected one.
    ///
    /// # Errors
    /// It is certainly not stored: the login may not, the stream is full or missing.
    pub fn write(&self, write: Write<'_>) -> Result<Written> {
        let doing = || format!("cannot write {}", write.subject);
        let limit = self.left();
        let written = self.block_within(limit, |connection| connection.publish(write))?;
        match written.unwrap_or_else(|_| Err(late(limit))) {
            Ok(sequence) => Ok(Written::Stored(sequence)),
            Err(trouble) if Trouble::CONFLICTS.iter().any(|code| trouble.is(*code)) => {
                Ok(Written::Conflict)
            }
            Err(Trouble::Unknown(why)) => Ok(Written::Unknown(why)),
            Err(trouble) => Err(trouble.explain(&doing())),
        }
    }

    /// Runs one step on the connection, for no longer than this.
    pub(crate) fn block_within<'c, T, F>(
        &'c self,
        limit: Duration,
        step: impl FnOnce(&'c Connection) -> F,
    ) -> Result<std::result::Result<T, Elapsed>>
    where
        F: Future<Output = T>,
    {
        // Inside the future: a timer belongs to the runtime that it is made in.
        self.block(|connection| async move { timeout(limit, step(connection)).await })
    }

    /// Runs one step on the connection.
    pub(crate) fn block<'c, T, F>(&'c self, step: impl FnOnce(&'c Connection) -> F) -> Result<T>
    where
        F: Future<Output = T>,
    {
        match &self.runtime {
            Some(runtime) => Ok(runtime.block_on(step(&self.connection))),
            None => Err(Error::new(Kind::Fault, "the connection is closed")),
        }
    }
}

fn ms(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::ZERO);
        }
    }
}
