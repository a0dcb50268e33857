//! What a shell offers when a person presses Tab: `zeta __complete -- WORD...` prints what the last
//! word may become, a line each, with a description after a tab. No line means: a file.
//!
//! The scripts for the shells are beside this file, and only pass the words on.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Command};
use clap_complete::Shell;
use zeta_core::bus::grant::ClaimRecord;
use zeta_core::bus::item::is_claim_lease;
use zeta_core::bus::topic::TOPICS;
use zeta_core::layout::{self, Kind};
use zeta_core::lease::{Observed, Policy};
use zeta_core::record::is_unprintable;
use zeta_state::context::Context;
use zeta_state::directory::tree::Tree;

use super::{command, schema};
use crate::config::Config;
use crate::environment::{self, Overrides};
use crate::output::print;

/// The word that stands in the place of a noun.
pub(super) const WORD: &str = "__complete";

/// Returns the script for a shell that asks zeta itself.
pub(super) fn script(shell: Shell) -> Option<&'static str> {
    match shell {
        Shell::Bash => Some(include_str!("complete/zeta.bash")),
        Shell::Fish => Some(include_str!("complete/zeta.fish")),
        Shell::Zsh => Some(include_str!("complete/zeta.zsh")),
        _ => None,
    }
}

/// A word, and what it means.
type Candidate = (String, String);

/// Prints what the last of the words may become; returns the exit status.
pub(super) fn run(words: &[OsString]) -> u8 {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut whole = command().disable_help_subcommand(true);
    whole.build();
    let mut text = String::new();
    for (word, about) in candidates(&whole, &words) {
        // A name of another program's file is shown, but never as a part of a line of its own.
        if !word.chars().any(is_unprintable) {
            text.push_str(&format!("{word}\t{about}\n"));
        }
    }
    u8::from(print(&text).is_err())
}

/// The place of the last word in a command line.
struct Cursor<'c> {
    command: &'c Command,
    /// The noun; empty before it.
    noun: String,
    /// The option whose value the next word is.
    option: Option<&'c Arg>,
    /// How many words without an option came after the verb.
    positionals: usize,
    /// `--` came before.
    ended: bool,
    overrides: Overrides,
}

fn candidates(whole: &Command, words: &[String]) -> Vec<Candidate> {
    let Some((last, before)) = words.split_last() else { return Vec::new() };
    let mut cursor = Cursor {
        command: whole,
        noun: String::new(),
        option: None,
        positionals: 0,
        ended: false,
        overrides: Overrides::default(),
    };
    before.iter().for_each(|word| cursor.pass(word));
    // bash makes a word of its own of each `=`.
    let last = if last == "=" && cursor.option.is_some() { "" } else { last };
    let mut found = cursor.last(last);
    found.retain(|(word, _)| word.starts_with(last));
    found
}

impl<'c> Cursor<'c> {
    fn pass(&mut self, word: &str) {
        if let Some(option) = self.option {
            if word == "=" {
                return;
            }
            self.option = None;
            match option.get_id().as_str() {
                "state_dir" => self.overrides.state_dir = Some(PathBuf::from(word)),
                "node" => self.overrides.node = Some(word.to_owned()),
                _ => {}
            }
        } else if self.ended {
            self.positionals += 1;
        } else if word == "--" {
            self.ended = true;
        } else if word.starts_with('-') && word.len() > 1 {
            self.option = self.find_option(word).filter(|_| !word.contains('='));
        } else if let Some(inner) =
            self.command.find_subcommand(word).filter(|_| self.positionals == 0)
        {
            if self.noun.is_empty() {
                self.noun = word.to_owned();
            }
            self.command = inner;
        } else {
            self.positionals += 1;
        }
    }

