//! The values that go into a bundle: those that the caller names, and those on this machine
//! already.
//!
//! No error here shows any part of what was given; see `zeta_core::creds::bake`.

use std::borrow::Cow;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;
use zeta_core::creds::bake::{self, BadBake, Source};
use zeta_core::creds::bundle::{Bundle, Secret, Section};
use zeta_core::creds::manifest::{Entry, Manifest, Rule, Scope};
use zeta_core::creds::place::{Surroundings, may_be_remembered};

use zeta_os::error::{Error, Kind, Result};

/// No value is longer, in bytes.
const VALUE_MAX: usize = 512 << 10;

/// The home that `~` means, and the persona whose credentials are collected.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// The home.
    pub home: Option<PathBuf>,
    /// The persona.
    pub persona: Option<String>,
}

impl Owner {
    /// The place of a path that may begin with `~/`.
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }

    /// The places where a credential may lie: those of the manifest, or where a variable moved its
    /// tool.
    pub fn places(&self, entry: &Entry) -> Vec<PathBuf> {
        self.with_surroundings(|here| here.places(entry))
            .into_iter()
            .map(|place| self.expand(&place))
            .collect()
    }

    fn with_surroundings<T>(&self, ask: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let home = self.home.as_deref().and_then(Path::to_str).unwrap_or_default();
        ask(&Surroundings { home, variable: &|name| std::env::var(name).ok() })
    }

    /// Returns false for a file that root must not bake for a user, who may only have planted a
    /// link to it: the content would be the user's after the next restore.
    fn may_hold(&self, path: &Path, file: &Metadata) -> std::io::Result<bool> {
        match self.home.as_ref().filter(|home| path.starts_with(home)) {
            Some(home) => {
                let owner = std::fs::metadata(home)?.uid();
                Ok(owner == rustix::process::geteuid().as_raw() || owner == file.uid())
            }
            None => Ok(true),
        }
    }
}

/// Bakes what an argument `id=source` names.
///
/// # Errors
/// The form, an id that is not known, a source that is not allowed or cannot be read, a value that
/// is not what the id wants, a persona's credential without a persona.
pub fn bake(
    bundle: &mut Bundle,
    manifest: &Manifest,
    whose: &Owner,
    given: &str,
) -> Result<String> {
    let ask = bake::parse(given).map_err(refused)?;
    let entry = manifest.get(ask.id).ok_or_else(|| {
        let known: Vec<&str> = manifest.entries().iter().map(|entry| entry.id.as_str()).collect();
        Error::usage("--bake-cred: the manifest has no such id")
            .hint(format!("known are {}", known.join(", ")))
    })?;
    let about = |error: Error| Error { text: format!("{}: {}", entry.id, error.text), ..error };
    bake::check_source(entry.rule, &ask.source).map_err(refused).map_err(about)?;
    put(bundle, entry, whose, value(whose, &ask.source).map_err(about)?).map_err(about)?;
    Ok(entry.id.clone())
}

/// A value, and the file that it was read from.
pub struct Value {
    /// The value.
    pub secret: Secret,
    file: Option<PathBuf>,
}

impl Value {
    /// A value that was read from a file.
    pub fn of_file(secret: Secret, file: PathBuf) -> Value {
        Value { secret, file: Some(file) }
    }

    /// A value that a person typed.
    pub fn typed(secret: Secret) -> Value {
        Value { secret, file: None }
    }
}

/// Puts a value into the section where it belongs, and remembers the place where its tool keeps it.
///
/// # Errors
/// The value is not what the credential wants, or a persona's without a persona.
pub fn put(bundle: &mut Bundle, entry: &Entry, whose: &Owner, value: Value) -> Result<()> {
    let Value { secret, file } = value;
    bake::check_value(entry.rule, secret.bytes()).map_err(refused)?;
    let secret = match bake::sealed(entry.rule, secret.bytes()) {
        Cow::Borrowed(_) => secret,
        Cow::Owned(bytes) => Secret::new(bytes),
    };
    let place = file.as_deref().and_then(Path::to_str);
    let place = place.map(|path| whose.with_surroundings(|here| here.shorten(path)));
    // A copy that was named lies where no tool looks.
    let read = whose.with_surroundings(|here| here.places(entry));
    let place = place.filter(|place| read.contains(place) && may_be_remembered(entry, place));
    let keep = |section: &mut Section| {
        section.put(&entry.id, secret);
        place.iter().for_each(|place| section.put_place(&entry.id, place));
    };
    match (entry.scope, &whose.persona) {
        (Scope::Global, _) => keep(&mut bundle.global),
        (Scope::Persona, Some(persona)) => bundle.in_persona(persona, keep),
        (Scope::Persona, None) => {
            return Err(Error::usage("it is a persona's").hint("say whose: --persona NAME"));
        }
    }
    Ok(())
}

