//! `zeta unit`: units for this machine and for one user, made, judged and installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use zeta_state::upkeep::unit_files::{Scope, Services, Setting, UnitFile, install, render};

use super::sandbox::{Done, Sandbox};
use crate::support::{find, is_root, skip, test_name};

fn text<'a>(files: &'a [UnitFile], name: &str) -> &'a str {
    let found = files.iter().find(|file| file.name() == Some(name));
    &found.unwrap_or_else(|| panic!("no {name}")).text
}

fn of_machine(user: &str, home: &str) -> Setting {
    let services = Services { user: user.to_owned(), home: home.into() };
    let scope = Scope::System(services);
    Setting { program: "/opt/zeta/zeta".into(), posts: 3, repositories: Vec::new(), scope }
}

#[test]
fn units_of_a_machine_have_its_program_its_user_and_its_posts() {
    let files = render(&Setting { posts: 12, ..of_machine("ace", "/home/ace") }).unwrap();
    for file in files.iter().filter(|file| file.path.ends_with(".service")) {
        let lines: Vec<&str> = file.text.lines().collect();
        let start = lines.iter().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert!(start.starts_with("ExecStart=/opt/zeta/zeta "), "{}: {start}", file.path);
        let user = lines.iter().find(|line| line.starts_with("User="));
        // The restore of credentials is the one that begins as root.
        let is_root = file.path.ends_with("zeta-creds-restore.service");
        assert_eq!(user.copied(), (!is_root).then_some("User=ace"), "{}", file.path);
    }
    let post = text(&files, "zeta-guard-post@.service");
    assert!(post.contains("\nProtectHome=tmpfs\nBindPaths=/home/ace\n"), "{post}");
    assert!(post.contains("\nEnvironment=PATH=/home/ace/.local/bin:/home/ace/.bun/bin:"), "{post}");
    assert!(post.contains("\nGroup=zeta\n") && post.contains("--dir /var/lib/zeta\n"), "{post}");
    // The home is no matter of the others.
    assert!(text(&files, "zeta-clean.service").contains("\nProtectHome=yes\n"));
    let tmpfiles = text(&files, "tmpfiles.d/zeta.conf");
    assert!(tmpfiles.contains("\nd /var/lib/zeta 0755 ace zeta -\n"), "{tmpfiles}");
    let target = text(&files, "zeta-guard-posts.target");
    let posts = target.lines().filter_map(|line| line.strip_prefix("Wants=zeta-guard-post@"));
    let posts: Vec<usize> = posts.map(|line| 1 + line.matches("@").count()).collect();
    assert_eq!(posts, [8, 4], "{target}");
    assert!(target.contains("zeta-guard-post@12.service\n"), "{target}");
}

#[test]
fn a_post_sees_and_writes_the_repositories_of_its_personas() {
    let post = |home: &str, repositories: &[&str]| {
        let repositories = repositories.iter().map(Into::into).collect();
        let files = render(&Setting { repositories, ..of_machine("ace", home) }).unwrap();
        let lines = text(&files, "zeta-guard-post@.service").lines();
        let asked = ["ProtectHome=", "BindPaths=", "ReadWritePaths=-/srv"];
        let lines = lines.filter(|line| asked.iter().any(|key| line.starts_with(key)));
        let scheduler = text(&files, "zeta-guard-post-scheduler.service");
        assert!(!scheduler.contains("/srv") && !scheduler.contains("/home/ann"), "{scheduler}");
        lines.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        post("/var/lib/zeta", &["/srv/a", "/srv/b"]),
        "ReadWritePaths=-/srv/a; ReadWritePaths=-/srv/b; ProtectHome=yes"
    );
    assert_eq!(
        post("/var/lib/zeta", &["/home/ann/shop"]),
        "ProtectHome=tmpfs; BindPaths=-/home/ann/shop"
    );
    assert_eq!(
        post("/home/ace", &["/home/ace/shop", "/home/ann/shop", "/srv/a"]),
        "ReadWritePaths=-/srv/a; ProtectHome=tmpfs; BindPaths=/home/ace -/home/ann/shop"
    );
}

