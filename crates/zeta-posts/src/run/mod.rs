//! The supervisor of one post: it reads who stands there, runs the agent of that persona tick by
//! tick, and reports how each tick ended.
//!
//! It sleeps until something happens: the assignments change, a tick ends, a time has come, or a
//! signal asks for the end. After each tick it asks the scheduler at once, so that another persona
//! or another line is there for the next one.
//!
//! - `agent_tick`: one tick, from the place of its agent to the report of its end.
//! - `command`: the command line of a tick.
//! - `work`: its processes, from the first to the last.
//! - `worktree`: where a persona works.
//! - `session`: what it goes on with.
//! - `lease`: that a post has one supervisor.
//! - `advert`: what the record of the persona says.
//! - `voice`: how it says what a person is to know.
//! - `pause`: how it sleeps, and what goes on meanwhile.

mod advert;
mod agent_tick;
mod command;
mod lease;
mod pause;
mod session;
mod voice;
mod work;
pub mod worktree;

use std::collections::BTreeSet;
use std::path::PathBuf;

use zeta_core::schedule::pace::{Last, Next, Seen, decide_next};
use zeta_core::schedule::policy::Program;
use zeta_core::schedule::{Post, is_allowed};
use zeta_os::cgroup::Delegated;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::signal::Signals;
use zeta_os::{host, process};
use zeta_state::context::Context;

use self::advert::Advert;
use self::lease::PostLease;
use self::pause::{Duties, Woken, now_ms};
use self::voice::{Log, Voice};
pub use self::voice::{Said, Say};
use self::work::Workshop;
use crate::config::Config;
use crate::report;
use crate::store::{Found, Store};
use crate::tick;

/// What a supervisor is started with.
pub struct Options {
    /// The tree.
    pub ctx: Context,
    /// What the operator wrote.
    pub config: Config,
    /// The files of the posts.
    pub store: Store,
    /// The number of the post.
    pub post: u32,
    /// The path of this program.
    pub own: PathBuf,
    /// Prints what a person is to know, on a thread of its own.
    pub say: Say,
}

/// Runs a post until a signal asks for the end.
///
/// # Errors
/// There is no such post, or another supervisor runs it.
pub fn run(options: Options) -> Result<()> {
    let Options { ctx, config, store, post, own, say } = options;
    if !(1..=config.policy.posts).contains(&post) {
        let text = format!("there is no post {post}: they are 1 to {}", config.policy.posts);
        return Err(Error::usage(text).hint("their number is 'count' in posts.toml"));
    }
    store.prepare()?;
    let signals = Signals::take_over_with_children()?;
    let lease = PostLease::take(&ctx, post)?;
    // A thread that is started before the signals are taken over would die from them.
    let voice = Voice::start(say);
    let log = Log {
        note: &|line| voice.say(Said::Note(line.to_owned())),
        warn: &|error| voice.say(Said::Warning(error.clone())),
    };
    process::adopt_orphans().map_err(|errno| {
        Error::new(Kind::Fault, format!("cannot adopt the orphans of a tick: {errno}"))
    })?;
    let part = Delegated::enter().map_err(|why| {
        let limits = config.ticks.memory_max.is_some() || config.ticks.cpu_quota.is_some();
        let unheld = if limits { ", and memory_max and cpu_quota do not hold" } else { "" };
        (log.note)(&format!("{why}: a tick is ended process by process{unheld}"));
    });
    let workshop = Workshop::open(part.ok(), command::mark(post, &ctx.state_dir));
    let duties = Duties::new(&store, signals, lease, Advert::new(post)?)?;
    let mut supervisor = Supervisor {
        ctx,
        config,
        store,
        post,
        own,
        log,
        workshop,
        duties,
        started_ms: now_ms(),
        asked_ms: None,
        draw: draw(),
        last: None,
        standing: None,
        said: BTreeSet::new(),
    };
    let done = supervisor.work();
    supervisor.leave(done.is_ok());
    voice.end();
    done
}

/// Whether the post goes on.
enum Flow {
    On,
    End,
}

struct Supervisor<'o> {
    ctx: Context,
    config: Config,
    store: Store,
    post: u32,
    own: PathBuf,
    log: Log<'o>,
    workshop: Workshop,
    duties: Duties,
    started_ms: u64,
    asked_ms: Option<u64>,
    draw: u64,
    last: Option<Last>,
    /// Who stands here, as far as the policy still has it.
    standing: Option<Post>,
    /// The troubles that were named: each one once, until it is over.
    said: BTreeSet<String>,
}

