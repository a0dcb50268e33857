//! What is on a node and what is wrong with it: read the files, judge them, hand on what was seen.
//!
//! A look takes no lock and changes nothing. Ten thousand nodes are looked at by all processors, a
//! batch at a time, and handed on in order, so that no more than a few batches are in memory.

mod findings;
mod gather;
pub mod json;
mod table;
pub mod text;

pub use crate::directory::trusted_dir::Sharing;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use zeta_core::evidence::{FileTimes, ProcessState};
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_core::presence::{Beat, Judgement};
use zeta_core::record::{Damage, Fields};
use zeta_core::time::Now;

use self::gather::Scratch;
use crate::context::Context;
use crate::directory::tree::{Nodes, Tree};
use crate::lease::LeaseView;
use zeta_os::error::Result;
use zeta_os::host;

/// Something that a person or an agent should know: what, about whom, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable word for scripts: `dead_holder`, `hung_agent`, ...
    pub word: &'static str,
    /// The file, directory, agent or lease that it is about.
    pub about: String,
    /// One sentence, lower case, no full stop.
    pub text: String,
    /// Next steps.
    pub hints: Vec<String>,
}

/// A persona record, read.
#[derive(Debug)]
pub enum Persona<'a> {
    /// One of ours.
    Own(Fields<'a>, Box<Beat>),
    /// One of ours about an agent that never beat: others spoke about it.
    Unheard(Fields<'a>),
    /// By another program.
    Foreign(Fields<'a>),
    /// Not to be believed.
    Damaged(Damage),
}

/// An agent as its record and the kernel show it.
#[derive(Debug)]
pub struct Agent<'a> {
    /// What its file is named after.
    pub name: &'a str,
    /// Its record.
    pub persona: Persona<'a>,
    /// Evidence about its processes.
    pub life: ProcessState,
    /// How alive it is, and why we think so.
    pub judgement: Judgement,
}

/// A lease with the fields of its record.
#[derive(Debug)]
pub struct Lease<'a> {
    /// The judgement on it.
    pub look: LeaseView,
    /// Its record as it stands on disk, if it is one of ours.
    pub fields: Option<Fields<'a>>,
}

/// A marker record, read.
#[derive(Debug)]
pub struct Marker<'a> {
    /// What its file is named after.
    pub name: &'a str,
    /// `set`, `foreign` or `damaged`.
    pub state: &'static str,
    /// Its keys; none if it is damaged.
    pub fields: Fields<'a>,
    /// When the file was changed.
    pub times: FileTimes,
}

/// The line of `last-seen.iso`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastSeen {
    /// There is none, or it says nothing that can be believed.
    Unknown,
    /// Wall clock of the last beat, in µs.
    At(i64),
}

/// One node as it was found.
#[derive(Debug)]
pub struct NodeStatus<'a> {
    /// Its name.
    pub name: &'a Label,
    /// When anybody was last seen on it.
    pub last_seen: LastSeen,
    /// Its agents, by name.
    pub agents: Vec<Agent<'a>>,
    /// Its leases, by name.
    pub leases: Vec<Lease<'a>>,
    /// Its markers, by name.
    pub markers: Vec<Marker<'a>>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// When it was looked at.
    pub now: Now<'a>,
}

/// The tree and the nodes to look at.
#[derive(Debug)]
pub struct StatusView {
    /// Where the state directory is or would be.
    pub state_dir: PathBuf,
    /// Who may use it; `None` if it does not exist.
    pub sharing: Option<Sharing>,
    /// The node that was asked for, or this machine's own; `None` if that was not decided yet.
    pub node: Option<Label>,
    /// The host's name: a label for people, never a node's name.
    pub host_name: String,
    /// What is wrong with the tree as a whole.
    pub findings: Vec<Finding>,
    opened: Option<(Tree, Nodes)>,
    names: Vec<Label>,
}

