//! The directory of a scene: a home, a repository with its worktrees, a state directory, a bus; and
//! the process that takes all of it away when the scene ends.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use super::Outcome;
use super::cast::CAST;

/// Waits for the end of its input, which is that of the scene, however it ended. Each line of the
/// input is a process group.
const CLEANER: &str = r#"
while read -r group; do groups="$groups $group"; done
for round in 1 2 3 4 5 6 7 8 9 10; do
    for group in $groups; do kill -KILL "-$group"; done
    rm -rf -- "$0"
    [ -e "$0" ] || break
    sleep 0.2
done 2>/dev/null
"#;

/// The name of the node.
const NODE: &str = "desk";

/// The files of the web shop.
const FILES: [(&str, &str); 6] = [
    ("package.json", "{ \"name\": \"shop\", \"private\": true }\n"),
    ("README.md", "# Shop\n"),
    ("src/cart/price.ts", "export const total = (cents: number[]) => cents.length;\n"),
    ("src/search/index.ts", "export const search = (words: string) => words;\n"),
    ("db/migrations/0041_orders_v2.sql", "ALTER TABLE orders ADD COLUMN paid_at timestamptz;\n"),
    ("tests/e2e/checkout.spec.ts", "test('a guest pays by invoice', async () => {});\n"),
];

/// The directories of a scene, and the environment of its programs.
pub(super) struct Stage {
    zeta: PathBuf,
    dir: PathBuf,
    state_dir: PathBuf,
    bus_dir: PathBuf,
    cleaner: Mutex<Child>,
}

impl Stage {
    /// Makes the directory, with the repository and its worktrees. `zeta` is the program.
    pub(super) fn make(zeta: &Path, dir: &Path) -> Outcome<Stage> {
        if !zeta.is_file() {
            return Err(format!("{} is no program: cargo build -p zeta", zeta.display()).into());
        }
        let made = fs::DirBuilder::new().mode(0o700).create(dir);
        made.map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut cleaner = Command::new("sh");
        cleaner.args(["-c", CLEANER]).arg(dir).current_dir("/").process_group(0);
        cleaner.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let stage = Stage {
            zeta: zeta.to_path_buf(),
            dir: dir.to_path_buf(),
            state_dir: dir.join("state"),
            bus_dir: dir.join("bus"),
            cleaner: Mutex::new(cleaner.spawn()?),
        };
        fs::create_dir(dir.join("home"))?;
        let bin = dir.join("bin");
        fs::create_dir(&bin)?;
        std::os::unix::fs::symlink(zeta, bin.join("zeta"))?;
        stage.make_repository()?;
        stage.make_tree()?;
        Ok(stage)
    }

    fn make_repository(&self) -> Outcome<()> {
        let repository = self.worktree("shop");
        for (path, text) in FILES {
            let path = repository.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text)?;
        }
        // It is shifted while programs run: nothing may truncate it.
        self.set_minutes_ago(0.0)?;
        self.git(&["init", "-q", "-b", "main"])?;
        self.git(&["add", "."])?;
        self.git(&["commit", "-q", "-m", "A cart, a search, and orders"])?;
        let mut made = vec!["shop"];
        for part in &CAST {
            if !made.contains(&part.worktree) {
                made.push(part.worktree);
                let worktree = self.worktree(part.worktree).display().to_string();
                self.git(&["worktree", "add", "-q", "-b", part.branch, &worktree])?;
            }
        }
        Ok(())
    }

    /// Makes the state directory, with a name for this machine's node (rule S29 of the standard).
    fn make_tree(&self) -> Outcome<()> {
        let done = self.zeta(&["init"]).output()?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into());
        }
        // No record is below the name that was drawn.
        let file = self.state_dir.join("local-node");
        let nodes = self.state_dir.join("nodes");
        fs::rename(nodes.join(fs::read_to_string(&file)?.trim()), nodes.join(NODE))?;
        Ok(fs::write(file, format!("{NODE}\n"))?)
    }

    fn git(&self, args: &[&str]) -> Outcome<()> {
        let done = self.program("git").args(args).current_dir(self.worktree("shop")).output()?;
        match done.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&done.stderr).into()),
        }
    }

    /// The state directory.
    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The bus directory.
    pub(super) fn bus_dir(&self) -> &Path {
        &self.bus_dir
    }

    /// The worktree of that name.
    pub(super) fn worktree(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The file that a hook of Claude Code writes variables for the agent's shell into.
    pub(super) fn env_file(&self, agent: &str) -> PathBuf {
        self.dir.join(format!("home/env-{agent}"))
    }

    /// The file with what programs say on standard error, for a reader who looks for a cause.
    pub(super) fn log(&self) -> Outcome<File> {
        Ok(File::options().create(true).append(true).open(self.dir.join("log"))?)
    }

    /// The last line of that file.
    pub(super) fn said(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    /// Makes a command that inherits nothing but the path to programs.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.dir.join("bin").display());
        command.env_clear().env("PATH", path).env("HOME", self.dir.join("home"));
        command.env("LANG", "C.UTF-8").env("USER", "ann").env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ann");
            command.env(format!("GIT_{role}_EMAIL"), "ann@example.org");
        }
        command.env("ZETA_STATE_DIR", &self.state_dir).env("ZETA_BUS_DIR", &self.bus_dir);
        command.env("ZETA_TEST_CLOCK", self.clock()).stdin(Stdio::null());
        command
    }

    /// Sets the wall clock of all programs of the scene. Builds for tests have a wall clock that
    /// can be shifted; with others all of the scene happens now.
    pub(super) fn set_minutes_ago(&self, minutes: f64) -> Outcome<()> {
        let shift_ns = (minutes * -60e9) as i64;
        let mut clock =
            File::options().write(true).create(true).truncate(false).open(self.clock())?;
        Ok(clock.write_all(&shift_ns.to_ne_bytes())?)
    }

    fn clock(&self) -> PathBuf {
        self.dir.join("clock")
    }

    /// Makes a call of zeta.
    pub(super) fn zeta(&self, args: &[&str]) -> Command {
        let mut command = self.program(&self.zeta.display().to_string());
        command.args(args);
        command
    }

    /// Names a process group that must be gone at the end.
    pub(super) fn remember(&self, leader: &Child) -> Outcome<()> {
        let mut cleaner = self.cleaner.lock().map_err(|_| "the cleaner is gone")?;
        let input = cleaner.stdin.as_mut().ok_or("the cleaner has no input")?;
        Ok(writeln!(input, "{}", leader.id())?)
    }

    /// Whether no process is in the critical section of a lease (rule R7 of the standard).
    pub(super) fn is_guard_free(&self, lease: &str) -> Outcome<bool> {
        Ok(File::open(self.guard(lease))?.try_lock().is_ok())
    }

    fn guard(&self, lease: &str) -> PathBuf {
        self.state_dir.join(format!("nodes/{NODE}/.guard/{lease}.lock"))
    }

    /// Counts the processes that wait for a lease, by their tickets (rule S31 of the standard).
    pub(super) fn tickets(&self, lease: &str) -> Outcome<usize> {
        match fs::read_dir(self.guard(lease).join("queue")) {
            Ok(entries) => Ok(entries.count()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Ok(mut cleaner) = self.cleaner.lock() {
            drop(cleaner.stdin.take());
            let _ = cleaner.wait();
        }
    }
}
