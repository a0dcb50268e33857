//! A booted machine as it is seen, and told what to do, from outside: over a directory that both
//! share.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::until;

/// How long anything may take on a machine that does other things, too. Nothing waits so long for
/// its time; it is only seen that it does not come.
const LIMIT: Duration = Duration::from_secs(90);

/// Shows what `zeta status` says, again and again, and runs what it is asked to.
pub const DRIVE: &str = r#"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd /drive
number=0
until [ -e end ]; do
    zeta status --json >status.new 2>status.err && mv status.new status
    if [ -e ask-$number ]; then
        sh ./ask-$number >answer.new 2>&1
        mv answer.new answer-$number
        number=$((number + 1))
    fi
    sleep 0.05
done
"#;

/// The machine from outside; dropped, it ends the machine.
pub struct Driver {
    dir: PathBuf,
    asked: Cell<u32>,
}

impl Driver {
    pub fn new(dir: PathBuf) -> Driver {
        Driver { dir, asked: Cell::new(0) }
    }

    /// Runs a script as root; what it printed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let number = self.asked.replace(self.asked.get() + 1);
        let (begun, ask) = (self.dir.join("ask.new"), self.dir.join(format!("ask-{number}")));
        fs::write(&begun, script).unwrap();
        fs::rename(begun, ask).unwrap();
        let answer = self.dir.join(format!("answer-{number}"));
        assert!(until(LIMIT, || answer.exists()), "no answer: {script}");
        fs::read_to_string(answer).unwrap()
    }

    /// Sets or removes a mark, which programs in the machine see as a file in `/drive`.
    pub fn mark(&self, name: &str, is_set: bool) {
        let path = self.dir.join(name);
        match is_set {
            true => fs::write(path, "").unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    /// What `zeta status --json` said last; null before the machine is up.
    pub fn status(&self) -> Value {
        let text = fs::read_to_string(self.dir.join("status")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits for a status that is as `so` says; what `so` found in it.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut so: impl FnMut(&Value) -> Option<T>) -> T {
        let mut found = None;
        until(LIMIT, || {
            found = so(&self.status());
            found.is_some()
        });
        let why = || fs::read_to_string(self.dir.join("status.err")).unwrap_or_default();
        found
            .unwrap_or_else(|| panic!("{what}: {:#}\n{}\n{}", self.status(), why(), self.journal()))
    }

    /// Waits until a script prints something; what it printed.
    #[track_caller]
    pub fn wait_sh(&self, what: &str, script: &str) -> String {
        let mut said = String::new();
        let came = until(LIMIT, || {
            said = self.sh(script);
            !said.is_empty()
        });
        assert!(came, "{what}: {script}\n{}", self.journal());
        said
    }

    fn journal(&self) -> String {
        self.sh("journalctl --no-pager --boot --output=cat --unit='zeta-*' | tail -n 200")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("end"), "");
    }
}
