//! What may be put into a bundle: `id=source`, where a value may come from, and what it must be.
//!
//! People paste the wrong thing. So no error here holds any part of what was given: not of a value,
//! not the name of a variable or a file, not an id that is unknown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::manifest::Rule;
use super::wifi;
use crate::stick::keys;

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// The text itself.
    Literal(&'a str),
    /// `@path`: a file.
    File(&'a str),
    /// `env:NAME`: a variable, which must be set and not empty.
    Env(&'a str),
}

impl Source<'_> {
    /// The kind, for people.
    pub fn word(&self) -> &'static str {
        match self {
            Source::Literal(_) => "a literal value",
            Source::File(_) => "a file",
            Source::Env(_) => "a variable",
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One thing to bake. Its id may be anything: the caller looks it up in the manifest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Which credential.
    pub id: &'a str,
    /// Where its value comes from.
    pub source: Source<'a>,
}

impl fmt::Debug for Ask<'_> {
    /// A typed id may be a secret at the wrong place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask({})", self.source.word())
    }
}

/// Why something cannot be baked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBake {
    /// No `=`.
    #[error("it is not of the form id=value, id=@file or id=env:NAME")]
    Form,
    /// Nothing before the `=`.
    #[error("it has no id before the '='")]
    NoId,
    /// Nothing after it, or after `@` or `env:`.
    #[error("it has no value after the '='")]
    NoValue,
    /// A credential that is made on the machine.
    #[error("this credential is made on the machine and cannot be baked")]
    Never,
    /// One that may not come from there.
    #[error("this credential cannot come from {0}")]
    Source(&'static str),
    /// Nothing but blanks.
    #[error("the value is blank")]
    Blank,
    /// Not what a login writes.
    #[error("the value is not a JSON object")]
    NotJson,
    /// The file of a tool that nobody is logged in with, or that keeps its tokens elsewhere.
    #[error("there is no login in it: {0}")]
    NoLogin(&'static str),
    /// No key, or a line that is none.
    #[error("the value has a line that is not a public key of OpenSSH, or it has no key at all")]
    NotPublicKey,
    /// Everyone could read it where it would be written to.
    #[error("the value holds a private key")]
    PrivateKey,
    /// No network.
    #[error("the value is no wireless network: {0}")]
    NotWifi(wifi::Unusable),
}

/// Takes `id=source` apart, at the first `=`. Blanks around the id do not count; those of a value
/// do.
pub fn parse(given: &str) -> Result<Ask<'_>, BadBake> {
    let (id, source) = given.split_once('=').ok_or(BadBake::Form)?;
    let id = id.trim();
    if id.is_empty() {
        return Err(BadBake::NoId);
    }
    let (source, what) = match (source.strip_prefix('@'), source.strip_prefix("env:")) {
        (Some(path), _) => (Source::File(path), path),
        (_, Some(name)) => (Source::Env(name), name),
        _ => (Source::Literal(source), source),
    };
    if what.is_empty() { Err(BadBake::NoValue) } else { Ok(Ask { id, source }) }
}

/// May a credential of this rule come from there?
pub fn check_source(rule: Rule, source: &Source) -> Result<(), BadBake> {
    match (rule, source) {
        (Rule::NeverBaked, _) => Err(BadBake::Never),
        (Rule::Json | Rule::Login(_) | Rule::PublicKey, Source::Env(_)) => {
            Err(BadBake::Source(source.word()))
        }
        _ => Ok(()),
    }
}

/// The value that is sealed: what was given, but for a bare token of gh the file that gh reads.
pub fn sealed(rule: Rule, value: &[u8]) -> Cow<'_, [u8]> {
    match (rule, std::str::from_utf8(value).map(str::trim)) {
        (Rule::GhHosts, Ok(token)) if is_token(token) => {
            // Of the final size from the start, so that no copy of the token is left behind.
            let parts = ["github.com:\n    oauth_token: ", token, "\n    git_protocol: https\n"];
            Cow::Owned(parts.concat().into_bytes())
        }
        _ => Cow::Borrowed(value),
    }
}

/// One word of letters, digits, '_', '-' and '.', as every token of GitHub is.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

