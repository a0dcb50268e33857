//! Where a credential lies: at the places of the manifest, or where a variable of its tool moves
//! them; and which place a blob may remember.
//!
//! A blob remembers where a login was found, because a tool reads it there and nowhere else. What
//! it remembers is checked as any path from a disk: below the home, and of a name that the manifest
//! gives to this credential.

use super::manifest::{Entry, check_path};

/// A variable that moves a directory of a tool: the credential, the variable, and the beginning of
/// the path that the variable stands for. The first one that is set counts.
const MOVED: [(&str, &str, &str); 5] = [
    ("gh-cli", "GH_CONFIG_DIR", "~/.config/gh/"),
    ("gh-cli", "XDG_CONFIG_HOME", "~/.config/"),
    ("claude", "CLAUDE_CONFIG_DIR", "~/.claude/"),
    ("codex", "CODEX_HOME", "~/.codex/"),
    ("gemini", "GEMINI_CLI_HOME", "~/"),
];

/// The home that `~` means, and the variables of the tools.
pub struct Surroundings<'a> {
    /// The home, an absolute path.
    pub home: &'a str,
    /// Reads a variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// The place to which a variable moves a credential, and the variable. Below the home the place
    /// begins with `~/`. A directory that is not absolute moves nothing.
    pub fn moved(&self, entry: &Entry) -> Option<(String, &'static str)> {
        MOVED.iter().filter(|(id, ..)| *id == entry.id).find_map(|(_, name, prefix)| {
            let dir = (self.variable)(name).filter(|dir| dir.starts_with('/'))?;
            let rest = entry.paths.iter().find_map(|path| path.strip_prefix(prefix))?;
            Some((self.shorten(&format!("{}/{rest}", dir.trim_end_matches('/'))), *name))
        })
    }

    /// All places where a credential may lie here, in the order in which they are looked at. A tool
    /// that was moved looks nowhere else.
    pub fn places(&self, entry: &Entry) -> Vec<String> {
        self.moved(entry).map_or_else(|| entry.paths.clone(), |(place, _)| vec![place])
    }

    /// A path with `~/` for the home.
    pub fn shorten(&self, path: &str) -> String {
        let below = path.strip_prefix(self.home.trim_end_matches('/'));
        match below.filter(|below| below.starts_with('/') && !self.home.is_empty()) {
            Some(below) => format!("~{below}"),
            None => path.to_owned(),
        }
    }
}

/// Returns whether a blob may remember this place for a credential: a place of the manifest, or a
/// file of the same name in another directory below the home.
pub fn may_be_remembered(entry: &Entry, place: &str) -> bool {
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let moves = MOVED.iter().any(|(id, ..)| *id == entry.id);
    let same_name = || entry.paths.iter().any(|path| name(path) == name(place));
    entry.paths.iter().any(|path| path == place)
        || moves && place.starts_with("~/") && check_path(place).is_ok() && same_name()
}

#[cfg(test)]
mod tests {
    use super::{MOVED, Surroundings, may_be_remembered};
    use crate::creds::manifest::Manifest;

    fn places(id: &str, set: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let here = Surroundings { home: "/home/ace", variable: &variable };
        here.places(Manifest::default().get(id).unwrap())
    }

    #[test]
    fn a_variable_moves_a_tool_and_then_no_other_place_counts() {
        let claude = ["~/.claude/.credentials.json", "~/.config/claude/credentials.json"];
        assert_eq!(places("claude", &[]), claude);
        assert_eq!(places("claude", &[("CLAUDE_CONFIG_DIR", "")]), claude);
        assert_eq!(places("claude", &[("CLAUDE_CONFIG_DIR", "relative")]), claude);
        assert_eq!(places("claude", &[("XDG_CONFIG_HOME", "/x")]), claude);
        type Set = &'static [(&'static str, &'static str)];
        let cases: [(&str, Set, &str); 9] = [
            ("claude", &[("CLAUDE_CONFIG_DIR", "/home/ace/.otto/")], "~/.otto/.credentials.json"),
            ("claude", &[("CLAUDE_CONFIG_DIR", "/opt/c")], "/opt/c/.credentials.json"),
            ("claude", &[("CLAUDE_CONFIG_DIR", "/home/acer")], "/home/acer/.credentials.json"),
            ("codex", &[("CODEX_HOME", "/home/ace/o")], "~/o/auth.json"),
            ("gh-cli", &[("GH_CONFIG_DIR", "/home/ace/g")], "~/g/hosts.yml"),
            ("gh-cli", &[("XDG_CONFIG_HOME", "/home/ace/x")], "~/x/gh/hosts.yml"),
            ("gh-cli", &[("XDG_CONFIG_HOME", "/x"), ("GH_CONFIG_DIR", "/g")], "/g/hosts.yml"),
            ("gh-cli", &[("XDG_CONFIG_HOME", "/x"), ("GH_CONFIG_DIR", "")], "/x/gh/hosts.yml"),
            ("gemini", &[("GEMINI_CLI_HOME", "/home/ace/v")], "~/v/.gemini/oauth_creds.json"),
        ];
        for (id, set, place) in cases {
            assert_eq!(places(id, set), [place], "{set:?}");
        }
        for (id, _, prefix) in MOVED {
            let manifest = Manifest::default();
            assert!(manifest.get(id).unwrap().paths[0].starts_with(prefix), "{id} {prefix}");
        }
    }

    #[test]
    fn only_a_file_of_the_right_name_below_the_home_is_remembered() {
        let manifest = Manifest::default();
        let cases = [
            ("claude", "~/.claude/.credentials.json", true),
            ("claude", "~/.config/claude/credentials.json", true),
            ("claude", "~/.claude-otto/.credentials.json", true),
            ("claude", "~/.bashrc", false),
            ("claude", "~/.claude/settings.json", false),
            ("claude", "~/../x/.credentials.json", false),
            ("claude", "/etc/zeta/.credentials.json", false),
            ("codex", "~/.ssh/authorized_keys", false),
            ("gh-cli", "~/g/hosts.yml", true),
            ("install-answers", "/etc/zeta/install-answers.json", true),
            ("install-answers", "~/x/install-answers.json", false),
            ("ssh-operator-pubkey", "/etc/ssh/authorized_keys.d/zeta-operator", true),
        ];
        for (id, place, expect) in cases {
            let entry = manifest.get(id).unwrap();
            assert_eq!(may_be_remembered(entry, place), expect, "{id} {place}");
        }
    }
}
