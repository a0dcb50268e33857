//! The cases of `zeta hook install` and `uninstall`: a call fails or is killed at each of its
//! system calls. The settings of a person are the old or the new ones, never torn, and after a
//! later uninstall nothing of zeta is left.

use std::path::{Path, PathBuf};

use super::fault::{Fault, chosen};
use super::sandbox::Sandbox;
use super::scene::tell;
use super::trace::{inject, record, works};
use super::tree::{Entry, Tree};
use crate::support::{Out, skip};

const FILE: &str = ".claude/settings.json";
const INSTALL: [&str; 3] = ["hook", "install", "claude"];
const UNINSTALL: [&str; 3] = ["hook", "uninstall", "claude"];

/// A home before a call.
struct Scene {
    sandbox: Sandbox,
    home: PathBuf,
    before: Tree,
    /// The home of a person who never installed hooks.
    plain: Tree,
}

impl Scene {
    fn settings(&self) -> Option<Vec<u8>> {
        std::fs::read(self.home.join(FILE)).ok()
    }

    fn judge(&self, fault: Fault, out: &Out, [old, new]: [&Option<Vec<u8>>; 2]) -> Vec<String> {
        let mut wrong = Vec::new();
        if (out.status == 137) != (fault == Fault::Kill) || out.err.contains("panicked") {
            wrong.push("it hung, panicked or was not killed".to_owned());
        }
        let now = self.settings();
        if now != *old && now != *new {
            wrong.push(format!("torn: {:?}", now.map(String::from_utf8)));
        } else if out.status == 0 && now != *new {
            wrong.push("it said that it was done".to_owned());
        }
        for args in [INSTALL, UNINSTALL] {
            let next = self.sandbox.zeta(&args);
            if next.status != 0 {
                wrong.push(format!("the next call did not go through: {args:?}: {next:?}"));
            }
        }
        let left = below(&self.home);
        if left != self.plain {
            let names = |tree: &Tree| tree.0.keys().cloned().collect::<Vec<_>>();
            wrong.push(format!("left behind: {:?}, not {:?}", names(&left), names(&self.plain)));
        }
        wrong
    }
}

/// What is in a home, but for the directory of what zeta keeps, while it is empty.
fn below(home: &Path) -> Tree {
    let mut tree = Tree::read(home);
    let kept = |name: &String| [".local", ".local/state", ".local/state/zeta"].contains(&&**name);
    tree.0.retain(|name, entry| !(kept(name) && matches!(entry, Entry::Dir { .. })));
    tree
}

/// Plays a call on a home with these settings, or on an empty one.
pub fn play(test: &str, settings: Option<&str>, is_install: bool) {
    let sandbox = Sandbox::new(false);
    if !works(&sandbox) {
        return skip(test, "needs strace, and the right to trace");
    }
    let home = sandbox.dir.join("home");
    std::fs::create_dir(&home).unwrap();
    if let Some(text) = settings {
        std::fs::create_dir(home.join(".claude")).unwrap();
        std::fs::write(home.join(FILE), text).unwrap();
    }
    let plain = Tree::read(&home);
    if !is_install {
        sandbox.ok(&INSTALL);
    }
    let before = Tree::read(&home);
    let scene = Scene { sandbox, home, before, plain };
    let args = if is_install { INSTALL } else { UNINSTALL };
    let old = scene.settings();
    let (clean, points) = record(&scene.sandbox, &args);
    assert_eq!(clean.status, 0, "{clean:?}");
    let new = scene.settings();
    assert_ne!(old, new);
    let (mut made, mut missed, mut wrong) = (0, 0, Vec::new());
    for point in &points {
        for fault in chosen().iter().filter(|fault| point.takes(**fault)) {
            scene.before.put_back(&scene.home);
            let (out, struck) = inject(&scene.sandbox, point, *fault, &args);
            if !struck {
                missed += 1;
                continue;
            }
            made += 1;
            wrong.extend(tell(point, *fault, &out, scene.judge(*fault, &out, [&old, &new])));
        }
    }
    eprintln!("{args:?}: {made} injections at {} calls, {missed} missed", points.len());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missed * 50 <= made, "{missed} faults never struck, {made} did");
}
