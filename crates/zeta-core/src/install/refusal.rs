//! Why an installation does not go on, each reason by its name.

use super::step::Step;

/// Why nothing more is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A line of the journal is none.
    #[error("line {0} of the journal is damaged")]
    JournalDamaged(usize),
    /// The journal belongs to another manifest.
    #[error("the journal belongs to another manifest, with the digest {0}")]
    OtherManifest(String),
    /// There is no disk that can be used.
    #[error("no disk can be used")]
    NoDisk,
    /// A disk is not there.
    #[error("the disk {0} is not there")]
    DiskVanished(String),
    /// A disk cannot be used.
    #[error("the disk {path} cannot be used: {why}")]
    DiskUnusable {
        /// The disk.
        path: String,
        /// All reasons.
        why: String,
    },
    /// A disk is too short.
    #[error("the disk {path} has {size} bytes, and the partitions need more")]
    TooSmall {
        /// The disk.
        path: String,
        /// Its length.
        size: u64,
    },
    /// The stick lacks a file.
    #[error("{key} needs the file {file}, and the manifest of the stick does not list it")]
    NotOnStick {
        /// The file.
        file: String,
        /// The key of the manifest that asks for it.
        key: &'static str,
    },
    /// A disk has something else than when a person consented.
    #[error("the disk {0} has something else on it than when its wipe was consented to")]
    ChangedSinceConsent(String),
    /// A disk has what the step that was cut off did not leave.
    #[error("the step {step} was cut off, and the disk {path} has what it did not leave: {what}")]
    LeftOtherwise {
        /// The step.
        step: Step,
        /// The disk.
        path: String,
        /// What is there.
        what: String,
    },
    /// A disk is further than the journal.
    #[error("the disk {0} has file systems of this run that the journal does not know")]
    JournalBehind(String),
    /// A disk has no more what a step made.
    #[error("the disk {path} has no more what the step {step} made: {what}")]
    ChangedAfter {
        /// The step.
        step: Step,
        /// The disk.
        path: String,
        /// What is there.
        what: String,
    },
}

impl Refusal {
    /// Its word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Refusal::JournalDamaged(_) => "journal_damaged",
            Refusal::OtherManifest(_) => "other_manifest",
            Refusal::NoDisk => "no_disk",
            Refusal::DiskVanished(_) => "disk_vanished",
            Refusal::DiskUnusable { .. } => "disk_unusable",
            Refusal::TooSmall { .. } => "too_small",
            Refusal::NotOnStick { .. } => "not_on_stick",
            Refusal::ChangedSinceConsent(_) => "changed_since_consent",
            Refusal::LeftOtherwise { .. } => "left_otherwise",
            Refusal::JournalBehind(_) => "journal_behind",
            Refusal::ChangedAfter { .. } => "changed_after",
        }
    }

    /// Returns whether the configuration or the machine is at fault, and not what is on a disk.
    pub fn is_broken(&self) -> bool {
        !matches!(
            self,
            Refusal::DiskUnusable { .. }
                | Refusal::ChangedSinceConsent(_)
                | Refusal::LeftOtherwise { .. }
                | Refusal::JournalBehind(_)
                | Refusal::ChangedAfter { .. }
        )
    }
}
