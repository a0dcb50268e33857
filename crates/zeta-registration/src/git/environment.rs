//! The environment in which git is started: the user's own, without what would lead git to another
//! repository, and with the token where it is needed.

use std::process::Command;

use zeta_os::git::LEADING;

/// Settings of each call: what git starts in the background would outlive its repository.
const SETTINGS: [(&str, &str); 2] = [("gc.auto", "0"), ("maintenance.auto", "false")];
/// How ssh is started where the user has no wish: it asks nothing, and gives up in time.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=20";

/// A header line that holds a secret, and the only server that gets it.
#[derive(Clone)]
pub struct Header {
    /// The host, with its port if that is not the usual one; by HTTPS alone.
    pub host: String,
    /// The line.
    pub line: String,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Header(…)")
    }
}

impl Header {
    /// Removes the login from a text: a server may repeat what it was sent; a message may not.
    pub(super) fn without_login(&self, text: &str) -> String {
        let login = self.line.rsplit(' ').next().filter(|login| !login.is_empty());
        login.map_or_else(|| text.to_owned(), |login| text.replace(login, "(the token)"))
    }

    /// Returns whether git needs it for an address. A hook of a repository on this machine, which
    /// would inherit it, never does.
    pub(super) fn is_for(&self, address: &str) -> bool {
        let lower = address.to_ascii_lowercase();
        let place = lower.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        place == Some(&*self.host.to_ascii_lowercase())
    }
}

/// The settings of the user that a default of ours must not overrule.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    /// `core.sshCommand` is set.
    pub(super) ssh: bool,
    /// `core.askPass` is set.
    pub(super) askpass: bool,
}

/// Prepares a call of git in the user's environment.
pub(super) fn prepare(command: &mut Command, wishes: Wishes) {
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        // What a trace prints would be taken for a complaint, and may show the token.
        if LEADING.contains(&&*name) || name.starts_with("GIT_TRACE") {
            command.env_remove(key);
        }
    }
    command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    // Not 'ext', which runs what stands in an address, whatever the user's own settings allow.
    command.env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh");
    let is_set = |key: &str| std::env::var_os(key).is_some_and(|value| !value.is_empty());
    if !is_set("GIT_ASKPASS") && !wishes.askpass {
        // Empty, it keeps git from the window that SSH_ASKPASS opens.
        command.env("GIT_ASKPASS", "");
    }
    if !is_set("GIT_SSH_COMMAND") && !is_set("GIT_SSH") && !wishes.ssh {
        command.env("GIT_SSH_COMMAND", SSH);
    }
}

/// Adds settings to those that the user's environment has, and the token's header if there is one.
pub(super) fn configure(command: &mut Command, header: Option<&Header>) {
    let count = std::env::var("GIT_CONFIG_COUNT").ok();
    let mut count = count.and_then(|count| count.trim().parse::<usize>().ok()).unwrap_or(0);
    let mut set = |key: &str, value: &str| {
        command.env(format!("GIT_CONFIG_KEY_{count}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
        command.env("GIT_CONFIG_COUNT", count.to_string());
    };
    for (key, value) in SETTINGS {
        set(key, value);
    }
    if let Some(Header { host, line }) = header {
        let key = format!("http.https://{host}/.extraHeader");
        // It is a list, and an empty value drops what the user's own settings put into it: a server
        // refuses two logins.
        set(&key, "");
        set(&key, line);
        // Git would carry it to wherever an answer points.
        set("http.followRedirects", "false");
    }
}
