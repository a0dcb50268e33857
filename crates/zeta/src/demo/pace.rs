//! How fast the demo goes on: at once, or so that a person can follow it on the page.

use std::time::{Duration, Instant};

use super::{Step, Stop};
use crate::demo::agents::Agent;
use crate::demo::page::Page;
use crate::demo::scenario::Scenario;

/// How long a browser is waited for.
const BROWSER: Duration = Duration::from_secs(60);
/// The time to see that the page is there, and what a step changed.
const LOOK: Duration = Duration::from_secs(3);

impl Scenario<'_> {
    /// Starts the page, and waits until a browser shows it, or for a while.
    pub(super) fn show_page(&mut self) -> Step<()> {
        let page = Page::start(&self.sandbox)?;
        self.observer.page(&page.url);
        let until = Instant::now() + BROWSER;
        while !page.is_seen() && Instant::now() < until {
            let step = "a browser shows the page; without one, the demo begins after a minute";
            self.observer.waiting(self.sandbox.at_ms(), step);
            self.sandbox.sleep(&[])?;
        }
        self.page = Some(page);
        self.pause()
    }

    /// With a page, gives a person the time to see what the last step changed.
    pub(super) fn pause(&mut self) -> Step<()> {
        let until = Instant::now() + LOOK;
        while self.page.is_some() && Instant::now() < until {
            self.report_changes()?;
            for agent in &mut self.agents {
                agent.notice_end("a pause")?;
            }
            let ends: Vec<_> = self.agents.iter().filter_map(Agent::end).collect();
            self.sandbox.sleep(&ends)?;
        }
        Ok(())
    }

    /// Leaves the page there, until a signal ends the demo.
    pub(super) fn stay(&mut self) {
        let Some(page) = &self.page else { return };
        let elapsed_ms = self.sandbox.at_ms();
        self.observer.stays(&self.report, elapsed_ms, &page.url);
        while !matches!(self.sandbox.sleep(&[]), Err(Stop::Signal(_))) {}
    }
}
