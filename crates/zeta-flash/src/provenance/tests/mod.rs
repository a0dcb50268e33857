//! The vectors, and many mutations of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;

mod forge;

use self::forge::{Forge, IDENTITY, ISSUER, NOON_S, text_of_der, uri};
use super::{Answer, Asked, Bundle, Check, NotChecked, judge, of};

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn key_cases() -> Vec<Value> {
    vectors(include_str!("../vectors/cosign-key.json"))["cases"].as_array().unwrap().clone()
}

fn by_key(case: &Value) -> (Vec<u8>, Asked) {
    let text = |name: &str| case["in"][name].as_str().unwrap().to_owned();
    let message = STANDARD.decode(text("message_b64")).unwrap();
    let (key, signature) = (text("public_key_pem").into_bytes(), text("sig_file").into_bytes());
    (message, Asked::Key { key, signature })
}

fn bundle_vectors() -> Value {
    vectors(include_str!("../vectors/sigstore-bundle.json"))
}

fn by_bundle(all: &Value, case: &Value) -> (Vec<u8>, Bundle) {
    let text = |name: &str| case["in"][name].as_str().unwrap().to_owned();
    let roots = case["in"].get("trusted_root").unwrap_or(&all["trusted_root"]);
    let asked = Bundle {
        bundle: text("bundle_text").into_bytes(),
        identity: text("identity"),
        issuer: text("issuer"),
        roots: roots.to_string().into_bytes(),
    };
    (STANDARD.decode(text("artifact_b64")).unwrap(), asked)
}

fn judged(image: &[u8], asked: &Asked) -> Answer {
    judge(&of(image).unwrap().0, asked)
}

#[test]
fn signatures_by_a_key_are_judged_as_the_vectors_say() {
    for case in key_cases() {
        let (message, asked) = by_key(&case);
        let word = match judged(&message, &asked) {
            Answer::Verified { .. } => "ok",
            Answer::Refused { why } => match why.check {
                Check::Key => "bad-key",
                Check::Format => "bad-encoding",
                Check::Signature => "bad-signature",
                other => panic!("{}: {other:?}", case["id"]),
            },
            Answer::NotChecked { why } => panic!("{}: {why:?}", case["id"]),
        };
        // r and s are at least 1 where they are read.
        let wanted = match case["id"].as_str().unwrap() {
            "r-zero" | "s-zero" => "bad-encoding",
            _ => case["out"]["ours"].as_str().unwrap(),
        };
        assert_eq!(wanted, word, "{}", case["id"]);
    }
}

/// `base64` and `openssl base64` break long lines.
#[test]
fn the_ends_of_lines_are_no_part_of_a_signature() {
    let cases = key_cases();
    let (message, asked) = by_key(cases.iter().find(|case| case["id"] == "good").unwrap());
    let Asked::Key { key, signature } = asked else { panic!() };
    let (first, rest) = signature.split_at(64);
    for (between, is_good) in [("\n", true), ("\r\n", true), (" ", false), ("\0", false)] {
        let signature = [first, between.as_bytes(), rest, b"\n"].concat();
        let answer = judged(&message, &Asked::Key { key: key.clone(), signature });
        assert_eq!(matches!(answer, Answer::Verified { .. }), is_good, "{between:?}");
    }
}

#[test]
fn bundles_are_judged_as_the_vectors_say() {
    let all = bundle_vectors();
    let mut stricter = 0;
    for case in all["cases"].as_array().unwrap() {
        let (image, asked) = by_bundle(&all, case);
        let answer = judged(&image, &Asked::Bundle(Box::new(asked)));
        let word = match &answer {
            Answer::Verified { .. } => "ok".to_owned(),
            Answer::Refused { why } => format!("refused:{}", why.check.word()),
            Answer::NotChecked { why } => panic!("{}: {why:?}", case["id"]),
        };
        assert_eq!(case["out"]["ours"].as_str().unwrap(), word, "{}: {answer:?}", case["id"]);
        stricter += usize::from(case["stricter_on_purpose"] == true);
    }
    assert!(stricter >= 7, "{stricter}");
}

#[test]
fn nothing_named_is_not_checked() {
    let why = NotChecked::NothingNamed;
    assert_eq!(judged(b"image", &Asked::Nothing), Answer::NotChecked { why });
}

const IMAGE: &[u8] = b"an image";

/// The check that an own bundle fails, if one.
fn failed(forge: &Forge) -> Option<Check> {
    failed_of(forge.bundle(IMAGE))
}