impl Supervisor<'_> {
    fn work(&mut self) -> Result<()> {
        self.look();
        let swept = self.duties.advert.sweep(&self.ctx);
        self.mention("record", swept);
        self.duties.manager.tell("READY=1");
        loop {
            self.show();
            let (post, last) = (self.standing.as_ref(), self.last.as_ref());
            let (started_ms, asked_ms, draw) = (self.started_ms, self.asked_ms, self.draw);
            let seen = Seen { post, last, started_ms, asked_ms, draw };
            let next = decide_next(&self.config.ticks.pace, &seen);
            let flow = match (next, self.standing.clone()) {
                (next, _) if next.at_ms() > now_ms() => self.sleep(next.at_ms())?,
                (Next::Tick(_), Some(post)) => self.tick(&post)?,
                _ => self.ask()?,
            };
            match flow {
                Flow::On => self.look(),
                Flow::End => return Ok(()),
            }
        }
    }

    fn sleep(&mut self, until_ms: u64) -> Result<Flow> {
        match self.duties.sleep(&self.ctx, until_ms, &self.log)? {
            Woken::Asked => Ok(Flow::End),
            Woken::Due | Woken::Changed => Ok(Flow::On),
        }
    }

    /// Reads who stands here.
    fn look(&mut self) {
        let found = self.store.read();
        let found = match found {
            Ok(Found::Damaged(why)) => {
                let path = self.store.path();
                Err(Error::not_safe(&path, why).hint("the next tick of the scheduler mends it"))
            }
            found => found,
        };
        let assigned = match &found {
            Ok(Found::Read(read)) => read.state.posts.get(&self.post).cloned(),
            _ => None,
        };
        if self.mention("assignments", found.map(|_| ())) {
            // The scheduler mends them.
            self.asked_ms = None;
        }
        if assigned.as_ref().is_some_and(|post| self.program(post).is_none()) {
            // The operator may have written of it meanwhile.
            self.reload();
        }
        let stale = assigned.as_ref().filter(|post| self.program(post).is_none()).map(|post| {
            let text = format!("post {}: no policy lets {} stand here", self.post, post.persona);
            Error::new(Kind::Unsafe, text).hint("the next tick of the scheduler finds another")
        });
        self.standing = assigned.filter(|_| stale.is_none());
        self.mention("policy", stale.map_or(Ok(()), Err));
    }

    /// The program of who stands here, while the policy lets that persona work with that choice.
    fn program(&self, post: &Post) -> Option<&Program> {
        let Post { persona, choice } = post;
        let policy = &self.config.policy;
        policy.persona(persona).filter(|persona| is_allowed(policy, persona, choice))?;
        policy.program(&choice.line, choice.tier, &choice.harness)
    }

    /// Reads again what the operator wrote. With broken files the last good ones count.
    fn reload(&mut self) {
        let loaded = Config::load(&self.config.dir).map(|config| self.config = config);
        self.mention("configuration", loaded);
    }

    /// Writes who stands here into the record of that persona, and into the state of the service.
    fn show(&mut self) {
        let shown = self.duties.shown.as_ref();
        if shown.is_some_and(|shown| self.standing.as_ref() != Some(shown)) {
            self.hide();
        }
        let status = match &self.standing {
            None => format!("nobody stands at post {}", self.post),
            Some(post) if self.duties.shown.as_ref() == Some(post) => return,
            Some(post) => {
                let Post { persona, choice } = post;
                let (line, tier, harness) = (&choice.line, choice.tier, &choice.harness);
                format!("{persona} stands at post {} with {line} {tier} in {harness}", self.post)
            }
        };
        if let Some(post) = self.standing.clone() {
            let put = self.duties.advert.put(&self.ctx, &post);
            self.mention("record", put);
            // One that was busy is written with the next beat.
            self.duties.shown = Some(post);
        }
        if self.duties.status != status {
            (self.log.note)(&status);
            self.duties.manager.tell(&format!("STATUS={status}"));
            self.duties.status = status;
        }
    }

    /// Takes back what the record of the persona said that stood here.
    fn hide(&mut self) {
        if let Some(post) = self.duties.shown.take() {
            let taken = self.duties.advert.take(&self.ctx, &post.persona);
            self.mention("record", taken);
        }
    }

    /// Lets the scheduler decide.
    fn ask(&mut self) -> Result<Flow> {
        self.reload();
        self.asked_ms = Some(now_ms());
        let (ctx, config, store) = (self.ctx.clone(), self.config.clone(), self.store.clone());
        let decide = move || tick::run(&ctx, &config, &store, false);
        let Some(done) = self.duties.beside(&self.ctx, decide, &self.log)? else {
            return Ok(Flow::End);
        };
        let done = match done {
            // Another scheduler works: its answer is as good.
            Err(error) if matches!(error.kind, Kind::Refused | Kind::Lost) => return Ok(Flow::On),
            done => done,
        };
        if let Ok(done) = &done {
            if let Some((path, why)) = &done.aside {
                let text = format!("the assignments were damaged: {why}");
                let hint = format!("the damaged file is {} now", path.display());
                (self.log.warn)(&Error::new(Kind::Unsafe, text).hint(hint));
            }
            done.ticked.changes.iter().for_each(|one| (self.log.note)(&report::change_text(one)));
        }
        self.mention("scheduler", done.map(|_| ()));
        Ok(Flow::On)
    }

    /// Removes the worktrees of personas that have none any more, and names those that are kept.
    fn clear_up(&mut self) -> Result<()> {
        let (ctx, config, store) = (self.ctx.clone(), self.config.clone(), self.store.clone());
        let reap = move || worktree::reap(&ctx, &store, &config);
        let kept = self.duties.beside(&self.ctx, reap, &self.log)?.unwrap_or_default();
        for error in kept {
            if self.said.insert(error.text.clone()) {
                (self.log.warn)(&error);
            }
        }
        Ok(())
    }

    /// Names a trouble with a part of the work once, until it is over or another one; true if it is
    /// new.
    fn mention(&mut self, part: &str, result: Result<()>) -> bool {
        let said = |text: &str| format!("{part}: {text}");
        let new = result.as_ref().err().map(|error| said(&error.text));
        let of_part = said("");
        let is_known = new.as_ref().is_some_and(|new| self.said.contains(new));
        self.said.retain(|text| !text.starts_with(&of_part));
        self.said.extend(new);
        let error = result.err().filter(|_| !is_known);
        error.iter().for_each(|error| (self.log.warn)(error));
        error.is_some()
    }

    /// Leaves the post in order. What the record says may be of a successor, if there is one.
    fn leave(mut self, holds_post: bool) {
        self.duties.manager.tell("STOPPING=1");
        if holds_post {
            self.hide();
        }
        self.duties.lease.release(&self.ctx);
    }
}

/// A number by chance. Without chance the posts of a node work in step, and nothing else is lost.
fn draw() -> u64 {
    host::random().map_or(0, |random| random as u64)
}
