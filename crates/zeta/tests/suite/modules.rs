//! No file of the tests is forgotten: each one is a module of a program that cargo builds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All Rust files below a directory.
fn files_below(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path);
        }
    }
}

/// The name in a line `mod NAME;`, with or without a visibility.
fn module_of(line: &str) -> Option<&str> {
    let (before, name) = line.strip_suffix(';')?.split_once("mod ")?;
    let declares = before.is_empty() || before.starts_with("pub");
    (declares && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).then_some(name)
}

/// The file of a program or module, and the files of all modules that it declares.
fn modules(file: &Path, children: &Path, found: &mut BTreeSet<PathBuf>) {
    let text = fs::read_to_string(file).unwrap();
    found.insert(file.to_owned());
    for name in text.lines().filter_map(module_of) {
        // What another directory lends by `#[path]` is no file of these tests.
        let (flat, deep) = (children.join(format!("{name}.rs")), children.join(name));
        if flat.is_file() {
            modules(&flat, &deep, found);
        } else if deep.join("mod.rs").is_file() {
            modules(&deep.join("mod.rs"), &deep, found);
        }
    }
}

/// The files below `tests` that no program contains.
fn forgotten(tests: &Path) -> Vec<PathBuf> {
    let (mut all, mut built) = (BTreeSet::new(), BTreeSet::new());
    files_below(tests, &mut all);
    for entry in fs::read_dir(tests).unwrap().flatten() {
        // Cargo finds these two forms by itself.
        let (path, main) = (entry.path(), entry.path().join("main.rs"));
        if main.is_file() {
            modules(&main, &path, &mut built);
        } else if all.contains(&path) {
            modules(&path, tests, &mut built);
        }
    }
    all.difference(&built).cloned().collect()
}

#[test]
fn each_file_of_the_tests_is_a_module_of_a_program() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    assert_eq!(forgotten(&tests), Vec::<PathBuf>::new(), "no program contains these files");
}

#[test]
fn a_forgotten_file_is_found() {
    let dir = crate::support::TempDir::new("modules", 0o700);
    let put = |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("a/main.rs", "mod one;\npub mod two;\n// mod three;\n");
    put("a/one.rs", "mod inner;\n");
    put("a/one/inner.rs", "");
    put("a/two/mod.rs", "pub(crate) mod deep;\n");
    put("a/two/deep.rs", "");
    put("plain.rs", "");
    assert_eq!(forgotten(&dir), Vec::<PathBuf>::new());
    put("a/three.rs", "");
    put("a/two/four.rs", "");
    put("b/lib.rs", "");
    let found = forgotten(&dir);
    assert_eq!(found, ["a/three.rs", "a/two/four.rs", "b/lib.rs"].map(|path| dir.join(path)));
}
