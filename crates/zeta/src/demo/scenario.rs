//! The tools of the script: sandbox, agents and repository, bounded waits, and the report.

use std::time::{Duration, Instant};

use zeta_core::lease::Record;
use zeta_core::name::Label;

use super::Step;
use crate::demo::agents::Agent;
use crate::demo::page::Page;
use crate::demo::records::Records;
use crate::demo::remote::{Remote, in_repository};
use crate::demo::report::{Claim, Event, Observer, Report};
use crate::demo::sandbox::{LIMIT, Sandbox};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_os::spawn::ExitOutcome;
use zeta_state::context::Context;

/// The names of the agents.
pub(super) const AGENTS: [&str; 3] = ["otto-cli", "otto-desktop", "otto-vscode"];
/// The lease that they all want.
pub(super) const LEASE: &str = "register-pr-in-flight";
/// The marker that records the registration.
pub(super) const MARKER: &str = "self-registered";

/// The state of a running demo.
pub(super) struct Scenario<'a> {
    pub(super) sandbox: Sandbox,
    pub(super) remote: Remote,
    pub(super) records: Records,
    pub(super) agents: Vec<Agent>,
    pub(super) report: Report,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) node: Label,
    pub(super) branch: String,
    /// The page, if there is one.
    pub(super) page: Option<Page>,
}

impl Scenario<'_> {
    /// Waits until `find` returns something; meanwhile reports file changes and unexpected ends.
    pub(super) fn wait<T>(
        &mut self,
        step: &str,
        find: impl Fn(&mut Self) -> Step<Option<T>>,
    ) -> Step<T> {
        let until = Instant::now() + LIMIT;
        loop {
            self.report_changes()?;
            let found = find(self)?;
            if let Some(found) = found {
                return Ok(found);
            }
            for agent in &mut self.agents {
                agent.notice_end(step)?;
            }
            if Instant::now() >= until {
                let text = format!("this did not happen within {} s: {step}", LIMIT.as_secs());
                let error = Error::new(Kind::Fault, text);
                return Err(error.hint("repeat with --keep, and read the logs there").into());
            }
            self.observer.waiting(self.sandbox.at_ms(), step);
            let ends: Vec<_> = self.agents.iter().filter_map(Agent::end).collect();
            self.sandbox.sleep(&ends)?;
        }
    }

    /// Waits for the end of an agent.
    pub(super) fn end_of(&mut self, name: &str) -> Step<ExitOutcome> {
        let step = format!("{name} ends");
        let ended = self.wait(&step, |scenario| {
            let agent = agent_of(&mut scenario.agents, name)?;
            agent.notice_end(&step)?;
            Ok(agent.ended)
        })?;
        // The agent's last changes are reported before the conclusions from them.
        self.report_changes()?;
        Ok(ended)
    }

    /// Lets an agent push, once it is about to.
    pub(super) fn let_push(&mut self, name: &str) -> Step<()> {
        self.wait(&format!("{name} is about to push"), |scenario| {
            Ok(scenario.agent(name)?.is_ready().then_some(()))
        })?;
        Ok(agent_of(&mut self.agents, name)?.open_barrier()?)
    }

    /// Returns an agent.
    pub(super) fn agent(&self, name: &str) -> Result<&Agent> {
        self.agents.iter().find(|agent| agent.name == name).ok_or_else(|| not_started(name))
    }

    /// Expects an agent's end from now on.
    pub(super) fn agent_may_end(&mut self, name: &str) -> Step<()> {
        agent_of(&mut self.agents, name)?.may_end = true;
        Ok(())
    }

    /// Returns the lease's record; an error if it is not under this grant any more.
    pub(super) fn lease_of(&self, grant: &Record) -> Result<Record> {
        let lease = self.records.lease()?;
        lease.filter(|lease| lease.fencing_token == grant.fencing_token).ok_or_else(|| {
            let text = format!("{} lost the lease before its time", grant.agent);
            Error::new(Kind::Fault, text).hint("is this machine very busy? repeat the demo")
        })
    }

    /// Tries `find` again for `limit`: signals need a moment, and a guard may be in use.
    pub(super) fn within<T>(&self, limit: Duration, find: impl Fn() -> Option<T>) -> Option<T> {
        let until = Instant::now() + limit;
        loop {
            match find() {
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                found => return found,
            }
        }
    }

    /// Returns the commit that an agent made, from its own clone.
    pub(super) fn commit_of(&mut self, name: &str) -> Step<String> {
        let clone = self.agent(name)?.work.join("clone");
        self.sandbox.must(&in_repository(&clone, &["rev-parse", "HEAD"]))
    }

    /// Runs a lease verb about a grant, as its holder would; returns the exit status.
    pub(super) fn run_lease_verb(&mut self, verb: &str, grant: &Record) -> Step<u8> {
        let zeta = self.sandbox.zeta.clone().into_os_string();
        let dir = self.sandbox.state_dir.clone().into_os_string();
        let token = grant.fencing_token.to_string();
        let mut argv = vec![zeta, "--state-dir".into(), dir];
        let rest = ["--as", grant.agent.as_str(), "lease", verb, LEASE, "--token", &token];
        argv.extend(rest.map(std::ffi::OsString::from));
        Ok(self.sandbox.call(&argv)?.status)
    }

    /// Returns the highest token ever granted.
    pub(super) fn highest(&self) -> Option<u64> {
        self.records.highest_token()
    }

    /// Reports the changes of the files.
    pub(super) fn report_changes(&mut self) -> Step<()> {
        for change in self.records.changes()? {
            let text = format!("{} {}", change.file, change.what);
            self.add_event(Some(change.file), text, change.lines);
        }
        Ok(())
    }

    /// Reports an event.
    pub(super) fn report_event(&mut self, text: String) {
        self.add_event(None, text, Vec::new());
    }

    fn add_event(&mut self, file: Option<String>, text: String, lines: Vec<String>) {
        let event = Event { at_ms: self.sandbox.at_ms(), file, text, lines };
        self.observer.event(&event);
        self.report.events.push(event);
    }

    /// Adds a claim; `checked` is whether the evidence supports it.
    pub(super) fn claim(&mut self, text: impl Into<String>, checked: bool, evidence: String) {
        let at_ms = self.sandbox.at_ms();
        self.report.claims.push(Claim { at_ms, text: text.into(), checked, evidence });
    }
}

/// Returns an agent, to change it.
pub(super) fn agent_of<'a>(agents: &'a mut [Agent], name: &str) -> Result<&'a mut Agent> {
    agents.iter_mut().find(|agent| agent.name == name).ok_or_else(|| not_started(name))
}

fn not_started(name: &str) -> Error {
    Error::new(Kind::Fault, format!("the lease is held by {name}, which the demo did not start"))
}

/// Creates the state directory and the repository.
pub(super) fn set_up(sandbox: &mut Sandbox) -> Step<(Label, Records, Remote)> {
    let ctx = Context {
        state_dir: sandbox.state_dir.clone(),
        node: None,
        agent: Label::new("agent", "demo").map_err(Error::from)?,
        agent_named: true,
        session: None,
        fenced: None,
        lasting_dir: None,
        // The demo makes no claims, so nothing is ever written there.
        bus_dir: sandbox.root.join("bus"),
        lease_ended: zeta_bus::claim::announce_end,
        cluster: None,
        host: host::host()?,
    };
    let node = ctx.open()?.node;
    let records = Records::new(node.path.clone(), LEASE, MARKER, &AGENTS)?;
    let remote = Remote::create(sandbox)?;
    sandbox.watch(&records.dir);
    sandbox.watch(&remote.path);
    Ok((node.name, records, remote))
}
