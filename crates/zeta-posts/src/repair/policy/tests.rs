//! Policies as operators write them, in both languages.

use zeta_core::repair::Scope;

use super::*;

const TOML: &str = r#"
[personas.otto]
scope = "restart"
units = ["k3s.service", "zeta-*"]

[[personas.otto.grants]]
scope = "write-cluster"
until = "2026-11-30T18:00:00Z"
reason = "INC-42"

[personas.vera]
scope = "read-only"
needs_post = false
"#;

const YAML: &str = "\
personas:
  otto:
    scope: restart
    units: [k3s.service, zeta-*]
    grants:
      - scope: write-cluster
        until: 2026-11-30T18:00:00Z
        reason: INC-42
  vera:
    scope: read-only
    needs_post: false
";

#[test]
fn both_languages_say_the_same() {
    let policy = of_toml(TOML.as_bytes()).unwrap();
    assert_eq!(of_yaml(YAML.as_bytes()), Ok(policy.clone()));
    let otto = &policy.personas["otto"];
    assert!(otto.needs_post && !policy.personas["vera"].needs_post);
    let [standing, grant] = &otto.permissions[..] else { panic!("{otto:?}") };
    assert_eq!((standing.scope, standing.until_us), (Scope::Restart, None));
    assert_eq!(standing.units.as_ref().unwrap()[0].as_str(), "k3s.service");
    assert_eq!((grant.scope, grant.until_us), (Scope::WriteCluster, Some(1_796_061_600_000_000)));
    assert_eq!((grant.reason.as_deref(), &grant.units), (Some("INC-42"), &None));
    assert_eq!(of_toml(b""), Ok(Policy::default()));
}

#[test]
fn what_is_wrong_is_named_and_nothing_of_it_counts() {
    for (text, message) in [
        ("[personas.otto]\nscope = \"reboot\"", "2: unknown variant `reboot`"),
        ("[personas.otto]", "1: missing field `scope`"),
        ("[personas.otto]\nscope = \"write-cluster\"", "1: write-cluster is granted for one"),
        ("[personas.otto]\nscope = \"restart\"\nunit = \"k3s\"", "3: unknown field `unit`"),
        (
            "[personas.otto]\nscope = \"restart\"\nunits = [\"k3s\",\n\"a b\"]",
            "3: the pattern \"a b\"",
        ),
        ("[personas.Otto]\nscope = \"restart\"", "1: a name \"Otto\" is not valid"),
        (
            "[personas.otto]\nscope = \"restart\"\n[[personas.otto.grants]]\n\
             scope = \"write-cluster\"",
            "3: missing field `until`",
        ),
        (
            "[personas.otto]\nscope = \"restart\"\n[[personas.otto.grants]]\n\
             scope = \"write-cluster\"\nuntil = \"tomorrow\"",
            "5: time \"tomorrow\"",
        ),
        ("[persona.otto]\nscope = \"restart\"", "1: unknown field `persona`"),
        ("[personas.a]\nscope = \"restart\"\n[personas.a]\nscope = \"rebuild\"", "3: duplicate"),
        ("personas = ", "1: "),
    ] {
        let error = of_toml(text.as_bytes()).unwrap_err();
        assert!(error.starts_with(message), "{text}: {error}");
    }
    assert!(of_toml(b"\xff").is_err());
}

#[test]
fn hostile_yaml_is_refused() {
    for (text, part) in [
        ("personas: &a\n  otto:\n    scope: restart\n", "anchor"),
        ("personas:\n  otto:\n    <<: {scope: rebuild}\n    scope: restart\n", ""),
        ("personas:\n  a: {scope: restart}\n  a: {scope: rebuild}\n", "uplicate"),
        ("personas: {a: {scope: restart}}\n---\npersonas: {}\n", ""),
        ("personas: {a: {scope: write-cluster}}\n", "write-cluster is granted"),
        ("personas: {a: {scope: restart, unit: b}}\n", "unit"),
        ("- a\n", ""),
    ] {
        let error = of_yaml(text.as_bytes()).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    let deep = "[".repeat(5000);
    assert!(of_yaml(deep.as_bytes()).is_err());
}
