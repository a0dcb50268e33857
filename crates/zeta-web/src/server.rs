//! Accepts connections, so many at once as there is room for, until a signal ends it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use zeta_os::inotify::poll_readable;
use zeta_os::signal::Signals;

use crate::answer::Site;
use crate::stall::Stalling;

/// The most connections at once. A browser has six for a page at most.
const CONNECTIONS_MAX: usize = 64;
/// The bytes that the kernel keeps for a client that does not read; it doubles them. Left to itself
/// it keeps four million.
const KERNEL_BUFFER: usize = 128 * 1024;
/// How long the head of a request may take, and how long a connection may have none.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The most bytes of the head of a request, and of what waits to be written beside one event.
const BUFFER_MAX: usize = 16 * 1024;
/// The rest that is given to open streams at the end.
const END_LIMIT: Duration = Duration::from_millis(300);
/// The pause after an error of `accept`, as when there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until a signal says to end.
pub async fn run(
    listener: std::net::TcpListener,
    site: &Arc<Site>,
    signals: Signals,
) -> io::Result<()> {
    // Each connection inherits it.
    set_socket_send_buffer_size(&listener, KERNEL_BUFFER)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut ended = end_by(signals)?;
    let open = Arc::new(Connections::default());
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serve(stream, site, &open),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    site.end();
    // The streams end by themselves then; who does not read that is cut off.
    let all_closed = async {
        while !open.lock().all.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(END_LIMIT, all_closed).await;
    Ok(())
}

/// Returns what is sent to when a signal came that asks a process to end.
fn end_by(signals: Signals) -> io::Result<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel();
    let wait = move || {
        loop {
            poll_readable(&[signals.fd()], Duration::from_secs(24 * 3600));
            while let Some(signal) = signals.next() {
                if signal.is_to_end() {
                    let _ = end.send(());
                    return;
                }
            }
        }
    };
    thread::Builder::new().spawn(wait)?;
    Ok(ended)
}

#[derive(Default)]
struct Connections(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// By their age.
    all: BTreeMap<u64, Connection>,
    next: u64,
}

struct Connection {
    /// It had the token or the cookie once.
    has_key: Arc<AtomicBool>,
    task: Option<AbortHandle>,
}

/// Takes a connection out of the table when it ends.
struct Entry {
    table: Arc<Connections>,
    number: u64,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.lock().all.remove(&self.number);
    }
}

fn serve(stream: TcpStream, site: &Arc<Site>, open: &Arc<Connections>) {
    let has_key = Arc::new(AtomicBool::new(false));
    let number = {
        let mut table = open.lock();
        if table.all.len() >= CONNECTIONS_MAX && !table.close_one_without_key() {
            // All of them are this person's.
            let _ = stream.try_write(FULL);
            return;
        }
        table.next += 1;
        let number = table.next;
        table.all.insert(number, Connection { has_key: has_key.clone(), task: None });
        number
    };
    let entry = Entry { table: open.clone(), number };
    let task = tokio::spawn(converse(stream, site.clone(), has_key, entry));
    if let Some(connection) = open.lock().all.get_mut(&number) {
        connection.task = Some(task.abort_handle());
    }
}

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
    Connection: close\r\n\r\nzeta: 64 connections are open: close some tabs of this page\n";

impl Table {
    /// Closes the oldest connection that had no key, so that another user of the machine, who can
    /// have all the connections but no key, keeps this person out for no longer than a moment.
    fn close_one_without_key(&mut self) -> bool {
        let mut strangers =
            self.all.iter().filter(|(_, connection)| !connection.has_key.load(Ordering::Relaxed));
        let Some(number) = strangers.next().map(|(number, _)| *number) else { return false };
        if let Some(task) = self.all.remove(&number).and_then(|connection| connection.task) {
            task.abort();
        }
        true
    }
}

async fn converse(stream: TcpStream, site: Arc<Site>, has_key: Arc<AtomicBool>, entry: Entry) {
    let _entry = entry;
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| site.answer(request, &has_key));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(BUFFER_MAX)
        .half_close(false);
    // A client that breaks the rules or goes away is its own affair.
    let _ = protocol.serve_connection(TokioIo::new(Stalling::new(stream)), service).await;
}
