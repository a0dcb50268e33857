//! The calls of each step.

mod disk;
mod node;

use std::path::PathBuf;

use zeroize::Zeroizing;
use zeta_core::install::manifest::{GithubMethod, OperatorKey, PasswordSource};
use zeta_core::install::{Journal, Plan, Step};
use zeta_core::stick::KEYS_FILE;
use zeta_os::error::{Error, Kind, Result};

use crate::call::Call;
use crate::manifest::Manifest;
use crate::observe::Look;
use crate::place::Place;
use crate::stick::Stick;

/// What the calls of a step are made of.
#[derive(Debug)]
pub struct Context<'a> {
    /// What the operator declared.
    pub manifest: &'a Manifest,
    /// The plan of this moment.
    pub plan: &'a Plan,
    /// What was done.
    pub journal: &'a Journal,
    /// What was observed.
    pub look: &'a Look,
    /// The files of the stick.
    pub stick: &'a Stick,
    /// Where everything is.
    pub place: &'a Place,
    /// The first password, if it is known.
    pub password: Option<&'a Zeroizing<Vec<u8>>>,
    /// The token of GitHub, if the node gets one.
    pub token: Option<&'a Zeroizing<Vec<u8>>>,
}

impl Context<'_> {
    fn on_node(&self, path: &str) -> PathBuf {
        self.place.on_node(path)
    }

    fn file(&self, path: &str, bytes: &[u8], mode: u32) -> Call {
        let bytes = Zeroizing::new(bytes.to_vec());
        Call::File { path: self.on_node(path), bytes, mode: Some(mode) }
    }

    /// The directory of what this run keeps of the node that was there before.
    fn kept(&self) -> PathBuf {
        self.place.kept().join(&self.journal.run)
    }

    /// The name of the node.
    ///
    /// # Errors
    /// It is not known yet.
    pub fn node(&self) -> Result<&str> {
        let unknown = || Error::new(Kind::Unsafe, "the name of the node is not known yet");
        self.plan.node.as_deref().ok_or_else(unknown)
    }

    /// The host of the flake.
    ///
    /// # Errors
    /// Neither the manifest nor the stick says it.
    pub fn flake_host(&self) -> Result<String> {
        let own = self.manifest.values.ace.nixos_install.flake.as_ref();
        let own = own.map(|host| host.as_str().to_owned());
        let unknown = || Error::new(Kind::Unsafe, "the host of the flake is not known");
        own.or_else(|| self.look.seen.stick.flake_host.clone()).ok_or_else(unknown)
    }

    /// The public keys of operators that the node gets; none if a person writes them later.
    pub fn keys(&self) -> Option<Vec<u8>> {
        let kept = self
            .plan
            .prior()
            .map(|prior| prior.keys.clone())
            .filter(|keys| !keys.trim().is_empty());
        let wants = self.manifest.values.ace.ssh.operator_pubkey != OperatorKey::Manual;
        let brought = self.stick.file(KEYS_FILE).filter(|_| wants).map(<[u8]>::to_vec);
        match (brought, kept) {
            // Those of the stick are newer; the kept ones stay, too.
            (Some(brought), Some(kept)) => Some(join(&brought, &kept)),
            (brought, kept) => brought.or(kept.map(String::into_bytes)),
        }
    }

    /// Conditions of the parts of the text at the end.
    pub fn conditions(&self) -> [bool; 4] {
        let ace = &self.manifest.values.ace;
        [
            self.keys().is_none(),
            ace.initial_password.source == PasswordSource::Generate,
            ace.auth.github.method == GithubMethod::DeviceFlow,
            ace.cluster.self_register.post_install_first_boot,
        ]
    }
}

/// The lines of two lists of keys, each once.
fn join(first: &[u8], second: &str) -> Vec<u8> {
    let first = String::from_utf8_lossy(first).into_owned();
    let mut lines: Vec<&str> = Vec::new();
    for line in first.lines().chain(second.lines()).map(str::trim) {
        if !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    (lines.join("\n") + "\n").into_bytes()
}

/// The calls of a step, in their order.
///
/// # Errors
/// Something that they need is not known.
pub fn calls(step: Step, context: &Context<'_>) -> Result<Vec<Call>> {
    match step {
        Step::Discover => Ok(Vec::new()),
        Step::Choose => disk::choose(context),
        Step::Wipe => disk::wipe(context),
        Step::Partition => disk::partition(context),
        Step::Format => disk::format(context),
        Step::Source => node::source(context),
        Step::OperatorKey => node::operator_key(context),
        Step::Password => Ok(node::password(context)),
        Step::Hostname => node::hostname(context),
        Step::Wifi => node::wifi(context),
        Step::Github => node::github(context),
        Step::Tools => Ok(node::tools(context)),
        Step::Build => node::build(context),
        Step::Registration => node::registration(context),
        Step::Banner => Ok(node::banner(context)),
    }
}

/// The calls that mount the file systems of the node; none if they are mounted.
///
/// # Errors
/// The mounts cannot be read.
pub fn mounts(context: &Context<'_>) -> Result<Vec<Call>> {
    disk::mounts(context)
}
