//! The answers and the refusals of `post` fit their schemas.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{check, loosen, tighten};
use crate::support::Sandbox;

/// The registry that is shipped as an example.
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/guard-posts");

fn call(sandbox: &Sandbox, verb: &[&str], status: i32) -> serde_json::Value {
    let dir = sandbox.dir.join("posts");
    let dirs = ["--config", REGISTRY, "--dir", dir.to_str().unwrap()];
    check(sandbox, &[&["post"], verb, &dirs].concat(), status)
}

#[test]
fn the_registry_of_the_zeta_project_from_its_plan_to_a_turn() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.dir.join("posts")).unwrap();
    let plan = call(&sandbox, &["plan"], 0);
    assert_eq!((&plan["written"], &plan["manned"]), (&false.into(), &3.into()), "{plan}");
    let listed = call(&sandbox, &["list"], 7);
    assert_eq!(listed["manned"], 0, "a plan writes nothing");
    assert!(listed["findings"].to_string().contains("zeta post tick"), "{listed}");
    let ticked = call(&sandbox, &["tick"], 0);
    assert_eq!(ticked["written"], true);
    assert_eq!(ticked["posts"], plan["posts"]);
    assert_eq!(ticked["changes"][0]["why"], "turn");
    assert_eq!(call(&sandbox, &["tick"], 0)["changes"].as_array().unwrap().len(), 0);
    let listed = call(&sandbox, &["list"], 0);
    assert_eq!(listed["posts"], plan["posts"]);
    let turned = call(&sandbox, &["rotate"], 0);
    assert_eq!(turned["turn"], 2);
    assert_ne!(turned["posts"], plan["posts"], "four personas take turns at three posts");
    let why = call(&sandbox, &["explain", "riven"], 0);
    let verdict = |at: usize| why["candidates"][at]["verdict"].as_str().unwrap();
    assert_eq!((verdict(0), why["persona"].as_str().unwrap()), ("chosen", "riven"), "{why}");
    call(&sandbox, &["explain", "nobody"], 4);
    call(&sandbox, &["explain", "NOBODY"], 2);
    let svg = sandbox.dir.join("posts.svg");
    call(&sandbox, &["plan", "--svg", svg.to_str().unwrap()], 0);
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg "));
}

fn write_posts(dir: &Path, posts: &str, persona: &str) {
    fs::create_dir_all(dir.join("personas.d")).unwrap();
    fs::write(dir.join("posts.toml"), posts).unwrap();
    fs::write(dir.join("personas.d/otto.toml"), persona).unwrap();
}

#[test]
fn what_cannot_be_planned_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let dir = sandbox.dir.join("config");
    let at = dir.to_str().unwrap().to_owned();
    let verb =
        |verb, status| check(&sandbox, &["post", verb, "--config", &at, "--dir", &at], status);
    let message = verb("plan", 7)["message"].to_string();
    assert!(message.contains("there is no posts.toml in "), "{message}");
    write_posts(&dir, "[posts]\ncuont = 3\n", "");
    let message = verb("tick", 7)["message"].to_string();
    assert!(message.contains("posts.toml:2: unknown field `cuont`"), "{message}");
    let line = "[lines.a.tiers.high]\nprogram = \"true\"\n";
    let otto = "lines = [\"a\", \"b\"]\nharnesses = [\"cli\"]\n";
    write_posts(&dir, line, otto);
    let plan = verb("plan", 7);
    assert_eq!((&plan["manned"], &plan["floor"]), (&1.into(), &3.into()));
    assert_eq!(plan["findings"].as_array().unwrap().len(), 2, "{plan}");
    verb("tick", 7);
    let file = dir.join("guard-post-assignments.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert_eq!(verb("list", 7)["error"], "unsafe");
    verb("tick", 7);
    assert_eq!(verb("list", 7)["manned"], 1, "the torn file was put aside");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    fs::write(&file, vec![b' '; (4 << 20) + 1]).unwrap();
    verb("tick", 7);
    assert_eq!(verb("list", 7)["manned"], 1, "the long file was put aside");
    // Reports of another day do not count again when the assignments are lost.
    let report = r#"{"number":1,"at_us":0,"took_ms":1,"status":1,"persona":"otto","#.to_owned()
        + r#""line":"a","outcome":"outage"}"#;
    let reports =
        format!("{{\"schema\":1,\"kind\":\"guard-post-reports\",\"reports\":[{report}]}}");
    fs::write(dir.join("guard-post-1.json"), &reports).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(verb("tick", 7)["manned"], 1);
    fs::write(dir.join("guard-post-1.json"), reports.replace("\"number\":1", "\"number\":2"))
        .unwrap();
    assert_eq!(verb("tick", 7)["manned"], 0, "a new one counts");
    write_posts(&dir, line, "lines = [\"a\"]\nharnesses = [\"cli\"]\n");
    let post = |number, status| {
        check(&sandbox, &["post", "run", number, "--config", &at, "--dir", &at], status)
    };
    assert_eq!(post("9", 2)["error"], "usage");
    sandbox.acquire(&["guard-post-1", "--ttl", "10m"]);
    assert_eq!(post("1", 3)["error"], "refused");
    loosen(&sandbox);
    assert_eq!(verb("tick", 7)["error"], "unsafe");
    assert_eq!(post("1", 7)["error"], "unsafe");
    tighten(&sandbox);
}
