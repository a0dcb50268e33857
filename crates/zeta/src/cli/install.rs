//! `zeta install`: a node from one manifest.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;
use zeta_core::install::plan::Question;
use zeta_core::install::{Action, Refusal, next, picture};
use zeta_core::json::Object;
use zeta_core::record::printable;
use zeta_creds::prompt;
use zeta_install::check::Check;
use zeta_install::manifest::{self, Manifest};
use zeta_install::place::{Place, ROOT, STATE_DIR};
use zeta_install::run::{Ended, Installation, Options};
use zeta_install::stick::{self, Stick};
use zeta_install::{journal, report};
use zeta_os::error::{Error, Kind, Result};

use super::{Call, Noun, Verb, needs_verb, run_verb};

pub(super) const NOUN: Noun = Noun {
    name: "install",
    about: "Install a node by one manifest, step by step, and go on after a power cut",
    build: |noun| needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| run_verb(call, VERBS),
};

const EXAMPLES: &str = "\
The manifest says what the node gets; 'zeta schema file install-manifest' has all keys. Disks are
wiped only after a person typed their serial numbers, and the name of a node that is there.

Exit status: 3 if something is refused, 7 if the manifest, the journal or the machine is broken.

Examples:
  zeta install plan --manifest node.toml              # nothing is written
  zeta install run --manifest node.toml --dry-run     # the exact commands
  zeta install run --manifest node.toml
  zeta install status                                 # where it stands, and why";

const VERBS: &[Verb] = &[
    Verb {
        name: "plan",
        about: "Show the steps, the disks, the questions and what is not set; nothing is written",
        args: PlanArgs::augment_args,
        run: run_plan,
    },
    Verb {
        name: "run",
        about: "Install, or go on where a call was cut off",
        args: RunArgs::augment_args,
        run: run_run,
    },
    Verb {
        name: "status",
        about: "Show how far each step is, and why it does not go on",
        args: StatusArgs::augment_args,
        run: run_status,
    },
];

#[derive(Debug, Args)]
struct Inputs {
    /// The manifest of the node
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// The stick with its files: a device, an image or a directory [default: that of /iso, if any]
    #[arg(long, value_name = "PATH")]
    stick: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
    /// An answer to a question, as in wipe='wipe S3X1'; a secret is named by env:NAME or @FILE
    #[arg(long = "answer", value_name = "QUESTION=ANSWER")]
    answers: Vec<String>,
}

#[derive(Debug, Args)]
struct Places {
    /// The directory of the journal; only on a disk does it outlive a power cut
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    state: PathBuf,
    /// Where the file systems of the node are mounted
    #[arg(long, value_name = "DIR", default_value = ROOT)]
    root: PathBuf,
    /// The root of the running system
    #[arg(long, value_name = "DIR", default_value = "/")]
    live: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  zeta install plan --manifest node.toml --svg steps.svg")]
struct PlanArgs {
    #[command(flatten)]
    inputs: Inputs,
    /// Write a drawing of the steps, and of which needs which, to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
All questions are asked before anything is checked or changed. Then these checks have to succeed:
repository, cache, clock, disk_sizes, addresses, tools. Only after them a disk is wiped. A call
that was killed goes on with the next one. It refuses if a disk has something else than what this
run left.

Examples:
  zeta install run --manifest node.toml
  zeta install run --manifest node.toml --dry-run
  zeta install run --manifest node.toml --answer wipe='wipe S3X1 kestrel' --answer password=@pw
  zeta install run --manifest node.toml --override cache='a mirror is in the room'")]
struct RunArgs {
    #[command(flatten)]
    inputs: Inputs,
    /// Go on although a check fails; the journal keeps the reason
    #[arg(long = "override", value_name = "CHECK=REASON")]
    overrides: Vec<String>,
    /// Print the commands, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Put the journal of an earlier run aside, and begin with new questions
    #[arg(long, conflicts_with = "dry_run")]
    anew: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
With a manifest the disks are looked at, too, and what the next call would refuse is said.

Examples:
  zeta install status
  zeta install status --manifest node.toml --json")]
struct StatusArgs {
    /// The manifest of the node
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The stick with its files: a device, an image or a directory [default: that of /iso, if any]
    #[arg(long, value_name = "PATH")]
    stick: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
}

impl Places {
    /// They do not depend on where a tool runs.
    fn absolute(&self) -> Result<Place> {
        let absolute = |dir: &Path| {
            std::path::absolute(dir)
                .map_err(|error| Error::new(Kind::Fault, format!("{}: {error}", dir.display())))
        };
        let [state, root, live] = [&self.state, &self.root, &self.live].map(|dir| absolute(dir));
        Place { state: state?, root: root?, live: live? }.checked()
    }
}

/// Splits `NAME=VALUE`.
fn pairs(option: &str, values: Vec<String>) -> Result<BTreeMap<String, String>> {
    let pair = |value: String| match value.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::usage(format!("{option} needs NAME=VALUE, and got {value:?}"))),
    };
    values.into_iter().map(pair).collect()
}

fn read_stick(given: Option<&Path>) -> Result<Stick> {
    let path = match given {
        Some(path) => Some(path.to_owned()),
        None => stick::booted()?,
    };
    path.map_or(Ok(Stick::default()), |path| Stick::read(&path))
}

/// What a call installs.
struct Opened {
    manifest: Manifest,
    stick: Stick,
    place: Place,
    answers: BTreeMap<String, Zeroizing<String>>,
}

impl Inputs {
    fn open(self) -> Result<Opened> {
        let answers = pairs("--answer", self.answers)?;
        Ok(Opened {
            manifest: manifest::read(&self.manifest)?,
            stick: read_stick(self.stick.as_deref())?,
            place: self.places.absolute()?,
            answers: answers.into_iter().map(|(id, text)| (id, Zeroizing::new(text))).collect(),
        })
    }
}

impl Opened {
    fn options<'a>(
        self,
        overrides: BTreeMap<String, String>,
        note: &'a dyn Fn(&str),
    ) -> Options<'a> {
        let Opened { manifest, stick, place, answers } = self;
        Options { manifest, stick, place, answers, overrides, ask: &ask, note, show: &show }
    }
}

