//! The lines to and from the client: which answers were written, and how many may stand before a
//! client that does not read.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::Semaphore;

use crate::worker::{Handle, Job};

/// How many messages to the client may wait to be written.
const UNWRITTEN_MAX: usize = 256;
/// How long a client may ask and not read, when so many wait.
const UNREAD_LIMIT: Duration = Duration::from_secs(10);

/// A transport that reports to the worker.
pub struct Reporting<T> {
    inner: T,
    worker: Handle,
    room: Arc<Semaphore>,
}

impl<T> Reporting<T> {
    /// Wraps a transport.
    pub fn new(inner: T, worker: Handle) -> Reporting<T> {
        Reporting { inner, worker, room: Arc::new(Semaphore::new(UNWRITTEN_MAX)) }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Reporting<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        let call = match &item {
            JsonRpcMessage::Response(response) => Some(response.id.clone()),
            _ => None,
        };
        // Beyond the room, what is there to be written is written, and nothing more is read.
        let room = self.room.clone().try_acquire_owned();
        let (written, worker) = (self.inner.send(item), self.worker.clone());
        async move {
            let written = written.await;
            drop(room);
            if let (Ok(()), Some(call)) = (&written, call) {
                worker.send(Job::Written(call));
            }
            written
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        // A client that asks on and reads nothing has ended, as far as it can be served.
        let room = tokio::time::timeout(UNREAD_LIMIT, self.room.acquire()).await;
        drop(room.ok()?);
        self.inner.receive().await
    }

    fn close(&mut self) -> impl Future<Output = Result<(), T::Error>> + Send {
        self.inner.close()
    }
}
