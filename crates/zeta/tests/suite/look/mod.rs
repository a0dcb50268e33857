//! What a person sees without a key pressed and without scrolling, on a real terminal and in a real
//! browser, with the scene: each line of the check list in `docs/use/look.md`. The pictures in the
//! docs are made of the same screens.

mod cluster;
mod page;
mod picture;
mod posts;
mod screen;
mod svg;
mod terminal;

use std::path::{Path, PathBuf};

/// The rows of the check list: what a person sees, and the words of it.
fn check_list() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(docs().join("use/look.md")).unwrap();
    let table = page.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let words = cells[2].split('`').skip(1).step_by(2);
        (cells[0].to_owned(), words.map(str::to_owned).collect())
    };
    let rows: Vec<(String, Vec<String>)> = table.map(row).collect();
    assert!(rows.len() >= 5 && rows.iter().all(|(_, words)| words.len() > 1), "{rows:?}");
    rows
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}
