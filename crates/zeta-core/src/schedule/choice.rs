//! Line, tier and harness of one persona, in the order of its preferences.

use serde::{Deserialize, Serialize};

use super::policy::{Dimension, Offer, Persona, Policy, Tier};
use crate::name::Label;

/// What a persona works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The model line.
    pub line: Label,
    /// The tier.
    pub tier: Tier,
    /// The harness.
    pub harness: Label,
}

/// Whether a line may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    /// It works.
    Yes,
    /// It is down for the rest of this time, in ms.
    Down(u64),
    /// This persona failed on it, and is kept from it for the rest of this time, in ms.
    Failed(u64),
    /// It was down, and another persona tries it now.
    OnTrial,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the first one that fits.
    Chosen,
    /// The line is not in the catalogue.
    NotInCatalogue,
    /// The line cannot be used now.
    NotNow(Usable),
    /// The tier is weaker than the persona's minimum.
    TooWeak(Tier),
    /// The persona does not use this harness with this line.
    NotCompatible,
    /// The tier has no program for this harness.
    NoProgram,
    /// No harness fits the tier.
    NoHarness,
    /// No tier of the line fits.
    NoTier,
}

impl Verdict {
    /// Its word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Chosen => "chosen",
            Verdict::NotInCatalogue => "not_in_catalogue",
            Verdict::NotNow(Usable::Yes) => "usable",
            Verdict::NotNow(Usable::Down(_)) => "line_down",
            Verdict::NotNow(Usable::Failed(_)) => "failing",
            Verdict::NotNow(Usable::OnTrial) => "on_trial",
            Verdict::TooWeak(_) => "too_weak",
            Verdict::NotCompatible => "not_compatible",
            Verdict::NoProgram => "no_program",
            Verdict::NoHarness => "no_harness",
            Verdict::NoTier => "no_tier",
        }
    }
}

/// A candidate and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'p> {
    /// A model line.
    Line(&'p Label, Verdict),
    /// A tier of the line that is considered.
    Tier(&'p Label, Tier, Verdict),
    /// A harness for the tier that is considered.
    Harness(&'p Label, Tier, &'p Label, Verdict),
}

/// Chooses what a persona works with; `None` if nothing fits now. `turns` is how many turns it has
/// begun: what rotates is shifted by it. Each candidate is shown to `visit`.
pub fn choose<'p>(
    policy: &'p Policy,
    persona: &'p Persona,
    turns: u64,
    usable: &impl Fn(&Label) -> Usable,
    visit: &mut impl FnMut(Step<'p>),
) -> Option<Choice> {
    let shift = if policy.rotates(Dimension::Model) { turns } else { 0 };
    for line in shifted(&persona.lines, shift) {
        let Some(known) = policy.lines.get(line) else {
            visit(Step::Line(line, Verdict::NotInCatalogue));
            continue;
        };
        match usable(line) {
            Usable::Yes => {}
            other => {
                visit(Step::Line(line, Verdict::NotNow(other)));
                continue;
            }
        }
        let weaker = Tier::ALL.into_iter().filter(|tier| *tier < persona.min_tier);
        weaker.for_each(|tier| {
            visit(Step::Tier(line, tier, Verdict::TooWeak(persona.min_tier)));
        });
        let enough = known.tiers.keys().copied();
        let enough: Vec<Tier> = enough.filter(|tier| *tier >= persona.min_tier).collect();
        let shift = if policy.rotates(Dimension::Tier) { turns } else { 0 };
        for tier in shifted(&enough, shift) {
            let offer = known.tiers.get(tier)?;
            if let Some(harness) = harness(policy, persona, turns, (line, *tier, offer), visit) {
                visit(Step::Tier(line, *tier, Verdict::Chosen));
                visit(Step::Line(line, Verdict::Chosen));
                return Some(Choice { line: line.clone(), tier: *tier, harness });
            }
            visit(Step::Tier(line, *tier, Verdict::NoHarness));
        }
        visit(Step::Line(line, Verdict::NoTier));
    }
    None
}

/// Returns whether a persona may work with a choice, by what the policy says now.
pub fn is_allowed(policy: &Policy, persona: &Persona, choice: &Choice) -> bool {
    let Choice { line, tier, harness } = choice;
    let has_all = persona.lines.contains(line)
        && persona.harnesses.contains(harness)
        && *tier >= persona.min_tier;
    // The same persona, with nothing else to choose from.
    let only = Persona {
        name: persona.name.clone(),
        lines: vec![line.clone()],
        harnesses: vec![harness.clone()],
        min_tier: *tier,
    };
    let chosen = choose(policy, &only, 0, &|_| Usable::Yes, &mut |_| {});
    has_all && chosen.as_ref() == Some(choice)
}

/// Chooses the harness for a tier of a line.
fn harness<'p>(
    policy: &'p Policy,
    persona: &'p Persona,
    turns: u64,
    (line, tier, offer): (&'p Label, Tier, &'p Offer),
    visit: &mut impl FnMut(Step<'p>),
) -> Option<Label> {
    let compatible = match policy.compatible.is_empty() {
        true => None,
        false => policy.compatible.get(&(persona.name.clone(), line.clone())),
    };
    let shift = if policy.rotates(Dimension::Harness) { turns } else { 0 };
    for harness in shifted(&persona.harnesses, shift) {
        let verdict = match compatible {
            Some(list) if !list.contains(harness) => Verdict::NotCompatible,
            _ if offer.program(harness).is_none() => Verdict::NoProgram,
            _ => Verdict::Chosen,
        };
        visit(Step::Harness(line, tier, harness, verdict));
        if verdict == Verdict::Chosen {
            return Some(harness.clone());
        }
    }
    None
}

/// A list that begins at another place; what is before it comes last.
fn shifted<T>(list: &[T], shift: u64) -> impl Iterator<Item = &T> {
    let at = shift.checked_rem(list.len() as u64).unwrap_or(0) as usize;
    let (before, from) = list.split_at_checked(at).unwrap_or((&[], list));
    from.iter().chain(before)
}
