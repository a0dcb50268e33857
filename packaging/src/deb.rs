//! The package for Debian: the program, its pages and completions, and units that nobody enabled.

use anyhow::Result;
use jiff::Timestamp;

use crate::archive::{Entry, Tar, ar, gzip, tar_gz};
use crate::{DESCRIPTION, Release, SHELLS, SUMMARY, architecture};

/// Who answers for the package. The project has no address of its own.
const MAINTAINER: &str = "the zeta contributors <maintainers@zeta.invalid>";

/// Where each shell looks for completions of packages, in the order of [`SHELLS`].
const COMPLETIONS: [&str; SHELLS.len()] = [
    "usr/share/bash-completion/completions/zeta",
    "usr/share/fish/vendor_completions.d/zeta.fish",
    "usr/share/zsh/vendor-completions/_zeta",
];

/// The scripts that dpkg runs. `@UNITS@` stands for the units of the package, and `@DAEMONS@` for
/// those that go on with another program after a restart, as if nothing had been.
const SCRIPTS: [(&str, &str); 3] = [
    ("postinst", include_str!("../deb/postinst")),
    ("postrm", include_str!("../deb/postrm")),
    ("prerm", include_str!("../deb/prerm")),
];

const COPYRIGHT: &str = include_str!("../deb/copyright");
const OVERRIDES: &str = include_str!("../deb/lintian-overrides");

/// Returns the name of the package's file.
///
/// # Errors
/// This architecture has no packages.
pub fn file_name(release: &Release) -> Result<String> {
    Ok(format!("zeta_{}-1_{}.deb", release.version, architecture()?.debian))
}

