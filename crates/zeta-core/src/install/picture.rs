//! The drawing: the steps from above to below, and on the right which step needs the result of
//! which other one.

use std::fmt::Write as _;

use super::journal::{Journal, Progress};
use super::step::Step;
use crate::svg;

const TOP: usize = 84;
const LEFT: usize = 16;
const ROW: usize = 58;
const BOX: usize = 44;
const WIDTH: usize = 560;
/// The distance between two arrows.
const LANE: usize = 16;
/// How many arrows may be beside each other.
const LANES: usize = 16;

const STYLE: &str = "\
svg{--edge:#8b949e}@media(prefers-color-scheme:dark){svg{--edge:#6e7681}}\
.soft{font-size:11px}.step{fill:var(--box);stroke:var(--edge)}\
.bad{stroke:var(--bad);stroke-width:2}.done{stroke:var(--good);stroke-width:2}\
.badtext{fill:var(--bad)}.goodtext{fill:var(--good)}.arrow{fill:none;stroke:var(--edge)}\
.tip{fill:var(--edge)}";

/// An arrow from a step to a later one that needs what it gives.
type Arrow = (usize, usize, &'static str);

/// The arrows: each input that an earlier step gives.
pub fn arrows() -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for (to, step) in Step::ALL.iter().enumerate() {
        for input in step.about().inputs {
            let gives = |from: &Step| from.about().outputs.contains(input);
            let from = Step::ALL.iter().take(to).position(gives);
            arrows.extend(from.map(|from| (from, to, *input)));
        }
    }
    arrows
}

/// Draws the steps, and how far each is.
pub fn draw(journal: &Journal) -> String {
    let height = TOP + ROW * Step::ALL.len() + 12;
    let width = LEFT + WIDTH + LANE * LANES + 40;
    let mut svg = svg::begin("Installation of a node", STYLE, width, height);
    svg.push_str(
        "<text class=\"soft\" x=\"16\" y=\"54\">Red: destroys what is on a disk. Green: done. An \
         arrow leads to a step that needs the result.</text>\n",
    );
    for (at, step) in Step::ALL.into_iter().enumerate() {
        draw_step(&mut svg, at, step, journal.progress(step));
    }
    let mut free = [0; LANES];
    for (from, to, what) in arrows() {
        // The first lane that no earlier arrow uses any more.
        let lane = free.iter().position(|until| *until <= from).unwrap_or(LANES - 1);
        if let Some(until) = free.get_mut(lane) {
            *until = to;
        }
        draw_arrow(&mut svg, (from, to, what), lane);
    }
    svg + svg::END
}

fn draw_step(svg: &mut String, at: usize, step: Step, progress: Progress) {
    let (about, y) = (step.about(), TOP + ROW * at);
    let class = match progress {
        Progress::Done => "step done",
        _ if step.is_destructive() => "step bad",
        _ => "step",
    };
    let (state, colour) = match progress {
        Progress::Done => ("done", "goodtext"),
        Progress::Begun => ("begun", "badtext"),
        Progress::Waiting if step.is_destructive() => ("destructive", "badtext"),
        Progress::Waiting => ("", "soft"),
    };
    let (text, right) = (LEFT + 12, LEFT + WIDTH - 12);
    let _ = writeln!(
        svg,
        "<g><title>{}</title><rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{WIDTH}\" \
         height=\"{BOX}\" rx=\"6\"/><text class=\"name\" x=\"{text}\" y=\"{}\">{} {}</text>\
         <text class=\"soft\" x=\"{text}\" y=\"{}\">{}</text><text class=\"{colour}\" \
         x=\"{right}\" y=\"{}\" text-anchor=\"end\">{state}</text></g>",
        about.after,
        y + 18,
        about.number,
        about.title,
        y + 35,
        about.effects,
        y + 18
    );
}

fn draw_arrow(svg: &mut String, (from, to, what): Arrow, lane: usize) {
    let middle = |at: usize| TOP + ROW * at + BOX / 2;
    let (x, far) = (LEFT + WIDTH, LEFT + WIDTH + LANE * (lane + 1));
    let (begin, end) = (middle(from) + 8, middle(to) - 6);
    let _ = writeln!(
        svg,
        "<g><title>{what}</title><path class=\"arrow\" d=\"M{x} {begin}H{far}V{end}H{x}\"/>\
         <path class=\"tip\" d=\"M{x} {end}l8 -4v8z\"/></g>"
    );
}
