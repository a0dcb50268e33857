//! What to do next. A destructive step begins only on what was consented to, and goes on only on
//! what this run itself left there. Everything else is refused by name.

use super::journal::{Chosen, Journal, Progress};
use super::layout::Table;
use super::plan::{Plan, Question};
use super::refusal::Refusal;
use super::seen::{Disk, PartSeen, Seen};
use super::step::Step;

/// What is on a disk of which only the first sector of a GPT is left, which protects it.
pub const PROTECTION: &str = "pmbr";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Asks these questions.
    Ask(Vec<Question>),
    /// Checks what must be right before the wipe.
    Check,
    /// Mounts the file systems of the node.
    Mount,
    /// Carries out a step; one that was cut off is begun anew on what it left.
    Do(Step),
    /// Nothing: the node is installed.
    Finished,
    /// Nothing: a person has to look.
    Refuse(Refusal),
}

/// Says what to do next. `checked` is whether what must be right before the wipe was checked by
/// this call already.
pub fn next(plan: &Plan, journal: &Journal, seen: &Seen, checked: bool) -> Action {
    match refusal(plan, journal, seen) {
        Some(refusal) => return Action::Refuse(refusal),
        None if journal.is_finished => return Action::Finished,
        None => {}
    }
    if !plan.questions.is_empty() {
        return Action::Ask(plan.questions.clone());
    }
    if !checked && journal.progress(Step::Wipe) == Progress::Waiting {
        return Action::Check;
    }
    let is_open = |step: &Step| {
        let is_done = journal.progress(*step) == Progress::Done;
        // A destructive step that is done is never repeated: the disk is refused before that.
        !is_done || (step.needs_mounts() && seen.is_mounted && !seen.holds.contains(step))
    };
    match Step::ALL.into_iter().find(is_open) {
        Some(step) if step.needs_mounts() && !seen.is_mounted => Action::Mount,
        Some(step) => Action::Do(step),
        // The end is written on the node, too.
        None if !seen.is_mounted => Action::Mount,
        None => Action::Finished,
    }
}

/// The refusal if the disks are not as they were when a person was asked for their consent.
pub fn changed(consented: &[Chosen], now: &[Chosen]) -> Option<Refusal> {
    let gone = consented.iter().find(|disk| !now.contains(disk));
    let differs = gone.or_else(|| now.iter().find(|disk| !consented.contains(disk)));
    differs.map(|disk| Refusal::ChangedSinceConsent(disk.path.clone()))
}

/// What is against going on at all.
fn refusal(plan: &Plan, journal: &Journal, seen: &Seen) -> Option<Refusal> {
    if let Some(line) = journal.damaged {
        return Some(Refusal::JournalDamaged(line));
    }
    if !journal.run.is_empty() && journal.manifest != plan.manifest {
        return Some(Refusal::OtherManifest(journal.manifest.clone()));
    }
    if let Some(refusal) = plan.refusals.first() {
        return Some(refusal.clone());
    }
    let chosen = journal.chosen.as_deref()?;
    let mut pairs = chosen.iter().zip(&plan.tables);
    pairs.find_map(|(chosen, table)| of_disk(journal, seen, chosen, table))
}

/// What is against going on with one disk.
fn of_disk(journal: &Journal, seen: &Seen, chosen: &Chosen, table: &Table) -> Option<Refusal> {
    let mut disks = seen.disks.iter().filter(|disk| disk.id == chosen.id);
    let Some(disk) = disks.next() else {
        return Some(Refusal::DiskVanished(chosen.id.to_string()));
    };
    let path = || disk.path.clone();
    if disks.next().is_some() {
        let why = "another disk has the same identity".to_owned();
        return Some(Refusal::DiskUnusable { path: path(), why });
    }
    let is_over = journal.progress(Step::Format) == Progress::Done;
    if !is_over && !disk.reasons.is_empty() {
        return Some(Refusal::DiskUnusable { path: path(), why: disk.reasons.join(", ") });
    }
    let what = || match disk.signatures() {
        none if none.is_empty() => "nothing".to_owned(),
        all => all.join(", "),
    };
    let left = |step| Refusal::LeftOtherwise { step, path: path(), what: what() };
    let after = |step| Refusal::ChangedAfter { step, path: path(), what: what() };
    let done = |step| journal.progress(step);
    use Progress::{Begun, Done, Waiting};
    match (done(Step::Wipe), done(Step::Partition), done(Step::Format)) {
        (_, _, Done) => (!is_formatted(table, disk)).then(|| after(Step::Format)),
        (_, _, Begun) => (!is_being_formatted(table, disk)).then(|| left(Step::Format)),
        (_, Done, Waiting) => (!is_empty_table(table, disk)).then(|| after(Step::Partition)),
        (_, Begun, Waiting) => {
            if has_own_file_system(table, disk) {
                return Some(Refusal::JournalBehind(path()));
            }
            (!is_being_partitioned(table, disk)).then(|| left(Step::Partition))
        }
        (Done, Waiting, Waiting) => (!is_blank(disk)).then(|| after(Step::Wipe)),
        (Begun, Waiting, Waiting) => (!is_being_wiped(chosen, disk)).then(|| left(Step::Wipe)),
        (Waiting, Waiting, Waiting) => {
            let is_same = disk.signatures() == chosen.signatures;
            (!is_same).then(|| Refusal::ChangedSinceConsent(path()))
        }
    }
}

fn is_blank(disk: &Disk) -> bool {
    disk.content.is_empty() && disk.parts.is_empty()
}

/// A part of what was consented to is left, and nothing else. The first sector of a GPT, which
/// protects it, may be left alone.
fn is_being_wiped(chosen: &Chosen, disk: &Disk) -> bool {
    let had = |signature: &String| {
        // Of a partition the contents may be wiped already.
        let is_emptied = signature.ends_with(':');
        let mut before = chosen.signatures.iter();
        before.any(|was| was == signature || is_emptied && was.starts_with(signature.as_str()))
    };
    disk.signatures().iter().all(|signature| had(signature) || signature == PROTECTION)
}

fn is_being_partitioned(table: &Table, disk: &Disk) -> bool {
    let is_own =
        disk.content.is_empty() || disk.content == table.content() || disk.content == PROTECTION;
    // The wipe zeroed where each partition begins and ends, so none has a file system.
    let is_empty = |part: &PartSeen| table.part_of(part).is_some() && part.content.is_empty();
    is_own && disk.parts.iter().all(is_empty)
}

fn has_own_file_system(table: &Table, disk: &Disk) -> bool {
    let mut parts = disk.parts.iter();
    parts.any(|seen| table.part_of(seen).is_some_and(|part| part.content() == seen.content))
}

fn is_empty_table(table: &Table, disk: &Disk) -> bool {
    table.is_on(disk) && disk.parts.iter().all(|part| part.content.is_empty())
}

fn is_being_formatted(table: &Table, disk: &Disk) -> bool {
    let is_own = |seen: &PartSeen| {
        let own = table.part_of(seen).is_some_and(|part| part.content() == seen.content);
        seen.content.is_empty() || own
    };
    table.is_on(disk) && disk.parts.iter().all(is_own)
}

fn is_formatted(table: &Table, disk: &Disk) -> bool {
    let is_own =
        |seen: &PartSeen| table.part_of(seen).is_some_and(|part| part.content() == seen.content);
    table.is_on(disk) && disk.parts.iter().all(is_own)
}
