//! The plan, the commands and the state of an installation, as text and as JSON.

use zeta_core::install::journal::{Chosen, Progress};
use zeta_core::install::key::{Setting, Unset};
use zeta_core::install::layout::Table;
use zeta_core::install::plan::Question;
use zeta_core::install::{Journal, Refusal, Step};
use zeta_core::json::Object;
use zeta_core::record::{printable, quote};

use crate::manifest::Manifest;
use crate::run::Moment;

/// The plan as JSON.
pub fn plan_json(manifest: &Manifest, moment: &Moment, journal: &Journal) -> Object {
    let plan = &moment.plan;
    let mut object = Object::new();
    object.text("manifest", &manifest.digest).text_if("node", plan.node.as_deref());
    object.flag("is_begun", !journal.run.is_empty()).flag("is_finished", journal.is_finished);
    object.objects("steps", Step::ALL, |object, step| {
        step_json(object, step, journal);
        object.flag("holds", moment.look.seen.holds.contains(&step));
    });
    object.objects("disks", plan.chosen.iter().zip(&plan.tables), |object, (disk, table)| {
        disk_json(object, disk, table, !journal.run.is_empty());
    });
    object.objects("left", &plan.left, |object, left| {
        object.text("path", &left.path).text("why", &left.why);
    });
    object.objects("questions", &plan.questions, question_json);
    object.objects("findings", &plan.refusals, finding_json);
    object.objects("settings", &manifest.settings, setting_json);
    object
}

fn step_json(object: &mut Object, step: Step, journal: &Journal) {
    let about = step.about();
    object.text("step", step.word()).text("number", about.number).text("title", about.title);
    object.list("inputs", about.inputs.iter().map(|input| quote(input)));
    object.list("outputs", about.outputs.iter().map(|output| quote(output)));
    object.text("effects", about.effects).text("after", about.after);
    object.flag("is_destructive", step.is_destructive());
    object.text("progress", journal.progress(step).word());
}

fn disk_json(object: &mut Object, disk: &Chosen, table: &Table, is_begun: bool) {
    object.text("path", &disk.path).text("id", &disk.id.to_string());
    object.number("size", disk.id.size).flag("is_boot", disk.is_boot);
    object.list("content", disk.signatures.iter().map(|signature| quote(signature)));
    let prior = disk.prior.as_ref();
    object.flag("has_node", prior.is_some());
    object.text_if("node_before", prior.and_then(|prior| prior.node.as_deref()));
    object.objects("partitions", &table.parts, |object, part| {
        object.number("number", part.number.into());
        object.number("start", part.start).number("end", part.end);
        object.text("file_system", part.fs.word());
        if is_begun {
            // Identities are made from the number of the run.
            object.text("guid", &part.guid).text("file_system_id", &part.fs_id);
        }
        object.text("label", &part.label).text("mount", &format!("/{}", part.mount));
    });
}

fn question_json(object: &mut Object, question: &Question) {
    object.text("question", question.id).text("message", &question.text);
    object.flag("is_secret", question.is_secret).text_if("phrase", question.phrase.as_deref());
}

fn finding_json(object: &mut Object, refusal: &Refusal) {
    object.finding(refusal.word(), &refusal.to_string(), [next_step(refusal)]);
}

/// What to do after a refusal.
pub fn next_step(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::JournalDamaged(_)
        | Refusal::OtherManifest(_)
        | Refusal::ChangedSinceConsent(_)
        | Refusal::LeftOtherwise { .. }
        | Refusal::JournalBehind(_)
        | Refusal::ChangedAfter { .. } => {
            "look at the disks (lsblk --fs); a new run asks for each consent again: --anew"
        }
        Refusal::NotOnStick { .. } => "write the stick with this file, or change the manifest",
        _ => "see which disks there are: zeta install plan",
    }
}

fn setting_json(object: &mut Object, setting: &Setting) {
    object.text("key", setting.key.path).flag("is_set", setting.given.is_some());
    let default = match setting.key.unset {
        Unset::Default(value) => Some(value),
        _ => None,
    };
    object.text_if("value", setting.given.as_deref().or(default));
    if let Unset::Nothing(what) = setting.key.unset {
        object.text("without", what);
    }
}

