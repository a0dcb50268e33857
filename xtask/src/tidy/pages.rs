//! Rules for the documents: one title per page, working links, a map whose paths exist, a change
//! log.

use super::{Finding, Page};
use crate::run;

const MAP: &str = "ARCHITECTURE.md";
const CHANGELOG: &str = "CHANGELOG.md";

/// Checks that a page has exactly one title, so that it has exactly one subject.
pub fn check_headings(page: &Page, findings: &mut Vec<Finding>) {
    let titles = prose(page).filter(|(_, line)| line.starts_with("# "));
    let titles: Vec<usize> = titles.map(|(at, _)| at + 1).collect();
    match titles.as_slice() {
        [_] => {}
        [] => findings.push(Finding::new(page, 1, "the page has no title ('# ' and words)")),
        [_, second, ..] => {
            findings.push(Finding::new(page, *second, "a second title: one page, one subject"));
        }
    }
}

/// Checks that every path in the map exists: a wrong map is worse than none.
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

/// Reports whether a path exists. It may begin at the root or, for a file in a crate, be its last
/// parts.
fn exists(place: &str, pages: &[Page]) -> bool {
    let place = place.trim_end_matches('/');
    pages.iter().any(|page| {
        let tail = page.path.strip_suffix(place);
        let head = page.path.strip_prefix(place);
        tail.is_some_and(|before| before.is_empty() || before.ends_with('/'))
            || head.is_some_and(|after| after.starts_with('/'))
    })
}

/// Checks that every link to a file of the checkout, and to a heading in it, works in a git web
/// view. (The book checks its own links by its own rules; those of the README are in no book.)
pub fn check_links(page: &Page, pages: &[Page], findings: &mut Vec<Finding>) {
    for (at, line) in prose(page) {
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains(':') || link.contains(' ') {
                continue; // another site, or no link
            }
            if let Some(what) = why_broken(page, link, pages) {
                findings.push(Finding::new(page, at + 1, format!("link '{link}': {what}")));
            }
        }
    }
}

fn why_broken(page: &Page, link: &str, pages: &[Page]) -> Option<&'static str> {
    let (file, heading) = link.split_once('#').map_or((link, None), |(f, h)| (f, Some(h)));
    let target = match file {
        "" => page,
        file => {
            let path = resolve(&page.path, file);
            match pages.iter().find(|page| page.path == path) {
                Some(target) => target,
                // A directory, or a file that is no text.
                None if run::root().join(&path).exists() => return None,
                None => return Some("there is no such file"),
            }
        }
    };
    let missing = heading.is_some_and(|heading| {
        let mut lines = prose(target).filter(|(_, line)| line.starts_with('#'));
        !lines.any(|(_, line)| anchor(line) == heading)
    });
    missing.then_some("there is no such heading")
}

/// Returns the target of a link as a path from the root of the checkout.
fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns the anchor that git web views give to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Lists the lines outside of fenced code, with their numbers from 0.
fn prose(page: &Page) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    page.text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Checks that there is a change log with a section for unreleased changes.
pub fn check_changelog(pages: &[Page], findings: &mut Vec<Finding>) {
    let unreleased = "## [Unreleased]";
    let good = pages.iter().any(|page| page.path == CHANGELOG && page.text.contains(unreleased));
    if !good {
        let page = Page { path: CHANGELOG.to_owned(), text: String::new() };
        let what = format!("the change log, with a section '{unreleased}', must be there");
        findings.push(Finding::new(&page, 1, what));
    }
}
