//! A path that a call names for a file with a secret, as far as it may be shown.
//!
//! People give the secret itself in the place of such a path. What is shown is therefore only what
//! is there: a file, or a name in a directory that has a name of its own.

use std::path::Path;

/// The path, or words for it where the path may be the secret itself.
pub fn shown(path: &Path) -> String {
    let named = |dir: &Path| dir.file_name().is_some() && dir.is_dir();
    if path.symlink_metadata().is_ok() || path.parent().is_some_and(named) {
        path.display().to_string()
    } else {
        "the file that is named (its name is not shown, for it may be the secret)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::shown;
    use std::path::Path;

    #[test]
    fn what_is_not_there_is_shown_only_in_a_directory_that_is() {
        let dir = std::env::temp_dir().join(format!("zeta-given-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("there"), "").unwrap();
        for name in ["there", "missing"] {
            let path = dir.join(name);
            assert_eq!(shown(&path), path.display().to_string());
        }
        let long = "x".repeat(5000);
        for secret in ["hunter2", "/hunter2", "hun/ter2", "/hun/ter2", "", "./hunter2", &long] {
            assert!(!shown(Path::new(secret)).contains("hun"), "{secret}");
            assert!(shown(Path::new(secret)).starts_with("the file"), "{secret}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
