//! The packages of the built program: they install with the real tools, without a network, and
//! their bytes depend on nothing but what is in them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use zeta_packaging::{Release, deb, npm, wheel};

use super::sandbox::{Done, Sandbox};
use crate::support::{can, find, run_within, skip, test_name};

/// How long pip, npm or dpkg may take beside other tests.
const LONG: Duration = Duration::from_secs(100);

/// Debian's own Python; another one on the path may lack the module that makes environments.
const PYTHON: &str = "/usr/bin/python3";

/// The built program as a release, without what only a debugger reads.
pub fn release(version: &str, scratch: &Path) -> Release {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = scratch.join("program");
    let mut strip = Command::new("strip");
    Done::of(strip.arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_zeta"))).expect(0);
    let (credits, pages) = ("a crate v1.0.0 | MIT |\n", scratch.join("pages"));
    let release = Release::gather(&program, &root, version, 1_796_031_093, credits, &pages);
    Release { level: 1, ..release.unwrap() }
}

type Name = fn(&Release) -> zeta_packaging::Result<String>;
type Pack = fn(&Release) -> zeta_packaging::Result<Vec<u8>>;

/// A release, a file with one of its packages, and a place to install it.
struct Place {
    sandbox: Sandbox,
    release: Release,
    package: PathBuf,
}

impl Place {
    fn new(name: Name, pack: Pack) -> Place {
        let sandbox = Sandbox::new();
        let release = release("1.2.3", sandbox.dir());
        let package = sandbox.dir().join(name(&release).unwrap());
        fs::write(&package, pack(&release).unwrap()).unwrap();
        Place { sandbox, release, package }
    }

    /// Runs a program to its success; what it printed.
    #[track_caller]
    fn ok(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        let home = self.sandbox.dir().join("home");
        fs::create_dir_all(&home).unwrap();
        command.args(args).current_dir(&home).env("HOME", &home).env_remove("PYTHONPATH");
        let out = run_within(&mut command, LONG);
        assert_eq!(out.status, 0, "{program} {args:?}: {out:?}");
        out.out
    }

    fn path(&self, path: &str) -> String {
        self.sandbox.dir().join(path).display().to_string()
    }

    /// Checks that it is the packed program, and that everybody may run it.
    #[track_caller]
    fn has_ours(&self, program: &Path) {
        let installed = fs::canonicalize(program).unwrap();
        assert!(fs::read(&installed).unwrap() == self.release.program, "{}", program.display());
        assert_eq!(fs::metadata(&installed).unwrap().mode() & 0o777, 0o755);
        let out = Done::of(Command::new(program).arg("--version")).expect(0).out;
        assert!(out.starts_with("zeta "), "{out}");
    }
}

/// Reads each line of RECORD with the modules of Python, and compares it with the file.
const RECORD: &str = r#"
import base64, csv, hashlib, io, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
assert wheel.testzip() is None
info = "zeta-1.2.3.dist-info/"
rows = list(csv.reader(io.StringIO(wheel.read(info + "RECORD").decode())))
assert sorted(row[0] for row in rows) == sorted(wheel.namelist()), rows
for name, digest, size in rows:
    if name == info + "RECORD":
        assert digest == size == ""
        continue
    content = wheel.read(name)
    kind, text = digest.split("=", 1)
    wanted = base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode()
    assert (text, int(size)) == (wanted, len(content)), name
print(len(rows), "rows")
lines = wheel.read(info + "WHEEL").decode().splitlines()
print(*[line[5:] for line in lines if line.startswith("Tag: ")])
"#;

#[test]
fn pip_installs_the_wheel_without_a_network_and_removes_it() {
    if !can(PYTHON, &["-c", "import ensurepip, venv"]) {
        return skip(test_name!(), "no python3 of Debian, or no python3-venv");
    }
    let place = Place::new(wheel::file_name, wheel::pack);
    let name = place.package.file_name().unwrap().to_str().unwrap();
    let (package, venv) = (place.package.display().to_string(), place.path("venv"));

    let said = place.ok(PYTHON, &["-c", RECORD, &package]);
    let (rows, tags) = said.trim().split_once('\n').unwrap();
    assert_eq!(rows, "7 rows");
    // The name of the file and its own list say the same: each system by itself.
    let systems = name.strip_prefix("zeta-1.2.3-py3-none-").unwrap();
    let systems = systems.strip_suffix(".whl").unwrap().split('.');
    let wanted: Vec<String> = systems.map(|system| format!("py3-none-{system}")).collect();
    assert_eq!(tags.split(' ').collect::<Vec<_>>(), wanted);
    for system in ["manylinux", "musllinux"] {
        assert!(tags.contains(system), "{tags}");
    }

    place.ok(PYTHON, &["-m", "venv", &venv]);
    let pip = format!("{venv}/bin/pip");
    let offline = ["--no-index", "--disable-pip-version-check", "--quiet"];
    place.ok(&pip, &[&["install"], &offline[..], &[&package]].concat());
    let program = PathBuf::from(&venv).join("bin/zeta");
    place.has_ours(&program);
    let shown = place.ok(&pip, &["show", "--disable-pip-version-check", "--files", "zeta"]);
    for line in ["Name: zeta", "Version: 1.2.3", "License: MIT OR Apache-2.0", "bin/zeta"] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
    place.ok(&pip, &["uninstall", "--disable-pip-version-check", "--yes", "--quiet", "zeta"]);
    assert!(!program.exists(), "it is removed");
}

#[test]
fn npm_installs_the_package_without_a_network_and_removes_it() {
    if find("npm").is_none() {
        return skip(test_name!(), "no npm");
    }
    let place = Place::new(npm::file_name, npm::pack);
    let (package, prefix) = (place.package.display().to_string(), place.path("prefix"));
    let silent = ["--offline", "--no-audit", "--no-fund", "--no-update-notifier", "--prefix"];
    for global in [&[][..], &["--global"][..]] {
        let call = |verb, what| [&[verb], global, &silent[..], &[&prefix, what]].concat();
        place.ok("npm", &call("install", &package));
        let bin = match global {
            [] => "node_modules/.bin/zeta",
            _ => "bin/zeta",
        };
        let program = Path::new(&prefix).join(bin);
        place.has_ours(&program);
        place.ok("npm", &call("uninstall", "zeta"));
        assert!(fs::symlink_metadata(&program).is_err(), "it is removed");
    }
    // Where the program cannot run, npm says so and installs nothing.
    let strange = fs::read_to_string(unpacked(&place, "package/package.json")).unwrap();
    let strange = strange.replace("\"linux\"", "\"darwin\"");
    fs::write(place.sandbox.dir().join("package/package.json"), strange).unwrap();
    let mut install = Command::new("npm");
    install.args(["install"]).args(silent).arg(&prefix).arg(place.path("package"));
    let home = place.sandbox.dir().join("home");
    let out = run_within(install.current_dir(&home).env("HOME", &home), LONG);
    assert!(out.status != 0 && out.err.contains("EBADPLATFORM"), "{out:?}");
}

/// Unpacks the package beside it; the path of one of its files.
fn unpacked(place: &Place, file: &str) -> PathBuf {
    let (package, dir) = (place.package.display().to_string(), place.path(""));
    place.ok("tar", &["-x", "-z", "-f", &package, "-C", &dir]);
    place.sandbox.dir().join(file)
}

#[test]
fn a_debian_package_has_what_a_machine_needs_and_enables_nothing() {
    if find("dpkg-deb").is_none() {
        return skip(test_name!(), "no dpkg-deb");
    }
    let place = Place::new(deb::file_name, deb::pack);
    let (package, tree) = (place.package.display().to_string(), place.path("tree"));
    let fields = place.ok("dpkg-deb", &["--field", &package]);
    for line in ["Package: zeta", "Version: 1.2.3-1", "Recommends: git"] {
        assert!(fields.lines().any(|there| there == line), "no {line:?} in {fields}");
    }
    let list = place.ok("dpkg-deb", &["--contents", &package]);
    assert!(list.lines().all(|line| line.contains(" root/root ")), "{list}");
    place.ok("dpkg-deb", &["--raw-extract", &package, &tree]);
    let tree = Path::new(&tree);
    place.has_ours(&tree.join("usr/bin/zeta"));
    let files = [
        "usr/lib/sysusers.d/zeta.conf",
        "usr/lib/tmpfiles.d/zeta.conf",
        "usr/share/bash-completion/completions/zeta",
        "usr/share/fish/vendor_completions.d/zeta.fish",
        "usr/share/zsh/vendor-completions/_zeta",
        "usr/share/man/man1/zeta.1.gz",
        "usr/share/man/man1/zeta-lease-acquire.1.gz",
        "usr/share/doc/zeta/changelog.gz",
        "usr/share/doc/zeta/changelog.Debian.gz",
        "usr/share/doc/zeta/copyright",
        "usr/share/doc/zeta/examples/guard-posts/posts.toml",
    ];
    for file in files {
        let meta = fs::metadata(tree.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(meta.len() > 0 && meta.mode() & 0o7777 == 0o644, "{file}");
    }
    // All units are there, start the program that is, and are enabled by nothing.
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../units");
    for entry in fs::read_dir(&units).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            continue;
        }
        let unit = tree.join("usr/lib/systemd/system").join(entry.file_name());
        let text = fs::read_to_string(&unit).unwrap();
        assert!(!text.contains("/usr/local/bin/zeta"), "{}", unit.display());
        let starts = text.contains("ExecStart=/usr/bin/zeta ");
        assert_eq!(starts, unit.extension().unwrap() == "service", "{}", unit.display());
    }
    let found = place.ok("find", &[&tree.display().to_string(), "-type", "l"]);
    assert_eq!(found, "", "a link could enable a unit");
    assert!(!tree.join("etc").exists(), "what is in /etc is root's");
    // A directory for a group in /tmp would lock out every user who is not in it.
    let tmpfiles = fs::read_to_string(tree.join("usr/lib/tmpfiles.d/zeta.conf")).unwrap();
    let lines: Vec<&str> = tmpfiles.lines().filter(|line| !line.starts_with('#')).collect();
    let of_tmp = |line: &&&str| line.split_whitespace().nth(1).unwrap().starts_with("/tmp/");
    let of_tmp: Vec<&&str> = lines.iter().filter(of_tmp).collect();
    assert_eq!(of_tmp, [&"x /tmp/zeta-cluster-state", &"x /tmp/zeta-bus"]);
    assert!(lines.contains(&"d /var/lib/zeta 0755 zeta zeta -"), "{lines:?}");
    for script in ["postinst", "prerm", "postrm"] {
        let script = tree.join("DEBIAN").join(script);
        let text = fs::read_to_string(&script).unwrap();
        assert!(!text.contains('@') || text.contains("@*."), "{text}");
        place.ok("sh", &["-n", &script.display().to_string()]);
    }
}

#[test]
fn the_same_release_gives_the_same_packages() {
    let sandbox = Sandbox::new();
    // The umask and the directory of the caller are not in them.
    let other = sandbox.dir().join("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    let one = release("1.2.3", sandbox.dir());
    let two = release("1.2.3", &other);
    let all: [Pack; 3] = [deb::pack, npm::pack, wheel::pack];
    for pack in all {
        let first = pack(&one).unwrap();
        assert!(first == pack(&two).unwrap(), "the second one differs");
        let later = Release { version: "1.2.4".to_owned(), ..two.clone() };
        assert!(first != pack(&later).unwrap(), "a version is in each of them");
    }
}

#[test]
fn a_version_that_the_tools_write_differently_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for version in ["1.2", "1.2.3-rc.1", "v1.2.3", ""] {
        let scratch = sandbox.dir().join("man");
        let program = Path::new(env!("CARGO_BIN_EXE_zeta"));
        let refused = Release::gather(program, &root, version, 0, "", &scratch).unwrap_err();
        assert!(refused.to_string().contains("a version of three numbers"), "{refused}");
        assert!(!scratch.exists(), "{version}");
    }
}
