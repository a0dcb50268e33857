//! The plan of an installation: which disks, which questions are left, and what is against it.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::journal::{Chosen, Journal, Progress};
use super::layout::{Table, fits, tables};
use super::manifest::{
    Data, GithubMethod, HostnameSource, Manifest, OperatorKey, PasswordSource, Wipe,
};
use super::refusal::Refusal;
use super::seen::{Disk, Prior, Seen};
use super::step::Step;
use crate::name::Label;
use crate::record::is_unprintable;
use crate::stick::KEYS_FILE;

/// The question after the disk that the system starts from.
pub const BOOT_DISK: &str = "boot_disk";
/// The question whether the disks may be wiped.
pub const WIPE: &str = "wipe";
/// The question after the name of the node.
pub const HOSTNAME: &str = "hostname";
/// The question after the first password.
pub const PASSWORD: &str = "password";
/// All questions.
pub const QUESTIONS: [&str; 4] = [BOOT_DISK, WIPE, HOSTNAME, PASSWORD];

/// What was answered beforehand.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Answers that are no secrets.
    pub answers: BTreeMap<String, String>,
    /// Questions whose secret answer is at hand.
    pub secrets: BTreeSet<String>,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its word.
    pub id: &'static str,
    /// The question.
    pub text: String,
    /// The answer is not shown, and not kept in the journal.
    pub is_secret: bool,
    /// The only answer that counts, if there is one.
    pub phrase: Option<String>,
}

impl Question {
    /// Checks an answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, answer: &str) -> Result<(), String> {
        match (&self.phrase, self.id) {
            (Some(phrase), _) if phrase != answer => {
                Err(format!("the answer has to be exactly {phrase:?}"))
            }
            (None, HOSTNAME) => {
                Label::new("node", answer).map(|_| ()).map_err(|error| error.to_string())
            }
            (None, _) if answer.is_empty() => Err("the answer is empty".to_owned()),
            _ => Ok(()),
        }
    }
}

/// A disk that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its path.
    pub path: String,
    /// Why.
    pub why: String,
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The digest of the manifest.
    pub manifest: String,
    /// The disks that are used.
    pub chosen: Vec<Chosen>,
    /// Their partitions.
    pub tables: Vec<Table>,
    /// The disks that are not used.
    pub left: Vec<Left>,
    /// What a person has to say yet.
    pub questions: Vec<Question>,
    /// What is against it.
    pub refusals: Vec<Refusal>,
    /// The name of the node, as far as it is known.
    pub node: Option<String>,
}

impl Plan {
    /// Makes a plan of what the operator declared, what was observed, and what was done already.
    ///
    /// `digest` is that of the manifest. `run` is the number of the run if none has begun.
    pub fn new(
        manifest: &Manifest,
        digest: &str,
        seen: &Seen,
        journal: &Journal,
        given: &Given,
        run: &str,
    ) -> Plan {
        let run = if journal.run.is_empty() { run } else { &journal.run };
        let answer =
            |id: &str| journal.answer(id).or_else(|| given.answers.get(id).map(String::as_str));
        // A name that is no label is asked for again.
        let named = || answer(HOSTNAME).filter(|name| Label::new("node", name).is_ok());
        let mut plan = Plan {
            manifest: digest.to_owned(),
            chosen: journal.chosen.clone().unwrap_or_default(),
            tables: Vec::new(),
            left: Vec::new(),
            questions: Vec::new(),
            refusals: Vec::new(),
            node: None,
        };
        if journal.chosen.is_none() {
            plan.choose(manifest, seen, answer(BOOT_DISK));
        }
        plan.tables = tables(run, manifest, &plan.chosen);
        plan.refusals.extend(too_small(&plan.chosen, &plan.tables));
        let prior_name = plan.prior().and_then(|prior| prior.node.clone());
        plan.refusals.extend(missing(manifest, seen, journal, prior_name.as_deref()));
        // What was done and is gone is done again.
        let is_open = |step: Step| {
            let is_gone = seen.is_mounted && !seen.holds.contains(&step);
            journal.progress(step) != Progress::Done || is_gone
        };
        if journal.chosen.is_none() && !plan.chosen.is_empty() {
            let question = consent(&plan.chosen);
            let phrase = question.phrase.as_deref();
            if answer(WIPE).is_none() || answer(WIPE) != phrase {
                plan.questions.push(question);
            }
        }
        plan.node = prior_name.or_else(|| match manifest.ace.hostname.source {
            HostnameSource::Stick => seen.stick.host_name.clone(),
            HostnameSource::Prompt | HostnameSource::Env => named().map(str::to_owned),
            // The name is made up when the run begins.
            HostnameSource::GeneratePrefix => (!journal.run.is_empty())
                .then(|| generated(manifest.ace.hostname.prefix.as_str(), run)),
        });
        let asks =
            matches!(manifest.ace.hostname.source, HostnameSource::Prompt | HostnameSource::Env);
        if plan.node.is_none() && asks && is_open(Step::Hostname) {
            plan.questions.push(Question {
                id: HOSTNAME,
                text: "What is the name of the node?".to_owned(),
                is_secret: false,
                phrase: None,
            });
        }
        let asks = manifest.ace.initial_password.source != PasswordSource::Generate;
        if asks && is_open(Step::Password) && !given.secrets.contains(PASSWORD) {
            plan.questions.push(Question {
                id: PASSWORD,
                text: "What is the first password of the node?".to_owned(),
                is_secret: true,
                phrase: None,
            });
        }
        plan
    }

