//! The files of `units/`, made for another program, another user or a person alone. Nothing is read
//! or written here.

use std::path::{Path, PathBuf};

use zeta_core::layout::{DEFAULT_BUS_DIR, DEFAULT_STATE_DIR};
use zeta_os::error::{Error, Result};

use super::{FILES, SYSTEM_UNITS};

/// The program in the files of `units/`.
const PROGRAM: &str = "/usr/local/bin/zeta";
/// The user in the files of `units/`.
const USER: &str = "zeta";
/// The home of that user; also the directory of a machine for what outlives the boot.
const HOME: &str = "/var/lib/zeta";
/// The directory of an operator's files on a machine.
const CONFIG: &str = "/etc/zeta";
/// Homes that `ProtectHome=` hides.
const HIDDEN: [&str; 3] = ["/home", "/root", "/run/user"];
/// Where programs are that only root can replace, and that each service sees.
const PROGRAM_DIRS: [&str; 5] = ["/usr", "/bin", "/sbin", "/opt", "/nix/store"];
/// How many posts stand on a line.
const POSTS_PER_LINE: u32 = 8;

/// Options that a manager of one user has no right to carry out, or that only a machine has.
const OF_MACHINES: [&str; 20] = [
    "User",
    "Group",
    "UMask",
    "StateDirectory",
    "ProtectSystem",
    "ReadWritePaths",
    "ProtectHome",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateNetwork",
    "ProtectControlGroups",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "RemoveIPC",
    "Wants=network-online.target",
];
/// Units of a machine that a manager of one user does not know.
const UNITS_OF_MACHINES: [&str; 2] = ["network-online.target", "zeta-creds-restore.service"];

/// What is different from the files in `units/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The path of the program.
    pub program: PathBuf,
    /// The number of guard posts.
    pub posts: u32,
    /// The repositories of which personas have worktrees: git writes into them.
    pub repositories: Vec<PathBuf>,
    /// For whom the files are.
    pub scope: Scope,
}

/// Whose manager starts the units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// That of the machine.
    System(Services),
    /// That of one user.
    User(Person),
}

impl Scope {
    /// Its word in an answer.
    pub fn word(&self) -> &'static str {
        match self {
            Scope::System(_) => "system",
            Scope::User(_) => "user",
        }
    }
}

/// The user of the services of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// The name.
    pub user: String,
    /// The home.
    pub home: PathBuf,
}

/// One user, and the user's directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The home.
    pub home: PathBuf,
    /// The directory of the user's configuration of zeta.
    pub config_dir: PathBuf,
    /// The directory for what outlives the boot.
    pub lasting_dir: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The bus.
    pub bus_dir: PathBuf,
}

impl Default for Services {
    fn default() -> Services {
        Services { user: USER.to_owned(), home: HOME.into() }
    }
}

impl Default for Setting {
    /// That of the files in `units/`.
    fn default() -> Setting {
        let scope = Scope::System(Services::default());
        Setting { program: PROGRAM.into(), posts: 3, repositories: Vec::new(), scope }
    }
}

/// A file, made for a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// Its path below the root of a machine, or below the configuration of a user.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl UnitFile {
    /// Its path in `units/`; none of the page that is copied into the state directory.
    pub fn name(&self) -> Option<&str> {
        let unit = ["etc/systemd/system/", "systemd/user/"];
        let unit = unit.iter().find_map(|dir| self.path.strip_prefix(dir));
        unit.or_else(|| self.path.strip_prefix("etc/"))
    }

    /// Whether it is a unit.
    pub fn is_unit(&self) -> bool {
        self.name().is_some_and(|name| !name.contains('/'))
    }
}

/// The program that services of a machine start: the given one if only root can replace it and no
/// service is kept from it; or the place for it.
pub fn system_program(given: &Path) -> PathBuf {
    match PROGRAM_DIRS.iter().any(|dir| given.starts_with(dir)) {
        true => given.to_owned(),
        false => PROGRAM.into(),
    }
}

