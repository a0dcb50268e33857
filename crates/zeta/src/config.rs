//! The configuration files: the machine's, then the user's. A wrong key is an error, never ignored.
//!
//! A file that does not exist costs one failing open. The variables `ZETA_*` and the flags take
//! precedence over the files; `environment` applies them.

mod signature;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use serde::Deserialize;
use zeta_core::hook::mail::MailRule;
use zeta_core::hook::{Rule, Rules};
use zeta_core::name::Label;
use zeta_core::signature::Key;
use zeta_core::time::{TimeError, parse_duration, parse_ttl};

use zeta_cluster::{AddressError, Follow, Monitors, Servers};
use zeta_os::error::{Error, Kind, Result};

pub use self::signature::Signature;

/// The machine's file.
pub const SYSTEM_FILE: &str = "/etc/zeta/config.toml";
/// The user's file, below `$XDG_CONFIG_HOME` or `~/.config`.
pub const USER_FILE: &str = "zeta/config.toml";
/// The size limit of a file, in bytes.
const BYTES_MAX: u64 = 64 * 1024;

const KEYS: [&str; 27] = [
    "state_dir",
    "node",
    "agent",
    "ttl",
    "beat_every",
    "hook_edit",
    "hook_commit",
    "hook_push",
    "hook_mail",
    "cluster_server",
    "cluster_credentials",
    "cluster_monitor",
    "cluster_dir",
    "cluster_follow",
    "lease_scope",
    "claim_scope",
    "cluster_ca",
    "cluster_cert",
    "cluster_key",
    "signature_repository",
    "signature_branch",
    "signature_runtime",
    "signature_model",
    "signature_identity",
    "signature_credential_mode",
    "signature_action_mode",
    "signature_co_authors",
];

/// The values of the files, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The state directory.
    pub state_dir: Option<PathBuf>,
    /// The node to work on.
    pub node: Option<Label>,
    /// The agent that calls.
    pub agent: Option<Label>,
    /// The default TTL of `zeta lease acquire`.
    pub ttl_ms: Option<u64>,
    /// The time between beats.
    pub beat_every_ms: Option<u64>,
    /// What hooks do about a path that another agent claimed.
    pub hook_edit: Option<Rule>,
    /// What they do about a commit to a branch that another agent claimed.
    pub hook_commit: Option<Rule>,
    /// What they do about a push of such a branch.
    pub hook_push: Option<Rule>,
    /// What hooks do about unread messages.
    pub hook_mail: Option<MailRule>,
    /// The servers of the cluster.
    pub cluster_server: Option<Servers>,
    /// The file with the login there.
    pub cluster_credentials: Option<PathBuf>,
    /// The monitoring ports of the servers.
    pub cluster_monitor: Option<Monitors>,
    /// The directory with the identity of this node in its cluster.
    pub cluster_dir: Option<PathBuf>,
    /// What the bridge follows of other nodes.
    pub cluster_follow: Option<Follow>,
    /// The scope of leases that name none.
    pub lease_scope: Option<Scope>,
    /// The scope of claims that name none.
    pub claim_scope: Option<Scope>,
    /// The certificates that are trusted there.
    pub cluster_ca: Option<PathBuf>,
    /// The certificate of this client.
    pub cluster_cert: Option<PathBuf>,
    /// The key of that certificate.
    pub cluster_key: Option<PathBuf>,
    /// What is about signed commits.
    pub signature: Signature,
}

/// Among which processes a lease has one holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of this node.
    Node,
    /// Those of all nodes of the cluster.
    Cluster,
}

impl FromStr for Scope {
    type Err = &'static str;
    fn from_str(word: &str) -> std::result::Result<Scope, &'static str> {
        match word {
            "node" => Ok(Scope::Node),
            "cluster" => Ok(Scope::Cluster),
            _ => Err("a scope is node or cluster"),
        }
    }
}

