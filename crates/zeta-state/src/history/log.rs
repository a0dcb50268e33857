//! What `zeta log` shows: the spans of a node's history, and what comes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::time::Duration;

use zeta_core::history::{Entry, Filter, Span, end_gone, spans};
use zeta_core::layout::{self, into_lease};
use zeta_core::lease::Observed;
use zeta_core::name::RecordName;

use super::reader::{Entries, Reader};
use crate::context::NodeHandle;
use crate::lease::report::standing_word;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::{Watch, poll_readable};

/// The word for a lease whose record cannot be read.
const DAMAGED: &str = "damaged";

/// How often a follower looks that no event has told.
const RECHECK: Duration = Duration::from_secs(2);

/// A span, and how its lease stands if it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The span.
    pub span: Span,
    /// The word of `lease list` for a grant that stands.
    pub lease_state: Option<&'static str>,
}

/// The history of a node.
#[derive(Debug, Default)]
pub struct Log {
    /// The spans that were asked for, in the order in which they began.
    pub rows: Vec<Row>,
    /// How many more there are, before the first one.
    pub left_out: usize,
    /// The entries that were asked for, in the order of the log.
    pub entries: Vec<Entry>,
    /// How many lines could not be read.
    pub unread: usize,
    /// What could not be read.
    pub findings: Vec<Error>,
}

/// Reads the history of a node: at most the last `limit` spans, and as many entries.
///
/// # Errors
/// The log is not a file of this tree (R8), or cannot be read.
pub fn read(handle: &NodeHandle<'_>, filter: &Filter, limit: Option<usize>) -> Result<Log> {
    let (mut reader, base) = (Reader::default(), &handle.tree.base);
    let Entries { mut entries, unread } = reader.read(base, &handle.node)?;
    let (states, findings) = lease_states(handle)?;
    // A grant that began after this look at the leases is in what is read now.
    let more = reader.read(base, &handle.node)?;
    let later: Vec<Option<u64>> = more.entries.iter().map(|entry| entry.fencing_token).collect();
    entries.extend(more.entries);
    let mut spans = spans(&entries);
    let stands =
        |span: &Span| states.of(span).is_some() || later.contains(&span.grant.fencing_token);
    end_gone(&mut spans, stands);
    spans.retain(|span| filter.takes_span(span));
    entries.retain(|entry| filter.takes(entry));
    let left_out = limit.map_or(0, |limit| spans.len().saturating_sub(limit));
    let row = |span: Span| {
        let state = states.of(&span).filter(|_| span.ended.is_none());
        Row { lease_state: state, span }
    };
    let rows = spans.into_iter().skip(left_out).map(row).collect();
    let cut = limit.map_or(0, |limit| entries.len().saturating_sub(limit));
    let entries = entries.split_off(cut);
    Ok(Log { rows, left_out, entries, unread: unread + more.unread, findings })
}

/// How a lease stands, by its name and the token of the grant. Of a record that cannot be read, no
/// token is known.
struct LeaseStates(BTreeMap<(String, Option<u64>), &'static str>);

impl LeaseStates {
    /// How the grant of a span stands; `None` if it does not. One whose record cannot be read may
    /// stand, so it has not ended.
    fn of(&self, span: &Span) -> Option<&'static str> {
        let state = |token| self.0.get(&(span.grant.lease.clone(), token)).copied();
        state(span.grant.fencing_token).or_else(|| state(None))
    }
}

fn lease_states(handle: &NodeHandle<'_>) -> Result<(LeaseStates, Vec<Error>)> {
    let (views, findings) = handle.leases()?;
    let mut states = BTreeMap::new();
    for view in &views {
        let token = match &view.observed {
            Observed::Ours(record, ..) => Some(record.fencing_token.get()),
            Observed::Damaged(..) => None,
            _ => continue,
        };
        states.insert((view.lease.to_string(), token), standing_word(&view.standing));
    }
    if !findings.is_empty() {
        let leases = handle.node.list()?.names.into_iter().filter_map(|file| into_lease(file).ok());
        let read: BTreeSet<&RecordName> = views.iter().map(|view| &view.lease).collect();
        let is_unread = |lease: &RecordName| !read.contains(lease);
        let unread = leases.filter(is_unread).map(|lease| ((lease.to_string(), None), DAMAGED));
        states.extend(unread);
    }
    Ok((LeaseStates(states), findings))
}

/// Passes on each entry that is asked for, as it comes; those that are there already only if the
/// filter has a time. Ends when `take` returns an error.
///
/// # Errors
/// As [`read`]; [`Kind::Unsafe`] if the node was removed or replaced.
pub fn follow(
    handle: &NodeHandle<'_>,
    filter: &Filter,
    mut take: impl FnMut(&Entry) -> Result<()>,
) -> Result<()> {
    let (node, mut reader) = (&handle.node, Reader::default());
    let watch = Watch::new();
    watch.changes_in(node.as_fd());
    let mut is_asked = filter.since_us.is_some();
    loop {
        let entries = reader.read(&handle.tree.base, node)?.entries;
        let asked = entries.iter().filter(|entry| is_asked && filter.takes(entry));
        asked.into_iter().try_for_each(&mut take)?;
        is_asked = true;
        if node.is_gone() {
            return Err(Error::new(
                Kind::Unsafe,
                format!("{}: it was removed or replaced", node.path.display()),
            )
            .hint("call 'zeta log --follow' again"));
        }
        wait(&watch);
    }
}

/// Sleeps until something happens to the log. Other files of the node change more often.
fn wait(watch: &Watch) {
    let is_log = |name: &str| layout::kind_of(name) == layout::Kind::History;
    let (fd, started) = (watch.fd(), std::time::Instant::now());
    loop {
        let left = RECHECK.saturating_sub(started.elapsed());
        poll_readable(fd.as_slice(), left);
        if left.is_zero() || watch.drain(is_log).about {
            return;
        }
    }
}
