//! The cost of each verb, counted and not timed: system calls, user instructions and page faults of
//! the binary that `cargo xtask install` installs. If one of them grows by more than a tenth, the
//! tests fail.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{dist, run};

/// The table of the last counts. A change that moves a number updates it, so that the reviewer
/// sees.
const TABLE: &str = "xtask/costs.tsv";
const HEAD: &str = "verb\tsystem_calls\tuser_instructions\tpage_faults\n";

/// The verbs, and what is done before each: `L` acquires the lease, `F` acquires and releases it;
/// `C` and `E` do the same with a claim; `H` begins five sessions of an agent tool with two claims
/// each; `G` writes a message with a block; `M` (the last one) takes many other leases.
const VERBS: [(&str, char); 20] = [
    ("--version", '-'),
    ("lease acquire job", 'F'),
    ("lease renew job --token T", 'L'),
    ("lease check job --token T", 'L'),
    ("--json lease check job --token T", 'L'),
    ("lease release job --token T", 'L'),
    ("lease show job", 'L'),
    ("heartbeat", '-'),
    ("heartbeat --as otto-cli", '-'),
    ("persona set otto-cli --as otto-cli --task B-1", '-'),
    ("marker set done pr=7", '-'),
    (r#"bus publish --topic heartbeat --payload {"status":"idle"}"#, '-'),
    ("bus list", '-'),
    ("claim acquire --item B-1", 'E'),
    ("claim check --item B-2", 'E'),
    ("claim release B-1 --token T", 'C'),
    ("hook run claude before-tool", 'H'),
    ("hook run claude after-tool", 'H'),
    ("signature check T", 'G'),
    ("status", 'M'),
];
/// How many sessions with hooks live when a hook is counted, and how many claims each of them has.
const SESSIONS: [usize; 2] = [5, 2];
/// How many leases are held when `status` is counted.
const MANY: usize = 400;

/// A message with a block.
const SIGNED: &str = "feat: a\n\nAgency-Signature-Version: 1\nAgent: Otto\nAgent-Runtime: x\n\
    Agent-Model: x\nCredential-Identity: x\nCredential-Mode: shared\nHuman-Review: none\n\
    Human-Review-Evidence: none\nAction-Mode: supervised\nTask: none\n";

/// The counts of one verb; `None` where the tool that counts is missing.
type Counts = [Option<u64>; 3];
const COUNTED: [(&str, &str, u64); 3] = [
    ("system calls", "strace", 0),
    ("user instructions", "valgrind", 0),
    // These numbers differ by one or two from run to run.
    ("page faults", "perf", 4),
];

/// `cargo xtask costs`: installs the binary in a directory of its own, counts, prints and compares;
/// `--write` writes the table.
pub fn run(write: bool) -> Result<bool> {
    let stage = Stage::new(dist::install_apart()?)?;
    let mut counted = BTreeMap::new();
    for (verb, before) in VERBS {
        counted.insert(verb, stage.count(verb, before)?);
    }
    if write {
        let mut text = HEAD.to_owned();
        for (verb, _) in VERBS {
            let counts = counted.get(verb).copied().unwrap_or_default();
            let counts = counts.map(|count| count.map_or("-".to_owned(), |n| n.to_string()));
            let _ = writeln!(text, "{verb}\t{}", counts.join("\t"));
        }
        fs::write(run::root().join(TABLE), text).context("cannot write the table")?;
        println!("costs: written to {TABLE}");
        return Ok(true);
    }
    let table = fs::read_to_string(run::root().join(TABLE)).context("cannot read the table")?;
    // On a busy machine a beat may fall due within a call: the least of three counts is the verb's.
    for _ in 0..2 {
        for (verb, before) in VERBS {
            let first = counted.get(verb).copied().unwrap_or_default();
            if !compare(&table, &BTreeMap::from([(verb, first)])).is_empty() {
                counted.insert(verb, least(first, stage.count(verb, before)?));
            }
        }
    }
    let grown = compare(&table, &counted);
    for line in &grown {
        println!("costs: GREW {line}");
    }
    println!("costs: {} verbs counted, {} gained too much", counted.len(), grown.len());
    if !grown.is_empty() {
        println!("costs: mend it, or say why and run 'cargo xtask costs --write'");
    }
    Ok(grown.is_empty())
}

/// Lists the counting programs that are missing: each is a part of the check that did not run.
pub fn missing() -> Vec<String> {
    let absent = COUNTED.iter().filter(|(_, tool, _)| !answers(tool));
    absent.map(|(what, tool, _)| format!("costs: {what}: {tool} does not run here")).collect()
}

fn answers(tool: &str) -> bool {
    run::answer(run::program(tool, &["--version"])).is_some()
}

/// The lesser one of each two counts.
fn least(one: Counts, other: Counts) -> Counts {
    std::array::from_fn(|at| match (one[at], other[at]) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    })
}

