//! Sleeping, and what must go on meanwhile: the lease of the post is renewed, the service manager
//! hears of this process, and children that have ended are collected.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use zeta_core::schedule::Post;
use zeta_core::time::NS_PER_MS;
use zeta_os::descent;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::{Watch, poll_readable};
use zeta_os::notify::Manager;
use zeta_os::signal::{CHILD_ENDED, Signals};
use zeta_os::spawn::reap_all_but;
use zeta_os::timer::Timer;
use zeta_os::{host, process, temp_file};
use zeta_state::context::Context;

use super::advert::Advert;
use super::lease::{PostLease, RENEW_MS};
use super::voice::Log;
use super::work::Running;
use crate::store::{ASSIGNMENTS_FILE, Store};

/// How often the assignments are looked at where no watch can be had.
const BLIND_MS: u64 = 1_000;
/// How long work beside this process may still take when that is to end; then its processes are
/// ended.
const REST_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take after that, and how often it is ended then: each of its steps may begin
/// another process.
const STEP_LIMIT: Duration = Duration::from_millis(100);
const STEPS: u32 = 100;
/// How long the end of killed processes is waited for.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The time has come.
    Due,
    /// What was waited for happened: the assignments changed, or the tick ended.
    Changed,
    /// A signal asked this process to end.
    Asked,
}

/// What must go on while this process waits.
pub(super) struct Duties {
    pub(super) signals: Signals,
    pub(super) lease: PostLease,
    pub(super) manager: Manager,
    pub(super) advert: Advert,
    /// Who stands here, as the record of the persona says.
    pub(super) shown: Option<Post>,
    /// What the service manager was told last.
    pub(super) status: String,
    store: Store,
    /// The directory of the assignments that is watched.
    dir: File,
    watch: Watch,
    timer: Timer,
    renew_at_ms: u64,
    beat_at_ms: u64,
    last_error: Option<Error>,
    /// A signal asked this process to end. It is not forgotten by who could not heed it.
    is_asked: bool,
}

impl Duties {
    /// Watches the directory of the assignments, which is made if it is not there.
    ///
    /// # Errors
    /// The directory cannot be made or opened.
    pub(super) fn new(
        store: &Store,
        signals: Signals,
        lease: PostLease,
        advert: Advert,
    ) -> Result<Duties> {
        let dir = open_dir(store)?;
        let mut duties = Duties {
            signals,
            lease,
            manager: Manager::from_environment(),
            advert,
            shown: None,
            status: String::new(),
            store: store.clone(),
            dir,
            watch: Watch::new(),
            timer: Timer::new(),
            renew_at_ms: now_ms().saturating_add(RENEW_MS),
            beat_at_ms: 0,
            last_error: None,
            is_asked: false,
        };
        duties.watch.arrivals_in(duties.dir.as_fd());
        duties.beat();
        Ok(duties)
    }

    /// Sleeps until a moment of the boot clock, in ms, or until the assignments change.
    ///
    /// # Errors
    /// Another supervisor has this post.
    pub(super) fn sleep(&mut self, ctx: &Context, until_ms: u64, log: &Log<'_>) -> Result<Woken> {
        loop {
            if now_ms() >= until_ms {
                return Ok(Woken::Due);
            }
            let mut next_ms = until_ms.min(self.next_duty_ms());
            if !self.watch.sees() {
                next_ms = next_ms.min(now_ms().saturating_add(BLIND_MS));
            }
            self.timer.set(Some(next_ms.saturating_mul(1_000_000)));
            let fds = [Some(self.signals.fd()), self.watch.fd(), self.timer.fd()];
            let fds: Vec<BorrowedFd<'_>> = fds.into_iter().flatten().collect();
            // Where the kernel gives no timer, the limit of the poll is enough.
            let limit = Duration::from_millis(next_ms.saturating_sub(now_ms()).max(1));
            poll_readable(&fds, limit);
            // It is readable from then on, so it is set anew each time.
            self.timer.set(None);
            self.take_signals(process::reap_ended);
            if self.is_asked {
                return Ok(Woken::Asked);
            }
            let is_renewed = self.attend_duties(ctx, log)?;
            let has_changed = self.watch.drain(|name| name == ASSIGNMENTS_FILE).about;
            if has_changed || is_renewed || !self.watch.sees() {
                return Ok(Woken::Changed);
            }
        }
    }

    /// Waits for the end of a tick until a moment; [`Woken::Changed`] if it has ended.
    ///
    /// # Errors
    /// Another supervisor has this post.
    pub(super) fn attend(
        &mut self,
        ctx: &Context,
        running: &Running,
        until: Instant,
        log: &Log<'_>,
    ) -> Result<Woken> {
        loop {
            let Some(end) = running.fd() else { return Ok(Woken::Changed) };
            let left = until.saturating_duration_since(Instant::now());
            let ready = poll_readable(&[end, self.signals.fd()], left.min(self.duty_in()));
            if ready.first() == Some(&true) {
                return Ok(Woken::Changed);
            }
            if self.take_signals(|| reap_all_but(running.pid())) {
                return Ok(Woken::Asked);
            }
            self.attend_duties(ctx, log)?;
            if Instant::now() >= until {
                return Ok(Woken::Due);
            }
        }
    }

