//! The session of an agent tool as a hook knows it: its name, its record, its mail and its
//! neighbours.

use std::cell::OnceCell;
use std::io::Write as _;
use std::os::unix::process::parent_id;
use std::path::Path;

use zeta_core::bus::item::space_of;
use zeta_core::evidence::{Process, Processes};
use zeta_core::hook::edits::{self, Edit};
use zeta_core::hook::greeting::{self, Handed, How, Neighbour};
use zeta_core::hook::session::{Named, OfHook, Seat, Sessions, decide_hook, is_plain_id};
use zeta_core::hook::turn;
use zeta_core::hook::waiting::{self, Sign, WAITS_FOR, WAITS_SINCE};
use zeta_core::hook::{Event, Moment, Question, Tool, is_renewal_due};
use zeta_core::lease::Record;
use zeta_core::pattern::PathClaim;
use zeta_core::record::Fields;
use zeta_core::shell::quote_word;
use zeta_core::time::parse_utc;

use crate::config::Config;
use crate::environment::{self, Overrides};
use zeta_bus::claim::paths::{self, report};
use zeta_bus::claim::place::{PlacedClaim, Places, places};
use zeta_bus::messages::inbox;
use zeta_os::error::{Error, Result};
use zeta_os::{host, process};
use zeta_state::context::{Context, NodeHandle};
use zeta_state::lease::space::Space;
use zeta_state::presence::tool_session::{
    self, HOOKED_NS, TOLD, TOOL_SESSION, ToolSession, attend, is_in, is_server_of, living,
    run_seat, set_cwd, take_tool,
};

/// Longest directory of an agent that is recorded, in bytes: what the kernel takes for a path.
const CWD_MAX: usize = 4_096;

/// The session that a call of a hook is about.
pub(super) struct Session {
    pub(super) ctx: Context,
    tool: Tool,
    number: String,
    /// The id that the tool gives it.
    id: String,
    cwd: Option<String>,
    moment: Moment,
    /// See [`Event::inner`].
    is_inner: bool,
    /// See [`Event::question`].
    question: Option<Question>,
    /// `zeta run` keeps the record, and beats.
    is_wrapped: bool,
    /// The process of the tool: it calls hooks itself, or by a shell that became the hook.
    call: Processes,
    /// The agents that servers are which the tool started before its own session was known, each
    /// with its session.
    servers: OnceCell<Vec<(String, String)>>,
}

impl Session {
    /// Finds the session of an event; `caller` is the process that the call names as its tool's.
    pub(super) fn of(
        tool: Tool,
        caller: Option<u32>,
        event: &Event,
        config: &Config,
    ) -> Result<Session> {
        let mut ctx = environment::context(Overrides::default(), config)?;
        let process = tool_process(tool, caller);
        let call = Processes { own: process, child: None, pid_ns: ctx.host.pid_ns };
        let name = ctx.agent_named.then_some(ctx.agent.as_str());
        let variables = (name, ctx.session.as_deref());
        let sessions = Sessions::of(tool, &event.session, process.as_ref(), variables);
        let sessions = sessions.ok_or_else(|| {
            Error::usage(format!("no name of an agent can be made of {:?}", ctx.agent.as_str()))
        })?;
        let found = {
            let handle = ctx.find()?;
            decide(handle.as_ref(), tool, &call, &sessions)
        };
        let run = ctx.session.take().filter(|_| found == OfHook::Run);
        let (agent, number) = match (found, run, sessions.of_process) {
            (OfHook::Run, Some(number), _) => (ctx.agent.clone(), number),
            (OfHook::OfProcess, _, Some(of_process)) => of_process,
            _ => sessions.plain,
        };
        (ctx.agent, ctx.agent_named, ctx.session) = (agent, true, Some(number.clone()));
        Ok(Session {
            ctx,
            tool,
            number,
            id: event.session.clone(),
            call,
            cwd: event.cwd.clone().filter(|cwd| cwd.len() <= CWD_MAX),
            moment: event.moment,
            is_inner: event.inner,
            question: event.question.clone(),
            is_wrapped: found == OfHook::Run,
            servers: OnceCell::new(),
        })
    }

    /// The name of the agent.
    pub(super) fn name(&self) -> &str {
        self.ctx.agent.as_str()
    }

