//! What operators write, and what they are answered.

use zeta_core::schedule::Tier;
use zeta_core::schedule::policy::{Dimension, Order};
use zeta_os::temp_dir::TempDir;

use super::Config;
use super::personas::resolve;
use super::posts::parse;
use super::source::Source;

const POSTS: &str = r#"
[posts]
count = 4
[rotation]
interval = "12h"
dimensions = ["persona", "model"]
policy = "least-recently-used"
[failover]
down = "5m"
[ticks]
memory_max = "4G"
cpu_quota = "200%"
[lines.anthropic.tiers.high]
program = "claude"
arguments = ["--print", "{prompt}"]
[lines.openai]
probe = { program = "true" }
outage = { statuses = [75], texts = ["later"] }
[lines.openai.tiers.high.harnesses.codex]
program = "codex"
arguments = ["exec", "{prompt}"]
[compatibility]
"otto+openai" = ["codex"]
"#;

#[test]
fn posts_are_read_with_their_defaults() {
    let posts = parse(&Source::of("posts.toml", POSTS)).unwrap();
    let policy = posts.policy;
    assert_eq!((policy.posts, policy.floor), (4, 3));
    assert_eq!(policy.rotation.every_ms, Some(12 * 3_600_000));
    assert_eq!(policy.rotation.order, Order::LeastRecentlyUsed);
    assert!(policy.rotates(Dimension::Model) && !policy.rotates(Dimension::Tier));
    let (openai, codex) = ("openai".parse().unwrap(), "codex".parse().unwrap());
    assert_eq!(policy.program(&openai, Tier::High, &codex).unwrap().arguments[0], "exec");
    assert_eq!(policy.program(&openai, Tier::High, &"other".parse().unwrap()), None);
    assert_eq!((posts.ticks.memory_max, posts.ticks.cpu_quota), (Some(4 << 30), Some(200)));
    assert_eq!(posts.ticks.prompt, "<<autonomous-loop>>");
}

#[test]
fn what_is_wrong_is_named_with_its_file_and_line() {
    for (text, message) in [
        ("[posts]\ncuont = 3", "posts.toml:2: unknown field `cuont`"),
        ("[rotation]\n\ninterval = \"often\"", "posts.toml:3: interval \"often\""),
        ("[rotation]\npolicy = \"fair\"", "posts.toml:2: unknown variant `fair`"),
        ("[compatibility]\n\"otto\" = []", "posts.toml:2: a compatibility is for a persona"),
        ("[lines.UPPER.tiers.high]\nprogram = \"x\"", "posts.toml:1: model line name \"UPPER\""),
        ("[ticks]\nmemory_max = \"lots\"", "posts.toml:2: memory_max is a number"),
        ("[ticks]\nevery = \"0s\"", "posts.toml:2: every must be longer than nothing"),
        ("[ticks]\nlimit = \"0s\"", "posts.toml:2: limit must be longer than nothing"),
        ("[ticks]\ncpu_quota = \"0%\"", "posts.toml:2: cpu_quota is a part"),
        ("[lines.a.tiers.best]\nprogram = \"x\"", "posts.toml:1: unknown variant `best`"),
        ("posts = ", "posts.toml:1: "),
    ] {
        let error = parse(&Source::of("posts.toml", text)).unwrap_err();
        assert!(error.text.starts_with(message), "{text}: {error}");
    }
}

#[test]
fn a_persona_may_be_like_another_one_but_not_in_a_circle() {
    let read = |files: &[(&str, &str)]| {
        resolve(files.iter().map(|(path, text)| Source::of(path, text)).collect())
    };
    let otto = "modelLines = [\"anthropic\"]\nharnesses = [\"cli\"]\nminTier = \"high\"";
    let all = read(&[("otto.toml", otto), ("d/vera.toml", "like = \"otto\"\nlines = [\"b\"]")]);
    let all = all.unwrap();
    assert_eq!(all[1].persona.name.as_str(), "vera");
    assert_eq!(all[1].persona.lines[0].as_str(), "b");
    assert_eq!(all[1].persona.min_tier, Tier::High);
    for (files, message) in [
        (
            vec![("a.toml", "like = \"b\""), ("b.toml", "# b\nlike = \"a\"")],
            "b.toml:2: like = \"a\" goes round in a circle",
        ),
        (vec![("a.toml", "like = \"a\"")], "a.toml:1: like = \"a\" goes round in a circle"),
        (vec![("a.toml", "like = \"c\"")], "a.toml:1: like = \"c\": there is no persona"),
        (vec![("A.toml", "")], "A.toml:1: persona name \"A\""),
        (vec![("a.toml", "lines = [\"x\",\n\"Y\"]")], "a.toml:2: model line name \"Y\""),
        (vec![("a.toml", "repository = \"here\"")], "a.toml:1: repository: give an absolute"),
        (vec![("a.toml", "min_tier = \"best\"")], "a.toml:1: unknown variant `best`"),
    ] {
        let error = read(&files).unwrap_err();
        assert!(error.text.starts_with(message), "{error}");
    }
}

#[test]
fn a_persona_whose_agents_have_no_name_of_their_own_is_refused_with_its_file_and_line() {
    let dir = TempDir::new().unwrap();
    let personas = dir.path().join("personas.d");
    std::fs::create_dir(&personas).unwrap();
    std::fs::write(dir.path().join("posts.toml"), POSTS).unwrap();
    let persona = "lines = [\"openai\"]\nharnesses = [\"codex\"]\n";
    std::fs::write(personas.join("otto.toml"), persona).unwrap();
    assert_eq!(Config::load(dir.path()).unwrap().warnings, Vec::<String>::new());
    let long = "a".repeat(58);
    for (file, name, wrong) in [
        (
            "otto-post2",
            "",
            ":1: the persona otto-post2 has the name of the agent of otto at post 2",
        ),
        ("vera", "otto-post7", ":3: the persona otto-post7 has the name of the agent of otto"),
        (&long, "", ":1: the persona aaaaa"),
    ] {
        let path = personas.join(format!("{file}.toml"));
        let name = if name.is_empty() { String::new() } else { format!("name = {name:?}\n") };
        std::fs::write(&path, format!("{persona}{name}")).unwrap();
        let error = Config::load(dir.path()).unwrap_err();
        assert!(error.text.starts_with(&format!("{}{wrong}", path.display())), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_directory_without_files_is_named_with_what_to_write() {
    let dir = zeta_os::temp_dir::TempDir::new().unwrap();
    let error = crate::config::Config::load(dir.path()).unwrap_err();
    assert!(error.text.starts_with("there is no posts.toml in "), "{error}");
    assert!(format!("{:?}", error.hints).contains("zeta post --help"), "{error:?}");
}