/// One file as written. Each value keeps its position, so that an error can name the line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    state_dir: Option<toml::Spanned<String>>,
    node: Option<toml::Spanned<String>>,
    agent: Option<toml::Spanned<String>>,
    ttl: Option<toml::Spanned<String>>,
    beat_every: Option<toml::Spanned<String>>,
    hook_edit: Option<toml::Spanned<String>>,
    hook_commit: Option<toml::Spanned<String>>,
    hook_push: Option<toml::Spanned<String>>,
    hook_mail: Option<toml::Spanned<String>>,
    cluster_server: Option<toml::Spanned<String>>,
    cluster_credentials: Option<toml::Spanned<String>>,
    cluster_monitor: Option<toml::Spanned<String>>,
    cluster_ca: Option<toml::Spanned<String>>,
    cluster_cert: Option<toml::Spanned<String>>,
    cluster_key: Option<toml::Spanned<String>>,
    cluster_dir: Option<toml::Spanned<String>>,
    cluster_follow: Option<toml::Spanned<String>>,
    lease_scope: Option<toml::Spanned<String>>,
    claim_scope: Option<toml::Spanned<String>>,
    signature_repository: Option<toml::Spanned<String>>,
    signature_branch: Option<toml::Spanned<String>>,
    signature_runtime: Option<toml::Spanned<String>>,
    signature_model: Option<toml::Spanned<String>>,
    signature_identity: Option<toml::Spanned<String>>,
    signature_credential_mode: Option<toml::Spanned<String>>,
    signature_action_mode: Option<toml::Spanned<String>>,
    signature_co_authors: Option<toml::Spanned<String>>,
}

impl Config {
    /// Reads the machine's file, then the user's.
    ///
    /// # Errors
    /// An error that names the file, the line and the correct form.
    pub fn load() -> Result<Config> {
        let system = Config::read(Path::new(SYSTEM_FILE))?;
        match user_file() {
            Some(path) => Ok(Config::read(&path)?.over(system)),
            None => Ok(system),
        }
    }

    /// Reads the files for a caller that goes on without what is broken: of a broken file, each
    /// line counts that is right alone. Returns the first error, too.
    pub fn load_usable() -> (Config, Option<Error>) {
        let (mut all, mut first) = (Config::default(), None);
        for path in [Some(PathBuf::from(SYSTEM_FILE)), user_file()].into_iter().flatten() {
            let config = Config::read(&path).unwrap_or_else(|error| {
                first.get_or_insert(error);
                right_lines(&read_file(&path).ok().flatten().unwrap_or_default(), &path)
            });
            all = config.over(all);
        }
        (all, first)
    }

    fn read(path: &Path) -> Result<Config> {
        match read_file(path)? {
            Some(text) => parse(&text, path),
            None => Ok(Config::default()),
        }
    }

    fn over(self, below: Config) -> Config {
        Config {
            state_dir: self.state_dir.or(below.state_dir),
            node: self.node.or(below.node),
            agent: self.agent.or(below.agent),
            ttl_ms: self.ttl_ms.or(below.ttl_ms),
            beat_every_ms: self.beat_every_ms.or(below.beat_every_ms),
            hook_edit: self.hook_edit.or(below.hook_edit),
            hook_commit: self.hook_commit.or(below.hook_commit),
            hook_push: self.hook_push.or(below.hook_push),
            hook_mail: self.hook_mail.or(below.hook_mail),
            cluster_server: self.cluster_server.or(below.cluster_server),
            cluster_credentials: self.cluster_credentials.or(below.cluster_credentials),
            cluster_monitor: self.cluster_monitor.or(below.cluster_monitor),
            cluster_ca: self.cluster_ca.or(below.cluster_ca),
            cluster_cert: self.cluster_cert.or(below.cluster_cert),
            cluster_key: self.cluster_key.or(below.cluster_key),
            cluster_dir: self.cluster_dir.or(below.cluster_dir),
            cluster_follow: self.cluster_follow.or(below.cluster_follow),
            lease_scope: self.lease_scope.or(below.lease_scope),
            claim_scope: self.claim_scope.or(below.claim_scope),
            signature: self.signature.over(below.signature),
        }
    }

    /// Returns the rules of the hooks.
    pub fn hook_rules(&self) -> Rules {
        let Rules { edit, commit, push } = Rules::default();
        Rules {
            edit: self.hook_edit.unwrap_or(edit),
            commit: self.hook_commit.unwrap_or(commit),
            push: self.hook_push.unwrap_or(push),
        }
    }
}

