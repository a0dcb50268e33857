//! `zeta unit`: the files that systemd reads, for this machine or for one user.

use std::path::{Path, PathBuf};

use clap::Args;
use rustix::process::geteuid;
use zeta_core::layout;
use zeta_core::schedule::policy::POSTS_MAX;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{host, users};
use zeta_posts::config::{self, Needs};
use zeta_state::upkeep::init::name_of_machine;
use zeta_state::upkeep::unit_files::report::{
    installed_json, installed_text, rendered_json, rendered_text, verified_json, verified_text,
};
use zeta_state::upkeep::unit_files::{
    Person, Scope, Services, Setting, install, render, system_program, verify, write_into,
};

use super::{Call, Noun, Verb, needs_verb, run_verb};
use crate::environment;

pub(super) const NOUN: Noun = Noun {
    name: "unit",
    about: "Make, examine and install the units of systemd: clean-up, heartbeat, guard posts, …",
    build: |noun| needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| run_verb(call, VERBS),
};

const EXAMPLES: &str = "\
Root gets the units of the machine (--system), and every other user units of their own (--user).

Examples:
  zeta unit render --user
  zeta unit verify --user
  zeta unit install --user
  zeta unit install --system      # as root";

const VERBS: &[Verb] = &[
    Verb {
        name: "render",
        about: "Print the files for this program, user and number of posts, or write them",
        args: RenderArgs::augment_args,
        run: run_render,
    },
    Verb {
        name: "verify",
        about: "Have systemd judge the files, and name what they need that is missing",
        args: VerifyArgs::augment_args,
        run: run_verify,
    },
    Verb {
        name: "install",
        about: "Write the files where systemd finds them; nothing is enabled or started",
        args: InstallArgs::augment_args,
        run: run_install,
    },
];

// What the files are made for.
#[derive(Debug, Args)]
struct SettingArgs {
    /// Units of this user's own manager [default for all users but root]
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// Units of this machine [default for root]
    #[arg(long)]
    system: bool,
    /// The program that they start [default: this one, or /usr/local/bin/zeta]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// With --system: the user of the services [default: zeta]
    #[arg(long, value_name = "USER", conflicts_with = "user")]
    run_as: Option<String>,
    /// The number of guard posts [default: that of posts.toml, or 3]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(POSTS_MAX)))]
    posts: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta unit render --user
  zeta unit render --system --program /usr/bin/zeta --dir units")]
struct RenderArgs {
    #[command(flatten)]
    setting: SettingArgs,
    /// Write the files into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// With --dir: overwrite files that differ
    #[arg(long, requires = "dir")]
    replace: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The files are made in a directory that goes away again. systemd must have nothing to say about them,
and a service of a machine may have an exposure of 2.5 at most (systemd-analyze security).

Exit status: 0 if nothing is wrong or missing; 7 if something is; 4 without systemd-analyze.

Example:
  zeta unit verify --user")]
struct VerifyArgs {
    #[command(flatten)]
    setting: SettingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A file that differs from the one of zeta was changed by you, or was made for another program, user
or number of posts: it stays, unless --replace is given. Repeating the call is safe. It prints what
to call next, and calls nothing of it.

Examples:
  zeta unit install --user
  zeta unit install --system --root image   # into the tree of another machine")]
struct InstallArgs {
    #[command(flatten)]
    setting: SettingArgs,
    /// With --system: the root of another machine's tree, which gets no name of a node
    #[arg(long, value_name = "DIR", requires = "system", conflicts_with = "user")]
    root: Option<PathBuf>,
    /// Overwrite files that differ
    #[arg(long)]
    replace: bool,
}

impl SettingArgs {
    fn is_system(&self) -> bool {
        self.system || (!self.user && (self.run_as.is_some() || geteuid().is_root()))
    }

    /// The setting of a call; `root` is where a machine's files are.
    fn setting(&self, call: &Call, root: &Path) -> Result<Setting> {
        if self.is_system() {
            let program = match &self.program {
                Some(program) => absolute(program),
                None => system_program(&own_program()?),
            };
            let scope = Scope::System(services(root, self.run_as.as_deref())?);
            let config_dir = root.join(config::SYSTEM_DIR.trim_start_matches('/'));
            let Needs { posts, repositories } = self.needs(&config_dir)?;
            return Ok(Setting { program, posts, repositories, scope });
        }
        let program = match &self.program {
            Some(program) => absolute(program),
            None => own_program()?,
        };
        let person = person(call)?;
        let Needs { posts, repositories } = self.needs(&person.config_dir)?;
        Ok(Setting { program, posts, repositories, scope: Scope::User(person) })
    }

