//! What restoring a bundle comes to: which files, where, with which mode, and what is passed over.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::bundle::{Bundle, Section};
use super::manifest::{Entry, Manifest, Rule, Scope};
use super::place::may_be_remembered;
use super::wifi;

/// Below this, files belong to the service user, if there is one.
pub const SERVICE_ROOT: &str = "/var/lib/zeta/";

/// A file that is to be there.
#[derive(PartialEq, Eq)]
pub struct Target<'a> {
    /// Which credential.
    pub id: &'a str,
    /// Where: `~/` is the user's home. Below none of the manifest's roots if a variable of its tool
    /// leads there: then nothing may be written.
    pub path: Cow<'a, str>,
    /// The variable that moved it.
    pub variable: Option<&'static str>,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub bytes: Cow<'a, [u8]>,
}

/// Why something of a bundle is passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// No persona was asked for, and it is one's.
    #[error("{0}: its persona was not asked for")]
    NotAsked(String),
    /// There is nothing of the persona that was asked for.
    #[error("the blob has nothing of that persona")]
    NoPersona,
    /// One of a persona among those of the machine, or the other way round.
    #[error("{0}: it stands in the wrong section")]
    WrongSection(String),
    /// It is no wireless network.
    #[error("{id}: {why}")]
    Unusable {
        /// Which credential.
        id: String,
        /// What is wrong with it.
        why: wifi::Unusable,
    },
}

/// All of it.
#[derive(PartialEq, Eq)]
pub struct Plan<'a> {
    /// The files.
    pub targets: Vec<Target<'a>>,
    /// What is passed over.
    pub skipped: Vec<Skip>,
    /// Required credentials that it does not have; a persona's only if one was asked for.
    pub missing: Vec<&'a str>,
}

/// What a restore depends on besides the bundle.
pub struct Machine<'a> {
    /// It has the service user.
    pub service: bool,
    /// The place to which a variable moves a credential, and the variable.
    pub moved: &'a dyn Fn(&Entry) -> Option<(String, &'static str)>,
}

impl Default for Machine<'_> {
    fn default() -> Self {
        Machine { service: false, moved: &|_| None }
    }
}

/// Plans a restore.
///
/// # Errors
/// The ids that the manifest does not know, of the sections that were asked for: nothing at all is
/// written then.
pub fn plan<'a>(
    bundle: &'a Bundle,
    manifest: &'a Manifest,
    persona: Option<&str>,
    machine: &Machine<'_>,
) -> Result<Plan<'a>, Vec<&'a str>> {
    let mut plan = Plan { targets: Vec::new(), skipped: Vec::new(), missing: Vec::new() };
    let mut unknown = Vec::new();
    let mut take = |section: &'a Section, scope: Scope, plan: &mut Plan<'a>| {
        for (id, secret) in section.iter() {
            match manifest.get(id) {
                None => unknown.push(id),
                Some(entry) if entry.scope != scope => {
                    plan.skipped.push(Skip::WrongSection(id.to_owned()));
                }
                Some(entry) => {
                    let found = section.place(id);
                    place(entry, (id, secret.bytes()), found, machine, plan);
                }
            }
        }
    };
    take(&bundle.global, Scope::Global, &mut plan);
    for (name, section) in bundle.personas() {
        if persona == Some(name) {
            take(section, Scope::Persona, &mut plan);
        } else if persona.is_none() {
            let passed = section.iter().map(|(id, _)| Skip::NotAsked(format!("{name}/{id}")));
            plan.skipped.extend(passed);
        }
    }
    // A blob without any persona's section is of a machine that has none.
    let others = bundle.personas().next().is_some();
    if others && persona.is_some_and(|persona| bundle.persona(persona).is_none()) {
        plan.skipped.push(Skip::NoPersona);
    }
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let wanted = manifest
        .entries()
        .iter()
        .filter(|entry| entry.required && (entry.scope == Scope::Global || persona.is_some()));
    let here = |entry: &&Entry| plan.targets.iter().any(|target| target.id == entry.id);
    plan.missing = wanted.filter(|entry| !here(entry)).map(|entry| entry.id.as_str()).collect();
    Ok(plan)
}

