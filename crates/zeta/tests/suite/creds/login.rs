//! What is baked is a login, and it comes back to where its tool reads it.

use std::fs;

use super::cli::{Desk, LOCK, Out, ran};

const OUTPUT: &str = "stick/zeta-creds.enc";
const TOKEN: &str = "github.com:\n    user: ace\n    oauth_token: FAKE-token\n";
const CLAUDE: &str = r#"{"claudeAiOauth":{"accessToken":"FAKE-a","refreshToken":"FAKE-r"}}"#;
const CODEX: &str = r#"{"OPENAI_API_KEY":null,"tokens":{"refresh_token":"FAKE-r"}}"#;
const GEMINI: &str = r#"{"refresh_token":"FAKE-r"}"#;

/// Files of a home, and variables.
struct Home<'a> {
    desk: &'a Desk,
    variables: Vec<(&'a str, String)>,
}

impl<'a> Home<'a> {
    fn of(desk: &'a Desk) -> Home<'a> {
        Home { desk, variables: Vec::new() }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.desk.path("home").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn with(mut self, variable: &'a str, below: &str) -> Home<'a> {
        let dir = self.desk.path("home").join(below);
        self.variables.push((variable, dir.display().to_string()));
        self
    }

    fn run(&self, args: &[&str]) -> Out {
        let mut command = self.desk.command(&[args, &LOCK[..]].concat());
        command.env("HOME", self.desk.path("home"));
        ran(command.envs(self.variables.iter().map(|(name, dir)| (name, dir))))
    }

    fn bake_found(&self) -> Out {
        self.run(&["persist", "--output", OUTPUT, "--bake-found", "--persona", "otto"])
    }

    fn restore(&self) -> Out {
        self.run(&["restore", "--input", OUTPUT, "--persona", "otto"])
    }

    /// Empties the home.
    fn image_anew(&self) {
        fs::remove_dir_all(self.desk.path("home")).unwrap();
        fs::create_dir(self.desk.path("home")).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.desk.path("home").join(path)).unwrap_or_default()
    }
}

#[test]
fn a_file_without_a_login_is_said_and_not_sealed() {
    let desk = Desk::new();
    let home = Home::of(&desk);
    home.write(".config/gh/hosts.yml", "github.com:\n    user: ace\n    git_protocol: https\n");
    home.write(".claude/.credentials.json", r#"{"mcpOAuth":{"x":{"accessToken":"FAKE"}}}"#);
    home.write(".codex/auth.json", r#"{"OPENAI_API_KEY":null,"tokens":null}"#);
    home.write(".gemini/oauth_creds.json", GEMINI);
    let out = home.bake_found();
    assert!(out.status == 0 && out.said.contains("gemini baked"), "{}", out.said);
    for id in ["gh-cli", "claude", "codex"] {
        assert!(out.said.contains(&format!("zeta: {id}: ")), "{}", out.said);
    }
    assert!(out.said.contains("gh auth token") && !out.said.contains("FAKE"), "{}", out.said);
    let out = home.run(&["verify", "--input", OUTPUT, "--persona", "otto"]);
    assert!(out.status == 8 && out.said.contains("gh-cli, claude, codex"), "{}", out.said);
    // By name, it is refused.
    for (id, path) in [("gh-cli", ".config/gh/hosts.yml"), ("codex", ".codex/auth.json")] {
        let source = format!("{id}=@~/{path}");
        let args = ["persist", "--output", OUTPUT, "--update", "--persona", "otto"];
        let out = home.run(&[&args[..], &["--bake-cred", &source]].concat());
        assert!(out.status == 3 && out.said.contains("no login in it"), "{}", out.said);
    }
    // The way that the hint names leads to a file that gh reads.
    let args = ["persist", "--output", OUTPUT, "--bake-found", "--bake-cred", "gh-cli=env:TOKEN"];
    let mut command = desk.command(&[&args[..], &LOCK].concat());
    command.env("HOME", desk.path("home")).env("TOKEN", "gho_FAKE");
    let out = ran(&mut command);
    assert!(out.status == 0 && out.said.contains("gh-cli"), "{}", out.said);
    assert_eq!(desk.restore(&[]).status, 0);
    let hosts = desk.path("root/home/zeta/.config/gh/hosts.yml");
    assert!(fs::read_to_string(hosts).unwrap().contains("oauth_token: gho_FAKE\n"));
}

#[test]
fn a_login_comes_back_to_where_it_was_found() {
    let desk = Desk::new();
    let old = ".config/claude/credentials.json";
    let moved = Home::of(&desk)
        .with("CODEX_HOME", "otto")
        .with("XDG_CONFIG_HOME", "x")
        .with("GEMINI_CLI_HOME", "g");
    moved.write(old, CLAUDE);
    moved.write("otto/auth.json", CODEX);
    moved.write(".codex/auth.json", "{}");
    moved.write("x/gh/hosts.yml", TOKEN);
    moved.write("g/.gemini/oauth_creds.json", GEMINI);
    let out = moved.bake_found();
    assert!(out.status == 0 && out.said.contains("gh-cli, claude, gemini, codex"), "{}", out.said);
    moved.image_anew();
    // At boot there are no variables of users.
    let home = Home::of(&desk);
    let out = home.restore();
    assert_eq!(out.status, 0, "{}", out.said);
    assert_eq!((home.read(old).as_str(), home.read("otto/auth.json").as_str()), (CLAUDE, CODEX));
    assert_eq!(home.read("x/gh/hosts.yml"), TOKEN);
    assert_eq!(home.read("g/.gemini/oauth_creds.json"), GEMINI);
    // The newest documented place, where no place is known.
    home.image_anew();
    let args = ["persist", "--output", OUTPUT, "--persona", "otto", "--bake-cred"];
    assert_eq!(home.run(&[&args[..], &[&format!("claude={CLAUDE}")]].concat()).status, 0);
    assert_eq!(home.restore().status, 0);
    assert_eq!(home.read(".claude/.credentials.json"), CLAUDE);
    // So does a copy that was named: no tool looks where it lies.
    home.write("copy/hosts.yml", TOKEN);
    let copy = "gh-cli=@~/copy/hosts.yml";
    home.write("c", CLAUDE);
    assert_eq!(home.run(&[&args[..], &[copy, "--bake-cred", "claude=@~/c"]].concat()).status, 0);
    home.image_anew();
    assert_eq!(home.restore().status, 0);
    assert_eq!(home.read(".config/gh/hosts.yml"), TOKEN);
    assert_eq!(home.read("copy/hosts.yml"), "");
    // And the place that a variable names, if there is one.
    let moved = Home::of(&desk).with("CLAUDE_CONFIG_DIR", "c/d");
    let out = moved.restore();
    assert!(out.status == 0 && out.said.contains("~/c/d/.credentials.json"), "{}", out.said);
    assert_eq!(moved.read("c/d/.credentials.json"), CLAUDE);
}

#[test]
fn a_tool_that_was_moved_is_not_looked_for_elsewhere_and_not_written_out_of_the_home() {
    let desk = Desk::new();
    // Two personas of one user have a directory each: one must not get the login of the other.
    let home = Home::of(&desk).with("CLAUDE_CONFIG_DIR", "vera");
    home.write(".claude/.credentials.json", CLAUDE);
    home.write(".gemini/oauth_creds.json", GEMINI);
    let out = home.bake_found();
    assert!(out.status == 0 && !out.said.contains("claude"), "{}", out.said);
    home.write("vera/.credentials.json", CLAUDE);
    assert_eq!(home.bake_found().status, 0);
    let mut outside = Home::of(&desk);
    outside.variables.push(("CLAUDE_CONFIG_DIR", desk.path("outside").display().to_string()));
    outside.image_anew();
    let out = outside.restore();
    assert!(out.status == 8 && out.said.contains("CLAUDE_CONFIG_DIR leads to"), "{}", out.said);
    assert!(!desk.path("outside").exists());
    assert_eq!(outside.read(".gemini/oauth_creds.json"), GEMINI, "the rest is restored");
    assert_eq!(outside.read("vera/.credentials.json"), "");
}

#[test]
fn a_place_in_a_blob_never_leads_to_another_file() {
    let desk = Desk::new();
    // A blob whose maker knows the passphrase, and wants more than it gives.
    let home = Home::of(&desk);
    let args = ["persist", "--output", OUTPUT, "--format", "zcv1", "--bake-cred", "gh-cli=x"];
    assert_eq!(home.run(&args).status, 0);
    let place = ["~/.bashrc", "~/.ssh/authorized_keys", "/etc/zeta/hosts.yml", "~/../hosts.yml"];
    for place in place {
        let content = format!(
            r#"{{"schemaVersion":1,"globalCreds":{{"gh-cli":"eA=="}},"personaCreds":{{}},
                "places":{{"gh-cli":"{place}"}}}}"#
        );
        let lock = zeta_creds::cipher::KeyMaterial {
            binding: super::cli::UUID,
            passphrase: super::cli::PASSPHRASE,
        };
        let fresh = zeta_creds::cipher::Nonces::draw().unwrap();
        let format = zeta_core::creds::frame::Format::Zcv2;
        let blob = zeta_creds::cipher::seal(format, content.as_bytes(), &lock, 9, &fresh);
        fs::write(desk.blob(), blob.unwrap()).unwrap();
        home.image_anew();
        let out = home.restore();
        assert_eq!(out.status, 0, "{}", out.said);
        assert_eq!(home.read(".config/gh/hosts.yml"), "x", "{place}: {}", out.said);
    }
}
