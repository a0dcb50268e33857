//! Every key of a manifest, and what counts where it is not there. Where a default would destroy or
//! expose something, there is none.

/// What counts without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// A manifest without it is refused, for this reason.
    Refused(&'static str),
    /// This value, as it would be written.
    Default(&'static str),
    /// Nothing is done, as this says.
    Nothing(&'static str),
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its path, with dots.
    pub path: &'static str,
    /// What counts without it.
    pub unset: Unset,
}

const fn must(path: &'static str, why: &'static str) -> Key {
    Key { path, unset: Unset::Refused(why) }
}

const fn or(path: &'static str, value: &'static str) -> Key {
    Key { path, unset: Unset::Default(value) }
}

const fn may(path: &'static str, what: &'static str) -> Key {
    Key { path, unset: Unset::Nothing(what) }
}

/// All keys, in the order of the twelve kinds of input.
pub const KEYS: &[Key] = &[
    must("schema", "it says of which version the manifest is"),
    or("ace.discovery.disks.internal", "true"),
    must("ace.disks.boot", "this disk is wiped: \"auto\", a path, a serial number or a WWN"),
    must("ace.disks.data", "\"rest\" wipes all other disks, \"none\" leaves them"),
    must("ace.disks.wipe_strategy", "\"full\" wipes the data disks too, \"preserve_data\" not"),
    or("ace.partitions.boot.esp", "\"1G\""),
    or("ace.partitions.boot.root", "\"256G\""),
    or("ace.partitions.boot.longhorn1", "\"rest\""),
    or("ace.partitions.data.longhorn", "\"rest\""),
    or("ace.filesystems.esp", "\"vfat\""),
    or("ace.filesystems.root", "\"ext4\""),
    or("ace.filesystems.longhorn1", "\"ext4\""),
    must("ace.source", "the repository or directory with the system's configuration"),
    may("ace.source_commit", "the newest commit is taken"),
    or("ace.ssh.operator_pubkey", "\"manual\""),
    or("ace.auth.user", "\"zeta\""),
    may("ace.auth.persona", "of the sealed credentials only those of the machine are written"),
    or("ace.auth.github.method", "\"skip\""),
    or("ace.auth.github.blob", "\"zeta-creds.enc\""),
    or("ace.auth.github.passphrase", "\"prompt\""),
    may("ace.auth.github.pat", "no token is put on the node"),
    must("ace.initial_password.source", "without it the system has a password that all know"),
    may("ace.initial_password.env", "no variable has the password"),
    or("ace.initial_password.hash", "\"sha512crypt\""),
    or("ace.hostname.source", "\"generate_prefix\""),
    may("ace.hostname.env", "no variable has the name"),
    or("ace.hostname.prefix", "\"node\""),
    or("ace.hostname.rfc1123", "true"),
    or("ace.network.wifi.persist_from_live_usb", "false"),
    may("ace.network.ranges", "no range of addresses is compared with the network here"),
    or("ace.cluster.self_register.post_install_first_boot", "false"),
    or("ace.cluster.self_register.idempotent", "true"),
    or("ace.cluster.self_register.dedup", "true"),
    may("ace.cluster.self_register.repository", "no repository of nodes is known"),
    may("ace.cluster.self_register.maintainer", "no maintainer is known"),
    may("ace.runtimes", "none is installed"),
    may("ace.cli_install", "none is installed"),
    may("ace.user_repos", "none is cloned"),
    may("ace.nixos_install.flake", "the host that the stick names is built"),
    or("ace.nixos_install.flags", FLAGS),
    or("ace.nixos_install.cache", "\"https://cache.nixos.org\""),
    or("ace.post_install.banner.template", "\"{node} is installed. {sections}\""),
    may("ace.post_install.banner.sections.key_missing", "the default text is shown"),
    may("ace.post_install.banner.sections.password_generated", "the default text is shown"),
    may("ace.post_install.banner.sections.github", "the default text is shown"),
    may("ace.post_install.banner.sections.registration", "the default text is shown"),
];

/// The flags of `nixos-install` that count without the key.
const FLAGS: &str = "[\"--impure\", \"--no-root-password\", \"--option\", \"fallback\", \"true\", \
    \"--option\", \"connect-timeout\", \"10\", \"--option\", \"stalled-download-timeout\", \"60\", \
    \"--option\", \"download-attempts\", \"3\"]";

/// Returns the key of a path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Returns whether a path is a key, or a table that has some.
pub fn is_known(path: &str) -> bool {
    let is_table = |key: &Key| {
        key.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    KEYS.iter().any(is_table)
}

/// A key and what counts for it: the value that was given, or what stands in for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// The value as it was written; none if it was not.
    pub given: Option<String>,
}

/// What counts for each key.
pub fn settings(given: impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    KEYS.iter().map(|key| Setting { key, given: given(key.path) }).collect()
}
