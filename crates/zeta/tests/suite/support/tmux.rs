//! A real terminal whose screen a test can read: a tmux of its own, without the user's settings.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};

use super::{LIMIT, TempDir, find, skip, until, wait_for};

/// A program in a terminal; both end when it is dropped.
pub struct Tmux {
    dir: TempDir,
}

impl Tmux {
    /// Starts a command in a terminal of this size; `None` if there is no tmux here, which is said
    /// once for this test. What the command does not set, it inherits from this process.
    pub fn start(test: &str, columns: u16, rows: u16, inner: &Command) -> Option<Tmux> {
        if find("tmux").is_none() {
            skip(test, "there is no tmux here");
            return None;
        }
        let tmux = Tmux { dir: TempDir::new("tmux", 0o700) };
        let options = "set -g remain-on-exit on\nset -g remain-on-exit-format ''\n\
            set -g status off\nset -g default-terminal tmux-256color\nset -g escape-time 0\n";
        std::fs::write(tmux.dir.join("options"), options).unwrap();
        let mut command = tmux.command(&["new-session", "-d"]);
        command.args(["-x", &columns.to_string(), "-y", &rows.to_string()]);
        command.args(["--", "env", "-u", "NO_COLOR"]);
        // All names that go away stand before the first one that is set.
        for (key, _) in inner.get_envs().filter(|(_, value)| value.is_none()) {
            command.args(["-u", key.to_str().unwrap()]);
        }
        command.arg("COLORTERM=truecolor");
        for (key, value) in inner.get_envs() {
            let Some(value) = value else { continue };
            command.arg(format!("{}={}", key.to_str().unwrap(), value.to_str().unwrap()));
        }
        command.arg(inner.get_program()).args(inner.get_args());
        if let Some(dir) = inner.get_current_dir() {
            command.current_dir(dir);
        }
        assert!(command.status().unwrap().success(), "{command:?}");
        Some(tmux)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.dir.join("socket"));
        command.arg("-f").arg(self.dir.join("options")).args(args);
        command.env_remove("TMUX").env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    fn answer(&self, args: &[&str]) -> String {
        let out = self.command(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// What the screen shows, a line for each row.
    pub fn text(&self) -> String {
        self.answer(&["capture-pane", "-p"])
    }

    /// The same with the sequences of its colours, and with the blanks at the ends.
    pub fn styled(&self) -> String {
        self.answer(&["capture-pane", "-p", "-e", "-N"])
    }

    /// What tmux knows of the pane, by its own format: `#{cursor_flag}`, `#{pane_dead_status}`, ...
    pub fn format(&self, format: &str) -> String {
        self.answer(&["display-message", "-p", format]).trim_end().to_owned()
    }

    /// Presses keys, by the names that tmux has for them.
    pub fn keys(&self, keys: &[&str]) {
        self.answer(&[&["send-keys"], keys].concat());
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.answer(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let is_shown = until(LIMIT, || self.text().contains(text));
        assert!(is_shown, "the screen does not show {text:?}:\n{}", self.text());
    }

    /// Waits until the command ends; its status, or `None` if a signal ended it.
    pub fn end(&self) -> Option<i32> {
        wait_for("the command ends", || {
            let seen = self.format("#{pane_dead} #{pane_dead_status}#{pane_dead_signal} #{pid}");
            let [is_dead, rest] = seen.split_once(' ').expect("three words").into();
            let (ended, server) = rest.split_once(' ').expect("three words");
            // tmux 3.3a may close a terminal and never ask how its command ended: the signal of
            // the kernel came while it did something else. The same signal lets it ask again.
            if is_dead == "1" && ended.is_empty() {
                let server = Pid::from_raw(server.parse().unwrap()).unwrap();
                rustix::process::kill_process(server, Signal::CHILD).unwrap();
            }
            !ended.is_empty()
        });
        self.format("#{pane_dead_status}").parse().ok()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).stderr(Stdio::null()).status();
    }
}