fn right_lines(text: &str, path: &Path) -> Config {
    let lines = text.lines().filter_map(|line| parse(line, path).ok());
    lines.fold(Config::default(), |above, line| line.over(above))
}

/// The file of the user.
pub(crate) fn user_file() -> Option<PathBuf> {
    // As the XDG standard says: a relative path in the variable is ignored.
    let xdg = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let dir = xdg.or_else(|| Some(home()?.join(".config")))?;
    Some(dir.join(USER_FILE))
}

fn read_file(path: &Path) -> Result<Option<String>> {
    use std::io::Read as _;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // A home that this user may not search holds no configuration of this user.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(None),
        Err(errno) => return Err(Error::io("cannot open", path, errno)),
    };
    let mut bytes = Vec::new();
    let wrong = |reason: &str| broken(format!("{}: {reason}", path.display()));
    std::fs::File::from(fd)
        .take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(wrong("a configuration file has at most 64 KiB"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("it is not UTF-8 text"))
}

fn parse(text: &str, path: &Path) -> Result<Config> {
    let mut raw: Raw = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
    let signature = parse_signature(&mut raw, text, path)?;
    Ok(Config { signature, ..parse_raw(raw, text, path)? })
}

/// Checks all keys but those about signed commits.
fn parse_raw(raw: Raw, text: &str, path: &Path) -> Result<Config> {
    let at =
        |span: std::ops::Range<usize>| format!("{}:{}", path.display(), line(text, span.start));
    let wrong_name = |span, error| broken(format!("{}: {error}", at(span)));
    let label = |kind, value: Option<toml::Spanned<String>>| {
        value
            .map(|v| Label::new(kind, v.get_ref()).map_err(|e| wrong_name(v.span(), e)))
            .transpose()
    };
    let time = |read: fn(&str) -> std::result::Result<u64, TimeError>,
                value: Option<toml::Spanned<String>>| {
        let wrong = |span, error| broken(format!("{}: {error}", at(span)));
        value.map(|v| read(v.get_ref()).map_err(|e| wrong(v.span(), e))).transpose()
    };
    let wrong_word = |key: &str, span, text: &str, rule: &str| {
        broken(format!("{}: {key} {text:?} is not valid: {rule}", at(span)))
    };
    let rule = |key: &str, value: Option<toml::Spanned<String>>| {
        let wrong = |v: &toml::Spanned<String>, e| wrong_word(key, v.span(), v.get_ref(), e);
        value.map(|v| v.get_ref().parse().map_err(|e| wrong(&v, e))).transpose()
    };
    let scope = |key: &str, value: Option<toml::Spanned<String>>| {
        let wrong = |v: &toml::Spanned<String>, e| wrong_word(key, v.span(), v.get_ref(), e);
        value.map(|v| v.get_ref().parse().map_err(|e| wrong(&v, e))).transpose()
    };
    let mail = |v: toml::Spanned<String>| {
        v.get_ref().parse().map_err(|e| wrong_word("hook_mail", v.span(), v.get_ref(), e))
    };
    let absolute = |key: &str, value: Option<toml::Spanned<String>>| match value {
        Some(path) if !Path::new(path.get_ref()).is_absolute() => {
            Err(wrong_word(key, path.span(), path.get_ref(), "give an absolute path"))
        }
        path => Ok(path.map(|path| PathBuf::from(path.into_inner()))),
    };
    // A wrong address may have a login in it.
    let wrong_address = |key: &str, span, rule: AddressError| {
        broken(format!("{}: {key} is not valid: {rule}", at(span)))
    };
    let servers = |v: toml::Spanned<String>| {
        v.get_ref().parse().map_err(|rule| wrong_address("cluster_server", v.span(), rule))
    };
    let monitors = |v: toml::Spanned<String>| {
        v.get_ref().parse().map_err(|rule| wrong_address("cluster_monitor", v.span(), rule))
    };
    let follow = |v: toml::Spanned<String>| {
        v.get_ref().parse().map_err(|e| wrong_word("cluster_follow", v.span(), v.get_ref(), e))
    };
    Ok(Config {
        state_dir: absolute("state_dir", raw.state_dir)?,
        node: label("node", raw.node)?,
        agent: label("agent", raw.agent)?,
        ttl_ms: time(parse_ttl, raw.ttl)?,
        beat_every_ms: time(beat_every, raw.beat_every)?,
        hook_edit: rule("hook_edit", raw.hook_edit)?,
        hook_commit: rule("hook_commit", raw.hook_commit)?,
        hook_push: rule("hook_push", raw.hook_push)?,
        hook_mail: raw.hook_mail.map(mail).transpose()?,
        cluster_server: raw.cluster_server.map(servers).transpose()?,
        cluster_credentials: absolute("cluster_credentials", raw.cluster_credentials)?,
        cluster_monitor: raw.cluster_monitor.map(monitors).transpose()?,
        cluster_ca: absolute("cluster_ca", raw.cluster_ca)?,
        cluster_cert: absolute("cluster_cert", raw.cluster_cert)?,
        cluster_key: absolute("cluster_key", raw.cluster_key)?,
        cluster_dir: absolute("cluster_dir", raw.cluster_dir)?,
        cluster_follow: raw.cluster_follow.map(follow).transpose()?,
        lease_scope: scope("lease_scope", raw.lease_scope)?,
        claim_scope: scope("claim_scope", raw.claim_scope)?,
        signature: Signature::default(),
    })
}

