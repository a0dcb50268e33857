//! What is known of the posts, as text and as JSON.

use std::fmt::Write as _;

use zeta_core::json::Object;
use zeta_core::name::Label;
use zeta_core::schedule::choice::{Choice, Step, Usable, Verdict};
use zeta_core::schedule::policy::Policy;
use zeta_core::schedule::{Change, Post, State, Ticked, Tier, Why, choose};
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
            object.text("persona", persona.as_str());
            choice_json(object, choice);
        }
        if let Some(last) = &row.last {
            object.text("last_outcome", last.report.outcome.word());
            object.text("last_at", &format_utc(last.at_us));
            if let Some(cut) = last.cut {
                object.text("last_cut", cut.word());
            }
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
            let (word, at) = (last.report.outcome.word(), format_utc(last.at_us));
            let cut = last.cut.map_or(String::new(), |cut| format!(": {}", cut.text()));
            format!(", last tick {word} at {at}{cut}")
        });
        let _ = match &row.post {
            Some(Post { persona, choice }) => writeln!(
                text,
                "post {}: {persona} with {} {} in {}{last}",
                row.number, choice.line, choice.tier, choice.harness
            ),
            None => writeln!(text, "post {}: free{last}", row.number),
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
    let mut at = |word: &str, post: u32, persona: &Label, why: &Why| {
        object.text("change", word).number("post", post.into()).text("persona", persona.as_str());
        object.text("why", why.word()).text("message", &change_text(change));
    };
    match change {
        Change::Left { post, persona, why } => at("left", *post, persona, why),
        Change::Came { post, now, why } => {
            at("came", *post, &now.persona, why);
            choice_json(object, &now.choice);
        }
        Change::Switched { post, now, why } => {
            at("switched", *post, &now.persona, why);
            choice_json(object, &now.choice);
        }
        Change::Down { line, down_ms } => {
            object.text("change", "down").text("line", line.as_str());
            object.number("down_ms", *down_ms).text("message", &change_text(change));
        }
        Change::Up { line } => {
            object.text("change", "up").text("line", line.as_str());
            object.text("message", &change_text(change));
        }
    }
}

fn choice_json(object: &mut Object, choice: &Choice) {
    object.text("line", choice.line.as_str()).text("tier", choice.tier.word());
    object.text("harness", choice.harness.as_str());
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

/// A line, a tier or a harness that was considered for a persona.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The model line.
    pub line: Label,
    /// The tier, if the candidate is one, or a harness for it.
    pub tier: Option<Tier>,
    /// The harness, if the candidate is one.
    pub harness: Option<Label>,
    /// What became of it.
    pub verdict: Verdict,
}

impl From<Step<'_>> for Candidate {
    fn from(step: Step<'_>) -> Candidate {
        let (line, tier, harness, verdict) = match step {
            Step::Line(line, verdict) => (line, None, None, verdict),
            Step::Tier(line, tier, verdict) => (line, Some(tier), None, verdict),
            Step::Harness(line, tier, harness, verdict) => {
                (line, Some(tier), Some(harness.clone()), verdict)
            }
        };
        Candidate { line: line.clone(), tier, harness, verdict }
    }
}

/// Why a persona would work with what it would: each candidate with its verdict; `None` if the
/// policy does not have the persona.
pub fn explain(policy: &Policy, state: &State, persona: &Label) -> Option<Vec<Candidate>> {
    let found = policy.persona(persona)?;
    let turns = state.served.get(persona).map_or(0, |served| served.turns);
    let stands = state.posts.values().any(|post| post.persona == *persona);
    let turns = turns.saturating_sub(u64::from(stands));
    let usable = |line: &Label| state.usable(persona, line, None);
    let mut candidates = Vec::new();
    choose(policy, found, turns, &usable, &mut |step| candidates.push(step.into()));
    Some(candidates)
}

/// A candidate as a line of text.
pub fn candidate_text(candidate: &Candidate) -> String {
    let Candidate { line, tier, harness, verdict } = candidate;
    let verdict = verdict_text(*verdict);
    match (tier, harness) {
        (Some(tier), Some(harness)) => format!("harness {harness} for {line} {tier}: {verdict}"),
        (Some(tier), None) => format!("tier {tier} of {line}: {verdict}"),
        (None, _) => format!("line {line}: {verdict}"),
    }
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

/// What [`explain`] found, as JSON.
pub fn explain_json(persona: &Label, post: Option<u32>, candidates: &[Candidate]) -> Object {
    let mut object = Object::new();
    object.text("persona", persona.as_str());
    if let Some(post) = post {
        object.number("post", post.into());
    }
    object.objects("candidates", candidates, |object, candidate| {
        object.text("line", candidate.line.as_str());
        if let Some(tier) = candidate.tier {
            object.text("tier", tier.word());
        }
        if let Some(harness) = &candidate.harness {
            object.text("harness", harness.as_str());
        }
        object.text("verdict", candidate.verdict.word());
        object.text("message", &candidate_text(candidate));
    });
    object
}
