//! Credentials in words and as JSON. No value of a credential is part of a report.

pub mod guard;

use std::path::Path;

use zeta_core::creds::bundle::Bundle;
use zeta_core::creds::frame::{Format, Frame};
use zeta_core::creds::login::{By, Compared};
use zeta_core::creds::manifest::{Manifest, Scope};
use zeta_core::creds::passphrase::ENTROPY_BITS;
use zeta_core::creds::plan;
use zeta_core::json::Object;
use zeta_core::record::{printable, quote};
use zeta_core::time::format_utc;

use crate::blob::Before;
use crate::file_writer::Outcome as Came;
use crate::verbs::collect::Baked;
use crate::verbs::open::{Candidate, Opened};
use crate::verbs::restore::{Placed, Restored};
use crate::verbs::save::SaveOutcome;
use crate::verbs::{Exit, POLICY, UNKNOWN};
use zeta_os::error::{Error, Kind};

/// What is said beside a save, a sentence each.
pub fn save_notes(kept: &SaveOutcome) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((backup, why)) = &kept.instead {
        notes.extend(backup_note(backup, Some(why)));
    }
    if let Before::NotValid(why) = &kept.saved.before {
        notes.push(format!("the file that was replaced was not a blob ({why})"));
    }
    if !kept.saved.on_fat {
        notes.push(
            "the file system is not FAT: if this should be the ESP of a stick, is it mounted?"
                .to_owned(),
        );
    }
    notes
}

/// A blob that was saved, as JSON; `verified`: it was opened again and compared.
pub fn saved(path: &Path, kept: &SaveOutcome, baked: &Baked, verified: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", "saved").text("path", &path.display().to_string());
    list_baked(&mut object, baked);
    object.number("bytes", kept.len as u64);
    if let Some(generation) = kept.generation {
        object.number("generation", generation);
    }
    object.flag("verified", verified);
    object
}

fn list_baked(object: &mut Object, baked: &Baked) {
    object.list("baked", baked.ids.iter().map(|id| quote(id)));
    object.list("left_out", baked.left_out.iter().map(|left_out| quote(&left_out.id)));
}

/// The same in words.
pub fn saved_text(path: &Path, kept: &SaveOutcome, baked: &Baked, verified: bool) -> String {
    let save = kept.generation.map_or(String::new(), |g| format!(", save {g}"));
    let seen = if verified { ", opened and compared" } else { "" };
    format!("{}: {} baked; {} bytes{save}{seen}", path.display(), names(&baked.ids), kept.len)
}

fn names(ids: &[String]) -> String {
    if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") }
}

/// A save that did not take place, as JSON: a dry run, or a pick of nothing.
pub fn not_saved(path: &Path, baked: &Baked, dry_run: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", if dry_run { "dry_run" } else { "unchanged" });
    object.text("path", &path.display().to_string());
    list_baked(&mut object, baked);
    object
}

/// The same in words.
pub fn not_saved_text(path: &Path, ids: &[String], dry_run: bool) -> String {
    match dry_run {
        true => format!("would bake {}; nothing was written", names(ids)),
        false => format!("nothing was picked: {} stays as it is", path.display()),
    }
}

/// What is said if the backup was used.
pub fn backup_note(backup: &Path, instead: Option<&str>) -> Option<String> {
    let why = instead?;
    Some(format!("ATTENTION: the backup {} is used, because {why}", backup.display()))
}

/// A restore as JSON; `dry`: nothing was written.
pub fn restored(opened: &Opened, restored: &Restored, dry: bool) -> Object {
    let mut object = Object::new();
    object.text("outcome", if dry { "dry_run" } else { "restored" });
    object.text("blob", &opened.path.display().to_string());
    object.objects("files", &restored.placed, |object, placed| {
        object.text("id", &placed.id).text("path", &placed.path);
        object.text(
            "outcome",
            match &placed.came {
                Came::Written | Came::ReplacedOlder(_) | Came::ReplacedBroken if dry => {
                    "would_write"
                }
                Came::Written | Came::ReplacedOlder(_) | Came::ReplacedBroken => "written",
                Came::AlreadyPresent => "already_present",
                Came::KeptNewer(_) => "kept_newer",
                Came::KeptDiffering => "kept_differing",
                Came::Refused(_) => "refused",
            },
        );
        if let Some(reason) = reason(&placed.came) {
            object.text("reason", &reason);
        }
        if let Came::Refused(finding) = &placed.came {
            object.text("finding", &finding.text).text("hint", &finding.hint);
        }
    });
    object.list("skipped", restored.skipped.iter().map(|skip| quote(&skip.to_string())));
    object.list("missing", restored.missing.iter().map(|id| quote(id)));
    object
}