/// Shows a line that is never shown again: on stderr, also for a quiet call.
fn show(line: &str) -> Result<()> {
    let shown = std::io::stderr().lock().write_all(format!("zeta: {line}\n").as_bytes());
    shown.map_err(|error| Error::new(Kind::Fault, format!("nothing can be shown: {error}")))
}

/// Asks at the terminal, if there is one.
fn ask(question: &Question) -> Result<Option<Zeroizing<String>>> {
    if !prompt::has_terminal() {
        return Ok(None);
    }
    // What a disk says of itself moves no cursor.
    let text = format!("{}: ", printable(&question.text));
    if question.is_secret {
        let typed = prompt::passphrase(&text)?;
        let typed = String::from_utf8(typed.expose().to_vec());
        let typed = typed.map_err(|_| Error::usage("the answer is not UTF-8 text"))?;
        return Ok(Some(Zeroizing::new(typed)));
    }
    Ok(prompt::line(&text)?.map(Zeroizing::new))
}

fn run_plan(call: &Call) -> Result<u8> {
    let PlanArgs { inputs, svg } = call.args()?;
    let opened = inputs.open()?;
    let journal = journal::read(&opened.place.state)?;
    let manifest = opened.manifest.clone();
    let installation = Installation::new(opened.options(BTreeMap::new(), &|_| {}))?;
    let moment = installation.look(&journal)?;
    if let Some(path) = svg {
        std::fs::write(&path, picture::draw(&journal)).map_err(|error| {
            Error::new(Kind::Fault, format!("cannot write {}: {error}", path.display()))
        })?;
    }
    call.out.either(
        || report::plan_json(&manifest, &moment, &journal),
        || report::plan_text(&manifest, &moment, &journal),
    )?;
    Ok(moment.plan.refusals.first().map_or(0, |refusal| kind_of(refusal).status()))
}

fn run_run(call: &Call) -> Result<u8> {
    let RunArgs { inputs, overrides, dry_run, anew } = call.args()?;
    let overrides = pairs("--override", overrides)?;
    overrides.keys().try_for_each(|check| Check::parse(check).map(|_| ()))?;
    if let Some(empty) = overrides.iter().find(|(_, reason)| reason.trim().is_empty()) {
        return Err(Error::usage(format!("--override {}: give the reason", empty.0)));
    }
    let opened = inputs.open()?;
    let note = |line: &str| call.out.note(line);
    let state = opened.place.state.clone();
    if dry_run {
        let journal = journal::read(&state)?;
        let installation = Installation::new(opened.options(overrides, &note))?;
        let moment = installation.look(&journal)?;
        if let Action::Refuse(refusal) = next(&moment.plan, &journal, &moment.look.seen, true) {
            return refused(call, &refusal);
        }
        let commands = installation.commands(&moment, &journal);
        let json = || report::commands_json(&commands);
        call.out.either(json, || report::commands_text(&commands))?;
        return Ok(0);
    }
    if anew {
        note(&format!("the journal is {} now", journal::put_aside(&state)?.display()));
    }
    if Place::is_in_memory(&state) {
        let text = format!("{} is in memory: after a power cut nothing is known", state.display());
        call.out.note_finding(&Error::new(Kind::Unsafe, text).hint("name another: --state DIR"));
    }
    match Installation::new(opened.options(overrides, &note))?.run()? {
        Ended::Refused(refusal) => refused(call, &refusal),
        Ended::Finished { node, banner } => {
            let json = || {
                let mut object = Object::new();
                object.text("outcome", "finished").text("node", &node).text("banner", &banner);
                object
            };
            call.out.either(json, || banner.clone())?;
            Ok(0)
        }
    }
}

fn kind_of(refusal: &Refusal) -> Kind {
    if refusal.is_broken() { Kind::Unsafe } else { Kind::Refused }
}

fn refused(call: &Call, refusal: &Refusal) -> Result<u8> {
    let error = Error::new(kind_of(refusal), refusal.to_string());
    let mut object = Object::new();
    object.text("refusal", refusal.word());
    call.out.error(&error.hint(report::next_step(refusal)), Some(object));
    Ok(kind_of(refusal).status())
}

fn run_status(call: &Call) -> Result<u8> {
    let StatusArgs { manifest, stick, places } = call.args()?;
    let place = places.absolute()?;
    let journal = journal::read(&place.state)?;
    let mut refusal = journal.damaged.map(Refusal::JournalDamaged);
    if let Some(path) = manifest {
        let manifest = manifest::read(&path)?;
        let stick = read_stick(stick.as_deref())?;
        let opened = Opened { manifest, stick, place, answers: BTreeMap::new() };
        let installation = Installation::new(opened.options(BTreeMap::new(), &|_| {}))?;
        let moment = installation.look(&journal)?;
        if let Action::Refuse(found) = next(&moment.plan, &journal, &moment.look.seen, true) {
            refusal = Some(found);
        }
    }
    let json = || report::status_json(&journal, refusal.as_ref());
    call.out.either(json, || report::status_text(&journal, refusal.as_ref()))?;
    Ok(refusal.map_or(0, |refusal| kind_of(&refusal).status()))
}