/// Is this what a credential of this rule looks like?
pub fn check_value(rule: Rule, value: &[u8]) -> Result<(), BadBake> {
    if value.trim_ascii().is_empty() {
        return Err(BadBake::Blank);
    }
    match rule {
        Rule::Text => Ok(()),
        Rule::Json if is_object(value) => Ok(()),
        Rule::Json => Err(BadBake::NotJson),
        Rule::Login(_) if !is_object(value) => Err(BadBake::NotJson),
        Rule::Login(places) if places.iter().any(|keys| is_there(value, keys)) => Ok(()),
        Rule::Login(_) => Err(BadBake::NoLogin("it has no token, or the tool keeps it elsewhere")),
        Rule::GhHosts if has_gh_token(value) => Ok(()),
        Rule::GhHosts => Err(BadBake::NoLogin(
            "it has no oauth_token: gh keeps it in the keyring of the desktop",
        )),
        Rule::PublicKey => check_public_keys(value),
        Rule::Wifi => wifi::keyfile(value).map(|_| ()).map_err(BadBake::NotWifi),
        Rule::NeverBaked => Err(BadBake::Never),
    }
}

/// JSON is looked at without a copy of anything in it.
fn is_object(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Returns true if something stands below these keys of an object: a text or an object that is not
/// empty. Only keys are copied, and the text that is asked for, which is wiped.
fn is_there(value: &[u8], keys: &[&str]) -> bool {
    let Some(raw) = below(value, keys) else { return false };
    let is_text = |text: String| !Zeroizing::new(text).trim().is_empty();
    let members = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(raw);
    serde_json::from_str(raw).is_ok_and(is_text) || members.is_ok_and(|m| !m.is_empty())
}

/// The JSON that stands below these keys of an object, one key below the other. Only keys are
/// copied.
pub(super) fn below<'a>(value: &'a [u8], keys: &[&str]) -> Option<&'a str> {
    let mut at = std::str::from_utf8(value).ok()?;
    for key in keys {
        let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(at).ok()?;
        at = members.get(*key)?.get();
    }
    Some(at)
}

/// Returns true for a bare token, and for a `hosts.yml` in which a key `oauth_token` has a value.
fn has_gh_token(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    is_token(text.trim()) || lines.flat_map(|line| line.split("oauth_token").skip(1)).any(has_value)
}

/// Returns true if this begins with a colon and a value of YAML that is not empty.
fn has_value(after_key: &str) -> bool {
    let rest = after_key.trim_start_matches(['"', '\'']).trim_start();
    let Some(rest) = rest.strip_prefix(':') else { return false };
    let word = rest.trim_start().split([' ', '\t', ',', '}']).next().unwrap_or_default();
    let word = word.trim_matches(['"', '\'']);
    !matches!(word, "" | "~" | "null") && !word.starts_with('#')
}

/// The beginnings of private keys: of OpenSSH and PEM, of PuTTY, of age.
const PRIVATE: [&str; 3] = ["PRIVATE KEY", "PuTTY-User-Key-File", "AGE-SECRET-KEY-"];

/// The lines of an `authorized_keys`: blank, a comment, or a key, perhaps with options before it.
fn check_public_keys(value: &[u8]) -> Result<(), BadBake> {
    let text = std::str::from_utf8(value).map_err(|_| BadBake::NotPublicKey)?;
    let text = text.trim_start_matches('\u{feff}');
    if PRIVATE.iter().any(|begin| text.contains(begin)) {
        return Err(BadBake::PrivateKey);
    }
    let content = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let mut lines = text.lines().map(str::trim).filter(content).peekable();
    let some = lines.peek().is_some();
    if some && lines.all(is_key_line) { Ok(()) } else { Err(BadBake::NotPublicKey) }
}

/// Returns true for `[options] type key [comment]`. A blank in quotes does not end the options.
fn is_key_line(line: &str) -> bool {
    if is_key(line) {
        return true;
    }
    let mut quoted = false;
    let mut escaped = false;
    let end = line.find(|letter: char| {
        let is_end = !quoted && (letter == ' ' || letter == '\t');
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        is_end
    });
    end.and_then(|end| line.get(end..)).is_some_and(|rest| is_key(rest.trim_start()))
}

fn is_key(text: &str) -> bool {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    keys::TYPES.contains(&kind) && !key.is_empty() && key.bytes().all(base64)
}

#[cfg(test)]
mod tests {
    use super::{Ask, BadBake, Source, check_source, check_value, parse, sealed};
    use crate::creds::manifest::{Manifest, Rule};
    use crate::creds::wifi::Unusable;
    use crate::stick::keys;

