//! What the pages are sent: one thread follows the state while at least one page is open, and each
//! page takes what is new for it when its connection has room.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;
use zeta_bus::overview::HISTORY_MAX;
use zeta_core::history::Entry;
use zeta_core::history::json::entry;
use zeta_core::json::Object;
use zeta_core::overview::changes::changes;
use zeta_core::overview::{Overview, json};
use zeta_core::web::{BETWEEN_EVENTS_MS, Event, KEEP_ALIVE_S, decide_event};
use zeta_os::host::wall_us;
use zeta_os::inotify::poll_readable;

/// Where the state comes from; it is opened when a page comes, and closed when the last one goes.
pub trait Source {
    /// Reads the state, and the entries of the history since the last call.
    fn read(&mut self) -> (Overview, Vec<Entry>);

    /// Sleeps until something may have changed or `wake` is readable.
    fn wait(&mut self, wake: BorrowedFd<'_>);
}

/// The state as pages are sent it.
pub struct Feed {
    shown: Mutex<Shown>,
    /// The version that is shown; 0 while no state is known.
    version: watch::Sender<u64>,
    /// Wakes the thread.
    bell: UnixStream,
}

#[derive(Default)]
struct Shown {
    readers: usize,
    has_ended: bool,
    version: u64,
    state: Option<State>,
}

struct State {
    overview: Overview,
    /// Its last entries, as JSON.
    history: VecDeque<String>,
    /// The last event of changes.
    changes: Bytes,
    /// The whole but for its time, made when a page needs it.
    whole: Option<Bytes>,
}

impl Feed {
    /// Starts the thread. It sleeps until a page comes.
    ///
    /// # Errors
    /// There is no thread or no descriptor.
    pub fn start<S: Source>(open: impl Fn() -> S + Send + 'static) -> io::Result<Arc<Feed>> {
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let (shown, version) = (Mutex::default(), watch::Sender::new(0));
        let feed = Arc::new(Feed { shown, version, bell });
        let thread_s = feed.clone();
        thread::Builder::new().spawn(move || follow(&thread_s, &rung, open))?;
        Ok(feed)
    }

    /// A page that has nothing yet.
    pub fn reader(self: &Arc<Feed>) -> Reader {
        self.lock().readers += 1;
        self.ring();
        let version = self.version.subscribe();
        Reader { feed: self.clone(), version, seen: None, rest: VecDeque::new() }
    }

    /// Ends all streams, and the thread.
    pub fn end(&self) {
        self.lock().has_ended = true;
        self.ring();
        self.version.send_modify(|_| ());
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // If there is no room, it rings already.
        let _ = (&self.bell).write(&[0]);
    }

    /// Shows a state; says nothing if it is the one that is shown.
    fn publish(&self, overview: Overview, entries: &[Entry]) {
        let mut shown = self.lock();
        let mut history = Vec::with_capacity(entries.len());
        for new in entries {
            let mut object = Object::new();
            entry(&mut object, new);
            history.push(object.into_text());
        }
        let before = shown.state.take();
        let version = shown.version + 1;
        let (mut kept, changes) = match before {
            None => (VecDeque::new(), Bytes::new()),
            Some(before) => {
                let changes = changes(&before.overview, &overview);
                if changes.is_empty() && history.is_empty() {
                    shown.state = Some(before);
                    return;
                }
                let mut object = json::changes(&changes);
                if !history.is_empty() {
                    object.list("history", history.iter().cloned());
                }
                (before.history, event(version, "changes", &object.into_text()))
            }
        };
        kept.extend(history);
        kept.drain(..kept.len().saturating_sub(HISTORY_MAX));
        shown.version = version;
        shown.state = Some(State { overview, history: kept, changes, whole: None });
        self.version.send_replace(version);
    }

