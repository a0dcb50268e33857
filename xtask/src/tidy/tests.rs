//! Each rule with something that breaks it, and the whole checkout, which breaks none.

use super::*;

fn page(path: &str, text: &str) -> Page {
    Page { path: path.to_owned(), text: text.to_owned() }
}

fn findings_in(path: &str, text: &str) -> Vec<String> {
    let page = page(path, text);
    let mut findings = Vec::new();
    rust::check(&page, &mut findings);
    imports::check(&page, &mut findings);
    findings.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn expect(path: &str, text: &str, expected: &[&str]) {
    let found = findings_in(path, text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }
}

#[test]
fn the_checkout_is_tidy() {
    let findings = check_tree(&run::root()).unwrap();
    let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "\n{}\n", shown.join("\n"));
}

#[test]
fn a_file_opens_with_a_sentence() {
    expect("a/b.rs", "//! Why.\nfn f() {}\n", &[]);
    expect("a/b.rs", "fn f() {}\n", &["a/b.rs:1: the first line"]);
    expect("a/b.rs", "//!\n//! Why.\n", &["a/b.rs:1: the first line"]);
}

#[test]
fn links_lead_to_files_and_headings() {
    let pages = [
        page("README.md", ""),
        page("docs/a.md", "# A title\n\n## 1. What `x` is, exactly\n\n```\n# no heading\n```\n"),
        page("docs/use/b.md", "# B\n"),
    ];
    let findings_of = |path: &str, text: &str| {
        let mut findings = Vec::new();
        pages::check_links(&page(path, text), &pages, &mut findings);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for good in [
        "[a](docs/a.md), [b](docs/use/b.md#b) and [c](#here)\n## Here\n",
        "![a](docs/a.md) [x](docs/a.md#1-what-x-is-exactly)",
        "[elsewhere](https://example.org/x.md) ![d](docs/use/)",
        "```\n[none](none.md)\n```\n",
    ] {
        assert_eq!(findings_of("README.md", good), [""; 0], "{good}");
    }
    assert_eq!(findings_of("docs/use/b.md", "[up](../a.md#a-title)"), [""; 0]);
    for (bad, what) in [
        ("\n[a](a.md)", "README.md:2: link 'a.md': there is no such file"),
        ("[a](docs/a.md#title)", "link 'docs/a.md#title': there is no such heading"),
        ("[a](docs/a.md#no-heading)", "there is no such heading"),
        ("[a](docs/a.md) [b](../docs/b.md)", "link '../docs/b.md': there is no such file"),
    ] {
        let found = findings_of("README.md", bad);
        assert!(found.len() == 1 && found[0].contains(what), "{bad}: {found:?}");
    }
}

#[test]
fn names_say_something() {
    expect("a/utils.rs", "//! Why.\n", &["'utils' says nothing"]);
    expect("a/common/b.rs", "//! Why.\n", &["'common' says nothing"]);
    expect("a/typesetting.rs", "//! Why.\n", &[]);
}

#[test]
fn sizes() {
    let lines = |count: usize| format!("//! Why.\n{}", "// .\n".repeat(count - 1));
    expect("a/b.rs", &lines(500), &[]);
    expect("a/b.rs", &lines(501), &["a/b.rs:501: 501 lines"]);
    expect("a/tests/b.rs", &lines(501), &[]);
    expect("a/tests.rs", &lines(801), &["801 lines"]);
    expect("a/b.rs", &format!("//! Why.\n// {}\n", "ö".repeat(97)), &[]);
    expect("a/b.rs", &format!("//! Why.\n// {}\n", "ö".repeat(98)), &["b.rs:2: 101 characters"]);
}

#[test]
fn functions_are_measured_to_their_own_brace() {
    let function = |head: &str, lines: usize, indent: &str| {
        let body = format!("{indent}    if x {{\n{indent}    }}\n").repeat((lines - 2) / 2);
        format!("//! Why.\n{indent}{head} {{\n{body}{indent}}}\n")
    };
    expect("a.rs", &function("pub(crate) fn f()", 70, ""), &[]);
    expect("a.rs", &function("pub(crate) fn f()", 72, ""), &["a.rs:2: 'f' has 72 lines"]);
    expect("a.rs", &function("async unsafe fn g<T>()", 72, "    "), &["'g' has 72 lines"]);
    let declared = format!("//! Why.\ntrait T {{\n    fn f(\n    );\n{}}}\n", "\n".repeat(80));
    expect("a.rs", &declared, &[]);
}

#[test]
fn nothing_is_left_behind() {
    for left in [
        concat!("// FIX", "ME: later"),
        concat!("// X", "XX"),
        concat!("dbg", "!(x);"),
        concat!("todo", "!()"),
        concat!("#![all", "ow(dead_code)]"),
    ] {
        expect("a.rs", &format!("//! Why.\n{left}\n"), &["a.rs:2: "]);
    }
    expect("a.rs", "//! Why.\nlet template = \"/tmp/XXXXXX\";\n", &[]);
}

#[test]
fn imports_go_down() {
    let cli = "crates/zeta/src/cli/lease.rs";
    expect(cli, "//! Why.\nuse crate::ops::lease;\nuse crate::output;\n", &[]);
    expect(cli, "//! Why.\nuse crate::adapters::guard;\n", &["'cli' may not use 'adapters'"]);
    let group = "//! Why.\nuse crate::{\n    ops::{self, lease},\n    adapters::{a, b},\n};\n";
    expect(cli, group, &["lease.rs:2: 'cli' may not use 'adapters'"]);
    expect(cli, "//! Why.\n// not crate::adapters\n", &[]);
    let hands = "crates/zeta/src/adapters/guard.rs";
    expect(hands, "//! Why.\nfn f() { crate::ops::f() }\n", &["'adapters' may not use 'ops'"]);
    expect(hands, "//! Why.\nuse zeta_core::lease;\n", &[]);
    expect(hands, "//! Why.\nuse super::super::ops;\n", &["say 'crate::'"]);
    expect("crates/zeta/src/ops/mod.rs", "//! Why.\nuse crate::cli;\n", &["may not use 'cli'"]);
    expect("crates/zeta/src/main.rs", "//! Why.\nuse zeta::adapters;\n", &["'main' may not use"]);
    expect("crates/zeta/src/new_room.rs", "//! Why.\n", &["the room 'new_room' is new"]);
    expect("crates/zeta-core/src/name.rs", "//! Why.\nuse crate::lease::Record;\n", &["'name'"]);
}

#[test]
fn one_title_per_page() {
    let count = |text: &str| {
        let mut findings = Vec::new();
        pages::check_headings(&page("a.md", text), &mut findings);
        findings.len()
    };
    assert_eq!(count("# One\n\n## Two\n```sh\n# a comment\n```\n"), 0);
    assert_eq!(count("# One\n# Two\n"), 1);
    assert_eq!(count("## Two\n"), 1);
}

#[test]
fn the_map_names_only_what_exists() {
    let map = "# Map\n`crates/a/src/x.rs`, `x.rs`, `src/x.rs`, `crates/a/`, `/tmp/state`, \
               `--flag`, `nodes/x`, `crates/b`, `y.rs`, `lease::x`\n";
    let pages = [page("ARCHITECTURE.md", map), page("crates/a/src/x.rs", "")];
    let mut findings = Vec::new();
    pages::check_map(&pages, &mut findings);
    let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "ARCHITECTURE.md:2: 'crates/b' does not exist",
            "ARCHITECTURE.md:2: 'y.rs' does not exist"
        ]
    );
}

#[test]
fn a_change_log_has_a_place_for_the_next_release() {
    let mut findings = Vec::new();
    pages::check_changelog(&[], &mut findings);
    pages::check_changelog(&[page("CHANGELOG.md", "# C\n## [0.1.0]\n")], &mut findings);
    assert_eq!(findings.len(), 2);
    pages::check_changelog(&[page("CHANGELOG.md", "# C\n## [Unreleased]\n")], &mut findings);
    assert_eq!(findings.len(), 2);
}