#[test]
fn a_path_that_is_another_one_in_a_unit_is_refused() {
    for program in ["/opt/a b", "/opt/$HOME/zeta", "/opt/\"z\"", "/opt/a\nUser=root", ""] {
        let setting = Setting { program: program.into(), ..Setting::default() };
        let error = render(&setting).unwrap_err();
        assert!(error.text.contains("the program cannot stand in a unit"), "{}", error.text);
    }
    // A per cent sign begins a specifier, and two of them are one.
    let files = render(&Setting { program: "/opt/50%/zeta".into(), ..Setting::default() }).unwrap();
    assert!(text(&files, "zeta-clean.service").contains("ExecStart=/opt/50%%/zeta clean\n"));
    let odd = render(&of_machine("ace\nUser=root", "/home/ace")).unwrap_err();
    assert!(odd.text.contains("the user cannot stand in a unit"), "{}", odd.text);
}

#[test]
fn units_of_a_user_need_no_right_of_a_machine() {
    let sandbox = Sandbox::new();
    let dir = sandbox.dir().join("units");
    let named = sandbox.zeta(&["unit", "render", "--user", "--dir", dir.to_str().unwrap()]);
    assert!(named.expect(0).out.contains("made "));
    let mut seen = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines = || text.lines().filter(|line| !line.is_empty());
        for line in lines() {
            let key = line.trim_start_matches("# ").split('=').next().unwrap();
            let of_root = ["User", "Group", "StateDirectory", "ProtectSystem", "PrivateNetwork"];
            assert!(!of_root.contains(&key), "{}: {line}", path.display());
            assert!(!line.contains("/var/lib/zeta") && !line.contains("/etc/zeta"), "{line}");
            assert!(!line.contains("network-online") && !line.contains("multi-user"), "{line}");
        }
        // What explains a line that is left out is left out, too.
        let last = lines().next_back().unwrap();
        assert!(!last.starts_with('#') && !text.contains("ReadWritePaths"), "{text}");
        if path.extension().is_some_and(|end| end == "service") {
            let state = format!("ZETA_STATE_DIR={}", sandbox.tree().display());
            assert!(text.contains(&state), "another state directory: {text}");
            let start = format!("ExecStart={} ", env!("CARGO_BIN_EXE_zeta"));
            assert!(text.contains(&start), "{text}");
            assert!(text.contains("\nNoNewPrivileges=yes\n"), "{text}");
        }
        seen += 1;
    }
    assert_eq!(seen, 10, "all but the restore, which is for all users");
    let post = fs::read_to_string(dir.join("zeta-guard-post@.service")).unwrap();
    let config = sandbox.dir().join("config/zeta");
    assert!(post.contains(&format!(" post run %i --config {} ", config.display())), "{post}");
    assert!(post.contains("\nEnvironment=PATH=%h/.local/bin:"), "{post}");
}

#[test]
fn paths_below_the_home_of_a_user_are_named_from_it() {
    let sandbox = Sandbox::new();
    let mut call = sandbox.command(&["unit", "render", "--user"]);
    call.env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME").env("HOME", sandbox.dir());
    let said = Done::of(&mut call).expect(0).out;
    assert!(said.contains("--config %h/.config/zeta --dir %h/.local/state/zeta\n"), "{said}");
    assert!(said.contains("EnvironmentFile=%h/.config/zeta/node-register.env\n"), "{said}");
    assert!(said.contains("# zeta-guard-posts.target\n[Unit]\n"), "{said}");
}

