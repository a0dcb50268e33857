//! The report of an examination as text and as JSON, for every front end.

use zeta_core::json::Object;
use zeta_core::record::{printable, quote};

use super::{Diagnosis, Finding};

/// The report as JSON.
pub fn doctor_json(diagnosis: &Diagnosis) -> Object {
    let mut facts = Object::new();
    for (key, value) in &diagnosis.facts {
        facts.text(key, value);
    }
    let mut object = Object::new();
    object.flag("sound", diagnosis.is_sound());
    object.raw("facts", &facts.done());
    object.objects("findings", &diagnosis.findings, |object, found| {
        object.text("severity", found.severity.word());
        object.finding(found.finding, &found.reason, [found.remedy.as_str()]);
    });
    object.list("fixed", diagnosis.fixed.iter().map(|line| quote(line)));
    object
}

/// The report as text.
pub fn doctor_text(diagnosis: &Diagnosis) -> String {
    let facts = diagnosis.facts.iter();
    let mut lines: Vec<String> =
        facts.map(|(key, value)| format!("{key:<18} {}", printable(value))).collect();
    lines.extend(diagnosis.fixed.iter().map(|line| format!("fixed              {line}")));
    for Finding { severity, finding, reason, remedy } in &diagnosis.findings {
        lines.push(format!("{:<8} {finding}: {}", severity.word(), printable(reason)));
        lines.push(format!("         -> {}", printable(remedy)));
    }
    lines.push(match (diagnosis.is_sound(), diagnosis.findings.len()) {
        (true, 0) => "nothing is wrong".to_owned(),
        (true, _) => "nothing is unsafe or broken".to_owned(),
        (false, _) => "something is unsafe or broken".to_owned(),
    });
    lines.join("\n")
}
