//! The place of one attack: a sticky directory like `/tmp`, a tree in it, files that must stay as
//! they are, and the users who meet there.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use zeta_core::name::Label;
use zeta_state::directory::group;

/// Who uses the tree.
pub const VICTIM: u32 = 65_010;
/// Another member of the group.
pub const MEMBER: u32 = 65_011;
/// The user id of another user.
pub const OUTSIDER: u32 = 65_001;
/// The group.
pub const GROUP: u32 = 65_020;

/// The time limit of a call, whichever process blocks it.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Whose tree it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Private,
    Group,
}

/// Both kinds of tree; only root can make the second.
pub fn sharings() -> &'static [Sharing] {
    match is_root() {
        true => &[Sharing::Private, Sharing::Group],
        false => &[Sharing::Private],
    }
}

/// The values of `ZETA_NO_OPENAT2`.
pub const WAYS: [&str; 2] = ["0", "1"];

/// What a program said.
#[derive(Debug, Clone)]
pub struct Out {
    pub status: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

impl Out {
    /// Everything that it said.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

pub struct Arena {
    /// The whole place, of root, which everybody may search.
    pub dir: PathBuf,
    /// Sticky and open to all.
    pub world: PathBuf,
    /// The state directory, in `world`.
    pub base: PathBuf,
    /// A directory of the victim with what an attack would destroy.
    pub safe: PathBuf,
    pub sharing: Sharing,
    safe_before: BTreeMap<PathBuf, Seen>,
    /// The node's directory, once there is one.
    node: Option<PathBuf>,
}

/// What a file is, without its time of access.
type Seen = (u64, u32, u32, u32, u64, Vec<u8>);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Arena {
    /// With no state directory yet.
    pub fn empty(sharing: Sharing) -> Arena {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/tmp/zeta-attacks-{}-{number}", std::process::id()));
        let (world, safe) = (dir.join("world"), dir.join("safe"));
        for (path, mode) in [(&dir, 0o755), (&world, 0o1777), (&safe, 0o755)] {
            std::fs::create_dir(path).unwrap();
            chmod(path, mode);
        }
        for (name, mode) in [("precious", 0o600), ("shared", 0o660)] {
            let path = safe.join(name);
            std::fs::write(&path, "precious\n").unwrap();
            chmod(&path, mode);
            own(&path, VICTIM, if name == "shared" { GROUP } else { VICTIM });
        }
        own(&safe, VICTIM, VICTIM);
        let base = world.join("state");
        let safe_before = snapshot(&safe);
        Arena { dir, world, base, safe, sharing, safe_before, node: None }
    }

    /// With a tree in which `job` was taken and given back; a marker, a persona and a beat stand.
    pub fn new(sharing: Sharing) -> Arena {
        let mut arena = Arena::empty(sharing);
        if sharing == Sharing::Group {
            arena.place_group();
        }
        let token = arena.ok(VICTIM, "lease acquire job -q");
        arena.ok(VICTIM, &format!("lease release job --token {token}"));
        arena.ok(VICTIM, "marker set m a=b");
        arena.ok(VICTIM, "persona set p --task t");
        arena.ok(VICTIM, "heartbeat");
        let name = std::fs::read_to_string(arena.base.join("local-node")).unwrap();
        arena.node = Some(arena.base.join("nodes").join(name.trim_end()));
        arena
    }

    /// Root makes the tree of the group.
    pub fn place_group(&self) {
        let label = Label::new("node", "node-a").unwrap();
        let placed = group::place(&self.base, GROUP, &label, false).unwrap();
        assert_eq!(placed, group::Placed::New);
    }

    pub fn node(&self) -> PathBuf {
        self.node.clone().unwrap()
    }

    pub fn lock(&self) -> PathBuf {
        self.node().join("job.lock")
    }

    pub fn guard(&self) -> PathBuf {
        self.node().join(".guard/job.lock")
    }

    /// The insider of this tree.
    pub fn insider(&self) -> u32 {
        match self.sharing {
            Sharing::Private => VICTIM,
            Sharing::Group => MEMBER,
        }
    }

    fn dress<'a>(&self, command: &'a mut Command, uid: u32) -> &'a mut Command {
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("ZETA_") {
                command.env_remove(key);
            }
        }
        command.env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY");
        command.env("ZETA_STATE_DIR", &self.base).env("B", &self.base).env("W", &self.world);
        command.env("S", &self.safe).env("HOME", "/").current_dir("/").stdin(Stdio::null());
        if self.node.is_some() {
            command.env("N", self.node()).env("L", self.lock()).env("G", self.guard());
        }
        if is_root() && uid != 0 {
            // Setting the user drops all supplementary groups.
            command.uid(uid).gid(gid_of(uid, self.sharing));
        }
        command
    }

    /// A call of `zeta` by a user; the words are split at blanks.
    pub fn cmd(&self, uid: u32, words: &str) -> Command {
        let mut command = Command::new(program());
        self.dress(command.args(words.split_ascii_whitespace()), uid);
        command
    }

    /// Any other program as a user.
    pub fn other(&self, uid: u32, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        self.dress(command.args(args), uid);
        command
    }

    /// A script by a user, with `$B` the base, `$N` the node, `$L` the record of `job`, `$G` its
    /// guard, `$W` the open directory and `$S` the safe one.
    pub fn script(&self, uid: u32, script: &str) -> Out {
        run(&mut self.other(uid, "sh", &["-c", &format!("umask 007; {script}")]))
    }

    pub fn zeta(&self, uid: u32, words: &str) -> Out {
        run(&mut self.cmd(uid, words))
    }

    #[track_caller]
    pub fn ok(&self, uid: u32, words: &str) -> String {
        let out = self.zeta(uid, words);
        assert_eq!(out.status, 0, "{words}: {out:?}");
        out.out.trim_end().to_owned()
    }

    /// What must stay is as it was: content, owner, mode and inode, and nothing new beside it.
    #[track_caller]
    pub fn assert_safe(&self, what: &str) {
        assert_eq!(snapshot(&self.safe), self.safe_before, "{what}: what stands outside changed");
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("left behind: {}: {error}", self.dir.display());
        }
    }
}

