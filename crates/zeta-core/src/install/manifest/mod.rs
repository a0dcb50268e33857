//! The values of a manifest: what the operator declares of a node before it is installed.

mod disks;
mod node;
mod system;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

pub use self::disks::*;
pub use self::node::*;
pub use self::system::*;
use crate::record::is_unprintable;

/// The version of manifests that this program reads.
pub const SCHEMA: u64 = 1;

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its version.
    pub schema: u64,
    /// All inputs, under the name that the original gave its format.
    pub ace: Ace,
}

/// The twelve kinds of input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ace {
    /// Which disks are looked at.
    #[serde(default)]
    pub discovery: Discovery,
    /// Which of them are used.
    pub disks: Disks,
    /// What is made on them.
    #[serde(default)]
    pub partitions: Partitions,
    /// With which file systems.
    #[serde(default)]
    pub filesystems: Filesystems,
    /// The repository with the system's configuration: an address, or a directory.
    pub source: String,
    /// The commit that it must have.
    #[serde(default, deserialize_with = "commit")]
    pub source_commit: Option<String>,
    /// Keys of operators.
    #[serde(default)]
    pub ssh: Ssh,
    /// Logins.
    #[serde(default)]
    pub auth: Auth,
    /// The first password.
    pub initial_password: Password,
    /// The name of the node.
    #[serde(default)]
    pub hostname: Hostname,
    /// Networks.
    #[serde(default)]
    pub network: Network,
    /// The cluster that the node belongs to.
    #[serde(default)]
    pub cluster: Cluster,
    /// Runtimes, each as `NAME@VERSION` or `NAME`.
    #[serde(default)]
    pub runtimes: Vec<Tool>,
    /// Agent tools.
    #[serde(default)]
    pub cli_install: Vec<Cli>,
    /// Repositories that are cloned for the user.
    #[serde(default)]
    pub user_repos: Vec<String>,
    /// How the system is built.
    #[serde(default)]
    pub nixos_install: Build,
    /// What is said at the end.
    #[serde(default)]
    pub post_install: PostInstall,
}

fn commit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match text.len() == 40 && is_hex {
        true => Ok(Some(text)),
        false => Err(D::Error::custom("a commit has 40 hex digits in small letters")),
    }
}

/// What is wrong with an address.
const ADDRESS: &str = "this is no address, or there is a secret in it, which all can see";

/// Returns whether a text can be the address of a repository or a server: no option, nothing that
/// speaks to a terminal, and no secret.
fn is_address(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = host.rsplit_once('@').map(|(user, _)| user);
    // A server of the web takes a token for the user; to others, a name alone is none.
    let is_secret = |user: &str| scheme.starts_with("http") || user.contains(':');
    let is_plain = !text.is_empty() && !text.starts_with('-') && !text.contains(is_unprintable);
    is_plain && !user.is_some_and(is_secret)
}

/// The name of the directory of a clone; none if the address has no such name.
pub fn clone_name(source: &str) -> Option<&str> {
    let name = source.trim_end_matches('/').rsplit(['/', ':']).next()?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!["", ".", ".."].contains(&name)).then_some(name)
}

/// Whether a rule is broken, the key that it is about, and what is wrong then.
type Rule = (bool, &'static str, &'static str);

/// Something that is wrong with a manifest as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key that it is about.
    pub key: &'static str,
    /// What is wrong.
    pub text: &'static str,
}

impl Manifest {
    /// What is wrong, although each value alone is right.
    pub fn problems(&self) -> Vec<Problem> {
        let wrong = self.of_disks().into_iter().chain(self.of_node());
        let wrong = wrong.filter(|(is_wrong, _, _)| *is_wrong);
        wrong.map(|(_, key, text)| Problem { key, text }).collect()
    }

    fn of_disks(&self) -> Vec<Rule> {
        let ace = &self.ace;
        let boot = &ace.partitions.boot;
        vec![
            (ace.disks.boot.trim().is_empty(), "ace.disks.boot", "no disk is named"),
            (!is_address(&ace.source), "ace.source", ADDRESS),
            (!is_address(&ace.nixos_install.cache), "ace.nixos_install.cache", ADDRESS),
            (
                !ace.user_repos.iter().all(|source| is_address(source)) || !self.clones_apart(),
                "ace.user_repos",
                "each is an address without a secret, with a name that no other one has",
            ),
            (
                !matches!(boot.esp, Size::Bytes(bytes) if bytes >= 32 << 20),
                "ace.partitions.boot.esp",
                "it has a size of at least 32M",
            ),
            (boot.root == Size::None, "ace.partitions.boot.root", "a system needs one"),
            (
                boot.root == Size::Rest && boot.longhorn1 != Size::None,
                "ace.partitions.boot.longhorn1",
                "root takes the rest, so this is \"none\"",
            ),
            (
                ace.partitions.data.longhorn == Size::None && ace.disks.data == Data::Rest,
                "ace.partitions.data.longhorn",
                "disks for data need it; leave them out by disks.data = \"none\"",
            ),
            (
                ace.filesystems.root == Fs::Zfs || ace.filesystems.longhorn1 == Fs::Zfs,
                "ace.filesystems",
                "zfs is not made by this program: ext4 and btrfs are",
            ),
        ]
    }

    /// Returns whether each repository that is cloned for the user has a directory of its own.
    fn clones_apart(&self) -> bool {
        let names = self.ace.user_repos.iter().map(|source| clone_name(source));
        let names: Option<Vec<&str>> = names.collect();
        names.is_some_and(|names| names.len() == names.iter().collect::<BTreeSet<_>>().len())
    }

    fn of_node(&self) -> Vec<Rule> {
        let ace = &self.ace;
        let register = &ace.cluster.self_register;
        let flags: Vec<&str> = ace.nixos_install.flags.iter().map(Flag::as_str).collect();
        vec![
            (
                ace.auth.github.method == GithubMethod::Pat && ace.auth.github.pat.is_none(),
                "ace.auth.github.pat",
                "the method pat needs it: where the token is",
            ),
            (
                crate::stick::path(&format!("/{}", ace.auth.github.blob)).is_err(),
                "ace.auth.github.blob",
                "it is the name of a file on the stick",
            ),
            (
                ace.initial_password.source == PasswordSource::Env
                    && ace.initial_password.env.is_none(),
                "ace.initial_password.env",
                "the source env needs it: the name of the variable",
            ),
            (
                ace.hostname.source == HostnameSource::Env && ace.hostname.env.is_none(),
                "ace.hostname.env",
                "the source env needs it: the name of the variable",
            ),
            (!ace.hostname.rfc1123, "ace.hostname.rfc1123", "a name that is no label is refused"),
            (
                ace.hostname.prefix.as_str().len() > 56,
                "ace.hostname.prefix",
                "with a dash and six digits it has more than 63 characters",
            ),
            (
                register.post_install_first_boot
                    && (register.repository.is_none() || register.maintainer.is_none()),
                "ace.cluster.self_register",
                "a registration needs the keys repository and maintainer",
            ),
            (
                !register.idempotent || !register.dedup,
                "ace.cluster.self_register",
                "a registration is always idempotent, and opens no second pull request",
            ),
            (
                !flags.contains(&"--impure"),
                "ace.nixos_install.flags",
                "without --impure the keys and the name of the node are silently empty",
            ),
        ]
    }
}