/// A file of the service user goes to his place. Every other one goes where a variable moved its
/// tool, else where it was found, else to its first place.
fn place<'a>(
    entry: &'a Entry,
    (id, value): (&'a str, &'a [u8]),
    found: Option<&'a str>,
    machine: &Machine<'_>,
    plan: &mut Plan<'a>,
) {
    let of_service = |path: &&str| path.starts_with(SERVICE_ROOT);
    let mut known = entry.paths.iter().map(String::as_str);
    let service = known.clone().find(of_service).filter(|_| machine.service);
    let found = found.filter(|place| may_be_remembered(entry, place) && !of_service(place));
    let (moved, variable) = (machine.moved)(entry).unzip();
    let path = match (service, moved) {
        (Some(path), _) => Cow::Borrowed(path),
        (None, Some(moved)) => Cow::Owned(moved),
        (None, None) => match found.or_else(|| known.next()) {
            Some(path) => Cow::Borrowed(path),
            None => return,
        },
    };
    let bytes = match entry.rule {
        Rule::Wifi => match wifi::keyfile(value) {
            Ok(text) => Cow::Owned(text.as_bytes().to_vec()),
            Err(why) => return plan.skipped.push(Skip::Unusable { id: id.to_owned(), why }),
        },
        _ => Cow::Borrowed(value),
    };
    let mode = entry.mode(&path);
    plan.targets.push(Target { id, path, variable, mode, bytes });
}

