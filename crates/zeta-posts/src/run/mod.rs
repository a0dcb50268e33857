//! The supervisor of one post: it reads who stands there, runs the agent of that persona tick by
//! tick, and reports how each tick ended.
//!
//! It sleeps until something happens: the assignments change, a tick ends, a time has come, or a
//! signal asks for the end. After each tick it asks the scheduler at once, so that another persona
//! or another line is there for the next one.
//!
//! - `command`: the command line of a tick.
//! - `work`: its processes, from the first to the last.
//! - `worktree`: where a persona works.
//! - `session`: what it goes on with.
//! - `lease`: that a post has one supervisor.
//! - `advert`: what the record of the persona says.
//! - `voice`: how it says what a person is to know.
//! - `pause`: how it sleeps, and what goes on meanwhile.

mod advert;
mod command;
mod lease;
mod pause;
mod session;
mod voice;
mod work;
pub mod worktree;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use zeta_core::name::Label;
use zeta_core::schedule::outage::{self, End};
use zeta_core::schedule::pace::{Last, Next, Seen, decide_next};
use zeta_core::schedule::policy::{Program, agent_of};
use zeta_core::schedule::state::{Outcome, Report};
use zeta_core::schedule::{Post, is_allowed};
use zeta_os::cgroup::{Delegated, Limits};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::signal::Signals;
use zeta_os::{host, process};
use zeta_state::context::Context;
use zeta_state::presence::records::{self, RecordKey};
use zeta_state::presence::tool_session::TOOL_SESSION;