    /// Does work that may take long on a thread of its own; `None` if a signal asks this process
    /// to end meanwhile. Nothing of it runs on then.
    ///
    /// # Errors
    /// Another supervisor has this post.
    pub(super) fn beside<T: Send + 'static>(
        &mut self,
        ctx: &Context,
        work: impl FnOnce() -> T + Send + 'static,
        log: &Log<'_>,
    ) -> Result<Option<T>> {
        let fault = |what: &str| Error::new(Kind::Fault, format!("a thread {what}"));
        let (mut out, done) = std::io::pipe().map_err(|error| fault(&error.to_string()))?;
        let (give, take) = channel();
        std::thread::spawn(move || {
            let mut done = done;
            let _ = give.send(work());
            let _ = done.write_all(b"d");
        });
        loop {
            let ready = poll_readable(&[out.as_fd(), self.signals.fd()], self.duty_in());
            if ready.first() == Some(&true) {
                let _ = out.read(&mut [0]);
                return take.recv().map(Some).map_err(|_| fault("ended in the middle of its work"));
            }
            // The children are those of that thread.
            self.take_signals(|| {});
            if self.is_asked {
                end_beside(out.as_fd());
                return Ok(None);
            }
            self.attend_duties(ctx, log).inspect_err(|_| end_beside(out.as_fd()))?;
        }
    }

    /// Takes the signals that came; true if one of them asks this process to end.
    fn take_signals(&mut self, reap: impl Fn()) -> bool {
        let mut is_to_end = false;
        while let Some(signal) = self.signals.next() {
            match signal.number {
                CHILD_ENDED => reap(),
                _ => is_to_end |= signal.is_to_end(),
            }
        }
        self.is_asked |= is_to_end;
        is_to_end
    }

    fn next_duty_ms(&self) -> u64 {
        self.renew_at_ms.min(self.beat_at_ms)
    }

    fn duty_in(&self) -> Duration {
        Duration::from_millis(self.next_duty_ms().saturating_sub(now_ms()).max(1))
    }

    /// Does what is due; true if the lease was renewed.
    fn attend_duties(&mut self, ctx: &Context, log: &Log<'_>) -> Result<bool> {
        let now_ms = now_ms();
        if now_ms >= self.beat_at_ms {
            self.beat();
        }
        if now_ms < self.renew_at_ms {
            return Ok(false);
        }
        self.renew_at_ms = now_ms.saturating_add(RENEW_MS);
        let shown = self.shown.as_ref();
        let beaten = |()| shown.map_or(Ok(()), |post| self.advert.put(ctx, post));
        match self.lease.renew(ctx).and_then(beaten) {
            Ok(()) => self.last_error = None,
            Err(error) if error.kind == Kind::Refused => return Err(error),
            Err(error) if self.last_error.as_ref() == Some(&error) => {}
            Err(error) => {
                (log.warn)(&error);
                self.last_error = Some(error);
            }
        }
        self.watch_anew();
        Ok(true)
    }

    fn beat(&mut self) {
        self.beat_at_ms = match self.manager.watchdog() {
            Some(every) => {
                self.manager.tell("WATCHDOG=1");
                now_ms().saturating_add(u64::try_from(every.as_millis()).unwrap_or(u64::MAX))
            }
            None => u64::MAX,
        };
    }

    /// Watches the directory again, if another one is at its path now.
    fn watch_anew(&mut self) {
        let Ok(dir) = open_dir(&self.store) else { return };
        let id = |dir: &File| dir.metadata().map(|found| (found.dev(), found.ino())).ok();
        if id(&dir) != id(&self.dir) {
            self.watch.stop();
            self.watch.arrivals_in(dir.as_fd());
            self.dir = dir;
        }
    }
}

/// Waits for work beside this process, of which `done` becomes readable, or ends its processes.
fn end_beside(done: BorrowedFd<'_>) {
    let mut limit = REST_LIMIT;
    for _ in 0..STEPS {
        if poll_readable(&[done], limit).first() == Some(&true) {
            return;
        }
        descent::end_below(END_LIMIT);
        limit = STEP_LIMIT;
    }
}

/// The time since the boot, in ms.
pub(super) fn now_ms() -> u64 {
    host::reading().boot_ns / NS_PER_MS
}

fn open_dir(store: &Store) -> Result<File> {
    let dir = store.dir();
    let opened = temp_file::private_dir(&store.path()).and_then(|()| File::open(dir));
    opened.map_err(|error| {
        Error::new(Kind::Fault, format!("cannot open {}: {error}", dir.display()))
            .hint("the directory of the posts is --dir, or /var/lib/zeta")
    })
}
