//! `zeta post run`: real supervisors, real agents of three vendors that do what a test says, and
//! real repositories.

mod group;
mod notify;
mod place;
mod resume;
mod run;
mod ticks;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{LIMIT, Sandbox, signal, until, wait};

/// An agent: it says that it began, does what the file of its vendor says, and says that it ended.
/// A second one of the same persona at a time says so.
const AGENT: &str = r#"#!/bin/sh
vendor=$1 persona=$2 post=$3 tier=$4 prompt=$5 at=$PWD
cd "$(dirname "$0")" || exit 99
other=$(cat "busy-$persona" 2>/dev/null)
[ -n "$other" ] && grep -qs "^State:.[^ZX]" "/proc/$other/status" && echo "OVERLAP $persona" >>log
echo $$ >"busy-$persona"
who="$vendor $persona $post $tier $ZETA_AGENT $ZETA_LEASE"
echo "begin $who at=$at prompt=$prompt" >>log
finish() { rm -f "busy-$persona"; echo "end $vendor $persona $post $1" >>log; exit "$1"; }
todo=$(cat "$vendor" 2>/dev/null)
case "$todo" in
outage) echo "API Error: 529 overloaded_error" >&2; finish 1 ;;
fail) echo "error: no idea" >&2; finish 9 ;;
hang) trap '' TERM; echo "hangs $$" >>log; while :; do sleep 600; done ;;
slow)
    trap 'finish 143' TERM; echo "slow $$" >>log
    i=0; while [ $i -lt 6000 ]; do sleep 0.01; i=$((i+1)); done ;;
children)
    # Twice forked, in sessions of their own, and one that ignores every request to end.
    (setsid sh -c 'trap "" TERM HUP INT; echo $$ >>children; while :; do sleep 600; done' &)
    (setsid sleep 600 >/dev/null 2>&1 & echo $! >>children)
    sleep 600 & echo $! >>children
    i=0; while [ "$(wc -l <children)" -lt 3 ] && [ $i -lt 500 ]; do sleep 0.01; i=$((i+1)); done
    finish 0 ;;
flood) head -c 1000000 /dev/zero | tr '\0' x >&2; finish 0 ;;
forget) env -i /bin/sh -c 'setsid sleep 600 >/dev/null 2>&1 & echo $!' >>children; finish 0 ;;
esac
finish 0
"#;

/// Three vendors, three personas and what the posts need, in a sandbox.
pub(super) struct Guard {
    pub(super) sandbox: Sandbox,
    config: PathBuf,
    pub(super) store: PathBuf,
    /// The directory of the agents.
    pub(super) vendors: PathBuf,
}

impl Guard {
    /// `ticks` are more lines of the section of that name.
    pub(super) fn new(posts: u32, ticks: &str) -> Guard {
        let sandbox = Sandbox::new();
        let [config, store, vendors] =
            ["config", "store", "vendors"].map(|name| sandbox.dir.join(name));
        fs::create_dir_all(config.join("personas.d")).unwrap();
        fs::create_dir(&vendors).unwrap();
        let guard = Guard { sandbox, config, store, vendors };
        write_program(&guard.agent(), AGENT);
        guard.write_posts(posts, ticks, "");
        for (persona, lines) in [("lior", "b c a"), ("otto", "a b c"), ("vera", "c a b")] {
            guard.write_persona(persona, lines, "");
        }
        guard
    }

    /// The program of all vendors.
    pub(super) fn agent(&self) -> PathBuf {
        self.vendors.join("agent")
    }

    /// Writes `posts.toml`; `more` comes at its end.
    pub(super) fn write_posts(&self, posts: u32, ticks: &str, more: &str) {
        let mut text = format!(
            "[posts]\ncount = {posts}\nfloor = 1\n[rotation]\nenable = false\n[ticks]\n\
             prompt = \"do {{it}}\"\n{ticks}\n"
        );
        let keys: Vec<&str> =
            ticks.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
        for (key, value) in
            [("every", "300ms"), ("jitter", "1ms"), ("limit", "20s"), ("grace", "300ms")]
        {
            if !keys.contains(&key) {
                text += &format!("{key} = \"{value}\"\n");
            }
        }
        for line in ["a", "b", "c"] {
            let agent = self.agent();
            let arguments = format!(
                "[\"{line}\", \"{{persona}}\", \"{{post}}\", \"{{tier}}\", \"{{prompt}}\"]"
            );
            text += &format!(
                "[lines.{line}.tiers.high]\nprogram = {agent:?}\narguments = {arguments}\n"
            );
        }
        self.replace(&self.config.join("posts.toml"), &(text + more));
    }

    /// Writes the file of a persona.
    pub(super) fn write_persona(&self, persona: &str, lines: &str, more: &str) {
        let lines: Vec<&str> = lines.split(' ').collect();
        let text = format!("lines = {lines:?}\nharnesses = [\"cli\"]\n{more}\n");
        self.replace(&self.config.join(format!("personas.d/{persona}.toml")), &text);
    }

