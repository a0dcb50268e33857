//! What the node becomes: its cluster, its tools, its system, and what is said at the end.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::install::key::{self, Unset};

/// The cluster that the node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// How it registers itself.
    pub self_register: SelfRegister,
}

/// How the node registers itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelfRegister {
    /// After its first boot.
    pub post_install_first_boot: bool,
    /// It may be repeated. `zeta node register` is made so.
    pub idempotent: bool,
    /// It opens no second pull request. `zeta node register` is made so.
    pub dedup: bool,
    /// The repository of nodes, as `OWNER/NAME`.
    pub repository: Option<Slug>,
    /// The user of the forge that the node belongs to.
    pub maintainer: Option<Word>,
}

impl Default for SelfRegister {
    fn default() -> SelfRegister {
        SelfRegister {
            post_install_first_boot: false,
            idempotent: true,
            dedup: true,
            repository: None,
            maintainer: None,
        }
    }
}

macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $is:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes a text that keeps the rule.
            pub fn new(text: String) -> Option<$name> {
                let is: fn(&str) -> bool = $is;
                is(&text).then_some($name(text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                $name::new(String::deserialize(from)?).ok_or_else(|| D::Error::custom($rule))
            }
        }
    };
}

/// Returns whether a text begins with a letter or digit, and has only those and the others given.
fn is_word(text: &str, others: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

checked!(
    /// A user, or a persona: a word that systemd uses unchanged.
    Word,
    "a name has letters, digits and ._-, and begins with a letter or a digit",
    |text| is_word(text, "._-")
);

impl Word {
    /// The user of a node, unless the manifest names another one.
    pub(super) fn zeta() -> Word {
        Word("zeta".to_owned())
    }
}

checked!(
    /// A repository of a forge, as `OWNER/NAME`.
    Slug,
    "a repository is OWNER/NAME",
    |text| text.split_once('/').is_some_and(|(a, b)| is_word(a, "._-") && is_word(b, "._-"))
);
checked!(
    /// A runtime, as `NAME@VERSION` or `NAME`.
    Tool,
    "a runtime is NAME or NAME@VERSION, as in \"node@22\"",
    |text| match text.split_once('@') {
        Some((name, version)) => is_word(name, "._-") && is_word(version, "._-"),
        None => is_word(text, "._-"),
    }
);
checked!(
    /// A host of a flake.
    Host,
    "a host of a flake has letters, digits and -",
    |text| is_word(text, "-_")
);
checked!(
    /// A flag of `nixos-install`, or a value of one.
    Flag,
    "this flag of nixos-install is not known, or does what another step does: \
     see 'zeta schema file install-manifest'",
    |text| match text.strip_prefix("--") {
        Some(_) => FLAGS.contains(&text),
        None => is_word(text, "._-:/=+"),
    }
);

/// The flags of `nixos-install` that may be given.
pub const FLAGS: [&str; 10] = [
    "--impure",
    "--no-root-password",
    "--no-channel-copy",
    "--option",
    "--max-jobs",
    "--cores",
    "--show-trace",
    "--verbose",
    "--keep-going",
    "--print-build-logs",
];

/// An agent tool that the node gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cli {
    /// Claude Code.
    Claude,
    /// Gemini CLI.
    Gemini,
    /// Codex.
    Codex,
}

impl Cli {
    /// Its name among the tools of mise.
    pub fn package(self) -> &'static str {
        match self {
            Cli::Claude => "npm:@anthropic-ai/claude-code",
            Cli::Gemini => "npm:@google/gemini-cli",
            Cli::Codex => "npm:@openai/codex",
        }
    }
}

/// How the system is built.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Build {
    /// The host of the flake.
    pub flake: Option<Host>,
    /// Flags of `nixos-install`.
    pub flags: Vec<Flag>,
    /// Where built packages come from.
    pub cache: String,
}

impl Default for Build {
    fn default() -> Build {
        let value = |path: &str| match key::find(path).map(|key| key.unset) {
            Some(Unset::Default(text)) => text,
            _ => "",
        };
        let flags = serde_json::from_str(value("ace.nixos_install.flags")).unwrap_or_default();
        let cache = value("ace.nixos_install.cache").trim_matches('"').to_owned();
        Build { flake: None, flags, cache }
    }
}

/// What is said at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostInstall {
    /// The text.
    pub banner: Banner,
}

/// The text at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Banner {
    /// All of it, in which `{node}` and `{sections}` are replaced.
    pub template: Option<String>,
    /// Its parts.
    pub sections: Sections,
}

/// Parts of the text at the end, each shown if its condition is true.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sections {
    /// No key of an operator is on the node.
    pub key_missing: Option<String>,
    /// The password was made up.
    pub password_generated: Option<String>,
    /// A person has to log in to GitHub.
    pub github: Option<String>,
    /// The node registers itself after its first boot.
    pub registration: Option<String>,
}