/// Opens the tree, to look at its own node or at `all` of them.
pub fn open(ctx: &Context, all: bool) -> Result<StatusView> {
    let mut place = StatusView {
        state_dir: ctx.state_dir.clone(),
        sharing: None,
        node: ctx.node.clone(),
        host_name: host::read_line("/proc/sys/kernel/hostname").unwrap_or_default(),
        findings: Vec::new(),
        opened: None,
        names: Vec::new(),
    };
    let Some(tree) = Tree::open(&ctx.state_dir)? else { return Ok(place) };
    place.sharing = Some(tree.base.sharing);
    if place.node.is_none() {
        match tree.read_local_node() {
            Ok(node) => place.node = node,
            Err(error) if all => {
                place.findings.push(findings::unsafe_file(layout::LOCAL_NODE, &error));
            }
            Err(error) => return Err(error),
        }
    }
    let Some(nodes) = tree.open_nodes()? else {
        place.findings.push(findings::no_nodes());
        return Ok(place);
    };
    if all {
        place.add_all(&nodes)?;
    } else {
        place.names.extend(place.node.clone());
    }
    place.opened = Some((tree, nodes));
    Ok(place)
}

/// Nodes that one worker looks at before it hands on what it saw.
const BATCH: usize = 16;
/// Batches that wait for an earlier one, so that a worker that lost its processor stops nobody.
const AHEAD: usize = 32;

impl StatusView {
    fn add_all(&mut self, nodes: &Nodes) -> Result<()> {
        let listing = nodes.list()?;
        for name in &listing.names {
            match Label::new("node", name) {
                Ok(label) => self.names.push(label),
                // A node that is being made right now, or that a killed process left half made.
                Err(_) if name.starts_with(layout::NEW_PREFIX) => {}
                Err(_) => self.findings.push(findings::odd_name(name)),
            }
        }
        self.findings.extend(listing.odd.iter().map(|name| findings::odd_name(name)));
        if listing.cut {
            self.findings.push(findings::too_many(layout::NODES, layout::NODES_MAX));
        }
        Ok(())
    }

    /// How many nodes [`StatusView::each`] looks at.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// There is no node to look at.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Looks at every node. `render` turns the node with a number into text, on any thread and in
    /// any order; `sink` gets the texts in the order of the numbers.
    pub fn each(
        &self,
        ctx: &Context,
        render: impl Fn(usize, &NodeStatus<'_>, &mut String) + Sync,
        sink: impl FnMut(&str) + Send,
    ) {
        let Some((tree, nodes)) = &self.opened else { return };
        let batches: Vec<&[Label]> = self.names.chunks(BATCH).collect();
        let next = AtomicUsize::new(0);
        let order = Order::new(sink);
        let work = || {
            let mut scratch = Scratch::default();
            let mut text = String::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(at) else { break };
                for (offset, name) in batch.iter().enumerate() {
                    let number = at * BATCH + offset;
                    let seen = |status: &NodeStatus<'_>| render(number, status, &mut text);
                    gather::look(ctx, &tree.base, nodes, name, &mut scratch, seen);
                }
                text = order.hand_on(at, text);
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            for _ in 1..workers.min(batches.len()) {
                // Without a further thread the work is done all the same, only later.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }
}

/// Puts what the workers saw in order again.
struct Order<F> {
    state: Mutex<OrderState<F>>,
    moved: Condvar,
}

struct OrderState<F> {
    next: usize,
    sink: F,
    /// Batches that were done before their turn.
    ahead: BTreeMap<usize, String>,
    /// Buffers to be used again.
    spare: Vec<String>,
}

impl<F: FnMut(&str)> Order<F> {
    fn new(sink: F) -> Order<F> {
        let state = OrderState { next: 0, sink, ahead: BTreeMap::new(), spare: Vec::new() };
        Order { state: Mutex::new(state), moved: Condvar::new() }
    }

    /// Hands on a batch, now or when its turn comes; returns an empty buffer for another one.
    fn hand_on(&self, batch: usize, text: String) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let too_far = |s: &mut OrderState<F>| s.next != batch && s.ahead.len() >= AHEAD;
        let waited = self.moved.wait_while(state, too_far);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.ahead.insert(batch, text);
        let state = &mut *state;
        while let Some(mut text) = state.ahead.remove(&state.next) {
            (state.sink)(&text);
            state.next += 1;
            text.clear();
            state.spare.push(text);
        }
        self.moved.notify_all();
        state.spare.pop().unwrap_or_default()
    }
}
