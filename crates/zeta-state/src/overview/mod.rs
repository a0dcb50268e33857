//! The agents and leases of a tree as an overview shows them, kept up to date. What did not change
//! is not read again, and no judgement is made here: the same functions judge as for a status.

mod agent;
mod cluster;
mod history;
mod lease;
mod line;
mod owner;
pub mod place;
mod rows;
mod sources;

pub use self::history::HISTORY_MAX;

use std::collections::{BTreeMap, HashSet};
use std::os::fd::BorrowedFd;

use zeta_core::history::Entry;
use zeta_core::layout::{self, Kind};
use zeta_core::name::Label;
use zeta_core::overview::finding::judge_urgency;
use zeta_core::overview::{Finding, Overview};
use zeta_core::record::{Text, parse};

use self::cluster::ClusterView;
use self::history::Histories;
use self::rows::Rows;
use self::sources::{News, Sources};
use crate::context::Context;
use crate::directory;
use crate::directory::purpose::STATE;
use crate::directory::trusted_dir::TrustedDir;
use crate::presence::status;
use crate::presence::status::findings::{damaged_marker, no_nodes, odd_name, unsafe_file};
use crate::presence::view::View;
use zeta_os::ends::Ends;
use zeta_os::error::Error;

/// A tree that is followed.
#[derive(Debug)]
pub struct TreeFollower {
    ctx: Context,
    sources: Option<Sources>,
    rows: Rows,
    cluster: ClusterView,
    histories: Histories,
    ends: Ends,
    must_read_name: bool,
    /// Some processes could not be watched, so their ends come without an event.
    looks_at_processes: bool,
    /// The tree is there and could not be read. No event says when it can.
    is_unread: bool,
    /// Findings about the tree and its files.
    faults: Vec<Finding>,
    /// Names that no file of zeta has, and markers that are damaged, by node and file.
    odd: BTreeMap<(Label, String), status::Finding>,
}

/// Turns a finding of the status into one of an overview.
fn to_finding(node: Option<&str>, found: status::Finding, waiting: usize) -> Finding {
    Finding {
        node: node.map(str::to_owned),
        urgency: judge_urgency(found.word, waiting),
        word: found.word.to_owned(),
        about: found.about,
        text: found.text,
        hints: found.hints,
    }
}

impl TreeFollower {
    /// Makes one that has read nothing yet.
    pub fn new(ctx: Context) -> TreeFollower {
        TreeFollower {
            ctx,
            sources: None,
            rows: Rows::default(),
            cluster: ClusterView::default(),
            histories: Histories::default(),
            ends: Ends::new(),
            must_read_name: false,
            looks_at_processes: false,
            is_unread: false,
            faults: Vec::new(),
            odd: BTreeMap::new(),
        }
    }

    /// Brings the agents and leases of an overview up to date, and returns whether they changed.
    pub fn refresh(&mut self, out: &mut Overview) -> bool {
        let (mut changed, mut fault) = (false, None);
        // A tree that was replaced is opened once more; the next call finds what happens later.
        for _ in 0..2 {
            if self.sources.is_none() {
                self.open(out);
            }
            let Some(sources) = &mut self.sources else { return changed };
            match sources.news() {
                Ok(news) => return changed | self.take(&news, out),
                Err(error) => {
                    changed |= self.close(out);
                    fault = Some(unsafe_file(&out.state_dir, &error));
                }
            }
        }
        self.is_unread = true;
        self.set_faults(fault.into_iter().map(|found| to_finding(None, found, 0)).collect());
        changed
    }

    /// Tells that a directory on the way to the tree changed: it may be another one, or none that
    /// is trusted.
    pub fn look_again(&mut self, out: &mut Overview) -> bool {
        let Some(sources) = &mut self.sources else { return false };
        sources.check_place();
        self.must_read_name = true;
        let opened = directory::open(&self.ctx.state_dir, &STATE);
        let is_same = |base: &TrustedDir| base.identity == sources.base().identity;
        match opened.is_ok_and(|base| base.as_ref().is_some_and(is_same)) {
            true => false,
            false => self.close(out),
        }
    }

    /// Adds the findings of the tree.
    pub fn findings(&mut self, findings: &mut Vec<Finding>) {
        self.rows.findings(&self.ctx.bus_dir, &self.ctx.now(), findings);
        let odd = self.odd.iter();
        findings.extend(odd.map(|((node, _), it)| to_finding(Some(node.as_str()), it.clone(), 0)));
        findings.extend(self.faults.iter().cloned());
    }

    /// Returns whether [`TreeFollower::findings`] would add others than at its last call.
    pub fn have_findings_changed(&self) -> bool {
        self.rows.have_findings_changed()
    }

    /// Returns the entries of the histories since the last call, in the order of time: at first
    /// those that are there, at most [`HISTORY_MAX`] of them.
    pub fn take_history(&mut self) -> Vec<Entry> {
        self.histories.take()
    }

    /// When a judgement changes by time alone, by the boot clock.
    pub fn until_ns(&self) -> Option<u64> {
        self.rows.until_ns().into_iter().chain(self.cluster.until_ns()).min()
    }

    /// Returns whether changes come without an event: then a caller refreshes now and then.
    pub fn must_poll(&self) -> bool {
        let must_poll = self.sources.as_ref().is_some_and(Sources::must_poll);
        self.looks_at_processes || self.is_unread || must_poll
    }

