//! What the project's drawings have in common: their letters, a heading, and colours that follow
//! the reader's choice of light or dark.

use std::fmt::Display;

const STYLE: &str = "\
svg{--ground:#ffffff;--ink:#1f2328;--soft:#656d76;--box:#f3f5f8;--bad:#cf222e;--good:#1a7f37}\
@media(prefers-color-scheme:dark){svg{--ground:#0d1117;--ink:#e6edf3;--soft:#9198a1;--box:#171c24;\
--bad:#ff7b72;--good:#56d364}}\
text{fill:var(--ink)}.soft{fill:var(--soft)}.head{font-size:17px;font-weight:600}\
.name{font-weight:600}";

/// Begins a drawing of this width and height, in pixels, with its title as a heading, and styles of
/// its own after the common ones. [`END`] ends it.
pub fn begin(title: &str, style: &str, width: impl Display, height: impl Display) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\
         \"system-ui, -apple-system, 'Segoe UI', sans-serif\" font-size=\"13\">\n\
         <title>{title}</title>\n<style>{STYLE}{style}</style>\n\
         <rect width=\"100%\" height=\"100%\" style=\"fill:var(--ground)\"/>\n\
         <text class=\"head\" x=\"16\" y=\"30\">{title}</text>\n"
    )
}

/// The end of a drawing.
pub const END: &str = "</svg>\n";
