//! The modules for guard posts: the units are the shipped ones, and zeta reads the files.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use zeta_core::schedule::Tier;
use zeta_core::schedule::policy::{Dimension, Order};
use zeta_posts::config::Config;

use super::{Keys, evaluate_module, keys, shipped_unit, words};
use crate::ops::sandbox::Sandbox;
use crate::support::{find, skip, test_name};

/// Two personas, three lines, and all options of the original's registry.
const REGISTRY: &str = r#"
zeta.guardPosts = {
    enable = true;
    package = "/p";
    count = 2;
    personas.otto = {
        preferences.modelLines = [ "anthropic" "openai" ];
        preferences.harnesses = [ "claude-code" "codex" ];
        preferences.minTier = "high";
        repository = "/srv/zeta";
    };
    personas.vera.preferences = { modelLines = [ "openai" ]; harnesses = [ "codex" ]; };
    modelLineCatalog.anthropic.tiers.high = {
        binary = "claude";
        invocationArgs = [ "--print" "say \"{prompt}\"" ];
    };
    modelLineCatalog.openai.tiers = {
        high = { binary = "codex"; invocationArgs = [ "exec" ]; };
        fast.binary = "codex-mini";
    };
    harnessCompat."otto+openai" = [ "codex" ];
    settings.ticks.every = "90s";
    settings.modelLineCatalog.openai.outage.statuses = [ 75 ];
};
zeta.guardPostScheduler.rotation = { interval = "6h"; policy = "least-recently-used"; };
"#;

/// What a module made, as zeta reads it.
fn config(made: &Value) -> Config {
    let sandbox = Sandbox::new();
    let files = made["environment"]["etc"].as_object().unwrap();
    for (path, file) in files {
        let path = sandbox.dir().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file["text"].as_str().unwrap()).unwrap();
    }
    Config::load(&sandbox.dir().join("zeta")).unwrap()
}

/// A service of a module without what is another one on NixOS, and that of `units/` without it.
fn both(made: &Value, name: &str) -> (Keys, Keys) {
    let mut module = keys(&made["systemd"]["services"][name]["serviceConfig"]);
    let mut shipped = shipped_unit(&format!("{name}.service"), "[Service]");
    let start = |keys: &mut Keys| keys.remove("ExecStart").unwrap().join(" ");
    let wanted = start(&mut shipped).replace("/usr/local/bin", "/p/bin");
    assert_eq!(start(&mut module), wanted, "{name}");
    // The programs of the system are elsewhere on NixOS.
    let path = |keys: &mut Keys| {
        let path = keys.remove("Environment").unwrap().join(" ");
        let parts: Vec<String> = path.split(':').take(3).map(str::to_owned).collect();
        parts
    };
    assert_eq!(path(&mut module), path(&mut shipped), "{name}");
    (module, shipped)
}

#[test]
fn the_modules_of_nixos_make_the_posts_that_are_shipped() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let made =
        evaluate_module("guard-posts", "zeta.guardPosts = { enable = true; package = \"/p\"; };")
            .unwrap();
    for name in ["zeta-guard-post@", "zeta-guard-post-scheduler"] {
        let (module, shipped) = both(&made, name);
        assert_eq!(module, shipped, "{name}");
        let unit = &made["systemd"]["services"][name];
        let file = shipped_unit(&format!("{name}.service"), "[Unit]");
        let mut of_module = keys(&unit["unitConfig"]);
        for (option, key) in [("wants", "Wants"), ("after", "After"), ("partOf", "PartOf")] {
            of_module.extend(unit.get(option).map(|value| (key.to_owned(), words(value))));
        }
        of_module.insert("Description".to_owned(), words(&unit["description"]));
        assert_eq!(of_module, file, "{name}");
    }
    let target = &made["systemd"]["targets"]["zeta-guard-posts"];
    let file = shipped_unit("zeta-guard-posts.target", "[Unit]");
    assert_eq!(words(&target["wants"]), file["Wants"]);
    assert_eq!(words(&target["description"]), file["Description"]);
    let timer = &made["systemd"]["timers"]["zeta-guard-post-scheduler"];
    let file = shipped_unit("zeta-guard-post-scheduler.timer", "[Timer]");
    assert_eq!(keys(&timer["timerConfig"]), file);
    let rules: BTreeSet<String> = made["systemd"]["tmpfiles"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule.as_str().unwrap().to_owned())
        .collect();
    let shipped =
        fs::read_to_string(format!("{}/units/tmpfiles.d/zeta.conf", super::ROOT)).unwrap();
    // The page is no file of the system there.
    let is_rule = |line: &&str| !line.starts_with('#') && !line.contains("README.md");
    assert_eq!(rules, shipped.lines().filter(is_rule).map(str::to_owned).collect());
}

