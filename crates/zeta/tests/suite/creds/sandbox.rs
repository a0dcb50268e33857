//! Places for one test, and this test binary as a process of its own.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use zeta_creds::{blob, file_writer, inherited_fd, prompt, secret};

use crate::support::{LIMIT, TempDir, is_root, skip};

/// Whose home it is.
pub const USER: u32 = 65_110;
/// The user id of another user.
pub const OTHER: u32 = 65_111;
const PART: &str = "ZETA_CREDS_PART";
const ARGS: &str = "--exact creds::sandbox::plays_a_part --nocapture --test-threads=1";

/// A directory of one test, which everybody may search.
pub struct Sandbox(pub TempDir);

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox(TempDir::new("creds", 0o755))
    }

    /// A directory in it, with an owner and a mode.
    pub fn dir(&self, name: &str, uid: u32, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap();
        own(&path, uid);
        chmod(&path, mode);
        path
    }
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn own(path: &Path, uid: u32) {
    // Without root all files belong to the user who runs the test.
    if is_root() {
        chown(path, Some(uid), Some(uid)).unwrap();
    }
}

/// A file with an owner and a mode.
pub fn put(path: &Path, bytes: &str, uid: u32, mode: u32) {
    fs::write(path, bytes).unwrap();
    chmod(path, mode);
    own(path, uid);
}

/// Owner, permission bits and content.
pub fn seen(path: &Path) -> (u32, u32, String) {
    let meta = fs::symlink_metadata(path).unwrap();
    let bytes = fs::read(path).unwrap();
    (meta.uid(), meta.mode() & 0o7777, String::from_utf8_lossy(&bytes).into_owned())
}

/// All names in a directory, those that begin with a dot too.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// True if this is not root, and then says loudly what is not tested.
pub fn skipped_without_root(test: &str) -> bool {
    if !is_root() {
        skip(test, "not root: no other users, no mounts");
    }
    !is_root()
}

/// This test binary as a process of its own, in one of the parts below. What a test prints goes to
/// nowhere; the part's own output is descriptor 3 there, and the standard output here.
pub fn part(name: &str, before: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script(name, before)]);
    command
}

fn script(name: &str, before: &str) -> String {
    let program = std::env::current_exe().unwrap();
    format!("exec 3>&1 >/dev/null; {before}\n{PART}={name} exec {} {ARGS}", program.display())
}

/// How the tests become another user: the same program as this.
pub fn hand(before: &str) -> file_writer::WorkerCommand {
    let args = ["-c".to_owned(), script("plant-as", before)];
    file_writer::WorkerCommand { program: "/bin/sh".into(), args: args.map(Into::into).to_vec() }
}

/// Runs a script in a mount namespace of its own.
pub fn in_own_mounts(script: &str) -> std::process::Output {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-ec", script]);
    command.stdin(Stdio::null()).output().unwrap()
}

/// The words that start a part inside a script; its output is the standard output.
pub fn part_words(name: &str) -> String {
    format!("/bin/sh -c '{}'", script(name, ""))
}

#[test]
fn plays_a_part() {
    let Ok(part) = std::env::var(PART) else { return };
    let out = inherited_fd::take(3).unwrap();
    let words: Vec<&str> = part.split(',').collect();
    let status = match words.as_slice() {
        ["plant-as"] => alone(|| file_writer::child_main(std::io::stdin().as_fd(), out.as_fd())),
        ["plant-as-two"] => file_writer::child_main(std::io::stdin().as_fd(), out.as_fd()),
        ["prepare-and-wait", root] => {
            let prepared = super::plant::prepare_for_system(Path::new(root));
            say(&out, &format!("{:?}\n", prepared.outcomes()));
            std::thread::sleep(LIMIT);
            1
        }
        ["save-for-ever", path] => loop {
            for number in 0..250u8 {
                let saved = blob::save(Path::new(path), &[number; 5000], &super::blob::uniform);
                say(&out, &format!("{:?}\n", saved.map(|_| number)));
                // Real programs pause between saves, and the other process must have its turn.
                std::thread::sleep(Duration::from_millis(1));
            }
        },
        ["save-once", path] => {
            let saved = blob::save(Path::new(path), &[7; 100_000], &super::blob::uniform);
            say(&out, &format!("{saved:?}\n"));
            0
        }
        ["plant-two", root] => {
            say(&out, &format!("{:?}\n", super::plant::plant_two(Path::new(root))));
            0
        }
        ["hold-secret"] => {
            zeta_os::hardening::harden();
            let mut held = secret::Secret::with_room(64).unwrap();
            held.push(b"held-and-never-dumped").unwrap();
            say(&out, "held\n");
            std::thread::sleep(LIMIT);
            i32::from(held.is_empty()).try_into().unwrap()
        }
        ["ask"] => alone(|| match prompt::passphrase("Passphrase: ") {
            Ok(answer) => {
                say(&out, &format!("got {:?}\n", String::from_utf8_lossy(answer.expose())));
                0
            }
            Err(error) => {
                say(&out, &format!("{}\n", error.text));
                3
            }
        }),
        ["tool", port, path, how] => super::issuer::play(port, path, how),
        ["line"] => {
            say(&out, &format!("{:?}\n", prompt::line("Which? ")));
            0
        }
        _ => super::secret::play(&words, &|line| say(&out, line)),
    };
    // The harness would say what it thinks of it.
    std::process::exit(i32::from(status));
}

/// Runs a closure in a process with a single thread; the test harness has more than one.
fn alone(work: impl FnOnce() -> u8) -> u8 {
    // SAFETY: the child uses no lock of another thread but the allocator's, which libc hands on.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        std::process::exit(i32::from(work()));
    }
    let mut status = 0;
    // SAFETY: our own child, waited for once.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    let signaled = libc::WIFSIGNALED(status);
    let code = if signaled { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
    u8::try_from(code).unwrap()
}

fn say(out: impl AsFd, line: &str) {
    rustix::io::write(out, line.as_bytes()).unwrap();
}
