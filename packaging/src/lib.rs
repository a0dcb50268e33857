//! The packages by which people install zeta: for Debian, for pip and for npm.
//!
//! Each package is a pure function of a [`Release`], so the same release gives the same bytes. Only
//! [`Release::gather`] reads files and starts the program.

mod archive;
pub mod deb;
pub mod npm;
pub mod wheel;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

pub use anyhow::Result;
pub use archive::Entry;

/// What the packages say about themselves, in one line.
const SUMMARY: &str = "coordination of AI agents that share a machine";

/// The same, for people who do not know it.
const DESCRIPTION: &str = "\
zeta shows which AI agents run on a machine and what each of them does, and
it gives an exclusive right to a task, a lease, to exactly one of them at a
time. It is one small program without a daemon or a database: the state is a
directory of short text files.";

/// The shells whose completions are installed.
const SHELLS: [&str; 3] = ["bash", "fish", "zsh"];

/// The licences of the project.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// What all packages are made of.
#[derive(Debug, Clone)]
pub struct Release {
    /// The version, as `1.2.3`.
    pub version: String,
    /// The time of the release, in seconds since 1970: that of each file.
    pub time: u64,
    /// The program.
    pub program: Vec<u8>,
    /// How hard the packages are compressed, up to 9.
    pub level: u32,
    /// The manual pages, by the names of their files.
    pub pages: Vec<(String, Vec<u8>)>,
    /// The completions of bash, fish and zsh.
    pub completions: Vec<Vec<u8>>,
    /// The files below `units/`, by their paths there.
    pub units: Vec<(String, String)>,
    /// The texts of the licences, by the names of their files.
    pub licences: Vec<(String, Vec<u8>)>,
    /// The licences of the crates that the program is made of.
    pub credits: String,
    /// The files below `docs/examples/`, by their paths there.
    pub examples: Vec<(String, String)>,
    /// `README.md`.
    pub readme: Vec<u8>,
    /// `CHANGELOG.md`.
    pub changes: Vec<u8>,
}

impl Release {
    /// Reads what belongs into the packages: the program, what it says about itself, and files of
    /// the checkout at `root`. `scratch` is a directory that does not exist yet; it is removed.
    ///
    /// # Errors
    /// The version is not of three numbers, the program does not run, or a file cannot be read.
    pub fn gather(
        program: &Path,
        root: &Path,
        version: &str,
        time: u64,
        credits: &str,
        scratch: &Path,
    ) -> Result<Release> {
        // Debian, PyPI and npm write anything but numbers differently.
        let numbers: Vec<&str> = version.split('.').collect();
        let good = numbers.len() == 3 && numbers.iter().all(|part| part.parse::<u32>().is_ok());
        ensure!(good, "{version}: a package has a version of three numbers");
        let pages = pages(program, scratch)?;
        let completions = SHELLS.iter().map(|shell| say(program, &["completions", shell]));
        let licences = LICENCES.iter().map(|name| Ok(((*name).to_owned(), read(root, name)?)));
        let (mut units, mut examples) = (Vec::new(), Vec::new());
        collect(&root.join("units"), "", &mut units)?;
        collect(&root.join("docs/examples"), "", &mut examples)?;
        Ok(Release {
            version: version.to_owned(),
            time,
            program: read(Path::new(""), &program.to_string_lossy())?,
            level: 9,
            pages,
            completions: completions.collect::<Result<_>>()?,
            units,
            examples,
            licences: licences.collect::<Result<_>>()?,
            credits: credits.to_owned(),
            readme: read(root, "README.md")?,
            changes: read(root, "CHANGELOG.md")?,
        })
    }
}

/// The names of this machine's architecture, as Debian, Python and npm have them.
struct Architecture {
    debian: &'static str,
    python: &'static str,
    npm: &'static str,
}

fn architecture() -> Result<Architecture> {
    match env::consts::ARCH {
        "x86_64" => Ok(Architecture { debian: "amd64", python: "x86_64", npm: "x64" }),
        "aarch64" => Ok(Architecture { debian: "arm64", python: "aarch64", npm: "arm64" }),
        other => bail!("there are no packages for {other}"),
    }
}

fn read(root: &Path, name: &str) -> Result<Vec<u8>> {
    let path = root.join(name);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Runs the program, without anything of the caller's own settings.
fn say(program: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let mut call = Command::new(program);
    let call = call.args(args).env_clear().stdin(Stdio::null()).stderr(Stdio::inherit());
    let done = call.output().with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(done.status.success(), "{} {}: {}", program.display(), args.join(" "), done.status);
    Ok(done.stdout)
}

fn pages(program: &Path, scratch: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    say(program, &["man", "--dir", &scratch.to_string_lossy()])?;
    let mut pages = Vec::new();
    for name in names(scratch)? {
        let page = read(scratch, &name)?;
        pages.push((name, page));
    }
    fs::remove_dir_all(scratch)?;
    Ok(pages)
}

/// Reads all files of a directory, and of those in it, by their paths below `root`.
fn collect(root: &Path, dir: &str, files: &mut Vec<(String, String)>) -> Result<()> {
    let place = root.join(dir);
    for name in names(&place)? {
        let path = Path::new(dir).join(&name).to_string_lossy().into_owned();
        if place.join(&name).is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let text = String::from_utf8(read(&place, &name)?);
        files.push((path, text.with_context(|| format!("{name} is not text"))?));
    }
    Ok(())
}

/// Returns the names in a directory, in their order.
fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    let mut names = entries.map(name).collect::<Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}
