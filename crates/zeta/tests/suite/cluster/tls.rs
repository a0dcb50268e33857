//! TLS with certificates on both ends, and each thing that is wrong with one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::nats::Server;
use super::programs;
use crate::support::{Sandbox, test_name};

/// Who signs certificates in a test.
struct Signer(Issuer<'static, KeyPair>);

impl Signer {
    fn new(dir: &Path, name: &str) -> Signer {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        put(dir, name, &params.self_signed(&key).unwrap().pem(), 0o644);
        Signer(Issuer::new(params, key))
    }

    /// Makes `NAME.pem` and `NAME.key`.
    fn sign(&self, dir: &Path, name: &str, is_over: bool) {
        self.sign_for(dir, name, "127.0.0.1", is_over);
    }

    /// The same for another host.
    fn sign_for(&self, dir: &Path, name: &str, host: &str, is_over: bool) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        if is_over {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        put(dir, &format!("{name}.pem"), &params.signed_by(&key, &self.0).unwrap().pem(), 0o644);
        put(dir, &format!("{name}.key"), &key.serialize_pem(), 0o600);
    }
}

fn put(dir: &Path, name: &str, text: &str, mode: u32) {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_connection_with_certificates_is_refused_without_tls_and_each_fault_is_named() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let dir: &Path = &sandbox.dir;
        let (good, other) = (Signer::new(dir, "ca.pem"), Signer::new(dir, "other.pem"));
        good.sign(dir, "server", false);
        good.sign(dir, "node", false);
        good.sign(dir, "old", true);
        good.sign_for(dir, "named", "hub.lan", false);
        other.sign(dir, "foreign", false);
        let at = |file: &str| dir.join(file).display().to_string();
        let start = |certificate: &str| {
            let config = format!(
                "server_name: s\njetstream {{ store_dir: \"{{dir}}/store\" }}\ntls {{ cert_file: \
                 \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n",
                at(&format!("{certificate}.pem")),
                at(&format!("{certificate}.key")),
                at("ca.pem")
            );
            let place = dir.join(format!("{name}-{certificate}"));
            Server::start_configured(&program, &place, &config).unwrap()
        };
        let server = start("server");
        let call = |url: &str, ca: &str, cert: &str, status: i32| {
            let (ca, pem, key) = (at(ca), at(&format!("{cert}.pem")), at(&format!("{cert}.key")));
            let mut args = vec!["cluster", "init", "--server", url, "--ca", &ca];
            if !cert.is_empty() {
                args.extend(["--cert", &pem, "--key", &key]);
            }
            let out = sandbox.zeta(&args);
            assert_eq!(out.status, status, "{name}, {ca}, {cert}: {out:?}");
            out.err
        };
        let url = server.url();
        call(&url, "ca.pem", "node", 0);
        for (ca, cert) in
            [("ca.pem", ""), ("ca.pem", "old"), ("ca.pem", "foreign"), ("other.pem", "node")]
        {
            let err = call(&url, ca, cert, 7);
            assert!(err.contains("TLS") && err.contains("--ca"), "{name}, {ca}, {cert}: {err}");
        }
        let expired = start("old");
        let err = call(&expired.url(), "ca.pem", "node", 7);
        assert!(err.to_lowercase().contains("expired"), "{name}: {err}");
        let named = start("named");
        let err = call(&named.url(), "ca.pem", "node", 7);
        assert!(err.contains("TLS") && err.contains("hub.lan"), "{name}: {err}");
        // A server without TLS, where certificates are named.
        let plain = Server::start(&program, &dir.join(format!("{name}-plain")), "").unwrap();
        call(&plain.url(), "ca.pem", "node", 7);
        // Files that are none, and a key that others can read.
        put(dir, "open.pem", &std::fs::read_to_string(dir.join("node.pem")).unwrap(), 0o644);
        put(dir, "open.key", &std::fs::read_to_string(dir.join("node.key")).unwrap(), 0o644);
        let err = call(&url, "ca.pem", "open", 7);
        assert!(err.contains("0644") && err.contains("0600"), "{err}");
        assert!(call(&url, "node.key", "node", 7).contains("PEM"));
        assert!(call(&url, "missing.pem", "node", 7).contains("missing.pem"));
        let (ca, cert) = (at("ca.pem"), at("node.pem"));
        let out = sandbox
            .refused(&["cluster", "init", "--server", &url, "--ca", &ca, "--cert", &cert], 7);
        assert!(out.err.contains("--key"), "{out:?}");
        names_them_in_the_configuration(name, &sandbox, &url);
    }
}

/// The certificate of a node is good, and then it has ended: the cluster is refused by name, by the
/// bridge, too, and what is on this machine goes on.
fn names_them_in_the_configuration(name: &str, sandbox: &Sandbox, url: &str) {
    let config = sandbox.dir.join(".config/zeta");
    std::fs::create_dir_all(&config).unwrap();
    let certify = |certificate: &str| {
        let at = |file: &str| sandbox.dir.join(file).display().to_string();
        let (ca, pem) = (at("ca.pem"), at(&format!("{certificate}.pem")));
        let key = at(&format!("{certificate}.key"));
        let text = format!(
            "cluster_server = {url:?}\ncluster_ca = {ca:?}\ncluster_cert = {pem:?}\n\
             cluster_key = {key:?}\n"
        );
        std::fs::write(config.join("config.toml"), text).unwrap();
    };
    certify("node");
    sandbox.ok(&["cluster", "join"]);
    let lease = ["lease", "exec", "job", "--scope", "cluster", "--", "true"];
    sandbox.ok(&lease);
    certify("old");
    for call in [&lease as &[&str], &["cluster", "bridge"]] {
        let out = sandbox.refused(call, 7);
        assert!(out.err.contains("TLS") && out.err.contains("--cert"), "{name}: {out:?}");
    }
    sandbox.ok(&["lease", "exec", "job", "--", "true"]);
    std::fs::remove_dir_all(&config).unwrap();
}
