//! What a failure of git means, and what would help.
//!
//! Git has one exit status for most failures. What it says in a fixed form is read first: the
//! status lines of `push --porcelain`, and the end of its line about a status of HTTP. Then
//! sentences are read, in this file and nowhere else: those of git, in which everything between
//! quotes is dropped, because a name may hold any word; and those of the server, which git marks.
//! `LC_ALL=C` keeps the first in English.

use zeta_os::error::{Error, Kind};

/// The failure of a push.
#[derive(Debug)]
pub struct PushError {
    /// What happened.
    pub error: Error,
    /// What the server knows of it.
    pub effect: Effect,
}

/// What a server knows of a failed push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: git itself found that the branch is another one than expected.
    None,
    /// It refused the push.
    Refused,
    /// The push may have been carried out, and no answer came.
    Unknown,
}

/// What git printed before it failed.
pub(super) struct Said<'a> {
    /// To standard output: the status lines of a push.
    pub(super) output: &'a str,
    /// To standard error.
    pub(super) errors: &'a str,
}

impl Said<'_> {
    /// The reason in the status line of a branch that was not pushed.
    fn rejection(&self) -> Option<Rejection<'_>> {
        let line = self.output.lines().find_map(|line| line.strip_prefix("!\t"))?;
        let (_, summary) = line.split_once('\t')?;
        match summary.strip_prefix("[rejected] ") {
            Some(_) => Some(Rejection::ByGit),
            None => Some(Rejection::ByServer(summary)),
        }
    }

    /// The status of HTTP with which the server refused.
    fn http_status(&self) -> Option<u16> {
        let known = "The requested URL returned error: ";
        let mut ends =
            self.errors.lines().filter(|line| line.starts_with("fatal: unable to access"));
        ends.find_map(|line| line.rsplit_once(known)?.1.trim().parse().ok())
    }

    /// The sentences of the server.
    fn of_server(&self) -> Vec<&str> {
        self.errors.lines().filter_map(by_mark).collect()
    }

    /// The sentences of git and of ssh, without what stands between quotes.
    fn of_git(&self) -> Vec<String> {
        self.errors.lines().filter(|line| by_mark(line).is_none()).map(unquoted).collect()
    }
}

enum Rejection<'a> {
    ByGit,
    ByServer(&'a str),
}

/// The sentence of a server, as git marks it, or as a server itself does over ssh.
fn by_mark(line: &str) -> Option<&str> {
    line.strip_prefix("remote: ").or_else(|| line.strip_prefix("ERROR: "))
}

