//! Groups in and out of documents of every kind: what is not zeta's stays byte for byte.

use proptest::prelude::*;

use super::*;

fn groups() -> Vec<Group> {
    let group = |word: &str| {
        format!(
            r#"{{"matcher": "Bash", "hooks": [{{"type": "command", "command": "zeta {word}"}}]}}"#
        )
    };
    [("SessionStart", "a"), ("PreToolUse", "b"), ("Stop", "c")]
        .map(|(event, word)| (event.to_owned(), group(word)))
        .to_vec()
}

/// Puts the groups in and takes them out.
fn there_and_back(text: &str) -> (String, String) {
    let (with, made) = put_in(text, &groups(), true).unwrap();
    let back = take_out(&with, &groups(), &made, true).unwrap();
    (with, back)
}

/// Takes out the comments of the documents in this file; none has a `//` in a text.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        out.push_str(code);
        out.push_str(if comment.ends_with('\n') { "\n" } else { "" });
    }
    while let Some((before, rest)) = out.split_once("/*") {
        let after = rest.split_once("*/").unwrap().1;
        out = format!("{before}{after}");
    }
    out
}

const DOCUMENTS: &[&str] = &[
    "{}",
    "{ }",
    "{\n}\n",
    "{\"a\":1}",
    "{\n  \"a\": 1\n}\n",
    "{\r\n\t\"a\": 1.0e5,\r\n\t\"b\": \"\\u00e9\"\r\n}",
    "{\"hooks\":{}}",
    "{\"hooks\": { } }",
    "{\n    \"hooks\": {\n        \"Stop\": []\n    }\n}",
    "{\"hooks\":{\"Stop\":[ ],\"PreToolUse\":[{\"hooks\":[]}]},\"z\":0}",
    "{\n  // a\n  \"a\": 1 // b\n  /* c */\n}",
    "{ /* only */ }",
    "{\n  \"hooks\": {\n    \"Stop\": [\n      1, // one\n      2 /* two */\n    ]\n  }\n}",
];

#[test]
fn taking_out_is_the_inverse_of_putting_in() {
    for text in DOCUMENTS {
        let (with, back) = there_and_back(text);
        serde_json::from_str::<serde_json::Value>(&without_comments(&with)).unwrap();
        assert_ne!(&with, text);
        assert_eq!(&back, text, "{with}");
        let names: Vec<String> = groups().into_iter().map(|(event, _)| event).collect();
        assert_eq!(present(&with, &groups(), true).unwrap(), names, "{with}");
        assert!(present(text, &groups(), true).unwrap().is_empty());
    }
}

#[test]
fn an_empty_document_becomes_one_that_a_person_can_read() {
    let (with, _) = there_and_back("{}\n");
    let expected = "{\n  \"hooks\": {\n    \"SessionStart\": [\n      {\"matcher\"";
    assert!(with.starts_with(expected), "{with}");
    assert!(with.ends_with("]\n  }\n}\n"), "{with}");
}

#[test]
fn what_others_put_around_the_groups_stays() {
    let (with, made) = put_in("{}\n", &groups(), true).unwrap();
    let mine = groups().remove(2).1;
    let changed = with.replace(&mine, &format!("{{\"x\":1}}, // theirs\n {mine} /* c */ , 7"));
    let changed = changed.replacen("{\n", "{\n  \"new\": true,\n", 1);
    let back = take_out(&changed, &groups(), &made, true).unwrap();
    let value: serde_json::Value = serde_json::from_str(&without_comments(&back)).unwrap();
    assert_eq!(value, serde_json::json!({"new": true, "hooks": {"Stop": [{"x": 1}, 7]}}), "{back}");
    assert!(back.contains("// theirs") && back.contains("/* c */"), "{back}");
}

#[test]
fn a_group_that_was_changed_is_not_taken_out() {
    let (with, made) = put_in("{}", &groups(), true).unwrap();
    let changed = with.replace("zeta b", "zeta b --more");
    let back = take_out(&changed, &groups(), &made, true).unwrap();
    let left = texts(&back, true).unwrap();
    assert!(left.contains(&"zeta b --more".to_owned()) && !back.contains("zeta a"), "{back}");
}

