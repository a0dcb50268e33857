//! Who stood at which post, and who will: a drawing in SVG.
//!
//! Time goes from left to right, with a lane for each post. What was is filled; what the policy
//! would do from now on, if no line fails, has a dashed edge.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::assign::{Change, Why, tick};
use super::policy::Policy;
use super::state::{Past, Post, State};
use crate::time::format_utc;

const LEFT: f64 = 64.0;
const TOP: f64 = 40.0;
const WIDTH: f64 = 960.0;
const LANE: f64 = 44.0;
const BAR: f64 = 34.0;
/// The narrowest bar that shows its text.
const TEXT_MIN: f64 = 60.0;
/// The width of a letter, about.
const LETTER: f64 = 6.6;
/// Most turns that are drawn of the time to come.
const TURNS_MAX: u64 = 64;

/// A time at a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The post.
    pub post: u32,
    /// Who stood there, and with what.
    pub who: Post,
    /// When it began, in µs since 1970 (UTC).
    pub from_us: i64,
    /// When it ended.
    pub to_us: i64,
    /// Why it began.
    pub why: Why,
    /// It is what the policy would do.
    pub is_planned: bool,
}

/// The spans of what is remembered, and of so much time to come.
pub fn spans(
    policy: &Policy,
    state: &State,
    past: &[Past],
    now_us: i64,
    ahead_ms: u64,
) -> Vec<Span> {
    let mut open: BTreeMap<u32, Span> = BTreeMap::new();
    let mut done = Vec::new();
    for Past { at_us, change, .. } in past {
        take(change, *at_us, false, &mut open, &mut done);
    }
    // What stands without a change that is remembered began before all that is.
    let first_us = past.first().map_or(now_us, |past| past.at_us);
    for (post, who) in &state.posts {
        let span = open.entry(*post).or_insert_with(|| Span {
            post: *post,
            who: who.clone(),
            from_us: first_us,
            to_us: now_us,
            why: Why::Free,
            is_planned: false,
        });
        span.who = who.clone();
    }
    open.values_mut().for_each(|span| span.to_us = now_us);
    done.extend(open.values().cloned());
    done.extend(planned(policy, state, now_us, ahead_ms));
    done.retain(|span| span.from_us <= span.to_us);
    done
}

/// Begins and ends spans by a change.
fn take(
    change: &Change,
    at_us: i64,
    is_planned: bool,
    open: &mut BTreeMap<u32, Span>,
    done: &mut Vec<Span>,
) {
    let (post, next) = match change {
        Change::Left { post, .. } => (*post, None),
        Change::Came { post, now, why } | Change::Switched { post, now, why } => {
            (*post, Some((now, why)))
        }
        Change::Down { .. } | Change::Up { .. } => return,
    };
    if let Some(mut before) = open.remove(&post) {
        before.to_us = at_us;
        done.push(before);
    }
    if let Some((who, why)) = next {
        let (who, why) = (who.clone(), why.clone());
        open.insert(post, Span { post, who, from_us: at_us, to_us: at_us, why, is_planned });
    }
}

/// What the policy would do.
fn planned(policy: &Policy, state: &State, now_us: i64, ahead_ms: u64) -> Vec<Span> {
    let (mut state, mut at_ms) = (state.clone(), 0_u64);
    let at = |ms: u64| now_us.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX / 1000) * 1000);
    let span = |(post, who): (&u32, &Post)| Span {
        post: *post,
        who: who.clone(),
        from_us: now_us,
        to_us: now_us,
        why: Why::Free,
        is_planned: true,
    };
    let mut open: BTreeMap<u32, Span> =
        state.posts.iter().map(|entry| (*entry.0, span(entry))).collect();
    let mut done = Vec::new();
    for _ in 0..TURNS_MAX {
        let next_ms = super::assign::next_ms(policy, &state).unwrap_or(u64::MAX);
        if next_ms == 0 || at_ms.saturating_add(next_ms) > ahead_ms {
            break;
        }
        at_ms += next_ms;
        let ticked = tick(policy, &state, &[], next_ms);
        ticked.changes.iter().for_each(|one| take(one, at(at_ms), true, &mut open, &mut done));
        state = ticked.state;
    }
    open.values_mut().for_each(|span| span.to_us = at(ahead_ms));
    done.extend(open.into_values());
    done
}