    #[test]
    fn an_argument_is_split_at_its_first_equals_sign() {
        let ask = |id, source| Ok(Ask { id, source });
        let cases = [
            ("gh-cli=x", ask("gh-cli", Source::Literal("x"))),
            (" gh-cli = x=y ", ask("gh-cli", Source::Literal(" x=y "))),
            ("a=@/p=q", ask("a", Source::File("/p=q"))),
            ("a=env:NAME", ask("a", Source::Env("NAME"))),
            ("a= @x", ask("a", Source::Literal(" @x"))),
            ("x", Err(BadBake::Form)),
            ("", Err(BadBake::Form)),
            (" =x", Err(BadBake::NoId)),
            ("a=", Err(BadBake::NoValue)),
            ("a=@", Err(BadBake::NoValue)),
            ("a=env:", Err(BadBake::NoValue)),
        ];
        for (given, expect) in cases {
            assert_eq!(parse(given), expect, "{given}");
        }
    }

    #[test]
    fn where_a_value_may_come_from_depends_on_what_it_is() {
        let sources = [Source::Literal("x"), Source::File("x"), Source::Env("x")];
        let allowed = |rule| sources.map(|source| check_source(rule, &source).is_ok());
        assert_eq!(allowed(Rule::Text), [true, true, true]);
        assert_eq!(allowed(Rule::Wifi), [true, true, true]);
        assert_eq!(allowed(Rule::Json), [true, true, false]);
        assert_eq!(allowed(Rule::PublicKey), [true, true, false]);
        assert_eq!(allowed(Rule::NeverBaked), [false, false, false]);
    }

    #[test]
    fn a_value_is_what_its_rule_asks_for() {
        let cases: [(Rule, &[u8], Result<(), BadBake>); 17] = [
            (Rule::Text, b"x", Ok(())),
            (Rule::Text, b"\0\xff", Ok(())),
            (Rule::Text, b" \t\r\n", Err(BadBake::Blank)),
            (Rule::Json, b" {\"a\":[1]}\n", Ok(())),
            (Rule::Json, b"[]", Err(BadBake::NotJson)),
            (Rule::Json, b"{\"a\":}", Err(BadBake::NotJson)),
            (Rule::Json, b"{} {}", Err(BadBake::NotJson)),
            (Rule::Json, b"{\"a\":\"\xff\"}", Err(BadBake::NotJson)),
            (Rule::Json, b"", Err(BadBake::Blank)),
            (Rule::PublicKey, b"ssh-ed25519 AAAA me", Ok(())),
            (Rule::PublicKey, b"ssh-ed25519", Err(BadBake::NotPublicKey)),
            (Rule::PublicKey, b"ssh-ed25519x A", Err(BadBake::NotPublicKey)),
            (Rule::Wifi, b"{\"ssid\":\"a\"}", Ok(())),
            (Rule::Wifi, b"x", Err(BadBake::NotWifi(Unusable::NoSsid))),
            (Rule::NeverBaked, b"x", Err(BadBake::Never)),
            (Rule::Login(&[&["token"]]), b"{\"token\":\"x\"}", Ok(())),
            (Rule::Login(&[&["token"]]), b"a token", Err(BadBake::NotJson)),
        ];
        for (rule, value, expect) in cases {
            assert_eq!(check_value(rule, value), expect, "{}", String::from_utf8_lossy(value));
        }
        for kind in keys::TYPES {
            assert_eq!(check_value(Rule::PublicKey, format!("{kind} AAAA").as_bytes()), Ok(()));
        }
    }

    #[test]
    fn authorized_keys_have_comments_and_options_and_never_a_private_key() {
        let good = [
            "# mine\n\nssh-ed25519 AAAA me\r\nssh-rsa AAAA= you and you\n",
            "\u{feff}ssh-ed25519 AAAA",
            "restrict,from=\"10.0.0.0/8\" ssh-ed25519 AAAA",
            "command=\"echo \\\"a b\\\" #\",no-pty\tssh-ed25519\tAAAA me",
        ];
        for text in good {
            assert_eq!(check_value(Rule::PublicKey, text.as_bytes()), Ok(()), "{text:?}");
        }
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----";
        let putty = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none";
        let bad = [
            (private.to_owned(), BadBake::PrivateKey),
            (format!("ssh-ed25519 AAAA\n{private}\nb3Bl\n"), BadBake::PrivateKey),
            (format!("ssh-ed25519 AAAA\n# {private}"), BadBake::PrivateKey),
            (format!("ssh-ed25519 AAAA\n{putty}"), BadBake::PrivateKey),
            ("ssh-ed25519 AAAA\nb3BlbnNzaC1rZXktdjEA".to_owned(), BadBake::NotPublicKey),
            ("# a comment".to_owned(), BadBake::NotPublicKey),
            ("command=\"ssh-ed25519 AAAA".to_owned(), BadBake::NotPublicKey),
            ("a b ssh-ed25519 AAAA".to_owned(), BadBake::NotPublicKey),
        ];
        for (text, why) in bad {
            assert_eq!(check_value(Rule::PublicKey, text.as_bytes()), Err(why), "{text:?}");
        }
    }

