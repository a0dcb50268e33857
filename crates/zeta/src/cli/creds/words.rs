//! What `zeta creds` says. No value of a credential is ever handed to these functions.

use zeta_core::creds::bake::{self, Source};
use zeta_core::creds::manifest::{Manifest, Scope};
use zeta_core::creds::plan;
use zeta_core::record::printable;

use crate::cli::Call;
use crate::cli::creds::args::KeepArgs;
use zeta_core::json::Object;
use zeta_creds::blob::Before;
use zeta_creds::file_writer::Outcome as Came;
use zeta_creds::verbs::open::Opened;
use zeta_creds::verbs::restore::Restored;
use zeta_creds::verbs::save::SaveOutcome;
use zeta_creds::verbs::{BUNDLE, Outcome, POLICY, WithExitNumber};
use zeta_os::error::Result;

/// Is this a value in the argument itself?
pub(super) fn is_literal(given: &str) -> bool {
    matches!(bake::parse(given), Ok(ask) if matches!(ask.source, Source::Literal(_)))
}

/// What was saved.
pub(super) fn kept(call: &Call, args: &KeepArgs, kept: &SaveOutcome, ids: &[String]) -> Result<()> {
    if let Before::NotValid(why) = &kept.saved.before {
        call.out.note(&format!("what stood there before was no blob ({why}) and is gone"));
    }
    if !kept.saved.on_fat {
        call.out.note("this is not FAT: if it was to be a stick's ESP, is that mounted there?");
    }
    let path = args.output.display().to_string();
    let object = || {
        let mut object = Object::new();
        object.text("path", &path).list("baked", ids.iter().map(|id| quoted(id)));
        object.number("bytes", kept.len as u64);
        if let Some(generation) = kept.generation {
            object.number("generation", generation);
        }
        object.flag("verified", args.verify);
        object
    };
    let text = || {
        let what = if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") };
        let save = kept.generation.map_or(String::new(), |g| format!(", save {g}"));
        let seen = if args.verify { ", opened and compared" } else { "" };
        format!("{path}: {what} baked; {} bytes{save}{seen}", kept.len)
    };
    call.out.either(object, text)
}

fn quoted(text: &str) -> String {
    zeta_core::record::quote(text)
}

/// Which of the two files was used, if it was not the first.
pub(super) fn told_backup(call: &Call, opened: &Opened) {
    if let Some(why) = &opened.instead {
        let path = opened.path.display();
        call.out.note(&format!("ATTENTION: the backup {path} is used, because {why}"));
    }
}

/// What came of a restore.
pub(super) fn restored(call: &Call, opened: &Opened, restored: &Restored, dry: bool) -> Result<()> {
    told_backup(call, opened);
    let word = |came: &Came| match came {
        Came::Written if dry => "would be written",
        Came::Written => "written",
        Came::AlreadyPresent => "already present",
        Came::KeptDiffering => "differs and was kept (--overwrite replaces it)",
        Came::Refused(_) => "refused",
    };
    let object = || {
        let mut object = Object::new();
        object.text("blob", &opened.path.display().to_string());
        object.objects("files", &restored.placed, |object, placed| {
            object.text("id", &placed.id).text("path", &placed.path);
            object.text(
                "outcome",
                match &placed.came {
                    Came::Written if dry => "would_write",
                    Came::Written => "written",
                    Came::AlreadyPresent => "already_present",
                    Came::KeptDiffering => "kept_differing",
                    Came::Refused(_) => "refused",
                },
            );
            if let Came::Refused(finding) = &placed.came {
                object.text("finding", &finding.text).text("hint", &finding.hint);
            }
        });
        object.list("skipped", restored.skipped.iter().map(|skip| quoted(&skip.to_string())));
        object.list("missing", restored.missing.iter().map(|id| quoted(id)));
        object
    };
    let text = || {
        let mut lines = Vec::new();
        for placed in &restored.placed {
            lines.push(format!("{:<24} {}: {}", placed.id, placed.path, word(&placed.came)));
            if let Came::Refused(finding) = &placed.came {
                lines.push(format!("{:<24} {}", "", printable(&finding.text)));
                lines.push(format!("{:<24} -> {}", "", finding.hint));
            }
        }
        lines.extend(restored.skipped.iter().map(|skip| format!("passed over: {}", shown(skip))));
        if lines.is_empty() {
            lines.push("the blob holds nothing".to_owned());
        }
        lines.join("\n")
    };
    call.out.either(object, text)?;
    if !restored.missing.is_empty() {
        call.out.note(&format!("not in the blob: {}", restored.missing.join(", ")));
    }
    Ok(())
}

fn shown(skip: &plan::Skip) -> String {
    printable(&skip.to_string()).into_owned()
}

/// Could it be restored, and is it whole?
pub(super) fn verified(
    call: &Call,
    opened: &Opened,
    manifest: &Manifest,
    persona: Option<&str>,
) -> Outcome<u8> {
    told_backup(call, opened);
    let plan = plan::plan(&opened.bundle, manifest, persona, false);
    let (known, missing, unknown) = match &plan {
        Ok(plan) => (plan.targets.len(), plan.missing.clone(), Vec::new()),
        Err(unknown) => (0, Vec::new(), unknown.clone()),
    };
    let object = || {
        let mut object = Object::new();
        object.text("blob", &opened.path.display().to_string());
        object.text("format", opened.format.word()).number("files", known as u64);
        object.list("missing", missing.iter().map(|id| quoted(id)));
        object.list("unknown", unknown.iter().map(|id| quoted(id)));
        object
    };
    let text = || {
        let mut text = format!("{}: opens; {known} files", opened.path.display());
        for (word, ids) in [("missing", &missing), ("not known here", &unknown)] {
            if !ids.is_empty() {
                let ids: Vec<_> = ids.iter().map(|id| printable(id)).collect();
                text += &format!("\n  {word}: {}", ids.join(", "));
            }
        }
        text
    };
    call.out.either(object, text).number(BUNDLE)?;
    Ok(match (unknown.is_empty(), missing.is_empty()) {
        (false, _) => zeta_creds::verbs::UNKNOWN,
        (true, false) => POLICY,
        (true, true) => 0,
    })
}

/// What a blob holds: ids and lengths.
pub(super) fn contents(call: &Call, opened: &Opened) -> Result<()> {
    told_backup(call, opened);
    let global = opened.bundle.global.iter().map(|(id, value)| (Scope::Global, "", id, value));
    let personas = opened.bundle.personas().flat_map(|(name, section)| {
        section.iter().map(move |(id, value)| (Scope::Persona, name, id, value))
    });
    let all: Vec<_> = global.chain(personas).collect();
    let object = || {
        let mut object = Object::new();
        object.text("path", &opened.path.display().to_string());
        object.text("format", opened.format.word());
        if let Some(generation) = opened.generation {
            object.number("generation", generation);
        }
        object.objects("credentials", &all, |object, (scope, name, id, value)| {
            object.text("id", id).number("bytes", value.bytes().len() as u64);
            if *scope == Scope::Persona {
                object.text("persona", name);
            }
        });
        object
    };
    let text = || {
        let save = opened.generation.map_or(String::new(), |g| format!(", save {g}"));
        let mut text = format!("{}: {}{save}", opened.path.display(), opened.format.word());
        for (scope, name, id, value) in &all {
            let whose = match scope {
                Scope::Global => "machine".to_owned(),
                Scope::Persona => format!("persona {}", printable(name)),
            };
            let bytes = value.bytes().len();
            text += &format!("\n  {:<24} {bytes:>6} bytes  {whose}", printable(id));
        }
        text
    };
    call.out.either(object, text)
}
