//! The note of a claim on disk: beside the record of its lease, written in the guard of that lease.

use std::os::fd::AsFd;

use zeta_core::bus::grant::ClaimRecord;
use zeta_core::bus::item::Item;
use zeta_core::bus::note::Note;
use zeta_core::layout;
use zeta_core::lease::Record;
use zeta_core::name::RecordName;
use zeta_core::time::format_utc;

use crate::claim::holders::leases;
use crate::directory::Bus;
use zeta_os::error::{Error, Result};
use zeta_os::host;
use zeta_state::context::NodeHandle;
use zeta_state::directory::guard::Place;
use zeta_state::lease::{HolderSection, read_only};

/// What the holder of a claim leaves for the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNote {
    /// The text, as [`zeta_core::bus::note::text_of`] makes it.
    pub text: String,
    /// The branch that is checked out where the holder works, and its last commit.
    pub head: Option<Head>,
}

/// A branch of git and its last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The branch; `None` if none is checked out.
    pub branch: Option<String>,
    /// The commit.
    pub commit: String,
}

/// Returns the note that counts for an item, if there is one that can be read.
pub(super) fn of_item(handle: &NodeHandle<'_>, bus: &Bus, item: &Item) -> Option<Note> {
    let notes = leases(item, bus).map(|lease| of_lease(handle, &lease, item.as_str()));
    notes.into_iter().flatten().max_by_key(|note| note.fencing_token)
}

/// Returns the path of the note of an item.
pub(super) fn path(handle: &NodeHandle<'_>, bus: &Bus, item: &Item) -> String {
    let [of_bus, of_cluster] = leases(item, bus);
    let token = |lease| of_lease(handle, lease, item.as_str()).map(|note| note.fencing_token);
    let lease = if token(&of_cluster) > token(&of_bus) { of_cluster } else { of_bus };
    handle.node.path.join(layout::note_file(&lease)).display().to_string()
}

/// Makes the note of a holder, whose claim is in `record`.
pub(super) fn new(new: &NewNote, record: &Record, claim: &ClaimRecord, to: Option<&str>) -> Note {
    let head = new.head.as_ref().filter(|head| match &claim.branch {
        Some(branch) => head.branch.as_ref() == Some(branch),
        None => true,
    });
    Note {
        item: claim.item.clone(),
        from: claim.from.clone(),
        to: to.map(str::to_owned),
        fencing_token: record.fencing_token.get(),
        written_at: format_utc(host::wall_us()),
        branch: claim.branch.clone().or_else(|| head?.branch.clone()),
        worktree: claim.worktree.clone(),
        commit: head.map(|head| head.commit.clone()),
        text: new.text.clone(),
    }
}

/// As [`of_item`], by the lease of the item.
pub(super) fn of_lease(handle: &NodeHandle<'_>, lease: &RecordName, item: &str) -> Option<Note> {
    let bytes = handle.read(&layout::note_file(lease), layout::NOTE_MAX).ok()??;
    let note = Note::parse(&bytes.bytes)?;
    let seen = handle.read(&layout::lease_file(lease), layout::RECORD_MAX).ok()?;
    note.judge_counts(item, &read_only(seen, lease)).then_some(note)
}

/// The file of a note, inside the guard of its lease.
pub(super) struct NoteFile<'a> {
    holder: &'a HolderSection<'a>,
    file: String,
    /// The file that stood there.
    before: Option<Vec<u8>>,
}

impl<'a> NoteFile<'a> {
    /// Leaves a note at a handover, before its commit; `None` if there is none to leave. The note
    /// that the caller got itself stays without one.
    pub(super) fn leave_at_handover(
        holder: &'a HolderSection<'a>,
        new: Option<&Note>,
    ) -> Result<Option<NoteFile<'a>>> {
        match (NoteFile::open(holder), new) {
            (file, Some(new)) => {
                let file = file?;
                file.write(new)?;
                Ok(Some(file))
            }
            (Ok(file), None) if file.is_own() => {
                file.take();
                Ok(None)
            }
            // What stands there may be no file of zeta's.
            (_, None) => Ok(None),
        }
    }

    /// Leaves a note before a release, and returns its path. Without one, the note that the caller
    /// got itself goes: its work is done. A caller that lost the lease changes nothing.
    pub(super) fn leave_at_release(
        holder: &'a HolderSection<'a>,
        new: Option<&Note>,
    ) -> Result<Option<String>> {
        match (NoteFile::open(holder), new) {
            (file, Some(new)) if holder.stands()? => {
                let file = file?;
                file.write(new)?;
                Ok(Some(holder.section.node().path.join(&file.file).display().to_string()))
            }
            (Ok(file), None) if file.before.is_some() && holder.stands()? => {
                file.take();
                Ok(None)
            }
            (_, _) => Ok(None),
        }
    }

    fn open(holder: &'a HolderSection<'a>) -> Result<NoteFile<'a>> {
        let file = layout::note_file(holder.lease);
        let section = &holder.section;
        let read = section.node().read(section.base(), &file, layout::NOTE_MAX)?;
        Ok(NoteFile { holder, file, before: read.map(|read| read.bytes) })
    }

    /// Writes the note. It counts once the grant of its writer has ended.
    fn write(&self, note: &Note) -> Result<()> {
        self.publish(&note.render(), self.before.is_some()).map_err(|error| {
            let text = format!("the note cannot be kept: {}", error.text);
            Error { text, ..error }.hint("you hold the claim as before: repeat the command")
        })
    }

    fn publish(&self, text: &str, replaces: bool) -> Result<()> {
        let section = &self.holder.section;
        let node = section.node();
        let place = Place { dir: node.as_fd(), path: &node.path, identity: None };
        section.publish_in(&place, &self.file, text, replaces)
    }

    /// Puts back what stood there before the note was left.
    pub(super) fn restore(&self) {
        match self.before.as_deref().map(str::from_utf8) {
            Some(Ok(before)) => _ = self.publish(before, true),
            _ => self.take(),
        }
    }

    /// Returns whether a call of the same holder left the note that stood there, and was killed.
    fn is_own(&self) -> bool {
        let before = self.before.as_ref().and_then(|before| Note::parse(before));
        before.is_some_and(|note| note.fencing_token == self.holder.token.get())
    }

    fn take(&self) {
        let section = &self.holder.section;
        let _ = section.take_in(section.node().as_fd(), &self.file);
    }
}