    /// Writes the record of the session, with what `change` adds. The agent does not wait for a
    /// person any more, if the event shows that.
    pub(super) fn attend(&self, change: impl FnOnce(&mut Fields<'static>)) -> Result<()> {
        let (moment, inner, question) = (self.moment, self.is_inner, self.question.as_ref());
        self.record(|fields| {
            let sign = Sign { moment, inner, question };
            if waiting::judge_answered(fields, &sign, host::wall_us()) {
                waiting::clear(fields);
            }
            change(fields);
        })
    }

    /// Writes the record of the session, with what `change` adds.
    fn record(&self, change: impl FnOnce(&mut Fields<'static>)) -> Result<()> {
        let change = |fields: &mut Fields<'static>| {
            if !self.is_inner {
                fields.set_number(HOOKED_NS, host::reading().boot_ns);
                // Whether the turn is over at a stop, the answer decides.
                if self.moment != Moment::Stop {
                    turn::note(fields, self.moment);
                }
            }
            change(fields);
        };
        if self.is_wrapped {
            return self.change_wrapped(change);
        }
        let handle = self.ctx.open()?;
        let session = ToolSession {
            kept_by: self.tool.word(),
            number: &self.number,
            process: self.call.own,
            cwd: self.cwd.as_deref(),
        };
        let (beat_ns, hooked_ns) = attend(&handle, &session, change)?;
        // The agent may beat by itself. What it started only beats: each of its hooks would renew.
        let before_ns = if self.is_inner { beat_ns } else { hooked_ns };
        if is_renewal_due(before_ns, host::reading().boot_ns) {
            tool_session::renew(&handle, &self.number);
        }
        Ok(())
    }

    /// Changes the record that `zeta run` keeps; its beat and its evidence stay.
    fn change_wrapped(&self, change: impl FnOnce(&mut Fields<'static>)) -> Result<()> {
        let handle = self.ctx.open()?;
        tool_session::change(&handle, &self.number, |fields| {
            if let Some(cwd) = &self.cwd {
                set_cwd(fields, cwd);
            }
            if !self.is_inner && is_plain_id(&self.id) {
                fields.set_text(TOOL_SESSION, &self.id);
            }
            change(fields);
        })
    }

    /// Records that the turn is over, unless another hook has put off its end.
    pub(super) fn turn_ends(&self, again: bool) -> Result<()> {
        let age_us = process::age_us(std::process::id()).unwrap_or(0);
        let age_ns = u64::try_from(age_us).unwrap_or(0).saturating_mul(1_000);
        let began_ns = host::reading().boot_ns.saturating_sub(age_ns);
        self.attend(|fields| turn::end(fields, began_ns, again))
    }

    /// Records that the turn goes on because there is mail, for the `times`th time in a row.
    pub(super) fn turn_goes_on(&self, times: u64) -> Result<()> {
        self.attend(|fields| turn::put_off(fields, times, host::reading().boot_ns))
    }

    /// Decides whether the end of the turn may be put off: see [`turn::decide_put_off`].
    pub(super) fn put_off(&self, again: bool) -> Result<Option<u64>> {
        let record = match self.ctx.find()? {
            Some(handle) => tool_session::find(&handle, self.name()),
            None => None,
        };
        let fields = record.map_or_else(|| Fields::new("persona"), |record| record.fields);
        Ok(turn::decide_put_off(&fields, again))
    }

    /// Records that the agent waits for a person.
    pub(super) fn wait(&self, question: &Question) -> Result<()> {
        self.record(|fields| waiting::set(fields, question, host::wall_us()))
    }

    /// Records that the agent goes on, if it waited for a person or for a prompt: a turn can begin
    /// without one.
    pub(super) fn go_on(&self, handle: &NodeHandle<'_>) -> Result<()> {
        match tool_session::waits(handle) {
            true => self.attend(|_| {}),
            false => Ok(()),
        }
    }

    /// Records paths that the agent wrote.
    pub(super) fn edited(&self, paths: &[String]) -> Result<()> {
        self.attend(|fields| {
            let known = fields.text(edits::KEY).unwrap_or_default().into_owned();
            match edits::add(&known, paths, host::reading().boot_ns) {
                text if text.is_empty() => fields.remove(edits::KEY),
                text => fields.set_text(edits::KEY, &text),
            }
        })
    }

    /// Ends the session. One of `zeta run` ends with it.
    pub(super) fn end(&self) -> Result<()> {
        if self.is_wrapped {
            return self.attend(|fields| fields.remove(edits::KEY));
        }
        match self.ctx.find()? {
            Some(handle) => tool_session::end(&handle, &self.number),
            None => Ok(()),
        }
    }

    /// Writes name and session where Claude Code reads the environment of later commands from, so
    /// that a claim of the agent belongs to its session.
    pub(super) fn export(&self) {
        let Some(file) = std::env::var_os("CLAUDE_ENV_FILE").filter(|file| !file.is_empty()) else {
            return;
        };
        if self.tool != Tool::Claude || self.is_wrapped {
            return;
        }
        let text = format!(
            "export ZETA_AGENT={}\nexport ZETA_SESSION={}\n",
            quote_word(self.name()),
            quote_word(&self.number)
        );
        let opened = std::fs::File::options().append(true).create(true).open(file);
        // Without it the agent still has its name from the greeting.
        let _ = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    }

    /// Counts the messages that wait for the agent.
    pub(super) fn mail(&self) -> usize {
        inbox::counts(&self.ctx.bus_dir).get(self.name()).copied().unwrap_or(0)
    }

    /// Records what is said to the agent; true if that is new.
    pub(super) fn tell(&self, digest: &str) -> Result<bool> {
        let Some(handle) = self.ctx.find()? else { return Ok(true) };
        let mut is_new = true;
        tool_session::change(&handle, &self.number, |fields| {
            is_new = fields.text(TOLD).as_deref() != Some(digest);
            fields.set_text(TOLD, digest);
        })?;
        Ok(is_new)
    }

    /// Returns whether the record of a claim is the agent's own.
    pub(super) fn owns(&self, record: &Record) -> bool {
        match &record.session {
            Some(session) => {
                let is_it = |(agent, number): &(String, String)| {
                    record.agent.as_str() == agent && session == number
                };
                let servers = self.servers.get();
                *session == self.number || servers.is_some_and(|known| known.iter().any(is_it))
            }
            None => record.agent == self.ctx.agent,
        }
    }

    /// Looks for servers that the tool started before its session was known, and that have sessions
    /// of their own: what those hold is the agent's. False if there is none that was not known.
    pub(super) fn finds_servers(&self) -> bool {
        if self.servers.get().is_some() {
            return false;
        }
        let Ok(Some(handle)) = self.ctx.find() else { return false };
        let of_server = |(name, fields): (String, Fields<'static>)| {
            let session = is_server_of(&fields, &self.call).then(|| fields.text("session"))??;
            Some((name, session.into_owned()))
        };
        let found = living(&handle).into_iter().filter_map(of_server).collect();
        !self.servers.get_or_init(|| found).is_empty()
    }

    /// Releases what sessions before this one left in the same process.
    pub(super) fn release_left(&self) {
        if let (Some(process), Ok(Some(handle))) = (self.call.own, self.ctx.find()) {
            // What is busy still lasts for its TTL.
            let _ = tool_session::release_left(&handle, &process);
        }
    }

    /// Returns the names of the agents that live, as their records show.
    pub(super) fn living(&self) -> Vec<String> {
        let Ok(Some(handle)) = self.ctx.find() else { return Vec::new() };
        living(&handle).into_iter().map(|(name, _)| name).collect()
    }

    /// Returns the claims of the node that name a place or were handed over.
    pub(super) fn places(&self) -> Result<Places> {
        match self.ctx.find()? {
            Some(handle) => places(&handle),
            None => Ok(Places::default()),
        }
    }

    /// Says which claim other agents handed over to the agent, if it has not acquired it yet.
    pub(super) fn handed_over(
        &self,
        places: &Places,
        cwd: Option<&Path>,
    ) -> Result<Option<String>> {
        let Some(handle) = self.ctx.find()? else { return Ok(None) };
        let is_own = |placed: &&PlacedClaim| {
            placed.claim.handed_over && placed.record.agent == self.ctx.agent
        };
        let items: Vec<&PlacedClaim> = places.claims.iter().filter(is_own).collect();
        let of_space = |lease| paths::handed_over(&handle, lease).unwrap_or_default();
        let of_paths: Vec<Record> = places.spaces.iter().flat_map(of_space).collect();
        let more = (items.len() + of_paths.len()).saturating_sub(1);
        if let Some(placed) = items.first() {
            let note = placed.note(&handle);
            let what = placed.claim.item.as_str();
            let handed = Handed { what, how: How::Item, note: note.as_ref(), more };
            return Ok(Some(greeting::handed_over(self.name(), &handed)));
        }
        if of_paths.is_empty() {
            return Ok(None);
        }
        let here = cwd.and_then(|dir| Space::find(dir).ok());
        let place = |record: &&Record| report::elsewhere(record, here.as_ref());
        let record = of_paths.iter().find(|record| place(record).is_none()).or(of_paths.first());
        Ok(record.map(|record| {
            let claim = PathClaim::of(&record.extra);
            let space = space_of(record.lease.as_str()).unwrap_or_default();
            let what = format!("{} in {space}", report::paths(&claim));
            let options = report::arguments(&claim, Space::from_anywhere);
            let place = place(&record);
            let how = place.as_deref().map_or(How::Paths(options.trim_start()), How::Within);
            greeting::handed_over(self.name(), &Handed { what: &what, how, note: None, more })
        }))
    }

    /// Returns the other agents that live.
    pub(super) fn neighbours(
        &self,
        cwd: Option<&Path>,
        claims: &[PlacedClaim],
    ) -> Result<Vec<Neighbour>> {
        let Some(handle) = self.ctx.find()? else { return Ok(Vec::new()) };
        let own = cwd.and_then(|dir| Space::find(dir).ok());
        let now_us = host::wall_us();
        let neighbour = |(name, fields): (String, Fields<'static>)| {
            let of_agent = claims.iter().filter(|placed| placed.record.agent.as_str() == name);
            let since = fields.text(WAITS_SINCE).and_then(|text| parse_utc(&text).ok());
            let seconds = |since: i64| u64::try_from((now_us - since) / 1_000_000).unwrap_or(0);
            Neighbour {
                items: of_agent.map(|placed| placed.claim.item.clone()).collect(),
                near: own.as_ref().is_some_and(|own| is_in(&fields, own)),
                waits: fields.text(WAITS_FOR).map(|text| text.into_owned()).zip(since.map(seconds)),
                name,
            }
        };
        let is_other = |(name, fields): &(String, Fields<'static>)| {
            name != self.name() && !is_server_of(fields, &self.call)
        };
        Ok(living(&handle).into_iter().filter(is_other).map(neighbour).collect())
    }

    /// Returns what the other agents wrote lately.
    pub(super) fn edits_of_others(&self) -> Vec<(String, Vec<Edit>)> {
        let Ok(Some(handle)) = self.ctx.find() else { return Vec::new() };
        let others = living(&handle).into_iter().filter(|(name, _)| name != self.name());
        others
            .filter_map(|(name, fields)| Some((name, edits::parse(&fields.text(edits::KEY)?))))
            .collect()
    }
}

/// Finds out which session a hook is in. The first tool inside of a `zeta run` becomes the one that
/// it serves.
fn decide(
    handle: Option<&NodeHandle<'_>>,
    tool: Tool,
    call: &Processes,
    sessions: &Sessions,
) -> OfHook {
    let Some(handle) = handle else { return OfHook::Plain };
    let seat = |(agent, number): &Named| tool_session::seat(handle, agent, number, call);
    let of_process = || sessions.of_process.as_ref().map_or(Seat::Free, seat);
    let decide = |run| decide_hook(run, || seat(&sessions.plain), of_process);
    let around = handle.ctx.session.as_deref().filter(|around| !sessions.has(around));
    let run = around.and_then(|around| run_seat(handle, around, call, tool.word()));
    let found = decide(run);
    if let (OfHook::Run, Some(Seat::Free), Some(around)) = (found, run, around) {
        // A record that cannot be written is no reason to leave the work of others unprotected.
        if take_tool(handle, around, tool.word(), call).is_ok_and(|taken| !taken) {
            return decide(Some(Seat::Taken));
        }
    }
    found
}

/// Returns the process of the tool that calls.
fn tool_process(tool: Tool, caller: Option<u32>) -> Option<Process> {
    let named = (tool == Tool::Claude).then(|| std::env::var("CLAUDE_PID").ok());
    let named = named.flatten().and_then(|pid| pid.parse().ok());
    // A hook whose parent has ended is a child of the first process.
    let pid = named.or(caller).unwrap_or_else(parent_id);
    (pid > 1).then(|| process::identify(pid))
}
