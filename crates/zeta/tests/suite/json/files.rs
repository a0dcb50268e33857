//! The schemas of the files that an operator writes say what the program says: a text that it takes
//! fits its schema, and one that it refuses does not.

use std::path::Path;

use serde_json::Value;

use super::misfits;
use crate::support::Sandbox;

const RIGHT: bool = true;
const WRONG: bool = false;

/// The directory of the examples in the docs.
fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/guard-posts")
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Compares the schema with the program, whose verdict a call gives: an error refuses the file.
fn compare(schema: &str, path: &Path, call: &[&str], texts: &[(&str, bool)]) {
    let sandbox = Sandbox::new();
    let dir = sandbox.dir.join(".config/zeta");
    write(&dir.join("posts.toml"), "[posts]\nfloor = 0\n");
    write(&dir.join("personas.d/base.toml"), "lines = [\"a\"]\nharnesses = [\"cli\"]\n");
    for (text, is_right) in texts {
        write(&dir.join(path), text);
        let out = sandbox.zeta(&[call, &["--json"]].concat());
        let answer: Value = serde_json::from_str(&out.out).unwrap();
        assert_eq!(answer.get("error").is_none(), *is_right, "the program, of {text:?}: {answer}");
        // A text that is no TOML fits no schema.
        let fits = toml::from_str::<Value>(text).map(|value| misfits(schema, &value));
        assert_eq!(fits == Ok(Vec::new()), *is_right, "{schema}, of {text:?}: {fits:?}");
    }
}

#[test]
fn posts() {
    let example = std::fs::read_to_string(examples().join("posts.toml")).unwrap();
    let texts = [
        ("", RIGHT),
        (&*example, RIGHT),
        ("[posts]\ncount = 4\nfloor = 3", RIGHT),
        ("[posts]\ncount = 0", WRONG),
        ("[posts]\ncount = 1001", WRONG),
        ("[posts]\ncount = \"3\"", WRONG),
        ("[posts]\nfloors = 3", WRONG),
        ("[post]\ncount = 3", WRONG),
        (
            "[rotation]\nenable = false\ninterval = \"12h\"\ndimensions = [\"persona\", \"model\"]",
            RIGHT,
        ),
        ("[rotation]\ninterval = \"1d12h\"\npolicy = \"random\"\nseed = 7", RIGHT),
        ("[rotation]\ninterval = \"90\"", RIGHT),
        ("[rotation]\ninterval = \"1d 12h\"", WRONG),
        ("[rotation]\ninterval = \"often\"", WRONG),
        ("[rotation]\ninterval = 90", WRONG),
        ("[rotation]\ninterval = \"\"", WRONG),
        ("[rotation]\npolicy = \"fair\"", WRONG),
        ("[rotation]\ndimensions = [\"mood\"]", WRONG),
        ("[rotation]\nseed = -1", WRONG),
        ("[failover]\nfailures = 2\ndown = \"5m\"\ndown_max = \"1h30m\"", RIGHT),
        ("[failover]\nfailures = -1", WRONG),
        (
            "[ticks]\nmemory_max = \"4G\"\ncpu_quota = \"200%\"\nevery = \"30s\"\nprompt = \"go\"",
            RIGHT,
        ),
        ("[ticks]\ngrace = \"5s\"\nrepository = \"/srv/cluster\"", RIGHT),
        ("[ticks]\nrepository = \"cluster\"", WRONG),
        ("[ticks]\ngrace = 5", WRONG),
        ("[lines.a.tiers.high]\nprogram = \"x\"\nresume = [\"--resume\", \"{session}\"]", RIGHT),
        ("[lines.a.tiers.high]\nprogram = \"x\"\nresume = \"{session}\"", WRONG),
        ("[ticks]\nmemory_max = \"512\"", RIGHT),
        ("[ticks]\nmemory_max = \"4GB\"", WRONG),
        ("[ticks]\nmemory_max = \"0\"", WRONG),
        ("[ticks]\ncpu_quota = \"0%\"", WRONG),
        ("[ticks]\ncpu_quota = \"2\"", WRONG),
        ("[lines.a.tiers.high]\nbinary = \"x\"\ninvocationArgs = [\"y\"]", RIGHT),
        ("[modelLineCatalog.a.tiers.high]\nprogram = \"x\"", RIGHT),
        ("[lines.a.tiers.high]\nprogram = \"x\"\nbinary = \"x\"", WRONG),
        ("[lines.a.tiers.high.harnesses.cli]\nprogram = \"x\"", RIGHT),
        ("[lines.a.tiers.high.harnesses.cli]\narguments = []", WRONG),
        ("[lines.a.tiers.high.harnesses.CLI]\nprogram = \"x\"", WRONG),
        (
            "[lines.a]\nprobe = { program = \"x\" }\noutage = { statuses = [75], texts = [\"y\"] }",
            RIGHT,
        ),
        ("[lines.a]\noutage = { statuses = [256] }", WRONG),
        ("[lines.A.tiers.high]\nprogram = \"x\"", WRONG),
        ("[lines.a.tiers.best]\nprogram = \"x\"", WRONG),
        ("[compatibility]\n\"base+a\" = [\"cli\"]", RIGHT),
        ("[harnessCompat]\n\"base+a\" = []", RIGHT),
        ("[compatibility]\n\"base\" = [\"cli\"]", WRONG),
        ("[compatibility]\n\"base+a\" = [\"CLI\"]", WRONG),
        ("posts = ", WRONG),
    ];
    let texts = texts.map(|(text, is_right)| match text.contains("[posts]") {
        // Without a floor, so that nothing but the text is wrong.
        false if !text.is_empty() && is_right => (format!("{text}\n[posts]\nfloor = 0"), is_right),
        _ => (text.to_owned(), is_right),
    });
    let texts: Vec<(&str, bool)> = texts.iter().map(|(text, is)| (text.as_str(), *is)).collect();
    compare("file posts", Path::new("posts.toml"), &["post", "plan"], &texts);
}

