//! Which addresses of repositories and servers are taken: none that holds a secret.

/// Judges an address of a repository; the reason if it is not taken, without the address.
pub fn judge(url: &str) -> Result<(), &'static str> {
    if url.trim() != url || url.chars().any(char::is_control) {
        return Err("the address begins or ends with a blank, or has a line break");
    }
    // 'helper::address', which starts a program of git; not the end of an IPv6 address.
    let helper = url.split_once("::").map(|(helper, _)| helper);
    if helper.is_some_and(|helper| !helper.is_empty() && helper.chars().all(is_of_scheme)) {
        return Err("it is an address for a helper program of git");
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(()) };
    let scheme = scheme.to_ascii_lowercase();
    let place = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = place.rsplit_once('@') else { return Ok(()) };
    match scheme.as_str() {
        "file" => Ok(()),
        "ssh" | "git+ssh" | "ssh+git" if !user.contains(':') => Ok(()),
        _ => Err("it has a name or a password before an @, where secrets are written"),
    }
}

fn is_of_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// Returns whether an address is one of HTTP, by TLS or not.
pub fn is_of_http(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    lower.starts_with("https://") || lower.starts_with("http://")
}
