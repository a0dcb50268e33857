//! What is played: who the agents are (`cast`), what they hold (`leases`), what they write to each
//! other (`mail`), and in which order all of that happens.

mod actor;
mod cast;
mod leases;
mod mail;
mod past;
mod stage;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::actor::Actor;
use self::cast::{CAST, Kept, Part};
use self::leases::{LEASES, Lease};
use self::stage::Stage;

/// The result of a step; an error ends the scene with its text.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The agent that is killed while it holds a lease.
const KILLED: &str = "vera";
/// The agent that is stopped.
const STOPPED: &str = "rex";
/// The agent that waits for a person.
const ASKS: &str = "otto";
/// The agents that write one file: the second one came later, into the worktree of the first.
const WRITERS: [&str; 2] = ["mira", "claude"];
/// The file that they write, from the top of their worktree.
const FILE: &str = "src/cart/price.ts";
/// What the agent asks its person for.
const COMMAND: &str = "git push --force-with-lease origin feat/invoice";
/// How long a step may take: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Twelve agents at work. All of them end when it is dropped, and its directory is gone.
pub struct Scene {
    // Before the stage: the agents end first.
    actors: Vec<Actor>,
    stage: Stage,
}

impl Scene {
    /// Plays everything, up to the state that then stays. `zeta` is the program, and `dir` does not
    /// exist yet.
    pub fn play(zeta: &Path, dir: &Path) -> Outcome<Scene> {
        let mut scene = Scene { actors: Vec::new(), stage: Stage::make(zeta, dir)? };
        scene.stage.set_minutes_ago(120.0)?;
        for part in CAST.iter().chain([&cast::TARA]) {
            let actor = Actor::start(&scene.stage, part)?;
            scene.actors.push(actor);
        }
        for part in &CAST {
            scene.introduce(part)?;
        }
        scene.past()?;
        scene.present()?;
        Ok(scene)
    }

    /// Plays what the history shows: an hour that takes some seconds.
    fn past(&mut self) -> Outcome<()> {
        for step in &past::PAST {
            self.stage.set_minutes_ago(step.minutes_ago.into())?;
            match step.command {
                past::KILL => self.kill(step.agent)?,
                command => self.done(step.agent, command)?,
            }
        }
        Ok(())
    }

    /// Plays the last hour, up to now.
    fn present(&mut self) -> Outcome<()> {
        for (at, lease) in LEASES.iter().enumerate() {
            self.stage.set_minutes_ago(60.0 - 1.3 * at as f64)?;
            self.acquire(lease)?;
            for message in mail::MESSAGES.iter().filter(|message| message.after == at) {
                let (to, text) = (quoted(message.to), quoted(message.text));
                self.done(message.from, &format!("zeta bus send {to} {text} 2>/dev/null"))?;
            }
        }
        self.stage.set_minutes_ago(4.2)?;
        self.ask()?;
        for lease in &LEASES {
            for waiter in lease.waiters {
                self.stage.set_minutes_ago(3.0)?;
                self.wait_in_line(lease, waiter)?;
            }
        }
        self.stage.set_minutes_ago(2.0)?;
        self.done(STOPPED, "zeta heartbeat >/dev/null")?;
        self.stop()?;
        self.stage.set_minutes_ago(1.0)?;
        self.done(KILLED, "zeta heartbeat >/dev/null")?;
        self.kill(KILLED)?;
        self.stage.set_minutes_ago(0.0)?;
        self.keep_up()
    }

    /// The state directory.
    pub fn state_dir(&self) -> &Path {
        self.stage.state_dir()
    }

    /// The bus directory.
    pub fn bus_dir(&self) -> &Path {
        self.stage.bus_dir()
    }

    /// Does again what is forgotten after half a minute: two agents write one file.
    pub fn keep_up(&mut self) -> Outcome<()> {
        for writer in WRITERS {
            let path = self.stage.worktree("shop-cart").join(FILE);
            let input = serde_json::json!({"session_id": writer, "tool_name": "Edit",
                "tool_input": {"file_path": path}});
            self.hook(writer, "claude", "after-tool", &input)?;
        }
        Ok(())
    }

    fn actor(&mut self, name: &str) -> Outcome<&mut Actor> {
        let found = self.actors.iter_mut().find(|actor| actor.part.name == name);
        found.ok_or_else(|| format!("{name} is not in the cast").into())
    }

    /// Lets an agent run a command that must succeed.
    fn done(&mut self, name: &str, command: &str) -> Outcome<()> {
        match self.actor(name)?.run(command)? {
            0 => Ok(()),
            status => {
                let said = self.stage.said();
                Err(format!("{name}: {command}: exit {status}: {said}").into())
            }
        }
    }

    /// Calls a hook as the tool of an agent does.
    fn hook(
        &mut self,
        name: &str,
        tool: &str,
        event: &str,
        input: &serde_json::Value,
    ) -> Outcome<()> {
        let command =
            format!("zeta hook run {tool} {event} >/dev/null <<'END'\n{input}\nEND\ntrue");
        self.done(name, &command)
    }

