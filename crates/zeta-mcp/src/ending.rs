//! The ends of a client: its side of the pipe is closed, it sends a signal, or it is dead. Each
//! ends this process at once, and what it holds is released before.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use zeta_os::inotify::poll_readable;
use zeta_os::process;
use zeta_os::signal::Signals;

use crate::worker::{Handle, Job};

/// How long the release of everything may take after the client has died.
const LIMIT: Duration = Duration::from_millis(150);

/// The end of the client, which all that waits for it sees.
#[derive(Debug)]
pub struct End {
    worker: Handle,
    ended: watch::Sender<bool>,
}

impl End {
    /// Makes an end that has not come.
    pub fn new(worker: Handle) -> End {
        End { worker, ended: watch::Sender::new(false) }
    }

    /// Returns when the client has ended.
    pub async fn come(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// The client closed its side: what it asked before is answered, without waiting any more. The
    /// end of the worker comes after that.
    fn closed(&self) {
        if !self.ended.send_replace(true) {
            self.worker.send(Job::Closed);
        }
    }
}

/// Ends this process when the process that started it has ended, also where another one keeps the
/// pipe open, and when a signal says so.
pub fn watch(worker: Handle, signals: Signals) {
    let parent = process::watch(&process::identify(std::os::unix::process::parent_id()));
    let wait = move || {
        let mut fds = vec![signals.fd()];
        fds.extend(parent.iter().map(AsFd::as_fd));
        while !poll_readable(&fds, Duration::from_secs(3600)).contains(&true) {}
        worker.end_now();
        // No answer has a reader any more. If the release takes longer, the end of this process
        // frees what it holds.
        let until = Instant::now() + LIMIT;
        while !worker.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::process::exit(0);
    };
    // Without the thread, the end of the pipe still ends this process.
    let _ = std::thread::Builder::new().spawn(wait);
}

/// Standard input, whose end is noticed before the protocol's own code waits for calls to finish.
pub struct EndReader<R> {
    inner: R,
    end: Arc<End>,
}

impl<R> EndReader<R> {
    /// Wraps a reader.
    pub fn new(inner: R, end: Arc<End>) -> EndReader<R> {
        EndReader { inner, end }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for EndReader<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) if buf.filled().len() == before => this.end.closed(),
            Poll::Ready(Err(_)) => this.end.closed(),
            _ => {}
        }
        read
    }
}