/// A line without what stands between single quotes. A quote may stand in a name, so all between
/// the first and the last one goes.
fn unquoted(line: &str) -> String {
    match (line.find('\''), line.rfind('\'')) {
        (Some(first), Some(last)) if first < last => {
            let (before, after) = (line.get(..first), line.get(last + 1..));
            format!("{}{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ => line.to_owned(),
    }
}

const RETRY: &str = "nothing was decided; try again";
const LOGIN: &str = "log in: 'gh auth login', or give --token-file; for git alone: a credential \
                     helper, or a key of ssh";
const NO_WRITE: &str =
    "this account may not push there: ask for write access, or use --fork OWNER/NAME";
const NOT_WRITABLE: &str = "the repository cannot be written: this user may not, its disk is full, \
                            or read-only (in a unit: ReadWritePaths=)";
const NOT_FOUND: &str = "is the address right, and may this account see it?";

/// Judges a failure: the kind of the error, and the next step.
pub(super) fn judge(said: &Said<'_>) -> (Kind, &'static str) {
    let rejection = said.rejection();
    if let Some(Rejection::ByGit) = rejection {
        let hint = "another process changed the branch meanwhile: try again";
        return (Kind::Refused, hint);
    }
    by_server(&said.of_server())
        .or_else(|| match rejection {
            Some(Rejection::ByServer(summary)) => Some(by_summary(summary)),
            _ => None,
        })
        .or_else(|| by_status(said.http_status()?))
        .or_else(|| by_git(&said.of_git()))
        .unwrap_or((Kind::Fault, RETRY))
}

/// By the sentences of a forge.
fn by_server(lines: &[&str]) -> Option<(Kind, &'static str)> {
    let has =
        |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    let begins = |words: &str| lines.iter().any(|line| line.starts_with(words));
    Some(match () {
        () if has(&["GH006"]) || has(&["GH013"]) || has(&["protected branch"]) => {
            (Kind::Unsafe, "the branch is protected: let this account push to 'register-node-*'")
        }
        () if has(&["archived"]) => {
            (Kind::Unsafe, "the repository is archived: only its owner can open it again")
        }
        () if has(&["suspended"]) || has(&["locked"]) => {
            (Kind::Unsafe, "ask the forge about the account or the repository that it names")
        }
        () if has(&["SAML"]) || has(&["SSO"]) => {
            (Kind::Unsafe, "authorise the token for this organisation on the forge's page")
        }
        () if has(&["Permission to ", " denied to "]) || begins("Write access to") => {
            (Kind::Unsafe, NO_WRITE)
        }
        () if begins("Repository not found") => (Kind::NotFound, NOT_FOUND),
        () if has(&["Read-only file system"]) || has(&["Permission denied"]) => {
            (Kind::Unsafe, NOT_WRITABLE)
        }
        () => return None,
    })
}

/// By the reason that the server gave for one branch.
fn by_summary(summary: &str) -> (Kind, &'static str) {
    let has = |words: &str| summary.contains(words);
    match () {
        () if has("hook declined") || has("not permitted") || has("prohibited") => {
            (Kind::Unsafe, "the server's rules forbid it: its words above say why")
        }
        () if has("unpacker error") => (Kind::Unsafe, NOT_WRITABLE),
        () if has("failed to update ref") || has("cannot lock ref") => {
            (Kind::Fault, "another push was at work there: try again")
        }
        () => (Kind::Fault, RETRY),
    }
}

/// By the status of HTTP.
fn by_status(status: u16) -> Option<(Kind, &'static str)> {
    Some(match status {
        401 => (Kind::Unsafe, LOGIN),
        403 => (Kind::Unsafe, NO_WRITE),
        404 | 410 => (Kind::NotFound, NOT_FOUND),
        _ => return None,
    })
}

/// By the sentences of git and of ssh.
fn by_git(lines: &[String]) -> Option<(Kind, &'static str)> {
    let has =
        |words: &[&str]| words.iter().any(|word| lines.iter().any(|line| line.contains(word)));
    Some(match () {
        () if has(&[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "Permission denied (",
        ]) =>
        {
            (Kind::Unsafe, LOGIN)
        }
        () if has(&["Host key verification failed"]) => {
            (Kind::Unsafe, "connect there once with ssh, to see and accept its host key")
        }
        () if has(&["certificate"]) => (
            Kind::Unsafe,
            "GIT_SSL_CAINFO, or http.sslCAInfo of git, names the certificates to trust",
        ),
        () if has(&["does not appear to be a git", "repository  not found"]) => {
            (Kind::NotFound, NOT_FOUND)
        }
        () if has(&["dubious ownership"]) => (
            Kind::Unsafe,
            "the repository belongs to another user; if you trust it: git config --global --add \
             safe.directory PATH",
        ),
        () if has(&[
            "not allowed",
            "blocked",
            "bad repository",
            "unable to find remote helper",
        ]) =>
        {
            (Kind::Unsafe, "give an address by https, ssh or git, or a path of this machine")
        }
        () if has(&["Couldn't find remote ref", "couldn't find remote ref"]) => {
            (Kind::NotFound, "the branch is not there: is --base right?")
        }
        () if has(&["No space left on device", "Disk quota exceeded"]) => {
            (Kind::Fault, "the disk with the temporary files (TMPDIR) is full")
        }
        () => return None,
    })
}

/// What the server knows of a push that failed.
pub(super) fn effect(said: &Said<'_>, kind: Kind) -> Effect {
    match said.rejection() {
        Some(Rejection::ByGit) => Effect::None,
        Some(Rejection::ByServer(_)) => Effect::Refused,
        None if matches!(kind, Kind::Unsafe | Kind::NotFound) => Effect::Refused,
        None => Effect::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(output: &str, errors: &str) -> (Kind, Effect) {
        let said = Said { output, errors };
        let (kind, _) = judge(&said);
        (kind, effect(&said, kind))
    }

    #[test]
    fn a_number_or_a_word_in_a_name_decides_nothing() {
        let gone = "fatal: 'x' does not appear to be a git repository\n";
        for name in ["abc", "none-403", "401", "it's Authentication failed", "blocked' [rejected]"]
        {
            let text = gone.replace("'x'", &format!("'/tmp/{name}.git'"));
            assert_eq!(kind("", &text).0, Kind::NotFound, "{name}");
        }
        let stale = "To /srv/403\n!\tabc:refs/heads/x\t[rejected] (stale info)\nDone\n";
        let told = "error: failed to push some refs to '/srv/a-401'\n";
        assert_eq!(kind(stale, told), (Kind::Refused, Effect::None));
        let end = "fatal: unable to access 'https://h/403/': Could not resolve host: h\n";
        assert_eq!(kind("", end), (Kind::Fault, Effect::Unknown));
    }

    #[test]
    fn what_git_and_servers_say_in_a_fixed_form_is_told_apart() {
        let http = |status: u16| {
            format!(
                "fatal: unable to access 'https://h/r/': The requested URL returned error: {status}\n"
            )
        };
        for (status, want) in [
            (401, (Kind::Unsafe, Effect::Refused)),
            (403, (Kind::Unsafe, Effect::Refused)),
            (404, (Kind::NotFound, Effect::Refused)),
            (502, (Kind::Fault, Effect::Unknown)),
        ] {
            assert_eq!(kind("", &http(status)), want, "{status}");
        }
        let hook = "!\ta:refs/heads/b\t[remote rejected] (pre-receive hook declined)\n";
        for (errors, words) in [
            ("remote: no way\n", "rules"),
            ("remote: Permission to o/r.git denied to me.\n", "--fork"),
            ("remote: error: GH006: Protected branch update failed\n", "protected"),
            ("remote: This repository was archived so it is read-only.\n", "archived"),
            ("remote: fatal: Unable to create 'x': Read-only file system\n", "ReadWritePaths"),
        ] {
            let said = Said { output: hook, errors };
            let (kind, hint) = judge(&said);
            assert_eq!((kind, effect(&said, kind)), (Kind::Unsafe, Effect::Refused), "{errors}");
            assert!(hint.contains(words), "{errors}: {hint}");
        }
        let unpack = "!\ta:refs/heads/b\t[remote rejected] (unpacker error)\n";
        assert!(judge(&Said { output: unpack, errors: "" }).1.contains("ReadWritePaths"));
        let ssh = "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n";
        assert_eq!(kind("", ssh).0, Kind::NotFound);
        let key = "git@h: Permission denied (publickey).\n";
        assert_eq!(kind("", key).0, Kind::Unsafe);
        assert_eq!(kind("", "fatal: the remote end hung up unexpectedly\n").1, Effect::Unknown);
    }
}
