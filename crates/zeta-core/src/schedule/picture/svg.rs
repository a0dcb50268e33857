//! The drawing: time from left to right, a lane for each post, and a colour for each model line.
//!
//! What is to come is pale. A mark at the begin of a bar says that a vendor made the change; the
//! rest of why is in the title, which a browser shows under the pointer.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::assign::Why;
use super::super::state::Post;
use super::{Picture, Span};
use crate::name::Label;
use crate::svg;
use crate::time::{format_duration, format_utc};

const LEFT: f64 = 92.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 112.0;
const WIDTH: f64 = 1100.0;
const LANE: f64 = 54.0;
const BAR: f64 = 42.0;
/// The lane of a line that was down.
const OUTAGE: f64 = 20.0;
/// The width of a letter of the name of a persona, and of the words below it, about.
const LETTERS: [f64; 2] = [7.6, 6.2];

/// The colours of the lines: light, so that dark words are read on each.
const COLOURS: [&str; 10] = [
    "#9ec5fe", "#ffc99a", "#a3d9b1", "#d9b8f0", "#f4dc7d", "#f6b3bd", "#9fdede", "#d3c6b4",
    "#c3d377", "#c9ccd6",
];

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
/// The distances of the marks of the axis, in minutes.
const STEPS: [i64; 11] = [1, 5, 15, 60, 180, 360, 720, 1440, 2880, 10_080, 40_320];
/// Most marks.
const MARKS_MAX: i64 = 9;

const STYLE: &str = "\
svg{--grid:#d8dee4;--edge:#57606a}\
@media(prefers-color-scheme:dark){svg{--grid:#30363d;--edge:#8b949e}}\
.lane{fill:var(--box)}.grid{stroke:var(--grid)}.bar rect{stroke:var(--edge);stroke-opacity:.55}\
.bar text{fill:#1f2328}.bar .small{fill:#33393f}.plan rect{fill-opacity:.35;stroke-dasharray:4 3}\
.plan text,.plan .small{fill:var(--ink)}.small{font-size:11px}\
.now{stroke:var(--bad);stroke-width:2}.nowtext{fill:var(--bad);font-weight:600}\
.bad{fill:var(--bad)}.good{fill:var(--good)}.bar .bad{fill:#cf222e}.bar .good{fill:#1a7f37}\
.bar:hover rect{stroke-width:2.5;stroke-opacity:1}";

/// Draws a picture.
pub fn draw(picture: &Picture) -> String {
    let drawing = Drawing::new(picture);
    let height = drawing.bottom() + 44.0;
    let mut svg = svg::begin("Guard posts", STYLE, LEFT + WIDTH + RIGHT, height);
    drawing.legend(&mut svg);
    drawing.lanes(&mut svg);
    drawing.axis(&mut svg);
    picture.spans.iter().for_each(|span| drawing.bar(&mut svg, span));
    drawing.outages(&mut svg);
    drawing.now(&mut svg);
    svg + svg::END
}

/// A picture, and how it is laid out.
struct Drawing<'p> {
    picture: &'p Picture,
    /// The lines that are in it; the place of a line is that of its colour.
    lines: Vec<&'p Label>,
    /// Those that were down.
    down: Vec<&'p Label>,
    from_us: i64,
    to_us: i64,
}

impl<'p> Drawing<'p> {
    fn new(picture: &'p Picture) -> Drawing<'p> {
        let used = picture.spans.iter().map(|span| &span.who.choice.line);
        let down: BTreeSet<&Label> = picture.outages.iter().map(|outage| &outage.line).collect();
        let lines: BTreeSet<&Label> = used.chain(down.iter().copied()).collect();
        let from_us = picture.from_us();
        Drawing {
            picture,
            lines: lines.into_iter().collect(),
            down: down.into_iter().collect(),
            from_us,
            to_us: picture.to_us.max(from_us.saturating_add(1)),
        }
    }

    fn x(&self, us: i64) -> f64 {
        let whole = self.to_us.saturating_sub(self.from_us).max(1) as f64;
        LEFT + WIDTH * us.saturating_sub(self.from_us) as f64 / whole
    }

    fn lane(&self, post: u32) -> f64 {
        TOP + LANE * f64::from(post.saturating_sub(1))
    }

    /// The top of the lanes of the lines that were down.
    fn below(&self) -> f64 {
        self.lane(self.picture.posts) + LANE + 8.0
    }

    fn bottom(&self) -> f64 {
        self.below() + OUTAGE * self.down.len() as f64
    }

    fn colour(&self, line: &Label) -> &'static str {
        let at = self.lines.iter().position(|known| *known == line).unwrap_or(0);
        COLOURS.get(at % COLOURS.len()).copied().unwrap_or("#c9ccd6")
    }

