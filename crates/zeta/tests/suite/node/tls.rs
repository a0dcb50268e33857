//! The forge by HTTPS, with a certificate of the test's own: trusted if named, refused if not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::fake_github::FakeGithub;
use super::machine::{Machine, opened};
use crate::support::run;

/// A door with TLS before the fake; its port and the certificate as PEM.
pub fn door(forge: &FakeGithub) -> (u16, String) {
    door_to(forge.url.strip_prefix("http://").unwrap())
}

/// The same before another server on this machine.
pub fn door_to(behind: &str) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let behind = behind.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, behind) = (Arc::clone(&config), behind.clone());
            std::thread::spawn(move || pass(stream, config, &behind));
        }
    });
    (port, made.cert.pem())
}

/// One request and its answer, after which the fake closes.
fn pass(stream: TcpStream, config: Arc<rustls::ServerConfig>, behind: &str) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let connection = rustls::ServerConnection::new(config).ok()?;
    let mut tls = rustls::StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    let length = loop {
        let mut chunk = [0; 4096];
        let read = tls.read(&mut chunk).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let body = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        break end + 4 + body.map_or(0, |n| n.trim().parse::<usize>().unwrap());
    };
    while request.len() < length {
        let mut chunk = [0; 4096];
        let read = tls.read(&mut chunk).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&chunk[..read]);
    }
    let mut inner = TcpStream::connect(behind).ok()?;
    inner.write_all(&request).ok()?;
    let mut answer = Vec::new();
    inner.read_to_end(&mut answer).ok()?;
    tls.write_all(&answer).ok()?;
    tls.conn.send_close_notify();
    tls.flush().ok()
}

#[test]
fn a_forge_by_https_is_trusted_by_a_certificate_that_was_named_and_by_no_other() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (port, pem) = door(&forge);
    let api = format!("https://localhost:{port}");
    let git = forge.model(|model| model.place().to_owned());
    let named = machine.home.join("ca.pem");
    std::fs::write(&named, pem).unwrap();
    let register = |certificates: Option<&std::path::Path>| {
        let mut command = machine.sandbox.cmd(&["node", "register", "--maintainer", "ace"]);
        command.args(["--repo", "forest/trees", "--api", &api, "--remote"]).arg(&git);
        command.arg("--token-file").arg(machine.home.join("token")).env("HOME", &machine.home);
        command.env_remove("SSL_CERT_FILE");
        if let Some(path) = certificates {
            command.env("SSL_CERT_FILE", path);
        }
        run(&mut command)
    };
    let out = register(None);
    assert_eq!(out.status, 1, "{out:?}");
    assert!(out.err.to_lowercase().contains("certificate"), "{out:?}");
    assert_eq!(opened(&forge), 0);
    let out = register(Some(&machine.home.join("nowhere.pem")));
    assert!(out.err.contains("SSL_CERT_FILE"), "{out:?}");
    // What never ends or never begins is not waited for.
    let pipe = machine.home.join("pipe");
    assert!(crate::support::can("mkfifo", &[pipe.to_str().unwrap()]));
    for odd in [pipe.as_path(), std::path::Path::new("/dev/zero")] {
        let out = register(Some(odd));
        assert!(out.err.contains("not a regular file"), "{out:?}");
        assert!(out.took < Duration::from_secs(5), "{out:?}");
    }
    let out = register(Some(&named));
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(opened(&forge), 1);
}
