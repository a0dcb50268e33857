//! The status of nodes: reads their files, judges them, and passes the results on.
//!
//! Reading takes no lock and changes nothing. All processors read ten thousand nodes, a batch at a
//! time. The results are passed on in order, so that only a few batches are in memory.

pub(crate) mod findings;
pub(crate) mod gather;
pub mod json;
pub(crate) mod rows;
pub mod text;
pub mod waiting;

pub use crate::directory::trusted_dir::Sharing;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use zeta_core::bus::grant::ClaimRecord;
use zeta_core::cluster::card::Copied;
use zeta_core::evidence::{FileTimes, ProcessState};
use zeta_core::hook::waiting::Waiting;
use zeta_core::json::Object;
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_core::presence::{Beat, Judgement};
use zeta_core::record::{Damage, Fields};
use zeta_core::time::Now;

use self::gather::Scratch;
use crate::context::Context;
use crate::directory::create;
use crate::directory::purpose::STATE;
use crate::directory::tree::{Nodes, Tree};
use crate::lease::LeaseView;
use zeta_os::error::Result;
use zeta_os::host;
use zeta_os::process::Survivor;

/// A finding that a person or an agent should know: what, about what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable word for scripts: `dead_holder`, `hung_agent`, ...
    pub word: &'static str,
    /// The file, directory, agent or lease that the finding is about.
    pub about: String,
    /// One sentence, lower case, no full stop.
    pub text: String,
    /// Next steps.
    pub hints: Vec<String>,
}

/// A persona record, read.
#[derive(Debug)]
pub enum Persona<'a> {
    /// A record of the standard.
    Own(Fields<'a>, Box<Beat>),
    /// A record of the standard without a beat: only other agents wrote it.
    NoBeat(Fields<'a>),
    /// A record of another program.
    Foreign(Fields<'a>),
    /// A damaged record.
    Damaged(Damage),
}

/// An agent as its record and the kernel show it.
#[derive(Debug)]
pub struct Agent<'a> {
    /// The agent's name, as in the name of its file.
    pub name: &'a str,
    /// The agent's record.
    pub persona: Persona<'a>,
    /// Evidence about its processes.
    pub life: ProcessState,
    /// Its command, if that runs without its `zeta run`.
    pub survivor: Option<Survivor>,
    /// What it waits for a person to answer.
    pub waiting: Option<Waiting>,
    /// Whether it is alive, and by what evidence.
    pub judgement: Judgement,
}

/// A lease with the fields of its record.
#[derive(Debug)]
pub struct Lease<'a> {
    /// The record and the judgement on it.
    pub view: LeaseView,
    /// The record as it is on disk, if it is one of the standard and was asked for.
    pub fields: Option<Box<Fields<'a>>>,
    /// The claim that it is, if it is one.
    pub claim: Option<Box<ClaimRecord>>,
}

/// What stays of the records of leases. Hundreds of them are held by one node, and a text shows
/// only what was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The judgements alone.
    Judgements,
    /// The fields on disk, too.
    Fields,
}

/// A marker record, read.
#[derive(Debug)]
pub struct Marker<'a> {
    /// The marker's name, as in the name of its file.
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
    /// There is none, or it is not valid.
    Unknown,
    /// Wall clock of the last beat, in µs.
    At(i64),
}

/// One node as it was read.
#[derive(Debug)]
pub struct NodeStatus<'a> {
    /// The node's name.
    pub name: &'a Label,
    /// It is the copy of another machine's node, and this is its card; `Some(None)` if none came.
    pub copied: Option<Option<Copied>>,
    /// When any agent last beat on it.
    pub last_seen: LastSeen,
    /// Its agents, by name.
    pub agents: Vec<Agent<'a>>,
    /// Its leases, by name.
    pub leases: Vec<Lease<'a>>,
    /// Its markers, by name.
    pub markers: Vec<Marker<'a>>,
    /// The findings about the node.
    pub findings: Vec<Finding>,
    /// When it was read.
    pub now: Now<'a>,
}

