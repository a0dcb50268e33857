//! Tests: what is written reads back, in this reader and in another; hostile text is an error.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use zeta_core::registration::node::{self, About, ClusterNode, Hardware, Network};

use crate::node_yaml::*;

/// The integration tests and this one write the same line.
#[path = "../../../zeta/tests/suite/support/skip.rs"]
mod skip;

/// Strings that some reader of YAML takes for something else, or that break a careless writer.
const ODD: [&str; 72] = [
    "",
    " ",
    "no",
    "NO",
    "Yes",
    "on",
    "off",
    "y",
    "n",
    "true",
    "False",
    "null",
    "Null",
    "~",
    "1",
    "-1",
    "+1",
    "007",
    "0o17",
    "0x10",
    "0b11",
    "1_000",
    "1e3",
    "1E3",
    "1e+3",
    "1.5",
    ".5",
    "5.",
    "-.5",
    ".inf",
    "-.INF",
    ".nan",
    "12:30",
    "12:30:45",
    "1:2:3.5",
    "190:20:30",
    "2026-01-01",
    "2026-1-1",
    "2026-01-01T10:00:00Z",
    "2026-01-01 10:00:00 +1",
    "=",
    "<<",
    "-",
    "- a",
    "?",
    "? a",
    ":",
    "a: b",
    "a:",
    "a #b",
    "#b",
    "&a",
    "*a",
    "!a",
    "!!int 1",
    "|",
    ">",
    "@a",
    "`a",
    "%a",
    "{a: b}",
    "[a]",
    ",",
    "---",
    "...",
    "'a'",
    "\"a\"",
    "a\\b\tc",
    "a\nb\n",
    " a ",
    "a\r\nb\u{85}c\u{2028}d\u{feff}e\u{7f}\u{0}\u{1b}",
    "\u{1f600} \u{e9}\u{fffd}",
];

fn sheet(value: &str) -> ClusterNode {
    let about = About {
        node: value.to_owned(),
        maintainer: value.to_owned(),
        roles: vec![value.to_owned(), "worker".to_owned()],
        timestamp: value.to_owned(),
        expires_at: Some(value.to_owned()),
        flake_commit: Some(value.to_owned()),
        flake_host: None,
        cluster_key: Some(value.to_owned()),
    };
    let hardware = Hardware {
        cpu: Some(value.to_owned()),
        memory: Some("24 GiB".to_owned()),
        cores: Some(8),
        gpu: None,
        storage: vec![value.to_owned(), "/dev/vda 256 GiB".to_owned()],
        network: Some(Network { ip: Some("fd00::2".to_owned()), mac: Some(value.to_owned()) }),
        kernel: Some("6.18".to_owned()),
    };
    let mut sheet = node::compose(&about, hardware);
    sheet.metadata.labels.insert(value.to_owned(), value.to_owned());
    sheet
}

/// Strings from a seed, of the characters that mean something in YAML.
fn random(seed: u64, count: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let letters: Vec<char> =
        "01eExob:.-+_~ nNyYaft#&*!|>%@`'\"{}[],?<=\\\t\n\r\u{85}".chars().collect();
    let mut string = |_| {
        let len = random.usize(0..9);
        (0..len).filter_map(|_| random.choice(&letters).copied()).collect()
    };
    (0..count).map(&mut string).collect()
}

fn all(seed: u64) -> Vec<String> {
    let long = "a long sentence of many words ".repeat(40);
    ODD.into_iter().map(str::to_owned).chain([long]).chain(random(seed, 400)).collect()
}

#[test]
fn what_is_written_reads_back() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    for value in all(seed) {
        let sheet = sheet(&value);
        let text = write(&sheet).unwrap();
        assert_eq!(read(text.as_bytes()).as_ref(), Ok(&sheet), "{value:?} in\n{text}");
    }
}

#[test]
fn the_sheet_looks_as_its_readers_expect() {
    let text = write(&sheet("maya")).unwrap();
    for line in [
        "apiVersion: zeta.lucent-financial-group.com/v1",
        "kind: ClusterNode",
        "  namespace: zeta-cluster",
        "    zeta.lucent-financial-group.com/registered-via: zeta-node-register",
        "    flake-commit: maya",
        "    cores: 8",
        "    memory: 24 GiB",
        "    kernel: '6.18'",
    ] {
        assert!(text.lines().any(|other| other.replace('"', "'") == line), "{line} in\n{text}");
    }
    assert!(!text.contains("gpu") && !text.contains("null"), "{text}");
}