    /// The node that was on the disks before, whose identity is kept: one with a name, if there is.
    pub fn prior(&self) -> Option<&Prior> {
        let priors = || self.chosen.iter().filter_map(|disk| disk.prior.as_ref());
        priors().find(|prior| prior.node.is_some()).or_else(|| priors().next())
    }

    /// Chooses the disks.
    fn choose(&mut self, manifest: &Manifest, seen: &Seen, answer: Option<&str>) {
        let disks = &manifest.ace.disks;
        let against = |disk: &Disk| against(manifest, seen, disk);
        let free: Vec<&Disk> = seen.disks.iter().filter(|disk| against(disk).is_none()).collect();
        let named = match disks.boot.as_str() {
            "auto" => answer,
            name => Some(name),
        };
        let boot = match (named, free.as_slice()) {
            (Some(name), _) => match named_disk(seen, name) {
                Ok(disk) => match against(disk) {
                    None => Some(disk),
                    Some(why) => {
                        let path = disk.path.clone();
                        self.refusals.push(Refusal::DiskUnusable { path, why });
                        None
                    }
                },
                Err(refusal) => {
                    self.refusals.push(refusal);
                    None
                }
            },
            (None, []) => {
                self.refusals.push(Refusal::NoDisk);
                None
            }
            (None, [one]) => Some(*one),
            (None, several) => {
                let list = several.iter().map(|disk| format!("{} ({})", disk.id, disk.path));
                let list = list.collect::<Vec<_>>().join(", ");
                let text = format!("From which disk does the system start? {list}");
                self.questions.push(Question {
                    id: BOOT_DISK,
                    text,
                    is_secret: false,
                    phrase: None,
                });
                None
            }
        };
        let uses_rest = disks.data == Data::Rest && disks.wipe_strategy == Wipe::Full;
        for disk in &seen.disks {
            let is_boot = boot.is_some_and(|boot| boot.path == disk.path);
            let why = match against(disk) {
                Some(why) => why,
                None if is_boot || (uses_rest && boot.is_some()) => continue,
                None if boot.is_none() => "the disk of the system is not known yet".to_owned(),
                None if disks.data == Data::None => "disks.data is none".to_owned(),
                None => "wipe_strategy keeps its data".to_owned(),
            };
            self.left.push(Left { path: disk.path.clone(), why });
        }
        let Some(boot) = boot else { return };
        let rest = free.into_iter().filter(|disk| uses_rest && disk.path != boot.path);
        self.chosen = std::iter::once(boot).chain(rest).map(|disk| chosen(disk, boot)).collect();
    }
}

fn chosen(disk: &Disk, boot: &Disk) -> Chosen {
    Chosen {
        is_boot: disk.path == boot.path,
        path: disk.path.clone(),
        id: disk.id.clone(),
        signatures: disk.signatures(),
        prior: disk.prior.clone(),
    }
}

/// The disk of a path, a serial number or a WWN.
fn named_disk<'s>(seen: &'s Seen, name: &str) -> Result<&'s Disk, Refusal> {
    let is = |disk: &&Disk| {
        [&disk.path, &disk.id.serial, &disk.id.wwn].iter().any(|known| *known == name)
    };
    let mut found = seen.disks.iter().filter(is);
    match (found.next(), found.next()) {
        (Some(disk), None) => Ok(disk),
        (None, _) => Err(Refusal::DiskVanished(name.to_owned())),
        (Some(_), Some(_)) => Err(Refusal::DiskUnusable {
            path: name.to_owned(),
            why: "several disks have this name".to_owned(),
        }),
    }
}