/// Draws spans.
pub fn draw(spans: &[Span], posts: u32, now_us: i64) -> String {
    let from_us = spans.iter().map(|span| span.from_us).min().unwrap_or(now_us);
    let to_us = spans.iter().map(|span| span.to_us).max().unwrap_or(now_us).max(from_us + 1);
    let x = |us: i64| LEFT + WIDTH * (us - from_us) as f64 / (to_us - from_us) as f64;
    let height = TOP + LANE * f64::from(posts) + 40.0;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>Guard posts</title>\n\
         <style>.l{{fill:#57606a}}.n{{stroke:#cf222e;stroke-width:2}}.p{{stroke-dasharray:4 3;\
         fill-opacity:.25}}rect{{stroke:#24292f}}@media(prefers-color-scheme:dark){{.l{{fill:\
         #9198a1}}rect{{stroke:#d1d9e0}}text{{fill:#f0f6fc}}}}</style>\n",
        LEFT + WIDTH + 16.0
    );
    for post in 1..=posts {
        let y = TOP + LANE * f64::from(post - 1) + BAR / 2.0 + 4.0;
        let _ = writeln!(svg, "<text class=\"l\" x=\"8\" y=\"{y}\">post {post}</text>");
    }
    spans.iter().for_each(|span| bar(&mut svg, span, &x));
    let bottom = TOP + LANE * f64::from(posts);
    let at = x(now_us);
    let (below, right) = (bottom + 20.0, LEFT + WIDTH);
    let (now, from, to) = (minute(now_us), minute(from_us), minute(to_us));
    let _ = write!(
        svg,
        "<line class=\"n\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{bottom}\"/>\n\
         <text class=\"l\" x=\"{at:.1}\" y=\"{}\">now, {now}</text>\n\
         <text class=\"l\" x=\"{LEFT}\" y=\"{below}\">{from}</text>\n\
         <text class=\"l\" x=\"{right}\" y=\"{below}\" text-anchor=\"end\">{to}</text>\n</svg>\n",
        TOP - 8.0,
        TOP - 14.0,
    );
    svg
}

/// A time of the wall clock (UTC), to the minute.
fn minute(us: i64) -> String {
    let text = format_utc(us);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// Draws one span, with its words where there is room for them.
fn bar(svg: &mut String, span: &Span, x: &impl Fn(i64) -> f64) {
    let Post { persona, choice } = &span.who;
    let (left, width) = (x(span.from_us), x(span.to_us) - x(span.from_us));
    let top = TOP + LANE * f64::from(span.post - 1);
    let class = if span.is_planned { " class=\"p\"" } else { "" };
    let hue = crate::sum::hash(persona.as_str().as_bytes()) % 360;
    let _ = write!(
        svg,
        "<g><title>{persona}: {} {} in {}\n{} to {}\n{}</title><rect{class} x=\"{left:.1}\" \
         y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"3\" \
         fill=\"hsl({hue} 60% 70%)\"/>",
        choice.line,
        choice.tier,
        choice.harness,
        minute(span.from_us),
        minute(span.to_us),
        span.why.text(),
    );
    if width >= TEXT_MIN {
        let letters = ((width - 8.0) / LETTER) as usize;
        let short = |text: &str| text.chars().take(letters).collect::<String>();
        let (one, two) = (left + 4.0, top + 14.0);
        let works = short(&format!("{} {}", choice.line, choice.tier));
        let _ = write!(
            svg,
            "<text x=\"{one:.1}\" y=\"{two}\">{}</text><text class=\"l\" x=\"{one:.1}\" \
             y=\"{}\">{works}</text>",
            short(persona.as_str()),
            top + 28.0,
        );
    }
    svg.push_str("</g>\n");
}
