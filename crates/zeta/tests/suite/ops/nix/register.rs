//! The module for the registration of a node: the units are the shipped ones.

use serde_json::Value;

use super::{evaluate_module, keys, shipped_unit, words};
use crate::support::{find, skip, test_name};

/// What the module makes of the options that it needs, and of more.
fn made(repo: &str, maintainer: &str, more: &str) -> Result<Value, String> {
    let settings = format!(
        "zeta.selfRegister = {{ enable = true; package = \"/p\"; repo = \"{repo}\"; \
         maintainer = \"{maintainer}\"; {more} }};"
    );
    evaluate_module("self-register", &settings)
}

#[test]
fn the_module_of_nixos_registers_as_the_shipped_units_do() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let made = made("acme/cluster", "ace", "").unwrap();
    let unit = &made["systemd"]["services"]["zeta-node-register"];
    let mut module = keys(&unit["serviceConfig"]);
    let mut shipped = shipped_unit("zeta-node-register.service", "[Service]");
    // The options stand in the unit itself, so no file of arguments is read.
    shipped.remove("EnvironmentFile").unwrap();
    assert_eq!(
        module.remove("ExecStart").unwrap().join(" "),
        "/p/bin/zeta node register --repo acme/cluster --maintainer ace --min-interval 86400s"
    );
    shipped.remove("ExecStart").unwrap();
    // The receipt is where the original has it.
    let marker = "ZETA_SELF_REGISTER_MARKER=/var/lib/zeta-self-register/self-registered.marker";
    let environment = module.get_mut("Environment").unwrap();
    assert_eq!(environment.pop().as_deref(), Some(marker));
    let state = module.get_mut("StateDirectory").unwrap();
    assert_eq!(state.pop().as_deref(), Some("zeta-self-register"));
    assert_eq!(module, shipped);

    let mut file = shipped_unit("zeta-node-register.service", "[Unit]");
    file.remove("ConditionPathExists").unwrap();
    let mut of_module = keys(&unit["unitConfig"]);
    for (option, key) in [("wants", "Wants"), ("after", "After"), ("description", "Description")] {
        of_module.insert(key.to_owned(), words(&unit[option]));
    }
    assert_eq!(of_module, file);
    let mut timer = shipped_unit("zeta-node-register.timer", "[Timer]");
    timer.insert("RandomizedDelaySec".to_owned(), vec!["30min".to_owned()]);
    assert_eq!(keys(&made["systemd"]["timers"]["zeta-node-register"]["timerConfig"]), timer);
}

#[test]
fn the_options_of_the_original_are_accepted() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let all = "user = \"ace\"; group = \"users\"; home = \"/home/ace\"; repoRoot = \"/etc/zeta\"; \
               scriptPath = \"/s\"; markerPath = \"/srv/m/x.marker\"; reconcileInterval = \"2h\"; \
               reconcileJitter = \"1min\"; minPrIntervalSec = 60; \
               tokenFile = \"/etc/zeta/forge-token\";";
    let made_all = made("acme/cluster", "ace", all).unwrap();
    assert_eq!(made_all["warnings"].as_array().unwrap().len(), 3, "{}", made_all["warnings"]);
    let service = keys(&made_all["systemd"]["services"]["zeta-node-register"]["serviceConfig"]);
    assert_eq!(service["ReadWritePaths"], ["-/tmp/zeta-cluster-state", "/srv/m"]);
    assert_eq!(service["StateDirectory"], ["zeta"]);
    assert_eq!(service["SupplementaryGroups"], ["zeta"]);
    assert_eq!(service["LoadCredential"], ["forge-token:/etc/zeta/forge-token"]);
    let timer = keys(&made_all["systemd"]["timers"]["zeta-node-register"]["timerConfig"]);
    assert_eq!(
        (&timer["OnUnitInactiveSec"], &timer["RandomizedDelaySec"]),
        (&words(&"2h".into()), &words(&"1min".into()))
    );
    for (repo, maintainer, more) in
        [("acme", "ace", ""), ("a/b", "-r", ""), ("a/b", "ace", "markerPath = \"/a $b\";")]
    {
        let said = made(repo, maintainer, more).unwrap_err();
        assert!(said.contains("is of another type"), "{repo} {maintainer} {more}: {said}");
    }
}

/// What the page declares does what the files of an installation do elsewhere.
#[test]
fn a_node_that_was_installed_restores_and_registers_as_the_page_declares() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let page = include_str!("../../../../../../docs/use/nixos.md");
    let (_, page) = page.split_once("## A node that was installed by zeta").unwrap();
    let (_, block) = page.split_once("```nix\nimports = [ ").unwrap();
    let (imports, settings) = block.split_once(" ];\n").unwrap();
    assert_eq!(imports, "./nix/self-register.nix ./nix/creds-restore.nix");
    let (settings, _) = settings.split_once("```").unwrap();
    let settings = settings.replace("package = zeta;", "package = \"/p\";");
    let made = evaluate_module("self-register creds-restore", &settings).unwrap();
    let service = |name: &str| keys(&made["systemd"]["services"][name]["serviceConfig"]);
    let restore = service("zeta-creds-restore")["ExecStart"].join(" ");
    for part in [
        "--input /boot/zeta-creds.enc",
        "--usb-uuid-file /etc/zeta/usb-uuid",
        "--user zeta",
        "--ask --persona otto",
    ] {
        assert!(restore.contains(part), "{part}: {restore}");
    }
    let register = service("zeta-node-register");
    let arguments = register["ExecStart"].join(" ");
    assert!(arguments.contains("--repo acme/cluster --maintainer ace"), "{arguments}");
    let home = made["users"]["users"]["zeta"]["home"].as_str().unwrap();
    let login = format!("forge-token:{home}/.config/gh/hosts.yml");
    assert_eq!(register["LoadCredential"], [login]);
}
