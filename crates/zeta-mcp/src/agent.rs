//! The agent whose calls are served: the session of the tool that started this server, or a session
//! of its own.
//!
//! Most clients pass no variable on to a server. So the session is found by the processes above
//! this one: the hooks of a tool, and `zeta run`, record theirs. Where there is none, this process
//! is the agent: its record names it as the evidence.

use std::time::{Duration, Instant};

use zeta_core::evidence::Processes;
use zeta_core::hook::agent_name;
use zeta_core::hook::session::{BY_SERVER, Inherited, Seat, decide_above, judge_client, set_tool};
use zeta_os::error::{Error, Result};
use zeta_os::{host, process};
use zeta_state::context::Context;
use zeta_state::presence::ancestor::{AncestorSession, client, nearest};
use zeta_state::presence::tool_session::{
    self, ToolSession, attend, run_seat, session_of, take_tool,
};

use crate::Setting;

/// How often a call is a sign of life.
const BEAT_EVERY: Duration = Duration::from_secs(20);
/// The longest part of a client's name in the name of an agent.
const BASE_MAX: usize = 24;

/// The agent.
#[derive(Debug)]
pub struct Agent {
    /// The caller, with its name and its session.
    pub ctx: Context,
    /// The session is this server's own, and ends with it.
    pub own: bool,
    /// The last beat of a session of its own.
    beat: Option<Instant>,
}

impl Agent {
    /// Finds the session of the calls, or makes one; `client` is the name of the client program.
    pub fn find(setting: &Setting, client: Option<&str>) -> Result<Agent> {
        match Agent::of_tool(setting, client)? {
            Some(agent) => Ok(agent),
            None => {
                let mut agent = Agent::new(setting, client)?;
                agent.attend(setting)?;
                Ok(agent)
            }
        }
    }

    /// Finds the session of the tool that started this server, or of the `zeta run` around it.
    pub fn of_tool(setting: &Setting, client: Option<&str>) -> Result<Option<Agent>> {
        let base = &setting.ctx;
        let Some(handle) = base.find()? else { return Ok(None) };
        let number = base.session.as_deref();
        let number = number.filter(|number| session_of(&handle, &base.agent, number).is_some());
        let inherited = if number.is_some() { Inherited::Recorded } else { Inherited::Nothing };
        let above = nearest(&handle, number.map(|number| (&base.agent, number)));
        let is_inherited = |above: &AncestorSession| {
            above.agent == base.agent && Some(above.number.as_str()) == number
        };
        let above =
            above.filter(|above| is_inherited(above) || decide_above(inherited, above.keeper()));
        let found = match (&above, number) {
            (Some(above), _) => (above.agent.clone(), above.number.clone()),
            (None, Some(number)) => (base.agent.clone(), number.to_owned()),
            (None, None) => return Ok(None),
        };
        if setting.name_given && found.0 != base.agent {
            return Ok(None);
        }
        let (agent, session) = (found.0, Some(found.1));
        let ctx = Context { agent, agent_named: true, session, ..base.clone() };
        let agent = Agent { ctx, own: false, beat: None };
        let is_client = above.map_or(Ok(true), |above| agent.serves(&above, client))?;
        Ok(is_client.then_some(agent))
    }

    /// Returns whether the session that was found above is that of this server's client, and not of
    /// a tool around it.
    fn serves(&self, above: &AncestorSession, client: Option<&str>) -> Result<bool> {
        if let Some(way) = above.way() {
            return Ok(judge_client(&way, client));
        }
        // A `zeta run` whose tool calls no hooks serves the first client.
        let Some(at) = self.ctx.find()? else { return Ok(true) };
        let call = Processes { own: above.client(), child: None, pid_ns: self.ctx.host.pid_ns };
        match call.own.and_then(|_| run_seat(&at, self.number(), &call, BY_SERVER)) {
            Some(Seat::Free) => take_tool(&at, self.number(), BY_SERVER, &call),
            seat => Ok(seat != Some(Seat::Taken)),
        }
    }

    fn new(setting: &Setting, client: Option<&str>) -> Result<Agent> {
        let base = &setting.ctx;
        let number = host::random_hex()?;
        let name = match (setting.name_given, base.agent_named) {
            (true, _) => base.agent.clone(),
            (false, true) => named_after(base.agent.as_str(), &number)?,
            (false, false) => {
                let client = Context::agent_of_user(client.unwrap_or(BY_SERVER), 0)?;
                let client = client.as_str();
                named_after(client.get(..BASE_MAX).unwrap_or(client), &number)?
            }
        };
        let ctx = Context { agent: name, agent_named: true, session: Some(number), ..base.clone() };
        Ok(Agent { ctx, own: true, beat: None })
    }

    /// The number of its session.
    pub fn number(&self) -> &str {
        self.ctx.session.as_deref().unwrap_or_default()
    }

    /// Returns whether its session still lasts. One of this server's own lasts as long as it does.
    pub fn lasts(&self) -> Result<bool> {
        if self.own {
            return Ok(true);
        }
        let found = self.ctx.find()?;
        Ok(found.is_some_and(|at| session_of(&at, &self.ctx.agent, self.number()).is_some()))
    }

    /// Writes a sign of life into the record of a session of this server's own. Hooks and
    /// `zeta run` beat for theirs.
    pub fn attend(&mut self, setting: &Setting) -> Result<()> {
        if !self.own || self.beat.is_some_and(|beat| beat.elapsed() < BEAT_EVERY) {
            return Ok(());
        }
        let cwd = setting.cwd.to_str();
        let session = ToolSession {
            kept_by: BY_SERVER,
            number: self.number(),
            process: Some(process::identify_self()),
            cwd,
        };
        let call = Processes { own: client(), child: None, pid_ns: self.ctx.host.pid_ns };
        attend(&self.ctx.open()?, &session, |fields| set_tool(fields, BY_SERVER, &call))?;
        self.beat = Some(Instant::now());
        Ok(())
    }

    /// Ends a session of this server's own, with all that it holds.
    pub fn end(&self) {
        if !self.own {
            return;
        }
        // Whatever fails here, the end of this process frees it.
        let _ = self.ctx.find().map(|found| found.map(|at| tool_session::end(&at, self.number())));
    }
}

fn named_after(base: &str, number: &str) -> Result<zeta_core::name::Label> {
    agent_name(base, number)
        .ok_or_else(|| Error::usage(format!("no agent's name can be made of {base:?}")))
}
