//! A program of low priority beside the tests, which ends with this process.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

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
}

impl Beside {
    /// Starts a program; nothing of it is shown.
    pub fn begin(program: &Command) -> io::Result<Beside> {
        let mut shell = run::program("sh", &["-c", UNTIL_CLOSED, "sh"]);
        shell.arg(program.get_program()).args(program.get_args()).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = shell.spawn()?;
        // `wait` would close it.
        let open = shell.stdin.take();
        Ok(Beside { shell, open })
    }

    /// Waits until the program has come to its end.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.shell.wait()
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
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_program_comes_to_its_end_and_its_status_is_kept() {
        let status = Beside::begin(&run::program("sh", &["-c", "exit 3"])).unwrap().wait();
        assert_eq!(status.unwrap().code(), Some(3));
    }

    #[test]
    fn a_program_that_is_not_waited_for_ends_with_all_that_it_started() {
        let file = std::env::temp_dir().join(format!("xtask-beside-{}", std::process::id()));
        let script = "sleep 300 & echo $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait";
        let begun =
            Beside::begin(&run::program("sh", &["-c", script, &file.to_string_lossy()])).unwrap();
        let read = || fs::read_to_string(&file).ok();
        wait_for("the program says what it started", || read().is_some());
        let started = PathBuf::from("/proc").join(read().unwrap().trim());
        fs::remove_file(&file).unwrap();
        assert!(lives(&started));
        drop(begun);
        wait_for("what it started has ended", || !lives(&started));
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