/// Takes the keys about signed commits out of a file.
fn parse_signature(raw: &mut Raw, text: &str, path: &Path) -> Result<Signature> {
    type Value = Option<toml::Spanned<String>>;
    let checked =
        |key: &str, value: Value, check: &dyn Fn(&str) -> std::result::Result<String, String>| {
            let wrong = |value: &toml::Spanned<String>, rule: String| {
                let at = format!("{}:{}", path.display(), line(text, value.span().start));
                broken(format!("{at}: {key} {:?} is not valid: {rule}", value.get_ref()))
            };
            value.map(|v| check(v.get_ref()).map_err(|rule| wrong(&v, rule))).transpose()
        };
    let word = |key| move |value: &str| signature::word_of(key, value);
    let plain = |value: Value| value.map(toml::Spanned::into_inner);
    let (mode, action) = (raw.signature_credential_mode.take(), raw.signature_action_mode.take());
    let (repository, rows) = (raw.signature_repository.take(), raw.signature_co_authors.take());
    let repository = checked("signature_repository", repository, &signature::absolute)?;
    Ok(Signature {
        repository: repository.map(PathBuf::from),
        branch: plain(raw.signature_branch.take()),
        runtime: plain(raw.signature_runtime.take()),
        model: plain(raw.signature_model.take()),
        identity: plain(raw.signature_identity.take()),
        credential_mode: checked("signature_credential_mode", mode, &word(Key::CredentialMode))?,
        action_mode: checked("signature_action_mode", action, &word(Key::ActionMode))?,
        co_authors: checked("signature_co_authors", rows, &signature::rows_of)?,
    })
}

/// What is broken is not a word of this call, but what every call depends on.
fn broken(text: impl Into<String>) -> Error {
    Error::new(Kind::Unsafe, text)
}

fn beat_every(text: &str) -> std::result::Result<u64, TimeError> {
    let rule = "a beat comes every 100ms to 1h, as in 10s";
    match parse_duration("beat_every", text)? {
        ms @ 100..=3_600_000 => Ok(ms),
        _ => Err(TimeError { what: "beat_every", text: text.to_owned(), rule }),
    }
}

/// Makes an error of one sentence: the file, the line, and the correct form.
fn explain(error: &toml::de::Error, text: &str, path: &Path) -> Error {
    let span = error.span().unwrap_or_default();
    let at = format!("{}:{}", path.display(), line(text, span.start));
    // The key is in serde's sentence only: the parser's error has no field for it.
    let unknown = error.message().strip_prefix("unknown field `").and_then(|m| m.split_once('`'));
    match unknown {
        Some((key, _)) => {
            broken(format!("{at}: unknown key {key:?}; did you mean {:?}?", nearest(key)))
                .hint(format!("the keys are {}", KEYS.join(", ")))
        }
        None => {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            broken(format!("{at}: {message}")).hint("a line is key = \"text\", as in ttl = \"10m\"")
        }
    }
}

