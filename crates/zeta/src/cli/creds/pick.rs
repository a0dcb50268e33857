//! `zeta creds pick`: a person decides on each credential; nothing is written before the end.

use clap::Args;
use zeta_core::creds::bake::{Source, check_source};
use zeta_core::creds::bundle::{Bundle, Secret};
use zeta_core::creds::manifest::{Entry, Rule, Scope};

use super::{begin, save};
use crate::cli::Call;
use crate::cli::creds::args::KeepArgs;
use zeta_creds::prompt;
use zeta_creds::report;
use zeta_creds::verbs as ops;
use zeta_creds::verbs::collect;
use zeta_creds::verbs::collect::{Baked, Owner, Value};
use zeta_creds::verbs::{ARGUMENTS, Exit, INPUT, Outcome, WithExitNumber};
use zeta_os::error::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(after_help = "\
For each credential: bake it in, defer it (log in later, and pick again), or skip it. A value is
typed without being shown, or read from a file or a variable. Without a terminal all are deferred.

Exit status: 0 done; 2 wrong call; 3 given up, nothing was written; 4 the blob could not be saved;
5 too little memory, or a blob does not open; 6, 8 the blob to be updated: see persist; 9 saved, but
this machine could not remember it.

Examples:
  zeta creds pick --usb-uuid 4F2A-91C7 --output c.enc
  zeta creds pick --usb-uuid 4F2A-91C7 --output new.enc --passphrase-file pp --defer-all --verify")]
pub(super) struct PickArgs {
    #[command(flatten)]
    keep: KeepArgs,
    /// Do not ask: defer all
    #[arg(long, conflicts_with = "bakes")]
    defer_all: bool,
    /// Ask, but write nothing
    #[arg(long)]
    dry_run: bool,
}

/// The decision about a credential.
enum Choice {
    Baked,
    Deferred,
    Skipped,
}

pub(super) fn run(call: &Call) -> Outcome<u8> {
    let args: PickArgs = begin(call)?;
    let secret = args.keep.passphrase().map_err(|failed| match failed.error.kind {
        Kind::Refused => given_up(),
        _ => failed,
    })?;
    let owner = args.keep.owner();
    let mut bundle = Bundle::default();
    let mut baked = args.keep.bake(call, &mut bundle, &owner)?;
    let asks = !args.defer_all && args.keep.bakes.is_empty() && !args.keep.bake_found;
    if asks && prompt::has_terminal() {
        if args.keep.updates()? {
            // A wrong passphrase is told before all the questions; the save opens the blob again.
            let (factors, older) = (args.keep.lock.factors()?, args.keep.accept_older);
            ops::open::open(&args.keep.output, &factors, &secret, older)?;
        }
        baked.ids.extend(ask_all(&mut bundle, &owner)?);
    } else if asks {
        call.out.note("there is no terminal: all are deferred");
    }
    if args.dry_run {
        return not_saved(call, &args, &baked);
    }
    if args.keep.would_empty(&bundle) {
        return not_saved(call, &args, &baked);
    }
    save(call, &args.keep, bundle, &secret, &baked).map_err(|failed| match failed.number {
        ARGUMENTS | ops::NO_MATCH | ops::BUNDLE | ops::POLICY => failed,
        _ => Exit { number: ops::FRAME, ..failed },
    })
}

/// Reports that nothing was saved.
fn not_saved(call: &Call, args: &PickArgs, baked: &Baked) -> Outcome<u8> {
    let (path, dry_run) = (&args.keep.output, args.dry_run);
    match call.out.json {
        true => {
            call.out.data(&report::not_saved(path, baked, dry_run).done()).number(ops::FRAME)?
        }
        false => call.out.note(&report::not_saved_text(path, &baked.ids, dry_run)),
    }
    Ok(0)
}

/// Asks about each credential; returns the ids of those that were baked.
fn ask_all(bundle: &mut Bundle, owner: &Owner) -> Outcome<Vec<String>> {
    let manifest = ops::manifest::manifest(ops::manifest::ADDED.as_ref()).number(INPUT)?;
    let can_be_picked = |entry: &&Entry| {
        // A credential that is made on the machine itself is never baked.
        let picked = entry.rule != Rule::NeverBaked;
        picked && (entry.scope == Scope::Global || owner.persona.is_some())
    };
    let entries: Vec<&Entry> = manifest.entries().iter().filter(can_be_picked).collect();
    let mut baked = Vec::new();
    let mut summary = String::new();
    for (at, entry) in entries.iter().enumerate() {
        let position = format!("[{}/{}] ", at + 1, entries.len());
        let choice = ask_one(bundle, entry, owner, &position)?;
        let word = match choice {
            Choice::Baked => "baked",
            Choice::Deferred => "deferred",
            Choice::Skipped => "skipped",
        };
        summary += &format!("  {:<24} {word}\n", entry.id);
        if matches!(choice, Choice::Baked) {
            baked.push(entry.id.clone());
        }
    }
    match answer(&format!("\n{summary}Save it? [Y/n] "))?.as_str() {
        "" | "y" | "Y" | "yes" => Ok(baked),
        _ => Err(given_up()),
    }
}

fn ask_one(bundle: &mut Bundle, entry: &Entry, owner: &Owner, position: &str) -> Outcome<Choice> {
    let need = if entry.required { "required" } else { "optional" };
    let path = entry.paths.first().map_or("", String::as_str);
    let question =
        format!("{position}{} ({need}, {path})\n  [b]ake, [d]efer, [s]kip? [d] ", entry.id);
    loop {
        match answer(&question)?.as_str() {
            "b" | "B" | "bake" => break,
            "s" | "S" | "skip" => return Ok(Choice::Skipped),
            "" | "d" | "D" | "defer" => return Ok(Choice::Deferred),
            _ => prompt::tell("  answer b, d or s\n"),
        }
    }
    loop {
        match value(entry, owner).and_then(|value| match value {
            Some(value) => collect::put(bundle, entry, owner, value).map(|()| Choice::Baked),
            None => Ok(Choice::Skipped),
        }) {
            Ok(choice) => return Ok(choice),
            Err(error) if error.kind == Kind::Usage && prompt::has_terminal() => {
                prompt::tell(&format!("  {}; try again, or press Enter to skip it\n", error.text));
            }
            Err(_) => return Err(given_up()),
        }
    }
}

/// Asks for the value of one credential; `None` if nothing was given.
fn value(entry: &Entry, owner: &Owner) -> Result<Option<Value>> {
    let here = owner.places(entry).into_iter().find(|path| path.is_file());
    let env = check_source(entry.rule, &Source::Env("")).is_ok();
    let env = if env { ", [e]nv" } else { "" };
    let from = match &here {
        Some(path) => format!("  from [l]iteral, [f]ile{env}? [{}] ", path.display()),
        None => format!("  from [l]iteral, [f]ile{env}? [skip] "),
    };
    match line(&from)?.trim() {
        "l" | "L" => hidden("  the value (not shown): "),
        "f" | "F" => match line("  path: ")?.trim() {
            "" => Ok(None),
            path => collect::value(owner, &Source::File(path)).map(Some),
        },
        "e" | "E" => match line("  name of the variable: ")?.trim() {
            "" => Ok(None),
            name => {
                let source = Source::Env(name);
                check_source(entry.rule, &source).map_err(|bad| Error::usage(bad.to_string()))?;
                collect::value(owner, &source).map(Some)
            }
        },
        "" => match here {
            Some(path) => {
                let path = path.to_string_lossy().into_owned();
                collect::value(owner, &Source::File(&path)).map(Some)
            }
            None => Ok(None),
        },
        _ => Err(Error::usage("answer l, f or e")),
    }
}

/// Reads a line as typed.
fn line(prompt: &str) -> Result<String> {
    prompt::line(prompt)?.ok_or_else(|| Error::new(Kind::Refused, "the input has ended"))
}

/// Reads a value that is not shown while it is typed; `None` if nothing was typed.
fn hidden(prompt: &str) -> Result<Option<Value>> {
    let typed = prompt::passphrase(prompt)?;
    Ok((!typed.is_empty()).then(|| Value::typed(Secret::new(typed.expose().to_vec()))))
}

/// Reads a line without blanks at its ends; the end of the input means giving up.
fn answer(prompt: &str) -> Outcome<String> {
    line(prompt).map(|line| line.trim().to_owned()).map_err(|_| given_up())
}

fn given_up() -> Exit {
    let error = Error::new(Kind::Refused, "given up: nothing was written");
    Exit { number: INPUT, error: error.hint("run it again when you are ready") }
}
