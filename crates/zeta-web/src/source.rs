//! The real state: the tree and its bus, as the follower of the overview reads them.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use zeta_bus::overview::Follower;
use zeta_core::history::Entry;
use zeta_core::overview::Overview;
use zeta_state::context::Context;

/// The state of a tree and its bus.
pub struct Source(Follower);

impl Source {
    /// Opens it; neither needs to be there.
    pub fn open(ctx: &Context) -> Source {
        Source(Follower::new(ctx))
    }
}

impl crate::feed::Source for Source {
    fn read(&mut self) -> (Overview, Vec<Entry>) {
        self.0.refresh();
        (self.0.overview().clone(), self.0.take_history())
    }

    fn wait(&mut self, wake: BorrowedFd<'_>) {
        self.0.wait(Duration::from_secs(24 * 3600), &[wake]);
    }
}