use self::advert::Advert;
use self::command::Parts;
use self::lease::PostLease;
use self::pause::{Duties, Woken, now_ms};
use self::session::Sessions;
use self::voice::{Log, Voice};
pub use self::voice::{Said, Say};
use self::work::{Ended, Running, Went, Workshop};
use crate::config::Config;
use crate::report;
use crate::store::{Cut, Found, Store};
use crate::{store, tick};

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

    /// One tick of an agent, and what follows from it.
    fn tick(&mut self, post: &Post) -> Result<Flow> {
        self.reload();
        let Some(program) = self.program(post).cloned() else { return self.ask() };
        let began_ms = now_ms();
        let went = self.run_tick(post, &program)?;
        let before = self.last.take().filter(|last| last.post == *post);
        let before = before.map_or((0, 0), |last| (last.failures, last.busy));
        let more = |times: u32| times.saturating_add(1);
        let (failures, busy) = match went {
            Went::Asked => return Ok(Flow::End),
            Went::Busy => (before.0, more(before.1)),
            Went::NotBegun => {
                let cut = Some(Cut::Start);
                self.add_report(post, Outcome::Failed, store::End { cut, ..store::End::default() });
                (more(before.0), 0)
            }
            Went::Ended(ended, cut, took_ms, id) => {
                let outcome = self.judge(post, &ended, cut);
                let status = cut.is_none().then_some(ended.status);
                self.add_report(post, outcome, store::End { status, took_ms, cut });
                self.keep_session(post, &program, outcome, id.as_deref());
                if outcome == Outcome::Ok { (0, 0) } else { (more(before.0), 0) }
            }
        };
        let (post, ended_ms) = (post.clone(), now_ms());
        self.last = Some(Last { post, began_ms, ended_ms, failures, busy });
        self.draw = draw();
        self.clear_up()?;
        self.ask()
    }

    fn judge(&self, post: &Post, ended: &Ended, cut: Option<Cut>) -> Outcome {
        let line = self.config.policy.lines.get(&post.choice.line);
        let signs = line.map(|line| line.outage.clone()).unwrap_or_default();
        let end = match cut {
            Some(Cut::Time) => End::TimedOut,
            // The agent did not fail by itself, but it did not do its work.
            Some(Cut::Memory | Cut::Start) => return Outcome::Failed,
            None => End::Status(ended.status),
        };
        outage::judge(end, &ended.stderr, &signs)
    }

    fn add_report(&mut self, post: &Post, outcome: Outcome, end: store::End) {
        let (persona, line) = (Some(post.persona.clone()), post.choice.line.clone());
        let added = self.store.add_report(self.post, Report { persona, line, outcome }, end);
        let status = end.status.map_or(String::new(), |status| format!(", status {status}"));
        let cut = end.cut.map_or(String::new(), |cut| format!(": {}", cut.text()));
        let (persona, word) = (&post.persona, outcome.word());
        (self.log.note)(&format!("the tick of {persona} ended: {word}{status}{cut}"));
        self.mention("report", added.map(|_| ()));
    }

    /// Keeps the session that the next tick goes on with. One that failed is not gone on with.
    fn keep_session(&mut self, post: &Post, program: &Program, outcome: Outcome, id: Option<&str>) {
        if program.resume.is_empty() {
            return;
        }
        let sessions = Sessions::read(&self.store, &post.persona);
        let before = sessions.find(&post.choice).map(str::to_owned);
        let id = match outcome {
            Outcome::Failed => None,
            Outcome::Ok | Outcome::Outage => id.or(before.as_deref()),
        };
        let kept = sessions.keep(&self.store, &post.persona, &post.choice, id);
        self.mention("session", kept);
    }

    /// Prepares the place of the persona, and runs its agent there.
    fn run_tick(&mut self, post: &Post, program: &Program) -> Result<Went> {
        let (store, persona) = (self.store.clone(), post.persona.clone());
        let repository = self.config.repository(&persona).map(PathBuf::from);
        let prepare = move || worktree::prepare(&store, &persona, repository.as_deref());
        let Some(dir) = self.duties.beside(&self.ctx, prepare, &self.log)? else {
            return Ok(Went::Asked);
        };
        let sessions = Sessions::read(&self.store, &post.persona);
        let parts = Parts {
            own: &self.own,
            post: self.post,
            standing: post,
            program,
            prompt: self.config.prompt(&post.persona),
            session: sessions.find(&post.choice).filter(|_| !program.resume.is_empty()),
        };
        let ticks = &self.config.ticks;
        let limits = Limits { memory_max: ticks.memory_max, cpu_quota: ticks.cpu_quota };
        let begun = dir.and_then(|dir| {
            let agent = agent_of(&post.persona, self.post)?;
            let argv = parts.argv()?;
            let signals = &self.duties.signals;
            Ok((agent, self.workshop.begin(&argv, &dir, &limits, signals)?))
        });
        let (agent, running) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.mention("tick", Err(error));
                return Ok(Went::NotBegun);
            }
        };
        self.mention("tick", Ok(()));
        if !running.unheld().is_empty() {
            let text = format!("no limit holds: {}", running.unheld().join(", "));
            let hint = "the control group of this service has no such controller";
            self.mention("limits", Err(Error::new(Kind::Unsafe, text).hint(hint)));
        }
        self.attend(&agent, running)
    }

    /// Waits for the end of a tick, and ends it when its time is over.
    fn attend(&mut self, agent: &Label, running: Running) -> Result<Went> {
        let before = self.session_of(agent).0;
        let began = Instant::now();
        let (limit_ms, grace_ms) = (self.config.ticks.limit_ms, self.config.ticks.grace_ms);
        let grace = Duration::from_millis(grace_ms);
        let mut until = began + Duration::from_millis(limit_ms);
        let (mut cut, mut is_asked) = (None, false);
        let attended = loop {
            match self.duties.attend(&self.ctx, &running, until, &self.log) {
                Ok(Woken::Changed) => break Ok(()),
                // The second time, or the time of its end is over.
                Ok(Woken::Asked) if is_asked => break Ok(()),
                Ok(Woken::Due) if is_asked || cut.is_some() => break Ok(()),
                Ok(woken) => {
                    match woken {
                        Woken::Asked => is_asked = true,
                        _ => cut = Some(Cut::Time),
                    }
                    running.ask_to_end();
                    until = Instant::now() + grace;
                }
                Err(error) => break Err(error),
            }
        };
        // This process may have stood still for longer than its lease lasts.
        let held = attended.and_then(|()| self.duties.lease.renew(&self.ctx));
        let ended = self.workshop.end(running, held.is_ok());
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match held {
            Err(error) if error.kind == Kind::Refused => return Err(error),
            held => self.mention("lease", held),
        };
        for left in &ended.left {
            let text = format!("{} (pid {}) does not end", left.name, left.process.pid);
            (self.log.warn)(&Error::new(Kind::Fault, text));
        }
        if is_asked {
            return Ok(Went::Asked);
        }
        let (session, id) = self.session_of(agent);
        let has_begun = session.is_some() && session != before;
        if ended.memory_kills > 0 {
            cut = Some(Cut::Memory);
        }
        Ok(match (has_begun, ended.status) {
            _ if cut.is_some() => Went::Ended(ended, cut, took_ms, None),
            (true, _) => Went::Ended(ended, None, took_ms, id),
            (false, command::BUSY) => Went::Busy,
            (false, _) => Went::NotBegun,
        })
    }

    /// The session of an agent as its record says, and the id that its tool gave it.
    fn session_of(&self, agent: &Label) -> (Option<String>, Option<String>) {
        let read = records::get(&self.ctx, &RecordKey::Persona(agent.clone()));
        let fields = read.ok().flatten().and_then(|found| found.own());
        let text = |key| Some(fields.as_ref()?.text(key)?.into_owned());
        (text("session"), text(TOOL_SESSION))
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
