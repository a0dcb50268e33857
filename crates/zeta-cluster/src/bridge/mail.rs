//! The messages of the bus across nodes: where the outbox and the inbox are called from.

use tokio::time::Instant;
use zeta_core::record::Fields;
use zeta_os::error::Result as OsResult;
use zeta_state::context::Context;

use super::wire::{Result, Wire};
use crate::signer::Received;

/// The outbox and the inbox of this node.
#[derive(Debug)]
pub(super) struct Mail {
    /// When there is something to do, if nothing else happens.
    pub(super) due_at: Option<Instant>,
}

impl Mail {
    /// Opens the bus directory of the caller.
    pub(super) fn new(_ctx: &Context) -> OsResult<Mail> {
        Ok(Mail { due_at: None })
    }

    /// Waits until something changed in the bus directory.
    pub(super) async fn changed(&self) {
        std::future::pending().await
    }

    /// Begins on a new connection: reads what came meanwhile, and what the outbox sent last. Also
    /// called when the feed has a gap, and when everything is read again.
    pub(super) async fn begin(&mut self, _wire: &Wire) -> Result<()> {
        Ok(())
    }

    /// Sends what waits in the bus directory: after a change, and when it is due.
    pub(super) async fn send(&mut self, _wire: &Wire) -> Result<()> {
        self.due_at = None;
        Ok(())
    }

    /// Takes a message that another node has sent.
    pub(super) async fn take(&mut self, _wire: &Wire, _value: &Received) -> Result<()> {
        Ok(())
    }

    /// Adds what is told of the mail to the state of the bridge.
    pub(super) fn write_status(&self, _fields: &mut Fields<'_>) {}
}
