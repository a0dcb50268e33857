//! Whose an image is, as the program answers it: with the vectors of the provenance itself, and no
//! network.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::json;
use crate::support::Sandbox;

fn vectors(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../zeta-flash/src/provenance/vectors");
    std::fs::read(PathBuf::from(folder).join(name)).unwrap()
}

fn put(sandbox: &Sandbox, name: &str, bytes: &[u8]) -> String {
    let path = sandbox.dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Writes an image to a new file, which is there afterwards only if the status is 0.
fn write(sandbox: &Sandbox, image: &str, named: &[&str], status: i32) -> Value {
    let stick = sandbox.dir.join("stick.img");
    let mut args = vec!["flash", "write", "--image", image, "--to-file", stick.to_str().unwrap()];
    args.extend(named);
    let answer = json::check(sandbox, &args, status);
    assert_eq!(stick.exists(), status == 0, "{named:?}");
    let _ = std::fs::remove_file(stick);
    answer
}

#[test]
fn an_image_is_written_if_the_key_that_was_named_signed_it() {
    let sandbox = Sandbox::new();
    let all: Value = serde_json::from_slice(&vectors("cosign-key.json")).unwrap();
    let case = |id: &str| {
        let found = all["cases"].as_array().unwrap().iter().find(|case| case["id"] == id);
        let text = |key: &str| found.unwrap()["in"][key].as_str().unwrap().to_owned();
        let image = STANDARD.decode(text("message_b64")).unwrap();
        let key = put(&sandbox, &format!("{id}.pub"), text("public_key_pem").as_bytes());
        let signature = put(&sandbox, &format!("{id}.sig"), text("sig_file").as_bytes());
        (put(&sandbox, &format!("{id}.iso"), &image), key, signature)
    };
    let (image, key, signature) = case("good");
    let named = ["--public-key", &key, "--signature", &signature];
    let answer = write(&sandbox, &image, &named, 0);
    assert_eq!(answer["provenance"], "verified");
    assert_eq!(answer["signer_key_sha256"].as_str().map(str::len), Some(64));
    for id in ["cut", "other-key", "p384-key", "not-base64"] {
        let (image, key, signature) = case(id);
        write(&sandbox, &image, &["--public-key", &key, "--signature", &signature], 3);
    }
    write(&sandbox, &image, &["--public-key", &key], 2);
    write(&sandbox, &image, &["--public-key", &key, "--signature", "/nowhere/x"], 2);
    assert_eq!(write(&sandbox, &image, &[], 0)["provenance"], "not_checked");
}

#[test]
fn an_image_is_written_if_the_identity_that_was_named_signed_it() {
    let sandbox = Sandbox::new();
    let image = put(&sandbox, "a.iso", &vectors("public.txt"));
    let bundle = put(&sandbox, "a.bundle", &vectors("public.bundle.json"));
    let identity = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/\
        .github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    let issuer = "https://token.actions.githubusercontent.com";
    let named = ["--bundle", &bundle, "--identity", identity, "--issuer", issuer];
    let answer = write(&sandbox, &image, &named, 0);
    assert_eq!(answer["provenance"], "verified");
    assert_eq!(answer["signer_identity"], identity);
    assert_eq!(answer["signed_at"], "2024-03-19T17:26:26.000000Z");

    let other = put(&sandbox, "b.iso", b"another image");
    write(&sandbox, &other, &named, 3);
    let shorter = &identity[..identity.len() - 1];
    for (at, value) in [(3, shorter), (5, "https://issuer.example.test")] {
        let mut named = named;
        named[at] = value;
        write(&sandbox, &image, &named, 3);
    }
    let roots = put(&sandbox, "roots.json", &vectors("public2.roots.json"));
    write(&sandbox, &image, &[&named[..], &["--trusted-root", &roots]].concat(), 3);
    write(&sandbox, &image, &named[..4], 2);
}
