//! The scene: a state directory in which twelve agents work on a web shop, for pictures and for the
//! tests of `zeta watch` and `zeta web`.
//!
//! All of it is real: processes, git worktrees, leases, claims, messages. `play` makes it, and
//! tests play it, too.

mod play;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::play::{Outcome, Scene};

const USAGE: &str = "\
usage: scene [--zeta PROGRAM] [--dir DIR] [--hold SECONDS]

  --zeta   the program (default: the zeta in the directory of this program)
  --dir    where to make everything; it must not exist (default: /tmp/zeta-scene-PID)
  --hold   end after so many seconds (default: 600); SIGINT and SIGTERM end it, too

Prints two lines when all of it is there: the state directory and the bus directory. To look at it:

  ZETA_STATE_DIR=… ZETA_BUS_DIR=… zeta status

At the end, also after SIGKILL, all processes and the directory are gone.
";

/// How often the scene does what must be repeated: the two agents write their file again.
const EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scene: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Outcome<()> {
    let mut zeta = std::env::current_exe()?.with_file_name("zeta");
    let mut dir = PathBuf::from(format!("/tmp/zeta-scene-{}", std::process::id()));
    let mut hold = Duration::from_secs(600);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--zeta" => zeta = std::path::absolute(value()?)?,
            "--dir" => dir = std::path::absolute(value()?)?,
            "--hold" => {
                let text = value()?;
                let seconds =
                    text.parse::<u32>().map_err(|_| format!("--hold {text}: no number"))?;
                hold = Duration::from_secs(seconds.into());
            }
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(());
            }
            _ => return Err(format!("there is no option {arg}\n{USAGE}").into()),
        }
    }
    let end = Instant::now() + hold;
    let mut scene = Scene::play(&zeta, &dir)?;
    println!("{}\n{}", scene.state_dir().display(), scene.bus_dir().display());
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::sleep(left.min(EVERY));
        scene.keep_up()?;
    }
    Ok(())
}
