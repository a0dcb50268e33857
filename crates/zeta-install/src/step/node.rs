//! The steps on the file systems of the node.

use zeroize::Zeroizing;
use zeta_core::creds::BLOB;
use zeta_core::install::manifest::{
    Build, Cli, Flag, GithubMethod, Passphrase, Tool as Runtime, clone_name,
};
use zeta_core::shell::quote_word;
use zeta_core::stick::{ROLE_FILE, TOKEN_FILE};
use zeta_os::error::{Error, Kind, Result};

use super::{Context, disk};
use crate::call::{Call, head};
use crate::tool::Tool;

/// The directory of wireless networks.
const NETWORKS: &str = "etc/NetworkManager/system-connections";
/// The network that the stick brings. A network of the sealed credentials has the same name.
const NETWORK: &str = "zeta-restored-wifi.nmconnection";
/// Longest file of a wireless network, in bytes.
const NETWORK_MAX: u64 = 1 << 16;
/// The files whose contents the build reads at their later places.
const READ_BY_BUILD: [&str; 3] = ["cluster-node-id", KEYS, "initial-hashedpassword"];
/// The file with the public keys of operators.
const KEYS: &str = "operator-authorized-keys";

pub(super) fn source(context: &Context<'_>) -> Result<Vec<Call>> {
    let ace = &context.manifest.values.ace;
    let root = context.place.root.display().to_string();
    let hardware = context.on_node("etc/nixos/hardware-configuration.nix");
    let clone = Call::Clone {
        source: ace.source.clone(),
        commit: ace.source_commit.clone(),
        to: context.place.config(),
    };
    let generate = Tool::new("nixos-generate-config", &["--force", "--root", &root]);
    Ok(vec![clone, Call::Tool(generate.long()), Call::There(hardware)])
}

pub(super) fn operator_key(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    if let Some(keys) = context.keys() {
        calls.push(context.file("etc/zeta/operator-authorized-keys", &keys, 0o644));
    }
    if let Some(id) = &context.stick.volume_id {
        calls.push(context.file("etc/zeta/usb-uuid", format!("{id}\n").as_bytes(), 0o644));
    }
    if let Some(role) = context.stick.file(ROLE_FILE) {
        calls.push(context.file("etc/zeta/zeta-firstboot.conf", role, 0o644));
    }
    if let Some(token) = context.stick.file(TOKEN_FILE) {
        calls.push(context.file("var/lib/rancher/k3s/agent/token", token, 0o600));
    }
    Ok(calls)
}

pub(super) fn password(context: &Context<'_>) -> Vec<Call> {
    vec![Call::Password {
        path: context.on_node("etc/zeta/initial-hashedpassword"),
        password: context.password.cloned(),
        hash: context.manifest.values.ace.initial_password.hash,
    }]
}

pub(super) fn hostname(context: &Context<'_>) -> Result<Vec<Call>> {
    let name = format!("{}\n", context.node()?);
    let mut calls = vec![context.file("etc/zeta/cluster-node-id", name.as_bytes(), 0o644)];
    calls.extend(disk::kept(context)?);
    Ok(calls)
}

pub(super) fn wifi(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    if !context.manifest.values.ace.network.wifi.persist_from_live_usb {
        return Ok(calls);
    }
    let dir = context.place.live.join(NETWORKS);
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    for file in
        files.iter().filter(|file| file.extension().is_some_and(|end| end == "nmconnection"))
    {
        let read = zeta_os::files::read_plain(file, NETWORK_MAX).map(Zeroizing::new);
        let wrong = |error| Error::new(Kind::Unsafe, format!("{}: {error}", file.display()));
        let name = file.file_name().unwrap_or_default();
        let path = context.on_node(NETWORKS).join(name);
        calls.push(Call::File { path, bytes: read.map_err(wrong)?, mode: Some(0o600) });
    }
    if let Some(text) = context.stick.network()? {
        calls.push(context.file(&format!("{NETWORKS}/{NETWORK}"), text.as_bytes(), 0o600));
    }
    Ok(calls)
}

