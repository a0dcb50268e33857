//! Waits until a descriptor is readable, in the runtime of the bridge.

use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zeta_os::error::{Error, Kind, Result};

/// A descriptor that the runtime looks at. It is a copy, so that its owner can change meanwhile.
#[derive(Debug, Default)]
pub(super) struct Readable(Option<AsyncFd<OwnedFd>>);

impl Readable {
    /// Looks at a descriptor; at none, if there is none.
    ///
    /// # Errors
    /// The descriptors of this process are used up.
    pub(super) fn new(fd: Option<BorrowedFd<'_>>) -> Result<Readable> {
        let Some(fd) = fd else { return Ok(Readable(None)) };
        #[expect(deprecated, reason = "its successor is unsafe, which an owned descriptor is not")]
        let watched = fd
            .try_clone_to_owned()
            .and_then(|copy| AsyncFd::with_interest(copy, Interest::READABLE));
        let watched = watched.map_err(|error| {
            Error::new(Kind::Fault, format!("cannot wait for a descriptor: {error}"))
        })?;
        Ok(Readable(Some(watched)))
    }

    /// Waits until there is something new to read. All of it must be read then, before the next
    /// call.
    pub(super) async fn changed(&self) {
        match &self.0 {
            Some(fd) => match fd.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}
