//! Where a token is looked for, and what is never shown of it.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeta_registration::forge::ForgeError;
use zeta_registration::forge::token::{Places, Token, find};

use crate::support::Sandbox;

fn found(
    sandbox: &Sandbox,
    file: Option<&Path>,
    variables: &[(&str, &str)],
    gh: &str,
) -> Result<Token, ForgeError> {
    let program = sandbox.dir.join("gh");
    if !gh.is_empty() {
        std::fs::write(&program, format!("#!/bin/sh\n{gh}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    find(&Places { file, variable: &variable, gh: &program, host: "github.com" })
}

#[test]
fn a_token_of_one_server_goes_to_no_other() {
    let all = ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"];
    for (host, wanted) in [
        ("github.com", &all[..2]),
        ("acme.ghe.com", &all[..2]),
        ("git.acme.example", &all[2..]),
        ("notgithub.com", &all[2..]),
        ("ghe.com.evil.example", &all[2..]),
        ("127.0.0.1:8443", &all[2..]),
    ] {
        let gh = std::path::Path::new("/nowhere/gh");
        let ask = |set: &[&str]| {
            let variable = |name: &str| set.contains(&name).then(|| "s3cret".to_owned());
            find(&Places { file: None, variable: &variable, gh, host })
        };
        assert_eq!(ask(&all).unwrap().source(), wanted[0], "{host}");
        assert_eq!(ask(&wanted[1..]).unwrap().source(), wanted[1], "{host}");
        let others: Vec<&str> = all.into_iter().filter(|name| !wanted.contains(name)).collect();
        let refused = format!("{:?}", ask(&others).unwrap_err());
        assert!(refused.contains(wanted[0]) && !refused.contains("s3cret"), "{host}: {refused}");
    }
}

#[test]
fn gh_is_asked_for_a_server_by_its_name_without_the_port() {
    let sandbox = Sandbox::new();
    let gh = sandbox.dir.join("gh");
    let script = "#!/bin/sh\n[ \"$*\" = 'auth token --hostname host' ] && echo s3cret\n";
    std::fs::write(&gh, script).unwrap();
    std::fs::set_permissions(&gh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let places = Places { file: None, variable: &|_| None, gh: &gh, host: "host:8443" };
    assert_eq!(find(&places).unwrap().source(), "'gh auth token'");
}

#[test]
fn a_token_is_found_in_the_order_that_is_told_and_says_where() {
    let sandbox = Sandbox::new();
    let file = sandbox.dir.join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let both = [("GITHUB_TOKEN", "s3cret"), ("GH_TOKEN", "s3cret")];
    let gh = "[ \"$*\" = 'auth token --hostname github.com' ] && echo s3cret";
    let source = |token: Result<Token, ForgeError>| token.unwrap().source().to_owned();
    assert_eq!(source(found(&sandbox, Some(&file), &both, gh)), file.display().to_string());
    assert_eq!(source(found(&sandbox, None, &both, gh)), "GH_TOKEN");
    // A credential of a service: its mode is the mask of an ACL, and its directory is closed.
    let dir = sandbox.dir.join("credentials");
    std::fs::create_dir(&dir).unwrap();
    let credential = dir.join("forge-token");
    std::fs::write(&credential, "s3cret").unwrap();
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o440)).unwrap();
    let service = dir.display().to_string();
    let with = [("CREDENTIALS_DIRECTORY", service.as_str()), ("GH_TOKEN", "s3cret")];
    assert_eq!(source(found(&sandbox, None, &with, gh)), credential.display().to_string());
    assert!(found(&sandbox, Some(&credential), &both, gh).is_err(), "only for that service");
    assert_eq!(source(found(&sandbox, None, &both[..1], gh)), "GITHUB_TOKEN");
    assert_eq!(source(found(&sandbox, None, &[("GH_TOKEN", "")], gh)), "'gh auth token'");
}

#[test]
fn a_file_of_gh_has_the_token_of_its_own_server_alone() {
    let sandbox = Sandbox::new();
    let file = sandbox.dir.join("hosts.yml");
    let ask = |host| {
        let gh = Path::new("/nowhere/gh");
        find(&Places { file: Some(&file), variable: &|_| None, gh, host })
    };
    let write = |text: &str| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("github.com:\n    user: ace\n    oauth_token: s3cret\n");
    let header = |token: &Token| token.header("x").line;
    let alone = Token::new("s3cret".to_owned().into(), "x").unwrap();
    assert_eq!(header(&ask("github.com").unwrap()), header(&alone));
    assert_eq!(header(&ask("github.com:443").unwrap()), header(&alone));
    for (host, text) in [
        ("git.acme.example", "github.com:\n    user: ace\n    oauth_token: s3cret\n"),
        ("github.com", "github.com:\n    user: ace\n    oauth_token: s3cret and more\n"),
        ("github.com", "github.com:\n    user: s3cret\n"),
    ] {
        write(text);
        let refused = format!("{:?}", ask(host).unwrap_err());
        assert!(refused.contains("more than one word"), "{host}: {refused}");
        assert!(!refused.contains("s3cret"), "{host}: {refused}");
    }
}

#[test]
fn a_token_is_not_shown() {
    let sandbox = Sandbox::new();
    let token = found(&sandbox, None, &[("GH_TOKEN", "s3cret")], "").unwrap();
    let mut shown = String::new();
    write!(shown, "{token:?} {token:#?} {token}").unwrap();
    assert!(!shown.contains("s3cret") && shown.contains("GH_TOKEN"), "{shown}");
}

#[test]
fn a_place_of_no_use_is_told_with_its_remedy_and_without_the_token() {
    let sandbox = Sandbox::new();
    let file = sandbox.dir.join("token");
    let refused = |token: Result<Token, ForgeError>, words: &str| {
        let Err(ForgeError::Unauthenticated(why)) = token else { panic!("{token:?}") };
        assert!(why.contains(words) && !why.contains("s3cret"), "{why}");
    };
    refused(found(&sandbox, Some(&file), &[("GH_TOKEN", "x")], ""), "is not there");
    // A token in the wrong place is not repeated.
    refused(found(&sandbox, Some(Path::new("s3cret")), &[], ""), "is not there");
    // Nor one that no name of a file can be, or below what is no directory.
    std::fs::write(&file, "").unwrap();
    for no_name in [PathBuf::from("s3cret".repeat(60)), file.join("s3cret")] {
        refused(found(&sandbox, Some(&no_name), &[], ""), "its name is not shown");
    }
    std::fs::remove_file(&file).unwrap();
    refused(found(&sandbox, Some(&sandbox.dir), &[], ""), "not a regular file");
    for mode in [0o640, 0o604, 0o622] {
        std::fs::write(&file, "s3cret").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        refused(found(&sandbox, Some(&file), &[], ""), "where 600 is right");
    }
    refused(found(&sandbox, None, &[("GH_TOKEN", "s3cret two")], ""), "more than one word");
    refused(found(&sandbox, None, &[("GH_TOKEN", " \n")], ""), "is empty");
    refused(found(&sandbox, None, &[], ""), "gh auth login");
    refused(found(&sandbox, None, &[], "exit 1"), "gh auth login");
    let pipe = sandbox.dir.join("pipe");
    assert!(crate::support::can("mkfifo", &["-m", "600", pipe.to_str().unwrap()]));
    refused(found(&sandbox, Some(&pipe), &[], ""), "not a regular file");
}
