//! What restoring a bundle comes to: which files, where, with which mode, and what is passed over.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::bundle::{Bundle, Section};
use super::manifest::{Entry, Manifest, Rule, Scope};
use super::wifi;

/// Below this, files belong to the service user, if there is one.
pub const SERVICE_ROOT: &str = "/var/lib/zeta/";

/// A file that is to be there.
#[derive(PartialEq, Eq)]
pub struct Target<'a> {
    /// Which credential.
    pub id: &'a str,
    /// Where, as the manifest says it: `~/` is the user's home.
    pub path: &'a str,
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

/// Plans a restore. `service` says that the machine has the service user.
///
/// # Errors
/// The ids that the manifest does not know, of the sections that were asked for: nothing at all is
/// written then.
pub fn plan<'a>(
    bundle: &'a Bundle,
    manifest: &'a Manifest,
    persona: Option<&str>,
    service: bool,
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
                Some(entry) => place(entry, id, secret.bytes(), service, plan),
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

/// A file of the service user goes to his place; every other one to its first.
fn place<'a>(entry: &'a Entry, id: &'a str, value: &'a [u8], service: bool, plan: &mut Plan<'a>) {
    let of_service = entry.paths.iter().find(|path| service && path.starts_with(SERVICE_ROOT));
    let Some(path) = of_service.or(entry.paths.first()) else { return };
    let bytes = match entry.rule {
        Rule::Wifi => match wifi::keyfile(value) {
            Ok(text) => Cow::Owned(text.as_bytes().to_vec()),
            Err(why) => return plan.skipped.push(Skip::Unusable { id: id.to_owned(), why }),
        },
        _ => Cow::Borrowed(value),
    };
    plan.targets.push(Target { id, path, mode: entry.mode(path), bytes });
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
    use super::{Skip, plan};
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
        let plan = plan(bundle, &manifest, persona, service).ok().unwrap();
        plan.targets.iter().map(|target| (target.path.to_owned(), target.mode)).collect()
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
    fn what_was_not_asked_for_or_stands_wrong_is_passed_over_and_what_is_unknown_stops_all() {
        let manifest = Manifest::default();
        let odd = bundle(&["claude", "wifi"], &["gh-cli", "odd"]);
        let came = plan(&odd, &manifest, Some("vera"), false).ok().unwrap();
        assert!(came.targets.is_empty());
        assert_eq!(came.skipped.len(), 3, "{:?}", came.skipped);
        assert!(came.skipped.contains(&Skip::NoPersona));
        assert!(came.skipped.contains(&Skip::WrongSection("claude".to_owned())));
        let nobody = plan(&odd, &manifest, None, false).ok().unwrap();
        assert!(nobody.skipped.contains(&Skip::NotAsked("otto/odd".to_owned())));
        assert!(came.missing.contains(&"gh-cli") && came.missing.contains(&"claude"));
        assert_eq!(plan(&odd, &manifest, Some("otto"), false).err(), Some(vec!["odd"]));
    }
}
