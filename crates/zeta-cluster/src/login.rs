//! How a connection says who it is: the login in a file, and the certificates of TLS.

use std::path::Path;

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::given_path;

use crate::identity::open_mode;
use crate::setting::{Setting, Tls};

/// Most bytes of a file with a login, and of one with certificates.
const CREDENTIALS_MAX: u64 = 16 * 1024;
const CERTIFICATES_MAX: u64 = 1 << 20;
/// How the first part of a `.creds` file begins.
const JWT: &str = "-----BEGIN NATS USER JWT-----";
/// Longest text that a server may have signed; those of NATS have 15 characters.
const NONCE_MAX: usize = 64;

/// Returns options of a connection with the login and the certificates of a setting.
pub(crate) fn options(setting: &Setting) -> Result<ConnectOptions> {
    let options = match &setting.credentials {
        Some(path) => log_in(path)?,
        None => ConnectOptions::new(),
    };
    certify(options, &setting.tls)
}

/// Reports whether a file is a `.creds` file, the login of a server in operator mode.
pub fn is_of_operator(path: &Path) -> bool {
    let read = read_plain(path, CREDENTIALS_MAX);
    read.is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(JWT))
}

fn log_in(path: &Path) -> Result<ConnectOptions> {
    let text = read_private("the credentials", path, CREDENTIALS_MAX)?;
    if text.contains(JWT) {
        return ConnectOptions::new().credentials(&text).map_err(|_| unknown_form(path));
    }
    let line = text.trim();
    if line.contains(char::is_whitespace) {
        return Err(unknown_form(path));
    }
    if let Some((user, password)) = line.split_once(':') {
        let (user, password) = (user.to_owned(), password.to_owned());
        return Ok(ConnectOptions::new().user_and_password(user, password));
    }
    match KeyPair::from_seed(line) {
        Ok(_) if line.starts_with("SU") => Ok(with_nkey(line.to_owned())),
        _ => Err(unknown_form(path)),
    }
}

/// Logs in by a signature over what the server sends. The same key signs records, so nothing that
/// could be a record is signed for a server: each record has spaces and line feeds.
fn with_nkey(seed: String) -> ConnectOptions {
    let sign = move |nonce: &[u8]| {
        if !is_nonce(nonce) {
            return Err(AuthError::new("the server asks for a signature over what is no nonce"));
        }
        let key = KeyPair::from_seed(&seed).map_err(AuthError::new)?;
        let signature = key.sign(nonce).map_err(AuthError::new)?;
        let mut auth = Auth::new();
        auth.nkey = Some(key.public_key());
        auth.signature = Some(signature);
        Ok(auth)
    };
    ConnectOptions::with_auth_callback(move |nonce| std::future::ready(sign(&nonce)))
}

/// A server without logins sends none.
fn is_nonce(bytes: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_=+/".contains(byte);
    bytes.len() <= NONCE_MAX && bytes.iter().all(is_plain)
}

/// Adds the certificates. The client reads the files again; here each is looked at first, so that
/// what is wrong is named.
fn certify(mut options: ConnectOptions, tls: &Tls) -> Result<ConnectOptions> {
    let Tls { ca, cert, key } = tls;
    if let Some(ca) = ca {
        look_for("the certificates that are trusted", ca, "CERTIFICATE-----")?;
        options = options.add_root_certificates(ca.clone());
    }
    match (cert, key) {
        (Some(cert), Some(key)) => {
            look_for("the certificate", cert, "CERTIFICATE-----")?;
            let text = read_private("the key of the certificate", key, CERTIFICATES_MAX)?;
            has_pem("the key of the certificate", key, &text, "PRIVATE KEY-----")?;
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        (None, None) => {}
        _ => {
            return Err(Error::new(Kind::Unsafe, "a certificate and its key belong together")
                .hint("name both: --cert and --key, or cluster_cert and cluster_key"));
        }
    }
    Ok(options.require_tls(*tls != Tls::default()))
}

fn look_for(what: &str, path: &Path, mark: &str) -> Result<()> {
    let bytes = read_plain(path, CERTIFICATES_MAX).map_err(|error| wrong(what, path, &error))?;
    has_pem(what, path, &String::from_utf8_lossy(&bytes), mark)
}

fn has_pem(what: &str, path: &Path, text: &str, mark: &str) -> Result<()> {
    match text.contains(mark) {
        true => Ok(()),
        false => Err(wrong(what, path, &"it is no PEM file of that kind")),
    }
}

/// Reads a file that only its owner can read.
fn read_private(what: &str, path: &Path, max: u64) -> Result<String> {
    let bytes = read_plain(path, max).map_err(|error| wrong(what, path, &error))?;
    let meta = path.metadata().map_err(|error| wrong(what, path, &error))?;
    if let Some(mode) = open_mode(path, &meta) {
        let why = format!("others may read or write it (mode {mode:04o})");
        return Err(wrong(what, path, &why)
            .hint("it needs the mode 0600; if another user read it already, make a new one"));
    }
    String::from_utf8(bytes).map_err(|_| unknown_form(path))
}

fn wrong(what: &str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Unsafe, format!("{what}: {}: {why}", given_path::shown(path)))
}

fn unknown_form(path: &Path) -> Error {
    wrong("the credentials", path, &"it holds no login of NATS")
        .hint("a login is a .creds file, the seed of an nkey (SU…), or a line USER:PASSWORD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_no_signature_over_a_record() {
        for good in ["", "aB3_-xyz01234567", "wJ2sAbPfTjlNAcQ="] {
            assert!(is_nonce(good.as_bytes()), "{good}");
        }
        let long = "a".repeat(NONCE_MAX + 1);
        for bad in ["zeta value 1\ncluster: x\n", "a b", "a\n", "a:b", "ä", long.as_str()] {
            assert!(!is_nonce(bad.as_bytes()), "{bad}");
        }
    }
}
