//! The lines to and from the client: which answers were written, and how many requests may be open
//! before more are read.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::worker::{Handle, Job};

/// How many requests may be open: read, and not answered by a line that was written.
const OPEN_MAX: usize = 256;
/// How long a client may take to read an answer when so many are open.
const UNREAD_LIMIT: Duration = Duration::from_secs(10);
/// How long the end waits for a line that is being written.
const CLOSE_LIMIT: Duration = Duration::from_millis(100);

/// A transport that reports to the worker what was written.
pub struct Reporting<T> {
    inner: T,
    worker: Handle,
    room: Arc<Semaphore>,
    open: Open,
}

/// The requests that are open.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<RequestId, OwnedSemaphorePermit>>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, OwnedSemaphorePermit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reporting<T> {
    /// Wraps a transport.
    pub fn new(inner: T, worker: Handle) -> Reporting<T> {
        let (room, open) = (Arc::new(Semaphore::new(OPEN_MAX)), Open::default());
        Reporting { inner, worker, room, open }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Reporting<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        let (answered, call) = match &item {
            JsonRpcMessage::Response(response) => (Some(response.id.clone()), true),
            JsonRpcMessage::Error(error) => (error.id.clone(), false),
            _ => (None, false),
        };
        let (open, worker) = (self.open.clone(), self.worker.clone());
        let written = self.inner.send(item);
        async move {
            let written = written.await;
            if let Some(id) = answered {
                open.lock().remove(&id);
                if written.is_ok() && call {
                    worker.send(Job::Written(id));
                }
            }
            written
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        // A client that asks on and reads nothing cannot be served: that is its end.
        let room = tokio::time::timeout(UNREAD_LIMIT, self.room.clone().acquire_owned());
        let room = room.await.ok()?.ok()?;
        let message = self.inner.receive().await?;
        match &message {
            JsonRpcMessage::Request(request) => {
                self.open.lock().entry(request.id.clone()).or_insert(room);
            }
            JsonRpcMessage::Notification(note) => {
                // The library drops the answer to it.
                if let ClientNotification::CancelledNotification(cancelled) = &note.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.open.lock().remove(id);
                }
            }
            _ => {}
        }
        Some(message)
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        // It waits for a line that is being written, which a client that does not read never takes.
        tokio::time::timeout(CLOSE_LIMIT, self.inner.close()).await.unwrap_or(Ok(()))
    }
}
