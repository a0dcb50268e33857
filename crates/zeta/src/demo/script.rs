//! The script: the steps in order, and the evidence for each claim.

use std::time::Duration;

use rustix::process::Signal;
use zeta_core::lease::Record;
use zeta_core::time::NS_PER_MS;

use super::{Step, Stop};
use crate::demo::agents::{Agent, GRACE, TTL, names};
use crate::demo::page::Page;
use crate::demo::remote::in_repository;
use crate::demo::report::{Observer, Report};
use crate::demo::sandbox::{LIMIT, Sandbox, how};
use crate::demo::scenario::{AGENTS, LEASE, MARKER, Scenario, agent_of, set_up};
use zeta_os::error::Kind;
use zeta_os::process::Listed;
use zeta_os::spawn::ExitOutcome;

/// How long a stop is waited for before it is repeated.
const MOMENT: Duration = Duration::from_millis(100);

/// Runs the script until it ends or stops, and says how long that took, in ms.
pub(super) fn run(
    mut sandbox: Sandbox,
    web: bool,
    observer: &mut dyn Observer,
) -> (Sandbox, Report, Option<Stop>, u64) {
    let set = set_up(&mut sandbox);
    let (node, records, remote) = match set {
        Ok(set) => set,
        Err(stop) => {
            let elapsed_ms = sandbox.at_ms();
            return (sandbox, Report::default(), Some(stop), elapsed_ms);
        }
    };
    let branch = format!("register-node-{node}");
    let report = Report::default();
    let agents = Vec::new();
    let mut scenario =
        Scenario { sandbox, remote, records, agents, report, observer, node, branch, page: None };
    let shown = if web { scenario.show_page() } else { Ok(()) };
    let stop = shown.and_then(|()| scenario.run_steps()).err();
    let elapsed_ms = scenario.sandbox.at_ms();
    if stop.is_none() {
        scenario.stay();
    }
    (scenario.sandbox, scenario.report, stop, elapsed_ms)
}