#[test]
fn what_is_installed_for_a_user_stays_as_the_user_changed_it() {
    let sandbox = Sandbox::new();
    let install = |more: &[&str]| {
        let call = [&["unit", "install", "--user", "--json"], more].concat();
        sandbox.zeta(&call).expect(0).json()
    };
    let words = |answer: &serde_json::Value| {
        let steps = answer["steps"].as_array().unwrap().iter();
        steps.map(|step| step["did"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = install(&[]);
    assert_eq!((first["scope"].as_str(), words(&first)), (Some("user"), vec!["made".into(); 10]));
    assert_eq!(words(&install(&[])), ["found"; 10]);
    let dir = sandbox.dir().join("config/systemd/user");
    // Nothing is enabled: systemd does that with links in directories.
    assert!(fs::read_dir(&dir).unwrap().all(|entry| entry.unwrap().path().is_file()));
    let timer = dir.join("zeta-clean.timer");
    fs::write(&timer, "mine").unwrap();
    assert_eq!(words(&install(&[])).iter().filter(|word| *word == "left").count(), 1);
    assert_eq!(fs::read_to_string(&timer).unwrap(), "mine");
    // Another number of posts is another file.
    let more = install(&["--posts", "5"]);
    assert_eq!(words(&more).iter().filter(|word| *word == "left").count(), 2, "{more}");
    install(&["--replace", "--posts", "5"]);
    let target = fs::read_to_string(dir.join("zeta-guard-posts.target")).unwrap();
    assert!(target.contains("zeta-guard-post@5.service\n"), "{target}");
    assert!(fs::read_to_string(&timer).unwrap().contains("OnCalendar"));
    let next = first["next"].to_string();
    for part in ["systemctl --user daemon-reload", "zeta-guard-posts.target", "enable-linger"] {
        assert!(next.contains(part), "{part}: {next}");
    }
}

#[test]
fn the_number_of_posts_is_that_of_the_operator_s_file() {
    let sandbox = Sandbox::new();
    let dir = sandbox.dir().join("config/zeta");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("posts.toml"), "[posts]\ncount = 2\n").unwrap();
    let said = sandbox.zeta(&["unit", "render", "--user"]).expect(0).out;
    assert!(said.contains("Wants=zeta-guard-post@1.service zeta-guard-post@2.service\n"), "{said}");
    fs::write(dir.join("posts.toml"), "[posts]\ncont = 2\n").unwrap();
    let wrong = sandbox.zeta(&["unit", "render", "--user"]).expect(7);
    assert!(wrong.err.contains("posts.toml:2"), "{}", wrong.err);
    fs::write(dir.join("posts.toml"), "[posts]\ncount = 2\n").unwrap();
    let four = sandbox.zeta(&["unit", "render", "--user", "--posts", "4"]).expect(0).out;
    assert!(four.contains("zeta-guard-post@4.service\n"), "{four}");
    sandbox.zeta(&["unit", "render", "--user", "--posts", "0"]).expect(2);
}

#[test]
fn the_tree_of_another_machine_gets_units_and_no_name() {
    let sandbox = Sandbox::new();
    let image = sandbox.dir().join("image");
    fs::create_dir_all(image.join("etc/zeta")).unwrap();
    let posts = "[posts]\ncount = 1\n[ticks]\nrepository = \"/srv/all\"\n";
    fs::write(image.join("etc/zeta/posts.toml"), posts).unwrap();
    fs::create_dir(image.join("etc/zeta/personas.d")).unwrap();
    let otto = "lines = [\"a\"]\nharnesses = [\"h\"]\nrepository = \"/srv/shop\"\n";
    fs::write(image.join("etc/zeta/personas.d/otto.toml"), otto).unwrap();
    let passwd = "root:x:0:0::/root:/bin/sh\nace:x:1000:1000::/home/ace:/bin/sh\n";
    fs::write(image.join("etc/passwd"), passwd).unwrap();
    fs::write(image.join("etc/group"), "").unwrap();
    let root = ["unit", "install", "--system", "--root", image.to_str().unwrap()];
    let said = sandbox.zeta(&[&root[..], &["--run-as", "ace"]].concat()).expect(0).out;
    assert!(said.contains("install -m 0755") && said.contains("daemon-reload"), "{said}");
    let unit =
        |name: &str| fs::read_to_string(image.join("etc/systemd/system").join(name)).unwrap();
    assert!(unit("zeta-guard-posts.target").contains("Wants=zeta-guard-post@1.service\n"));
    let written = "\nReadWritePaths=-/srv/all\nReadWritePaths=-/srv/shop\n";
    assert!(unit("zeta-guard-post@.service").contains(written));
    // A program of a home is none for services: they start the one that only root can replace.
    let clean = unit("zeta-clean.service");
    assert!(clean.contains("\nExecStart=/usr/local/bin/zeta clean\nUser=ace\n"), "{clean}");
    assert!(!image.join("etc/zeta/cluster-node-id").exists(), "each machine has its own");
    let root_user = sandbox.zeta(&[&root[..], &["--run-as", "root"]].concat()).expect(2);
    assert!(root_user.err.contains("do not run as root"), "{}", root_user.err);
    sandbox.zeta(&[&root[..], &["--run-as", "nobody-here"]].concat()).expect(4);
    sandbox.zeta(&["unit", "install", "--user", "--root", "/x"]).expect(2);
}

#[test]
fn a_file_of_a_package_is_not_copied_before_it() {
    let sandbox = Sandbox::new();
    let root = sandbox.dir().join("root");
    let setting = Setting::default();
    let packaged = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&packaged).unwrap();
    for file in render(&setting).unwrap().iter().filter(|file| file.is_unit()) {
        fs::write(packaged.join(file.name().unwrap()), &file.text).unwrap();
    }
    let done = install(&root, &setting, None, false).unwrap();
    let found = done.steps.iter().filter(|step| step.did.word() == "found");
    assert_eq!(found.count(), 11);
    assert!(!root.join("etc/systemd/system/zeta-clean.timer").exists());
    // Another setting is an operator's, and stands before that of the package.
    let other = Setting { posts: 5, ..setting };
    install(&root, &other, None, false).unwrap();
    assert!(root.join("etc/systemd/system/zeta-guard-posts.target").exists());
    assert!(!root.join("etc/systemd/system/zeta-clean.timer").exists());
}

#[test]
fn only_root_installs_units_of_the_machine() {
    if !is_root() {
        return skip(test_name!(), "not root");
    }
    let sandbox = Sandbox::new();
    let mut call = sandbox.command(&["unit", "install", "--system"]);
    let said = Done::of(call.uid(65534).env("HOME", "/")).expect(2);
    assert!(said.err.contains("only root") && said.err.contains("--user"), "{}", said.err);
    // And root only for the directory that they are for.
    let said = sandbox.zeta(&["unit", "install", "--system"]).expect(2);
    assert!(said.err.contains("default directory"), "{}", said.err);
    assert!(!Path::new("/etc/systemd/system/zeta-guard-posts.target").exists());
}

#[test]
fn systemd_has_nothing_to_say_about_the_units_of_both() {
    if find("systemd-analyze").is_none() {
        return skip(test_name!(), "no systemd-analyze");
    }
    let sandbox = Sandbox::new();
    let said = sandbox.zeta(&["unit", "verify", "--user"]).expect(0).out;
    assert!(said.ends_with("10 units, and nothing wrong\n"), "{said}");
    let posts = sandbox.dir().join("config/zeta/posts.toml");
    let note = format!("note: {} is not there: guard posts need it\n", posts.display());
    assert!(said.contains(&note), "{said}");
    // What root makes with 'zeta init --group' may be missing here, and nothing else.
    let program = env!("CARGO_BIN_EXE_zeta");
    let call = ["unit", "verify", "--system", "--program", program, "--json"];
    let seen = sandbox.zeta(&call).out;
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    let findings = seen["findings"].as_array().unwrap();
    let is_made = |finding: &&serde_json::Value| {
        finding["hints"][0] == "as root, it is made by: zeta init --group zeta"
    };
    assert_eq!(findings.iter().filter(|found| !is_made(found)).count(), 0, "{findings:?}");
    let levels: Vec<f64> = seen["exposure"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["level"].as_f64().unwrap())
        .collect();
    assert!(levels.len() == 7 && levels.iter().all(|level| *level <= 2.5), "{seen}");
}

#[test]
fn what_systemd_says_and_what_is_missing_are_findings_by_name() {
    let sandbox = Sandbox::new();
    let bin = sandbox.dir().join("bin");
    fs::create_dir(&bin).unwrap();
    let analyze = bin.join("systemd-analyze");
    let script = "\
#!/bin/sh
level() { echo \"-> Overall exposure level for x.service: $1\"; }
case \"$*\" in
*verify*) echo \"$2: Unknown key name 'X', ignoring.\" >&2 ;;
*zeta-clean*) level '9.6 UNSAFE'; exit 1 ;;
*) level '1.0 OK' ;;
esac
";
    fs::write(&analyze, script).unwrap();
    fs::set_permissions(&analyze, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let call = ["unit", "verify", "--system", "--program", "/opt/none/zeta"];
    let seen = Done::of(sandbox.command(&call).env("PATH", path)).expect(7).out;
    for part in [
        "the program /opt/none/zeta is missing",
        "systemd-analyze: zeta-clean.service: Unknown key name 'X', ignoring.",
        "zeta-clean.service has an exposure of 9.6, and 2.5 is the most",
        "exposure 1.0 of at most 2.5: zeta-heartbeat.service",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    let empty = sandbox.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    let none = Done::of(sandbox.command(&["unit", "verify", "--user"]).env("PATH", empty));
    assert!(none.expect(4).err.contains("systemd-analyze cannot be started"));
}
