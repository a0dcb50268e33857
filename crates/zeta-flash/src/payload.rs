//! What a person wants on the stick besides the image: each file is read and checked before any
//! disk is opened.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;
use zeta_core::creds::bake::{self, Source};
use zeta_core::creds::bundle::Bundle;
use zeta_core::creds::wifi;
use zeta_core::flash::consent::Planned;
use zeta_core::stick::manifest::digest;
use zeta_core::stick::{self, keys, role};
use zeta_creds::verbs::collect::{self, Owner};
use zeta_creds::verbs::manifest;
use zeta_os::error::{Error, Result};
use zeta_os::files::read_plain;

/// The longest file of keys, in bytes.
const KEYS_MAX: u64 = 64 << 10;
/// Where the installer finds the token on the stick.
const TOKEN_PATH: &str = "/zeta-join-token";

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Files with public keys of operators.
    pub keys: Vec<PathBuf>,
    /// The name of the node.
    pub host_name: Option<String>,
    /// Where the wireless network is: `@FILE` or `env:NAME`.
    pub wifi: Option<String>,
    /// The role of the node.
    pub role: Option<String>,
    /// The server that it joins.
    pub server: Option<String>,
    /// The host of the flake.
    pub flake_host: Option<String>,
    /// Where the join token is: `@FILE` or `env:NAME`.
    pub token: Option<String>,
    /// Credentials: `ID=@FILE` or `ID=env:NAME`.
    pub bakes: Vec<String>,
    /// The persona of the credentials.
    pub persona: Option<String>,
}

/// A file for the stick.
#[derive(Debug)]
pub struct Item {
    /// Its name.
    pub name: &'static str,
    /// Its content.
    pub content: Zeroizing<Vec<u8>>,
    /// It is a secret in clear text.
    pub secret: bool,
}

/// All that goes on the stick.
#[derive(Debug, Default)]
pub struct Payload {
    /// The files.
    pub items: Vec<Item>,
    /// Credentials that are to be sealed; `None` if none was asked for.
    pub bundle: Option<Bundle>,
    /// The names of the credentials.
    pub sealed: Vec<String>,
}

impl Payload {
    /// Reads and checks all that was asked for.
    ///
    /// # Errors
    /// A file or variable is missing, or what is in it cannot be put on a stick.
    pub fn collect(asked: &Asked) -> Result<Payload> {
        let owner = Owner { home: zeta_os::host::home(), persona: asked.persona.clone() };
        let mut payload = Payload::default();
        let mut add = |name: &'static str, text: String, secret: bool| {
            let content = Zeroizing::new(text.into_bytes());
            payload.items.push(Item { name, content, secret });
        };
        if !asked.keys.is_empty() {
            let keys: Vec<String> =
                asked.keys.iter().map(|path| keys_of(path)).collect::<Result<_>>()?;
            add(stick::KEYS_FILE, keys.concat(), false);
        }
        if let Some(name) = &asked.host_name {
            add(stick::HOST_NAME_FILE, stick::host_name(name).map_err(wrong)?, false);
        }
        if let Some(given) = &asked.wifi {
            let text = secret_text(&owner, "--wifi", given)?;
            // The error of the reader could repeat a part of the password.
            let network: Value = serde_json::from_str(&text).unwrap_or_default();
            let text = stick::wifi(&network).map_err(wrong)?;
            // The node makes a file of NetworkManager of it.
            let is_usable = wifi::keyfile(text.as_bytes());
            is_usable.map_err(|error| Error::usage(format!("--wifi: {error}")))?;
            add(stick::WIFI_FILE, text, true);
        }
        let lines = role::lines(&role::Asked {
            role: asked.role.as_deref(),
            server: asked.server.as_deref(),
            host: asked.flake_host.as_deref(),
            token_path: asked.token.as_ref().map(|_| TOKEN_PATH),
        })
        .map_err(wrong)?;
        if lines.is_empty() && asked.flake_host.is_some() {
            return Err(Error::usage("--flake-host is a part of a role: give --role"));
        }
        if !lines.is_empty() {
            add(stick::ROLE_FILE, lines.join("\n") + "\n", false);
        }
        if let Some(given) = &asked.token {
            let text = secret_text(&owner, "--join-token", given)?;
            add(stick::TOKEN_FILE, stick::join_token(&text).map_err(wrong)?, true);
        }
        payload.bake(asked, &owner)?;
        Ok(payload)
    }

    /// Reads the credentials. They are sealed later, when the stick has an id.
    fn bake(&mut self, asked: &Asked, owner: &Owner) -> Result<()> {
        if asked.bakes.is_empty() {
            return Ok(());
        }
        let manifest = manifest::manifest(manifest::ADDED.as_ref())?;
        let mut bundle = Bundle::default();
        for given in &asked.bakes {
            if !bake::parse(given).is_ok_and(|ask| !matches!(ask.source, Source::Literal(_))) {
                return Err(in_argument("--bake-cred", "ID=@FILE or ID=env:NAME"));
            }
            let id = collect::bake(&mut bundle, &manifest, owner, given)?;
            self.sealed.retain(|known| *known != id);
            self.sealed.push(id);
        }
        self.bundle = Some(bundle);
        Ok(())
    }

    /// Returns whether anything was asked for.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.bundle.is_none()
    }

    /// What is consented to: the digest of a secret is not shown, for it could be guessed from it.
    pub fn planned(&self) -> Vec<Planned> {
        let plain = self.items.iter().map(|item| Planned {
            name: item.name.to_owned(),
            sha256: (!item.secret).then(|| digest(&item.content)),
            sealed: Vec::new(),
        });
        let sealed = self.bundle.as_ref().map(|_| Planned {
            name: stick::CREDS_FILE.to_owned(),
            sha256: None,
            sealed: self.sealed.clone(),
        });
        plain.chain(sealed).collect()
    }
}

fn keys_of(path: &Path) -> Result<String> {
    let bytes = read_plain(path, KEYS_MAX).map_err(|error| {
        Error::usage(format!("--ssh-key: cannot read {}: {error}", path.display()))
    })?;
    let bytes = Zeroizing::new(bytes);
    let text = String::from_utf8_lossy(&bytes);
    keys::file(&text).map_err(|(line, wrong)| {
        Error::usage(format!("--ssh-key: {}, line {line}: {wrong}", path.display()))
    })
}

/// The text of a secret, which is never in an argument itself.
fn secret_text(owner: &Owner, flag: &str, given: &str) -> Result<Zeroizing<String>> {
    let source = match (given.strip_prefix('@'), given.strip_prefix("env:")) {
        (Some(path), _) if !path.is_empty() => Source::File(path),
        (_, Some(name)) if !name.is_empty() => Source::Env(name),
        _ => return Err(in_argument(flag, "@FILE or env:NAME")),
    };
    let value = collect::value(owner, &source)
        .map_err(|error| Error { text: format!("{flag}: {}", error.text), ..error })?;
    let text = std::str::from_utf8(value.secret.bytes());
    let text =
        text.map_err(|_| Error::usage(format!("{flag}: what was given is not UTF-8 text")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn in_argument(flag: &str, form: &str) -> Error {
    Error::usage(format!("{flag}: give {form}; other users can read a value in an argument"))
}

fn wrong(wrong: stick::Wrong) -> Error {
    Error::usage(wrong.to_string())
}