    /// Returns the option that a word names, if it takes a value.
    fn find_option(&self, word: &str) -> Option<&'c Arg> {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        let is_it = |arg: &&Arg| match name.strip_prefix("--") {
            Some(long) => arg.get_long_and_visible_aliases().is_some_and(|all| all.contains(&long)),
            None => name.chars().nth(1).is_some_and(|short| arg.get_short() == Some(short)),
        };
        let arg = self.command.get_arguments().find(is_it)?;
        arg.get_action().takes_values().then_some(arg)
    }

    /// Returns what the last word may become.
    fn last(&self, word: &str) -> Vec<Candidate> {
        if let Some(option) = self.option {
            return self.values(option, "");
        }
        if let Some((name, _)) = word.split_once('=').filter(|_| word.starts_with("--")) {
            let option = self.find_option(word);
            return option.map_or(Vec::new(), |option| self.values(option, &format!("{name}=")));
        }
        if word.starts_with('-') && !self.ended {
            return self.options();
        }
        if self.positionals == 0 && self.command.has_subcommands() {
            let verbs = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
            let about = |verb: &Command| verb.get_about().map(ToString::to_string);
            return verbs
                .map(|verb| (verb.get_name().to_owned(), about(verb).unwrap_or_default()))
                .collect();
        }
        let all = self.command.get_positionals();
        let own: Vec<&Arg> = all.filter(|arg| arg.is_last_set() == self.ended).collect();
        let many = |arg: &&&Arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        let arg = own.get(self.positionals).or(own.last().filter(many));
        arg.map_or(Vec::new(), |arg| self.values(arg, ""))
    }

    fn options(&self) -> Vec<Candidate> {
        let shown = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let named = shown.filter_map(|arg| {
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some((format!("--{}", arg.get_long()?), about))
        });
        named.collect()
    }

    /// Returns the values of an argument that zeta knows, each after `start`.
    fn values(&self, arg: &Arg, start: &str) -> Vec<Candidate> {
        let value = arg.get_value_names().and_then(|names| names.first());
        let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let values: Vec<String> = match (value.map_or("", |name| name.as_str()), self.noun.as_str())
        {
            ("POLICY", _) => of(&[Policy::Reclaim, Policy::Kill, Policy::Never].map(Policy::word)),
            ("WHAT", _) => of(&["warn", "term", "kill"]),
            ("SHELL", _) => of(&["bash", "elvish", "fish", "powershell", "zsh"]),
            ("TOPIC", _) => TOPICS.iter().map(|topic| topic.name.to_owned()).collect(),
            ("NAME", "schema") => schema::words(self.positionals),
            (name, noun) => self.names(name, noun).unwrap_or_default(),
        };
        let mut values: Vec<String> =
            values.into_iter().map(|value| format!("{start}{value}")).collect();
        values.sort_unstable();
        values.dedup();
        values.into_iter().map(|value| (value, String::new())).collect()
    }

    /// Returns the names of a kind that the state directory has.
    fn names(&self, value: &str, noun: &str) -> Option<Vec<String>> {
        let kind_of: fn(Kind<'_>) -> Option<&str> = match (value, noun) {
            ("NODE", _) => return nodes(&self.context()?),
            ("ITEM", _) => return items(&self.context()?),
            ("WHO" | "AGENT" | "PERSONA", _) | ("NAME", "persona" | "bus") => |kind| match kind {
                Kind::Persona(name) => Some(name),
                _ => None,
            },
            ("NAME", "lease") => |kind| match kind {
                Kind::Lease(name) if !is_claim_lease(name) => Some(name),
                _ => None,
            },
            ("NAME", "marker") => |kind| match kind {
                Kind::Marker(name) => Some(name),
                _ => None,
            },
            _ => return None,
        };
        let ctx = self.context()?;
        let listing = ctx.find().ok()??.node.list().ok()?;
        let names = listing.names.iter().filter_map(|file| kind_of(layout::kind_of(file)));
        Some(names.map(str::to_owned).collect())
    }

    fn context(&self) -> Option<Context> {
        environment::context(self.overrides.clone(), &Config::load().ok()?).ok()
    }
}

fn nodes(ctx: &Context) -> Option<Vec<String>> {
    Some(Tree::open(&ctx.state_dir).ok()??.nodes().ok()?.names)
}

/// Returns the items that are claimed, by the records of their leases.
fn items(ctx: &Context) -> Option<Vec<String>> {
    let (views, _) = ctx.find().ok()??.leases().ok()?;
    let item = |observed: &Observed| match observed {
        Observed::Ours(record, ..) => Some(ClaimRecord::of(record)?.item),
        _ => None,
    };
    Some(views.iter().filter_map(|view| item(&view.observed)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let mut whole = command().disable_help_subcommand(true);
        whole.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        candidates(&whole, &words).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn nouns_verbs_options_and_their_values() {
        assert_eq!(words("lea"), ["lease"]);
        assert_eq!(words("--json lease a"), ["acquire"]);
        assert_eq!(words("--node x lease acquire --pol"), ["--policy"]);
        assert_eq!(words("lease acquire x --policy "), ["kill", "never", "reclaim"]);
        assert_eq!(words("lease acquire x --policy=re"), ["--policy=reclaim"]);
        // bash makes words of its own of these.
        assert_eq!(words("lease acquire x --policy ="), ["kill", "never", "reclaim"]);
        assert_eq!(words("lease acquire x --policy = re"), ["reclaim"]);
        assert_eq!(words("run --on-lost t"), ["term"]);
        assert_eq!(words("completions "), ["bash", "elvish", "fish", "powershell", "zsh"]);
        assert_eq!(words("bus publish --topic review"), ["review-request"]);
        assert_eq!(words("schema lease acq"), ["acquire"]);
        assert!(words("").contains(&"status".to_owned()));
        assert!(words("status --").contains(&"--state-dir".to_owned()));
    }

    #[test]
    fn a_command_and_what_is_unknown_are_left_to_the_shell() {
        for line in [
            "lease exec deploy -- g",
            "run --as a -- ",
            "lease frob x",
            "--state-dir ",
            "completions zsh b",
        ] {
            assert_eq!(words(line), [""; 0], "{line}");
        }
    }
}