    /// Begins the session of an agent, which says what it does.
    fn introduce(&mut self, part: &Part) -> Outcome<()> {
        let worktree = self.stage.worktree(part.worktree);
        if let Some(tool) = part.tool {
            let input = serde_json::json!({"session_id": part.name, "cwd": worktree});
            self.hook(part.name, tool, "session-start", &input)?;
            self.hook(part.name, tool, "prompt", &input)?;
        }
        let (task, status) = (quoted(part.task), quoted(part.status));
        let place = quoted(&worktree.display().to_string());
        // The agent of a tool has the name that its hook gave it.
        let own = match part.kept {
            Kept::ByHooks => "\"$ZETA_AGENT\"",
            Kept::ByRun(_) => "",
        };
        let source = match part.kept {
            Kept::ByHooks => ". \"$CLAUDE_ENV_FILE\"; ",
            Kept::ByRun(_) => "",
        };
        self.done(
            part.name,
            &format!(
                "{source}zeta persona set {own} --task {task} --status {status} --branch {} \
                 --worktree {place}",
                part.branch
            ),
        )
    }

    fn acquire(&mut self, lease: &Lease) -> Outcome<()> {
        let worktree = self.stage.worktree(cast::worktree_of(lease.holder)?);
        let command = lease.command(&worktree.display().to_string());
        self.done(lease.holder, &format!("{command} >/dev/null"))
    }

    /// Starts a command of an agent that waits for a lease, and waits until it stands in line.
    fn wait_in_line(&mut self, lease: &Lease, waiter: &str) -> Outcome<()> {
        let before = self.stage.tickets(lease.name)?;
        let more = lease.options;
        self.done(
            waiter,
            &format!(
                "zeta lease acquire {} {more} --wait 12h >/dev/null 2>&1 & waits=$!; true",
                lease.name
            ),
        )?;
        self.until(&format!("{waiter} waits for {}", lease.name), |scene| {
            Ok(scene.stage.tickets(lease.name)? > before)
        })?;
        if lease.holder != KILLED {
            return Ok(());
        }
        // These two were stopped with Ctrl-Z: so the lease stays with the dead holder.
        self.steady("kill -STOP $waits", "kill -CONT $waits", waiter, lease.name)
    }

    /// Stops a process between two of its steps: one that is stopped inside the guard of the lease
    /// keeps all others out, and is stopped again a moment later.
    fn steady(&mut self, stop: &str, go_on: &str, of: &str, lease: &str) -> Outcome<()> {
        for _ in 0..20 {
            self.done(of, stop)?;
            // A signal takes effect a moment after it was sent.
            thread::sleep(Duration::from_millis(50));
            if self.stage.is_guard_free(lease)? {
                return Ok(());
            }
            self.done(of, go_on)?;
        }
        Err(format!("{of} was in the guard of {lease} each time").into())
    }

    /// Stops an agent as a whole, and waits until its leases are late.
    fn stop(&mut self) -> Outcome<()> {
        let held = LEASES.iter().filter(|lease| lease.holder == STOPPED && !lease.is_claim());
        let held: Vec<&str> = held.map(|lease| lease.name).collect();
        self.until("the stopped agent is outside of all guards", |scene| {
            scene.actor(STOPPED)?.signal(Signal::STOP)?;
            thread::sleep(Duration::from_millis(50));
            for lease in &held {
                if !scene.stage.is_guard_free(lease)? {
                    scene.actor(STOPPED)?.signal(Signal::CONT)?;
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        self.until("the stopped agent is hung", |scene| {
            Ok(scene.status(STOPPED)?.is_some_and(|word| word == "hung"))
        })
    }

    /// Kills an agent with its command.
    fn kill(&mut self, name: &str) -> Outcome<()> {
        self.actor(name)?.signal(Signal::KILL)?;
        self.until("the killed agent is gone", |scene| {
            Ok(scene.status(name)?.is_some_and(|word| word == "gone"))
        })
    }

    /// Lets an agent ask its person, by the hook of its tool.
    fn ask(&mut self) -> Outcome<()> {
        let input = serde_json::json!({"session_id": ASKS, "tool_name": "Bash",
            "hook_event_name": "PermissionRequest", "tool_input": {"command": COMMAND}});
        self.hook(ASKS, "claude", "waiting", &input)
    }

    /// Returns how alive an agent is, by `zeta status`.
    fn status(&self, name: &str) -> Outcome<Option<String>> {
        let out = self.stage.zeta(&["status", "--json"]).output()?;
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout)?;
        let agents = answer.pointer("/nodes/0/agents").and_then(|agents| agents.as_array());
        let mut agents = agents.into_iter().flatten();
        let found = agents.find(|agent| agent.get("agent").is_some_and(|known| known == name));
        let word = found.and_then(|agent| agent.get("liveness")?.as_str());
        Ok(word.map(str::to_owned))
    }

    fn until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Scene) -> Outcome<bool>,
    ) -> Outcome<()> {
        let end = Instant::now() + LIMIT;
        while !is_so(self)? {
            if Instant::now() > end {
                return Err(format!("not within {} s: {what}", LIMIT.as_secs()).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Quotes a text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