#[test]
fn other_readers_see_strings_where_we_wrote_strings() {
    let pythons = ["python3", "/usr/bin/python3"];
    let can = |python: &&str| {
        let mut command = Command::new(python);
        let command = command.args(["-c", "import yaml"]).stdin(Stdio::null());
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let Some(python) = pythons.into_iter().find(can) else {
        let test = "adapters::yaml::tests::other_readers_see_strings_where_we_wrote_strings";
        return skip::skip(test, "needs python3 with yaml");
    };
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let sheets: Vec<ClusterNode> = all(seed).iter().map(|value| sheet(value)).collect();
    let texts: Vec<String> = sheets.iter().map(|sheet| write(sheet).unwrap()).collect();
    let file = std::env::temp_dir().join(format!("zeta-yaml-{seed}.json"));
    std::fs::write(&file, serde_json::to_vec(&texts).unwrap()).unwrap();
    let script = "import json,sys,yaml\n\
        texts = json.load(open(sys.argv[1]))\n\
        print(json.dumps([yaml.safe_load(text) for text in texts]))";
    let out = Command::new(python).args(["-c", script]).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(seen.len(), sheets.len());
    for ((seen, sheet), text) in seen.iter().zip(&sheets).zip(&texts) {
        assert_eq!(seen, &serde_json::to_value(sheet).unwrap(), "in\n{text}");
    }
}

const PLAIN: &str = "\
apiVersion: zeta.lucent-financial-group.com/v1
kind: ClusterNode
metadata:
  name: maya
  namespace: zeta-cluster
spec:
  hostname: maya
  roles: [worker, no]
  registration:
    maintainer: 12
    timestamp: 2026-01-01T00:00:00Z
    flake-commit: 1234567
    flake-host: null
    registered-via: zeta-node-register
  hardware:
    cores: 8
";

#[test]
fn a_sheet_by_another_hand_is_read_and_its_unknown_keys_are_passed_over() {
    let plain = read(PLAIN.as_bytes()).unwrap();
    assert_eq!(plain.spec.roles, ["worker", "no"]);
    assert_eq!(plain.spec.registration.maintainer, "12");
    assert_eq!(plain.spec.registration.flake_commit.as_deref(), Some("1234567"));
    assert_eq!(plain.spec.registration.flake_host, None);
    assert_eq!(plain.metadata.labels, BTreeMap::new());
    let more = "    tpm: [present, {a: b}]\n  weather:\n    - sun: 1\nstatus: {ready: true}\n";
    assert_eq!(read(format!("# by hand\n---\n{PLAIN}{more}").as_bytes()), Ok(plain));
}

#[test]
fn hostile_text_is_an_error() {
    let deep = "[".repeat(5000);
    let nested: String = (0..100).map(|at| format!("{}a:\n", " ".repeat(at))).collect();
    let bomb: String = ('b'..'m')
        .map(|next| {
            let last = char::from_u32(u32::from(next) - 1).unwrap();
            format!("{next}: &{next} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n")
        })
        .collect();
    let wide = format!("wide: [{}]\n", "1,".repeat(30_000));
    for (what, text) in [
        ("nothing", String::new()),
        ("a word", "no".to_owned()),
        ("a list", "[]".to_owned()),
        ("a bomb", format!("{PLAIN}a: &a [x]\n{bomb}")),
        ("an anchor", format!("{PLAIN}a: &a x\n")),
        ("a merge", format!("{PLAIN}<<: {{kind: Other}}\n")),
        ("flow depth", format!("{PLAIN}a: {deep}")),
        ("flow depth, closed", format!("{PLAIN}a: {deep}{}", "]".repeat(5000))),
        ("block depth", format!("{PLAIN}{nested}")),
        ("width", format!("{PLAIN}{wide}")),
        ("length", format!("{PLAIN}# {}\n", "x".repeat(MOST_BYTES))),
        ("a key twice", format!("{PLAIN}kind: Other\n")),
        ("two sheets", format!("{PLAIN}---\n{PLAIN}")),
        ("open end", format!("{PLAIN}a: \"")),
        ("tabs", format!("{PLAIN}\ta: b\n")),
        ("no kind", PLAIN.replace("kind: ClusterNode\n", "")),
        ("cores of letters", PLAIN.replace("cores: 8", "cores: many")),
        ("cores below zero", PLAIN.replace("cores: 8", "cores: -1")),
    ] {
        let error = read(text.as_bytes()).expect_err(what);
        assert_eq!(error.kind, Kind::Unsafe, "{what}");
        assert!(error.text.len() < 1500 && !error.text.contains(char::is_control), "{error:?}");
    }
    assert!(read(&[0xff; 64]).is_err() && read(&[0; 64]).is_err());
}
