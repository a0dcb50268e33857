//! The beat of a session. It notices that the session's tree or record vanished, and makes the
//! session's record again under the same node name; a session that cannot have one any more ends as
//! `--on-lost` says.

use zeta_core::presence::set_beat;
use zeta_core::record::Fields;

use super::{Event, Supervisor, settle};
use crate::context::NodeHandle;
use crate::directory::guard::RENEWER_LIMIT;
use crate::directory::tree::Tree;
use crate::lease::LostTo;
use crate::presence::heartbeat::beat_with;
use crate::presence::records::{publish, read_or_new};
use std::os::fd::AsFd;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_os::inotify::Watch;
use zeta_os::spawn::Child;

impl Supervisor<'_> {
    /// Beats, and looks at everything that is the session's.
    pub(super) fn at_beat(
        &mut self,
        watch: &Watch,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let back = match self.handle.node.is_gone() {
            true => self.come_back(watch, on_event, child),
            false => Ok(()),
        };
        let beaten = back.and_then(|()| self.beat());
        let lost = beaten.as_ref().is_err_and(|error| {
            error.kind == Kind::Lost && self.last_error.as_ref() != Some(error)
        });
        self.report_error(beaten, on_event);
        if lost {
            self.end_by_plan(child);
        }
        self.check_all_leases(on_event, child);
        if !watch.sees() {
            self.check_unseen_breaks(on_event, child);
        }
    }

    fn beat(&self) -> Result<()> {
        let own = || {
            self.change_own_record(|fields| {
                set_beat(fields, host::reading(), &self.handle.ctx.host, self.plan.every_ms);
            })
        };
        beat_with(&self.handle, own).map(|_| ())
    }

    /// Changes the session's record. One that vanished, or that another session left behind, is
    /// made again.
    pub(super) fn change_own_record(
        &self,
        change: impl FnOnce(&mut Fields<'static>),
    ) -> Result<()> {
        let name = self.persona();
        let section = self.handle.enter(name.file(), RENEWER_LIMIT)?;
        let (exists, mut fields) = read_or_new(&section, &self.handle.node, &name)?;
        if fields.text("session").as_deref() != Some(&self.session) {
            if exists && self.refuse_second_session(&fields).is_err() {
                let agent = &self.handle.ctx.agent;
                let text = format!("{agent}: another session runs under this name now");
                return Err(Error::new(Kind::Lost, text)
                    .hint("end one of the two, and start it again under a name of its own"));
            }
            self.describe(&mut fields);
        }
        change(&mut fields);
        publish(&section, &self.handle.node, &name, &fields, exists)
    }

    /// Takes the session into the tree that is at the path now, or into a new one. Its leases were
    /// in the old tree, and are lost.
    fn come_back(
        &mut self,
        watch: &Watch,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) -> Result<()> {
        for (lease, _) in std::mem::take(&mut self.holdings).into_keys() {
            self.report_loss(&LostTo::no_holder(&lease), on_event, child);
        }
        self.scanned.clear();
        let ctx = self.handle.ctx;
        let own = &self.handle.node.name;
        let tree = Tree::open_or_create(&ctx.state_dir)?;
        if ctx.node.is_none() {
            let name = tree.local_node_or(|| Ok(own.clone()))?;
            if name != *own {
                let text = format!(
                    "the state directory was replaced, and this machine's node is {name} in the \
                     new one; this session is of {own}"
                );
                return Err(Error::new(Kind::Lost, text)
                    .hint("end this session and start it again: it can collide with others"));
            }
        }
        let node = tree.node_or_create(own)?;
        let handle = NodeHandle { ctx, tree, node };
        settle(&handle)?;
        watch.stop();
        watch.arrivals_in(handle.node.as_fd());
        self.handle = handle;
        on_event(Event::CameBack(&ctx.state_dir));
        Ok(())
    }
}