/// The plan as text.
pub fn plan_text(manifest: &Manifest, moment: &Moment, journal: &Journal) -> String {
    let plan = &moment.plan;
    let mut text = steps_text(journal);
    for (disk, table) in plan.chosen.iter().zip(&plan.tables) {
        let role = if disk.is_boot { "the system" } else { "data" };
        text.push('\n');
        line(&mut text, &format!("disk {} ({}) for {role}:", disk.id, disk.path));
        for part in &table.parts {
            let len = (part.end - part.start) >> 20;
            let (fs, label, mount) = (part.fs.word(), &part.label, &part.mount);
            line(&mut text, &format!("  {}  {len} MiB  {fs} {label}  /{mount}", part.number));
        }
    }
    if !plan.left.is_empty() {
        text.push('\n');
    }
    for left in &plan.left {
        line(&mut text, &format!("disk {} is left out: {}", left.path, left.why));
    }
    text.push('\n');
    for setting in manifest.settings.iter().filter(|setting| setting.given.is_none()) {
        let what = match setting.key.unset {
            Unset::Default(value) => format!("{value} counts"),
            Unset::Nothing(what) | Unset::Refused(what) => what.to_owned(),
        };
        line(&mut text, &format!("{} is not set: {what}", setting.key.path));
    }
    text.push('\n');
    line(
        &mut text,
        &match &plan.node {
            Some(node) => format!("the node is {node}"),
            None => "the name of the node is not known, or made up when a run begins".to_owned(),
        },
    );
    for question in &plan.questions {
        line(&mut text, &format!("question {}: {}", question.id, question.text));
    }
    for refusal in &plan.refusals {
        line(&mut text, &format!("refused: {refusal}"));
    }
    text + &match plan.questions.len() {
        1 => "1 question is left".to_owned(),
        count => format!("{count} questions are left"),
    }
}

fn steps_text(journal: &Journal) -> String {
    let mut text = String::new();
    for step in Step::ALL {
        let about = step.about();
        let state = match journal.progress(step) {
            Progress::Done => "done",
            Progress::Begun => "begun",
            Progress::Waiting if step.is_destructive() => "DESTROYS",
            Progress::Waiting => "waits",
        };
        line(
            &mut text,
            &format!("{:<5} {state:<8}  {:<13} {}", about.number, step.word(), about.title),
        );
    }
    text
}

/// Adds a line. What a disk, a journal or a manifest says in it moves no cursor.
fn line(text: &mut String, line: &str) {
    text.push_str(&printable(line));
    text.push('\n');
}

/// The commands as text.
pub fn commands_text(commands: &[(Step, Vec<String>)]) -> String {
    let step = |(step, lines): &(Step, Vec<String>)| {
        let head = format!("# {} {}", step.about().number, step.about().title);
        std::iter::once(head).chain(lines.iter().cloned()).collect::<Vec<_>>().join("\n")
    };
    commands.iter().map(step).collect::<Vec<_>>().join("\n")
}

/// The commands as JSON.
pub fn commands_json(commands: &[(Step, Vec<String>)]) -> Object {
    let mut object = Object::new();
    object.text("outcome", "dry_run");
    object.objects("steps", commands, |object, (step, lines)| {
        object.text("step", step.word());
        object.list("commands", lines.iter().map(|line| quote(line)));
    });
    object
}

/// What a journal says, as JSON.
pub fn status_json(journal: &Journal, refusal: Option<&Refusal>) -> Object {
    let mut object = Object::new();
    object.text("state", state(journal));
    object.text_if("run", Some(journal.run.as_str()).filter(|run| !run.is_empty()));
    object.number("lines", journal.lines);
    object.objects("steps", Step::ALL, |object, step| {
        object.text("step", step.word()).text("progress", journal.progress(step).word());
    });
    let disks = journal.chosen.iter().flatten();
    object.objects("disks", disks, |object, disk| {
        object.text("path", &disk.path).text("id", &disk.id.to_string());
        object.flag("is_boot", disk.is_boot);
    });
    object.objects("checks", &journal.checks, |object, (check, found, overridden)| {
        object.text("check", check).text("found", found);
        object.text_if("overridden", overridden.as_deref());
    });
    if let Some((step, why)) = &journal.failed {
        object.text("failed_step", step.word()).text("failed_why", why);
    }
    object.objects("findings", refusal, finding_json);
    object
}

/// The word for how far a journal is.
fn state(journal: &Journal) -> &'static str {
    match journal {
        _ if journal.damaged.is_some() => "damaged",
        _ if journal.is_finished => "finished",
        _ if journal.failed.is_some() => "failed",
        _ if journal.run.is_empty() => "not_begun",
        _ => "begun",
    }
}

/// What a journal says, as text.
pub fn status_text(journal: &Journal, refusal: Option<&Refusal>) -> String {
    let mut text = steps_text(journal);
    for (check, found, overridden) in &journal.checks {
        let overridden = overridden.as_ref().map(|why| format!(", overridden: {why}"));
        line(&mut text, &format!("check {check}: {found}{}", overridden.unwrap_or_default()));
    }
    for disk in journal.chosen.iter().flatten() {
        line(&mut text, &format!("disk {} ({})", disk.id, disk.path));
    }
    if let Some((step, why)) = &journal.failed {
        line(&mut text, &format!("the step {step} failed: {why}"));
    }
    if let Some(refusal) = refusal {
        line(&mut text, &format!("the next call is refused: {refusal}"));
    }
    let what = match state(journal) {
        "damaged" => "a line of the journal is damaged",
        "finished" => "the node is installed",
        "failed" => "the next call tries the step again",
        "not_begun" => "no installation was begun here",
        _ => "the next call goes on",
    };
    text + what
}