fn failed_of(asked: Bundle) -> Option<Check> {
    match judged(IMAGE, &Asked::Bundle(Box::new(asked))) {
        Answer::Verified { .. } => None,
        Answer::Refused { why } => Some(why.check),
        Answer::NotChecked { .. } => panic!("it was asked for"),
    }
}

#[test]
fn a_certificate_says_who_signed_once_and_for_what() {
    let good = Forge::default();
    assert_eq!(failed(&good), None);
    let with_names = |names: &[&str]| {
        let names = names.iter().map(|name| uri(name)).collect();
        failed(&Forge { names, ..good.clone() })
    };
    for names in [
        &[][..],
        &[IDENTITY, IDENTITY],
        &[IDENTITY, "https://evil.example.test"],
        &["https://evil.example.test", IDENTITY],
        &[&IDENTITY[..IDENTITY.len() - 1]],
        &[&format!("{IDENTITY}/")],
    ] {
        assert_eq!(with_names(names), Some(Check::Identity), "{names:?}");
    }
    let mail = x509_cert::der::asn1::Ia5String::new(IDENTITY).unwrap();
    let names = vec![x509_cert::ext::pkix::name::GeneralName::Rfc822Name(mail)];
    assert_eq!(failed(&Forge { names, ..good.clone() }), Some(Check::Identity), "no URI");

    let new = |text: &str| ("8", text_of_der(text));
    let old = |text: &str| ("1", text.as_bytes().to_vec());
    let other = "https://other.example.test";
    for (issuers, wanted) in [
        (vec![new(ISSUER)], None),
        (vec![old(ISSUER)], None),
        (vec![], Some(Check::Issuer)),
        (vec![new(other)], Some(Check::Issuer)),
        (vec![new(ISSUER), old(other)], Some(Check::Issuer)),
        (vec![old(ISSUER), new(other)], Some(Check::Issuer)),
        (vec![new(ISSUER), new(ISSUER)], Some(Check::Issuer)),
        (vec![("8", ISSUER.into())], Some(Check::Issuer)),
        (vec![("8", vec![])], Some(Check::Issuer)),
        (vec![("2", text_of_der(ISSUER))], Some(Check::Issuer)),
    ] {
        assert_eq!(
            failed(&Forge { issuers: issuers.clone(), ..good.clone() }),
            wanted,
            "{issuers:?}"
        );
    }

    let purpose = Some(Check::Purpose);
    for purposes in [vec![], vec!["1.3.6.1.5.5.7.3.1"], vec!["2.5.29.37.0"]] {
        assert_eq!(failed(&Forge { purposes, ..good.clone() }), purpose);
    }
    let usage = Some(x509_cert::ext::pkix::KeyUsages::KeyEncipherment);
    assert_eq!(failed(&Forge { usage, ..good.clone() }), purpose);
    assert_eq!(failed(&Forge { usage: None, ..good.clone() }), purpose);
    assert_eq!(failed(&Forge { is_authority: Some(true), ..good.clone() }), purpose);
}

#[test]
fn each_certificate_of_the_chain_was_valid_when_the_signature_was_made() {
    let good = Forge::default();
    let last = NOON_S + 60;
    for (root_ends_s, between_ends_s, wanted) in [
        (last, last, None),
        (last - 1, last, Some(Check::Chain)),
        (last, last - 1, Some(Check::Chain)),
    ] {
        let forge = Forge { root_ends_s, between_ends_s, ..good.clone() };
        assert_eq!(failed(&forge), wanted, "{root_ends_s} {between_ends_s}");
    }
    let forge = Forge { between_is_signed_by: 9, ..good.clone() };
    assert_eq!(failed(&forge), Some(Check::Chain), "the root did not sign it");
    for logged_s in [NOON_S - 1, NOON_S + 601] {
        let forge = Forge { logged_s, ..good.clone() };
        assert_eq!(failed(&forge), Some(Check::Time), "{logged_s}");
    }
}

#[test]
fn a_signature_has_a_proven_time_and_a_place_in_the_log() {
    let good = Forge::default();
    let no_promise = Forge { has_promise: false, ..good.clone() };
    assert_eq!(failed(&no_promise), Some(Check::Time));
    let no_proof = Forge { has_proof: false, ..good };
    assert_eq!(failed(&no_proof), Some(Check::Log));
}

const BEACON: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/\
    .github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ACTIONS: &str = "https://token.actions.githubusercontent.com";
const SIGNED: &[u8] = include_bytes!("../vectors/public.txt");