/// Why one of two logins stayed.
fn reason(came: &Came) -> Option<String> {
    let times = |compared: &Compared, first: &str, second: &str| {
        let (one, other) = (format_utc(compared.first_us), format_utc(compared.second_us));
        match compared.by {
            By::Expiry => format!("{first} is good until {one}, {second} until {other}"),
            By::Issue => format!("{first} was issued at {one}, {second} at {other}"),
        }
    };
    match came {
        Came::ReplacedOlder(compared) => {
            let times = times(compared, "the blob's", "that of the file");
            Some(format!("the file had an older login ({times})"))
        }
        Came::ReplacedBroken => Some("the file was empty or cut off".to_owned()),
        Came::KeptNewer(compared) => {
            let times = times(compared, "the blob's", "that of the file");
            Some(format!("the file has the newer login ({times})"))
        }
        _ => None,
    }
}

/// The same in words.
pub fn restored_text(restored: &Restored, dry: bool) -> String {
    let word = |came: &Came| match came {
        Came::Written | Came::ReplacedOlder(_) | Came::ReplacedBroken if dry => "would be written",
        Came::Written | Came::ReplacedOlder(_) | Came::ReplacedBroken => "written",
        Came::AlreadyPresent => "already present",
        Came::KeptNewer(_) => "kept",
        Came::KeptDiffering => "differs and was kept (--overwrite replaces it)",
        Came::Refused(_) => "refused",
    };
    let mut lines = Vec::new();
    for placed in &restored.placed {
        let reason = reason(&placed.came).map_or(String::new(), |reason| format!(": {reason}"));
        let word = word(&placed.came);
        lines.push(format!("{:<24} {}: {word}{reason}", placed.id, placed.path));
        if let Came::Refused(finding) = &placed.came {
            lines.push(format!("{:<24} {}", "", printable(&finding.text)));
            lines.push(format!("{:<24} -> {}", "", finding.hint));
        }
    }
    let skipped = |skip: &plan::Skip| format!("passed over: {}", printable(&skip.to_string()));
    lines.extend(restored.skipped.iter().map(skipped));
    if lines.is_empty() {
        lines.push("the blob holds nothing".to_owned());
    }
    lines.join("\n")
}

/// What is said beside a restore of a blob that lacks something.
pub fn missing_note(restored: &Restored) -> Option<String> {
    let missing = !restored.missing.is_empty();
    missing.then(|| format!("not in the blob: {}", restored.missing.join(", ")))
}

/// The refusal that goes with a restore in which a place was refused.
pub fn refused(restored: &Restored) -> Option<Exit> {
    let refused = |placed: &&Placed| matches!(placed.came, Came::Refused(_));
    let (count, all) = (restored.placed.iter().filter(refused).count(), restored.placed.len());
    let error = Error::new(Kind::Refused, format!("{count} of {all} files were refused"))
        .hint("the finding of each says why, and what to do");
    (count > 0).then_some(Exit { number: POLICY, error })
}

/// A restore at boot that had no blob, as JSON; the text is that of the error.
pub fn nothing_to_restore(blob: &Path) -> Object {
    let mut object = Object::new();
    object.text("outcome", "nothing_to_restore").text("blob", &blob.display().to_string());
    object
}

/// What an opened blob would give to a restore.
#[derive(Debug)]
pub struct Verified {
    /// How many files.
    pub files: usize,
    /// What is required and is not in it.
    pub missing: Vec<String>,
    /// What no manifest here knows.
    pub unknown: Vec<String>,
}

impl Verified {
    /// Plans a restore of what was opened.
    pub fn of(bundle: &Bundle, manifest: &Manifest, persona: Option<&str>) -> Verified {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        match plan::plan(bundle, manifest, persona, &plan::Machine::default()) {
            Ok(plan) => Verified {
                files: plan.targets.len(),
                missing: texts(&plan.missing),
                unknown: Vec::new(),
            },
            Err(unknown) => Verified { files: 0, missing: Vec::new(), unknown: texts(&unknown) },
        }
    }

    /// As JSON.
    pub fn object(&self, opened: &Opened) -> Object {
        let mut object = Object::new();
        object.text("blob", &opened.path.display().to_string());
        object.text("format", opened.format.word()).number("files", self.files as u64);
        object.list("missing", self.missing.iter().map(|id| quote(id)));
        object.list("unknown", self.unknown.iter().map(|id| quote(id)));
        object
    }

