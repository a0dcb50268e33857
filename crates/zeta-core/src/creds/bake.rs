//! What may be put into a bundle: `id=source`, where a value may come from, and what it must be.
//!
//! People paste the wrong thing. So no error here holds any part of what was given: not of a value,
//! not the name of a variable or a file, not an id that is unknown.

use std::fmt;

use serde::de::IgnoredAny;

use super::manifest::Rule;
use super::wifi;

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
    /// Perhaps a private key.
    #[error("the first line of the value is not a public key of OpenSSH")]
    NotPublicKey,
    /// No network.
    #[error("the value is no wireless network: {0}")]
    NotWifi(wifi::Unusable),
}

const KEY_TYPES: [&str; 8] = [
    "ssh-rsa",
    "ssh-ed25519",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

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
        (Rule::Json | Rule::PublicKey, Source::Env(_)) => Err(BadBake::Source(source.word())),
        _ => Ok(()),
    }
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
        Rule::PublicKey if is_public_key(value) => Ok(()),
        Rule::PublicKey => Err(BadBake::NotPublicKey),
        Rule::Wifi => wifi::keyfile(value).map(|_| ()).map_err(BadBake::NotWifi),
        Rule::NeverBaked => Err(BadBake::Never),
    }
}

/// JSON is looked at without a copy of anything in it.
fn is_object(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn is_public_key(value: &[u8]) -> bool {
    let line = value.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    KEY_TYPES.iter().any(|kind| {
        line.strip_prefix(kind.as_bytes()).is_some_and(|rest| matches!(rest, [b' ' | b'\t', ..]))
    })
}

#[cfg(test)]
mod tests {
    use super::{Ask, BadBake, KEY_TYPES, Source, check_source, check_value, parse};
    use crate::creds::manifest::Rule;
    use crate::creds::wifi::Unusable;

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
        let cases: [(Rule, &[u8], Result<(), BadBake>); 16] = [
            (Rule::Text, b"x", Ok(())),
            (Rule::Text, b"\0\xff", Ok(())),
            (Rule::Text, b" \t\r\n", Err(BadBake::Blank)),
            (Rule::Json, b" {\"a\":[1]}\n", Ok(())),
            (Rule::Json, b"[]", Err(BadBake::NotJson)),
            (Rule::Json, b"{\"a\":}", Err(BadBake::NotJson)),
            (Rule::Json, b"{} {}", Err(BadBake::NotJson)),
            (Rule::Json, b"{\"a\":\"\xff\"}", Err(BadBake::NotJson)),
            (Rule::Json, b"", Err(BadBake::Blank)),
            (Rule::PublicKey, b"ssh-ed25519 AAAA me\nmore", Ok(())),
            (Rule::PublicKey, b"ssh-ed25519", Err(BadBake::NotPublicKey)),
            (Rule::PublicKey, b"ssh-ed25519x A", Err(BadBake::NotPublicKey)),
            (Rule::PublicKey, b"-----BEGIN OPENSSH PRIVATE KEY-----", Err(BadBake::NotPublicKey)),
            (Rule::Wifi, b"{\"ssid\":\"a\"}", Ok(())),
            (Rule::Wifi, b"x", Err(BadBake::NotWifi(Unusable::NoSsid))),
            (Rule::NeverBaked, b"x", Err(BadBake::Never)),
        ];
        for (rule, value, expect) in cases {
            assert_eq!(check_value(rule, value), expect, "{}", String::from_utf8_lossy(value));
        }
        for kind in KEY_TYPES {
            assert_eq!(check_value(Rule::PublicKey, format!("{kind} AAAA").as_bytes()), Ok(()));
        }
    }

    #[test]
    fn nothing_shows_what_was_given() {
        for given in ["FAKE=FAKE", "FAKE=@FAKE", "FAKE=env:FAKE"] {
            assert!(!format!("{:?}", parse(given)).contains("FAKE"));
        }
        for rule in [Rule::Json, Rule::PublicKey, Rule::Wifi, Rule::NeverBaked] {
            let why = check_value(rule, b"FAKE").unwrap_err();
            assert!(!format!("{why} {why:?}").contains("FAKE"));
        }
    }
}
