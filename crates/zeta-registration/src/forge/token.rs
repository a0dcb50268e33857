//! The sources of a forge's token, and a type that never prints it.
//!
//! The order is: the file that was named, the credential `forge-token` of a service
//! (`LoadCredential=`), the two variables in which `gh` looks for a token of this host, and the
//! output of `gh auth token`. A file has the token alone, or is the `hosts.yml` of `gh`: so the
//! login that a node restored needs no `gh`. The token never stands in an argument: every user of
//! a machine may read those.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::geteuid;
use zeroize::Zeroizing;
use zeta_core::creds::gh_hosts;
use zeta_os::command::{self, Failure};
use zeta_os::given_path;

use base64::Engine as _;

use super::ForgeError;
use crate::git::Header;

/// The time limit of `gh auth token`, which reads a file or asks a keyring.
const GH_LIMIT: Duration = Duration::from_secs(10);
/// No token is longer.
const MAX_BYTES: u64 = 4096;
/// No file with a token, or with the logins of gh, is longer.
const FILE_MAX: u64 = 64 << 10;
/// The variable with the directory of a service's credentials, which only the service can enter.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The credential that holds the token.
const CREDENTIAL: &str = "forge-token";
/// The variables for a host, in the order in which `gh` looks at them: a token of github.com goes
/// to no other server.
fn variables(host: &str) -> [&'static str; 2] {
    let host = host.to_ascii_lowercase();
    match host == "github.com" || host.ends_with(".ghe.com") {
        true => ["GH_TOKEN", "GITHUB_TOKEN"],
        false => ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"],
    }
}

/// A secret and where it was found. Nothing prints it, and its memory is cleared when it goes.
#[derive(Clone)]
pub struct Token {
    secret: Zeroizing<String>,
    source: String,
}

impl Token {
    /// A token that was found at `source`; refused if it could not be one.
    pub fn new(text: Zeroizing<String>, source: &str) -> Result<Token, ForgeError> {
        let secret = Zeroizing::new(text.trim().to_owned());
        let why = match secret.as_str() {
            "" => "is empty",
            some if some.len() as u64 > MAX_BYTES => "is longer than any token",
            some if !some.bytes().all(|b| b.is_ascii_graphic()) => {
                "holds more than one word, and no login of gh at this server"
            }
            _ => return Ok(Token { secret, source: source.to_owned() }),
        };
        Err(ForgeError::Unauthenticated(format!("the token in {source} {why}")))
    }

    /// The source of the token, for people.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The header by which git proves the same over HTTPS, to one host.
    pub fn header(&self, host: &str) -> Header {
        let pair = Zeroizing::new(format!("x-access-token:{}", self.secret.as_str()));
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
        Header { host: host.to_owned(), line: format!("Authorization: Basic {encoded}") }
    }

    /// The secret itself, for the one header that carries it.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(of {})", self.source)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token of {}", self.source)
    }
}

/// The places where a token may be.
pub struct Places<'a> {
    /// The file that was named; then nothing else is looked at.
    pub file: Option<&'a Path>,
    /// Reads a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The program `gh`.
    pub gh: &'a Path,
    /// The host that gets the token, with its port if that is not the usual one.
    pub host: &'a str,
}

/// Finds the token. A place that was named and is of no use is an error, and no other is tried.
pub fn find(places: &Places) -> Result<Token, ForgeError> {
    let service = (places.variable)(CREDENTIALS).filter(|dir| !dir.is_empty());
    let service = service.map(std::path::PathBuf::from);
    if let Some(path) = places.file {
        return of_file(path, service.as_deref(), places.host);
    }
    let credential = service.as_ref().map(|dir| dir.join(CREDENTIAL)).filter(|path| path.exists());
    if let Some(path) = credential {
        return of_file(&path, service.as_deref(), places.host);
    }
    for name in variables(places.host) {
        if let Some(value) = (places.variable)(name).filter(|value| !value.is_empty()) {
            return Token::new(Zeroizing::new(value), name);
        }
    }
    of_gh(places.gh, places.host)
}

