//! Reports about unit files as text and as JSON, for every front end.

use zeta_core::json::Object;
use zeta_core::record::{printable, quote};

use super::install::Installed;
use super::render::{Scope, Setting, UnitFile};
use super::verify::{LIMIT, Verified};
use crate::finding::add_errors;
use crate::upkeep::report::{Step, step_json, steps_text};

/// The files of a setting as JSON, and what was written.
pub fn rendered_json(setting: &Setting, files: &[UnitFile], steps: &[Step]) -> Object {
    let mut object = Object::new();
    object.text("scope", setting.scope.word());
    object.list(
        "files",
        files.iter().filter_map(|file| {
            let name = file.name()?;
            Some(
                Object::new()
                    .text("name", name)
                    .text("path", &file.path)
                    .text("text", &file.text)
                    .done(),
            )
        }),
    );
    object.list("steps", steps.iter().map(step_json));
    object
}

/// The files of a setting as text, each with its name in front.
pub fn rendered_text(files: &[UnitFile]) -> String {
    let text = |file: &UnitFile| Some(format!("# {}\n{}", file.name()?, file.text));
    let texts: Vec<String> = files.iter().filter_map(text).collect();
    texts.join("\n").trim_end().to_owned()
}

/// What was installed, as JSON.
pub fn installed_json(setting: &Setting, installed: &Installed) -> Object {
    let mut object = Object::new();
    object.text("scope", setting.scope.word());
    object.list("steps", installed.steps.iter().map(step_json));
    object.list("next", installed.next.iter().map(|line| quote(line)));
    object
}

/// What was installed, as text: a line for each file, and the commands to run next.
pub fn installed_text(installed: &Installed) -> String {
    steps_text(&installed.steps, &installed.next)
}

/// What systemd said, as JSON.
pub fn verified_json(setting: &Setting, verified: &Verified) -> Object {
    let mut object = Object::new();
    object.text("scope", setting.scope.word());
    object.list("units", verified.units.iter().map(|unit| quote(unit)));
    object.objects("exposure", &verified.exposure, |object, one| {
        object.text("unit", &one.unit).raw("level", &one.level);
    });
    object.raw("limit", &format!("{:.1}", f64::from(LIMIT) / 10.0));
    add_errors(&mut object, &verified.findings);
    object.list("notes", verified.notes.iter().map(|note| quote(note)));
    object
}

/// What systemd said, as text: a line for each service, and what is wrong.
pub fn verified_text(setting: &Setting, verified: &Verified) -> String {
    let limit = f64::from(LIMIT) / 10.0;
    let exposure = verified.exposure.iter();
    let mut lines: Vec<String> = exposure
        .map(|one| format!("exposure {} of at most {limit:.1}: {}", one.level, one.unit))
        .collect();
    if matches!(setting.scope, Scope::User(_)) {
        lines.push("exposure: systemd has a measure for services of a machine only".to_owned());
    }
    lines.extend(verified.notes.iter().map(|note| format!("note: {}", printable(note))));
    for finding in &verified.findings {
        lines.push(printable(&finding.text).into_owned());
        let hints = finding.hints.iter();
        lines.extend(hints.map(|hint| format!("  -> {}", printable(hint.as_str()))));
    }
    let (units, findings) = (verified.units.len(), verified.findings.len());
    lines.push(match findings {
        0 => format!("{units} units, and nothing wrong"),
        _ => format!("{units} units, {findings} findings"),
    });
    lines.join("\n")
}
