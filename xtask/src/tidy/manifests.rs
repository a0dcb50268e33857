//! The table of the packages that each package may depend on, and of the heavy crates.
//!
//! Cargo refuses an import that no manifest allows. So this table is the whole rule of imports, and
//! review sees each new line in it. The picture in `ARCHITECTURE.md` must show the same.

use super::{Finding, Page};

/// A package, and the packages of this workspace that it may depend on.
const PACKAGES: [(&str, &[&str]); 15] = [
    ("zeta-core", &[]),
    ("zeta-os", &["zeta-core"]),
    ("zeta-state", &["zeta-core", "zeta-os"]),
    ("zeta-bus", &["zeta-core", "zeta-os", "zeta-state"]),
    ("zeta-registration", &["zeta-core", "zeta-os", "zeta-state"]),
    ("zeta-creds", &["zeta-core", "zeta-os"]),
    ("zeta-flash", &["zeta-core", "zeta-os", "zeta-creds"]),
    ("zeta-signature", &["zeta-core", "zeta-os"]),
    ("zeta-install", &["zeta-core", "zeta-os"]),
    ("zeta-mcp", &["zeta-core", "zeta-os", "zeta-state", "zeta-bus"]),
    ("zeta-tui", &["zeta-core", "zeta-os", "zeta-state", "zeta-bus"]),
    ("zeta-web", &["zeta-core", "zeta-os", "zeta-state", "zeta-bus"]),
    ("zeta-cluster", &["zeta-core", "zeta-os", "zeta-state", "zeta-bus"]),
    ("zeta-posts", &["zeta-core", "zeta-os", "zeta-state"]),
    (
        "zeta",
        &[
            "zeta-core",
            "zeta-os",
            "zeta-state",
            "zeta-bus",
            "zeta-registration",
            "zeta-creds",
            "zeta-flash",
            "zeta-install",
            "zeta-mcp",
            "zeta-tui",
            "zeta-web",
            "zeta-cluster",
            "zeta-posts",
            "zeta-signature",
        ],
    ),
];

/// A crate with many dependencies, unsafe calls or a runtime, and the packages that may name it.
const HEAVY: [(&str, &[&str]); 20] = [
    (
        "rustix",
        &[
            "zeta-os",
            "zeta-state",
            "zeta-bus",
            "zeta-registration",
            "zeta-creds",
            "zeta-flash",
            "zeta-install",
            "zeta-posts",
            "zeta-signature",
            "zeta-web",
            "zeta",
        ],
    ),
    ("libc", &["zeta-os"]),
    (
        "serde_json",
        &[
            "zeta-core",
            "zeta-bus",
            "zeta-mcp",
            "zeta-registration",
            "zeta-creds",
            "zeta-flash",
            "zeta-cluster",
            "zeta-posts",
            "zeta",
        ],
    ),
    ("clap", &["zeta"]),
    ("toml", &["zeta-creds", "zeta-install", "zeta-posts", "zeta"]),
    ("ureq", &["zeta-registration"]),
    ("serde-saphyr", &["zeta-registration", "zeta-posts"]),
    ("if-addrs", &["zeta-registration"]),
    ("scrypt", &["zeta-creds"]),
    ("aes-gcm", &["zeta-creds"]),
    ("hkdf", &["zeta-creds"]),
    ("tokio", &["zeta-mcp", "zeta-web", "zeta-cluster"]),
    ("async-nats", &["zeta-cluster"]),
    ("axum", &[]),
    ("hyper", &["zeta-web"]),
    ("ratatui", &["zeta-tui"]),
    ("rmcp", &["zeta-mcp"]),
    ("sigstore-verify", &["zeta-flash"]),
    ("p256", &["zeta-flash"]),
    ("ring", &["zeta-flash"]),
];

const PICTURE: &str = "ARCHITECTURE.md";

