//! A worker that uses the command line: `zeta lease` as child processes, either alone or around a
//! child that writes its own log lines.

use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use zeta_core::lease::{Observed, Record};

use super::Outcomes;
use super::arena::{Arena, Lease, now_ns};
use super::child::start;
use super::story::Story;
use super::worker::{Worker, until_ns};

/// The longest wait for a lease, in seconds.
const WAIT: &str = "10s";

/// The call that a process under `lease exec` belongs to, passed to it by its worker.
pub struct Asked<'a> {
    pub lease: Lease,
    pub how: &'a str,
    pub asked_ns: u64,
    pub worker: &'a str,
}

impl Worker<'_> {
    /// Runs one round through the command line.
    pub fn command(&mut self, how: &str) -> Outcomes<()> {
        match how {
            "command" => self.verbs(),
            "exec" => self.wrapper(how, &[]),
            "fenced" => self.wrapper(how, &["--fenced"]),
            _ => Err(format!("no such way: {how}").into()),
        }?;
        self.rest();
        Ok(())
    }

    /// Runs `acquire`, perhaps `renew`, and `release`: no process is bound to the lease, only a
    /// TTL.
    fn verbs(&mut self) -> Outcomes<()> {
        let name = self.lease.name();
        let ttl = format!("{}ms", self.lease.loose_ttl_ms());
        let asked_ns = now_ns();
        let mut acquire = self.arena.zeta(Some(self.lease), "-");
        acquire.args(["lease", "acquire", &name, "-q", "--ttl", &ttl, "--wait", WAIT]);
        let acquired = output(&mut acquire)?;
        let got_ns = now_ns();
        let Ok(token) = String::from_utf8_lossy(&acquired.stdout).trim().parse::<u64>() else {
            return self.came_to_nothing(asked_ns, &acquired);
        };
        // The record has the end of this grant, unless it is already of another holder's grant.
        let until = record(self.arena, self.lease, token)?.map_or(0, |record| until_ns(&record));
        let pid = std::process::id();
        self.story.say(&format!("enter {token} {asked_ns} {got_ns} {until} command {pid}"))?;
        std::thread::sleep(self.stay());
        let word = token.to_string();
        if self.dice.bool() {
            let asked_ns = now_ns();
            let mut renew = self.arena.zeta(Some(self.lease), "-");
            renew.args(["lease", "renew", &name, "--token", &word]);
            let renewed = output(&mut renew)?;
            // The TTL began at a moment between these two times.
            let until = asked_ns + self.lease.loose_ttl_ms() * 1_000_000;
            self.after("renew", token, asked_ns, &renewed, &format!(" {until}"))?;
            std::thread::sleep(self.stay());
        }
        self.story.say(&format!("leave {token} {}", now_ns()))?;
        let asked_ns = now_ns();
        let mut release = self.arena.zeta(Some(self.lease), "-");
        release.args(["lease", "release", &name, "--token", &word]);
        let released = output(&mut release)?;
        self.after("freed", token, asked_ns, &released, "")
    }

    /// Logs the outcome of a verb with a token.
    pub fn after(
        &mut self,
        what: &str,
        token: u64,
        asked_ns: u64,
        output: &Output,
        more: &str,
    ) -> Outcomes<()> {
        let got_ns = now_ns();
        match output.status.code() {
            Some(0) => self.story.say(&format!("{what} {token} {asked_ns} {got_ns}{more}")),
            Some(5) => self.story.say(&format!("lost {token} {asked_ns} {got_ns}")),
            _ => self.came_to_nothing(asked_ns, output),
        }
    }

    /// Runs `lease exec`; the child inside writes the log lines.
    fn wrapper(&mut self, how: &str, options: &[&str]) -> Outcomes<()> {
        let (lease, pid) = (self.lease, std::process::id());
        let (asked_ns, stay_us) = (now_ns(), self.stay().as_micros());
        let role = format!("inside {} {how} {asked_ns} {pid} {stay_us}", lease.at);
        let mut exec = self.arena.zeta(Some(lease), &role);
        exec.args(["lease", "exec", &lease.name(), "-w", "10", "--ttl"]);
        exec.arg(format!("{}ms", lease.ttl_ms())).args(options).arg("--");
        exec.args(self.arena.own_words()?);
        let ended = output(&mut exec)?;
        if !ended.status.success() {
            self.came_to_nothing(asked_ns, &ended)?;
        }
        Ok(())
    }

    /// Logs a refusal, a kill, or a fault, for the judge.
    pub fn came_to_nothing(&mut self, asked_ns: u64, output: &Output) -> Outcomes<()> {
        let got_ns = now_ns();
        let Some(kind) = kind(output.status) else {
            let why = if matches!(output.status.code(), Some(3 | 6)) { "waited" } else { "killed" };
            return self.story.say(&format!("refused {asked_ns} {got_ns} {why}"));
        };
        let text = String::from_utf8_lossy(&output.stderr);
        self.story.say(&format!("fault {asked_ns} {got_ns} {kind} {}", text.trim()))
    }
}

/// Returns the name of an exit status that is a fault. A SIGKILL is not a fault, nor is the status
/// of a child that `lease exec` passes on; any other signal is one.
fn kind(status: ExitStatus) -> Option<&'static str> {
    match status.code() {
        Some(3 | 6 | 137) => None,
        Some(1) => Some("fault"),
        Some(2) => Some("usage"),
        Some(4) => Some("not_found"),
        Some(5) => Some("lost"),
        Some(7) => Some("unsafe"),
        Some(_) => Some("odd"),
        None if std::os::unix::process::ExitStatusExt::signal(&status) == Some(9) => None,
        None => Some("signal"),
    }
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Outcomes<Output> {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(start(command)?.wait_with_output()?)
}

/// Reads the record of a grant, if it still exists.
fn record(arena: &Arena, lease: Lease, token: u64) -> Outcomes<Option<Box<Record>>> {
    let (ctx, lease) = (arena.context(lease)?, lease.record()?);
    let look = ctx.find().ok().flatten().and_then(|handle| handle.view(&lease).ok().flatten());
    Ok(match look.map(|look| look.observed) {
        Some(Observed::Ours(record, ..)) if record.fencing_token.get() == token => Some(record),
        _ => None,
    })
}

/// Runs the child of `lease exec`, which is inside from its first line to its last.
pub fn inside(arena: &Arena, asked: &Asked<'_>, stay: Duration) -> Outcomes<()> {
    let token: u64 = std::env::var("ZETA_FENCING_TOKEN")?.parse()?;
    let got_ns = now_ns();
    let until = match asked.how {
        // The child holds the guard itself: no lease is granted while it runs.
        "fenced" => u64::MAX,
        _ => record(arena, asked.lease, token)?.map_or(0, |record| until_ns(&record)),
    };
    let (pid, wrapper) = (std::process::id(), std::os::unix::process::parent_id());
    let Asked { how, asked_ns, worker, lease } = asked;
    let mut story = Story::open(&arena.dir, &lease.name())?;
    story.say(&format!(
        "enter {token} {asked_ns} {got_ns} {until} {how} {pid},{wrapper},{worker}"
    ))?;
    std::thread::sleep(stay);
    story.say(&format!("leave {token} {}", now_ns()))
}
