//! What is known of the posts, as text and as JSON.

use std::fmt::Write as _;

use zeta_core::json::Object;
use zeta_core::name::Label;
use zeta_core::schedule::choice::{Step, Usable, Verdict};
use zeta_core::schedule::policy::Policy;
use zeta_core::schedule::{Change, Post, State, Ticked, choose};
use zeta_core::time::{format_duration, format_utc};

use crate::store::Numbered;

/// A post, and its last report.
#[derive(Debug, Clone)]
pub struct Row {
    /// The number of the post.
    pub number: u32,
    /// Who stands there.
    pub post: Option<Post>,
    /// The last tick that it reported.
    pub last: Option<Numbered>,
}

/// The posts as JSON: `posts`, `floor`, and whether it is kept.
pub fn posts_json(object: &mut Object, rows: &[Row], floor: u32) {
    object.objects("posts", rows, |object, row| {
        object.number("post", row.number.into());
        if let Some(Post { persona, choice }) = &row.post {
            object.text("persona", persona.as_str()).text("line", choice.line.as_str());
            object.text("tier", choice.tier.word()).text("harness", choice.harness.as_str());
        }
        if let Some(last) = &row.last {
            object.text("last_outcome", last.report.outcome.word());
            object.text("last_at", &format_utc(last.at_us));
        }
    });
    let manned = rows.iter().filter(|row| row.post.is_some()).count();
    object.number("floor", floor.into()).number("manned", manned as u64);
    object.flag("has_floor", manned >= floor as usize);
}

/// The posts as lines of text.
pub fn posts_text(rows: &[Row], floor: u32) -> String {
    let mut text = String::new();
    for row in rows {
        let last = row.last.as_ref().map_or(String::new(), |last| {
            format!(", last tick {} at {}", last.report.outcome.word(), format_utc(last.at_us))
        });
        let _ = match &row.post {
            Some(Post { persona, choice }) => writeln!(
                text,
                "post {}: {persona} with {} {} in {}{last}",
                row.number, choice.line, choice.tier, choice.harness
            ),
            None => writeln!(text, "post {}: nobody{last}", row.number),
        };
    }
    let manned = rows.iter().filter(|row| row.post.is_some()).count();
    let _ = write!(text, "{manned} of {} posts are manned, {floor} must be", rows.len());
    text
}

/// What a tick decided, as JSON.
pub fn ticked_json(rows: &[Row], floor: u32, ticked: &Ticked, is_written: bool) -> Object {
    let mut object = Object::new();
    object.flag("written", is_written).number("turn", ticked.state.turn);
    posts_json(&mut object, rows, floor);
    object.objects("changes", &ticked.changes, change_json);
    object
}

fn change_json(object: &mut Object, change: &Change) {
    let post = |object: &mut Object, word: &str, post: u32, persona: &Label| {
        object.text("change", word).number("post", post.into()).text("persona", persona.as_str());
    };
    match change {
        Change::Left { post: number, persona, why } => {
            post(object, "left", *number, persona);
            object.text("why", &why.text());
        }
        Change::Came { post: number, now, why } => {
            post(object, "came", *number, &now.persona);
            object.text("line", now.choice.line.as_str()).text("why", &why.text());
        }
        Change::Switched { post: number, now, why } => {
            post(object, "switched", *number, &now.persona);
            object.text("line", now.choice.line.as_str()).text("why", &why.text());
        }
        Change::Down { line, down_ms } => {
            object.text("change", "down").text("line", line.as_str());
            object.number("down_ms", *down_ms);
        }
        Change::Up { line } => {
            object.text("change", "up").text("line", line.as_str());
        }
    }
}

/// A change as a line of text.
pub fn change_text(change: &Change) -> String {
    let with = |post: &Post| {
        let Post { persona, choice } = post;
        format!("{persona} with {} {} in {}", choice.line, choice.tier, choice.harness)
    };
    match change {
        Change::Left { post, persona, why } => {
            format!("post {post}: {persona} leaves: {}", why.text())
        }
        Change::Came { post, now, why } => format!("post {post}: {}: {}", with(now), why.text()),
        Change::Switched { post, now, why } => {
            format!("post {post}: now {}: {}", with(now), why.text())
        }
        Change::Down { line, down_ms } => {
            format!("{line} is down, for {} at least", format_duration(*down_ms))
        }
        Change::Up { line } => format!("{line} is back"),
    }
}

/// Why a persona would work with what it would: each candidate with its verdict.
pub fn explain(policy: &Policy, state: &State, persona: &Label) -> Option<Vec<(String, String)>> {
    let found = policy.persona(persona)?;
    let turns = state.served.get(persona).map_or(0, |served| served.turns);
    let stands = state.posts.values().any(|post| post.persona == *persona);
    let turns = turns.saturating_sub(u64::from(stands));
    let usable = |line: &Label| state.usable(persona, line, None);
    let mut steps = Vec::new();
    choose(policy, found, turns, &usable, &mut |step| steps.push(step_text(step)));
    Some(steps)
}

fn step_text(step: Step<'_>) -> (String, String) {
    let (what, verdict) = match step {
        Step::Line(line, verdict) => (format!("line {line}"), verdict),
        Step::Tier(line, tier, verdict) => (format!("tier {tier} of {line}"), verdict),
        Step::Harness(line, tier, harness, verdict) => {
            (format!("harness {harness} for {line} {tier}"), verdict)
        }
    };
    (what, verdict_text(verdict))
}

fn verdict_text(verdict: Verdict) -> String {
    match verdict {
        Verdict::Chosen => "fits".to_owned(),
        Verdict::NotInCatalogue => "is not in the catalogue".to_owned(),
        Verdict::NotNow(Usable::Down(ms)) => format!("is down for {} more", format_duration(ms)),
        Verdict::NotNow(Usable::Failed(ms)) => {
            format!("this persona failed on it: not for {} more", format_duration(ms))
        }
        Verdict::NotNow(Usable::OnTrial) => "was down, and another persona tries it".to_owned(),
        Verdict::NotNow(Usable::Yes) => "can be used".to_owned(),
        Verdict::TooWeak(min) => format!("is weaker than {min}"),
        Verdict::NotCompatible => "the persona does not use it with this line".to_owned(),
        Verdict::NoProgram => "the tier has no program for it".to_owned(),
        Verdict::NoHarness => "no harness fits".to_owned(),
        Verdict::NoTier => "no tier fits".to_owned(),
    }
}

/// The steps of [`explain`] as JSON.
pub fn explain_json(persona: &Label, post: Option<u32>, steps: &[(String, String)]) -> Object {
    let mut object = Object::new();
    object.text("persona", persona.as_str());
    if let Some(post) = post {
        object.number("post", post.into());
    }
    object.objects("steps", steps, |object, (what, verdict)| {
        object.text("candidate", what).text("verdict", verdict);
    });
    object
}
