//! Where agents are, as this node knows it from its records and from its copies of others'.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use zeta_core::bus::{Address, Channel};
use zeta_core::cluster::mail::{Place, Places};
use zeta_core::layout::{Kind, kind_of};
use zeta_core::name::Label;
use zeta_state::context::NodeHandle;
use zeta_state::presence::tool_session;

use crate::directory::{Bus, delivery_log};
use crate::messages::{channel, wake};

/// For how long the agents of other nodes are not looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The agents of other nodes, by the names of their records, and when they were looked for.
#[derive(Default)]
pub(super) struct Elsewhere(RefCell<Option<(Instant, HashSet<String>)>>);

/// What this node knows.
pub(super) struct Known<'a> {
    pub(super) bus: &'a Bus,
    pub(super) handle: Option<&'a NodeHandle<'a>>,
    pub(super) node: &'a Label,
    elsewhere: &'a Elsewhere,
}

impl<'a> Known<'a> {
    pub(super) fn new(
        bus: &'a Bus,
        handle: Option<&'a NodeHandle<'a>>,
        node: &'a Label,
        elsewhere: &'a Elsewhere,
    ) -> Known<'a> {
        Known { bus, handle, node, elsewhere }
    }

    fn is_elsewhere(&self, label: &str) -> bool {
        let mut seen = self.elsewhere.0.borrow_mut();
        if seen.as_ref().is_none_or(|(at, _)| at.elapsed() > LOOK_AGAIN) {
            *seen = Some((Instant::now(), self.find_elsewhere()));
        }
        seen.as_ref().is_some_and(|(_, agents)| agents.contains(label))
    }

    fn find_elsewhere(&self) -> HashSet<String> {
        let Some(handle) = self.handle else { return HashSet::new() };
        let nodes = handle.tree.nodes().map(|listing| listing.names).unwrap_or_default();
        let others = nodes.iter().filter(|name| **name != self.node.as_str());
        let files = others.filter_map(|name| {
            let node = handle.tree.node(&name.parse().ok()?).ok()??;
            Some(node.list().ok()?.names)
        });
        let agent = |file: String| match kind_of(&file) {
            Kind::Persona(name) => Some(name.to_owned()),
            _ => None,
        };
        files.flatten().filter_map(agent).collect()
    }
}

impl Places for Known<'_> {
    fn agent(&self, address: &str) -> Place {
        let label = Address::new(address).map(|address| address.as_label()).unwrap_or_default();
        let record = self.handle.and_then(|handle| tool_session::find(handle, &label));
        if record.as_ref().is_some_and(|record| record.lives)
            || wake::armed(self.bus, address).is_some()
        {
            return Place::Here;
        }
        if self.is_elsewhere(&label) {
            return Place::Elsewhere;
        }
        // It was here, and no other node has it.
        let log = delivery_log::peek(self.bus, address);
        match record.is_some() || log.is_ok_and(|log| !log.states.is_empty()) {
            true => Place::Here,
            false => Place::Unknown,
        }
    }

    fn has_member(&self, name: &str) -> bool {
        let members = Channel::new(name).map(|name| channel::members(self.bus, &name));
        members.is_ok_and(|members| members.is_ok_and(|members| !members.is_empty()))
    }
}
