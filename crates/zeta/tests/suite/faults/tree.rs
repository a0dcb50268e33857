//! A directory as a value: remembered, put back, and compared path by path.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Dir { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Other,
}

/// All that is below a directory, by relative path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Entry>);

impl Tree {
    pub fn read(dir: &Path) -> Tree {
        let mut tree = Tree::default();
        tree.add(dir, "");
        tree
    }

    fn add(&mut self, dir: &Path, prefix: &str) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let mode = meta.mode() & 0o7777;
            let found = if meta.is_dir() {
                self.add(&path, &format!("{name}/"));
                Entry::Dir { mode }
            } else if meta.is_file() {
                Entry::File { mode, bytes: std::fs::read(&path).unwrap() }
            } else {
                Entry::Other
            };
            self.0.insert(name, found);
        }
    }

    /// Makes `dir` hold this and nothing else.
    pub fn put_back(&self, dir: &Path) {
        std::fs::remove_dir_all(dir).unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
        for (name, entry) in &self.0 {
            let path = dir.join(name);
            let mode = match entry {
                Entry::Dir { mode } => {
                    std::fs::create_dir(&path).unwrap();
                    *mode
                }
                Entry::File { mode, bytes } => {
                    let mut options = std::fs::OpenOptions::new();
                    let file = options.write(true).create_new(true).mode(*mode).open(&path);
                    std::io::Write::write_all(&mut file.unwrap(), bytes).unwrap();
                    *mode
                }
                Entry::Other => panic!("{name} is no part of a state"),
            };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// The bytes of the file whose path ends so, outside of all guards.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.find(|path| path.rsplit('/').next() == Some(name) && !path.contains("/.guard/"))
    }

    /// The number in the token file of a record's guard: `None` if there is no file, 0 if it has
    /// none.
    pub fn token(&self, record: &str) -> Option<u64> {
        let end = format!("/.guard/{record}/fencing_token");
        let bytes = self.find(|path| path.ends_with(&end))?;
        Some(String::from_utf8_lossy(bytes).trim().parse().unwrap_or(0))
    }

    fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<&[u8]> {
        self.0.iter().find_map(|(path, entry)| match entry {
            Entry::File { bytes, .. } if is_it(path) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// Paths at which two trees differ.
    pub fn differences<'t>(&'t self, other: &'t Tree) -> BTreeSet<&'t str> {
        let paths = self.0.keys().chain(other.0.keys()).map(String::as_str);
        paths.filter(|path| self.0.get(*path) != other.0.get(*path)).collect()
    }

    /// Names that were never published, by path.
    pub fn leftovers(&self) -> Vec<&str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|path| is_unpublished(path.rsplit('/').next().unwrap_or_default())).collect()
    }
}

/// Reports whether a file of this name is made before it is renamed into place.
pub fn is_unpublished(name: &str) -> bool {
    name.starts_with(".tmp-") || name.starts_with(".new-") || name.starts_with(".state.new-")
}