    /// In words.
    pub fn text(&self, opened: &Opened) -> String {
        let mut text = format!("{}: opens; {} files", opened.path.display(), self.files);
        for (word, ids) in [("missing", &self.missing), ("not known here", &self.unknown)] {
            if !ids.is_empty() {
                text += &format!("\n  {word}: {}", shown(ids));
            }
        }
        text
    }

    /// The refusal, if it could not be restored, or not all of it.
    pub fn refused(&self) -> Option<Exit> {
        let (number, kind, text) = match (self.unknown.is_empty(), self.missing.is_empty()) {
            (true, true) => return None,
            (false, _) => (
                UNKNOWN,
                Kind::Unsafe,
                format!("the blob holds what no manifest here knows: {}", shown(&self.unknown)),
            ),
            (true, false) => (
                POLICY,
                Kind::NotFound,
                format!("the blob lacks what is required: {}", shown(&self.missing)),
            ),
        };
        Some(Exit { number, error: Error::new(kind, text) })
    }
}

fn shown(ids: &[String]) -> String {
    ids.iter().map(|id| printable(id)).collect::<Vec<_>>().join(", ")
}

/// What an opened blob holds, as JSON: ids and lengths.
pub fn contents(opened: &Opened) -> Object {
    let mut object = Object::new();
    object.text("path", &opened.path.display().to_string());
    object.text("format", opened.format.word());
    if let Some(generation) = opened.generation {
        object.number("generation", generation);
    }
    object.objects("credentials", held(&opened.bundle), |object, held| {
        object.text("id", held.id).number("bytes", held.len as u64);
        if held.scope == Scope::Persona {
            object.text("persona", held.persona);
        }
    });
    object
}

/// The same in words.
pub fn contents_text(opened: &Opened) -> String {
    let save = opened.generation.map_or(String::new(), |g| format!(", save {g}"));
    let mut text = format!("{}: {}{save}", opened.path.display(), opened.format.word());
    for held in held(&opened.bundle) {
        let whose = match held.scope {
            Scope::Global => "machine".to_owned(),
            Scope::Persona => format!("persona {}", printable(held.persona)),
        };
        text += &format!("\n  {:<24} {:>6} bytes  {whose}", printable(held.id), held.len);
    }
    text
}

/// A credential in a bundle, without its value.
struct Credential<'a> {
    scope: Scope,
    persona: &'a str,
    id: &'a str,
    len: usize,
}

fn held(bundle: &Bundle) -> Vec<Credential<'_>> {
    let global = bundle.global.iter().map(|(id, value)| Credential {
        scope: Scope::Global,
        persona: "",
        id,
        len: value.bytes().len(),
    });
    let personas = bundle.personas().flat_map(|(persona, section)| {
        section.iter().map(move |(id, value)| Credential {
            scope: Scope::Persona,
            persona,
            id,
            len: value.bytes().len(),
        })
    });
    global.chain(personas).collect()
}

/// A blob that was not opened: its format and its size.
pub struct Outside<'a> {
    found: &'a Candidate,
    format: Format,
    generation: Option<u64>,
}

impl Outside<'_> {
    /// Reads what a blob says without its passphrase.
    pub fn of(found: &Candidate) -> Outside<'_> {
        let frame = Frame::parse(&found.bytes);
        let generation = match &frame {
            Ok(Frame::V2(frame)) => Some(frame.header.generation),
            _ => None,
        };
        let format = frame.map_or(Format::Zcv1, |frame| frame.format());
        Outside { found, format, generation }
    }

    /// As JSON.
    pub fn object(&self) -> Object {
        let mut object = Object::new();
        object.text("path", &self.found.path.display().to_string());
        object.text("format", self.format.word());
        object.number("bytes", self.found.bytes.len() as u64);
        if let Some(generation) = self.generation {
            object.number("generation", generation);
        }
        object
    }

    /// In words.
    pub fn text(&self) -> String {
        let save = self.generation.map_or(String::new(), |g| format!(", save {g}"));
        format!(
            "{}: {}, {} bytes{save}\n  to see what it holds, give its passphrase: --usb-uuid and \
             --passphrase-file",
            self.found.path.display(),
            self.format.word(),
            self.found.bytes.len()
        )
    }
}

/// A new passphrase as JSON.
pub fn passphrase(made: &str) -> Object {
    let mut object = Object::new();
    object.text("passphrase", made).number("entropy_bits", ENTROPY_BITS as u64);
    object
}

/// What is said beside a new passphrase.
pub fn passphrase_note() -> String {
    format!("{ENTROPY_BITS} bits: write it down; without it the blob cannot be opened")
}