/// Why a disk cannot be used.
fn against(manifest: &Manifest, seen: &Seen, disk: &Disk) -> Option<String> {
    // A person names and consents to what is read on it, so that has to tell it from the others.
    let twins = seen.disks.iter().filter(|other| other.id.shown() == disk.id.shown());
    if !disk.reasons.is_empty() {
        return Some(disk.reasons.join(", "));
    }
    if !disk.id.is_known() {
        return Some("it has no serial number and no WWN, so it could be taken for another".into());
    }
    if twins.count() > 1 {
        return Some("another disk has the same identity".into());
    }
    if disk.id.shown().contains(is_unprintable) {
        return Some("its serial number cannot be typed".into());
    }
    let is_left = manifest.ace.discovery.disks.internal && disk.is_usb;
    is_left.then(|| "it is connected by USB".into())
}

/// The question whether the disks may be wiped. A node that is there is named in the answer.
fn consent(chosen: &[Chosen]) -> Question {
    let ids = chosen.iter().map(|disk| disk.id.to_string());
    let priors = chosen.iter().filter_map(|disk| disk.prior.as_ref());
    let names = priors.map(|prior| prior.node.clone().unwrap_or_else(|| "unknown-node".into()));
    let words: Vec<String> = std::iter::once("wipe".into()).chain(ids).chain(names).collect();
    let phrase = words.join(" ");
    let what = |disk: &Chosen| {
        let content = match (&disk.prior, disk.signatures.len()) {
            (Some(prior), _) => match &prior.node {
                Some(node) => format!("the node {node}"),
                None => "a node without a name".to_owned(),
            },
            (None, 0) => "nothing".to_owned(),
            (None, _) => disk.signatures.join(", "),
        };
        format!("{} ({}) with {content}", disk.id, disk.path)
    };
    let disks: Vec<String> = chosen.iter().map(what).collect();
    let text = format!("All that is on these disks is lost: {}. Type {phrase:?}", disks.join("; "));
    Question { id: WIPE, text, is_secret: false, phrase: Some(phrase) }
}

fn too_small(chosen: &[Chosen], tables: &[Table]) -> Vec<Refusal> {
    let pairs = chosen.iter().zip(tables);
    let small = pairs.filter(|(disk, table)| !fits(table, disk.id.size));
    let refusal =
        |(disk, _): (&Chosen, _)| Refusal::TooSmall { path: disk.path.clone(), size: disk.id.size };
    small.map(refusal).collect()
}

/// What the stick would have to bring, and does not.
fn missing(
    manifest: &Manifest,
    seen: &Seen,
    journal: &Journal,
    named: Option<&str>,
) -> Vec<Refusal> {
    let (ace, stick) = (&manifest.ace, &seen.stick);
    let blob = &ace.auth.github.blob;
    let is_open = |step: Step| journal.progress(step) != Progress::Done;
    let all = [
        (
            Step::OperatorKey,
            ace.ssh.operator_pubkey == OperatorKey::InjectAtFlash && !stick.has(KEYS_FILE),
            KEYS_FILE,
            "ace.ssh.operator_pubkey",
        ),
        (
            Step::Github,
            ace.auth.github.method == GithubMethod::BlobRestore && !stick.has(blob),
            blob,
            "ace.auth.github.method",
        ),
        (
            Step::Build,
            ace.nixos_install.flake.is_none() && stick.flake_host.is_none(),
            crate::stick::ROLE_FILE,
            "ace.nixos_install.flake",
        ),
        (
            Step::Hostname,
            ace.hostname.source == HostnameSource::Stick
                && stick.host_name.is_none()
                && named.is_none(),
            crate::stick::HOST_NAME_FILE,
            "ace.hostname.source",
        ),
    ];
    let lacking = all.into_iter().filter(|(step, lacks, _, _)| *lacks && is_open(*step));
    let refusal = |(_, _, file, key): (_, _, &str, &'static str)| Refusal::NotOnStick {
        file: file.to_owned(),
        key,
    };
    lacking.map(refusal).collect()
}

/// A name that is made up from the number of the run, so that it is the same when the run goes on.
fn generated(prefix: &str, run: &str) -> String {
    let digest = Sha256::digest(format!("{run}\nname"));
    let hex: String = digest.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}-{hex}")
}