#[test]
fn persona() {
    let mut texts = vec![
        ("lines = [\"a\"]\nharnesses = [\"cli\"]\nmin_tier = \"high\"".to_owned(), RIGHT),
        ("modelLines = [\"a\"]\nharnesses = [\"cli\"]\nminTier = \"fast\"".to_owned(), RIGHT),
        (
            "name = \"vera\"\nlike = \"base\"\nrepository = \"/srv/x\"\nprompt = \"go\"".to_owned(),
            RIGHT,
        ),
        ("lines = [\"a\"]\nmodelLines = [\"a\"]".to_owned(), WRONG),
        ("lines = [\"a\", \"a\"]\nharnesses = [\"cli\"]".to_owned(), WRONG),
        ("lines = \"a\"".to_owned(), WRONG),
        ("lines = [\"A\"]".to_owned(), WRONG),
        ("like = \"base\"\nmin_tier = \"best\"".to_owned(), WRONG),
        ("like = \"base\"\nrepository = \"here\"".to_owned(), WRONG),
        ("like = \"base\"\ncolour = \"red\"".to_owned(), WRONG),
        ("name = \"Vera B\"\nlike = \"base\"".to_owned(), WRONG),
    ];
    for entry in std::fs::read_dir(examples().join("personas.d")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        texts.push((text.replace("like = \"otto\"", "like = \"base\""), RIGHT));
    }
    let texts: Vec<(&str, bool)> = texts.iter().map(|(text, is)| (text.as_str(), *is)).collect();
    compare("file persona", Path::new("personas.d/otto.toml"), &["post", "plan"], &texts);
}

#[test]
fn repair_policy() {
    let example = std::fs::read_to_string(examples().join("repair-policy.toml")).unwrap();
    let texts = [
        ("", RIGHT),
        (&*example, RIGHT),
        ("[personas.otto]\nscope = \"read-only\"", RIGHT),
        (
            "[personas.otto]\nscope = \"restart\"\nunits = [\"k3s\", \"*.timer\", \"a@b.service\"]",
            RIGHT,
        ),
        ("[personas.otto]\nscope = \"rebuild\"\nneeds_post = false\ngrants = []", RIGHT),
        ("[personas.otto]\nscope = \"write-cluster\"", WRONG),
        ("[personas.otto]\nscope = \"reboot\"", WRONG),
        ("[personas.otto]", WRONG),
        ("[personas.Otto]\nscope = \"restart\"", WRONG),
        ("[personas.otto]\nscope = \"restart\"\nunit = \"k3s\"", WRONG),
        ("[personas.otto]\nscope = \"restart\"\nunits = \"k3s\"", WRONG),
        ("[personas.otto]\nscope = \"restart\"\nunits = [\"a b\"]", WRONG),
        ("[personas.otto]\nscope = \"restart\"\nunits = [\"\"]", WRONG),
        ("[personas.otto]\nscope = \"restart\"\nneeds_post = \"no\"", WRONG),
        (
            "[personas.otto]\nscope = \"restart\"\n[[personas.otto.grants]]\nscope = \"rebuild\"",
            WRONG,
        ),
        (
            "[personas.otto]\nscope = \"restart\"\n[[personas.otto.grants]]\n\
             scope = \"write-cluster\"\nuntil = \"soon\"",
            WRONG,
        ),
        ("[persona.otto]\nscope = \"restart\"", WRONG),
    ];
    compare("file repair-policy", Path::new("repair-policy.toml"), &["repair", "list"], &texts);
}
