//! One tick: the agent of a persona works in its place, under a time limit, and how it ended is
//! judged and reported.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use zeta_core::name::Label;
use zeta_core::schedule::Post;
use zeta_core::schedule::outage::{self, End};
use zeta_core::schedule::pace::Last;
use zeta_core::schedule::policy::{Program, agent_of};
use zeta_core::schedule::state::{Outcome, Report};
use zeta_os::cgroup::Limits;
use zeta_os::error::{Error, Kind, Result};
use zeta_state::presence::records::{self, RecordKey};
use zeta_state::presence::tool_session::TOOL_SESSION;

use super::command::Parts;
use super::pause::{Woken, now_ms};
use super::session::Sessions;
use super::work::{Ended, Running, Went};
use super::{Flow, Supervisor, command, draw, worktree};
use crate::store::{self, Cut};

impl Supervisor<'_> {
    /// One tick of an agent, and what follows from it.
    pub(super) fn tick(&mut self, post: &Post) -> Result<Flow> {
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
}
