//! A wrong call as an error: the parser's sentences, without its layout.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use zeta_core::shell::quote_word;
use zeta_os::error::Error;

use super::past_globals;

/// Makes an error of the parser's text: its message with all arguments that it names, and its tips
/// as hints.
pub(super) fn error(error: &clap::Error) -> Error {
    let wrong = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Here the parser's text is the whole help.
        Error::usage("the command is not complete: a verb or an argument is missing")
    } else {
        from_text(&error.render().to_string())
    };
    wrong.hint("see the same call with --help")
}

/// Reports whether this is a call of `run`, `lease exec`, `post run`, `creds guard` or `mcp`,
/// well-formed or not.
pub(super) fn is_of_wrapper(args: &[OsString]) -> bool {
    matches!(
        noun_and_verb(args),
        (Some("run"), _)
            | (Some("lease"), Some("exec"))
            | (Some("creds"), Some("guard"))
            | (Some("post"), Some("run"))
            | (Some("mcp"), None)
    )
}

fn noun_and_verb(args: &[OsString]) -> (Option<&str>, Option<&str>) {
    let word = |at: usize| args.get(at).and_then(|word| word.to_str());
    let noun_at = past_globals(args, 1);
    (word(noun_at), word(past_globals(args, noun_at + 1)))
}

/// The call that takes a name, for a verb that takes none as an argument of its own.
pub(super) fn call_with_name(args: &[OsString]) -> Option<&'static str> {
    Some(match noun_and_verb(args) {
        (Some("bus"), Some("inbox")) => "zeta bus inbox --as",
        (Some("bus"), Some("wait")) => "zeta bus wait --as",
        (Some("bus"), Some("list")) => "zeta bus list --to",
        (Some("bus"), Some("subscribe")) => "zeta bus subscribe --surface",
        (Some("bus"), Some("watch")) => "zeta bus watch --to",
        (Some("claim"), Some("list")) => "zeta claim check",
        (Some("heartbeat"), _) => "zeta heartbeat --as",
        (Some("lease"), Some("list")) => "zeta lease show",
        (Some("marker"), Some("list")) => "zeta marker get",
        (Some("node"), Some("show")) => "zeta node show --node",
        (Some("persona"), Some("list")) => "zeta persona get",
        _ => return None,
    })
}

/// Adds the call that takes a name, if one was given where the parser expects none.
pub(super) fn with_tip(mut error: clap::Error, call: Option<&'static str>) -> clap::Error {
    if let (ErrorKind::UnknownArgument, Some(call)) = (error.kind(), call)
        && let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg)
        && !name.starts_with('-')
    {
        let tip = format!("a name stands here: {call} {}", quote_word(name));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Splits the parser's text: the message, then the tips, then the usage, with empty lines between.
fn from_text(text: &str) -> Error {
    let mut paragraphs = text.split("\n\n");
    let message = paragraphs.next().unwrap_or_default();
    let mut lines = message.strip_prefix("error: ").unwrap_or(message).lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    // A list of arguments has one on each line.
    let separator = if first.ends_with(':') { ", " } else { " " };
    let rest: Vec<&str> = lines.collect();
    let message = match rest.is_empty() {
        true => first.to_owned(),
        false => format!("{first} {}", rest.join(separator)),
    };
    let tips = paragraphs.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("tip: "));
    tips.fold(Error::usage(message), Error::hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    fn of(words: &[&str]) -> Error {
        error(&command().try_get_matches_from(words).unwrap_err())
    }

    #[test]
    fn a_missing_argument_is_named() {
        let missing = "the following required arguments were not provided:";
        let one = of(&["zeta", "lease", "acquire", "--json"]);
        assert_eq!(one.text, format!("{missing} <NAME>"));
        let all = of(&["zeta", "lease", "break"]);
        assert_eq!(all.text, format!("{missing} --reason <TEXT>, --expect <N>, <NAME>"));
    }

    #[test]
    fn a_wrapper_is_recognised_wherever_its_flags_stand() {
        let is = |line: &str| {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            is_of_wrapper(&args)
        };
        for line in ["zeta run", "zeta --as a --json run --jsn", "zeta lease --node=n exec x -- y"]
        {
            assert!(is(line), "{line}");
        }
        for line in ["zeta", "zeta --as run status", "zeta lease show exec", "zeta -- run"] {
            assert!(!is(line), "{line}");
        }
    }

    #[test]
    fn a_name_in_a_place_of_no_name_gets_the_call_that_takes_it() {
        let tip = |line: &str| {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let wrong = command().try_get_matches_from(&args).unwrap_err();
            let hints = error(&with_tip(wrong, call_with_name(&args))).hints;
            let tip = |text: &str| text.strip_prefix("a name stands here: ").map(str::to_owned);
            hints.iter().find_map(|hint| tip(hint.as_str()))
        };
        for (line, call) in [
            ("zeta bus inbox vera", "zeta bus inbox --as vera"),
            ("zeta --json heartbeat vera", "zeta heartbeat --as vera"),
            ("zeta lease list a;b", "zeta lease show 'a;b'"),
            ("zeta node show n1", "zeta node show --node n1"),
        ] {
            let found = tip(line);
            assert_eq!(found.as_deref(), Some(call), "{line}");
            // What a tip proposes is a call.
            let words = call.split(' ').filter(|word| !word.contains(';'));
            let parsed = command().try_get_matches_from(words);
            assert!(call.contains(';') || parsed.is_ok(), "{call}: {parsed:?}");
        }
        for line in ["zeta bus inbox --kep", "zeta lease show a b", "zeta status vera"] {
            assert_eq!(tip(line), None, "{line}");
        }
    }

    #[test]
    fn a_tip_is_a_hint() {
        let wrong = of(&["zeta", "lease", "aquire", "x"]);
        assert_eq!(wrong.text, "unrecognized subcommand 'aquire'");
        assert!(wrong.hints.iter().any(|hint| hint.as_str().contains("'acquire'")), "{wrong:?}");
        let verbs = of(&["zeta", "--json"]);
        assert!(verbs.text.contains("lease") && !verbs.text.contains('\n'), "{verbs:?}");
        let verb = of(&["zeta", "--json", "lease"]);
        assert_eq!(verb.text, "the command is not complete: a verb or an argument is missing");
    }
}
