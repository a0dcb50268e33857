//! An installation, until its end or a refusal: look, ask the core what is next, do it, look again.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::fs::Mode;
use zeroize::Zeroizing;
use zeta_core::install::journal::Progress;
use zeta_core::install::manifest::{GithubMethod, HostnameSource, PasswordSource, Secret};
use zeta_core::install::next::changed;
use zeta_core::install::plan::{Given, HOSTNAME, PASSWORD, QUESTIONS, Question, WIPE};
use zeta_core::install::{Action, Event, Journal, Plan, Refusal, Step, next};
use zeta_core::time::format_utc;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{files, host};

use crate::call::{Call, failure};
use crate::check::Check;
use crate::journal::{self, Writer};
use crate::manifest::Manifest;
use crate::observe::{self, Look};
use crate::place::Place;
use crate::step::{self, Context};
use crate::stick::Stick;
use crate::tool::Tool;

/// The letters of a password that is made up: none is mistaken for another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Longest secret in a file, in bytes.
const SECRET_MAX: u64 = 1 << 16;
/// More rounds than steps, checks, questions and mounts.
const ROUNDS: usize = 100;

/// What an installation is made of.
pub struct Options<'a> {
    /// What the operator declared.
    pub manifest: Manifest,
    /// The files of the stick.
    pub stick: Stick,
    /// Where everything is.
    pub place: Place,
    /// Answers that were given with the call.
    pub answers: BTreeMap<String, Zeroizing<String>>,
    /// Checks that do not count, each with the reason.
    pub overrides: BTreeMap<String, String>,
    /// Asks a person; `None` if there is none.
    pub ask: &'a dyn Fn(&Question) -> Result<Option<Zeroizing<String>>>,
    /// Says what is done.
    pub note: &'a dyn Fn(&str),
    /// Shows what is never shown again, also if the caller wants to hear nothing.
    pub show: &'a dyn Fn(&str) -> Result<()>,
}

/// How an installation ended.
#[derive(Debug)]
pub enum Ended {
    /// The node is installed.
    Finished {
        /// Its name.
        node: String,
        /// What a person should know.
        banner: String,
    },
    /// Nothing more is done, for this reason.
    Refused(Refusal),
}

/// What is known at one moment.
#[derive(Debug)]
pub struct Moment {
    /// What was observed.
    pub look: Look,
    /// The plan.
    pub plan: Plan,
}

/// An installation that was begun, or is only looked at.
pub struct Installation<'a> {
    options: Options<'a>,
    run: String,
    given: Given,
    /// Where the first password is.
    password_at: Option<Secret>,
    password: Option<Zeroizing<Vec<u8>>>,
    token: Option<Zeroizing<Vec<u8>>>,
}

