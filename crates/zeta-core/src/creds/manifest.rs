//! Which credentials there are, where each lives, and what may be added to them.
//!
//! The first six are the original's. A machine can add its own, from files that root writes; those
//! come in as [`Extension`] and are checked as a whole: every fault is reported, not only the
//! first.

use serde::Deserialize;

/// Whose a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The machine's: one for all personas.
    Global,
    /// One persona's.
    Persona,
}

/// What a value must be, and with it where one may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Not blank.
    Text,
    /// A JSON object.
    Json,
    /// The `hosts.yml` of gh with a token in it.
    #[serde(skip)]
    GhHosts,
    /// A JSON object with something under one of these lists of keys, one key below the other: the
    /// file of a tool exists without a login, too.
    #[serde(skip)]
    Login(&'static [&'static [&'static str]]),
    /// Public keys of OpenSSH, as `authorized_keys` has them.
    PublicKey,
    /// A wireless network.
    Wifi,
    /// Made on the machine; it cannot be handed in.
    NeverBaked,
}

/// One kind of credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in a bundle and in arguments.
    pub id: String,
    /// Where it may live; the first is where its tool documents it today, and where it is written
    /// to if the blob remembers no other place. `~/` is the user's home.
    pub paths: Vec<String>,
    /// Whose it is.
    pub scope: Scope,
    /// A machine without it is not complete.
    pub required: bool,
    /// What a value must be.
    pub rule: Rule,
    /// Nobody but its owner may read it.
    pub secret: bool,
}

impl Entry {
    /// The permission bits of one of its files.
    pub fn mode(&self, path: &str) -> u32 {
        if self.secret && !path.ends_with(".pub") { 0o600 } else { 0o644 }
    }
}

/// Only below these is anything written. Each ends in a slash.
pub const ROOTS: [&str; 5] =
    ["~/", "/etc/zeta/", "/etc/ssh/", "/var/lib/zeta/", "/etc/NetworkManager/system-connections/"];

/// No more can be added.
const ADDED_MAX: usize = 64;
/// No more paths of one credential.
const PATHS_MAX: usize = 16;
/// No id is longer, in bytes.
const ID_MAX: usize = 64;
/// No path is longer, in bytes.
const PATH_MAX: usize = 1024;

type BuiltIn = (&'static str, &'static [&'static str], Scope, bool, Rule, bool);

/// Id, paths, scope, required, rule, secret.
const BUILT_IN: [BuiltIn; 9] = [
    ("gh-cli", &["~/.config/gh/hosts.yml"], Scope::Global, true, Rule::GhHosts, true),
    (
        "claude",
        // The original writes to the second one, where no Claude Code of today looks.
        &["~/.claude/.credentials.json", "~/.config/claude/credentials.json"],
        Scope::Persona,
        true,
        Rule::Login(&[&["claudeAiOauth", "accessToken"], &["claudeAiOauth", "refreshToken"]]),
        true,
    ),
    (
        "gemini",
        &["~/.gemini/oauth_creds.json"],
        Scope::Persona,
        true,
        Rule::Login(&[&["refresh_token"], &["access_token"]]),
        true,
    ),
    (
        "codex",
        &["~/.codex/auth.json"],
        Scope::Persona,
        true,
        Rule::Login(&[
            &["OPENAI_API_KEY"],
            &["tokens", "refresh_token"],
            &["tokens", "access_token"],
            &["personal_access_token"],
            &["agent_identity"],
            &["bedrock_api_key"],
            &["bedrock_access_keys"],
        ]),
        true,
    ),
    (
        "ssh-host-keys",
        &[
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssh/ssh_host_rsa_key.pub",
        ],
        Scope::Global,
        false,
        Rule::NeverBaked,
        true,
    ),
    (
        "ssh-operator-pubkey",
        &["/etc/zeta/operator-authorized-keys", "/etc/ssh/authorized_keys.d/zeta-operator"],
        Scope::Global,
        true,
        Rule::PublicKey,
        false,
    ),
    (
        "wifi",
        &["/etc/NetworkManager/system-connections/zeta-restored-wifi.nmconnection"],
        Scope::Global,
        false,
        Rule::Wifi,
        true,
    ),
    (
        "install-answers",
        &["/etc/zeta/install-answers.json"],
        Scope::Global,
        false,
        Rule::Json,
        true,
    ),
    (
        "self-registered-marker",
        &["~/.config/zeta/self-registered.marker", "/var/lib/zeta/self-registered.marker"],
        Scope::Global,
        false,
        Rule::Text,
        false,
    ),
];

/// All kinds of credentials that a machine knows. Ids are unique, and every path is below a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Default for Manifest {
    fn default() -> Manifest {
        let entry = |(id, paths, scope, required, rule, secret): BuiltIn| Entry {
            id: id.to_owned(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            scope,
            required,
            rule,
            secret,
        };
        Manifest { entries: BUILT_IN.into_iter().map(entry).collect() }
    }
}

impl Manifest {
    /// What is known of an id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// All entries: the built-in ones, and those that were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The manifest with the entries of a file added, or everything that is wrong with that file.
    pub fn with(&self, extension: Extension) -> Result<Manifest, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut whole = self.clone();
        if extension.schema_version != 1 {
            faults.push(Fault::Schema(extension.schema_version));
        }
        let added = self.entries.len() - BUILT_IN.len() + extension.credential.len();
        if extension.credential.is_empty() || added > ADDED_MAX {
            faults.push(Fault::Count(extension.credential.len()));
        }
        for (at, draft) in extension.credential.into_iter().enumerate() {
            whole.judge(at, &draft, &mut faults);
            whole.entries.push(Entry {
                id: draft.id,
                paths: draft.paths,
                scope: draft.scope,
                required: draft.required,
                rule: draft.rule,
                secret: draft.secret,
            });
        }
        if faults.is_empty() { Ok(whole) } else { Err(faults) }
    }

    fn judge(&self, at: usize, draft: &Draft, faults: &mut Vec<Fault>) {
        if !is_id(&draft.id) {
            faults.push(Fault::Id { at });
        } else if self.get(&draft.id).is_some() {
            faults.push(Fault::Twice { id: draft.id.clone() });
        }
        if draft.paths.is_empty() || draft.paths.len() > PATHS_MAX {
            faults.push(Fault::Paths { at, count: draft.paths.len() });
        }
        for (nth, path) in draft.paths.iter().enumerate() {
            if let Err(reason) = check_path(path) {
                faults.push(Fault::Path { at, nth, reason });
            }
            // Two credentials in one file would overwrite each other.
            let taken = self.entries.iter().find(|entry| entry.paths.contains(path));
            if let Some(entry) = taken {
                faults.push(Fault::PathTaken { at, nth, id: entry.id.clone() });
            }
        }
    }
}

/// A file of additions: `schema_version = 1` and `[[credential]]` tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// 1.
    pub schema_version: u64,
    /// At least one.
    pub credential: Vec<Draft>,
}

