//! Replays `docs/use/cluster-tutorial.md`: what a person types on three machines, which are network
//! namespaces here as there, and what is printed then.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::nats;
use super::program;
use crate::support::{TempDir, can, is_root, skip, test_name};

#[path = "../../../../../testing/src/page.rs"]
mod page;

const PAGE: &str = include_str!("../../../../../docs/use/cluster-tutorial.md");

/// A command may print what the page has only after a while: a bridge and a server need time.
const LIMIT: Duration = Duration::from_secs(90);
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(300);
/// What a person installs, as a replay has it: below `/tmp` a machine would not see it.
const INSTALL: &str = "mount -t tmpfs none /usr/local/bin && \
    touch /usr/local/bin/zeta /usr/local/bin/newer && \
    mount --bind \"$ZETA_PROGRAM\" /usr/local/bin/zeta && \
    mount --bind \"$NEWER\" /usr/local/bin/newer && newer=/usr/local/bin/newer";
/// The namespaces that the page makes, and what it does in them.
const CAN: &str = "mount -t tmpfs none /run && mkdir /run/netns && ip netns add a && \
    ip -n a link add wires type bridge && ip -n a link add near type veth peer name far && \
    ip netns exec a unshare --mount --uts true && command -v pkill";
const NAMESPACES: [&str; 6] =
    ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// What is typed, and what is printed then.
#[derive(Debug)]
struct Step {
    typed: String,
    shown: String,
}

/// Reads the steps: those of each laboratory.
fn laboratories() -> Vec<Vec<Step>> {
    let (mut all, mut fence) = (Vec::<Vec<Step>>::new(), "");
    for line in PAGE.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            fence = if fence.is_empty() { kind } else { "" };
        } else if fence != "console" {
        } else if line.starts_with("~/lab $ ") {
            all.push(Vec::new());
        } else if let Some(typed) = line.strip_prefix("lab # ") {
            let step = Step { typed: typed.to_owned(), shown: String::new() };
            all.last_mut().unwrap().push(step);
        } else {
            let Step { typed, shown } = all.last_mut().unwrap().last_mut().unwrap();
            match typed.ends_with('\\') {
                true => *typed += &format!("\n{line}"),
                false => *shown += &format!("{line}\n"),
            }
        }
    }
    all
}

/// Returns the file that the page asks for.
fn machines() -> &'static str {
    let (_, rest) = PAGE.split_once("<!-- machines.sh -->\n```sh\n").unwrap();
    rest.split_once("```").unwrap().0
}

/// The shell of a laboratory. All that runs in it ends with it.
struct Laboratory {
    shell: Child,
    printed: Receiver<u8>,
}

impl Laboratory {
    fn open(dir: &TempDir, newer: &std::path::Path) -> Laboratory {
        let mut command = Command::new("unshare");
        command.args(NAMESPACES).arg("bash").current_dir(dir);
        command.env("ZETA_PROGRAM", env!("CARGO_BIN_EXE_zeta")).env("NEWER", newer);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("/usr/local/bin:{path}:/usr/sbin"));
        for name in ["ZETA_STATE_DIR", "ZETA_BUS_DIR", "ZETA_AGENT", "ZETA_SESSION", "ZETA_NODE"] {
            command.env_remove(name);
        }
        command.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = piped.spawn().unwrap();
        let mut out = shell.stdout.take().unwrap();
        let (sender, printed) = channel();
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut block) {
                for byte in &block[..count] {
                    let _ = sender.send(*byte);
                }
            }
        });
        let mut laboratory = Laboratory { shell, printed };
        laboratory.type_in("exec 2>&1");
        assert_eq!(laboratory.type_in(INSTALL), "");
        laboratory
    }

    /// Types a command; returns what it printed.
    fn type_in(&mut self, command: &str) -> String {
        const END: &str = "\u{1}end\n";
        let line = format!("{command}\nprintf '\\001end\\n'\n");
        self.shell.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let (mut printed, began) = (Vec::new(), Instant::now());
        while !printed.ends_with(END.as_bytes()) {
            let rest = LIMIT.saturating_sub(began.elapsed());
            let Ok(byte) = self.printed.recv_timeout(rest) else {
                panic!("'{command}' has no end: {}", String::from_utf8_lossy(&printed));
            };
            printed.push(byte);
        }
        String::from_utf8_lossy(&printed).trim_end_matches(END).to_owned()
    }
}

impl Drop for Laboratory {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Takes out what differs from run to run, also who leads, who lags, and whether a call had to
/// wait.
fn plain(text: &str) -> String {
    let differs = ["zeta: waiting for ", "lag  ", "clock  "];
    let lines = text.lines().filter(|line| !differs.iter().any(|word| line.starts_with(word)));
    let lines = lines.map(|line| line.split_once(", led by ").map_or(line, |(before, _)| before));
    page::plain(&lines.collect::<Vec<_>>().join("\n"))
}

/// Whether a command can be typed again until it prints what the page has.
fn can_be_repeated(typed: &str) -> bool {
    !["start ", "kill ", "bus send ", "--wait ", "token="].iter().any(|word| typed.contains(word))
}

fn replay(laboratory: &mut Laboratory, step: &Step) {
    let began = Instant::now();
    loop {
        let printed = laboratory.type_in(&step.typed);
        if plain(&printed) == plain(&step.shown) {
            // What was killed has ended when the next command begins.
            return std::thread::sleep(PAUSE);
        }
        assert!(
            can_be_repeated(&step.typed) && began.elapsed() < LIMIT,
            "after '{}' the page has:\n{}\nbut:\n{printed}",
            step.typed,
            step.shown
        );
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn the_tutorial_shows_what_happens() {
    let probe = [&NAMESPACES[..], &["sh", "-c", CAN]].concat();
    if !is_root() || !can("unshare", &probe) {
        return skip(test_name!(), "needs root, network namespaces, ip, and pkill");
    }
    let Some(debian) = program(test_name!(), nats::debian()) else { return };
    let newer = program(test_name!(), nats::newer());
    let laboratories = laboratories();
    assert!(laboratories.len() == 2 && laboratories.iter().all(|steps| steps.len() > 15));
    let dir = TempDir::new("tutorial", 0o700);
    std::fs::write(dir.join("machines.sh"), machines()).unwrap();
    // The second one is on newer servers.
    let count = if newer.is_some() { 2 } else { 1 };
    let newer = newer.unwrap_or(debian);
    for steps in &laboratories[..count] {
        let mut laboratory = Laboratory::open(&dir, &newer);
        for step in steps.iter().filter(|step| step.typed != "exit") {
            replay(&mut laboratory, step);
        }
    }
}
