//! What came of a guarded refresh, in words and as JSON. No part of a login is in it.

use zeta_core::creds::login::{Seal, Verdict, Watch};
use zeta_core::json::Object;
use zeta_core::time::format_utc;

use crate::verbs::guard::{Done, Judged, Left, LoginFile, Sealed};
use zeta_os::error::{Error, Kind};
use zeta_os::spawn::ExitOutcome;

/// What is said to a person who asks for an end while the command runs.
pub const FINISHES: &str = "the refresh comes to its end first, because a login may be lost in the \
     middle of it; Ctrl-\\ (SIGQUIT) ends it nevertheless";

/// What is said when the copy of a guard that was killed has been put in the place of the login.
pub fn mended(file: &LoginFile) -> String {
    let path = file.path();
    format!(
        "{}: it was not whole, and has the content of before the last refresh, which was ended in \
         its middle",
        path.display()
    )
}

/// What is said when the logins of a watch are good for less than its margin.
pub fn shortened(file: &LoginFile, watch: &Watch) -> String {
    let seconds = |us: i64| us / 1_000_000;
    format!(
        "{}: a new login is good for less than the margin of {} s: from now on it is refreshed {} \
         s before its end",
        file.id(),
        seconds(watch.wish_us),
        seconds(watch.margin_us)
    )
}

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
        object.text("path", &self.file.path().display().to_string());
        if let Some(at) = self.expires_us {
            object.text("until", &format_utc(at));
        }
        if let Some(status) = self.command_status {
            object.number("command_status", status.into());
        }
        match self.sealed {
            Some(Sealed::Renewed(_)) => object.text("copy", "renewed"),
            Some(Sealed::Kept(seal)) => object.text("copy", kept(*seal).0),
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
            Some(Sealed::Kept(seal)) => kept(*seal).1,
            None => "",
        };
        format!("{}: {what}{until}{copy}", self.file.id())
    }
}

/// The word and the text for a blob that stayed as it was.
fn kept(seal: Seal) -> (&'static str, &'static str) {
    match seal {
        Seal::KeptNewer => ("kept_newer", "; the login in the blob is newer and stays"),
        Seal::KeptAccount => {
            ("kept_account", "; the login in the blob is of another account and stays")
        }
        Seal::Current | Seal::Renewed => ("current", "; its copy in the blob is the same"),
    }
}

/// What a command left behind: what to call it, and the error unless it is a newer login.
pub fn judged(file: &LoginFile, judged: &Judged, ended: ExitOutcome) -> (Came, Option<Error>) {
    let id = file.id();
    let error = |text: String| Error::new(Kind::Fault, format!("{id}: {text}"));
    let status = ended.status();
    let again = "log in again with the tool; zeta creds restore takes the copy of a blob";
    let broken = format!("the command ended with {status} and left no whole login");
    match &judged.done {
        Done::Judged(Verdict::Refreshed) => (Came::Refreshed, None),
        Done::Judged(Verdict::Unchanged) => {
            let text = format!("the command ended with {status} and left the login as it was");
            let hint = match ended {
                ExitOutcome::Signaled(_) => {
                    "a signal ended it before it wrote the login: call again; if its issuer had \
                     answered, log in again"
                }
                ExitOutcome::Exited(_) => {
                    "a tool refreshes only shortly before the end: give a --margin as short as that"
                }
            };
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
            (Came::Broken, Some(error(text).hint(again)))
        }
        Done::PutBack(kept) => {
            let done = error(format!("{broken}; the login of before is in place again"));
            let kept = kept.as_ref().map(|path| format!("what it left: {}", path.display()));
            (Came::Broken, Some(kept.into_iter().fold(done, Error::hint)))
        }
        Done::Left(left) => (Came::Broken, Some(left_broken(left, &broken, error, again))),
        Done::Unreadable(unreadable) => {
            let text = format!("the command ended with {status}: {}", unreadable.text);
            (Came::Broken, Some(error(text).with_hints(hints_of(unreadable))))
        }
    }
}

fn left_broken(
    left: &Left,
    broken: &str,
    error: impl Fn(String) -> Error,
    again: &'static str,
) -> Error {
    match left {
        Left::LeaseLost => error(format!("{broken}; the lease was lost, so the file was left"))
            .hint("call again: if the file is no login then, the copy of before is used or named"),
        Left::LinkReplaced(path) => {
            let hint = format!("the login of before is in {}", path.display());
            error(format!("{broken}, in place of a link")).hint(hint)
        }
        Left::Failed(errno, copy) => {
            let text = format!("{broken}; the one of before could not be put back: {errno}");
            error(text).hint(format!("it is in {}", copy.display())).hint(again)
        }
    }
}

fn hints_of(error: &Error) -> Vec<String> {
    error.hints.iter().map(|hint| hint.as_str().to_owned()).collect()
}