/// An entry that an administrator adds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Small letters, digits and `-`.
    pub id: String,
    /// Where it may live; the first is written to if the blob remembers no other place.
    pub paths: Vec<String>,
    /// Whose it is.
    pub scope: Scope,
    /// A machine without it is not complete.
    #[serde(default)]
    pub required: bool,
    /// What a value must be.
    pub rule: Rule,
    /// Nobody but its owner may read it; so it is unless the file says otherwise.
    #[serde(default = "yes")]
    pub secret: bool,
    /// For people.
    #[serde(default)]
    pub notes: Option<String>,
}

fn yes() -> bool {
    true
}

/// What is wrong with a file of additions. Tables and paths are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another schema.
    #[error("schema_version is {0} and must be 1")]
    Schema(u64),
    /// None, or too many.
    #[error("there are {0} credentials; 1 to {ADDED_MAX} can be added")]
    Count(usize),
    /// An id that could not be typed or distinguished.
    #[error("credential {at}: the id must be 1 to {ID_MAX} of a-z, 0-9 and '-', a letter first")]
    Id {
        /// Which table.
        at: usize,
    },
    /// An id that is there already.
    #[error("the id '{id}' is taken")]
    Twice {
        /// The id.
        id: String,
    },
    /// No paths, or too many.
    #[error("credential {at}: it has {count} paths; 1 to {PATHS_MAX} are possible")]
    Paths {
        /// Which table.
        at: usize,
        /// How many it has.
        count: usize,
    },
    /// A path where nothing may be written.
    #[error("credential {at}, path {nth}: {reason}")]
    Path {
        /// Which table.
        at: usize,
        /// Which path.
        nth: usize,
        /// What it is about.
        reason: BadPath,
    },
    /// A path of another credential.
    #[error("credential {at}, path {nth}: that file belongs to '{id}'")]
    PathTaken {
        /// Which table.
        at: usize,
        /// Which path.
        nth: usize,
        /// Whose it is.
        id: String,
    },
}

/// Why nothing may be written to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It is below none of [`ROOTS`].
    #[error("it is not below ~/, /etc/zeta/, /etc/ssh/, /var/lib/zeta/ or NetworkManager's place")]
    Root,
    /// It has `..`, `.` or an empty component.
    #[error("it has an empty component, '.' or '..'")]
    Component,
    /// It has a control character, or is too long.
    #[error("it has a control character or more than {PATH_MAX} bytes")]
    Text,
}

/// Returns whether a file may be written there. The writer follows no link in any case.
pub fn check_path(path: &str) -> Result<(), BadPath> {
    if path.len() > PATH_MAX || path.chars().any(crate::record::is_unprintable) {
        return Err(BadPath::Text);
    }
    let below = ROOTS.iter().find_map(|root| path.strip_prefix(root)).ok_or(BadPath::Root)?;
    let bad = |component: &str| matches!(component, "" | "." | "..");
    if below.split('/').any(bad) { Err(BadPath::Component) } else { Ok(()) }
}

fn is_id(id: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase();
    id.len() <= ID_MAX
        && id.bytes().next().is_some_and(letter)
        && id.bytes().all(|byte| letter(byte) || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests;