/// Makes all files of a setting.
///
/// # Errors
/// A path or a name of the setting would be another one in a unit, where some letters have a
/// meaning.
pub fn render(setting: &Setting) -> Result<Vec<UnitFile>> {
    let program = word("the program", &setting.program)?;
    match &setting.scope {
        Scope::System(services) => {
            let home = word("the home of the user", &services.home)?;
            let user = word("the user", Path::new(&services.user))?;
            let repositories = setting.repositories.iter().map(|path| word("a repository", path));
            let repositories = repositories.collect::<Result<Vec<String>>>()?;
            let made = |(path, text): &(&str, &str)| {
                let is_post = path.ends_with("zeta-guard-post@.service");
                let repositories = if is_post { repositories.as_slice() } else { &[] };
                let lines = text.lines().map(|line| match line {
                    "ProtectHome=yes" if text.contains("\nEnvironment=PATH=") => {
                        shown_homes(&home, repositories)
                    }
                    "ReadWritePaths=/tmp /var/tmp" => written(line, repositories),
                    line => system_line(line, &program, &user, &home),
                });
                let text = whole(lines, setting.posts);
                UnitFile { path: (*path).to_owned(), text }
            };
            Ok(FILES.iter().map(made).collect())
        }
        Scope::User(person) => {
            let words = Words::of(person, program)?;
            let units = FILES.iter().filter_map(|(path, text)| {
                let name = path.strip_prefix(SYSTEM_UNITS)?;
                // It restores into the homes of all.
                (name != "zeta-creds-restore.service").then_some((name, text))
            });
            let made = |(name, text): (&str, &&str)| UnitFile {
                path: format!("systemd/user/{name}"),
                text: whole(words.lines(text).into_iter(), setting.posts),
            };
            Ok(units.map(made).collect())
        }
    }
}

/// Puts lines together, with as many posts as there are.
fn whole(lines: impl Iterator<Item = String>, posts: u32) -> String {
    let line = |line: String| match line.starts_with("Wants=zeta-guard-post@") {
        true => wanted(posts),
        false => line + "\n",
    };
    lines.map(line).collect()
}

fn wanted(posts: u32) -> String {
    let numbers: Vec<u32> = (1..=posts).collect();
    let line = |numbers: &[u32]| {
        let names = numbers.iter().map(|number| format!("zeta-guard-post@{number}.service"));
        format!("Wants={}\n", names.collect::<Vec<_>>().join(" "))
    };
    numbers.chunks(POSTS_PER_LINE as usize).map(line).collect()
}

fn system_line(line: &str, program: &str, user: &str, home: &str) -> String {
    if let Some(rest) = line.strip_prefix("ExecStart=").and_then(|rest| rest.strip_prefix(PROGRAM))
    {
        return format!("ExecStart={program}{rest}");
    }
    match line {
        "User=zeta" => format!("User={user}"),
        "d /var/lib/zeta 0755 zeta zeta -" => format!("d {HOME} 0755 {user} zeta -"),
        line if line.starts_with("Environment=PATH=") => line.replace(HOME, home),
        line => line.to_owned(),
    }
}

/// Of the homes, agents need that of their user and the repositories.
fn shown_homes(home: &str, repositories: &[String]) -> String {
    let mut shown: Vec<String> = is_hidden(home).then(|| home.to_owned()).into_iter().collect();
    let hidden = repositories.iter().filter(|path| is_hidden(path));
    shown.extend(
        hidden.filter(|path| !Path::new(path).starts_with(home)).map(|path| format!("-{path}")),
    );
    match shown.is_empty() {
        true => "ProtectHome=yes".to_owned(),
        false => format!("ProtectHome=tmpfs\nBindPaths={}", shown.join(" ")),
    }
}

/// The directories that agents write into, with the repositories that are in no home. A repository
/// that is not there is told by the post.
fn written(line: &str, repositories: &[String]) -> String {
    let open = repositories.iter().filter(|path| !is_hidden(path));
    open.fold(line.to_owned(), |line, path| format!("{line}\nReadWritePaths=-{path}"))
}

