//! `zeta post`: the guard posts of this node.

use std::path::{Path, PathBuf};

use clap::Args;
use zeta_core::json::Object;
use zeta_core::name::Label;
use zeta_core::schedule::picture::{Picture, svg};
use zeta_core::schedule::{State, Ticked};
use zeta_core::time::parse_duration;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_posts::config::{self, Config, POSTS_FILE};
use zeta_posts::report::{self, Row};
use zeta_posts::run::{self, Options, Said, worktree};
use zeta_posts::store::{self, Found, Store};
use zeta_posts::tick;
use zeta_state::context::Context;
use zeta_state::finding;

use super::{Call, Noun, Verb, needs_verb, run_verb};
use crate::environment;

pub(super) const NOUN: Noun = Noun {
    name: "post",
    about: "Decide which personas stand at the guard posts of this node, and with what",
    build: |noun| needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| run_verb(call, VERBS),
};

const EXAMPLES: &str = "\
The operator writes posts.toml and a file for each persona into personas.d: in /etc/zeta, or in
~/.config/zeta for a user alone. Each tick chooses persona, model line, tier and harness, in this
order, and moves as little as it can.

Exit status: 7 if fewer posts can be manned than must be, or if the files are broken; 3 if
another scheduler works.

The least that is needed, for one post and a program that asks for no harness:

  posts.toml:            [posts]
                         count = 1
                         [lines.anthropic.tiers.high]
                         program = \"claude\"
                         arguments = [\"--print\", \"{prompt}\"]
  personas.d/otto.toml:  lines = [\"anthropic\"]
                         harnesses = [\"claude-code\"]

Examples:
  zeta post plan                     # what the next tick would do; nothing is written
  zeta post plan --svg posts.svg     # the same as a drawing, with a week to come
  zeta post tick                     # decide, and write who stands where
  zeta post explain otto             # why otto works with what it works with
  zeta post run 1                    # run the agents of post 1, as its systemd unit does";

const VERBS: &[Verb] = &[
    Verb {
        name: "plan",
        about: "Show what the next tick would decide; nothing is written",
        args: PlanArgs::augment_args,
        run: run_plan,
    },
    Verb {
        name: "tick",
        about: "Decide who stands where by what the posts reported, and write it",
        args: |verb| Dirs::augment_args(verb).after_help("Examples:\n  zeta post tick"),
        run: |call| run_tick(call, false),
    },
    Verb {
        name: "run",
        about: "Run one post: the agent of who stands there, tick by tick, until a signal",
        args: RunArgs::augment_args,
        run: run_post,
    },
    Verb {
        name: "rotate",
        about: "End the turn now: the next personas come to the posts",
        args: |verb| Dirs::augment_args(verb).after_help("Examples:\n  zeta post rotate"),
        run: |call| run_tick(call, true),
    },
    Verb {
        name: "list",
        about: "Show who stands at which post, and how its last tick ended",
        args: |verb| Dirs::augment_args(verb).after_help("Examples:\n  zeta post list"),
        run: run_list,
    },
    Verb {
        name: "explain",
        about: "Show why a persona works with what it does: each candidate and its verdict",
        args: ExplainArgs::augment_args,
        run: run_explain,
    },
];

#[derive(Debug, Args)]
struct Dirs {
    /// The directory with posts.toml and personas.d [default: /etc/zeta, or ~/.config/zeta]
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// The directory of the assignments [default: /var/lib/zeta, or ~/.local/state/zeta]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta post plan
  zeta post plan --svg posts.svg --ahead 30d")]
struct PlanArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// Write a drawing of who stood where, and who will, to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How much time to come is drawn
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    ahead: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta post explain otto")]
struct ExplainArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// The persona
    #[arg(value_name = "PERSONA")]
    persona: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each tick runs the program of the choice as the agent PERSONA-postN, under the lease
guard-post.PERSONA, so that a persona never works twice at a time. When the tick ends, each of its
processes is ended: in a control group where systemd delegates one (Delegate=yes), else one by one.
A tick that takes longer than its limit is asked to end, and killed when its grace is over. Then
its end is reported, and the scheduler decides at once.

SIGTERM ends the tick in the same way, and the call with it. Exit status: 0 after a signal; 3 if
another process runs the post; 7 if the files of the operator are broken.

Example:
  zeta post run 1")]
struct RunArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// The number of the post, from 1
    #[arg(value_name = "N")]
    post: u32,
}

/// The files of a call.
struct Opened {
    ctx: Context,
    config: Config,
    store: Store,
    /// What is wrong and stops nothing.
    findings: Vec<Error>,
}

impl Dirs {
    /// Reads the files of the operator.
    fn open(&self, call: &Call) -> Result<Opened> {
        let system = Path::new(config::SYSTEM_DIR);
        let is_system = system.join(POSTS_FILE).exists();
        let dir = match &self.config {
            Some(dir) => dir.clone(),
            None if is_system => system.to_owned(),
            None => environment::config_dir().ok_or_else(nowhere)?,
        };
        let (ctx, config) = (call.context()?, Config::load(&dir)?);
        let findings: Vec<Error> =
            config.warnings.iter().map(|warning| Error::new(Kind::Unsafe, warning)).collect();
        let store = match &self.dir {
            Some(dir) => dir.clone(),
            None if dir == system => store::SYSTEM_DIR.into(),
            None => ctx.lasting_dir.clone().ok_or_else(nowhere)?,
        };
        Ok(Opened { ctx, config, store: Store::new(store), findings })
    }
}

fn nowhere() -> Error {
    Error::new(Kind::Unsafe, "this user has no home directory, and no directory was named")
        .hint("name both: --config and --dir")
}

impl Opened {
    fn rows(&self, state: &State) -> Vec<Row> {
        let row = |number: u32| Row {
            number,
            post: state.posts.get(&number).cloned(),
            last: self.store.reports(number).reports.pop(),
        };
        (1..=self.config.policy.posts).map(row).collect()
    }

    /// Prints what was decided; the status says whether enough posts are manned.
    fn show(&self, call: &Call, ticked: &Ticked, is_written: bool) -> Result<u8> {
        let (rows, floor) = (self.rows(&ticked.state), self.config.policy.floor);
        let object = report::ticked_json(&rows, floor, ticked, is_written);
        let status = self.print(call, object, &rows, true)?;
        if !call.out.json {
            ticked.changes.iter().for_each(|one| call.out.note(&report::change_text(one)));
        }
        Ok(status)
    }

    /// Prints the posts, and what is wrong: also that fewer are manned than must be.
    fn print(&self, call: &Call, mut object: Object, rows: &[Row], has_ticked: bool) -> Result<u8> {
        let floor = self.config.policy.floor;
        let manned = rows.iter().filter(|row| row.post.is_some()).count();
        let missed = (manned < floor as usize).then(|| {
            let text = format!("{manned} of {} posts are manned, and {floor} must be", rows.len());
            Error::new(Kind::Unsafe, text).hint(match has_ticked {
                true => "see why of each persona: zeta post explain PERSONA",
                false => "no tick has decided yet who stands where: zeta post tick",
            })
        });
        let findings: Vec<Error> = self.findings.iter().chain(&missed).cloned().collect();
        finding::add_errors(&mut object, &findings);
        call.out.either(|| object, || report::posts_text(rows, floor))?;
        if !call.out.json {
            findings.iter().for_each(|finding| call.out.note_finding(finding));
        }
        Ok(missed.map_or(0, |missed| missed.kind.status()))
    }
}

fn run_plan(call: &Call) -> Result<u8> {
    let args: PlanArgs = call.args()?;
    let ahead_ms = parse_duration("ahead", &args.ahead)?;
    let opened = args.dirs.open(call)?;
    let (ticked, past) = tick::look(&opened.ctx, &opened.config, &opened.store)?;
    if let Some(path) = &args.svg {
        let (policy, now_us) = (&opened.config.policy, host::wall_us());
        let picture = Picture::new(policy, &ticked.state, &past, now_us, ahead_ms);
        std::fs::write(path, svg::draw(&picture)).map_err(|error| {
            Error::new(Kind::Fault, format!("cannot write {}: {error}", path.display()))
        })?;
    }
    opened.show(call, &ticked, false)
}

fn run_tick(call: &Call, begin_turn: bool) -> Result<u8> {
    let args: Dirs = call.args()?;
    let opened = args.open(call)?;
    let done = tick::run(&opened.ctx, &opened.config, &opened.store, begin_turn)?;
    if let Some((path, why)) = &done.aside {
        let text = format!("the assignments were damaged: {why}; all posts are manned anew");
        let hint = format!("the damaged file is {} now", path.display());
        call.out.note_finding(&Error::new(Kind::Unsafe, text).hint(hint));
    }
    opened.show(call, &done.ticked, true)
}

fn run_post(call: &Call) -> Result<u8> {
    let args: RunArgs = call.args()?;
    let name = format!("guard-post-{}", args.post);
    let is_named = call.given("agent").is_some();
    let Opened { mut ctx, config, store, findings } = args.dirs.open(call)?;
    // What the supervisor holds is no part of a session around it.
    ctx.session = None;
    if !is_named {
        (ctx.agent, ctx.agent_named) = (Label::new("agent", &name)?, true);
    }
    // git is called in other directories.
    let dir = std::path::absolute(store.dir()).unwrap_or_else(|_| store.dir().to_owned());
    let own = std::env::current_exe()
        .map_err(|error| Error::new(Kind::Fault, format!("cannot find this program: {error}")))?;
    let out = call.out;
    let say = Box::new(move |said| match said {
        Said::Note(line) => out.note(&line),
        Said::Warning(error) => out.warn(&error),
    });
    findings.iter().for_each(|finding| out.warn(finding));
    run::run(Options { ctx, config, store: Store::new(dir), post: args.post, own, say })?;
    Ok(0)
}

fn run_list(call: &Call) -> Result<u8> {
    let args: Dirs = call.args()?;
    let mut opened = args.open(call)?;
    let mut has_ticked = true;
    let state = match opened.store.read()? {
        Found::Absent => {
            has_ticked = false;
            State::default()
        }
        Found::Read(read) => read.state,
        Found::Damaged(why) => {
            let text = format!("{}: {why}", opened.store.path().display());
            return Err(
                Error::new(Kind::Unsafe, text).hint("the next tick puts it aside: zeta post tick")
            );
        }
    };
    let (rows, floor) = (opened.rows(&state), opened.config.policy.floor);
    opened.findings.extend(worktree::leftovers(&opened.store, &opened.config));
    let mut object = Object::new();
    report::posts_json(&mut object, &rows, floor);
    opened.print(call, object, &rows, has_ticked)
}

fn run_explain(call: &Call) -> Result<u8> {
    let args: ExplainArgs = call.args()?;
    let persona = Label::new("persona", &args.persona)?;
    let opened = args.dirs.open(call)?;
    let (ticked, _) = tick::look(&opened.ctx, &opened.config, &opened.store)?;
    let steps = report::explain(&opened.config.policy, &ticked.state, &persona);
    let steps = steps.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("there is no persona {persona}")).hint(format!(
            "its file would be {}/personas.d/{persona}.toml",
            opened.config.dir.display()
        ))
    })?;
    let mut posts = ticked.state.posts.iter();
    let post = posts.find(|(_, post)| post.persona == persona).map(|(number, _)| *number);
    let text = || {
        let mut lines: Vec<String> = steps.iter().map(report::candidate_text).collect();
        lines.push(match post {
            Some(post) => format!("{persona} stands at post {post}"),
            None => format!("{persona} stands at no post: it is not its turn, or nothing fits"),
        });
        lines.join("\n")
    };
    call.out.either(|| report::explain_json(&persona, post, &steps), text)?;
    Ok(0)
}
