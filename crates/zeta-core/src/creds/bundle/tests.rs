//! Bundles: what the original writes and reads, its reasons to refuse, and that nothing is shown.

use super::{BadBundle, Bundle, Secret, lenient_base64};

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

#[test]
fn it_is_written_as_the_original_does_and_reads_back() {
    let mut bundle = Bundle::default();
    let empty = br#"{"schemaVersion":1,"globalCreds":{},"personaCreds":{}}"#;
    assert_eq!(bundle.render().as_slice(), empty);
    bundle.global.put("gh-cli", secret("first"));
    bundle.global.put("wifi", secret(""));
    bundle.global.put("gh-cli", secret("last"));
    bundle.put_persona("ot\"to", "claude", secret("?"));
    bundle.put_persona("ot\"to", "claude", secret("{}"));
    bundle.put_persona("vera", "codex", secret("x"));
    let text = bundle.render();
    assert_eq!(
        std::str::from_utf8(&text).unwrap(),
        r#"{"schemaVersion":1,"globalCreds":{"gh-cli":"bGFzdA==","wifi":""},"#.to_owned()
            + r#""personaCreds":{"ot\"to":{"claude":"e30="},"vera":{"codex":"eA=="}}}"#
    );
    assert_eq!(text.len(), text.capacity());
    assert_eq!(Bundle::parse(&text), Ok(bundle));
}

#[test]
fn each_way_to_be_no_bundle_has_its_reason() {
    let cases = [
        ("", BadBundle::NotJson),
        ("{", BadBundle::NotJson),
        ("{} x", BadBundle::NotJson),
        ("[]", BadBundle::NotObject),
        ("null", BadBundle::NotObject),
        ("{}", BadBundle::Schema),
        (r#"{"schemaVersion":"1"}"#, BadBundle::Schema),
        (r#"{"schemaVersion":2}"#, BadBundle::Schema),
        (r#"{"schemaVersion":true}"#, BadBundle::Schema),
        (r#"{"schemaVersion":1}"#, BadBundle::NotMap("globalCreds")),
        (r#"{"schemaVersion":1,"globalCreds":[]}"#, BadBundle::NotMap("globalCreds")),
        (r#"{"schemaVersion":1,"globalCreds":{}}"#, BadBundle::NotMap("personaCreds")),
        (
            r#"{"schemaVersion":1,"globalCreds":{"a":1},"personaCreds":{}}"#,
            BadBundle::NotString("globalCreds"),
        ),
        (
            r#"{"schemaVersion":1,"globalCreds":{},"personaCreds":{"p":{"a":null}}}"#,
            BadBundle::NotString("personaCreds"),
        ),
        (
            r#"{"schemaVersion":1,"globalCreds":{},"personaCreds":{"p":"x"}}"#,
            BadBundle::PersonaNotMap,
        ),
    ];
    for (text, why) in cases {
        assert_eq!(Bundle::parse(text.as_bytes()), Err(why), "{text}");
    }
    assert_eq!(Bundle::parse(b"\xff{}"), Err(BadBundle::NotJson));
}

#[test]
fn what_the_original_overlooks_is_overlooked() {
    let text = r#" {"more":[1],"personaCreds":{},"schemaVersion":1.0,
        "globalCreds":{"gh-cli":"YQ","gh-cli":"\u0059W I="}} "#;
    let bundle = Bundle::parse(text.as_bytes()).unwrap();
    assert_eq!(bundle.global.len(), 1);
    assert_eq!(bundle.global.get("gh-cli").unwrap().bytes(), b"ab");
}

#[test]
fn places_are_remembered_and_a_bundle_merges_into_another() {
    let mut old = Bundle::default();
    old.global.put("gh-cli", secret("old"));
    old.global.put_place("gh-cli", "~/g/hosts.yml");
    old.put_persona("otto", "claude", secret("old"));
    let mut new = Bundle::default();
    new.global.put("gh-cli", secret("new"));
    new.global.put("wifi", secret("new"));
    new.in_persona("otto", |section| {
        section.put("codex", secret("new"));
        section.put_place("codex", "~/.\"codex/auth.json");
    });
    assert!(Bundle::default().is_empty() && !old.is_empty());
    let mut one = Bundle::default();
    one.put_persona("otto", "claude", secret("x"));
    assert!(!one.is_empty(), "a persona's credential is one");
    one = Bundle::default();
    one.global.put("gh-cli", secret("x"));
    assert!(!one.is_empty());
    old.merge(new);
    assert_eq!(old.global.get("gh-cli").unwrap().bytes(), b"new");
    assert_eq!(old.global.place("gh-cli"), Some("~/g/hosts.yml"), "no newer one is known");
    let otto = old.persona("otto").unwrap();
    assert_eq!((otto.len(), otto.place("claude")), (2, None));
    let text = old.render();
    assert_eq!(text.len(), text.capacity());
    let json = std::str::from_utf8(&text).unwrap();
    let places = r#","places":{"gh-cli":"~/g/hosts.yml"},"#.to_owned()
        + r#""personaPlaces":{"otto":{"codex":"~/.\"codex/auth.json"}}}"#;
    assert!(json.ends_with(&places), "{json}");
    assert_eq!(Bundle::parse(&text), Ok(old));
}

#[test]
fn a_place_that_is_no_text_is_no_reason_to_refuse_a_bundle() {
    for places in [r#"7"#, r#"{"gh-cli":7}"#, r#"[]"#] {
        let text = format!(
            r#"{{"schemaVersion":1,"globalCreds":{{"gh-cli":"YQ"}},"personaCreds":{{}},
                "places":{places},"personaPlaces":{{"otto":{places}}}}}"#
        );
        let bundle = Bundle::parse(text.as_bytes()).unwrap();
        assert_eq!((bundle.global.len(), bundle.global.place("gh-cli")), (1, None));
    }
}

/// What the original's runtime made of these was observed.
#[test]
fn base64_is_read_as_leniently_as_by_the_original() {
    let cases: [(&str, &[u8]); 14] = [
        ("YQ==YQ==", b"a"),
        ("YWI=YWJj", b"ab"),
        ("YQ", b"a"),
        ("YW Jj\n", b"abc"),
        ("YW-_", b"ao\xbf"),
        ("YW+/", b"ao\xbf"),
        ("/+A.=", b"\xff\xe0"),
        ("Y", b""),
        ("", b""),
        ("!!!", b""),
        ("YQ=", b"a"),
        ("=YQ==", b""),
        ("YWJjZ", b"abc"),
        ("YR==", b"a"),
    ];
    for (text, bytes) in cases {
        assert_eq!(lenient_base64(text).bytes(), bytes, "{text:?}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let mut bundle = Bundle::default();
    bundle.global.put("gh-cli", secret("FAKE-VALUE-77"));
    let shown = format!("{bundle:?}");
    assert!(
        shown.contains("gh-cli")
            && shown.contains("Secret")
            && !shown.contains("FAKE")
            && !shown.contains("70, 65")
    );
}