    /// The names of the colours and of the marks.
    fn legend(&self, svg: &mut String) {
        let mut x = 16.0;
        for line in &self.lines {
            let (colour, text) = (self.colour(line), x + 22.0);
            let _ = writeln!(
                svg,
                "<g class=\"bar\"><rect x=\"{x:.0}\" y=\"44\" width=\"16\" height=\"16\" rx=\"4\" \
                 fill=\"{colour}\"/></g><text x=\"{text:.0}\" y=\"57\">{line}</text>"
            );
            x = text + LETTERS[0] * line.as_str().len() as f64 + 18.0;
        }
        for (is_good, what) in [(false, "a line failed"), (true, "a line is tried, or is back")] {
            let (mark, text) = (mark(is_good, x, 47.0), x + 15.0);
            let _ =
                writeln!(svg, "{mark}<text class=\"soft\" x=\"{text:.0}\" y=\"57\">{what}</text>");
            x = text + 6.4 * what.len() as f64 + 18.0;
        }
        if !self.down.is_empty() {
            let _ = writeln!(
                svg,
                "<rect class=\"bad\" x=\"{x:.0}\" y=\"48\" width=\"20\" height=\"8\" rx=\"3\"/>\
                 <text class=\"soft\" x=\"{:.0}\" y=\"57\">a line was down</text>",
                x + 26.0
            );
            x += 26.0 + 15.0 * 6.4 + 18.0;
        }
        let _ = writeln!(
            svg,
            "<g class=\"bar plan\"><rect x=\"{x:.0}\" y=\"44\" width=\"16\" height=\"16\" rx=\"4\" \
             fill=\"#c9ccd6\"/></g><text class=\"soft\" x=\"{:.0}\" y=\"57\">planned, if no line \
             fails</text>",
            x + 22.0
        );
    }

    fn lanes(&self, svg: &mut String) {
        for post in 1..=self.picture.posts {
            let top = self.lane(post);
            let _ = writeln!(
                svg,
                "<rect class=\"lane\" x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{BAR}\" \
                 rx=\"6\"/><text class=\"name\" x=\"16\" y=\"{:.0}\">post {post}</text>",
                top + BAR / 2.0 + 5.0
            );
        }
    }