    /// Replaces a file as editors do: a post that runs reads the old one or the new one, no half.
    fn replace(&self, path: &Path, text: &str) {
        let new = self.sandbox.dir.join("new.toml");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Takes a persona out of the policy.
    pub(super) fn remove_persona(&self, persona: &str) {
        fs::remove_file(self.config.join(format!("personas.d/{persona}.toml"))).unwrap();
    }

    /// Leaves one persona in the policy.
    pub(super) fn only(self, persona: &str) -> Guard {
        let others = ["lior", "otto", "vera"].into_iter().filter(|one| *one != persona);
        others.for_each(|other| self.remove_persona(other));
        self
    }

    /// Says what the agent of a vendor does from now on.
    pub(super) fn set(&self, vendor: &str, todo: &str) {
        fs::write(self.vendors.join(vendor), todo).unwrap();
    }

    /// A call of `zeta post` in this place.
    pub(super) fn cmd(&self, verb: &[&str]) -> Command {
        let mut command = self.sandbox.cmd(&["post"]);
        command.args(verb).arg("--config").arg(&self.config).arg("--dir").arg(&self.store);
        command
    }

    /// Starts the supervisor of a post. Its notes go to a file.
    pub(super) fn start(&self, post: u32) -> Post {
        Post::of(&mut self.cmd(&["run", &post.to_string()]), self.notes_path(post))
    }

    pub(super) fn notes_path(&self, post: u32) -> PathBuf {
        self.sandbox.dir.join(format!("notes-{post}"))
    }

    /// What the supervisors of a post said.
    pub(super) fn notes(&self, post: u32) -> String {
        fs::read_to_string(self.notes_path(post)).unwrap_or_default()
    }

    /// What the agents said, line by line.
    pub(super) fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.vendors.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many lines of the log begin so.
    pub(super) fn count(&self, begin: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(begin)).count()
    }

    /// Waits until so many lines of the log begin so.
    #[track_caller]
    pub(super) fn wait_for(&self, begin: &str, times: usize) {
        let came = until(LIMIT * 3, || self.count(begin) >= times);
        let notes: Vec<String> = (1..=3).map(|post| self.notes(post)).collect();
        assert!(came, "{times} of {begin:?}: {:#?}\n{}", self.log(), notes.join("----\n"));
    }

    /// The reports of a post, the newest last.
    pub(super) fn reports(&self, post: u32) -> Vec<Value> {
        let text = fs::read_to_string(self.store.join(format!("guard-post-{post}.json")));
        let read: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
        read["reports"].as_array().cloned().unwrap_or_default()
    }

    /// Waits for a report of a post that is as `so` says, and returns it.
    #[track_caller]
    pub(super) fn wait_report(&self, post: u32, so: impl Fn(&Value) -> bool) -> Value {
        let find = || self.reports(post).into_iter().find(|report| so(report));
        let came = until(LIMIT * 3, || find().is_some());
        assert!(came, "{:#?}\n{}", self.reports(post), self.notes(post));
        find().unwrap()
    }

    /// The processes that were started in a tick of these posts.
    pub(super) fn processes(&self) -> Vec<u32> {
        let state = self.sandbox.state.display().to_string();
        let is_of_tick = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut entries = environment.split(|byte| *byte == 0);
            entries.any(|entry| {
                entry.starts_with(b"ZETA_GUARD_POST=") && entry.ends_with(state.as_bytes())
            })
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| is_of_tick(pid) && is_alive(*pid)).collect()
    }

    /// The processes that agents left behind on purpose.
    pub(super) fn children(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.vendors.join("children")).unwrap_or_default();
        text.lines().map(|line| line.trim().parse().unwrap()).collect()
    }

    /// No agent worked beside another one of its persona, and no process of a tick is left.
    #[track_caller]
    pub(super) fn check_end(&self) {
        assert_eq!(self.count("OVERLAP"), 0, "{:#?}", self.log());
        assert_eq!(self.processes(), Vec::<u32>::new(), "{:#?}", self.log());
    }
}

/// Whether a process runs: one that only waits to be collected does not.
pub(super) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

pub(super) fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A supervisor that runs.
pub(super) struct Post(pub(super) Child);

impl Post {
    pub(super) fn of(command: &mut Command, notes: PathBuf) -> Post {
        let notes = File::options().append(true).create(true).open(notes).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(notes).spawn();
        Post(child.unwrap())
    }

    /// Asks it to end; its exit status.
    pub(super) fn end(mut self) -> i32 {
        signal(self.0.id(), Signal::TERM);
        wait(&mut self.0, LIMIT)
    }

    /// Ends it as a fault of the machine would.
    pub(super) fn kill(mut self) {
        self.0.kill().unwrap();
        wait(&mut self.0, LIMIT);
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        // A test that failed leaves nothing running: the supervisor ends its tick.
        if let Ok(None) = self.0.try_wait() {
            signal(self.0.id(), Signal::TERM);
            wait(&mut self.0, Duration::from_secs(5));
        }
    }
}
