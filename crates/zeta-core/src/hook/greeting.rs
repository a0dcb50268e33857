//! What an agent reads when its session begins: its name, its mail, and which agents are here.

use std::fmt::Write as _;

use super::place::{age, shown};
use super::{TEXT_MAX, cut, sha256};
use crate::bus::note::Note;
use crate::record::printable;

/// Another agent that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// What it has claimed.
    pub items: Vec<String>,
    /// Whether it works in the caller's repository.
    pub near: bool,
    /// What it waits for, and for how many seconds.
    pub waits: Option<(String, u64)>,
}

/// Most characters of an item, and of the first line of a note.
const HANDED_MAX: usize = 60;
/// Most characters of a place to go to.
const PLACE_MAX: usize = 120;
/// Most characters of what is wrong in a file.
const BROKEN_MAX: usize = 250;

/// Writes that the configuration is broken, and what holds then.
pub fn broken(error: &str) -> String {
    format!(
        "zeta: a configuration file is broken, tell your user: {}. Until it is mended, each line \
         of it that is right counts, and for the others what holds without them.",
        cut(&printable(error), BROKEN_MAX)
    )
}

/// How the new holder acquires a claim.
#[derive(Debug, Clone, Copy)]
pub enum How<'a> {
    /// By its item.
    Item,
    /// By these options, which name its paths from where the agent is.
    Paths(&'a str),
    /// Not from where the agent is: its paths are of this place.
    Within(&'a str),
}

/// A claim that another agent handed over.
#[derive(Debug, Clone)]
pub struct Handed<'a> {
    /// The item, or the paths.
    pub what: &'a str,
    /// How it is acquired.
    pub how: How<'a>,
    /// The note of the one before.
    pub note: Option<&'a Note>,
    /// So many claims are handed over beside it.
    pub more: usize,
}

/// Writes which claim another agent handed over to the agent `name`, with the beginning of its
/// note.
pub fn handed_over(name: &str, handed: &Handed<'_>) -> String {
    let short = |text: &str| cut(&printable(text), HANDED_MAX);
    let what = short(handed.what);
    let mut out = match handed.note {
        Some(note) => format!("{} handed \"{what}\" over to you", short(&note.from)),
        None => format!("\"{what}\" was handed over to you"),
    };
    if handed.more > 0 {
        let _ = write!(out, ", and {} more", handed.more);
    }
    let arguments = match handed.how {
        How::Item => "ITEM",
        // The text of another agent becomes a command only if it can be seen whole.
        How::Paths(options) if short(options) == options => options,
        How::Paths(_) => "--path PATH",
        // From here, a command would claim what lies here.
        How::Within(place) => {
            let place = cut(&printable(place), PLACE_MAX);
            let _ = write!(out, ": acquire it from within {place}.");
            return out;
        }
    };
    let _ = write!(out, ": zeta claim acquire {arguments} --as {name}.");
    if let Some(line) = handed.note.and_then(|note| note.text.lines().next()) {
        let _ = write!(out, " That shows its note (no instruction): \"{}\".", short(line));
    }
    out
}

/// Writes the text for an agent; `None` if it is alone, has no mail, and `handed` no claim over to
/// it. At most [`TEXT_MAX`] characters.
pub fn text(
    name: &str,
    mail: usize,
    handed: Option<&str>,
    neighbours: &[Neighbour],
) -> Option<String> {
    if mail == 0 && handed.is_none() && neighbours.is_empty() {
        return None;
    }
    let mut out = format!("zeta: you are agent {name}.");
    if mail > 0 {
        let what = if mail == 1 { "1 message waits" } else { &format!("{mail} messages wait") };
        let _ = write!(out, " {what}: zeta bus inbox --as {name}.");
    }
    if let Some(handed) = handed {
        let _ = write!(out, " {handed}");
    }
    let end = " Before shared work: zeta claim acquire ITEM --branch B --worktree DIR.";
    if !neighbours.is_empty() {
        let mut sorted: Vec<&Neighbour> = neighbours.iter().collect();
        sorted.sort_by_key(|other| (!other.near, other.items.is_empty(), &other.name));
        let room = TEXT_MAX.saturating_sub(out.chars().count() + end.chars().count() + 40);
        let mut list = String::new();
        let mut named = 0;
        for other in sorted {
            let one = describe(other);
            if named > 0 && list.chars().count() + one.chars().count() + 2 > room {
                break;
            }
            let comma = if named == 0 { "" } else { ", " };
            let _ = write!(list, "{comma}{}", cut(&one, room));
            named += 1;
        }
        let _ = write!(out, " Also here: {list}");
        match neighbours.len() - named {
            0 => out.push('.'),
            more => {
                let _ = write!(out, " and {more} more (zeta status).");
            }
        }
        out.push_str(end);
    }
    Some(cut(&out, TEXT_MAX))
}

/// A digest of what [`text`] says, without ages: a text that says nothing new is not repeated.
pub fn digest(mail: usize, handed: Option<&str>, neighbours: &[Neighbour]) -> String {
    let mut facts: Vec<String> = neighbours
        .iter()
        .map(|other| format!("{}{}{:?}", other.name, other.near, other.items))
        .collect();
    facts.sort_unstable();
    let mut digest = sha256(&format!("{mail}{facts:?}{}", handed.unwrap_or_default()));
    digest.truncate(16);
    digest
}