pub(super) fn github(context: &Context<'_>) -> Result<Vec<Call>> {
    let auth = &context.manifest.values.ace.auth;
    let github = &auth.github;
    match github.method {
        GithubMethod::Skip | GithubMethod::DeviceFlow => Ok(Vec::new()),
        GithubMethod::BlobRestore => {
            let lacks = || Error::new(Kind::Unsafe, format!("the stick has no {}", github.blob));
            let blob = context.stick.file(&github.blob).ok_or_else(lacks)?;
            let path = context.on_node(BLOB.trim_start_matches('/'));
            // The partition of the firmware has no modes.
            let blob = Call::File { path, bytes: Zeroizing::new(blob.to_vec()), mode: None };
            let Passphrase::Prompt = github.passphrase;
            let persona = auth.persona.as_ref().map(|name| format!(" --persona {}", name.as_str()));
            let text = format!(
                "ZETA_CREDS_ARGS=--usb-uuid-file /etc/zeta/usb-uuid --input {BLOB} --user {} \
                 --ask{}\n",
                auth.user.as_str(),
                persona.unwrap_or_default()
            );
            Ok(vec![blob, context.file("etc/zeta/creds.env", text.as_bytes(), 0o644)])
        }
        GithubMethod::Pat => {
            let unknown = || Error::new(Kind::Unsafe, "the token of GitHub is not known");
            let token = context.token.ok_or_else(unknown)?;
            Ok(vec![context.file("etc/zeta/forge-token", token, 0o600)])
        }
    }
}

pub(super) fn tools(context: &Context<'_>) -> Vec<Call> {
    let ace = &context.manifest.values.ace;
    let runtime = |tool: &Runtime| {
        let (name, version) = tool.as_str().split_once('@').unwrap_or((tool.as_str(), "latest"));
        format!("\"{name}\" = \"{version}\"\n")
    };
    let cli = |cli: &Cli| format!("\"{}\" = \"latest\"\n", cli.package());
    let runtimes = ace.runtimes.iter().map(runtime);
    let lines: String = runtimes.chain(ace.cli_install.iter().map(cli)).collect();
    let mut calls = Vec::new();
    if !lines.is_empty() {
        let text =
            format!("# Installed at the first session of the node, by mise.\n[tools]\n{lines}");
        calls.push(context.file("etc/mise/config.toml", text.as_bytes(), 0o644));
    }
    for source in &ace.user_repos {
        // A manifest with an address that has none is refused.
        let Some(name) = clone_name(source) else { continue };
        let to = context.on_node("home/zeta").join(name);
        calls.push(Call::Clone { source: source.clone(), commit: None, to });
    }
    calls
}

pub(super) fn build(context: &Context<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    let config = context.place.config();
    for name in READ_BY_BUILD.into_iter().filter(|name| *name != KEYS || context.keys().is_some()) {
        let path = context.place.live.join("etc/zeta").join(name);
        calls.push(Call::Link { path, to: config.join(name) });
    }
    let root = context.place.root.display().to_string();
    let flake = format!("{}#{}", config.display(), context.flake_host()?);
    let flags = context.manifest.values.ace.nixos_install.flags.iter();
    let install = Tool::new("nixos-install", &["--root", &root, "--flake", &flake]);
    let flags = flags.map(Flag::as_str).map(str::to_owned);
    // The cache that was checked before the wipe is the one that the build uses.
    let cache = &context.manifest.values.ace.nixos_install.cache;
    let own = (*cache != Build::default().cache)
        .then(|| ["--option", "substituters", cache].map(str::to_owned));
    let args = flags.chain(own.into_iter().flatten());
    calls.push(Call::Tool(install.and(args).build()));
    calls.push(Call::There(context.on_node("nix/var/nix/profiles/system")));
    calls.push(Call::There(context.on_node("etc/NIXOS")));
    Ok(calls)
}

pub(super) fn registration(context: &Context<'_>) -> Result<Vec<Call>> {
    let register = &context.manifest.values.ace.cluster.self_register;
    let (Some(repository), Some(maintainer)) = (&register.repository, &register.maintainer) else {
        return Ok(Vec::new());
    };
    if !register.post_install_first_boot {
        return Ok(Vec::new());
    }
    let host = context.flake_host()?;
    // The name is that of etc/zeta/cluster-node-id, whatever the configuration calls the host.
    let mut args = format!(
        "--repo {} --maintainer {} --flake-host {}",
        repository.as_str(),
        maintainer.as_str(),
        quote_word(&host)
    );
    if let Some(commit) = head(&context.place.config()) {
        args.push_str(&format!(" --flake-commit {commit}"));
    }
    let text = format!("ZETA_REGISTER_ARGS={args}\n");
    Ok(vec![context.file("etc/zeta/node-register.env", text.as_bytes(), 0o644)])
}

pub(super) fn banner(context: &Context<'_>) -> Vec<Call> {
    let from = context.place.state.join(crate::journal::FILE);
    vec![Call::Journal { from, to: context.on_node("var/lib/zeta/install/journal") }]
}
