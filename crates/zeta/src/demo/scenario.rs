//! What the acts are played with: the stage and everything on it, waits that end, and the account.

use std::time::{Duration, Instant};

use zeta_core::lease::Record;
use zeta_core::name::Label;

use super::Step;
use crate::demo::agents::Agent;
use crate::demo::records::Records;
use crate::demo::remote::{Remote, in_repository};
use crate::demo::report::{Claim, Event, Observer, Report};
use crate::demo::sandbox::{LIMIT, Sandbox};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_os::spawn::ExitOutcome;
use zeta_state::context::Context;

/// The agents' names.
pub(super) const AGENTS: [&str; 3] = ["otto-cli", "otto-desktop", "otto-vscode"];
/// The lease that they all want.
pub(super) const LEASE: &str = "register-pr-in-flight";
/// The marker that says that it is done.
pub(super) const MARKER: &str = "self-registered";

/// Everything on the stage.
pub(super) struct Scenario<'a> {
    pub(super) stage: Sandbox,
    pub(super) remote: Remote,
    pub(super) records: Records,
    pub(super) agents: Vec<Agent>,
    pub(super) account: Report,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) node: Label,
    pub(super) branch: String,
}

impl Scenario<'_> {
    /// Waits until `look` finds something; meanwhile file changes are told and ends noticed.
    pub(super) fn wait<T>(
        &mut self,
        step: &str,
        look: impl Fn(&mut Self) -> Step<Option<T>>,
    ) -> Step<T> {
        let until = Instant::now() + LIMIT;
        loop {
            self.tell_changes()?;
            let found = look(self)?;
            if let Some(found) = found {
                return Ok(found);
            }
            for agent in &mut self.agents {
                agent.notice_end(step)?;
            }
            if Instant::now() >= until {
                let text = format!("this did not happen within {} s: {step}", LIMIT.as_secs());
                let error = Error::new(Kind::Fault, text);
                return Err(error.hint("repeat with --keep, and look into the logs there").into());
            }
            self.observer.waiting(self.stage.at_ms(), step);
            let ends: Vec<_> = self.agents.iter().filter_map(Agent::end).collect();
            self.stage.sleep(&ends)?;
        }
    }

    /// Waits for the end of an agent.
    pub(super) fn end_of(&mut self, name: &str) -> Step<ExitOutcome> {
        let step = format!("{name} ends");
        let ended = self.wait(&step, |play| {
            let agent = agent_of(&mut play.agents, name)?;
            agent.notice_end(&step)?;
            Ok(agent.ended)
        })?;
        // What it did last shall be told before what is concluded from it.
        self.tell_changes()?;
        Ok(ended)
    }

    /// Lets an agent push, once it says that it is about to.
    pub(super) fn cue(&mut self, name: &str) -> Step<()> {
        self.wait(&format!("{name} is about to push"), |play| {
            Ok(play.agent(name)?.is_ready().then_some(()))
        })?;
        Ok(agent_of(&mut self.agents, name)?.give_cue()?)
    }

    /// An agent, to look at it.
    pub(super) fn agent(&self, name: &str) -> Result<&Agent> {
        self.agents.iter().find(|agent| agent.name == name).ok_or_else(|| nobody(name))
    }

    /// From now on its end is part of the play.
    pub(super) fn agent_may_end(&mut self, name: &str) -> Step<()> {
        agent_of(&mut self.agents, name)?.may_end = true;
        Ok(())
    }

    /// The lease, which is still under this grant.
    pub(super) fn lease_of(&self, grant: &Record) -> Result<Record> {
        let lease = self.records.lease()?;
        lease.filter(|lease| lease.fencing_token == grant.fencing_token).ok_or_else(|| {
            let text = format!("{} lost the lease before its time", grant.agent);
            Error::new(Kind::Fault, text).hint("is this machine very busy? repeat the demo")
        })
    }

    /// Looks more than once: signals need a moment, and a guard may just be in use.
    pub(super) fn soon<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        (0..20).find_map(|_| {
            let found = look();
            if found.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            found
        })
    }

    /// The commit that an agent made, from its own clone.
    pub(super) fn commit_of(&mut self, name: &str) -> Step<String> {
        let clone = self.agent(name)?.work.join("clone");
        self.stage.must(&in_repository(&clone, &["rev-parse", "HEAD"]))
    }

    /// Asks about a grant as its holder would.
    pub(super) fn ask_zeta(&mut self, verb: &str, grant: &Record) -> Step<u8> {
        let zeta = self.stage.zeta.clone().into_os_string();
        let dir = self.stage.state_dir.clone().into_os_string();
        let token = grant.fencing_token.to_string();
        let mut argv = vec![zeta, "--state-dir".into(), dir];
        let rest = ["--as", grant.agent.as_str(), "lease", verb, LEASE, "--token", &token];
        argv.extend(rest.map(std::ffi::OsString::from));
        Ok(self.stage.call(&argv)?.status)
    }

    /// The highest token ever granted.
    pub(super) fn highest(&self) -> Option<u64> {
        self.records.highest_token()
    }

    /// Tells what changed in the files.
    pub(super) fn tell_changes(&mut self) -> Step<()> {
        for change in self.records.changes()? {
            let text = format!("{} {}", change.file, change.what);
            self.happened(Some(change.file), text, change.lines);
        }
        Ok(())
    }

    /// Tells what happened.
    pub(super) fn tell(&mut self, text: String) {
        self.happened(None, text, Vec::new());
    }

    fn happened(&mut self, file: Option<String>, text: String, lines: Vec<String>) {
        let event = Event { at_ms: self.stage.at_ms(), file, text, lines };
        self.observer.event(&event);
        self.account.events.push(event);
    }

    /// Claims something; the evidence is looked at before.
    pub(super) fn claim(&mut self, text: impl Into<String>, checked: bool, evidence: String) {
        let at_ms = self.stage.at_ms();
        self.account.claims.push(Claim { at_ms, text: text.into(), checked, evidence });
    }
}

/// An agent, to do something to it.
pub(super) fn agent_of<'a>(agents: &'a mut [Agent], name: &str) -> Result<&'a mut Agent> {
    agents.iter_mut().find(|agent| agent.name == name).ok_or_else(|| nobody(name))
}

fn nobody(name: &str) -> Error {
    Error::new(Kind::Fault, format!("the lease is held by {name}, which the demo did not start"))
}

/// Makes the state directory and the repository.
pub(super) fn set_up(stage: &mut Sandbox) -> Step<(Label, Records, Remote)> {
    let ctx = Context {
        state_dir: stage.state_dir.clone(),
        node: None,
        agent: Label::new("agent", "demo").map_err(Error::from)?,
        agent_named: true,
        session: None,
        fenced: None,
        // The demo makes no claims, so nothing is ever written there.
        bus_dir: stage.root.join("bus"),
        lease_ended: zeta_bus::claim::announce_end,
        host: host::host()?,
    };
    let node = ctx.open()?.node;
    let records = Records::new(node.path.clone(), LEASE, MARKER, &AGENTS)?;
    let remote = Remote::create(stage)?;
    stage.watch(&records.dir);
    stage.watch(&remote.path);
    Ok((node.name, records, remote))
}