    #[test]
    fn what_is_baked_is_a_login() {
        let cases = [
            ("claude", r#"{"claudeAiOauth":{"accessToken":"x","refreshToken":""}}"#, true),
            ("claude", r#"{"claudeAiOauth":{"accessToken":"","refreshToken":" "}}"#, false),
            ("claude", r#"{"claudeAiOauth":{}}"#, false),
            ("claude", r#"{"claudeAiOauth":null}"#, false),
            ("claude", r#"{"mcpOAuth":{"a":{"accessToken":"x"}}}"#, false),
            ("claude", "{}", false),
            ("codex", r#"{"OPENAI_API_KEY":"x"}"#, true),
            ("codex", r#"{"OPENAI_API_KEY":null,"tokens":{"refresh_token":"x"}}"#, true),
            ("codex", r#"{"OPENAI_API_KEY":null,"tokens":null,"last_refresh":"2026"}"#, false),
            ("codex", r#"{"agent_identity":{"agent_private_key":"x"}}"#, true),
            ("gemini", r#"{"access_token":"x","refresh_token":"y"}"#, true),
            ("gemini", r#"{"expiry_date":1}"#, false),
            ("gh-cli", "github.com:\n    user: ace\n    oauth_token: x\n", true),
            ("gh-cli", "github.com:\n    users:\n        ace:\n            oauth_token: 'x'", true),
            ("gh-cli", "{\"github.com\": {\"oauth_token\": \"x\"}}", true),
            ("gh-cli", "x_1-2.3\n", true),
            ("gh-cli", "github.com:\n    user: ace\n    git_protocol: https\n", false),
            ("gh-cli", "github.com:\n    users:\n        ace:\n    user: ace\n", false),
            ("gh-cli", "github.com:\n    oauth_token:\n    user: ace", false),
            ("gh-cli", "github.com:\n    oauth_token: \"\"", false),
            ("gh-cli", "github.com:\n    oauth_token: ~ # none", false),
            ("gh-cli", "# oauth_token: x\ngithub.com:\n", false),
            ("gh-cli", "two words", false),
        ];
        for (id, value, expect) in cases {
            let rule = Manifest::default().get(id).unwrap().rule;
            let came = check_value(rule, value.as_bytes());
            assert_eq!(came.is_ok(), expect, "{id}: {value}");
            assert!(expect || matches!(came, Err(BadBake::NoLogin(_))), "{id}: {value}");
        }
    }

    #[test]
    fn a_bare_token_becomes_the_file_that_gh_reads_and_all_else_stays() {
        let hosts = b"github.com:\n    oauth_token: x_1\n    git_protocol: https\n";
        assert_eq!(*sealed(Rule::GhHosts, b" x_1\n"), *hosts);
        assert_eq!(*sealed(Rule::GhHosts, hosts), *hosts);
        assert_eq!(*sealed(Rule::Text, b"x_1\n"), *b"x_1\n");
    }

    #[test]
    fn nothing_shows_what_was_given() {
        for (given, word) in [
            ("FAKE=FAKE", "a literal value"),
            ("FAKE=@FAKE", "a file"),
            ("FAKE=env:FAKE", "a variable"),
        ] {
            let ask = parse(given).unwrap();
            assert_eq!(format!("{ask:?} {:?}", ask.source), format!("Ask({word}) {word}"));
        }
        for rule in [Rule::Json, Rule::PublicKey, Rule::Wifi, Rule::NeverBaked] {
            let why = check_value(rule, b"FAKE").unwrap_err();
            assert!(!format!("{why} {why:?}").contains("FAKE"));
        }
    }
}