impl Target<'_> {
    /// The content, in memory that is wiped.
    pub fn secret(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.bytes.to_vec())
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(bytes) = &mut self.bytes {
            drop(Zeroizing::new(std::mem::take(bytes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, Skip, plan};
    use crate::creds::bundle::{Bundle, Secret};
    use crate::creds::manifest::Manifest;

    fn bundle(global: &[&str], otto: &[&str]) -> Bundle {
        let mut bundle = Bundle::default();
        for id in global {
            bundle.global.put(id, Secret::new(b"{}".to_vec()));
        }
        for id in otto {
            bundle.put_persona("otto", id, Secret::new(b"{}".to_vec()));
        }
        bundle
    }

    fn paths(bundle: &Bundle, persona: Option<&str>, service: bool) -> Vec<(String, u32)> {
        let manifest = Manifest::default();
        let machine = Machine { service, ..Machine::default() };
        let plan = plan(bundle, &manifest, persona, &machine).ok().unwrap();
        plan.targets.iter().map(|target| (target.path.to_string(), target.mode)).collect()
    }

    #[test]
    fn each_goes_to_its_first_place_with_its_mode() {
        let full = bundle(&["gh-cli", "ssh-operator-pubkey"], &["codex"]);
        let gh = ("~/.config/gh/hosts.yml".to_owned(), 0o600);
        let key = ("/etc/zeta/operator-authorized-keys".to_owned(), 0o644);
        assert_eq!(paths(&full, None, false), [gh.clone(), key.clone()]);
        let codex = ("~/.codex/auth.json".to_owned(), 0o600);
        assert_eq!(paths(&full, Some("otto"), false), [gh, key, codex]);
        let receipt = bundle(&["self-registered-marker"], &[]);
        assert_eq!(paths(&receipt, None, false)[0].0, "~/.config/zeta/self-registered.marker");
        assert_eq!(paths(&receipt, None, true)[0].0, "/var/lib/zeta/self-registered.marker");
    }

    #[test]
    fn a_login_goes_back_to_where_its_tool_reads_it() {
        let mut full = bundle(&["self-registered-marker", "gh-cli"], &["claude", "codex"]);
        let default = "~/.claude/.credentials.json";
        assert_eq!(paths(&full, Some("otto"), false)[2].0, default);
        let cases = [
            ("~/.config/claude/credentials.json", "~/.config/claude/credentials.json"),
            ("~/.claude-otto/.credentials.json", "~/.claude-otto/.credentials.json"),
            ("~/.bashrc", default),
            ("/etc/zeta/.credentials.json", default),
        ];
        for (found, expect) in cases {
            full.in_persona("otto", |section| section.put_place("claude", found));
            assert_eq!(paths(&full, Some("otto"), false)[2].0, expect);
        }
        // The service user of one machine is not on every machine.
        full.global.put_place("self-registered-marker", "/var/lib/zeta/self-registered.marker");
        assert_eq!(paths(&full, None, false)[0].0, "~/.config/zeta/self-registered.marker");
        let moved = |entry: &super::Entry| {
            (entry.id == "claude").then(|| ("/opt/x/.credentials.json".to_owned(), "DIR"))
        };
        let machine = Machine { service: false, moved: &moved };
        let manifest = Manifest::default();
        let plan = plan(&full, &manifest, Some("otto"), &machine).ok().unwrap();
        let claude = &plan.targets[2];
        assert_eq!((&*claude.path, claude.variable), ("/opt/x/.credentials.json", Some("DIR")));
        assert_eq!(plan.targets[3].path, "~/.codex/auth.json");
    }

    #[test]
    fn what_is_missing_is_what_is_required_of_whom_was_asked_for() {
        let manifest = Manifest::default();
        let missing = |bundle: &Bundle, persona| {
            let plan = plan(bundle, &manifest, persona, &Machine::default()).ok().unwrap();
            plan.missing.join(" ")
        };
        let none = bundle(&[], &[]);
        assert_eq!(missing(&none, None), "gh-cli ssh-operator-pubkey");
        assert_eq!(missing(&none, Some("otto")), "gh-cli claude gemini codex ssh-operator-pubkey");
        let most = bundle(&["gh-cli"], &["claude", "codex"]);
        assert_eq!(missing(&most, None), "ssh-operator-pubkey");
        assert_eq!(missing(&most, Some("otto")), "gemini ssh-operator-pubkey");
    }

    #[test]
    fn a_persona_is_named_as_absent_only_among_others() {
        let manifest = Manifest::default();
        let no_persona = |bundle: &Bundle, persona| {
            let plan = plan(bundle, &manifest, persona, &Machine::default()).ok().unwrap();
            plan.skipped.contains(&Skip::NoPersona)
        };
        let (none, one) = (bundle(&["gh-cli"], &[]), bundle(&["gh-cli"], &["claude"]));
        assert!(no_persona(&one, Some("vera")));
        for (bundle, persona) in [(&none, Some("vera")), (&one, Some("otto")), (&one, None)] {
            assert!(!no_persona(bundle, persona), "{persona:?}");
        }
    }

    #[test]
    fn a_target_gives_its_content() {
        let manifest = Manifest::default();
        let mut bundle = bundle(&["gh-cli"], &[]);
        bundle.global.put("wifi", Secret::new(b"{\"ssid\":\"a\"}".to_vec()));
        let plan = plan(&bundle, &manifest, None, &Machine::default()).ok().unwrap();
        assert_eq!(plan.targets[0].secret().as_slice(), b"{}");
        let wifi = plan.targets[1].secret();
        assert!(wifi.starts_with(b"[connection]"), "written for its tool");
    }

    #[test]
    fn what_was_not_asked_for_or_stands_wrong_is_passed_over_and_what_is_unknown_stops_all() {
        let manifest = Manifest::default();
        let odd = bundle(&["claude", "wifi"], &["gh-cli", "odd"]);
        let came = plan(&odd, &manifest, Some("vera"), &Machine::default()).ok().unwrap();
        assert!(came.targets.is_empty());
        assert_eq!(came.skipped.len(), 3, "{:?}", came.skipped);
        assert!(came.skipped.contains(&Skip::NoPersona));
        assert!(came.skipped.contains(&Skip::WrongSection("claude".to_owned())));
        let nobody = plan(&odd, &manifest, None, &Machine::default()).ok().unwrap();
        assert!(nobody.skipped.contains(&Skip::NotAsked("otto/odd".to_owned())));
        assert!(came.missing.contains(&"gh-cli") && came.missing.contains(&"claude"));
        assert_eq!(
            plan(&odd, &manifest, Some("otto"), &Machine::default()).err(),
            Some(vec!["odd"])
        );
    }
}