/// Everything at and below a path, links not followed.
pub fn snapshot(path: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let Ok(meta) = std::fs::symlink_metadata(path) else { return seen };
    let content = match meta.is_file() && meta.len() < 65_536 {
        true => std::fs::read(path).unwrap_or_default(),
        false => Vec::new(),
    };
    let len = if meta.is_dir() { 0 } else { meta.len() };
    let what = (meta.ino(), meta.mode(), meta.uid(), meta.gid(), len, content);
    seen.insert(path.to_owned(), what);
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            seen.extend(snapshot(&entry.path()));
        }
    }
    seen
}

/// The group of a user: members have the tree's as their first.
pub fn gid_of(uid: u32, sharing: Sharing) -> u32 {
    match (uid, sharing) {
        (VICTIM | MEMBER, Sharing::Group) => GROUP,
        _ => uid,
    }
}

/// The program under test, under a name by which every user can start it: the directory that it
/// was built in may be closed to them.
fn program() -> String {
    static FILE: OnceLock<File> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let path = built();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path).unwrap()
    });
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Where it was built.
pub fn built() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_zeta").into();
    std::env::var_os("ZETA_ATTACKS_PROGRAM").map_or_else(built, PathBuf::from)
}

pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Gives a file away, where that is possible.
pub fn own(path: &Path, uid: u32, gid: u32) {
    if is_root() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program to its end, or ends it after [`LIMIT`] with the status -9.
pub fn run(command: &mut Command) -> Out {
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    finish(child, started)
}

/// Waits for a program whose stdout and stderr are piped.
pub fn finish(mut child: Child, started: Instant) -> Out {
    use std::os::unix::process::ExitStatusExt;
    let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |pipe: &mut dyn Read| {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let err = std::thread::spawn(move || read(&mut pipes.1));
    let out = std::thread::spawn(move || read(&mut pipes.0));
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code().or(status.signal().map(|s| 128 + s)).unwrap(),
            None if started.elapsed() > LIMIT => {
                child.kill().unwrap();
                child.wait().unwrap();
                break -9;
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let took = started.elapsed();
    Out { status, out: out.join().unwrap(), err: err.join().unwrap(), took }
}

/// Polls until something is so.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