/// Checks one manifest.
pub fn check(page: &Page, findings: &mut Vec<Finding>) {
    let Some(package) = package_of(page) else { return };
    let Some((_, ours)) = PACKAGES.iter().find(|(name, _)| *name == package) else {
        let what = format!("the package '{package}' is new: give it a line in {}", file!());
        findings.push(Finding::new(page, 1, what));
        return;
    };
    for (line, name) in dependencies(&page.text) {
        let heavy = HEAVY.iter().find(|(known, _)| *known == name);
        let allowed = match heavy {
            Some((_, packages)) => packages.contains(&package),
            None => !is_package(&name) || ours.contains(&name.as_str()),
        };
        if !allowed {
            let what = format!("'{package}' may not use '{name}' (the table is in {})", file!());
            findings.push(Finding::new(page, line, what));
        }
    }
}

/// Compares the picture with the manifests: an arrow for each dependency that no other one implies.
pub fn check_picture(pages: &[Page], findings: &mut Vec<Finding>) {
    let Some(map) = pages.iter().find(|page| page.path == PICTURE) else { return };
    let mut edges: Vec<(&str, &str)> = Vec::new();
    for page in pages {
        let Some(package) = package_of(page) else { continue };
        for (_, name) in dependencies(&page.text) {
            let known = PACKAGES.iter().find(|(known, _)| *known == name);
            edges.extend(known.map(|(known, _)| (package, *known)));
        }
    }
    let wanted: Vec<(&str, &str)> =
        edges.iter().copied().filter(|edge| !is_implied(*edge, &edges)).collect();
    let drawn = arrows(&map.text);
    let missing = wanted.iter().filter(|edge| !drawn.iter().any(|(_, drawn)| drawn == *edge));
    for (from, to) in missing {
        let what = format!("the picture lacks the arrow {from} --> {to}");
        findings.push(Finding::new(map, 1, what));
    }
    for (line, (from, to)) in &drawn {
        if !wanted.contains(&(*from, *to)) {
            let what = format!("no manifest says {from} --> {to}, or another arrow implies it");
            findings.push(Finding::new(map, *line, what));
        }
    }
}

/// Reports whether there is a path from one package to the other over a third.
fn is_implied((from, to): (&str, &str), edges: &[(&str, &str)]) -> bool {
    let over = edges.iter().filter(|(start, end)| *start == from && *end != to);
    over.map(|(_, over)| *over).any(|over| reaches(over, to, edges))
}

/// Reports whether there is a path between two packages. The table has no circles, so this ends.
fn reaches(from: &str, to: &str, edges: &[(&str, &str)]) -> bool {
    let mut next = edges.iter().filter(|(start, _)| *start == from);
    next.any(|(_, end)| *end == to || reaches(end, to, edges))
}

fn is_package(name: &str) -> bool {
    PACKAGES.iter().any(|(known, _)| *known == name)
}

fn package_of(page: &Page) -> Option<&str> {
    page.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")
}

/// The packages in the sections of dependencies, but those of tests, with the lines of their names.
/// A manifest that is not TOML has none here; Cargo refuses it.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let Ok(table) = manifest.parse::<toml::Table>() else { return Vec::new() };
    let mut tables: Vec<&toml::Table> = sections(&table);
    let targets = table.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(|targets| targets.values());
    tables.extend(targets.filter_map(toml::Value::as_table).flat_map(sections));
    let named = |(key, value): (&String, &toml::Value)| {
        let package = value.get("package").and_then(toml::Value::as_str);
        (line_of(manifest, key), package.unwrap_or(key).to_owned())
    };
    tables.into_iter().flatten().map(named).collect()
}

/// The tables of dependencies of a package, or of one of its targets.
fn sections(table: &toml::Table) -> Vec<&toml::Table> {
    let names = ["dependencies", "build-dependencies"];
    names.iter().filter_map(|name| table.get(*name)?.as_table()).collect()
}

/// The first line that begins with a key, bare, quoted, or as a table of its own; counted from 1.
fn line_of(manifest: &str, key: &str) -> usize {
    let begins = |line: &str| {
        let line = line.trim_start();
        let last = line.trim_end_matches(']').rsplit(['.', '[']).next();
        let bare = line.trim_start_matches('"').strip_prefix(key);
        bare.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
            || line.starts_with('[') && last == Some(key)
    };
    manifest.lines().position(begins).map_or(1, |at| at + 1)
}

/// Lists the arrows of the picture ("a --> b" in a block of mermaid), with their lines.
fn arrows(text: &str) -> Vec<(usize, (&str, &str))> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| Some((at + 1, line.trim().split_once(" --> ")?))).collect()
}
