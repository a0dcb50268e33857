//! The policy of repairs: where it is, and how its text is read.
//!
//! The machine's policy counts if there is one, and a user's only if there is none: what the
//! operator forbids, no user allows to an agent.

use std::path::{Path, PathBuf};

use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{budget, options};
use zeta_core::repair::Policy;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::trusted_file;

/// The file of a policy.
pub const POLICY_FILE: &str = "repair-policy.toml";
/// The same as YAML, under the name that the original gives it.
pub const POLICY_FILE_YAML: &str = "otto-repair-policy.yaml";

/// Longest file, in bytes.
const BYTES_MAX: u64 = 256 << 10;
const DEPTH_MAX: usize = 16;
const VALUES_MAX: usize = 16 << 10;

/// The directories that may have a policy, the one that counts first.
#[derive(Debug, Clone)]
pub struct Places(pub Vec<PathBuf>);

/// A policy, and the file that it was read from.
#[derive(Debug)]
pub struct Found {
    /// The policy.
    pub policy: Policy,
    /// The file.
    pub path: PathBuf,
}

impl Places {
    /// Reads the policy.
    ///
    /// # Errors
    /// There is none, or the first one cannot be relied on: another user could have written it, it
    /// cannot be read, or it is wrong.
    pub fn read(&self) -> Result<Found> {
        for dir in &self.0 {
            let paths = [dir.join(POLICY_FILE), dir.join(POLICY_FILE_YAML)];
            let [toml, yaml] = paths.each_ref().map(|path| trusted_file::read(path, BYTES_MAX));
            let [toml_path, yaml_path] = paths;
            return match (toml?, yaml?) {
                (None, None) => continue,
                (Some(_), Some(_)) => {
                    let text = format!("two policies of repairs are there, {POLICY_FILE} and");
                    let text = format!("{}: {text} {POLICY_FILE_YAML}", dir.display());
                    Err(Error::new(Kind::Unsafe, text).hint("keep the one that counts"))
                }
                (Some(text), None) => found(toml_path, of_toml(&text)),
                (None, Some(text)) => found(yaml_path, of_yaml(&text)),
            };
        }
        let dirs: Vec<String> = self.0.iter().map(|dir| dir.display().to_string()).collect();
        let text = format!("there is no policy of repairs ({POLICY_FILE}) in {}", dirs.join(", "));
        Err(Error::new(Kind::Unsafe, text)
            .hint("without one nothing is allowed; see 'zeta repair list --help' for an example"))
    }
}

fn found(path: PathBuf, read: std::result::Result<Policy, String>) -> Result<Found> {
    match read {
        Ok(policy) => Ok(Found { policy, path }),
        Err(why) => Err(wrong(&path, &why)),
    }
}

/// The error of a text that is wrong: on one line, as it ends up inside other sentences.
fn wrong(path: &Path, why: &str) -> Error {
    let plain = why.lines().map(str::trim).collect::<Vec<_>>().join(", ");
    let plain: String = plain.chars().filter(|c| !c.is_control()).take(300).collect();
    Error::new(Kind::Unsafe, format!("{}:{plain}", path.display()))
        .hint("until it is right, nothing is allowed; its form: zeta schema file repair-policy")
}

/// Reads a policy in TOML; an error begins with the line.
pub(crate) fn of_toml(bytes: &[u8]) -> std::result::Result<Policy, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| " it is not UTF-8 text".to_owned())?;
    toml::from_str(text).map_err(|error| {
        let before = text.get(..error.span().unwrap_or_default().start).unwrap_or_default();
        format!("{}: {}", 1 + before.matches('\n').count(), error.message())
    })
}

/// Reads a policy in YAML: the same keys. Anchors and merge keys are refused, and more than a
/// policy has.
pub(crate) fn of_yaml(bytes: &[u8]) -> std::result::Result<Policy, String> {
    let options = options! {
        budget: budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: VALUES_MAX,
            max_events: 4 * VALUES_MAX,
            max_documents: 1,
            max_anchors: 0,
            max_aliases: 0,
        },
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| format!(" {error}"))
}

#[cfg(test)]
mod tests;
