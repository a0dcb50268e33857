//! The vectors that were made with the original's own functions.

use serde_json::Value;

use super::keys::{self, WrongKey};
use super::role::{self, Asked};
use super::sums::{self, SumError};
use super::{Wrong, host_name, join_token, path, wifi};

macro_rules! cases {
    ($group:literal) => {{
        let vectors: Value =
            serde_json::from_str(include_str!(concat!("vectors/", $group, ".json"))).unwrap();
        let cases = vectors["cases"].as_array().unwrap().clone();
        assert!(!cases.is_empty());
        cases
    }};
}

fn judged(case: &Value, file: Result<String, Wrong>) {
    let id = &case["id"];
    assert_eq!(case["out"]["ok"], file.is_ok(), "{id}");
    if let (Ok(file), Some(wanted)) = (file, case["out"]["file"].as_str()) {
        assert_eq!(wanted, file, "{id}");
    }
}

#[test]
fn texts_of_one_value() {
    for case in cases!("hostname") {
        judged(&case, host_name(case["in"]["name"].as_str().unwrap()));
    }
    for case in cases!("wifi") {
        judged(&case, wifi(&case["in"]["credentials"]));
    }
    for case in cases!("join-token") {
        judged(&case, join_token(case["in"]["token"].as_str().unwrap()));
    }
    for case in cases!("token-path") {
        judged(&case, path(case["in"]["path"].as_str().unwrap()).map(str::to_owned));
    }
}

#[test]
fn keys_are_public_and_of_the_type_that_they_say() {
    for case in cases!("ssh-keys") {
        let (id, text) = (&case["id"], case["in"]["text"].as_str().unwrap());
        let (many, one) = (&case["out"]["many"], &case["out"]["one"]);
        let lines = keys::lines_of_the_original(text);
        assert_eq!(many["file"].as_str(), lines.as_deref(), "{id}");
        assert_eq!(many["ok"], lines.is_some(), "{id}");
        let why = match keys::check(text) {
            Ok(()) => None,
            Err(WrongKey::Empty) => Some("empty"),
            Err(WrongKey::Private) => Some("private-key"),
            Err(WrongKey::SeveralLines) => Some("not-one-line"),
            Err(WrongKey::Type) => Some("type"),
            Err(WrongKey::Malformed) => Some("malformed"),
            Err(WrongKey::Base64) => Some("base64"),
            Err(WrongKey::OtherType) => Some("other-type"),
        };
        assert_eq!((one["ok"].as_bool(), one["why"].as_str()), (Some(why.is_none()), why), "{id}");
        // The file of this program is the original's, or none.
        if let Ok(file) = keys::file(text) {
            assert_eq!(Some(file), lines, "{id}");
        }
    }
    let ed25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIE1111111111111111111111111111111111111111111";
    assert!(keys::file(&format!("\n ssh-ed25519 {ed25519} op\n")).is_ok());
    assert_eq!(keys::file(&format!("\nssh-rsa {ed25519}")), Err((2, WrongKey::OtherType)));
    assert_eq!(keys::file("ssh-ed25519 AAAAC3Nz x"), Err((1, WrongKey::OtherType)));
}

#[test]
fn roles() {
    for case in cases!("firstboot-role") {
        let (id, text) = (&case["id"], |key: &str| case["in"][key].as_str());
        let token = text("joinTokenSourcePath").map(|_| "/zeta-join-token");
        let asked = Asked {
            role: text("role"),
            server: text("joinServerUrl"),
            host: text("flakeHost"),
            token_path: token,
        };
        match role::lines(&asked) {
            Ok(lines) => {
                assert_eq!(case["out"]["ok"], true, "{id}: {lines:?}");
                let wanted = case["out"]["lines"].as_array().cloned().unwrap_or_default();
                assert_eq!(Value::from(wanted), Value::from(lines), "{id}");
            }
            Err(wrong) => {
                let at = if matches!(wrong, Wrong::Role(_)) { "flags" } else { "values" };
                assert_eq!(case["out"]["at"], at, "{id}: {wrong}");
            }
        }
    }
}

#[test]
fn digests() {
    for case in cases!("manifest") {
        let (id, text) = (&case["id"], |key: &str| case["in"][key].as_str());
        let Some(sums) = text("text") else { continue };
        match sums::check(sums, text("name").unwrap(), text("actual").unwrap()) {
            Ok(digest) => assert_eq!(case["out"]["sha256"], digest, "{id}"),
            Err(error) => {
                let reason = match error {
                    SumError::Line(_) | SumError::Empty => "manifest-unparseable",
                    SumError::NotNamed(_) => "iso-not-in-manifest",
                    SumError::Contradiction(_) | SumError::Differs { .. } => "digest-mismatch",
                };
                assert_eq!(case["out"]["reason"], reason, "{id}: {error}");
            }
        }
    }
    for case in cases!("manifest-rename") {
        let text = |key: &str| case["in"][key].as_str().unwrap();
        let digest = sums::digest_of(text("text"), text("from")).ok();
        assert_eq!(case["out"]["sha256"].as_str(), digest.as_deref(), "{}", case["id"]);
    }
}
