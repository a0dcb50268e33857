//! What came of a guarded refresh, in words and as JSON. No part of a login is in it.

use std::path::PathBuf;

use zeta_core::creds::login::Verdict;
use zeta_core::json::Object;
use zeta_core::time::format_utc;

use crate::verbs::guard::{Done, Judged, LoginFile, Sealed};
use zeta_os::error::{Error, Kind, Result};

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The command refreshed the login.
    Refreshed,
    /// Another process did, since the guard was called.
    RenewedByAnother,
    /// The login is good for longer than the margin.
    StillValid,
    /// The command left the login as it was, or an older one.
    NotRenewed,
    /// The command left what is no login.
    Broken,
    /// The command removed the login.
    Removed,
    /// The command could not be started.
    NotStarted,
}

impl Came {
    fn word(self) -> &'static str {
        match self {
            Came::Refreshed => "refreshed",
            Came::RenewedByAnother => "renewed_by_another",
            Came::StillValid => "still_valid",
            Came::NotRenewed => "not_renewed",
            Came::Broken => "broken",
            Came::Removed => "removed",
            Came::NotStarted => "not_started",
        }
    }
}

/// The answer of a call.
pub struct Answer<'a> {
    /// The login.
    pub file: &'a LoginFile,
    /// What came of it.
    pub came: Came,
    /// Until when the login is good, in µs since 1970, if it says so.
    pub expires_us: Option<i64>,
    /// The exit status of the command, if it ran.
    pub command_status: Option<u8>,
    /// What came of the copy in the blob, if it was looked at.
    pub sealed: Option<&'a Sealed>,
}

impl Answer<'_> {
    /// As JSON.
    pub fn object(&self) -> Object {
        let mut object = Object::new();
        object.text("outcome", self.came.word()).text("id", self.file.id());
        object.text("path", &self.file.path.display().to_string());
        if let Some(at) = self.expires_us {
            object.text("until", &format_utc(at));
        }
        if let Some(status) = self.command_status {
            object.number("command_status", status.into());
        }
        match self.sealed {
            Some(Sealed::Renewed(_)) => object.text("copy", "renewed"),
            Some(Sealed::Current) => object.text("copy", "current"),
            None => &mut object,
        };
        object
    }

    /// In words.
    pub fn text(&self) -> String {
        let what = match self.came {
            Came::Refreshed => "the command refreshed the login",
            Came::RenewedByAnother => "another process has refreshed the login: nothing to do",
            Came::StillValid => "the login is good for longer than the margin: nothing to do",
            Came::NotRenewed | Came::Broken | Came::Removed | Came::NotStarted => {
                "the login was not refreshed"
            }
        };
        let until =
            self.expires_us.map_or(String::new(), |at| format!("; good until {}", format_utc(at)));
        let copy = match self.sealed {
            Some(Sealed::Renewed(_)) => "; its copy in the blob is renewed",
            Some(Sealed::Current) => "; its copy in the blob is not older",
            None => "",
        };
        format!("{}: {what}{until}{copy}", self.file.id())
    }
}

/// What a command left behind: what to call it, and the error unless it is a newer login.
pub fn judged(file: &LoginFile, judged: &Judged, status: u8) -> (Came, Option<Error>) {
    let id = file.id();
    let error = |text: String| Error::new(Kind::Fault, format!("{id}: {text}"));
    let again = "log in again with the tool; zeta creds restore takes the copy of a blob";
    match &judged.done {
        Done::Judged(Verdict::Refreshed) => (Came::Refreshed, None),
        Done::Judged(Verdict::Unchanged) => {
            let text = format!("the command ended with {status} and left the login as it was");
            let hint =
                "a tool refreshes only shortly before the end: give no longer --margin than that";
            (Came::NotRenewed, Some(error(text).hint(hint)))
        }
        Done::Judged(Verdict::Older(compared)) => {
            let (now, then) = (format_utc(compared.first_us), format_utc(compared.second_us));
            let text = format!(
                "the command ended with {status} and left an older login ({now}; before: {then})"
            );
            (Came::NotRenewed, Some(error(text).hint("look which program wrote it")))
        }
        Done::Judged(Verdict::Removed) => {
            let text = format!("the command ended with {status} and removed the login");
            (Came::Removed, Some(error(text).hint(again)))
        }
        Done::Judged(Verdict::Broken(bad)) => {
            let text = format!("the command ended with {status} and left no login: {bad}");
            let hint = "the lease was lost meanwhile, so the file was left as it is";
            (Came::Broken, Some(error(text).hint(hint)))
        }
        Done::Broken(put_back) => (Came::Broken, Some(broken(put_back, status, error, again))),
        Done::Unreadable(unreadable) => {
            let text = format!("the command ended with {status}: {}", unreadable.text);
            (Came::Broken, Some(error(text).with_hints(hints_of(unreadable))))
        }
    }
}

fn broken(
    put_back: &Result<Option<PathBuf>>,
    status: u8,
    error: impl Fn(String) -> Error,
    again: &'static str,
) -> Error {
    let left = format!("the command ended with {status} and left no whole login");
    match put_back {
        Ok(kept) => {
            let done = error(format!("{left}; the login of before is in place again"));
            let kept = kept.as_ref().map(|path| format!("what it left: {}", path.display()));
            kept.into_iter().fold(done, Error::hint)
        }
        Err(why) => {
            let why = &why.text;
            error(format!("{left}; the one of before could not be put back: {why}")).hint(again)
        }
    }
}

fn hints_of(error: &Error) -> Vec<String> {
    error.hints.iter().map(|hint| hint.as_str().to_owned()).collect()
}
