//! What systemd says about the files before they are installed, and what they need that is missing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use zeta_core::layout::DEFAULT_STATE_DIR;
use zeta_core::record::printable;
use zeta_os::command::{self, Failure, Finished};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::temp_dir::TempDir;
use zeta_os::users;

use super::install::write_into;
use super::render::{Scope, Services, Setting, render};

/// The most that a service of a machine may be exposed, as `systemd-analyze security` counts: in
/// tenths, from 0 to 100.
pub const LIMIT: u32 = 25;

const ANALYZE: &str = "systemd-analyze";
/// How long one look may take.
const TIME: Duration = Duration::from_secs(60);
const BYTES_MAX: usize = 64 << 10;

/// How far a service is open, as `systemd-analyze security` counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The service.
    pub unit: String,
    /// The number, as in `1.1`.
    pub level: String,
}

/// What was seen.
#[derive(Debug)]
pub struct Verified {
    /// The units.
    pub units: Vec<String>,
    /// The exposure of each service of a machine. systemd has no measure for those of a user.
    pub exposure: Vec<Exposure>,
    /// What is wrong or missing.
    pub findings: Vec<Error>,
    /// What only some of the units need, and is not there.
    pub notes: Vec<String>,
}

/// Makes the files of a setting in a directory that goes away again, and has systemd judge them.
///
/// # Errors
/// `systemd-analyze` is not there or does not answer.
pub fn verify(setting: &Setting) -> Result<Verified> {
    let mut findings = missing(setting);
    let mut made = setting.clone();
    if !setting.program.exists() {
        // It is named above. What else is wrong is seen with a program that is there.
        made.program = std::env::current_exe().unwrap_or_default();
    }
    let dir = TempDir::new().map_err(|(path, errno)| Error::io("cannot create", &path, errno))?;
    let files = render(&made)?;
    write_into(dir.path(), &files, false)?;
    let names = files.iter().filter(|file| file.is_unit()).filter_map(|file| file.name());
    let units: Vec<String> = names.map(str::to_owned).collect();
    let is_system = matches!(setting.scope, Scope::System(_));
    let said = analyze(dir.path(), is_system, |call| {
        call.arg("verify").args(units.iter().map(|unit| dir.path().join(unit)));
    })?;
    findings.extend(complaints(&said, dir.path()));
    let mut exposure = Vec::new();
    for unit in units.iter().filter(|unit| is_system && unit.ends_with(".service")) {
        let said = analyze(dir.path(), is_system, |call| {
            let threshold = format!("--threshold={LIMIT}");
            call.args(["security", "--offline=yes", "--no-pager", &threshold]);
            call.arg(dir.path().join(unit));
        })?;
        match level(&said.output) {
            Some(level) => {
                findings.extend((!said.status.success()).then(|| exposed(unit, &level)));
                exposure.push(Exposure { unit: unit.clone(), level });
            }
            None => findings.extend(complaints(&said, dir.path())),
        }
    }
    Ok(Verified { units, exposure, findings, notes: notes(setting) })
}

/// What the units of a setting need, and what is not there.
fn missing(setting: &Setting) -> Vec<Error> {
    let absent = |text: String, hint: &str| Error::new(Kind::NotFound, text).hint(hint.to_owned());
    let mut findings = Vec::new();
    let program = &setting.program;
    if !program.exists() {
        let hint = format!("sudo install -m 0755 \"$(command -v zeta)\" {}", program.display());
        findings.push(absent(format!("the program {} is missing", program.display()), &hint));
    }
    if let Scope::System(Services { user, .. }) = &setting.scope {
        let hint = "as root, it is made by: zeta init --group zeta";
        if users::account_by_name(Path::new("/"), user).is_err() {
            findings.push(absent(format!("the user {user} of the services is missing"), hint));
        }
        if users::group_id("zeta").is_none() {
            findings.push(absent("the group zeta of the services is missing".to_owned(), hint));
        }
        if !Path::new(DEFAULT_STATE_DIR).is_dir() {
            let text = format!("the state directory {DEFAULT_STATE_DIR} is missing");
            findings.push(absent(text, hint));
        }
    }
    findings
}

/// What an operator writes for single units.
fn notes(setting: &Setting) -> Vec<String> {
    let dir = match &setting.scope {
        Scope::System(_) => Path::new("/etc/zeta"),
        Scope::User(person) => &person.config_dir,
    };
    let files = [
        ("posts.toml", "guard posts need it"),
        ("node-register.env", "without it the machine is not registered"),
    ];
    let absent = files.iter().filter(|(name, _)| !dir.join(name).exists());
    absent.map(|(name, why)| format!("{} is not there: {why}", dir.join(name).display())).collect()
}

/// Calls `systemd-analyze`.
fn analyze(dir: &Path, is_system: bool, words: impl FnOnce(&mut Command)) -> Result<Finished> {
    let mut call = Command::new(ANALYZE);
    call.env("LC_ALL", "C");
    if !is_system {
        // A manager of a user looks for its sockets there, also where no session has made it.
        call.arg("--user").env("XDG_RUNTIME_DIR", dir);
    }
    words(&mut call);
    command::run(&mut call, &[], TIME, BYTES_MAX).map_err(|failure| match failure {
        Failure::NotStarted(error) => {
            Error::new(Kind::NotFound, format!("{ANALYZE} cannot be started: {error}"))
                .hint("it belongs to systemd: this machine may have none")
        }
        Failure::TimedOut | Failure::OutputOpen(_) => {
            Error::new(Kind::Fault, format!("{ANALYZE} did not end in time"))
        }
    })
}

/// The lines that systemd has to say; an exit status without a line is one.
fn complaints(said: &Finished, dir: &Path) -> Vec<Error> {
    let text = String::from_utf8_lossy(&said.errors);
    let dir = format!("{}/", dir.display());
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let finding = |line: &str| {
        let line = printable(&line.replace(&dir, "")).into_owned();
        Error::new(Kind::Unsafe, format!("{ANALYZE}: {line}"))
    };
    let mut findings: Vec<Error> = lines.map(finding).collect();
    if findings.is_empty() && !said.status.success() {
        findings.push(Error::new(Kind::Unsafe, format!("{ANALYZE}: {}", said.status)));
    }
    findings
}

/// Reads the number of the last line: `Overall exposure level for NAME: 1.1 OK`.
fn level(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|line| line.contains("exposure level"))?;
    let word = line.rsplit_once(": ")?.1.split(' ').next()?;
    word.parse::<f32>().is_ok().then(|| word.to_owned())
}

fn exposed(unit: &str, level: &str) -> Error {
    let limit = f64::from(LIMIT) / 10.0;
    Error::new(
        Kind::Unsafe,
        format!("{unit} has an exposure of {level}, and {limit:.1} is the most"),
    )
    .hint(format!("see why: systemd-analyze security {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_from_the_last_line_only() {
        let said =
            "  NAME  EXPOSURE\n\u{2192} Overall exposure level for a@i.service: 2.5 OK :-)\n";
        assert_eq!(level(said.as_bytes()).as_deref(), Some("2.5"));
        assert_eq!(level(b"Unknown option --offline\n"), None);
    }
}
