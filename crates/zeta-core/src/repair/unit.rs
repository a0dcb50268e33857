//! Names of systemd units, and patterns of them.

use std::fmt;

use serde::Deserialize;

/// Longest name of a unit, in bytes (systemd.unit(5)).
const UNIT_MAX: usize = 255;
/// The types of units, as their names end.
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
const RULE: &str = "a unit has letters, digits and ':-_.\\@', as in k3s.service";

/// The name of a unit. Without a type it is a service, as for `systemctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit(String);

/// A pattern of names: `*` stands for any letters, also for none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UnitPattern(String);

fn is_plain(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    !text.is_empty() && text.len() <= UNIT_MAX && text.bytes().all(is_good)
}

/// Adds the type that a name lacks.
fn with_type(name: &str) -> String {
    let has_type = name.rsplit_once('.').is_some_and(|(_, kind)| TYPES.contains(&kind));
    if has_type { name.to_owned() } else { format!("{name}.service") }
}

impl Unit {
    /// Checks a name.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(name: &str) -> Result<Unit, &'static str> {
        let unit = with_type(name);
        if is_plain(name) && is_plain(&unit) { Ok(Unit(unit)) } else { Err(RULE) }
    }

    /// The name with its type.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UnitPattern {
    type Error = String;
    fn try_from(text: String) -> Result<UnitPattern, String> {
        if !is_plain(&text.replace('*', "x")) {
            return Err(format!("the pattern {text:?} is not valid: {RULE}, and '*'"));
        }
        Ok(UnitPattern(if text.ends_with('*') { text } else { with_type(&text) }))
    }
}

impl UnitPattern {
    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the name of a unit has this pattern. The time grows with the product of both
    /// lengths at most, whatever the pattern is.
    pub fn matches(&self, unit: &Unit) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| unit.0.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // Each part is taken where it stands first: so most is left for those after it.
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}