/// The tree and the nodes to show.
#[derive(Debug)]
pub struct StatusView {
    /// The path of the state directory, which need not exist.
    pub state_dir: PathBuf,
    /// The users that may use it; `None` if it does not exist.
    pub sharing: Option<Sharing>,
    /// The node that the caller named, or this machine's own; `None` if that has no name yet.
    pub node: Option<Label>,
    /// Whether that is this machine's own.
    pub is_own: bool,
    /// The host's name: a label for people, never a node's name.
    pub host_name: String,
    /// The number of unread messages of agents that have some. The bus knows it, and the caller
    /// asks it.
    pub unread: BTreeMap<String, usize>,
    /// What the history of a repository says about agents, if the caller looked at one.
    pub signed: Option<Object>,
    /// The findings about the tree as a whole.
    pub findings: Vec<Finding>,
    opened: Option<(Tree, Nodes)>,
    names: Vec<Label>,
}

/// Opens the tree, to show its own node or `all` of them.
pub fn open(ctx: &Context, all: bool) -> Result<StatusView> {
    let mut view = StatusView {
        state_dir: ctx.state_dir.clone(),
        sharing: None,
        node: ctx.node.clone(),
        is_own: true,
        host_name: host::read_line("/proc/sys/kernel/hostname").unwrap_or_default(),
        unread: BTreeMap::new(),
        signed: None,
        findings: Vec::new(),
        opened: None,
        names: Vec::new(),
    };
    let Some(tree) = Tree::open(&ctx.state_dir)? else {
        create::refuse_creation(&ctx.state_dir, &STATE)?;
        return Ok(view);
    };
    view.sharing = Some(tree.base.sharing);
    match (tree.read_local_node(), &view.node) {
        (Ok(node), None) => view.node = node,
        (Ok(node), named) => view.is_own = node == *named,
        (Err(_), Some(_)) => view.is_own = false,
        (Err(error), None) if all => {
            view.findings.push(findings::unsafe_file(layout::LOCAL_NODE, &error));
        }
        (Err(error), None) => return Err(error),
    }
    let Some(nodes) = tree.open_nodes()? else {
        view.findings.push(findings::no_nodes());
        return Ok(view);
    };
    if all {
        view.add_all(&nodes)?;
    } else {
        view.names.extend(view.node.clone());
    }
    view.opened = Some((tree, nodes));
    Ok(view)
}

/// Nodes that one worker reads before it passes them on.
const BATCH: usize = 16;
/// Most batches that wait for an earlier one, so that a worker that lost its processor does not
/// stop the others.
const AHEAD: usize = 32;

impl StatusView {
    fn add_all(&mut self, nodes: &Nodes) -> Result<()> {
        let listing = nodes.list()?;
        for name in &listing.names {
            match Label::new("node", name) {
                Ok(label) => self.names.push(label),
                // A node that is being created, or that a killed process left unfinished.
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

    /// Returns how many nodes [`StatusView::each`] reads.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether there is no node to show.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Reads every node. `render` turns a node and its number into text, on any thread and in any
    /// order; `sink` gets the texts in the order of the numbers. `keep` says what stays of a lease.
    pub fn each(
        &self,
        ctx: &Context,
        keep: Keep,
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
                    let show = |status: &NodeStatus<'_>| render(number, status, &mut text);
                    gather::examine(ctx, &tree.base, nodes, name, keep, &mut scratch, show);
                }
                text = order.pass_on(at, text);
            }
        };
        // Asking how many processors there are reads files of the control group.
        let workers = match batches.len() {
            0 | 1 => 1,
            many => std::thread::available_parallelism().map_or(1, NonZero::get).min(many),
        };
        std::thread::scope(|scope| {
            for _ in 1..workers {
                // Without another thread the work only takes longer.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }
}

/// Puts the results of the workers in order again.
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

    /// Passes on a batch, now or when its turn comes; returns an empty buffer for another one.
    fn pass_on(&self, batch: usize, text: String) -> String {
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
