//! TEMP
use std::os::fd::BorrowedFd;
use std::time::Duration;
use zeta_core::history::Entry;
use zeta_core::overview::Overview;
use zeta_state::context::Context;
pub struct Source(String);
impl Source {
    pub fn open(ctx: &Context) -> Source {
        Source(ctx.state_dir.display().to_string())
    }
}
impl crate::feed::Source for Source {
    fn read(&mut self) -> (Overview, Vec<Entry>) {
        let at_us = zeta_os::host::wall_us();
        let findings = match std::fs::read_to_string(format!("{}/finding", self.0)) {
            Ok(text) => vec![zeta_core::overview::Finding {
                word: "x".into(),
                about: "y".into(),
                text,
                hints: vec![],
                urgency: zeta_core::overview::Urgency::Notice,
            }],
            Err(_) => vec![],
        };
        (Overview { at_us, state_dir: self.0.clone(), findings, ..Overview::default() }, Vec::new())
    }
    fn wait(&mut self, wake: BorrowedFd<'_>) {
        zeta_os::inotify::poll_readable(&[wake], Duration::from_millis(50));
    }
}
