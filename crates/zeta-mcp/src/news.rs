//! What changes in the state directory, for clients that asked to be told.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Once, mpsc};
use std::time::Duration;

use tokio::sync::watch;
use zeta_core::layout;
use zeta_core::mcp::is_news;
use zeta_core::name::Label;
use zeta_os::error::Result;
use zeta_state::presence::view::{Change, View};

/// How often a tree is looked for that is not there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a subscription waits for what is there at its start.
const START_MAX: Duration = Duration::from_secs(1);
/// Changes within this time are told as one.
pub const TOGETHER: Duration = Duration::from_millis(100);

/// The news: a number that grows with each change.
#[derive(Debug)]
pub struct News {
    state_dir: PathBuf,
    started: Once,
    count: watch::Sender<u64>,
}

impl News {
    /// Makes news of a state directory; nothing is watched until a client asks.
    pub fn new(state_dir: PathBuf) -> News {
        News { state_dir, started: Once::new(), count: watch::Sender::new(0) }
    }

    /// Returns a receiver of the changes from now on.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.started.call_once(|| {
            let (dir, count) = (self.state_dir.clone(), self.count.clone());
            let (start, has_started) = mpsc::sync_channel(1);
            // Without the thread, no news come, and a client can still read the state.
            let _ = std::thread::Builder::new().spawn(move || follow(&dir, &count, start));
            // What changes after this call must not count as what was there before.
            let _ = has_started.recv_timeout(START_MAX);
        });
        self.count.subscribe()
    }
}

fn follow(dir: &Path, count: &watch::Sender<u64>, start: mpsc::SyncSender<()>) {
    let mut start = Some(start);
    loop {
        // The tree may be gone, or be made again.
        let _ = follow_one(dir, count, &mut start);
        start = None;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Follows one tree until it is gone. What is there at the very start is no change; then `start`
/// is dropped, and its receiver notices that.
fn follow_one(
    dir: &Path,
    count: &watch::Sender<u64>,
    start: &mut Option<mpsc::SyncSender<()>>,
) -> Result<()> {
    let Some(mut view) = View::open(dir)? else { return Ok(()) };
    view.follow();
    let mut known: HashMap<(Label, String), Vec<u8>> = HashMap::new();
    loop {
        let mut news = false;
        view.wait(Duration::from_secs(3600), &mut |change| {
            let Change::Record(node, file, bytes) = change else { return };
            if file == layout::LAST_SEEN {
                return;
            }
            let key = (node.clone(), file.to_owned());
            let after = bytes.map(|bytes| bytes.bytes.as_slice());
            news |= is_news(known.get(&key).map(Vec::as_slice), after);
            match after {
                Some(after) => known.insert(key, after.to_vec()),
                None => known.remove(&key),
            };
        })?;
        if start.take().is_none() && news {
            count.send_modify(|count| *count += 1);
        }
    }
}