    /// What the operator's files say, and what the call says in place of it.
    fn needs(&self, config_dir: &Path) -> Result<Needs> {
        let read = config::needs(config_dir).map_err(|error| {
            error.hint("units are made for the posts and the repositories of these files")
        })?;
        let needs = read.unwrap_or_else(default_needs);
        Ok(Needs { posts: self.posts.unwrap_or(needs.posts), ..needs })
    }
}

fn default_needs() -> Needs {
    Needs { posts: Setting::default().posts, repositories: Vec::new() }
}

/// The units of this machine that `zeta init --group` writes, and `zeta unit install` without
/// options.
pub(super) fn units_of_machine() -> Result<Setting> {
    let (program, scope) = (system_program(&own_program()?), services(Path::new("/"), None)?);
    // What is wrong with the files is told by the calls that are about posts.
    let read = config::needs(Path::new(config::SYSTEM_DIR)).ok().flatten();
    let Needs { posts, repositories } = read.unwrap_or_else(default_needs);
    Ok(Setting { program, posts, repositories, scope: Scope::System(scope) })
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| {
        Error::new(Kind::Fault, format!("the path of this program is not known: {error}"))
            .hint("name it: --program FILE")
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The user of the services. The one of `sysusers.d` may not be there yet.
fn services(root: &Path, named: Option<&str>) -> Result<Services> {
    let default = Services::default();
    let account = users::account_by_name(root, named.unwrap_or(&default.user));
    match (account, named) {
        (Ok(account), _) if account.uid == 0 => Err(Error::usage("services do not run as root")),
        (Ok(account), _) => Ok(Services { user: account.name, home: account.home.into() }),
        (Err(_), None) => Ok(default),
        (Err(error), Some(_)) => Err(error),
    }
}

fn person(call: &Call) -> Result<Person> {
    let ctx = call.context()?;
    let nowhere = || Error::new(Kind::Unsafe, "this user has no home directory");
    let name = users::account_by_uid(Path::new("/"), geteuid().as_raw()).map(|user| user.name);
    Ok(Person {
        name: name.unwrap_or_else(|_| geteuid().as_raw().to_string()),
        home: host::home().ok_or_else(nowhere)?,
        config_dir: environment::config_dir().ok_or_else(nowhere)?,
        lasting_dir: ctx.lasting_dir.clone().ok_or_else(nowhere)?,
        state_dir: ctx.state_dir,
        bus_dir: ctx.bus_dir,
    })
}

fn run_render(call: &Call) -> Result<u8> {
    let args: RenderArgs = call.args()?;
    let setting = args.setting.setting(call, Path::new("/"))?;
    let files = render(&setting)?;
    let steps = match &args.dir {
        Some(dir) => write_into(dir, &files, args.replace)?,
        None => Vec::new(),
    };
    let text = || match args.dir {
        Some(_) => zeta_state::upkeep::report::steps_text(&steps, &[]),
        None => rendered_text(&files),
    };
    call.out.either(|| rendered_json(&setting, &files, &steps), text)?;
    Ok(0)
}

fn run_verify(call: &Call) -> Result<u8> {
    let args: VerifyArgs = call.args()?;
    let setting = args.setting.setting(call, Path::new("/"))?;
    let seen = verify(&setting)?;
    call.out.either(|| verified_json(&setting, &seen), || verified_text(&setting, &seen))?;
    match seen.findings.is_empty() {
        true => Ok(0),
        false => Ok(Kind::Unsafe.status()),
    }
}

fn run_install(call: &Call) -> Result<u8> {
    let args: InstallArgs = call.args()?;
    let root = args.root.as_deref().unwrap_or(Path::new("/"));
    let setting = args.setting.setting(call, root)?;
    let installed = match &setting.scope {
        Scope::User(person) => {
            let home = person.config_dir.parent().unwrap_or(root);
            install(home, &setting, None, args.replace)?
        }
        Scope::System(_) if args.root.is_some() => install(root, &setting, None, args.replace)?,
        Scope::System(_) => {
            let ctx = call.context()?;
            if !geteuid().is_root() {
                return Err(Error::usage("only root can install units of the machine")
                    .hint("run: sudo zeta unit install --system")
                    .hint("for units of your own: zeta unit install --user"));
            }
            if ctx.state_dir != Path::new(layout::DEFAULT_STATE_DIR) {
                return Err(Error::usage("the units of the machine are for the default directory")
                    .hint("leave out --state-dir, and ZETA_STATE_DIR in the environment"));
            }
            let node = name_of_machine(&ctx)?;
            let mut installed = install(root, &setting, Some(&node), args.replace)?;
            if users::group_id("zeta").is_none() || !ctx.state_dir.is_dir() {
                let init = "zeta init --group zeta   # the group, the user and the directories";
                installed.next.insert(0, init.to_owned());
            }
            installed
        }
    };
    call.out.either(|| installed_json(&setting, &installed), || installed_text(&installed))?;
    Ok(0)
}