    /// Lines at round times, with the times above them.
    fn axis(&self, svg: &mut String) {
        let whole = self.to_us.saturating_sub(self.from_us);
        let step = STEPS.iter().map(|minutes| minutes * MINUTE_US);
        let step = step.into_iter().find(|step| whole / step < MARKS_MAX);
        let step = step.unwrap_or(whole / MARKS_MAX + 1);
        let first = self.from_us.div_euclid(step) + 1;
        for number in first..=self.to_us.div_euclid(step).min(first + MARKS_MAX) {
            let us = number * step;
            let (x, bottom, end) = (self.x(us), self.bottom(), TOP - 8.0);
            let text = if us.rem_euclid(DAY_US) == 0 { day(us) } else { clock(us) };
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{end}\" y2=\"{bottom}\"/>\
                 <text class=\"soft small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}\
                 </text>",
                end - 5.0
            );
        }
    }

    /// Draws one span, with its words where there is room for them.
    fn bar(&self, svg: &mut String, span: &Span) {
        let Post { persona, choice } = &span.who;
        let (left, top) = (self.x(span.from_us), self.lane(span.post));
        // A gap of a pixel tells two bars of one colour apart.
        let width = (self.x(span.to_us) - left - 1.0).max(1.0);
        let class = if span.is_planned { "bar plan" } else { "bar" };
        let _ = write!(
            svg,
            "<g class=\"{class}\"><title>{}</title><rect x=\"{left:.1}\" y=\"{top}\" \
             width=\"{width:.1}\" height=\"{BAR}\" rx=\"{:.1}\" fill=\"{}\"/>",
            title(span),
            (width / 3.0).min(6.0),
            self.colour(&choice.line),
        );
        let marked = by_vendor(&span.why).filter(|_| !span.is_planned && width >= 14.0);
        svg.extend(marked.map(|is_good| mark(is_good, left + 6.0, top + 7.0)));
        let indent = if marked.is_some() { 19.0 } else { 7.0 };
        let works = format!("{} {}", choice.line, choice.tier);
        let words = [(persona.as_str(), indent, 17.0, "name"), (&works, 7.0, 33.0, "small")];
        for ((text, indent, down, class), letter) in words.into_iter().zip(LETTERS) {
            let room = ((width - indent - 4.0) / letter).max(0.0) as usize;
            if let Some(text) = fitting(text, room) {
                let (x, y) = (left + indent, top + down);
                let _ = write!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\">{text}</text>");
            }
        }
        svg.push_str("</g>\n");
    }

    /// When lines were down, below the posts.
    fn outages(&self, svg: &mut String) {
        for (at, line) in self.down.iter().enumerate() {
            let top = self.below() + OUTAGE * at as f64;
            let _ = writeln!(
                svg,
                "<text class=\"soft small\" x=\"16\" y=\"{:.0}\">{}</text>",
                top + 13.0,
                fitting(line.as_str(), 12).unwrap_or_default(),
            );
            for outage in self.picture.outages.iter().filter(|outage| outage.line == **line) {
                let (left, right) = (self.x(outage.from_us), self.x(outage.to_us));
                let took = outage.to_us.abs_diff(outage.from_us) / 1000;
                let _ = writeln!(
                    svg,
                    "<g><title>{line} was down\n{} to {} UTC, {}</title><rect class=\"bad\" \
                     x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"8\" rx=\"3\"/></g>",
                    minute(outage.from_us),
                    minute(outage.to_us),
                    format_duration(took),
                    top + 5.0,
                    (right - left).max(2.0),
                );
            }
        }
    }

    fn now(&self, svg: &mut String) {
        let (x, bottom) = (self.x(self.picture.now_us), self.bottom());
        let _ = writeln!(
            svg,
            "<line class=\"now\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"/>\
             <text class=\"nowtext small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">now, {} UTC\
             </text>",
            TOP - 8.0,
            bottom + 18.0,
            minute(self.picture.now_us),
        );
    }
}

/// What a browser shows under the pointer.
fn title(span: &Span) -> String {
    let Post { persona, choice } = &span.who;
    let took = format_duration(span.to_us.abs_diff(span.from_us) / 1000);
    let why = if span.is_planned { "planned".to_owned() } else { span.why.text() };
    format!(
        "{persona} with {} {} in {}\n{} to {} UTC, {took}\n{why}",
        choice.line,
        choice.tier,
        choice.harness,
        minute(span.from_us),
        minute(span.to_us),
    )
}

/// Whether a change was made because a vendor works again, or because it does not; `None` for other
/// changes.
fn by_vendor(why: &Why) -> Option<bool> {
    match why {
        Why::LineDown { .. } | Why::Failing { .. } => Some(false),
        Why::Back { .. } | Why::Trial { .. } => Some(true),
        _ => None,
    }
}

/// The triangle for such a change.
fn mark(is_good: bool, x: f64, y: f64) -> String {
    let (class, points) = match is_good {
        false => ("bad", [(0.0, 0.0), (9.0, 0.0), (4.5, 9.0)]),
        true => ("good", [(0.0, 9.0), (9.0, 9.0), (4.5, 0.0)]),
    };
    let points = points.map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).join(" ");
    format!("<polygon class=\"{class}\" points=\"{points}\"/>")
}

/// A text in so much room, cut if need be; none where too little of it would be left.
fn fitting(text: &str, room: usize) -> Option<String> {
    match text.chars().count() {
        length if length <= room => Some(text.to_owned()),
        _ if room >= 4 => Some(text.chars().take(room - 1).chain(['…']).collect()),
        _ => None,
    }
}

/// A time of the wall clock (UTC), to the minute.
fn minute(us: i64) -> String {
    let text = format_utc(us);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// The day of a time, as `11-30`.
fn day(us: i64) -> String {
    format_utc(us).get(5..10).unwrap_or_default().to_owned()
}

/// The time of the day, as `09:30`.
fn clock(us: i64) -> String {
    format_utc(us).get(11..16).unwrap_or_default().to_owned()
}