/// What came of baking.
#[derive(Debug, Default)]
pub struct Baked {
    /// The ids of what was baked.
    pub ids: Vec<String>,
    /// What was found and holds no login.
    pub left_out: Vec<LeftOut>,
}

/// A file of a tool without a login.
#[derive(Debug)]
pub struct LeftOut {
    /// The id.
    pub id: String,
    /// The file and the reason.
    pub error: Error,
}

/// Bakes all of the manifest that lies on this machine. A file of a tool that holds no login is
/// left out.
///
/// # Errors
/// A file that is there and cannot be read, or is not what it should be.
pub fn found(bundle: &mut Bundle, manifest: &Manifest, whose: &Owner) -> Result<Baked> {
    let mut found = Baked::default();
    let of_us = |entry: &&Entry| {
        let ours = entry.scope == Scope::Global || whose.persona.is_some();
        // What is made on the machine has several files, and one value is one file.
        ours && !matches!(entry.rule, Rule::NeverBaked)
    };
    for entry in manifest.entries().iter().filter(of_us) {
        let mut places = whose.places(entry).into_iter();
        let Some(path) = places.find(|path| path.is_file()) else { continue };
        let about = |error: Error| Error { text: format!("{}: {}", entry.id, error.text), ..error };
        let value = of_file(whose, &path).map_err(about)?;
        if let Err(why @ BadBake::NoLogin(_)) = bake::check_value(entry.rule, value.secret.bytes())
        {
            let error = no_login(entry, &path, why);
            found.left_out.push(LeftOut { id: entry.id.clone(), error });
            continue;
        }
        put(bundle, entry, whose, value).map_err(about)?;
        found.ids.push(entry.id.clone());
    }
    Ok(found)
}

/// The finding about a file of a tool without a login.
fn no_login(entry: &Entry, path: &Path, why: BadBake) -> Error {
    let text = format!("{}: {}: {why}; it was not put in", entry.id, path.display());
    Error::new(Kind::NotFound, text).hint(match entry.rule {
        Rule::GhHosts => "TOKEN=$(gh auth token) zeta creds … --bake-cred gh-cli=env:TOKEN",
        _ => "log in with the tool, and repeat",
    })
}

fn refused(bad: bake::BadBake) -> Error {
    Error::usage(bad.to_string()).hint("the value is not shown; look at where it came from")
}

/// The value that a source names.
///
/// # Errors
/// A file or variable that is not there. The error does not name it: the name may be the secret
/// itself.
pub fn value(whose: &Owner, source: &Source<'_>) -> Result<Value> {
    match source {
        Source::Literal(text) => Ok(Value::typed(Secret::new(text.as_bytes().to_vec()))),
        Source::File(path) => of_file(whose, &whose.expand(path)),
        Source::Env(name) => match std::env::var(name).map(Zeroizing::new) {
            Ok(text) if !text.is_empty() => Ok(Value::typed(Secret::new(text.as_bytes().to_vec()))),
            _ => Err(Error::usage("the variable that it names is not set, or empty")),
        },
    }
}

fn of_file(whose: &Owner, path: &Path) -> Result<Value> {
    let cannot = |error: std::io::Error| {
        Error::new(Kind::Usage, format!("its file cannot be read: {error}"))
            .hint("the path is not shown, for a secret may have been given in its place")
    };
    let mut options = std::fs::File::options();
    // Without O_NONBLOCK the open of a named pipe would never return.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = options.read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = file.map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if !meta.is_file() {
        return Err(cannot(std::io::Error::other("it is not a regular file")));
    }
    if !whose.may_hold(path, &meta).map_err(cannot)? {
        let why = "it belongs to another user than the home where it was looked for";
        return Err(cannot(std::io::Error::other(why)));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_MAX + 1));
    file.take(VALUE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > VALUE_MAX {
        return Err(cannot(std::io::Error::other("it has more than 512 KiB")));
    }
    let secret = Secret::new(bytes.as_slice().to_vec());
    Ok(Value { secret, file: std::path::absolute(path).ok() })
}