    /// Forgets the state if no page is open; then the thread closes what it follows.
    fn rest_if_unread(&self) -> bool {
        let mut shown = self.lock();
        let rests = shown.readers == 0 || shown.has_ended;
        if rests {
            shown.state = None;
            self.version.send_replace(0);
        }
        rests
    }
}

/// Says that the server is there and what time it is. A page sees no comments, and without this it
/// would take a server that is stopped, or a network that is gone, for one where nothing happens.
fn alive(now_us: i64) -> Bytes {
    format!("event: alive\ndata: {{\"now_us\":{now_us}}}\n\n").into()
}

fn event(version: u64, name: &str, data: &str) -> Bytes {
    format!("id: {version}\nevent: {name}\ndata: {data}\n\n").into()
}

fn follow<S: Source>(feed: &Feed, rung: &UnixStream, open: impl Fn() -> S) {
    let answer_bell = || while (&mut &*rung).read(&mut [0; 64]).is_ok_and(|read| read > 0) {};
    loop {
        answer_bell();
        let (readers, has_ended) = {
            let shown = feed.lock();
            (shown.readers, shown.has_ended)
        };
        if has_ended {
            return;
        }
        if readers == 0 {
            poll_readable(&[rung.as_fd()], Duration::from_secs(24 * 3600));
            continue;
        }
        let mut source = open();
        loop {
            let (overview, entries) = source.read();
            feed.publish(overview, &entries);
            let published = Instant::now();
            source.wait(rung.as_fd());
            answer_bell();
            if feed.rest_if_unread() {
                break;
            }
            // What follows within this time is told together.
            let until = published + Duration::from_millis(BETWEEN_EVENTS_MS);
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// A page that is open.
pub struct Reader {
    feed: Arc<Feed>,
    version: watch::Receiver<u64>,
    seen: Option<u64>,
    /// What is left of the event that is being sent.
    rest: VecDeque<Bytes>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut shown = self.feed.lock();
        shown.readers -= 1;
        if shown.readers == 0 {
            self.feed.ring();
        }
    }
}

impl Reader {
    /// Waits for what this page is to be sent next; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(rest) = self.rest.pop_front() {
                return Some(rest);
            }
            self.version.mark_unchanged();
            self.take()?;
            if !self.rest.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.version.changed() => changed.ok()?,
                () = sleep(Duration::from_secs(KEEP_ALIVE_S)) => {
                    return Some(alive(wall_us()));
                }
            }
        }
    }

    /// Waits for the whole as one object, without a stream; `None` at the end.
    pub async fn whole(mut self) -> Option<Vec<u8>> {
        loop {
            self.version.mark_unchanged();
            {
                let mut shown = self.feed.lock();
                if shown.has_ended {
                    return None;
                }
                if let Some(state) = shown.state.as_mut() {
                    let mut text = begin().into_bytes();
                    text.extend_from_slice(&state.whole());
                    return Some(text);
                }
            }
            self.version.changed().await.ok()?;
        }
    }

    /// Takes what is new for this page, if anything is; `None` at the end.
    fn take(&mut self) -> Option<()> {
        let mut shown = self.feed.lock();
        if shown.has_ended {
            return None;
        }
        let version = shown.version;
        let Some(state) = shown.state.as_mut() else { return Some(()) };
        match decide_event(self.seen, version) {
            Event::Nothing => return Some(()),
            Event::Changes => self.rest.push_back(state.changes.clone()),
            Event::Whole => {
                let head = format!("id: {version}\nevent: overview\ndata: {}", begin());
                self.rest.extend([head.into(), state.whole(), Bytes::from_static(b"\n\n")]);
            }
        }
        self.seen = Some(version);
        Some(())
    }
}

/// The begin of the whole: the time by which a page counts ages.
fn begin() -> String {
    format!("{{\"now_us\":{},", wall_us())
}

impl State {
    fn whole(&mut self) -> Bytes {
        let State { overview, history, whole, .. } = self;
        let made = whole.get_or_insert_with(|| {
            let mut object = Object::new();
            object.raw("overview", &json::overview(overview).into_text());
            object.list("history", history.iter().cloned());
            // It goes on where `begin` ended.
            object.into_text().split_off(1).into()
        });
        made.clone()
    }
}

#[cfg(test)]
mod tests;
