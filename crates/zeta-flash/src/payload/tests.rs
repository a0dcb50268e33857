//! What is shown of the files before they are written.

use super::{Asked, Payload};

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