impl<'a> Installation<'a> {
    /// Prepares it. Nothing is written, and no secret is read.
    ///
    /// # Errors
    /// A password was given itself, and not where it is.
    pub fn new(mut options: Options<'a>) -> Result<Installation<'a>> {
        let boot = &mut options.manifest.values.ace.disks.boot;
        if boot.starts_with("/dev/") {
            // A name of udev is a link to the device.
            let path = std::fs::canonicalize(&*boot).unwrap_or_else(|_| PathBuf::from(&*boot));
            *boot = path.display().to_string();
        }
        let ace = &options.manifest.values.ace;
        let mut given = Given::default();
        let variable =
            |name: &Option<String>| name.as_ref().and_then(|name| std::env::var(name).ok());
        if ace.hostname.source == HostnameSource::Env {
            given.answers.extend(variable(&ace.hostname.env).map(|name| (HOSTNAME.into(), name)));
        }
        let mut password_at = None;
        if ace.initial_password.source == PasswordSource::Env {
            let name = ace.initial_password.env.clone().filter(|name| std::env::var(name).is_ok());
            password_at = name.map(Secret::Env);
        }
        for (question, answer) in &options.answers {
            // A word in its place could be a secret, and the journal would keep it.
            if !QUESTIONS.contains(&question.as_str()) {
                let questions = QUESTIONS.join(", ");
                let text = format!("there is no question {question:?}: they are {questions}");
                return Err(Error::usage(text));
            }
            if question == PASSWORD {
                let none = || Error::usage("a password is no argument: give env:NAME or @FILE");
                password_at = Some(Secret::parse(answer).ok_or_else(none)?);
            } else {
                given.answers.insert(question.clone(), answer.to_string());
            }
        }
        given.secrets.extend(password_at.iter().map(|_| PASSWORD.to_owned()));
        let run = host::random_hex()?;
        Ok(Installation { options, run, given, password_at, password: None, token: None })
    }

    /// Reads the secrets that are named.
    fn read_secrets(&mut self) -> Result<()> {
        self.password = self.password_at.as_ref().map(secret).transpose()?;
        let github = &self.options.manifest.values.ace.auth.github;
        if let (GithubMethod::Pat, Some(place)) = (github.method, &github.pat) {
            self.token = Some(secret(place)?);
        }
        Ok(())
    }

    /// Looks, and makes a plan. Nothing is changed.
    ///
    /// # Errors
    /// The disks cannot be looked at.
    pub fn look(&self, journal: &Journal) -> Result<Moment> {
        let used: Vec<_> = journal.chosen.iter().flatten().map(|disk| disk.id.clone()).collect();
        let mut look = observe::look(&used)?;
        look.seen.stick = self.options.stick.seen();
        let mut moment = Moment { plan: self.plan(&look, journal), look };
        if journal.progress(Step::Format) != Progress::Done {
            return Ok(moment);
        }
        let context = self.context(&moment, journal);
        // A disk that is not there is refused by name later.
        if step::mounts(&context).is_ok_and(|missing| missing.is_empty()) {
            let holds = Step::ALL.into_iter().filter(|step| step.needs_mounts());
            let holds = holds.filter(|step| {
                let calls = step::calls(*step, &context);
                calls.is_ok_and(|calls| calls.iter().all(Call::holds))
            });
            let holds = holds.collect();
            (moment.look.seen.is_mounted, moment.look.seen.holds) = (true, holds);
            moment.plan = self.plan(&moment.look, journal);
        }
        Ok(moment)
    }

    /// As [`Self::look`]. A table of this run that the kernel does not know is read by it before.
    fn look_again(&self, journal: &Journal) -> Result<Moment> {
        let moment = self.look(journal)?;
        if journal.chosen.is_none() {
            return Ok(moment);
        }
        let mut is_new = false;
        for (chosen, table) in moment.plan.chosen.iter().zip(&moment.plan.tables) {
            let Some(disk) = moment.look.disk(&chosen.id) else { continue };
            if disk.content == table.content() && disk.parts.len() < table.parts.len() {
                Tool::new("partprobe", &[&disk.path]).run()?;
                is_new = true;
            }
        }
        if is_new { self.look(journal) } else { Ok(moment) }
    }

    fn plan(&self, look: &Look, journal: &Journal) -> Plan {
        let Manifest { values, digest, .. } = &self.options.manifest;
        Plan::new(values, digest, &look.seen, journal, &self.given, &self.run)
    }

    fn context<'c>(&'c self, moment: &'c Moment, journal: &'c Journal) -> Context<'c> {
        Context {
            manifest: &self.options.manifest,
            plan: &moment.plan,
            journal,
            look: &moment.look,
            stick: &self.options.stick,
            place: &self.options.place,
            password: self.password.as_ref(),
            token: self.token.as_ref(),
        }
    }

    /// The commands of each step that is not done, as a person would type them.
    pub fn commands(&self, moment: &Moment, journal: &Journal) -> Vec<(Step, Vec<String>)> {
        let context = self.context(moment, journal);
        let is_open = |step: &Step| journal.progress(*step) != Progress::Done;
        let texts = |calls: Result<Vec<Call>>| match calls {
            Ok(calls) => calls.iter().map(Call::text).collect(),
            Err(error) => vec![format!("# not known yet: {error}")],
        };
        let open = Step::ALL.into_iter().filter(is_open);
        let of_step = |step: Step| {
            let mut lines = texts(step::calls(step, &context));
            if step == Step::Format {
                lines.extend(texts(step::mounts(&context)));
            }
            (step, lines)
        };
        open.map(of_step).collect()
    }

    /// Installs, or goes on where another call was cut off.
    ///
    /// # Errors
    /// A tool or a check failed, or a question has no answer. The next call goes on there.
    pub fn run(&mut self) -> Result<Ended> {
        // What is made on the node, by tools too, is open to all unless it has a mode of its own.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        self.read_secrets()?;
        let before = journal::read(&self.options.place.state)?;
        if before.run.is_empty() {
            // What is refused at once leaves no file.
            let moment = self.look(&before)?;
            if let Action::Refuse(refusal) = next(&moment.plan, &before, &moment.look.seen, true) {
                return Ok(Ended::Refused(refusal));
            }
        }
        let mut writer = Writer::open(&self.options.place.state)?;
        let (mut checked, mut mounted, mut consented) = (false, false, None);
        for _ in 0..ROUNDS {
            let moment = self.look_again(&writer.journal)?;
            // Questions, answers and checks take time.
            if writer.journal.chosen.is_none() && !moment.plan.chosen.is_empty() {
                let known = consented.get_or_insert_with(|| moment.plan.chosen.clone());
                if let Some(refusal) = changed(known, &moment.plan.chosen) {
                    return Ok(Ended::Refused(refusal));
                }
            }
            match next(&moment.plan, &writer.journal, &moment.look.seen, checked) {
                Action::Refuse(refusal) => return Ok(Ended::Refused(refusal)),
                Action::Finished => return self.finish(&moment, &mut writer),
                Action::Ask(questions) => self.answer(&questions)?,
                Action::Check => {
                    self.begin(&mut writer)?;
                    self.check(&moment.plan, &mut writer)?;
                    checked = true;
                }
                Action::Mount if mounted => {
                    let root = self.options.place.root.display();
                    let text = format!("what was mounted below {root} is not there");
                    return Err(Error::new(Kind::Fault, text));
                }
                Action::Mount => {
                    mounted = true;
                    let calls = step::mounts(&self.context(&moment, &writer.journal))?;
                    calls.iter().try_for_each(Call::run)?;
                }
                Action::Do(step) => self.carry_out(step, &moment, &mut writer)?,
            }
        }
        Err(Error::new(Kind::Fault, "the steps do not come to an end"))
    }

    /// Writes the first line, and the answers that are no secrets.
    fn begin(&self, writer: &mut Writer) -> Result<()> {
        if writer.journal.run.is_empty() {
            let manifest = self.options.manifest.digest.clone();
            writer.append(Event::Begun { run: self.run.clone(), manifest })?;
        }
        for (question, value) in &self.given.answers {
            // A consent counts for what is on the disks now, so it is not kept as a word.
            if question != WIPE && writer.journal.answer(question) != Some(value) {
                writer
                    .append(Event::Answer { question: question.clone(), value: value.clone() })?;
            }
        }
        Ok(())
    }

    /// Asks all questions.
    fn answer(&mut self, questions: &[Question]) -> Result<()> {
        for question in questions {
            let given = self.given.answers.get(question.id);
            if let Some(wrong) = given.and_then(|answer| question.check(answer).err()) {
                let text = format!("the answer to {} is refused: {wrong}", question.id);
                return Err(Error::new(Kind::Refused, text).hint(question.text.clone()));
            }
            let answer = (self.options.ask)(question)?.ok_or_else(|| {
                let text = format!("the question {} has no answer: {}", question.id, question.text);
                let value = if question.is_secret { "env:NAME" } else { "VALUE" };
                Error::new(Kind::Refused, text)
                    .hint(format!("answer it: --answer {}={value}", question.id))
            })?;
            question.check(&answer).map_err(|wrong| Error::new(Kind::Refused, wrong))?;
            if question.is_secret {
                self.password = Some(Zeroizing::new(answer.as_bytes().to_vec()));
                self.given.secrets.insert(question.id.to_owned());
            } else {
                self.given.answers.insert(question.id.to_owned(), answer.to_string());
            }
        }
        Ok(())
    }

    fn check(&self, plan: &Plan, writer: &mut Writer) -> Result<()> {
        let mut wrong: Vec<(Check, Error)> = Vec::new();
        for check in Check::ALL {
            let overridden = self.options.overrides.get(check.word());
            let event = match (check.run(&self.options.manifest, plan), overridden) {
                (Ok(found), _) => (found, None),
                (Err(error), Some(reason)) => (error.text, Some(reason.clone())),
                (Err(error), None) => {
                    wrong.push((check, error));
                    continue;
                }
            };
            (self.options.note)(&format!("check {}: {}", check.word(), event.0));
            let (found, overridden) = event;
            let known = (check.word().to_owned(), found.clone(), overridden.clone());
            if !writer.journal.checks.contains(&known) {
                let check = check.word().to_owned();
                writer.append(Event::Checked { check, found, overridden })?;
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> =
            wrong.iter().map(|(check, error)| format!("{}: {error}", check.word())).collect();
        let text = format!("nothing was changed, for a check failed: {}", texts.join("; "));
        let hints = wrong.iter().flat_map(|(check, error)| {
            let known = error.hints.iter().map(|hint| hint.as_str().to_owned());
            known.chain([format!("go on all the same: --override {}=REASON", check.word())])
        });
        Err(Error::new(Kind::Refused, text).with_hints(hints))
    }

    /// Carries out one step: a line before, its calls, a look at what they left, a line after.
    fn carry_out(&mut self, step: Step, moment: &Moment, writer: &mut Writer) -> Result<()> {
        self.begin(writer)?;
        (self.options.note)(&format!("step {} {}", step.about().number, step.about().title));
        if step == Step::Password {
            self.make_password()?;
        }
        // What cannot be prepared has changed nothing, so there is no line before that.
        let calls = step::calls(step, &self.context(moment, &writer.journal))?;
        writer.append(Event::Intent { step })?;
        let done = calls.iter().try_for_each(Call::run);
        let flushed = self.flush(step);
        if let Err(error) = done.and(flushed) {
            writer.append(failure(step, &error))?;
            return Err(error.hint("see 'zeta install status', mend it, and run again"));
        }
        if step == Step::Choose {
            writer.append(Event::Chosen { disks: moment.plan.chosen.clone() })?;
        }
        let event = Event::Done { step, found: step.about().after.to_owned() };
        if let Err(error) = self.observe(&calls, &event, &writer.journal) {
            writer.append(failure(step, &error))?;
            return Err(error);
        }
        writer.append(event)
    }

    /// What a step wrote is on the disks before its line is.
    fn flush(&self, step: Step) -> Result<()> {
        rustix::fs::sync();
        let place = &self.options.place;
        let dirs = [place.root.clone(), place.on_node("boot")];
        // The call for all of them does not say what could not be written.
        dirs.iter().filter(|_| step.needs_mounts()).try_for_each(|dir| {
            let flush = || rustix::fs::syncfs(std::fs::File::open(dir)?).map_err(Into::into);
            flush().map_err(|error: std::io::Error| {
                Error::new(Kind::Fault, format!("cannot flush {}: {error}", dir.display()))
            })
        })
    }

    /// Looks whether a step left what it has to.
    fn observe(&self, calls: &[Call], done: &Event, journal: &Journal) -> Result<()> {
        let fault = |what: String| Error::new(Kind::Fault, format!("after the step, {what}"));
        if let Some(call) = calls.iter().find(|call| !call.holds()) {
            return Err(fault(format!("what this has to leave is not there: {}", call.text())));
        }
        let mut after = journal.clone();
        after.add(done.clone());
        let moment = self.look_again(&after)?;
        match next(&moment.plan, &after, &moment.look.seen, true) {
            Action::Refuse(refusal) => Err(fault(refusal.to_string())),
            _ => Ok(()),
        }
    }

    /// Makes a password up, and shows it once, before it counts.
    fn make_password(&mut self) -> Result<()> {
        if self.options.manifest.values.ace.initial_password.source != PasswordSource::Generate {
            return Ok(());
        }
        let mut random = host::random()?;
        let mut password = Zeroizing::new(Vec::with_capacity(24));
        for _ in 0..24 {
            password.extend(LETTERS.get((random & 31) as usize));
            random >>= 5;
        }
        let shown = Zeroizing::new(String::from_utf8_lossy(&password).into_owned());
        (self.options.show)(&format!("the first password, which is shown only now: {}", *shown))?;
        self.password = Some(password);
        Ok(())
    }

    fn finish(&self, moment: &Moment, writer: &mut Writer) -> Result<Ended> {
        let place = &self.options.place;
        if !writer.journal.is_finished {
            // The copy on the node is whole first: a call that is cut off here makes it again.
            let mut bytes = Zeroizing::new(writer.bytes()?);
            let line = writer.journal.render(&format_utc(host::wall_us()), &Event::Finished);
            bytes.extend(line.as_bytes());
            let path = place.on_node("var/lib/zeta/install/journal");
            Call::File { path, bytes, mode: Some(0o600) }.run()?;
            self.flush(Step::Banner)?;
            writer.append(Event::Finished)?;
        }
        if place.kept().exists() {
            std::fs::remove_dir_all(place.kept()).map_err(|error| {
                let text = format!("cannot remove {}: {error}", place.kept().display());
                Error::new(Kind::Fault, text)
            })?;
        }
        let context = self.context(moment, &writer.journal);
        let node = moment.plan.node.clone().unwrap_or_default();
        let banner = banner(&self.options.manifest, &node, context.conditions());
        Ok(Ended::Finished { node, banner })
    }
}

/// What a person should know at the end: the template, with the parts whose conditions are true.
fn banner(manifest: &Manifest, node: &str, conditions: [bool; 4]) -> String {
    let banner = &manifest.values.ace.post_install.banner;
    let sections = &banner.sections;
    let parts = [
        (
            &sections.key_missing,
            "No key of an operator is there: write it to \
            /etc/zeta/operator-authorized-keys at the console.",
        ),
        (&sections.password_generated, "The first password was shown once; change it."),
        (&sections.github, "Log in to GitHub after the first boot: gh auth login."),
        (&sections.registration, "After its first boot, the node registers itself."),
    ];
    let shown = parts.iter().zip(conditions).filter(|(_, is_shown)| *is_shown);
    let texts = shown.map(|((own, default), _)| own.as_deref().unwrap_or(default));
    let texts: Vec<&str> = texts.collect();
    let template = banner.template.as_deref().unwrap_or("{node} is installed. {sections}");
    let text = template.replace("{sections}", &texts.join(" ")).replace("{node}", node);
    text.trim_end().to_owned()
}

/// Reads a secret.
fn secret(place: &Secret) -> Result<Zeroizing<Vec<u8>>> {
    let wrong = |what: &str, why| Error::new(Kind::Unsafe, format!("{what} {why}"));
    let (bytes, what) = match place {
        Secret::Env(name) => {
            let value = std::env::var_os(name).unwrap_or_default();
            (Zeroizing::new(value.into_vec()), format!("the variable {name}"))
        }
        Secret::File(path) => {
            let read = files::read_plain(path.as_ref(), SECRET_MAX);
            let unread = |error| Error::new(Kind::Unsafe, format!("{path}: {error}"));
            (Zeroizing::new(read.map_err(unread)?), path.clone())
        }
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(&what, "is not UTF-8 text"))?;
    let line = text.trim_end_matches(['\n', '\r']);
    match line {
        "" => Err(wrong(&what, "is empty, or not there")),
        // A tool would take the first line for all of it.
        line if line.contains(['\n', '\r', '\0']) => Err(wrong(&what, "has more than one line")),
        line => Ok(Zeroizing::new(line.as_bytes().to_vec())),
    }
}
