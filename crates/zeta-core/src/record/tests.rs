//! The grammar of records: what is whole, what is damaged and how, and what is safe to show.

use super::*;
use proptest::prelude::*;

const GOOD: &str = "schema: 1\nkind: \"lease\"\nnote: \"no\"\nn: 12\nend: true\n";

fn own(text: &str) -> Result<Fields<'_>, Damage> {
    match parse(text.as_bytes(), 4096)? {
        Text::Own(fields) => Ok(fields),
        Text::Foreign(_) => panic!("{text:?} was taken for foreign"),
    }
}

#[test]
fn a_whole_record_reads_back_as_it_was() {
    let fields = own(GOOD).unwrap();
    assert_eq!(fields.text("note").as_deref(), Some("no"));
    assert_eq!(fields.number("n"), Some(12));
    assert_eq!((fields.render().as_str(), fields.iter().count()), (GOOD, 4));
    let other_order = own("kind: \"lease\"\nschema: 1\nend: true\n");
    assert_eq!(other_order.unwrap().text("kind").as_deref(), Some("lease"));
    assert_eq!(fields.clone().into_owned(), fields);
}

#[test]
fn only_what_a_terminal_would_act_on_is_escaped() {
    for (text, quoted, printed) in [
        ("a b", r#""a b""#, "a b"),
        ("é\"x\"", r#""é\"x\"""#, "é\"x\""),
        ("a\\b", r#""a\\b""#, "a\\b"),
        ("\u{1b}[2J", r#""\u001b[2J""#, r"\u001b[2J"),
        ("\"\u{7f}\"", r#""\"\u007f\"""#, r#"\"\u007f\""#),
        ("a\n", r#""a\n""#, r"a\n"),
    ] {
        assert_eq!(quote(text), quoted);
        assert_eq!(printable(text), printed);
    }
    for (text, plain) in [("", true), (" ~", true), ("\"", false), ("\\", false), ("é", false)] {
        assert_eq!(is_plain(text), plain, "{text}");
    }
}

#[test]
fn each_kind_of_damage_is_named() {
    for (text, damage) in [
        ("schema: 1\nkind: \"lease\"\n", Damage::NoEnd),
        ("schema: 1\nend: true", Damage::NoEnd),
        ("schema: 1\nxend: true\n", Damage::NoEnd),
        ("schema: 1\r\nend: true\r\n", Damage::NoEnd),
        ("schema: 1\r\nend: true\n", Damage::BadValue(1)),
        ("schema: 1\nn: 1e3\nend: true\n", Damage::BadValue(2)),
        ("schema: 1\nn: no\nend: true\n", Damage::BadValue(2)),
        ("schema: 1\nn: 007\nend: true\n", Damage::BadValue(2)),
        ("schema: 1\nn: \"a\"b\"\nend: true\n", Damage::BadValue(2)),
        ("schema: 1\nn: \"\\x41\"\nend: true\n", Damage::BadValue(2)),
        ("schema: 1\n n: 1\nend: true\n", Damage::BadLine(2)),
        ("schema: 1\n\nend: true\n", Damage::BadLine(2)),
        ("schema: 1\nn: 1\nn: 2\nend: true\n", Damage::DuplicateKey("n".into())),
        ("schema: 1\nend: true\nend: true\n", Damage::DuplicateKey("end".into())),
        ("schema: 2\nend: true\n", Damage::UnknownSchema("2".into())),
        ("schema: 1\nschema: 1\nend: true\n", Damage::DuplicateKey("schema".into())),
        ("n: 1\nschema: 2\nend: true\n", Damage::UnknownSchema("2".into())),
    ] {
        assert_eq!(own(text), Err(damage), "{text:?}");
    }
    let keys: String = (2..=KEYS_MAX).map(|n| format!("k{n}: 1\n")).collect();
    let full = format!("schema: 1\n{keys}");
    assert!(parse(format!("{full}end: true\n").as_bytes(), 65536).is_ok());
    let more = format!("{full}k: 1\nend: true\n");
    assert_eq!(parse(more.as_bytes(), 65536), Err(Damage::TooManyKeys(KEYS_MAX)));
    assert_eq!(parse(b"schema: 1\n\xff", 4096), Err(Damage::NotUtf8));
    assert_eq!(parse(&[b'x'; 4097], 4096), Err(Damage::TooLong(4096)));
    assert!(parse(&[b'x'; 4096], 4096).is_ok());
    let kind = |found: &str| Damage::WrongKind { found: found.into(), wanted: "lease" };
    assert_eq!(own(GOOD).unwrap().expect_kind("lease"), Ok(()));
    let persona = own("schema: 1\nkind: \"persona\"\nend: true\n").unwrap();
    assert_eq!(persona.expect_kind("lease"), Err(kind("persona")));
    let none = own("schema: 1\nend: true\n").unwrap();
    assert_eq!(none.expect_kind("lease"), Err(kind("missing")));
}

#[test]
fn a_key_has_one_to_64_bytes() {
    for good in ["a", "a_1", &"k".repeat(64)] {
        assert!(is_key(good), "{good}");
    }
    for bad in ["", "1a", "_a", "A", "a-b", "a.b", "ä", &"k".repeat(65)] {
        assert!(!is_key(bad), "{bad}");
        let text = format!("schema: 1\n{bad}: 1\nend: true\n");
        assert_eq!(own(&text), Err(Damage::BadLine(2)), "{bad}");
    }
}

#[test]
fn text_by_another_hand_is_foreign() {
    for text in ["", "12345\n", "pid: 77\ntimestamp: \"x\"\n", "\u{0}\u{1}"] {
        assert!(matches!(parse(text.as_bytes(), 4096), Ok(Text::Foreign(_))), "{text:?}");
    }
    let text = "pid: 77\n note : \"a b\"\npid: 78\nno pair\nBad: 1\n";
    let Ok(Text::Foreign(fields)) = parse(text.as_bytes(), 4096) else { panic!("{text}") };
    let found: Vec<_> = fields.iter().collect();
    assert_eq!(found, [("pid", "\"77\""), ("note", "\"a b\"")], "the first one counts");
}

#[test]
fn surrogate_pairs_decode_and_lone_ones_do_not() {
    assert_eq!(unquote("\"\\ud83d\\ude00\"").as_deref(), Some("😀"));
    assert_eq!(unquote("\"\\ud83d\""), None);
}

#[test]
fn a_number_is_read_up_to_the_last_of_64_bits() {
    for number in [0, 1, 9, 10, 999, u64::MAX / 10, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        assert_eq!(number_of(&number.to_string()), Some(number));
        assert_eq!(number_of(&format!("00{number}")), Some(number));
    }
    for power in 0..20 {
        let number = 10u64.pow(power);
        assert_eq!(number_of(&(number - 1).to_string()), Some(number - 1));
        assert_eq!(number_of(&number.to_string()), Some(number));
    }
    for bad in ["", "-1", "-0", " 1", "1 ", "1.5", "1e3", "true", "\"1\"", "/", ":", "٣"] {
        assert_eq!(number_of(bad), None, "{bad:?}");
    }
    for bad in ["18446744073709551616", "99999999999999999999", "-9999999999999999999"] {
        assert_eq!(number_of(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn fields_are_changed_as_a_list_of_pairs_is(
        changes in proptest::collection::vec(
            ("[a-d]{1,2}|renewed_boot_ns", "\\PC{0,9}", 0..3), 0..40,
        )
    ) {
        let mut fields = Fields::default();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value, change) in changes {
            let known = pairs.iter().position(|(known, _)| *known == key);
            let value = quote(&value);
            match (change, known) {
                (0, _) => {
                    fields.remove(&key);
                    pairs.retain(|(known, _)| *known != key);
                }
                (1, None) => {
                    fields.push_raw(&key, &value);
                    pairs.push((key, value));
                }
                (_, Some(at)) => {
                    fields.set_raw(&key, &value);
                    pairs[at].1 = value;
                }
                (_, None) => {
                    fields.set_raw(&key, &value);
                    pairs.push((key, value));
                }
            }
            let found: Vec<_> = fields.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(&found, &pairs);
            for (key, value) in &pairs {
                prop_assert_eq!(fields.raw(key), Some(value.as_str()));
            }
        }
        let text = format!("schema: 1\n{}", fields.render());
        let read = own(&text).unwrap();
        let read: Vec<_> = read.iter().skip(1).collect();
        prop_assert_eq!(read, fields.iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_text_survives_quoting(
        text in "\\PC*|[\\x00-\\x1f\"\\\\\u{7f}-\u{9f}\u{2028}\u{feff}]*",
    ) {
        let quoted = quote(&text);
        let line = format!("{quoted}\n");
        prop_assert_eq!(scalar_len(line.as_bytes()), Some(quoted.len()));
        prop_assert!(!quoted.chars().any(is_unprintable));
        let back = unquote(&quoted);
        prop_assert_eq!(back.as_deref(), Some(text.as_str()));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, 4096);
    }

    #[test]
    fn a_torn_record_is_never_whole(cut in 0..GOOD.len()) {
        let whole = matches!(parse(&GOOD.as_bytes()[..cut], 4096), Ok(Text::Own(_)));
        prop_assert!(!whole);
    }
}
