//! Checks whether systemd-tmpfiles would remove old files from the state directory: it checks
//! neither locks inside nor open descriptors.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Diagnosis, Severity};

/// The configuration directories; later ones mask earlier ones with the same file name.
const CONF_DIRS: [&str; 4] =
    ["/usr/lib/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/run/tmpfiles.d", "/etc/tmpfiles.d"];

/// What the configuration says about a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ageing {
    /// No rule ages it.
    None,
    /// This line keeps it.
    Kept(String),
    /// This line ages it.
    Aged(String),
}

/// Reports which rule keeps or ages a directory; `fact` is the key of that fact, and `used` says
/// what would be lost.
pub fn examine(path: &Path, fact: &'static str, used: &str, diagnosis: &mut Diagnosis) {
    match judge(&read_configs(), path) {
        Ageing::None => diagnosis.fact(fact, "no tmpfiles.d rule ages it"),
        Ageing::Kept(line) => diagnosis.fact(fact, format!("kept by: {line}")),
        Ageing::Aged(line) => {
            diagnosis.fact(fact, format!("aged by: {line}"));
            let shown = path.display();
            diagnosis.add(
                Severity::Warning,
                fact,
                format!("systemd-tmpfiles removes old files in {shown}, {used} ({line})"),
                format!(
                    "as root, for a group: zeta init --group zeta; or: echo 'x {shown}' >> \
                     /etc/tmpfiles.d/zeta-keep.conf"
                ),
            );
        }
    }
}

fn read_configs() -> Vec<(String, String)> {
    let mut files = BTreeMap::new();
    for dir in CONF_DIRS {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.ends_with(".conf")
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                files.insert(name.to_owned(), text);
            }
        }
    }
    files.into_iter().collect()
}

fn judge(configs: &[(String, String)], path: &Path) -> Ageing {
    let mut aged = Ageing::None;
    for (name, text) in configs {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [kind, pattern, rest @ ..] = fields.as_slice() else { continue };
            let kind = kind.trim_end_matches(['!', '-', '+', '=', '~', '^', '$']);
            let named = || format!("{name}: {}", fields.join(" "));
            let age = rest.get(3).copied().unwrap_or("-");
            match kind {
                "x" if covers(pattern, path) => return Ageing::Kept(named()),
                "d" | "D" | "e" | "v" | "q" | "Q" | "C"
                    if age != "-" && path.starts_with(pattern) =>
                {
                    aged = Ageing::Aged(named());
                }
                _ => {}
            }
        }
    }
    aged
}

/// Returns whether the pattern of an `x` line names the directory, or one above it.
fn covers(pattern: &str, path: &Path) -> bool {
    let pattern = Path::new(pattern);
    path.ancestors().any(|above| {
        let parts = (above.components().count(), pattern.components().count());
        parts.0 == parts.1
            && above.components().zip(pattern.components()).all(|(name, wanted)| {
                let name = name.as_os_str().to_string_lossy();
                let wanted = wanted.as_os_str().to_string_lossy();
                match wanted.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => name == wanted,
                }
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ageing(texts: &[&str]) -> &'static str {
        let configs: Vec<(String, String)> =
            texts.iter().map(|text| ("t.conf".to_owned(), (*text).to_owned())).collect();
        match judge(&configs, Path::new("/tmp/zeta-cluster-state")) {
            Ageing::None => "none",
            Ageing::Kept(_) => "kept",
            Ageing::Aged(_) => "aged",
        }
    }

    #[test]
    fn an_x_line_keeps_what_an_age_would_remove() {
        let aged = "# comment\nq /tmp 1777 root root 10d\n";
        let shipped = include_str!("../../../../../units/tmpfiles.d/zeta.conf");
        for (texts, word) in [
            (vec!["D /tmp 1777 root root -"], "none"),
            (vec!["d /var/tmp 1777 root root 30d"], "none"),
            (vec![aged], "aged"),
            (vec![aged, shipped], "kept"),
            (vec![aged, "x /tmp/zeta-*"], "kept"),
            (vec![aged, "x /tmp"], "kept"),
            (vec![aged, "X /tmp/zeta-cluster-state"], "aged"),
            (vec![aged, "x /tmp/zeta-cluster-state/nodes"], "aged"),
            (vec![aged, "x /tmp/other"], "aged"),
        ] {
            assert_eq!(ageing(&texts), word, "{texts:?}");
        }
    }
}
