//! What is shown of the files before they are written.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Asked, Payload};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE11 op";
/// What the original writes and this program does not: a blob that is sealed already, and what it
/// needs for a virtual machine.
const LEFT_OUT: [&str; 3] =
    ["/zeta-creds.enc", "/zeta-bind-uefi-keyfile", "/zeta-qemu-creds-passphrase"];

/// The same with a password that a network can have: another one is refused here.
fn usable(wifi: &str) -> String {
    wifi.replace("\"password\":\"p\"", "\"password\":\"password\"")
}

/// The call of this program for what the original was asked.
fn asked(dir: &Path, case: &Value) -> Asked {
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let text = |key: &str| case[key].as_str().filter(|text| !text.trim().is_empty());
    let key = text("authorizedKeysContent").or(text("pubkeyPath").map(|_| KEY));
    let wifi = Some(&case["wifiCredentials"]).filter(|wifi| wifi.is_object());
    let token = format!("K10{}::server:x", "ab".repeat(32));
    let role = &case["firstbootRole"];
    let part = |key: &str| role[key].as_str().map(str::to_owned);
    let secret = |name: &str, text: &str| Some(format!("@{}", put(name, text).display()));
    Asked {
        keys: key.map(|key| put("key", &format!("{key}\n"))).into_iter().collect(),
        host_name: text("hostname").map(str::to_owned),
        wifi: wifi.and_then(|wifi| secret("wifi", &usable(&wifi.to_string()))),
        role: part("kind"),
        server: part("serverUrl"),
        token: text("joinTokenSourcePath").and_then(|_| secret("token", &token)),
        ..Asked::default()
    }
}

#[test]
fn the_files_of_a_stick_are_those_of_the_original() {
    let dir = zeta_os::temp_dir::TempDir::new().unwrap();
    let vectors: Value = serde_json::from_str(include_str!("vectors/file-plan.json")).unwrap();
    let mut compared = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let (id, out) = (&case["id"], &case["out"]);
        let made = Payload::collect(&asked(dir.path(), &case["in"]));
        let Some(files) = out["files"].as_array() else {
            // The other refusals are about the image, or about what is left out.
            if ["host-bad", "wifi-bad", "token-no-role", "token-role-first"]
                .contains(&id.as_str().unwrap())
            {
                assert!(made.is_err(), "{id}");
                compared += 1;
            }
            continue;
        };
        let made = made.unwrap_or_else(|error| panic!("{id}: {error}"));
        let made: BTreeMap<String, String> = made
            .items
            .iter()
            .map(|item| {
                let content = String::from_utf8(item.content.to_vec()).unwrap();
                (format!("/{}", item.name), content)
            })
            .collect();
        let files = files.iter().map(|file| (file["name"].as_str().unwrap(), file));
        let files: BTreeMap<&str, &Value> =
            files.filter(|(name, _)| !LEFT_OUT.contains(name)).collect();
        assert!(made.keys().eq(files.keys()), "{id}: {:?}", made.keys());
        for (name, file) in files {
            let content = &made[name];
            match (file["content"].as_str(), file["lines"].as_array()) {
                (Some(wanted), _) => assert_eq!(*content, usable(wanted), "{id}"),
                (_, Some(lines)) => {
                    let lines: Vec<&str> =
                        lines.iter().map(|line| line.as_str().unwrap()).collect();
                    assert_eq!(content.lines().collect::<Vec<_>>(), lines, "{id}");
                }
                _ => assert!(!content.is_empty(), "{id}: {name}"),
            }
            compared += 1;
        }
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn the_digest_of_a_secret_is_not_shown() {
    let path = std::env::temp_dir().join(format!("zeta-payload-{}", std::process::id()));
    std::fs::write(&path, r#"{"ssid":"n","password":"12345678"}"#).unwrap();
    let asked = Asked {
        host_name: Some("node-7".to_owned()),
        wifi: Some(format!("@{}", path.display())),
        ..Asked::default()
    };
    let payload = Payload::collect(&asked).unwrap();
    std::fs::remove_file(path).unwrap();
    let planned = payload.planned();
    let shown: Vec<(&str, bool)> =
        planned.iter().map(|file| (file.name.as_str(), file.sha256.is_some())).collect();
    assert_eq!(shown, [("zeta-hostname.txt", true), ("zeta-wifi-credentials.json", false)]);
    assert!(payload.items.iter().all(|item| item.secret == item.name.contains("wifi")));
}
