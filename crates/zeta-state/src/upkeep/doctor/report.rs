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
    let finding = |finding: &Finding| {
        let mut object = Object::new();
        object.text("severity", finding.severity.word());
        object.text("finding", finding.finding);
        object.text("reason", &finding.reason);
        object.text("remedy", &finding.remedy);
        object.done()
    };
    let mut object = Object::new();
    object.flag("sound", diagnosis.is_sound());
    object.raw("facts", &facts.done());
    object.list("findings", diagnosis.findings.iter().map(finding));
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
