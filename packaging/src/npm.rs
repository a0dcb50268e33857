//! The package for npm: the program as a `bin`, for the one system and architecture it runs on.

use anyhow::Result;

use crate::archive::{Entry, Tar, tar_gz};
use crate::{Release, SUMMARY, architecture};

/// Returns the name of the package's file.
///
/// # Errors
/// This architecture has no packages.
pub fn file_name(release: &Release) -> Result<String> {
    Ok(format!("zeta-{}-linux-{}.tgz", release.version, architecture()?.npm))
}

/// Makes the package.
///
/// # Errors
/// This architecture has no packages, or a path is too long.
pub fn pack(release: &Release) -> Result<Vec<u8>> {
    let manifest = format!(
        "{{\n  \"name\": \"zeta\",\n  \"version\": \"{}\",\n  \"description\": \"{SUMMARY}\",\n  \
         \"license\": \"(MIT OR Apache-2.0)\",\n  \"bin\": {{ \"zeta\": \"bin/zeta\" }},\n  \
         \"os\": [\"linux\"],\n  \"cpu\": [\"{}\"]\n}}\n",
        release.version,
        architecture()?.npm
    );
    let mut files = vec![
        Entry::text("package.json", manifest),
        Entry::program("bin/zeta", release.program.clone()),
        Entry::text("README.md", release.readme.clone()),
        Entry::text("crates.txt", release.credits.clone()),
    ];
    let licences = release.licences.iter().cloned();
    files.extend(licences.map(|(name, text)| Entry::text(name, text)));
    let Release { time, level, .. } = *release;
    tar_gz(&files, &Tar { prefix: "package/", directories: false, time, level })
}
