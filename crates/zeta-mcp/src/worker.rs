//! The thread that carries out the calls, one after another, and renews what the agent holds.
//!
//! A call takes milliseconds, so the others wait for it; one that waits for a lease leaves the
//! thread and is answered later. All decisions about leases are made below, in the guard of the
//! lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rmcp::model::RequestId;
use serde_json::Value;
use zeta_bus::messages::inbox;
use zeta_core::name::RecordName;
use zeta_core::record::printable;
use zeta_os::error::{Error, Kind};

use crate::Setting;
use crate::agent::Agent;
use crate::answer::Answer;
use crate::given::{Given, Notices};
use crate::holding::Holdings;
use crate::tool::{Args, Tool};
use crate::verb;
use crate::waiting::{Caller, Turn, Waiting};

/// How long a lease is kept that was granted while no call waited for it.
const UNASKED: Duration = Duration::from_secs(60);
/// How long the end of this process waits for threads to leave their lines; a ticket that is left
/// counts for nothing.
const LEAVE_LIMIT: Duration = Duration::from_millis(50);
/// The longest sleep between two jobs.
const IDLE: Duration = Duration::from_secs(3600);

/// A call of a tool.
#[derive(Debug)]
pub struct Call {
    /// The tool.
    pub tool: &'static Tool,
    /// Its arguments, or what is wrong with them.
    pub args: Result<Args, String>,
    /// The name of the client program.
    pub client: Option<String>,
    /// The client's side of it.
    pub caller: Caller,
}

/// What the worker does next.
#[derive(Debug)]
pub enum Job {
    /// A client calls a tool.
    Call(Box<Call>),
    /// A client does not wait any more for the call with this number.
    Cancel(RequestId),
    /// The answer to this call was written.
    Written(RequestId),
    /// A waiting thread has news about a lease, for its attempt with this id.
    Turn(RecordName, String, Turn),
    /// The client asks nothing more: no call waits from here on.
    Closed,
    /// The client has ended.
    End,
}