fn compare(table: &str, counted: &BTreeMap<&str, Counts>) -> Vec<String> {
    let mut grown = Vec::new();
    for (verb, counts) in counted {
        let row = table.lines().find_map(|line| line.strip_prefix(verb)?.strip_prefix('\t'));
        let Some(row) = row else {
            grown.push(format!("{verb}: it is not in the table"));
            continue;
        };
        for (at, known) in row.split('\t').enumerate() {
            let (Some((what, _, slack)), Some(Some(now))) = (COUNTED.get(at), counts.get(at))
            else {
                continue;
            };
            let Ok(known) = known.parse::<u64>() else { continue };
            if *now > known + (known / 10).max(*slack) {
                grown.push(format!("{verb}: {now} {what}, where {known} were"));
            }
        }
    }
    grown
}

/// A state directory in memory, and the binary whose calls are counted.
struct Stage {
    dir: PathBuf,
    zeta: PathBuf,
    /// The name of the state directory of the next call: sessions with hooks have one of their own.
    state: Cell<&'static str>,
    /// The processes of the sessions with hooks.
    agents: RefCell<Vec<Child>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for agent in self.agents.get_mut() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("left behind: {}: {error}", self.dir.display());
        }
    }
}

impl Stage {
    fn new(zeta: PathBuf) -> Result<Stage> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = base.join(format!("zeta-costs-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Stage { dir, zeta, state: Cell::new("state"), agents: RefCell::default() })
    }

    /// Makes a call, in an environment that is the same everywhere.
    fn call(&self, front: &[&str], verb: &[String]) -> std::process::Command {
        let zeta = self.zeta.to_string_lossy();
        let (name, rest) = front.split_first().map_or((&*zeta, front), |(n, r)| (*n, r));
        let mut command = run::program(name, rest);
        if !front.is_empty() {
            command.arg(&self.zeta);
        }
        command.args(verb).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("ZETA_STATE_DIR", self.dir.join(self.state.get()));
        command.env("ZETA_BUS_DIR", self.dir.join("bus"));
        if verb.first().is_some_and(|noun| noun == "hook") {
            let agents = self.agents.borrow();
            let process = agents.first().map_or(0, Child::id).to_string();
            command.env("CLAUDE_PID", process);
            command.stdin(File::open(self.dir.join("event-0")).map_or(Stdio::null(), Stdio::from));
        }
        command
    }

    /// Brings the lease into the state that the verb needs, and fills in its token.
    fn prepare(&self, verb: &str, before: char) -> Result<Vec<String>> {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        self.state.set(if before == 'H' { "hooked" } else { "state" });
        if before == 'H' {
            if self.agents.borrow().is_empty() {
                self.begin_sessions()?;
            }
            return Ok(words(verb));
        }
        // Removes what the previous call left.
        for (look, release) in [
            ("lease show job --json", "lease release job --token"),
            ("claim list --json", "claim release B-1 --token"),
        ] {
            let found = run::answer(self.call(&[], &words(look))).unwrap_or_default();
            let token = found.split("\"fencing_token\":").nth(1);
            let Some(token) = token.and_then(|rest| rest.split([',', '}']).next()) else {
                continue;
            };
            let release = format!("{release} {token}");
            run::answer(self.call(&[], &words(&release))).with_context(|| release.clone())?;
        }
        let mut token = String::new();
        if matches!(before, 'C' | 'E') {
            // The same few messages before each verb, and an index that has them.
            let _ = fs::remove_dir_all(self.dir.join("bus"));
            let call = |text: &str| {
                run::answer(self.call(&[], &words(text))).with_context(|| format!("zeta {text}"))
            };
            token = call("claim acquire --item B-1")?.trim().to_owned();
            if before == 'E' {
                call(&format!("claim release B-1 --token {token}"))?;
            }
            call("bus list")?;
        }
        if matches!(before, 'L' | 'F') {
            let took = run::answer(self.call(&[], &words("lease acquire job")));
            token = took.context("cannot take the lease")?.trim().to_owned();
        }
        if before == 'F' {
            let release = words(&format!("lease release job --token {token}"));
            run::answer(self.call(&[], &release)).context("cannot release the lease")?;
        }
        if before == 'G' {
            let message = self.dir.join("message");
            fs::write(&message, SIGNED)?;
            token = message.to_string_lossy().into_owned();
        }
        let taken = self.dir.join("many-are-taken");
        if before == 'M' && !taken.exists() {
            for number in 0..MANY {
                let take = format!("lease acquire many-{number}");
                run::answer(self.call(&[], &words(&take))).context(take)?;
            }
            fs::write(taken, "")?;
        }
        Ok(verb.split(' ').map(|word| if word == "T" { &token } else { word }.to_owned()).collect())
    }

    /// Begins the sessions with hooks. The event of each is an edit in a repository that none of
    /// them claimed.
    fn begin_sessions(&self) -> Result<()> {
        let repository = self.dir.join("repository");
        fs::create_dir_all(repository.join(".git"))?;
        let [sessions, claims] = SESSIONS;
        for number in 0..sessions {
            let event = self.dir.join(format!("event-{number}"));
            let (cwd, file) = (repository.display(), repository.join("file"));
            let input = format!(r#"{{"file_path":"{}"}}"#, file.display());
            let session = format!(r#""session_id":"{number}","cwd":"{cwd}""#);
            let text = format!(r#"{{{session},"tool_name":"Edit","tool_input":{input}}}"#);
            fs::write(&event, text)?;
            let agent = run::program("sleep", &["600"]).spawn().context("cannot run sleep")?;
            let exports = self.dir.join(format!("exports-{number}"));
            let begin = ["hook", "run", "claude", "session-start"].map(str::to_owned);
            let mut hook = self.call(&[], &begin);
            hook.stdin(File::open(&event)?).env("CLAUDE_PID", agent.id().to_string());
            hook.env("CLAUDE_ENV_FILE", &exports);
            self.agents.borrow_mut().push(agent);
            run::answer(hook).context("cannot begin a session")?;
            for claim in 0..claims {
                let worktree = self.dir.join(format!("worktree-{number}-{claim}"));
                let script = format!(
                    ". {}; exec {} claim acquire H-{number}-{claim} --worktree {}",
                    exports.display(),
                    self.zeta.display(),
                    worktree.display()
                );
                run::answer(self.call(&["sh", "-c", &script], &[])).context(script)?;
            }
        }
        Ok(())
    }

    fn count(&self, verb: &str, before: char) -> Result<Counts> {
        // One call before, which creates what is created only once.
        let argv = self.prepare(verb, before)?;
        ensure!(run::answer(self.call(&[], &argv)).is_some(), "zeta {verb} failed");
        let trace = self.dir.join("trace");
        let argv = self.prepare(verb, before)?;
        let front = ["strace", "-f", "-qq", "-o", &*trace.to_string_lossy()];
        let calls = run::answer(self.call(&front, &argv))
            .and_then(|_| Some(fs::read_to_string(&trace).ok()?.lines().count() as u64));
        let argv = self.prepare(verb, before)?;
        let front = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
        let instructions = self.number_on_stderr(&front, &argv, |line| {
            line.split_once("Collected : ").map(|(_, number)| number.to_owned())
        });
        let argv = self.prepare(verb, before)?;
        let front = ["perf", "stat", "-x,", "-e", "page-faults"];
        let faults = self.number_on_stderr(&front, &argv, |line| {
            line.contains("page-faults").then(|| line.split(',').next().map(str::to_owned))?
        });
        println!("costs: {verb}: {calls:?} {instructions:?} {faults:?}");
        Ok([calls, instructions, faults])
    }

    /// Returns a number that a tool prints on stderr; `None` if the tool is not installed.
    fn number_on_stderr(
        &self,
        front: &[&str],
        argv: &[String],
        find: impl Fn(&str) -> Option<String>,
    ) -> Option<u64> {
        let output = self.call(front, argv).output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().find_map(find)?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_counts_each_lesser_one_stands() {
        assert_eq!(
            least([Some(1), Some(5), None], [Some(2), Some(4), Some(3)]),
            [Some(1), Some(4), Some(3)]
        );
    }

    #[test]
    fn what_grows_by_more_than_a_tenth_is_told() {
        let table = format!("{HEAD}a b\t70\t1000\t50\n");
        let grown = |counts| compare(&table, &BTreeMap::from([("a b", counts)]));
        assert_eq!(grown([Some(77), Some(1100), Some(55)]), Vec::<String>::new());
        assert_eq!(grown([None, Some(900), None]), Vec::<String>::new());
        assert_eq!(grown([Some(78), Some(1101), Some(56)]).len(), 3);
        assert_eq!(compare(HEAD, &BTreeMap::from([("new", [None; 3])])).len(), 1);
    }
}