#[test]
fn what_cannot_be_changed_safely_is_refused_with_its_line() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000));
    for (text, line, part) in [
        ("", 1, "it is empty"),
        ("[]", 1, "no JSON object"),
        ("{\n\"a\": 1,\n}", 2, "railing"),
        ("{\n\"a\": 1 2}", 2, "not JSON"),
        ("{'a': 1}", 1, "not JSON"),
        ("{} {}", 1, "not JSON"),
        ("{\n\"hooks\": null}", 2, "no object"),
        ("{\"hooks\":\n []}", 2, "no object"),
        ("{\"hooks\": {\n\n\"Stop\": {}}}", 3, "no list"),
        ("{\"hooks\": {},\n\"hooks\": {}}", 2, "twice"),
        ("{\"hooks\": {\"Stop\": [],\n\"Stop\": []}}", 2, "twice"),
        ("{\"a\": \"\u{1}", 1, "not JSON"),
        (&deep, 1, "not JSON"),
    ] {
        let trouble = put_in(text, &groups(), true).unwrap_err();
        assert!(trouble.reason.contains(part), "{text:?}: {trouble:?}");
        assert_eq!(trouble.line, line, "{text:?}: {trouble:?}");
    }
    let trouble = put_in("{\n  \"a\": 1 // why\n}", &groups(), false).unwrap_err();
    assert_eq!((trouble.line, trouble.reason.contains("comment")), (2, true));
}

/// Any JSON value, as text with any white space.
fn json(depth: u32) -> BoxedStrategy<String> {
    let blank = || prop_oneof![Just(""), Just(" "), Just("\n  "), Just("\r\n\t")];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-1.5e+3".to_owned()),
        "[a-z\\PC]{0,6}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let key = prop_oneof![
        Just("hooks-x".to_owned()),
        Just("Stop".to_owned()),
        "[a-c]".prop_map(|key| key)
    ];
    leaf.prop_recursive(depth, 24, 4, move |inner| {
        let list = proptest::collection::vec((blank(), inner.clone(), blank()), 0..4);
        let list = (list, blank()).prop_map(|(list, rest)| {
            let list: Vec<String> = list.iter().map(|(a, v, b)| format!("{a}{v}{b}")).collect();
            if list.is_empty() { format!("[{rest}]") } else { format!("[{}]", list.join(",")) }
        });
        let map = proptest::collection::btree_map(key.clone(), (blank(), inner, blank()), 0..4);
        let map = (map, blank()).prop_map(|(map, rest)| {
            let map: Vec<String> =
                map.iter().map(|(k, (a, v, b))| format!("{a}\"{k}\"{b}:{a}{v}{b}")).collect();
            if map.is_empty() { format!("{{{rest}}}") } else { format!("{{{}}}", map.join(",")) }
        });
        prop_oneof![list, map]
    })
    .boxed()
}

/// Any settings file: an object, with or without hooks of other programs.
fn settings() -> impl Strategy<Value = String> {
    let event = prop_oneof![Just("Stop"), Just("PreToolUse"), Just("Other")];
    let list =
        proptest::collection::vec(json(2), 0..3).prop_map(|list| format!("[{}]", list.join(", ")));
    let hooks = proptest::collection::btree_map(event, list, 0..3).prop_map(|map| {
        let map: Vec<String> = map.iter().map(|(k, v)| format!("\n\"{k}\": {v}")).collect();
        format!("{{{}}}", map.join(","))
    });
    (
        proptest::collection::btree_map("[a-d]", json(3), 0..3),
        proptest::option::of(hooks),
        any::<bool>(),
    )
        .prop_map(|(map, hooks, spread)| {
            let mut all: Vec<String> = map.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
            all.extend(hooks.map(|hooks| format!("\"hooks\":{hooks}")));
            let end = if spread { "\n" } else { "" };
            format!("{{{end}{}{end}}}{end}", all.join(&format!(",{end}  ")))
        })
}

proptest! {
    #[test]
    fn any_document_comes_back_byte_for_byte(text in settings()) {
        let (with, back) = there_and_back(&text);
        prop_assert_eq!(&back, &text, "{}", with);
        let before: serde_json::Value = serde_json::from_str(&text).unwrap();
        let after: serde_json::Value = serde_json::from_str(&with).unwrap();
        for (key, value) in before.as_object().unwrap() {
            if key != HOOKS {
                prop_assert_eq!(value, &after[key]);
            }
        }
    }

    #[test]
    fn foreign_edits_in_between_stay(text in settings(), new in json(2)) {
        let (with, made) = put_in(&text, &groups(), true).unwrap();
        // Another program puts its own group behind, as zeta does.
        let group = format!("{{\"theirs\":{new}}}");
        let theirs = vec![("Stop".into(), group), ("New".into(), "{\"theirs\":0}".into())];
        let (both, _) = put_in(&with, &theirs, true).unwrap();
        let back = take_out(&both, &groups(), &made, true).unwrap();
        let expected = put_in(&text, &theirs, true).unwrap().0;
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        prop_assert_eq!(value(&back), value(&expected));
        prop_assert!(present(&back, &groups(), true).unwrap().is_empty());
    }
}