/// The way to the worker.
#[derive(Debug, Clone)]
pub struct Handle {
    jobs: Sender<Job>,
    hurry: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Handle {
    /// Gives the worker a job. After its end, nothing is done.
    pub fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    /// Ends the worker after the jobs before.
    pub fn end(&self) {
        self.send(Job::End);
    }

    /// Returns whether the worker has ended, and all is released.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends the worker before all jobs that it has not begun.
    pub fn end_now(&self) {
        self.hurry.store(true, Ordering::Release);
        self.send(Job::End);
    }
}

/// Starts the worker.
pub fn start(setting: Setting) -> std::io::Result<(Handle, JoinHandle<()>)> {
    let (sender, jobs) = channel();
    let handle = Handle {
        jobs: sender.clone(),
        hurry: Arc::new(AtomicBool::new(false)),
        ended: Arc::new(AtomicBool::new(false)),
    };
    let (hurry, ended) = (handle.hurry.clone(), handle.ended.clone());
    let worker = Worker {
        setting,
        jobs: sender,
        agent: None,
        holdings: Holdings::default(),
        waiting: BTreeMap::new(),
        notices: Notices::default(),
        is_closed: false,
    };
    let thread = std::thread::Builder::new().spawn(move || {
        worker.run(&jobs, &hurry);
        ended.store(true, Ordering::Release);
    })?;
    Ok((handle, thread))
}

/// The state of the thread.
pub struct Worker {
    /// Who is served.
    pub setting: Setting,
    /// For the threads that wait.
    pub jobs: Sender<Job>,
    /// The agent, from its first call on.
    pub agent: Option<Agent>,
    /// What it holds.
    pub holdings: Holdings,
    /// What it waits for; the text is the id of the attempt.
    pub waiting: BTreeMap<RecordName, (String, Waiting)>,
    /// What the next answer tells besides, and what the last ones told.
    pub notices: Notices,
    /// No call waits any more.
    pub is_closed: bool,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, hurry: &AtomicBool) {
        while !hurry.load(Ordering::Acquire) {
            match jobs.recv_timeout(self.sleep()) {
                Ok(Job::Call(call)) => self.call(*call),
                Ok(Job::Cancel(call)) => self.cancel(&call),
                Ok(Job::Written(call)) => self.written(&call),
                Ok(Job::Turn(lease, id, turn)) => self.turn(&lease, &id, turn),
                Ok(Job::Closed) => self.close(),
                Ok(Job::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.keep_time();
        }
        self.end(jobs);
    }

    /// Returns how long the thread may sleep.
    fn sleep(&self) -> Duration {
        let waiting = self.waiting.values().map(|(_, waiting)| waiting.next()).min();
        let next = self.holdings.next().into_iter().chain(waiting).min();
        next.map_or(IDLE, |next| next.saturating_duration_since(Instant::now()).min(IDLE))
    }

    fn call(&mut self, call: Call) {
        let Call { tool, args, client, caller } = call;
        if caller.reply.is_closed() {
            return;
        }
        if let Err(error) = self.know_agent(client.as_deref()) {
            let _ = caller.reply.send(Answer::fault(&error));
            return;
        }
        let answer = match args {
            Ok(args) if tool.name == "acquire" => return verb::lease::acquire(self, &args, caller),
            Ok(args) => verb::run(self, tool, &args),
            Err(wrong) => Err(Error::usage(wrong)),
        };
        let mut answer = answer.unwrap_or_else(|error| Answer::fault(&error));
        answer.gives.changes = tool.changes && !answer.is_error;
        self.reply(caller, answer);
    }

    /// Finds out which session the call belongs to. A session that has ended, as after `/clear`, is
    /// followed by another one; a session of this server's own makes way for that of a tool.
    fn know_agent(&mut self, client: Option<&str>) -> zeta_os::error::Result<()> {
        let lasts = self.agent.as_ref().map(Agent::lasts).transpose()?.unwrap_or(false);
        let is_idle = self.holdings.is_empty() && self.waiting.is_empty();
        match &mut self.agent {
            Some(agent) if lasts && agent.own && is_idle => {
                if let Some(found) = Agent::of_tool(&self.setting, client)? {
                    agent.end();
                    *agent = found;
                } else {
                    agent.attend(&self.setting)?;
                }
            }
            Some(agent) if lasts => agent.attend(&self.setting)?,
            _ => {
                self.stop_waiting();
                self.agent = Some(Agent::find(&self.setting, client)?);
            }
        }
        Ok(())
    }

    /// Leaves all lines: the session that waited has ended.
    fn stop_waiting(&mut self) {
        for (lease, (_, mut waiting)) in std::mem::take(&mut self.waiting) {
            let text = format!("lease {lease}: the session that waited for it has ended");
            let answer = Answer::fault(&Error::new(Kind::Lost, text));
            for caller in std::mem::take(&mut waiting.callers) {
                let _ = caller.reply.send(answer.clone());
            }
        }
    }

    /// Answers the calls that wait, and lets no other one wait.
    fn close(&mut self) {
        self.is_closed = true;
        let over = Instant::now();
        let waiting = self.waiting.values_mut().flat_map(|(_, waiting)| &mut waiting.callers);
        waiting.for_each(|caller| caller.until = over);
    }

    /// Sends an answer, with what the agent must know besides, and what it holds.
    pub fn reply(&mut self, caller: Caller, mut answer: Answer) {
        let Some(agent) = &self.agent else { return };
        let name = agent.ctx.agent.to_string();
        if let Ok(Some(at)) = agent.ctx.find() {
            self.notices.extend(self.holdings.read(&at, agent.number(), false));
        }
        let gives = std::mem::take(&mut answer.gives);
        if let Some((key, _)) = &gives.grant {
            self.holdings.count_answer(key);
            self.notices.drop_turn(&key.0);
        }
        let said = answer.text.lines().next().unwrap_or_default().to_owned();
        let notices = self.notices.take();
        for notice in &notices {
            answer.text += &format!("\nNOTE: {}", notice.text);
        }
        let waits = |(lease, (_, waiting)): (&RecordName, &(String, Waiting))| {
            format!("; you wait for {lease} ({} ahead)", waiting.ahead)
        };
        let waits: String = self.waiting.iter().map(waits).collect();
        answer.text += &format!("\nYou are {name} and hold: {}{waits}.", self.holdings.words());
        answer = answer.with("agent", &*name).with("holdings", self.holdings.objects());
        if !notices.is_empty() {
            let texts: Vec<Value> = notices.iter().map(|notice| (*notice.text).into()).collect();
            answer = answer.with("notices", texts);
        }
        if !self.waiting.is_empty() {
            let waits: Vec<Value> = self.waiting.keys().map(|name| name.as_str().into()).collect();
            answer = answer.with("waiting", waits);
        }
        let (call, listed, written) = (caller.call, self.holdings.keys(), None);
        let given = Given { call, gives, reader: name, notices, listed, said, written };
        // The client may have cancelled the call meanwhile.
        match caller.reply.send(answer) {
            Ok(()) => self.notices.given.push(given),
            Err(_) => self.put_back(given),
        }
    }

    /// Records what the client has taken with an answer.
    fn written(&mut self, call: &RequestId) {
        let Some(given) = self.notices.given.written(call) else { return };
        self.holdings.mark_listed(&given.listed);
        for lease in given.notices.iter().filter_map(|notice| notice.turn_of.as_ref()) {
            self.holdings.put_off_unasked(lease, Worker::unasked_until());
        }
        // What cannot be recorded stays unread, and is given once more.
        let _ = inbox::mark_read(&self.setting.ctx.bus_dir, &given.reader, &given.gives.mail);
    }

    /// Drops a call that its client does not wait for any more. A person stopped it: the place in
    /// the line is given up with the last such call, and what was in its answer is put back.
    fn cancel(&mut self, call: &RequestId) {
        self.waiting.retain(|_, (_, waiting)| {
            let before = waiting.callers.len();
            waiting.callers.retain(|caller| caller.call != *call);
            waiting.callers.len() == before || !waiting.callers.is_empty()
        });
        if let Some(given) = self.notices.given.take(call) {
            self.put_back(given);
        }
    }

    /// Puts back what the client did not take.
    fn put_back(&mut self, mut given: Given) {
        // That a lease is the caller's is not said again if it was lost meanwhile.
        let is_lost = |lease: &RecordName| {
            given.listed.iter().any(|key| key.0 == *lease && !self.holdings.has(key))
        };
        given.notices.retain(|notice| !notice.turn_of.as_ref().is_some_and(is_lost));
        self.notices.put_back(given.notices);
        if given.gives.changes {
            let said = given.said;
            self.notices.push(format!("a call that was cancelled was carried out before: {said}"));
        }
        if given.written.is_some() {
            let dir = &self.setting.ctx.bus_dir;
            if inbox::put_back(dir, &given.reader, &given.gives.mail).is_err() {
                let text = "messages in an answer that was cancelled count as read: zeta bus list";
                self.notices.push(text.to_owned());
            }
        }
        if let Some((key, is_new)) = given.gives.grant {
            verb::lease::grant_untaken(self, &key, is_new, given.written.is_some());
        }
    }

    fn turn(&mut self, lease: &RecordName, id: &str, turn: Turn) {
        let is_wanted = self.waiting.get(lease).is_some_and(|(known, _)| known == id);
        match turn {
            Turn::NotYet { held, ahead } => {
                let Some((_, waiting)) = self.waiting.get_mut(lease).filter(|_| is_wanted) else {
                    return;
                };
                let said = format!("{} ({ahead} ahead of you)", printable(&held.text));
                waiting.callers.iter().for_each(|caller| {
                    let _ = caller.progress.send(said.clone());
                });
                (waiting.held, waiting.ahead) = (Some(held), ahead);
            }
            Turn::Granted(record) => verb::lease::granted_in_turn(self, &record, is_wanted),
            Turn::Failed(error) if is_wanted => self.fail_place(lease, &error),
            Turn::Failed(_) => {}
        }
    }

    /// Ends the wait for a lease with an error.
    pub fn fail_place(&mut self, lease: &RecordName, error: &Error) {
        let Some((_, mut waiting)) = self.waiting.remove(lease) else { return };
        let answer = Answer::fault(error);
        if waiting.callers.is_empty() {
            self.notices.push_turn(lease, format!("{lease}: {}", printable(&error.text)));
        }
        for caller in waiting.callers.drain(..) {
            self.reply(caller, answer.clone());
        }
    }

    /// Does what is due: renews, answers calls that have waited long enough, and gives back what no
    /// call asked for.
    fn keep_time(&mut self) {
        let now = Instant::now();
        verb::lease::answer_late_calls(self, now);
        let Some(agent) = &self.agent else { return };
        if self.holdings.next().is_some_and(|next| next <= now)
            && let Ok(Some(at)) = agent.ctx.find()
        {
            let lost = self.holdings.renew_due(&at);
            self.notices.extend(lost);
            verb::lease::give_back_unasked(self, Some(now));
        }
    }

    /// The time from now on until which a lease is kept that no call asked for.
    pub fn unasked_until() -> Instant {
        Instant::now() + UNASKED
    }

    /// Releases what must not outlive this server.
    fn end(&mut self, jobs: &Receiver<Job>) {
        let until = Instant::now() + LEAVE_LIMIT;
        std::mem::take(&mut self.waiting).into_values().for_each(|(_, place)| place.leave(until));
        // A lease that came at this moment has no caller, and goes back.
        while let Ok(job) = jobs.try_recv() {
            if let Job::Turn(lease, id, turn) = job {
                self.turn(&lease, &id, turn);
            }
        }
        verb::lease::give_back_unasked(self, None);
        if let Some(agent) = self.agent.take() {
            agent.end();
        }
    }
}
