//! The manifest: the original's entries, ours, and additions with all their faults at once.

use super::{BadPath, Draft, Extension, Fault, Manifest, PATHS_MAX, Rule, Scope, check_path};

fn draft(id: &str, paths: &[&str]) -> Draft {
    Draft {
        id: id.to_owned(),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        scope: Scope::Global,
        required: false,
        rule: Rule::Text,
        secret: true,
        notes: None,
    }
}

fn add(drafts: Vec<Draft>) -> Result<Manifest, Vec<Fault>> {
    Manifest::default().with(Extension { schema_version: 1, credential: drafts })
}

#[test]
fn the_built_in_entries_are_those_of_the_original_and_three_more() {
    let manifest = Manifest::default();
    let ids: Vec<&str> = manifest.entries().iter().map(|entry| entry.id.as_str()).collect();
    let original = ["gh-cli", "claude", "gemini", "codex", "ssh-host-keys", "ssh-operator-pubkey"];
    assert_eq!(ids[..6], original);
    assert_eq!(ids[6..], ["wifi", "install-answers", "self-registered-marker"]);
    for entry in manifest.entries() {
        assert_eq!(manifest.get(&entry.id), Some(entry), "ids are unique");
        assert!(super::is_id(&entry.id));
        for path in &entry.paths {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }
    let required = manifest.entries().iter().filter(|entry| entry.required).count();
    let persona = manifest.entries().iter().filter(|entry| entry.scope == Scope::Persona).count();
    assert_eq!((required, persona), (5, 3));
}

#[test]
fn what_is_secret_is_for_its_owner_alone() {
    let manifest = Manifest::default();
    for (id, nth, mode) in [
        ("gh-cli", 0, 0o600),
        ("claude", 1, 0o600),
        ("ssh-host-keys", 0, 0o600),
        ("ssh-host-keys", 1, 0o644),
        ("ssh-host-keys", 3, 0o644),
        ("ssh-operator-pubkey", 1, 0o644),
        ("wifi", 0, 0o600),
        ("install-answers", 0, 0o600),
    ] {
        let entry = manifest.get(id).unwrap();
        assert_eq!(entry.mode(&entry.paths[nth]), mode, "{id} {nth}");
    }
}

#[test]
fn an_addition_is_known_afterwards() {
    let manifest = add(vec![draft("npm", &["~/.npmrc"])]).unwrap();
    assert_eq!(manifest.get("npm").unwrap().mode("~/.npmrc"), 0o600);
    assert_eq!(manifest.entries().len(), 10);
    let text = r#"{"schema_version":1,"credential":[
        {"id":"npm","paths":["~/.npmrc"],"scope":"global","rule":"text"}]}"#;
    let read: Extension = serde_json::from_str(text).unwrap();
    assert_eq!(Manifest::default().with(read), Ok(manifest));
}

#[test]
fn an_unknown_key_or_word_is_no_addition() {
    for (from, to) in
        [("rule", "kind"), ("text", "shell"), ("global", "both"), ("\"id\"", "\"ID\"")]
    {
        let text = r#"{"schema_version":1,"credential":[
            {"id":"npm","paths":["~/.npmrc"],"scope":"global","rule":"text"}]}"#;
        assert!(serde_json::from_str::<Extension>(text).is_ok());
        assert!(serde_json::from_str::<Extension>(&text.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let credential = vec![
        draft("", &[]),
        draft("gh-cli", &["~/.config/gh/hosts.yml"]),
        draft("own", &["/etc/passwd", "~/a/../b", "~//a", "~/a\n", "~/ok"]),
        draft("own", &["~/ok"]),
    ];
    let faults = Manifest::default().with(Extension { schema_version: 2, credential });
    let path = |nth, reason| Fault::Path { at: 2, nth, reason };
    let expect = vec![
        Fault::Schema(2),
        Fault::Id { at: 0 },
        Fault::Paths { at: 0, count: 0 },
        Fault::Twice { id: "gh-cli".to_owned() },
        Fault::PathTaken { at: 1, nth: 0, id: "gh-cli".to_owned() },
        path(0, BadPath::Root),
        path(1, BadPath::Component),
        path(2, BadPath::Component),
        path(3, BadPath::Text),
        Fault::Twice { id: "own".to_owned() },
        Fault::PathTaken { at: 3, nth: 0, id: "own".to_owned() },
    ];
    assert_eq!(faults, Err(expect));
    let places: Vec<String> = (0..=PATHS_MAX).map(|n| format!("~/{n}")).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    assert!(add(vec![draft("own", &places[1..])]).is_ok());
    let count = Fault::Paths { at: 0, count: PATHS_MAX + 1 };
    assert_eq!(add(vec![draft("own", &places)]), Err(vec![count]));
    assert_eq!(add(vec![]), Err(vec![Fault::Count(0)]));
    let many: Vec<_> = (0..65).map(|n| draft(&format!("x{n}"), &[&format!("~/{n}")])).collect();
    assert_eq!(add(many.clone()), Err(vec![Fault::Count(65)]));
    let most = add(many[..64].to_vec()).unwrap();
    let one_more = Extension { schema_version: 1, credential: many[64..].to_vec() };
    assert_eq!(most.with(one_more), Err(vec![Fault::Count(1)]), "over several files, too");
}

#[test]
fn paths_stay_below_their_roots() {
    let bad = [
        ("", BadPath::Root),
        ("~", BadPath::Root),
        ("~root/x", BadPath::Root),
        ("/etc/zetax/a", BadPath::Root),
        ("/etc/shadow", BadPath::Root),
        ("etc/zeta/a", BadPath::Root),
        ("//etc/zeta/a", BadPath::Root),
        ("/etc/zeta/", BadPath::Component),
        ("/etc/zeta/./a", BadPath::Component),
        ("/etc/ssh/a/..", BadPath::Component),
        ("/etc/zeta/../shadow", BadPath::Component),
        ("~/a//b", BadPath::Component),
        ("~/a/", BadPath::Component),
        ("~/\u{202e}a", BadPath::Text),
        ("~/a\0", BadPath::Text),
    ];
    for (path, why) in bad {
        assert_eq!(check_path(path), Err(why), "{path:?}");
    }
    assert_eq!(check_path(&format!("~/{}", "x".repeat(1023))), Err(BadPath::Text));
    assert_eq!(check_path(&format!("~/{}", "x".repeat(1022))), Ok(()));
    for path in ["~/a", "/etc/zeta/a/b", "/etc/ssh/..a", "~/a b"] {
        assert_eq!(check_path(path), Ok(()), "{path:?}");
    }
}