fn nearest(key: &str) -> &'static str {
    let distance = |known: &&&str| (strsim::jaro(key, known) * -1000.0) as i64;
    KEYS.iter().min_by_key(|known| distance(known)).copied().unwrap_or("state_dir")
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text, Path::new("/c.toml")).unwrap_err().text
    }

    #[test]
    fn the_user_s_file_is_over_the_machine_s() {
        let read = |text| parse(text, Path::new("/c.toml")).unwrap();
        let both = read("ttl = \"5m\"").over(read("ttl = \"1m\"\nagent = \"otto\""));
        assert_eq!(both.ttl_ms, Some(300_000));
        assert_eq!(both.agent.unwrap().as_str(), "otto");
    }

    #[test]
    fn of_a_broken_file_each_line_counts_that_is_right_alone() {
        let right = "hook_commit = \"off\"\nagent = \"otto\"";
        let off = Config {
            agent: Some(Label::new("agent", "otto").unwrap()),
            hook_commit: Some(Rule::Off),
            ..Config::default()
        };
        for wrong in ["hook_edit = \"refsue\"", "hook_edt = \"off\"", "[x", "hook_edit = off"] {
            for text in [format!("{wrong}\n{right}"), format!("{right}\n{wrong}\n")] {
                let path = Path::new("/c.toml");
                assert!(parse(&text, path).is_err());
                assert_eq!(right_lines(&text, path), off, "{text}");
            }
        }
    }

    #[test]
    fn every_error_names_file_line_and_what_would_be_right() {
        for (text, parts) in [
            ("node = \"a\"\nstate-dir = \"/x\"", ["/c.toml:2", "\"state-dir\"", "\"state_dir\""]),
            ("tll = \"1m\"", ["/c.toml:1", "\"tll\"", "\"ttl\""]),
            ("\n[beat]\nevery = 1", ["/c.toml:2", "\"beat\"", "\"beat_every\""]),
            ("\n\nttl = \"10 parsecs\"", ["/c.toml:3", "10 parsecs", "30s"]),
            ("ttl = 5", ["/c.toml:1", "invalid type", "string"]),
            ("node = \"A B\"", ["/c.toml:1", "node name", "RFC 1123"]),
            ("state_dir = \"x\"", ["/c.toml:1", "state_dir", "absolute"]),
            ("beat_every = \"0s\"", ["/c.toml:1", "beat_every", "10s"]),
            ("agent = otto", ["/c.toml:1", "", ""]),
            ("hook_edit = \"ask\"", ["/c.toml:1", "hook_edit", "refuse, warn or off"]),
            ("hook_mail = \"on\"", ["/c.toml:1", "hook_mail", "deliver, count or off"]),
            ("cluster_server = \"http://a\"", ["/c.toml:1", "cluster_server", "nats://"]),
            ("cluster_server = \"nats://a:b@c\"", ["/c.toml:1", "login", "file"]),
            ("cluster_monitor = \"a:1\"", ["/c.toml:1", "cluster_monitor", "http://"]),
            ("cluster_credentials = \"x\"", ["/c.toml:1", "cluster_credentials", "absolute"]),
            ("cluster_dir = \"x\"", ["/c.toml:1", "cluster_dir", "absolute"]),
            ("cluster_follow = \"a b\"", ["/c.toml:1", "cluster_follow", "records"]),
            ("cluster_key = \"x\"", ["/c.toml:1", "cluster_key", "absolute"]),
            ("signature_repository = \"x\"", ["/c.toml:1", "signature_repository", "absolute"]),
            ("signature_action_mode = \"x\"", ["/c.toml:1", "action_mode", "supervised"]),
            ("signature_co_authors = \"x\"", ["/c.toml:1", "signature_co_authors", "address"]),
            ("node = \"a\"\nnode = \"b\"", ["/c.toml:2", "duplicate", ""]),
        ] {
            let message = message(text);
            for part in parts {
                assert!(message.contains(part), "{text:?}: {message:?} has no {part:?}");
            }
        }
    }
}
