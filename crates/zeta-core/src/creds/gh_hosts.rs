//! The file in which `gh` keeps its logins, `hosts.yml`: the token of one server.

/// Returns the token of a server: the value of `oauth_token` right below its name. Tokens of other
/// accounts stand deeper.
pub fn token_of<'t>(text: &'t str, server: &str) -> Option<&'t str> {
    let mut lines = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    lines.find(|line| {
        depth(line) == 0 && entry(line).is_some_and(|(name, _)| name.eq_ignore_ascii_case(server))
    })?;
    let mut first = None;
    let mut own = lines.take_while(|line| depth(line) > 0);
    own.find_map(|line| {
        let is_own = *first.get_or_insert(depth(line)) == depth(line);
        entry(line).filter(|(key, value)| is_own && *key == "oauth_token" && !value.is_empty())
    })
    .map(|(_, value)| value)
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The key and the value of a line, without quotes.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    Some((plain(key), plain(value)))
}

fn plain(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::token_of;

    #[test]
    fn the_token_of_a_server_stands_right_below_its_name() {
        let file = "# gh\ngithub.com:\n    users:\n        bob:\n            oauth_token: of-bob\n\
                    \n    user: ace\n    oauth_token: of-ace\ngit.acme.example:\n  \
                    oauth_token: \"of-acme\"\nempty.example:\n    oauth_token:\n\
                    users.example:\n    users:\n        bob:\n            oauth_token: of-bob\n\
                    last.example:\n";
        for (server, token) in [
            ("github.com", Some("of-ace")),
            ("GitHub.com", Some("of-ace")),
            ("git.acme.example", Some("of-acme")),
            ("empty.example", None),
            ("users.example", None),
            ("last.example", None),
            ("acme.example", None),
            ("bob", None),
            ("", None),
        ] {
            assert_eq!(token_of(file, server), token, "{server}");
        }
        for text in ["", "github.com", "github.com: x", "oauth_token: x", "    github.com:\n"] {
            assert_eq!(token_of(text, "github.com"), None, "{text:?}");
        }
    }
}
