//! A program of low priority beside the tests, which ends with this process.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};

use crate::run;

/// Runs the program, and ends it and all that it started as soon as standard input is closed. The
/// kernel closes that also when this process is killed, and `kill 0` reaches the group.
const UNTIL_CLOSED: &str = r#"
exec 3<&0 </dev/null
(read -r line <&3; kill 0) &
nice -n 15 "$@"
code=$?
kill $!
exit $code
"#;

/// The program; dropped, it is ended.
pub struct Beside {
    shell: Child,
    /// Its standard input: the program runs while this is open.
    open: Option<ChildStdin>,
    log: PathBuf,
}

impl Beside {
    /// Starts a chore of this program; what it says goes into a log.
    pub fn chore(args: &[&str]) -> io::Result<Beside> {
        let xtask = std::env::current_exe()?;
        Beside::begin(&[&[&*xtask.to_string_lossy()], args].concat(), args[0])
    }

    fn begin(program: &[&str], name: &str) -> io::Result<Beside> {
        let log = run::target_dir().join(format!("beside-{name}.log"));
        fs::create_dir_all(run::target_dir())?;
        let file = File::create(&log)?;
        let mut shell = run::program("sh", &["-c", UNTIL_CLOSED, "sh"]);
        shell.args(program).process_group(0);
        shell.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        let mut shell = shell.spawn()?;
        // `wait` would close it.
        let open = shell.stdin.take();
        Ok(Beside { shell, open, log })
    }

    /// Waits until the program has come to its end; also returns what it said.
    pub fn wait(mut self) -> io::Result<(ExitStatus, String)> {
        let status = self.shell.wait()?;
        Ok((status, String::from_utf8_lossy(&fs::read(&self.log)?).into_owned()))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.open.take());
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_program_comes_to_its_end_and_its_status_and_its_words_are_kept() {
        let begun = Beside::begin(&["sh", "-c", "echo out; echo err >&2; exit 3"], "test-words");
        let begun = begun.unwrap();
        let log = begun.log.clone();
        let (status, text) = begun.wait().unwrap();
        assert_eq!((status.code(), text.as_str()), (Some(3), "out\nerr\n"));
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_program_that_is_not_waited_for_ends_with_all_that_it_started() {
        let script = "sleep 300 & echo $!; wait";
        let begun = Beside::begin(&["sh", "-c", script], "test-end").unwrap();
        let log = begun.log.clone();
        let read = || fs::read_to_string(&log).unwrap();
        wait_for("the program says what it started", || read().ends_with('\n'));
        let started = PathBuf::from("/proc").join(read().trim());
        assert!(lives(&started));
        drop(begun);
        wait_for("what it started has ended", || !lives(&started));
        fs::remove_file(log).unwrap();
    }

    /// Reports whether a process runs. One that ended is there until its parent has seen it.
    fn lives(process: &Path) -> bool {
        let stat = fs::read_to_string(process.join("stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn wait_for(what: &str, is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