/// Reads a file that only this user, or root, can read; a credential of this service lies in a
/// directory that is closed already, and its mode shows the mask of an ACL.
fn of_file(path: &Path, service: Option<&Path>, host: &str) -> Result<Token, ForgeError> {
    let named = given_path::shown(path);
    let fault = |why: String| ForgeError::Unauthenticated(format!("the token file: {named} {why}"));
    // What is no file may be the token itself, in the wrong place: it is not repeated.
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let why = "the token file is not there: give the path of a file that holds the token";
        return Err(ForgeError::Unauthenticated(why.to_owned()));
    }
    let mut options = std::fs::File::options();
    // Without O_NONBLOCK the open of a named pipe would never return.
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let file = options.read(true).custom_flags(flags.cast_signed()).open(path);
    let file = file.map_err(|error| fault(format!("cannot be opened: {error}")))?;
    let meta = file.metadata().map_err(|error| fault(format!("cannot be read: {error}")))?;
    if !meta.is_file() {
        return Err(fault("is not a regular file".to_owned()));
    }
    if meta.uid() != 0 && meta.uid() != geteuid().as_raw() {
        return Err(fault(format!("belongs to another user, uid {}", meta.uid())));
    }
    let credential = service.is_some_and(|dir| path.parent() == Some(dir));
    let others = if credential { 0o007 } else { 0o077 };
    if meta.mode() & others != 0 {
        let mode = meta.mode() & 0o777;
        return Err(fault(format!(
            "can be read by others, mode {mode:03o}, where 600 is right: replace the token, too"
        )));
    }
    let mut text = Zeroizing::new(String::with_capacity(FILE_MAX as usize + 2));
    let read = file.take(FILE_MAX + 2).read_to_string(&mut text);
    read.map_err(|error| fault(format!("cannot be read: {error}")))?;
    match gh_hosts::token_of(&text, name_of(host)) {
        Some(token) => Token::new(Zeroizing::new(token.to_owned()), &named),
        None => Token::new(text, &named),
    }
}

/// The name of a server without its port, by which alone 'gh' knows it.
fn name_of(host: &str) -> &str {
    let port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    host.rsplit_once(':').filter(|(_, end)| port(end)).map_or(host, |(name, _)| name)
}

fn of_gh(gh: &Path, host: &str) -> Result<Token, ForgeError> {
    let [first, second] = variables(host);
    let nobody = |why: &str| {
        ForgeError::Unauthenticated(format!(
            "no account is logged in at {host}: {why}; run 'gh auth login', set {first}, \
             or name a file that holds a token"
        ))
    };
    let mut command = Command::new(gh);
    command.args(["auth", "token", "--hostname", name_of(host)]);
    command.env("GH_PROMPT_DISABLED", "1").env("GH_NO_UPDATE_NOTIFIER", "1");
    let ended = match command::run(&mut command, b"", GH_LIMIT, MAX_BYTES as usize + 2) {
        Ok(ended) => ended,
        Err(Failure::NotStarted(error)) if error.kind() == ErrorKind::NotFound => {
            let why = format!("neither {first} nor {second} is set, and there is no 'gh'");
            return Err(nobody(&why));
        }
        Err(Failure::NotStarted(error)) => {
            return Err(nobody(&format!("'gh' cannot be started: {error}")));
        }
        Err(Failure::TimedOut | Failure::OutputOpen(_)) => {
            return Err(nobody("'gh auth token' did not end in time"));
        }
    };
    if !ended.status.success() {
        return Err(nobody("'gh auth token' has none"));
    }
    match std::str::from_utf8(&ended.output) {
        Ok(text) => Token::new(Zeroizing::new(text.to_owned()), "'gh auth token'"),
        Err(_) => Err(nobody("what 'gh auth token' printed cannot be read")),
    }
}