/// Returns whether `ProtectHome=` hides a path.
fn is_hidden(path: &str) -> bool {
    HIDDEN.iter().any(|dir| Path::new(path).starts_with(dir))
}

/// The paths of a person, as words of a unit.
struct Words {
    program: String,
    config_dir: String,
    lasting_dir: String,
    state_dir: String,
    bus_dir: String,
}

impl Words {
    fn of(person: &Person, program: String) -> Result<Words> {
        let home = word("the home", &person.home)?;
        let below_home = |what, path: &Path| -> Result<String> {
            let path = word(what, path)?;
            Ok(match path.strip_prefix(&home).filter(|rest| rest.starts_with('/')) {
                Some(rest) => format!("%h{rest}"),
                None => path,
            })
        };
        Ok(Words {
            program,
            config_dir: below_home("the directory of the configuration", &person.config_dir)?,
            lasting_dir: below_home("the directory for what lasts", &person.lasting_dir)?,
            state_dir: word("the state directory", &person.state_dir)?,
            bus_dir: word("the bus", &person.bus_dir)?,
        })
    }

    /// The lines of a unit. What is explained in front of a line that is left out is, too.
    fn lines(&self, text: &str) -> Vec<String> {
        let (mut lines, mut comments) = (Vec::new(), Vec::new());
        for line in text.lines() {
            if line.starts_with('#') {
                comments.push(self.replaced(line));
            } else if let Some(line) = self.line(line) {
                lines.append(&mut comments);
                lines.extend(line.starts_with("ExecStart=").then(|| self.directories()).flatten());
                lines.push(line);
            } else {
                comments.clear();
            }
        }
        lines
    }

    fn line(&self, line: &str) -> Option<String> {
        let key = line.split('=').next().unwrap_or_default();
        if OF_MACHINES.iter().any(|one| *one == key || *one == line) {
            return None;
        }
        match line {
            "WantedBy=multi-user.target" => Some("WantedBy=default.target".to_owned()),
            line if line.starts_with("Environment=PATH=") => Some(line.replace(HOME, "%h")),
            line if key == "After" => {
                let words = line.trim_start_matches("After=").split(' ');
                let words: Vec<&str> =
                    words.filter(|word| !UNITS_OF_MACHINES.contains(word)).collect();
                (!words.is_empty()).then(|| format!("After={}", words.join(" ")))
            }
            line => Some(self.replaced(line)),
        }
    }

    fn replaced(&self, line: &str) -> String {
        let pairs = [
            (PROGRAM, &self.program),
            (CONFIG, &self.config_dir),
            (HOME, &self.lasting_dir),
            (DEFAULT_STATE_DIR, &self.state_dir),
            (DEFAULT_BUS_DIR, &self.bus_dir),
        ];
        pairs.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
    }

    /// The variables that a call was given and that a service would not have.
    fn directories(&self) -> Option<String> {
        let named = [
            ("ZETA_STATE_DIR", &self.state_dir, DEFAULT_STATE_DIR),
            ("ZETA_BUS_DIR", &self.bus_dir, DEFAULT_BUS_DIR),
        ];
        let named = named.iter().filter(|(_, dir, default)| dir.as_str() != *default);
        let named: Vec<String> = named.map(|(name, dir, _)| format!("{name}={dir}")).collect();
        (!named.is_empty()).then(|| format!("Environment={}", named.join(" ")))
    }
}

/// A path or a name as a word of a unit, where a per cent sign begins a specifier.
fn word(what: &str, path: &Path) -> Result<String> {
    let text = path.to_str().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@~,:%".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text.replace('%', "%%")),
        false => Err(Error::usage(format!(
            "{what} cannot stand in a unit: {} has letters that systemd reads otherwise",
            path.display()
        ))
        .hint("use a path of letters, digits and /._-+@~,:%")),
    }
}