impl Scenario<'_> {
    fn run_steps(&mut self) -> Step<()> {
        let first = self.race()?;
        self.pause()?;
        let killed = self.kill_in_push(first)?;
        let second = self.succeed(&killed)?;
        self.pause()?;
        let stopped = self.stop_past_the_end(&second)?;
        let third = self.replace(&stopped)?;
        self.pause()?;
        let commit = self.finish(&third)?;
        self.pause()?;
        self.refuse_the_late_push(&second, &third, &commit)?;
        self.refuse_without_token(&third, &commit)?;
        self.close()
    }

    /// Starts three agents; one gets the lease, two wait in its queue.
    fn race(&mut self) -> Step<Record> {
        let root = self.sandbox.root.display().to_string();
        self.report_event(format!(
            "node {}, a state directory and a bare repository in {root}",
            self.node
        ));
        for name in AGENTS {
            let agent = Agent::start(&self.sandbox, &self.remote, name)?;
            self.agents.push(agent);
        }
        self.report_event(format!(
            "{} started under 'zeta run', all to register the node",
            and(&AGENTS)
        ));
        let first =
            self.wait("one agent takes the lease and two wait in the queue", |scenario| {
                Ok(scenario.records.lease()?.filter(|_| scenario.records.queue_length() == 2))
            })?;
        let mut present = Vec::new();
        for agent in &self.agents {
            let record = self.records.persona(agent.name)?;
            let pid = record.as_ref().and_then(|record| record.number("pid"));
            if pid == Some(agent.pid().into()) {
                present.push(format!("{} {}", agent.name, agent.pid()));
            }
        }
        self.claim(
            "each of the three is registered under the process that was started here",
            present.len() == AGENTS.len(),
            format!("pid in persona-*.state: {}", present.join(", ")),
        );
        let agent = first.agent.as_str();
        self.claim(
            format!("{agent} won the lease {LEASE}, the other two wait in the queue"),
            self.highest() == Some(first.fencing_token.get()),
            format!(
                "{LEASE}.lock: agent {agent}, token {}, which is also the highest ever granted; 2 \
                 tickets in its queue",
                first.fencing_token
            ),
        );
        Ok(first)
    }

    /// Kills the holder in the middle of its push, which the repository holds half-way.
    fn kill_in_push(&mut self, first: Record) -> Step<Killed> {
        let (token, name) = (first.fencing_token, first.agent.to_string());
        self.let_push(&name)?;
        let holding = format!("holding token={token}");
        self.wait(&format!("the push of {name} arrives at the repository"), |scenario| {
            Ok(scenario.remote.logged(&holding).then_some(()))
        })?;
        let seen = self.lease_of(&first)?;
        let renewed =
            self.wait("'zeta run' renews the lease while the push hangs", |scenario| {
                let lease = scenario.lease_of(&first)?;
                Ok((lease.renew_seq > seen.renew_seq).then_some(lease))
            })?;
        self.claim(
            format!("'zeta run' keeps the lease of {name} alive while its push hangs"),
            renewed.renewed.boot_ns > seen.renewed.boot_ns,
            format!("{LEASE}.lock: renew_seq {} after {}", renewed.renew_seq, seen.renew_seq),
        );
        let half_way = self.remote.in_quarantine();
        let (killed, died_ns) = agent_of(&mut self.agents, &name)?.kill(&self.sandbox);
        self.remote.stop_holding()?;
        let ended = self.end_of(&name)?;
        self.report_event(format!(
            "SIGKILL to {name}, in the middle of its push: {}",
            names(&killed)
        ));
        let commit = self.commit_of(&name)?;
        let branch = self.branch.clone();
        let landed = self.remote.branches(&mut self.sandbox)?.remove(&branch).map(|tip| tip.commit);
        let has_commit = self.remote.has(&mut self.sandbox, &commit)?;
        let accepted = self.remote.logged(&format!("accepted token={token}"));
        let pushed = killed.iter().any(|listed| listed.name == "git");
        self.claim(
            format!("{name} was killed half-way through its push, and nothing of it landed"),
            ended == ExitOutcome::Signaled(Signal::KILL.as_raw())
                && pushed
                && half_way == 1
                && !accepted
                && !has_commit
                && landed.is_none(),
            format!(
                "wrapper: {}; git among the killed: {pushed}; objects in quarantine: {half_way}; \
                 refs/heads/{branch}: {}; commit {} there: {has_commit}",
                how(ended),
                landed.as_deref().unwrap_or("none"),
                short(&commit),
            ),
        );
        Ok(Killed { lease: renewed, died_ns })
    }

    /// Waits until the next waiter takes over, at once.
    fn succeed(&mut self, killed: &Killed) -> Step<Record> {
        let first = &killed.lease;
        let second = self.wait("the next waiter takes over from the dead holder", |scenario| {
            Ok(scenario.records.lease()?.filter(|lease| lease.agent != first.agent))
        })?;
        let after_ns = second.acquired_boot_ns.saturating_sub(killed.died_ns);
        let early_ns = first.expires_boot_ns().saturating_sub(second.acquired_boot_ns);
        let us = after_ns / 1000;
        self.claim(
            format!(
                "{} took over {}.{:01} ms after the kill, with a higher token",
                second.agent,
                us / 1000,
                us % 1000 / 100
            ),
            second.fencing_token > first.fencing_token
                && second.acquired_boot_ns >= killed.died_ns
                && early_ns > 0,
            format!(
                "{LEASE}.lock: token {} after {}; taken {} ms before the dead one's TTL was over",
                second.fencing_token,
                first.fencing_token,
                early_ns / NS_PER_MS
            ),
        );
        let record = self.records.persona(first.agent.as_str())?;
        let signed_off = record.is_some_and(|record| record.raw("ended_at").is_some());
        let work = self.agent(first.agent.as_str())?.work.clone();
        // The kernel ends a process some time after the SIGKILL, and one that was just about to
        // become another program was not in the list then.
        let agent = self.agent(first.agent.as_str())?;
        let ended = || agent.signal(&self.sandbox, Signal::KILL).is_empty().then_some(0);
        let alive = self.within(LIMIT, ended);
        let alive = alive.unwrap_or_else(|| self.sandbox.processes_of(&work).len());
        self.claim(
            format!("{} is dead: no process of it runs, and it did not sign off", first.agent),
            !signed_off && alive == 0,
            format!(
                "persona-{}.state has ended_at: {signed_off}; its processes: {alive}",
                first.agent
            ),
        );
        Ok(second)
    }

    /// Stops the second agent right before its push.
    fn stop_past_the_end(&mut self, second: &Record) -> Step<Record> {
        let name = second.agent.to_string();
        self.wait(&format!("{name} is about to push"), |scenario| {
            Ok(scenario.agent(&name)?.is_ready().then_some(()))
        })?;
        let stopped = self.wait(&format!("{name} stops, wrapper and all"), |scenario| {
            let agent = scenario.agent(&name)?;
            agent.signal(&scenario.sandbox, Signal::STOP);
            let stopped = scenario.within(MOMENT, || {
                let processes = agent.processes(&scenario.sandbox);
                processes.iter().all(Listed::is_stopped).then_some(processes)
            });
            // A shell that is stopped between vfork and exec of its child waits for the child and
            // never shows as stopped. A process that is stopped while it writes holds the guard and
            // keeps all others from the lease. The demo shows neither, so the stop is repeated.
            let free = || scenario.records.guard_is_free().then_some(());
            let (Some(stopped), Some(())) = (stopped, scenario.within(MOMENT, free)) else {
                agent.signal(&scenario.sandbox, Signal::CONT);
                return Ok(None);
            };
            Ok(Some(stopped))
        })?;
        self.report_event(format!("SIGSTOP to {name}, right before its push: {}", names(&stopped)));
        self.lease_of(second).map_err(Stop::from)
    }

    /// Waits until the stopped agent is replaced, after its TTL and its grace.
    fn replace(&mut self, stopped: &Record) -> Step<Record> {
        let name = stopped.agent.to_string();
        let third = self.wait(
            &format!("the TTL ({}) and the grace ({}) of {name} run out", TTL.0, GRACE.0),
            |scenario| Ok(scenario.records.lease()?.filter(|lease| lease.agent != stopped.agent)),
        )?;
        let work = self.agent(&name)?.work.clone();
        let processes = self.sandbox.processes_of(&work);
        let still = !processes.is_empty() && processes.iter().all(Listed::is_stopped);
        let after_ns = third.acquired_boot_ns.saturating_sub(stopped.renewed.boot_ns);
        let after_ms = after_ns / NS_PER_MS;
        let bound_ms = stopped.ttl_ms + stopped.grace_ms;
        self.claim(
            format!("{} replaced {name}, which is alive, after TTL and grace", third.agent),
            third.fencing_token > stopped.fencing_token
                && after_ms >= bound_ms
                && bound_ms == TTL.1 + GRACE.1
                && still,
            format!(
                "{LEASE}.lock: token {} after {}; {after_ms} ms after the last renewal, TTL + \
                 grace are {bound_ms} ms; {} processes of {name} are stopped",
                third.fencing_token,
                stopped.fencing_token,
                processes.len()
            ),
        );
        Ok(third)
    }

    /// Lets the third agent push, set the marker and release.
    fn finish(&mut self, third: &Record) -> Step<String> {
        let name = third.agent.to_string();
        self.agent_may_end(&name)?;
        self.let_push(&name)?;
        let ended = self.end_of(&name)?;
        let commit = self.commit_of(&name)?;
        let branch = self.branch.clone();
        let tip = self.remote.branches(&mut self.sandbox)?.remove(&branch).unwrap_or_default();
        self.claim(
            format!("{name} pushed the registration"),
            tip.commit == commit
                && tip.author == name
                && self.remote.logged(&format!("accepted token={}", third.fencing_token)),
            format!(
                "refs/heads/{branch}: {}, author {}; hook: accepted token={}",
                short(&tip.commit),
                tip.author,
                third.fencing_token
            ),
        );
        let marker = self.records.marker()?.unwrap_or_default();
        let text = |key| marker.text(key).map_or_else(|| "none".to_owned(), |t| t.into_owned());
        let url = format!("file://{}#{branch}", self.remote.path.display());
        self.claim(
            format!("{name} set the marker {MARKER}"),
            text("branch") == branch && text("pr_url") == url && text("agent") == name,
            format!(
                "{MARKER}.marker: branch {}, agent {}, pr_url {}",
                text("branch"),
                text("agent"),
                text("pr_url")
            ),
        );
        let lease = self.records.lease()?;
        self.claim(
            format!("{name} released the lease and ended well"),
            ended == ExitOutcome::Exited(0)
                && lease.is_none()
                && self.highest() == Some(third.fencing_token.get()),
            format!(
                "wrapper {}; {LEASE}.lock there: {}; highest token ever: {}",
                how(ended),
                lease.is_some(),
                self.highest().unwrap_or(0)
            ),
        );
        Ok(commit)
    }

    /// Wakes the second agent, which pushes as if nothing had happened.
    fn refuse_the_late_push(&mut self, second: &Record, third: &Record, commit: &str) -> Step<()> {
        let name = second.agent.to_string();
        for verb in ["check", "renew"] {
            let status = self.run_lease_verb(verb, second)?;
            self.claim(
                format!("'zeta lease {verb}' reports that the old token is lost"),
                status == Kind::Lost.status(),
                format!("zeta lease {verb} --token {}: exit {status}", second.fencing_token),
            );
        }
        self.agent_may_end(&name)?;
        self.let_push(&name)?;
        let agent = self.agent(&name)?;
        let continued = agent.signal(&self.sandbox, Signal::CONT);
        self.report_event(format!("SIGCONT to {name}: {}", names(&continued)));
        let ended = self.end_of(&name)?;
        let refused =
            format!("refused token={} highest={}", second.fencing_token, third.fencing_token);
        let logged = self.remote.logged(&refused);
        let branch = self.branch.clone();
        let landed = self.remote.branches(&mut self.sandbox)?.remove(&branch).map(|tip| tip.commit);
        let late = self.commit_of(&name)?;
        let has_late = self.remote.has(&mut self.sandbox, &late)?;
        self.claim(
            format!("the repository refused the late push of {name}"),
            logged && landed.as_deref() == Some(commit) && !has_late && late != commit,
            format!(
                "hook: {}; refs/heads/{branch}: {}; commit {} there: {has_late}",
                if logged { &refused } else { "no refusal in its log" },
                short(landed.as_deref().unwrap_or("none")),
                short(&late)
            ),
        );
        self.claim(
            format!("{name} noticed that it had lost the lease, and stopped"),
            ended == ExitOutcome::Exited(Kind::Lost.status()),
            format!("its wrapper {}", how(ended)),
        );
        Ok(())
    }

    /// Pushes without a token: the repository refuses that as well.
    fn refuse_without_token(&mut self, third: &Record, commit: &str) -> Step<()> {
        let clone = self.agent(third.agent.as_str())?.work.join("clone");
        let target = format!("HEAD:refs/heads/{}-again", self.branch);
        let push = in_repository(&clone, &["push", "-q", "origin", &target]);
        let status = self.sandbox.call(&push)?.status;
        let branches = self.remote.branches(&mut self.sandbox)?;
        let names: Vec<&str> = branches.keys().map(String::as_str).collect();
        let unchanged = branches.get(&self.branch).is_some_and(|tip| tip.commit == commit);
        let logged = self.remote.logged("refused token=none no-token");
        self.claim(
            "a push without a token is refused too",
            status != 0 && names == ["main", &self.branch] && unchanged && logged,
            format!(
                "git push exits {status}; branches: {}; hook logged it: {logged}",
                names.join(", ")
            ),
        );
        Ok(())
    }

    /// Checks that no process is left.
    fn close(&mut self) -> Step<()> {
        let left = self.wait("the last processes end", |scenario| {
            let page = scenario.page.as_ref().map(Page::pids).unwrap_or_default();
            let mut left = scenario.sandbox.all_processes();
            left.retain(|listed| !page.contains(&listed.process.pid));
            Ok(left.is_empty().then_some(left))
        })?;
        self.claim(
            "no process is left",
            left.is_empty(),
            match self.page {
                Some(_) => "only the page in /proc has this demo's mark in its environment",
                None => "nothing in /proc has this demo's mark in its environment",
            }
            .to_owned(),
        );
        Ok(())
    }
}

/// The last seen lease of the killed agent, and the boot clock's time of the kill.
struct Killed {
    lease: Record,
    died_ns: u64,
}

fn and(names: &[&str]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.join(""),
    }
}

fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}
