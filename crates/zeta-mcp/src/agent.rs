//! The agent whose calls are served: the session of the tool that started this server, or a session
//! of its own.
//!
//! Most clients pass no variable on to a server. So the session is found by the processes above
//! this one: the hooks of a tool, and `zeta run`, record theirs. Where there is none, this process
//! is the agent: its record names it as the evidence.

use std::time::{Duration, Instant};

use zeta_core::hook::agent_name;
use zeta_os::error::{Error, Result};
use zeta_os::{host, process};
use zeta_state::context::Context;
use zeta_state::presence::tool_session::{self, ToolSession, attend, of_ancestor, session_of};

use crate::Setting;

/// What keeps the record of a session of this server's own.
const KEPT_BY: &str = "mcp";
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
        match Agent::of_tool(setting)? {
            Some(agent) => Ok(agent),
            None => {
                let mut agent = Agent::new(setting, client)?;
                agent.attend(setting)?;
                Ok(agent)
            }
        }
    }

    /// Finds the session of the tool that started this server, or of the `zeta run` around it.
    pub fn of_tool(setting: &Setting) -> Result<Option<Agent>> {
        let base = &setting.ctx;
        let Some(handle) = base.find()? else { return Ok(None) };
        let agent = |ctx| Some(Agent { ctx, own: false, beat: None });
        if let Some(number) = &base.session
            && session_of(&handle, &base.agent, number).is_some()
        {
            return Ok(agent(Context { agent_named: true, ..base.clone() }));
        }
        let Some(found) = of_ancestor(&handle) else { return Ok(None) };
        if setting.name_given && found.agent != base.agent {
            return Ok(None);
        }
        let (name, session) = (found.agent, Some(found.number));
        Ok(agent(Context { agent: name, agent_named: true, session, ..base.clone() }))
    }

    fn new(setting: &Setting, client: Option<&str>) -> Result<Agent> {
        let base = &setting.ctx;
        let number = host::random_hex()?;
        let name = match (setting.name_given, base.agent_named) {
            (true, _) => base.agent.clone(),
            (false, true) => named_after(base.agent.as_str(), &number)?,
            (false, false) => {
                let client = Context::agent_of_user(client.unwrap_or(KEPT_BY), 0)?;
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
            kept_by: KEPT_BY,
            number: self.number(),
            process: Some(process::identify_self()),
            cwd,
        };
        attend(&self.ctx.open()?, &session, |_| {})?;
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