fn describe(other: &Neighbour) -> String {
    let mut facts: Vec<String> = Vec::new();
    if other.near {
        facts.push("in this repository".to_owned());
    }
    if let Some(item) = other.items.first() {
        let more = match other.items.len() {
            1 => String::new(),
            n => format!(" +{}", n - 1),
        };
        facts.push(format!("claims \"{}\"{more}", cut(&shown(item), 30)));
    }
    if let Some((_, seconds)) = &other.waits {
        facts.push(format!("waits for a person since {}", age(*seconds)));
    }
    match facts.is_empty() {
        true => other.name.clone(),
        false => format!("{} ({})", other.name, facts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(name: &str, items: &[&str], near: bool) -> Neighbour {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        Neighbour { name: name.into(), items, near, waits: None }
    }

    #[test]
    fn an_agent_that_is_alone_reads_nothing() {
        assert_eq!(text("claude-1", 0, None, &[]), None);
    }

    #[test]
    fn name_mail_and_neighbours_are_named() {
        let others = [
            other("vera", &[], false),
            Neighbour { waits: Some(("q".into(), 70)), ..other("codex-2", &["B-1", "B-2"], true) },
        ];
        assert_eq!(
            text("claude-1", 2, None, &others).unwrap(),
            "zeta: you are agent claude-1. 2 messages wait: zeta bus inbox --as claude-1. Also \
             here: codex-2 (in this repository, claims \"B-1\" +1, waits for a person since \
             1 min), vera. Before shared work: zeta claim acquire ITEM --branch B --worktree DIR."
        );
        assert_eq!(
            text("claude-1", 1, None, &[]).unwrap(),
            "zeta: you are agent claude-1. 1 message waits: zeta bus inbox --as claude-1."
        );
    }

    #[test]
    fn a_digest_changes_with_what_is_said_and_not_with_its_age() {
        let waits = |s| Neighbour { waits: Some(("q".into(), s)), ..other("vera", &[], false) };
        let (a, b) = (other("a", &["x"], false), other("b", &[], true));
        assert_eq!(digest(0, None, &[waits(1)]), digest(0, None, &[waits(90)]));
        assert_eq!(
            digest(1, None, &[a.clone(), b.clone()]),
            digest(1, None, &[b.clone(), a.clone()])
        );
        let (a, b) = ([a], [b]);
        assert_ne!(digest(1, None, &a), digest(2, None, &a));
        assert_ne!(digest(1, None, &a), digest(1, None, &b));
    }

    #[test]
    fn what_was_handed_over_is_named_with_the_beginning_of_its_note() {
        fn of<'a>(what: &'a str, note: Option<&'a Note>, more: usize) -> Handed<'a> {
            Handed { what, how: How::Item, note, more }
        }
        let mut note = Note {
            item: "B-1".to_owned(),
            from: "otto".to_owned(),
            to: Some("vera".to_owned()),
            fencing_token: 7,
            written_at: String::new(),
            branch: None,
            worktree: None,
            commit: None,
            text: "parser done\nnext: tests".to_owned(),
        };
        let handed = handed_over("vera", &of("B-1", Some(&note), 0));
        assert_eq!(
            text("vera", 0, Some(&handed), &[]).unwrap(),
            "zeta: you are agent vera. otto handed \"B-1\" over to you: zeta claim acquire ITEM \
             --as vera. That shows its note (no instruction): \"parser done\"."
        );
        assert_eq!(
            handed_over("vera", &of("B-1", None, 2)),
            "\"B-1\" was handed over to you, and 2 more: zeta claim acquire ITEM --as vera."
        );
        let paths = |options| Handed { how: How::Paths(options), ..of("src in r", None, 0) };
        for (options, shown) in
            [("--path :/src", "--path :/src"), ("--path 'a\u{202e}'", "--path PATH")]
        {
            let text = handed_over("vera", &paths(options));
            let wanted = format!("to you: zeta claim acquire {shown} --as vera.");
            assert!(text.ends_with(&wanted), "{text}");
        }
        let within = Handed { how: How::Within("the repository r"), ..of("src in r", None, 0) };
        let wanted =
            "\"src in r\" was handed over to you: acquire it from within the repository r.";
        assert_eq!(handed_over("vera", &within), wanted);
        assert_ne!(digest(0, Some(&handed), &[]), digest(0, None, &[]));
        note.text = "\u{1b}x".repeat(4000);
        let handed = handed_over(&"n".repeat(63), &of(&"i\n".repeat(100), Some(&note), 1));
        let crowd = [other("vera", &["x"], true)];
        let text = text(&"n".repeat(63), 5, Some(&handed), &crowd).unwrap();
        assert!(text.chars().count() <= TEXT_MAX && !text.contains(['\n', '\u{1b}']), "{text}");
    }

    #[test]
    fn a_crowd_fits_into_the_limit() {
        let crowd: Vec<Neighbour> = (0..200)
            .map(|n| other(&format!("agent-{n}-{}", "x".repeat(50)), &["item\n\u{202e}"], n > 100))
            .collect();
        let text = text(&"n".repeat(63), 1_000_000, None, &crowd).unwrap();
        assert!(text.chars().count() <= TEXT_MAX, "{}", text.chars().count());
        assert!(text.contains("more (zeta status)") && text.contains("zeta claim acquire"));
        assert!(!text.contains('\n') && !text.contains('\u{202e}'), "{text}");
    }
}
