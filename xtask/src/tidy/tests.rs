//! Tests of each rule with a text that breaks it, and of the whole checkout, which breaks none.

use super::*;

fn page(path: &str, text: &str) -> Page {
    Page { path: path.to_owned(), text: text.to_owned() }
}

fn findings_in(path: &str, text: &str) -> Vec<String> {
    let page = page(path, text);
    let mut findings = Vec::new();
    rust::check(&page, &mut findings);
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
fn code_decides_by_no_sentence_of_our_own() {
    let path = "crates/zeta-os/src/a.rs";
    for reads in [
        "if error.text.contains(\"mode\") {}",
        "let short = error.text.strip_prefix(\"x: \");",
        "let other = error.text.replace(\"a\", \"b\");",
        "if error.text.as_str() == \"free\" {}",
        "if error.text.to_lowercase().ends_with(\"mode\") {}",
        "let found = error.hints.iter().any(|hint| hint.as_str().contains(\"x\"));",
        "let found = error\n        .hints\n        .iter()\n        .position(is_it);",
        "if error.to_string().starts_with(\"x\") {}",
        "if itself.text.contains(\"mode\") {}",
    ] {
        let text = format!("//! Why.\nfn f(error: &Error) {{\n    {reads}\n}}\n");
        expect(path, &text, &["decides by no sentence"]);
        expect("crates/zeta/tests/suite/a.rs", &text, &[]);
        expect("crates/zeta-os/src/tests.rs", &text, &[]);
        expect("xtask/src/a.rs", &text, &[]);
        let tested = format!("//! Why.\n#[cfg(test)]\nmod tests {{\n{text}}}\n");
        expect(path, &tested, &[]);
        let late = format!("//! Why.\n#[cfg(test)]\nmod tests;\n{text}");
        expect(path, &late, &["decides by no sentence"]);
    }
    for good in [
        "if error.cause == Cause::ForeignOwner {}",
        "let text = error.text.clone();",
        "let text = fields.text(\"kind\").contains(\"x\");",
        "if self.text.ends_with(':') {}",
        "// error.text.contains",
        "let hints: Vec<&str> = error.hints.iter().map(Hint::as_str).collect();",
    ] {
        expect(path, &format!("//! Why.\n{good}\n"), &[]);
    }
    let text = "//! Why.\n\nfn f() {\n    error\n        .text\n        .contains(\"x\")\n}\n";
    expect(path, text, &["a.rs:5: '.text.contains('"]);
}

#[test]
fn a_manifest_names_only_what_the_table_allows() {
    let found = |package: &str, text: &str| {
        let mut findings = Vec::new();
        let path = format!("crates/{package}/Cargo.toml");
        manifests::check(&page(&path, text), &mut findings);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let good = "[dependencies]\nzeta-core = { path = \"../zeta-core\" }\nrustix = \"1\"\n";
    assert_eq!(found("zeta-os", good), "");
    assert!(
        found("zeta-os", "[dependencies]\nzeta-state.workspace = true\n")
            .contains("Cargo.toml:2: 'zeta-os' may not use 'zeta-state'")
    );
    assert!(
        found("zeta-core", "[dependencies]\n\nrustix = \"1\"\n")
            .contains("Cargo.toml:3: 'zeta-core' may not use 'rustix'")
    );
    assert!(
        found("zeta-state", "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n")
            .contains("'tokio'")
    );
    assert_eq!(found("zeta-core", "[dev-dependencies]\nrustix = \"1\"\n"), "");
    for other_way in [
        "[dependencies.tokio]\nversion = \"1\"\n",
        "[dependencies]\ntokio.version = \"1\"\n",
        "[dependencies]\n\"tokio\" = \"1\"\n",
        "[dependencies]\nrt = { package = \"tokio\", version = \"1\" }\n",
        "[target.'cfg(unix)'.build-dependencies]\ntokio = \"1\"\n",
    ] {
        let found = found("zeta-state", other_way);
        assert!(found.contains("'zeta-state' may not use 'tokio'"), "{other_way}: {found}");
    }
    assert!(found("zeta-new", "").contains("the package 'zeta-new' is new"));
}

#[test]
fn the_picture_shows_what_the_manifests_say() {
    let manifest = |package: &str, uses: &[&str]| {
        let lines: String = uses.iter().map(|name| format!("{name} = \"1\"\n")).collect();
        page(&format!("crates/{package}/Cargo.toml"), &format!("[dependencies]\n{lines}"))
    };
    let found = |picture: &str| {
        let pages = [
            page("ARCHITECTURE.md", picture),
            manifest("zeta-os", &["zeta-core"]),
            manifest("zeta-state", &["zeta-core", "zeta-os"]),
        ];
        let mut findings = Vec::new();
        manifests::check_picture(&pages, &mut findings);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let all = "zeta-state --> zeta-os\n    zeta-os --> zeta-core\n";
    assert!(found(all).is_empty());
    assert!(found("zeta-state --> zeta-os\n")[0].contains("lacks the arrow zeta-os --> zeta-core"));
    let more = format!("{all}zeta-state --> zeta-core\n");
    assert!(
        found(&more)[0].contains("ARCHITECTURE.md:3: no manifest says zeta-state --> zeta-core")
    );
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
