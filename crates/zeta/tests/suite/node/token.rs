//! Where a token is looked for, and what is never shown of it.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    refused(found(&sandbox, Some(&file), &[("GH_TOKEN", "x")], ""), "cannot be opened");
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