/// Real bundles: of the public log, and of a log of the second version.
fn public() -> [Bundle; 2] {
    let bundle = |bundle: &str, roots: &str| Bundle {
        bundle: bundle.into(),
        identity: BEACON.to_owned(),
        issuer: ACTIONS.to_owned(),
        roots: roots.into(),
    };
    [
        bundle(include_str!("../vectors/public.bundle.json"), SIGSTORE_PRODUCTION_TRUSTED_ROOT),
        bundle(
            include_str!("../vectors/public2.bundle.json"),
            include_str!("../vectors/public2.roots.json"),
        ),
    ]
}

#[test]
fn real_bundles_of_both_kinds_of_log_are_verified() {
    let [first, second] = public();
    for (asked, wanted_s) in [(&first, 1_710_869_186), (&second, 1_749_729_740)] {
        let by = super::Signer::Identity {
            identity: BEACON.to_owned(),
            issuer: ACTIONS.to_owned(),
            signed_s: wanted_s,
        };
        let good = Asked::Bundle(Box::new(asked.clone()));
        assert_eq!(judged(SIGNED, &good), Answer::Verified { by });
        let Answer::Refused { why } = judged(b"another image", &good) else { panic!() };
        assert_eq!(why.check, Check::Digest);
    }
    let crossed = Bundle { roots: second.roots, ..first };
    let Answer::Refused { why } = judged(SIGNED, &Asked::Bundle(Box::new(crossed))) else {
        panic!()
    };
    assert!([Check::Log, Check::Chain].contains(&why.check), "{why:?}");
}

/// A certificate that no log of certificates has seen is refused where the roots name such logs.
#[test]
fn a_certificate_is_in_a_log_of_certificates_if_the_roots_name_one() {
    let good = Forge::default().bundle(IMAGE);
    let mut roots: Value = serde_json::from_slice(&good.roots).unwrap();
    let public: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    roots["ctlogs"] = public["ctlogs"].clone();
    let asked = Bundle { roots: roots.to_string().into_bytes(), ..good };
    assert_eq!(failed_of(asked), Some(Check::Chain));
}

/// The roots that zeta brings are those that sigstore published. When the crate brings others, a
/// person compares them (targets/trusted_root.json in sigstore/root-signing) and writes it here.
#[test]
fn the_roots_of_the_public_instance_are_those_that_were_looked_at() {
    let digest = of(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes()).unwrap().0;
    assert_eq!(digest.hex(), "6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66");
}

#[test]
fn a_bundle_of_another_kind_is_refused() {
    let forge = Forge::default();
    let good = forge.json(IMAGE);
    let failed_with = |change: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        change(&mut json);
        failed_of(Bundle { bundle: json.to_string().into_bytes(), ..forge.bundle(IMAGE) })
    };
    assert_eq!(failed_with(&|_| {}), None);
    for kind in [
        json!("application/vnd.dev.sigstore.bundle+json;version=0.1"),
        json!("application/vnd.dev.sigstore.bundle.v0.3+json;x=y"),
        json!(3),
        json!(null),
    ] {
        let set = |json: &mut Value| json["mediaType"] = kind.clone();
        assert_eq!(failed_with(&set), Some(Check::Format), "{kind}");
    }
    let nulls = |json: &mut Value| {
        json["dsseEnvelope"] = json!(null);
        json["verificationMaterial"]["publicKey"] = json!(null);
    };
    assert_eq!(failed_with(&nulls), None, "as if they were not there");
    let format = Some(Check::Format);
    assert_eq!(failed_with(&|json| json["dsseEnvelope"] = json!({"payload": ""})), format);
    assert_eq!(
        failed_with(&|json| json["messageSignature"]["messageDigest"] = json!(null)),
        format
    );
    let other = |json: &mut Value| {
        json["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA2_512");
    };
    assert_eq!(failed_with(&other), format);
    let key = |json: &mut Value| {
        json["verificationMaterial"]["publicKey"] = json!({"hint": "x"});
    };
    assert_eq!(failed_with(&key), Some(Check::Identity));
    let chain = |json: &mut Value| {
        let material = &mut json["verificationMaterial"];
        let one = material["certificate"].take();
        material["x509CertificateChain"] = json!({"certificates": [one]});
        material.as_object_mut().unwrap().remove("certificate");
    };
    assert_eq!(failed_with(&chain), format);
    let entry = |json: &mut Value| json["verificationMaterial"]["tlogEntries"] = json!([]);
    assert_eq!(failed_with(&entry), Some(Check::Log));
}

/// Every place of a value in JSON.
fn places(json: &Value, at: &str, found: &mut Vec<String>) {
    match json {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(values) => values.iter().enumerate().for_each(|(key, value)| {
            places(value, &format!("{at}/{key}"), found);
        }),
        _ => found.push(at.to_owned()),
    }
}

