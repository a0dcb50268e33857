//! The paths that a patch of Codex's `apply_patch` writes.

/// How the lines begin that name a path.
const MARKS: [&str; 4] =
    ["*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "];

/// Returns the paths that a patch names, each once, in its order. `apply_patch` also takes a mark
/// with blanks before it, so a line of content that looks like one counts: a path too many is
/// looked at, and none is missed.
pub fn paths(patch: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in patch.lines() {
        let path =
            MARKS.iter().find_map(|mark| line.trim_start().strip_prefix(mark)).map(str::trim);
        if let Some(path) = path.filter(|path| !path.is_empty())
            && !found.iter().any(|known| known == path)
        {
            found.push(path.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::paths;

    #[test]
    fn a_patch_names_what_it_writes() {
        let patch = "*** Begin Patch\n*** Update File: src/a.rs\n*** Move to: src/b.rs\n@@\n\
                     -*** Add File: no\n+*** Add File: no\n*** Add File: new file.txt\n+x\n\
                     *** Delete File: /abs/c\n  *** Update File: src/d.rs\n\
                     *** Update File: src/a.rs\n*** End Patch\n";
        let all = ["src/a.rs", "src/b.rs", "new file.txt", "/abs/c", "src/d.rs"];
        assert_eq!(paths(patch), all);
        assert!(paths("*** Update File: \nnothing").is_empty());
    }
}
