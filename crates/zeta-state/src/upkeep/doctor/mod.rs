//! Findings about the tree and the machine, each with a reason and a remedy, also about trees that
//! other verbs refuse.
//!
//! The doctor reports and never fails; it repairs only what [`super::clean`] may remove and the two
//! files that `init` would write.

pub mod ageing;
pub mod report;
mod sessions;
mod system;
mod tree;

use std::path::Path;

use rustix::fs::{FileType, Stat};
use zeta_core::layout;

use super::{clean, init};
use crate::context::Context;
use crate::directory::tree::Tree;
use crate::directory::trusted_dir;
use zeta_os::error::{Error, Hint};
use zeta_os::{temp_dir, users};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, but not as well as it should.
    Warning,
    /// Unsafe or broken.
    Broken,
}

impl Severity {
    /// Returns the word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Broken => "broken",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How severe it is.
    pub severity: Severity,
    /// The subject, as one word.
    pub finding: &'static str,
    /// What was found, and why that is wrong.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// The result of an examination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Facts to compare between two processes, such as a service and a shell.
    pub facts: Vec<(&'static str, String)>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// The repairs of `--fix`.
    pub fixed: Vec<String>,
}

impl Diagnosis {
    /// Returns whether nothing unsafe or broken was found.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Broken)
    }

    /// Puts the worst findings first.
    pub fn sort(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }

    /// Makes the diagnosis of a call that failed at its start.
    pub fn of_error(error: &Error) -> Diagnosis {
        let mut diagnosis = Diagnosis::default();
        diagnosis.add_error("host", error);
        diagnosis
    }

    /// Adds a finding.
    pub fn add(
        &mut self,
        severity: Severity,
        finding: &'static str,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (reason, remedy) = (reason.into(), remedy.into());
        self.findings.push(Finding { severity, finding, reason, remedy });
    }

    /// Adds an error as a finding.
    pub fn add_error(&mut self, finding: &'static str, error: &Error) {
        // Hints that name this very command are of no use here.
        let useful = error.hints.iter().filter(|hint| !hint.names_doctor());
        let hints: Vec<&str> = useful.map(Hint::as_str).collect();
        let remedy = if hints.is_empty() {
            "find out who made it and what is in it; zeta does not touch it".to_owned()
        } else {
            hints.join("; ")
        };
        self.add(Severity::Broken, finding, error.text.clone(), remedy);
    }

    /// Adds a fact.
    pub fn fact(&mut self, key: &'static str, value: impl Into<String>) {
        self.facts.push((key, value.into()));
    }
}

/// Examines everything that zeta depends on; `fix` repairs what is safe to repair.
pub fn doctor(ctx: &Context, fix: bool) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    describe_base(&ctx.state_dir, &mut diagnosis);
    system::examine(ctx, &mut diagnosis);
    ageing::examine(&ctx.state_dir, "ageing", "leases in use too", &mut diagnosis);
    scratch(&mut diagnosis);
    match Tree::open(&ctx.state_dir) {
        Ok(Some(tree)) => {
            match tree.check() {
                Ok(()) => {
                    if fix {
                        repair(ctx, &tree, &mut diagnosis);
                    }
                    tree::examine(ctx, &tree, &mut diagnosis);
                    tree::leftovers(ctx, &tree, &mut diagnosis);
                }
                // It may be a person's directory, which is not examined and gets no file.
                Err(error) => diagnosis.add_error("nodes", &error),
            }
            sessions::examine(ctx, Some(&tree), &mut diagnosis);
        }
        Ok(None) => {
            absent(ctx, &mut diagnosis);
            sessions::examine(ctx, None, &mut diagnosis);
        }
        Err(error) => {
            diagnosis.add_error("state_directory", &error);
            // The content may show who did it; nothing in there is changed.
            let tree = trusted_dir::open_unchecked(&ctx.state_dir).map(|base| Tree { base });
            if let Some(tree) = tree.filter(|tree| tree.check().is_ok()) {
                tree::examine(ctx, &tree, &mut diagnosis);
            }
        }
    }
    diagnosis.sort();
    diagnosis
}

/// Finds what killed calls left in the directory for temporary files.
fn scratch(diagnosis: &mut Diagnosis) {
    let left = temp_dir::abandoned();
    if let Some(first) = left.first() {
        let (count, first) = (left.len(), first.path.display());
        let reason = format!("killed calls left {count} temporary directories, as {first}");
        diagnosis.add(Severity::Note, "scratch", reason, "zeta clean");
    }
}

fn absent(ctx: &Context, diagnosis: &mut Diagnosis) {
    let default = ctx.state_dir == Path::new(layout::DEFAULT_STATE_DIR);
    let reason = format!("{} does not exist", ctx.state_dir.display());
    if default && Path::new(trusted_dir::TMPFILES_CONF).exists() {
        diagnosis.add(
            Severity::Broken,
            "state_directory",
            format!("{reason}, and on this machine root makes it for a group"),
            "as root: zeta init --group zeta; if this is a service: PrivateTmp=no",
        );
    } else {
        diagnosis.add(
            Severity::Note,
            "state_directory",
            format!("{reason} yet"),
            "first use makes it; or run: zeta init",
        );
    }
}

fn describe_base(path: &Path, diagnosis: &mut Diagnosis) {
    diagnosis.fact("state_dir", path.display().to_string());
    let Ok(Some(stat)) = trusted_dir::stat(path) else { return };
    diagnosis.fact("dev_ino", format!("{}:{}", stat.st_dev, stat.st_ino));
    diagnosis.fact("owner", users::user(stat.st_uid));
    diagnosis.fact("group", users::group(stat.st_gid));
    diagnosis.fact("mode", format!("{:04o}", stat.st_mode & 0o7777));
    diagnosis.fact("type", type_word(&stat));
}

fn type_word(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::RegularFile => "regular file",
        _ => "something else",
    }
}

/// Makes the safe repairs.
fn repair(ctx: &Context, tree: &Tree, diagnosis: &mut Diagnosis) {
    match init::readme(&tree.base) {
        Ok(Some(_)) => diagnosis.fixed.push(format!("wrote {}", layout::README)),
        Ok(None) => {}
        Err(error) => diagnosis.add_error("readme", &error),
    }
    if let Ok(None) = tree.read_local_node() {
        match tree.local_node(ctx.lasting_dir.as_deref()) {
            Ok(name) => diagnosis.fixed.push(format!("wrote {}: {name}", layout::LOCAL_NODE)),
            Err(error) => diagnosis.add_error("local_node", &error),
        }
    }
    match clean::clean_in(ctx, tree, false) {
        Ok(cleaned) => diagnosis.fixed.extend(cleaned.removed.iter().map(|item| {
            format!("removed {} {}: {}", item.what, item.path, item.reason.replace('_', " "))
        })),
        Err(error) => diagnosis.add_error("clean", &error),
    }
}