/// Another value of the same kind, that is still well formed where that is easy.
fn changed(value: &Value) -> Value {
    let Some(text) = value.as_str() else { return json!(null) };
    match (text.parse::<i64>(), STANDARD.decode(text)) {
        (Ok(number), _) => json!((number + 1).to_string()),
        (_, Ok(mut bytes)) if !bytes.is_empty() => {
            // In a time stamp this is the statement; its middle is a certificate of the roots.
            let at = bytes.len() / 8;
            bytes[at] ^= 1;
            json!(STANDARD.encode(bytes))
        }
        _ => json!(format!("{text}x")),
    }
}

/// No value in a bundle can be changed.
#[test]
fn each_value_of_a_bundle_is_proven() {
    let all = bundle_vectors();
    let good = all["cases"].as_array().unwrap().iter().find(|case| case["id"] == "good-index-7");
    let (image, asked) = by_bundle(&all, good.unwrap());
    let [first, second] = public();
    let mut unproven = Vec::new();
    for (image, asked) in [(image.as_slice(), asked), (SIGNED, first), (SIGNED, second)] {
        let good: Value = serde_json::from_slice(&asked.bundle).unwrap();
        let mut found = Vec::new();
        places(&good, "", &mut found);
        assert!(found.len() > 15, "{found:?}");
        for at in found {
            let mut json = good.clone();
            let value = json.pointer_mut(&at).unwrap();
            *value = changed(value);
            let bundle = json.to_string().into_bytes();
            let asked = Asked::Bundle(Box::new(Bundle { bundle, ..asked.clone() }));
            if matches!(judged(image, &asked), Answer::Verified { .. }) {
                unproven.push(at);
            }
        }
    }
    assert_eq!(unproven, [""; 0]);
}

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Cut {
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let at = any::<prop::sample::Index>;
    let cut = prop_oneof![
        (at(), 1..=255u8).prop_map(|(at, bits)| Cut::Flip(at, bits)),
        (at(), 1..400usize).prop_map(|(at, length)| Cut::Remove(at, length)),
        (at(), proptest::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Cut::Insert(at, bytes)),
    ];
    proptest::collection::vec(cut, 1..4)
}

fn cut(bytes: &mut Vec<u8>, cuts: &[Cut]) {
    for cut in cuts {
        if bytes.is_empty() {
            return;
        }
        match cut {
            Cut::Flip(at, bits) => *at.get_mut(bytes) ^= bits,
            Cut::Remove(at, length) => {
                let from = at.index(bytes.len());
                bytes.drain(from..(from + length).min(bytes.len()));
            }
            Cut::Insert(at, new) => {
                let from = at.index(bytes.len());
                bytes.splice(from..from, new.iter().copied());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes that anything was done to are refused, and never end the program. What is verified
    /// still has the same signature of the same image.
    #[test]
    fn damaged_files_end_nothing(
        which in any::<prop::sample::Index>(),
        file in 0..4,
        inside in any::<bool>(),
        cuts in cuts(),
    ) {
        let (image, asked) = damaged(which, file, inside, &cuts);
        let other = [image.as_slice(), b"x"].concat();
        judged(&image, &asked);
        let is_verified = matches!(judged(&other, &asked), Answer::Verified { .. });
        prop_assert!(!is_verified);
    }
}

/// A case of the vectors with one of its files damaged: `inside` damages the bytes of a value of
/// JSON that base64 stands for, and encodes them again.
fn damaged(which: prop::sample::Index, file: i32, inside: bool, cuts: &[Cut]) -> (Vec<u8>, Asked) {
    let all = bundle_vectors();
    let cases = all["cases"].as_array().unwrap();
    let keys = key_cases();
    if file < 2 {
        let (image, mut asked) = by_key(which.get(&keys));
        if let Asked::Key { key, signature } = &mut asked {
            cut(if file == 0 { key } else { signature }, cuts);
        }
        return (image, asked);
    }
    let (image, mut asked) = by_bundle(&all, which.get(cases));
    let text = if file == 2 { &mut asked.bundle } else { &mut asked.roots };
    let json: Option<Value> = serde_json::from_slice(text).ok();
    let mut found = Vec::new();
    json.iter().for_each(|json| places(json, "", &mut found));
    match json {
        Some(mut json) if inside && !found.is_empty() => {
            let at: &String = which.get(&found);
            let value = json.pointer_mut(at).unwrap();
            if let Some(mut bytes) = value.as_str().and_then(|text| STANDARD.decode(text).ok()) {
                cut(&mut bytes, cuts);
                *value = json!(STANDARD.encode(bytes));
            }
            *text = json.to_string().into_bytes();
        }
        _ => cut(text, cuts),
    }
    (image, Asked::Bundle(Box::new(asked)))
}