#[test]
fn zeta_reads_what_the_options_of_nixos_say() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let made = evaluate_module("guard-posts", REGISTRY).unwrap();
    let config = config(&made);
    let policy = &config.policy;
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!((policy.posts, policy.floor), (2, 2));
    let label = |name: &str| name.parse().unwrap();
    let otto = policy.persona(&label("otto")).unwrap();
    assert_eq!(otto.lines, ["anthropic", "openai"].map(label));
    assert_eq!((otto.min_tier, policy.personas.len()), (Tier::High, 2));
    assert_eq!(config.place(&label("otto")).unwrap().repository, Some("/srv/zeta".into()));
    let program = policy.program(&label("anthropic"), Tier::High, &label("claude-code")).unwrap();
    assert_eq!(program.program, "claude");
    assert_eq!(program.arguments, ["--print", "say \"{prompt}\""]);
    assert_eq!(policy.compatible[&(label("otto"), label("openai"))], ["codex"].map(label));
    assert_eq!(policy.lines[&label("openai")].outage.statuses, [75]);
    assert_eq!(policy.rotation.every_ms, Some(6 * 3_600_000));
    assert_eq!(policy.rotation.order, Order::LeastRecentlyUsed);
    assert_eq!(policy.rotation.dimensions, BTreeSet::from([Dimension::Persona]));
    assert_eq!(config.ticks.pace.every_ms, 90_000);
    let wants = words(&made["systemd"]["targets"]["zeta-guard-posts"]["wants"]);
    assert_eq!(wants.len(), 3, "{wants:?}");
    // git writes into the repository of a worktree.
    let post = keys(&made["systemd"]["services"]["zeta-guard-post@"]["serviceConfig"]);
    assert_eq!(post["ReadWritePaths"].last().map(String::as_str), Some("-/srv/zeta"));
    assert_eq!(post["ProtectHome"], ["yes"]);

    for (wrong, why) in [
        ("zeta.guardPosts.personas.x.preferences.minTier = \"low\";", "has no value"),
        ("zeta.guardPosts.count = 0;", "is of another type"),
        ("zeta.guardPosts.personas.otto.prefers = 1;", "no such option"),
        ("zeta.guardPosts.home = \"/a b\";", "is of another type"),
        ("zeta.guardPosts.posts = 3;", "no such option"),
    ] {
        let least = "zeta.guardPosts.enable = true; zeta.guardPosts.package = \"/p\";";
        let said = evaluate_module("guard-posts", &format!("{least} {wrong}")).unwrap_err();
        assert!(said.contains(why), "{wrong}: {said}");
    }
    let off = evaluate_module("guard-posts", "zeta.guardPosts.enable = false;").unwrap();
    assert!(off.get("systemd").is_none(), "{off}");
}

#[test]
fn the_agents_of_the_original_are_posts_that_do_not_rotate() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let three = "zeta.aiAgents = { package = \"/p\"; \
                 enable = { otto = true; vera = true; lior = true; }; };";
    let made = evaluate_module("ai-agents", three).unwrap();
    let config = config(&made);
    let policy = &config.policy;
    assert_eq!((policy.posts, policy.floor, policy.rotation.every_ms), (3, 3, None));
    assert_eq!(config.ticks.memory_max, Some(4 << 30));
    assert_eq!((config.ticks.cpu_quota, config.ticks.pace.every_ms), (Some(200), 60_000));
    let service = &made["systemd"]["services"]["zeta-guard-post@"]["serviceConfig"];
    // The home and the group are those of the original.
    let all = keys(service);
    assert_eq!(all["BindPaths"], ["/home/zeta"]);
    assert_eq!(
        (&all["Group"], &all["SupplementaryGroups"]),
        (&words(&"users".into()), &words(&"zeta".into()))
    );
    let status = made["environment"]["etc"]["zeta-ai-agents-status.txt"]["text"].as_str().unwrap();
    assert!(status.contains("otto anthropic claude --print {prompt}\n"), "{status}");
    let holds = |made: &Value| {
        let assertions = made["assertions"].as_array().unwrap().iter();
        assertions.filter(|one| one["assertion"] == false).count()
    };
    assert_eq!(holds(&made), 0);
    for placeholder in ["alexa", "riven"] {
        let more = format!("{three} zeta.aiAgents.enable.{placeholder} = true;");
        let made = evaluate_module("ai-agents", &more).unwrap();
        assert_eq!(holds(&made), 1, "{placeholder}");
    }

    let otto = "zeta.otto = { enable = true; package = \"/p\"; tickIntervalSec = 30; };";
    let made = evaluate_module("otto", otto).unwrap();
    let one = self::config(&made);
    let names: Vec<String> =
        one.policy.personas.iter().map(|persona| persona.name.to_string()).collect();
    assert_eq!((names, one.ticks.pace.every_ms), (vec!["otto".to_owned()], 30_000));
    // The options and the defaults of the original.
    let options = words(&made["options"]);
    let same = ["user", "group", "home", "tickIntervalSec", "memoryMax", "cpuQuota", "restartSec"];
    for module in ["aiAgents", "otto"] {
        for name in same {
            assert!(options.contains(&format!("zeta.{module}.{name}")), "{module}.{name}");
        }
    }
}