/// Makes the package.
///
/// # Errors
/// This architecture has no packages, or a path is too long.
pub fn pack(release: &Release) -> Result<Vec<u8>> {
    let files = files(release)?;
    let Release { time, level, .. } = *release;
    let how = Tar { prefix: "./", directories: true, time, level };
    let control = tar_gz(&control(release, &files)?, &how)?;
    let data = tar_gz(&files, &how)?;
    let members: [(&str, &[u8]); 3] =
        [("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)];
    Ok(ar(&members, time))
}

/// Returns what is installed.
fn files(release: &Release) -> Result<Vec<Entry>> {
    let mut files = vec![Entry::program("usr/bin/zeta", release.program.clone())];
    for (path, text) in &release.units {
        let (path, text) = match path.strip_prefix("tmpfiles.d/") {
            Some(name) => (format!("usr/lib/tmpfiles.d/{name}"), without_group(text)),
            None if path.starts_with("sysusers.d/") => (format!("usr/lib/{path}"), text.clone()),
            None => (format!("usr/lib/systemd/system/{path}"), text.clone()),
        };
        files.push(Entry::text(path, text.replace("/usr/local/bin/zeta", "/usr/bin/zeta")));
    }
    for (name, page) in &release.pages {
        files.push(Entry::text(format!("usr/share/man/man1/{name}.gz"), gzip(page)?));
    }
    for (path, script) in COMPLETIONS.iter().zip(&release.completions) {
        files.push(Entry::text(*path, script.clone()));
    }
    let docs = "usr/share/doc/zeta";
    files.push(Entry::text(format!("{docs}/README.md"), release.readme.clone()));
    let examples = release.examples.iter();
    files.extend(
        examples.map(|(path, text)| Entry::text(format!("{docs}/examples/{path}"), text.clone())),
    );
    files.push(Entry::text(format!("{docs}/changelog.gz"), gzip(&release.changes)?));
    let news = gzip(debian_changelog(release)?.as_bytes())?;
    files.push(Entry::text(format!("{docs}/changelog.Debian.gz"), news));
    files.push(Entry::text(format!("{docs}/copyright"), copyright(release)));
    files.push(Entry::text(format!("{docs}/crates.txt.gz"), gzip(release.credits.as_bytes())?));
    files.push(Entry::text("usr/share/lintian/overrides/zeta", OVERRIDES));
    Ok(files)
}

/// Removes the lines that make a directory for a group in /tmp. A machine has one when root says
/// `zeta init --group`, and a package does not say that: without it, the first user has a directory
/// of its own, as everywhere.
fn without_group(tmpfiles: &str) -> String {
    let is_kept = |line: &&str| {
        let mut words = line.split_whitespace();
        let (kind, path) = (words.next().unwrap_or("#"), words.next().unwrap_or_default());
        !kind.starts_with('#') && (kind == "x" || !path.starts_with("/tmp/"))
    };
    let kept: String = tmpfiles.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
    format!(
        "# The home of zeta's services, and directories from which nothing may be removed by its \
         age.\n# 'zeta init --group' puts a file of this name into /etc, which counts instead.\n\
         {kept}"
    )
}

/// Returns the part of the package that dpkg reads.
fn control(release: &Release, files: &[Entry]) -> Result<Vec<Entry>> {
    // In KiB; dpkg counts a small file and a directory as one.
    let size: usize = files.iter().map(|file| file.content.len().div_ceil(1024)).sum();
    let description = DESCRIPTION.replace('\n', "\n ");
    let control = format!(
        "Package: zeta\nVersion: {}-1\nArchitecture: {}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {size}\nRecommends: git\nSuggests: systemd\nSection: admin\n\
         Priority: optional\nDescription: {SUMMARY}\n {description}\n",
        release.version,
        architecture()?.debian,
    );
    let mut entries = vec![Entry::text("control", control)];
    let (units, daemons) = (patterns(release).join(" "), daemons(release).join(" "));
    let script = |text: &str| text.replace("@UNITS@", &units).replace("@DAEMONS@", &daemons);
    entries.extend(SCRIPTS.map(|(name, text)| Entry::program(name, script(text))));
    Ok(entries)
}

/// Returns the units of the package as quoted words of a shell: a template is a pattern for all of
/// its units.
fn patterns(release: &Release) -> Vec<String> {
    let names = release.units.iter().filter(|(path, _)| !path.contains('/'));
    names.map(|(name, _)| format!("'{}'", name.replace("@.", "@*."))).collect()
}

/// Returns the services that stay up. Those of a template run agents.
fn daemons(release: &Release) -> Vec<&str> {
    let stays = |text: &str| text.lines().any(|line| line == "Type=notify");
    let daemons = release.units.iter().filter(|(path, text)| stays(text) && !path.contains('@'));
    daemons.map(|(path, _)| path.as_str()).collect()
}

fn debian_changelog(release: &Release) -> Result<String> {
    let date = date(release.time)?;
    Ok(format!(
        "zeta ({0}-1) unstable; urgency=medium\n\n  * Version {0}. changelog.gz says what \
         changed.\n\n -- {MAINTAINER}  {date}\n",
        release.version
    ))
}

fn copyright(release: &Release) -> String {
    let mit = release.licences.iter().find(|(name, _)| name == "LICENSE-MIT");
    let mit = mit.map(|(_, text)| String::from_utf8_lossy(text)).unwrap_or_default();
    let (_, terms) = mit.split_once("Permission is").unwrap_or_default();
    let terms: String = format!("Permission is{terms}")
        .lines()
        .map(|line| if line.is_empty() { " .\n".to_owned() } else { format!(" {line}\n") })
        .collect();
    COPYRIGHT.replace("@MIT@\n", &terms)
}

/// Writes a time as mails do, in UTC.
fn date(time: u64) -> Result<String> {
    let time = Timestamp::from_second(i64::try_from(time)?)?;
    Ok(time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_makes_no_directory_for_a_group() {
        let lines = "# A word.\nd /tmp/zeta-bus 2770 root zeta -\nC /tmp/a/b 0440 root zeta - /c\n\
                     x /tmp/zeta-bus\n\nd /var/lib/zeta 0755 zeta zeta -\n";
        let kept = without_group(lines);
        let kept: Vec<&str> = kept.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(kept, ["x /tmp/zeta-bus", "d /var/lib/zeta 0755 zeta zeta -"]);
    }
}