    /// The descriptors that are readable after a change.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let sources = self.sources.iter().flat_map(Sources::fds);
        sources.chain(self.ends.fd()).collect()
    }

    fn open(&mut self, out: &Overview) {
        let opened = View::open(&self.ctx.state_dir);
        self.is_unread = opened.is_err();
        let (fault, view) = match opened {
            Ok(Some(view)) => (None, Some(view)),
            // Without a tree there is nothing wrong yet.
            Ok(None) => match directory::open(&self.ctx.state_dir, &STATE) {
                Ok(Some(_)) => (Some(no_nodes()), None),
                _ => (None, None),
            },
            Err(error) => (Some(unsafe_file(&out.state_dir, &error)), None),
        };
        let faults: Vec<Finding> =
            fault.into_iter().map(|found| to_finding(None, found, 0)).collect();
        self.set_faults(faults);
        self.must_read_name = true;
        self.sources = view.map(Sources::new);
    }

    fn close(&mut self, out: &mut Overview) -> bool {
        self.sources = None;
        out.node = None;
        self.odd.clear();
        self.ends.watch_only([]);
        self.cluster.clear(out) | self.rows.clear(out)
    }

    fn set_faults(&mut self, faults: Vec<Finding>) {
        if self.faults != faults {
            self.faults = faults;
            self.rows.findings_changed();
        }
    }

    fn take(&mut self, news: &News, out: &mut Overview) -> bool {
        let mut changed = self.take_name(out);
        self.take_odd(news);
        changed |= self.take_histories(news);
        let Some(sources) = &mut self.sources else { return changed };
        let faults = faults_of(sources.view());
        changed |= self.cluster.take(news, sources, &self.ctx, out);
        changed |= self.rows.take(news, sources, &self.ctx, out);
        let mut ended: HashSet<u32> = self.ends.take().into_iter().collect();
        // A process may end right before it is watched.
        for _ in 0..2 {
            if self.rows.take_processes_changed() {
                let watched = self.ends.watch_only(&self.rows.processes(&self.ctx.now()));
                self.looks_at_processes = watched.is_partial;
                ended.extend(watched.ended);
            }
            if self.looks_at_processes || !ended.is_empty() {
                let ended = (!self.looks_at_processes).then(|| std::mem::take(&mut ended));
                changed |= self.rows.judge_again(ended, sources, &self.ctx, out);
            }
        }
        self.set_faults(faults);
        changed
    }

    /// Finds the name of this machine's own node, if it may be another one than before.
    fn take_name(&mut self, out: &mut Overview) -> bool {
        let Some(sources) = &self.sources else { return false };
        if !std::mem::take(&mut self.must_read_name) {
            return false;
        }
        let read = || sources.view().tree().read_local_node().ok().flatten();
        let node = self.ctx.node.clone().or_else(read).map(|node| node.to_string());
        std::mem::replace(&mut out.node, node.clone()) != node
    }

    /// Reads what was added to the histories of nodes.
    fn take_histories(&mut self, news: &News) -> bool {
        let mut changed = false;
        for node in &news.histories {
            let Some(sources) = &self.sources else { break };
            let read = self.histories.read(sources.view(), node);
            let fault = read.as_ref().err().map(|error| unsafe_file(layout::HISTORY, error));
            self.set_odd(node, layout::HISTORY, fault);
            changed |= read.unwrap_or(false);
        }
        changed
    }

    fn take_odd(&mut self, news: &News) {
        for (node, name, is_there) in &news.others {
            let is_known = !matches!(
                layout::kind_of(name),
                Kind::Other | Kind::Lease(_) | Kind::Marker(_) | Kind::Persona(_)
            );
            // Temps come and go.
            let is_odd = *is_there && !is_known && !name.starts_with(layout::TEMP_PREFIX);
            self.set_odd(node, name, is_odd.then(|| odd_name(name)));
        }
        for (node, file) in &news.records {
            let Kind::Marker(name) = layout::kind_of(file) else { continue };
            let bytes = self.sources.as_ref().and_then(|sources| sources.record(node, file));
            let damage = match bytes.map(|bytes| parse(&bytes.bytes, layout::RECORD_MAX)) {
                Some(Ok(Text::Own(fields))) => fields.expect_kind("marker").err(),
                Some(Err(damage)) => Some(damage),
                Some(Ok(Text::Foreign(_))) | None => None,
            };
            let found = damage.map(|damage| damaged_marker(name, &damage));
            self.set_odd(node, file, found);
        }
    }

    fn set_odd(&mut self, node: &Label, file: &str, found: Option<status::Finding>) {
        let key = (node.clone(), file.to_owned());
        let before = match found.clone() {
            Some(found) => self.odd.insert(key, found),
            None => self.odd.remove(&key),
        };
        if before != found {
            self.rows.findings_changed();
        }
    }
}

/// The files and directories that could not be read.
fn faults_of(view: &View) -> Vec<Finding> {
    let about = |node: &Label, file: &str| match file {
        "" => node.to_string(),
        file => file.to_owned(),
    };
    let of_node = |(node, seen): (&'_ Label, &'_ crate::presence::view::NodeSnapshot)| {
        let found = |(file, error): (&String, &Error)| {
            to_finding(Some(node.as_str()), unsafe_file(&about(node, file), error), 0)
        };
        let faults = seen.faults.iter().map(found);
        faults.collect::<Vec<_>>()
    };
    view.nodes().iter().flat_map(of_node).collect()
}
