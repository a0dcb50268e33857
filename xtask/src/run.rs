//! How the tasks start programs: always from the root, never with a terminal's stdin.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long to read output after the program ended. A test may have left a process that keeps the
/// pipe open; that process is not waited for.
const AFTERGLOW: Duration = Duration::from_secs(2);

/// How long a watched program may print nothing. nextest ends a hung test by itself, but cargo's
/// own runner has no limit, and a hung run must end, too.
const SILENCE: Duration = Duration::from_secs(600);

/// Returns the root of the checkout.
pub fn root() -> PathBuf {
    let compiled = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(compiled, PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Returns the directory in which cargo builds.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Makes a command that starts a program in the root.
pub fn program(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Returns the command for the cargo that runs this task.
pub fn cargo(args: &[&str]) -> Command {
    program(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), args)
}

/// Returns the command of cargo for a target with musl. Few machines have a C compiler for musl,
/// but the C code here (of TLS) uses no C library, so the machine's own compiler works.
pub fn cargo_for_musl(args: &[&str], target: &str) -> Command {
    let mut cargo = cargo(args);
    let name = target.replace('-', "_");
    let special = format!("{}-gcc", target.replace("-unknown", ""));
    if answer(program(&special, &["--version"])).is_none() {
        cargo.env(format!("CC_{name}"), "cc");
        // What a distribution switches on by itself would call its own C library.
        cargo.env(format!("CFLAGS_{name}"), "-U_FORTIFY_SOURCE -fno-stack-protector");
    }
    cargo.args(["--target", target]).env_remove("RUSTFLAGS");
    cargo
}

/// Formats the command as a person would type it.
fn typed(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default();
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    [name.to_string_lossy()].into_iter().chain(args).collect::<Vec<_>>().join(" ")
}

/// Runs a command with the stdout and stderr of this process; true if it succeeded.
pub fn succeeds(mut command: Command) -> Result<bool> {
    println!("$ {}", typed(&command));
    let status = command.status().with_context(|| format!("cannot start {}", typed(&command)))?;
    Ok(status.success())
}

/// Builds the programs of the project beside the tests, in one call. The features of a dependency
/// depend on all that is built with it: built alone, a program compiles most of its crates anew.
pub fn build_programs() -> Result<bool> {
    let mut build = cargo(&["build", "--workspace", "--tests"]);
    build.args(["zeta", "agents", "cluster", "cuts"].iter().flat_map(|name| ["--bin", name]));
    succeeds(build)
}

/// Runs a command and returns its stdout, or nothing if it cannot start or fails.
pub fn answer(mut command: Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command, prints its output as it comes, and passes every line to `look`.
pub fn watched(mut command: Command, mut look: impl FnMut(&str)) -> Result<ExitStatus> {
    println!("$ {}", typed(&command));
    // One pipe for both streams keeps their order.
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", typed(&command)))?;
    drop(command); // it holds the pipe's other end, and we wait for the end of the stream
    let (send, receive) = mpsc::sync_channel::<String>(64);
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    let mut ended: Option<Instant> = None;
    let mut heard = Instant::now();
    loop {
        match receive.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                heard = Instant::now();
                io::stdout().write_all(line.as_bytes())?;
                look(line.trim_end());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() && child.try_wait()?.is_some() {
            ended = Some(Instant::now());
        }
        if ended.is_none() && heard.elapsed() > SILENCE {
            println!("silent for {} s: ended; a test binary may still run", SILENCE.as_secs());
            child.kill()?;
            ended = Some(Instant::now());
        }
        if ended.is_some_and(|at| at.elapsed() > AFTERGLOW) {
            break;
        }
    }
    Ok(child.wait()?)
}
