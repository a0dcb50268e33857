//! Who may come to the node, and what it is called: keys, logins, the password, the name, networks.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::Word;
use crate::install::route::Range;
use crate::name::Label;

/// Keys of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// Where they come from.
    pub operator_pubkey: OperatorKey,
}

/// Where the keys of operators come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorKey {
    /// From the stick, if it has some.
    Esp,
    /// From the stick, which must have some.
    InjectAtFlash,
    /// A person writes them later.
    #[default]
    Manual,
}

/// Logins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The user in whose home they are written at the first boot.
    pub user: Word,
    /// The persona whose sealed credentials are written, too.
    pub persona: Option<Word>,
    /// That of GitHub.
    pub github: Github,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth { user: Word::zeta(), persona: None, github: Github::default() }
    }
}

/// The login of GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Github {
    /// How the node gets it.
    pub method: GithubMethod,
    /// The name of the sealed credentials on the stick.
    pub blob: String,
    /// Who opens them.
    pub passphrase: Passphrase,
    /// Where the token is.
    pub pat: Option<Secret>,
}

impl Default for Github {
    fn default() -> Github {
        let blob = crate::stick::CREDS_FILE.to_owned();
        Github { method: GithubMethod::Skip, blob, passphrase: Passphrase::Prompt, pat: None }
    }
}

/// How the node gets a login of GitHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GithubMethod {
    /// From the sealed credentials of the stick, at its first boot.
    BlobRestore,
    /// A person logs in, after its first boot.
    DeviceFlow,
    /// From a token.
    Pat,
    /// It gets none.
    Skip,
}

/// Who opens the sealed credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passphrase {
    /// A person, at the first boot. A passphrase beside them would be none.
    Prompt,
}

/// Where a secret is: never in the manifest itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A variable of the environment.
    Env(String),
    /// A file.
    File(String),
}

impl Secret {
    /// Reads `env:NAME` or `@FILE`.
    pub fn parse(text: &str) -> Option<Secret> {
        match (text.strip_prefix("env:"), text.strip_prefix('@')) {
            (Some(name), _) if !name.is_empty() => Some(Secret::Env(name.to_owned())),
            (_, Some(file)) if !file.is_empty() => Some(Secret::File(file.to_owned())),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        let rule = "a secret is named as \"env:NAME\" or \"@FILE\", and never written here";
        Secret::parse(&String::deserialize(from)?).ok_or_else(|| D::Error::custom(rule))
    }
}

/// The first password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// Where it comes from.
    pub source: PasswordSource,
    /// The variable that has it.
    pub env: Option<String>,
    /// The kind of its digest.
    #[serde(default)]
    pub hash: Hash,
}

/// Where the first password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordSource {
    /// A person types it.
    Prompt,
    /// From the environment.
    Env,
    /// It is made up, and shown once.
    Generate,
}

/// The kind of a digest of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// `$6$`, which the original's module reads.
    #[default]
    Sha512crypt,
    /// `$y$`.
    Yescrypt,
}

impl Hash {
    /// How such a digest begins.
    pub fn prefix(self) -> &'static str {
        match self {
            Hash::Sha512crypt => "$6$",
            Hash::Yescrypt => "$y$",
        }
    }

    /// The method that `mkpasswd` has for it.
    pub fn method(self) -> &'static str {
        match self {
            Hash::Sha512crypt => "sha-512",
            Hash::Yescrypt => "yescrypt",
        }
    }
}

/// The name of the node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hostname {
    /// Where it comes from.
    pub source: HostnameSource,
    /// The variable that has it.
    pub env: Option<String>,
    /// What one that is made up begins with.
    pub prefix: Label,
    /// It is a label of RFC 1123.
    pub rfc1123: bool,
}

impl Default for Hostname {
    fn default() -> Hostname {
        Hostname {
            source: HostnameSource::GeneratePrefix,
            env: None,
            prefix: node_prefix(),
            rfc1123: true,
        }
    }
}

fn node_prefix() -> Label {
    #[expect(clippy::expect_used, reason = "a constant, which a test reads")]
    Label::new("node", "node").expect("a label")
}

/// Where the name of the node comes from. A name that the node had before comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostnameSource {
    /// From the stick.
    Stick,
    /// A person types it.
    Prompt,
    /// From the environment.
    Env,
    /// It is made up: the prefix, and six hex digits.
    GeneratePrefix,
}

/// Networks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Wireless ones.
    pub wifi: Wifi,
    /// The ranges of addresses that the cluster uses.
    pub ranges: Vec<Range>,
}

/// Wireless networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wifi {
    /// The node gets those that the running system knows, with their passwords.
    pub persist_from_live_usb: bool,
}
