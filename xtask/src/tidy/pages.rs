//! Rules for the documents: one title each, a map whose places exist, a change log.

use super::{Finding, Page};

const MAP: &str = "ARCHITECTURE.md";
const CHANGELOG: &str = "CHANGELOG.md";

/// A page has exactly one title, so that it has exactly one subject.
pub fn check_headings(page: &Page, findings: &mut Vec<Finding>) {
    let mut fenced = false;
    let mut titles = Vec::new();
    for (at, line) in page.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && line.starts_with("# ") {
            titles.push(at + 1);
        }
    }
    match titles.as_slice() {
        [_] => {}
        [] => findings.push(Finding::new(page, 1, "the page has no title ('# ' and words)")),
        [_, second, ..] => {
            findings.push(Finding::new(page, *second, "a second title: one page, one subject"));
        }
    }
}

/// Every place that the map names exists: a map that lies is worse than none.
pub fn check_map(pages: &[Page], findings: &mut Vec<Finding>) {
    let Some(map) = pages.iter().find(|page| page.path == MAP) else { return };
    for (at, line) in map.text.lines().enumerate() {
        for place in line.split('`').skip(1).step_by(2) {
            if looks_like_path(place, pages) && !exists(place, pages) {
                findings.push(Finding::new(map, at + 1, format!("'{place}' does not exist")));
            }
        }
    }
}

fn looks_like_path(place: &str, pages: &[Page]) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    if !place.chars().all(plain) || place.starts_with(['/', '-']) {
        return false;
    }
    let file = [".rs", ".md", ".toml", ".sh"].iter().any(|end| place.ends_with(end));
    let below_root = place.split_once('/').is_some_and(|(top, _)| {
        pages.iter().any(|page| page.path.strip_prefix(top).is_some_and(|p| p.starts_with('/')))
    });
    file || below_root
}

/// A place may be written from the root or, for a file in a crate, by its last names.
fn exists(place: &str, pages: &[Page]) -> bool {
    let place = place.trim_end_matches('/');
    pages.iter().any(|page| {
        let tail = page.path.strip_suffix(place);
        let head = page.path.strip_prefix(place);
        tail.is_some_and(|before| before.is_empty() || before.ends_with('/'))
            || head.is_some_and(|after| after.starts_with('/'))
    })
}

/// There is a change log, and it has a place for what was not released yet.
pub fn check_changelog(pages: &[Page], findings: &mut Vec<Finding>) {
    let unreleased = "## [Unreleased]";
    let good = pages.iter().any(|page| page.path == CHANGELOG && page.text.contains(unreleased));
    if !good {
        let page = Page { path: CHANGELOG.to_owned(), text: String::new() };
        let what = format!("the change log, with a section '{unreleased}', must be there");
        findings.push(Finding::new(&page, 1, what));
    }
}
