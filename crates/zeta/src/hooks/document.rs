//! A settings file of an agent tool as text: groups of hooks are put in and taken out, and every
//! other byte stays as it is.
//!
//! Only ends of elements are insertion points, so that taking out is the exact inverse of putting
//! in, also after other programs changed the file in between.

use std::collections::BTreeMap;
use std::ops::Range;

use jsonc_parser::ast::{Array, Object, Value};
use jsonc_parser::common::{Range as Span, Ranged as _};
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};
use serde::{Deserialize, Serialize};

const HOOKS: &str = "hooks";
/// The mark that some editors put in front of UTF-8 text.
const BOM: &str = "\u{feff}";

/// The group of one event: the event and the group as JSON on one line.
pub(super) type Group = (String, String);

/// Why a document cannot be changed, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// What was made besides the groups: an uninstall takes that out again, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// The key `hooks`.
    hooks: bool,
    /// Keys of events.
    events: Vec<String>,
    /// The white space in objects and arrays that were empty, by their path.
    blanks: BTreeMap<String, String>,
}

impl Made {
    /// Adds what an earlier install made.
    pub(super) fn and(mut self, earlier: Made) -> Made {
        self.hooks |= earlier.hooks;
        self.events.extend(earlier.events);
        self.events.sort();
        self.events.dedup();
        for (path, blank) in earlier.blanks {
            self.blanks.entry(path).or_insert(blank);
        }
        self
    }
}

type Found<T> = Result<T, Trouble>;

/// Splits a text into the mark of an editor, if it has one, and the document.
pub(super) fn split_mark(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with(BOM) { BOM.len() } else { 0 })
}

/// Returns the events whose groups are in a document as given.
pub(super) fn present<'g>(text: &str, groups: &'g [Group], comments: bool) -> Found<Vec<&'g str>> {
    let document = Document::parse(text, comments)?;
    let mut found = Vec::new();
    for (event, group) in groups {
        document.event(event)?;
        found.extend(document.position(event, group).map(|_| event.as_str()));
    }
    Ok(found)
}

/// Puts the groups behind those that are there.
pub(super) fn put_in(text: &str, groups: &[Group], comments: bool) -> Found<(String, Made)> {
    let mut made = Made::default();
    let mut text = text.to_owned();
    for (event, group) in groups {
        if Document::parse(&text, comments)?.hooks()?.is_none() {
            made.hooks = true;
            text = Document::parse(&text, comments)?.add_property(None, HOOKS, "{}", &mut made)?;
        }
        if Document::parse(&text, comments)?.event(event)?.is_none() {
            made.events.push(event.clone());
            let document = Document::parse(&text, comments)?;
            text = document.add_property(Some(HOOKS), event, "[]", &mut made)?;
        }
        text = Document::parse(&text, comments)?.add_group(event, group, &mut made)?;
    }
    Ok((text, made))
}

/// Takes the groups out, and what was made for them if it is empty.
pub(super) fn take_out(text: &str, groups: &[Group], made: &Made, comments: bool) -> Found<String> {
    let mut text = text.to_owned();
    for (event, group) in groups {
        loop {
            let document = Document::parse(&text, comments)?;
            let Some(at) = document.position(event, group) else { break };
            let Some(array) = document.event(event)? else { break };
            let blank = made.blanks.get(&format!("{HOOKS}.{event}"));
            text = document.without(array.range, &ranges(&array.elements), at, blank);
        }
        let document = Document::parse(&text, comments)?;
        let is_empty = document.event(event)?.is_some_and(|array| array.elements.is_empty());
        if is_empty && made.events.iter().any(|known| known == event) {
            text = document.without_property(document.hooks()?, event, made.blanks.get(HOOKS));
        }
    }
    let document = Document::parse(&text, comments)?;
    let is_empty = document.hooks()?.is_some_and(|hooks| hooks.properties.is_empty());
    match is_empty && made.hooks {
        true => Ok(document.without_property(Some(document.root()?), HOOKS, made.blanks.get(""))),
        false => Ok(text),
    }
}

/// Returns the texts of hooks in a document, in its order.
pub(super) fn texts(text: &str, comments: bool) -> Found<Vec<String>> {
    fn collect(value: &Value<'_>, found: &mut Vec<String>) {
        match value {
            Value::StringLit(text) => found.push(text.value.to_string()),
            Value::Array(array) => array.elements.iter().for_each(|v| collect(v, found)),
            Value::Object(object) => {
                object.properties.iter().for_each(|p| collect(&p.value, found))
            }
            _ => {}
        }
    }
    let document = Document::parse(text, comments)?;
    let mut found = Vec::new();
    if let Some(hooks) = document.hooks()? {
        hooks.properties.iter().for_each(|p| collect(&p.value, &mut found));
    }
    Ok(found)
}

/// Returns the number of a group among those of its event.
pub(super) fn place(text: &str, group: &Group) -> Found<Option<usize>> {
    Ok(Document::parse(text, false)?.position(&group.0, &group.1))
}

/// Returns how many groups of other programs stand behind the given ones.
pub(super) fn behind(text: &str, groups: &[Group], comments: bool) -> Found<usize> {
    let document = Document::parse(text, comments)?;
    let mut count = 0;
    for (event, group) in groups {
        if let (Some(at), Some(array)) = (document.position(event, group), document.event(event)?) {
            count += array.elements.len() - at - 1;
        }
    }
    Ok(count)
}

/// A parsed document.
struct Document<'t> {
    text: &'t str,
    value: Value<'t>,
}

impl<'t> Document<'t> {
    fn parse(text: &'t str, comments: bool) -> Found<Document<'t>> {
        let strict = ParseOptions {
            allow_comments: true,
            allow_loose_object_property_names: false,
            allow_trailing_commas: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let collect =
            CollectOptions { comments: CommentCollectionStrategy::Separate, tokens: false };
        let parsed = parse_to_ast(text, &collect, &strict).map_err(|error| Trouble {
            line: error.line_display(),
            reason: format!("it is not JSON: {}", error.kind()),
        })?;
        if let Some(map) = parsed.comments.filter(|_| !comments) {
            let starts = map.values().flat_map(|list| list.iter().map(|one| one.start()));
            if let Some(start) = starts.min() {
                let reason = "it has a comment, and the tool ignores such a file as a whole";
                return Err(Trouble { line: line_of(text, start), reason: reason.to_owned() });
            }
        }
        let empty = || Trouble { line: 1, reason: "it is empty: write {} into it".to_owned() };
        let document = Document { text, value: parsed.value.ok_or_else(empty)? };
        document.refuse_duplicates()?;
        Ok(document)
    }

    fn trouble<T>(&self, at: usize, reason: String) -> Found<T> {
        Err(Trouble { line: line_of(self.text, at), reason })
    }

    /// Refuses two keys of one name where groups are put: readers use the last one, and an editor
    /// may find the first.
    fn refuse_duplicates(&self) -> Found<()> {
        for object in [Some(self.root()?), self.hooks()?].into_iter().flatten() {
            for (at, property) in object.properties.iter().enumerate() {
                let name = property.name.as_str();
                let before = object.properties.iter().take(at);
                if before.map(|other| other.name.as_str()).any(|other| other == name) {
                    let reason = format!("the key {name:?} is there twice");
                    return self.trouble(property.range.start, reason);
                }
            }
        }
        Ok(())
    }

    fn root(&self) -> Found<&Object<'t>> {
        match &self.value {
            Value::Object(object) => Ok(object),
            other => self.trouble(other.start(), "it is no JSON object".to_owned()),
        }
    }

    fn hooks(&self) -> Found<Option<&Object<'t>>> {
        match self.root()?.get(HOOKS).map(|property| &property.value) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => {
                self.trouble(other.start(), "the value of \"hooks\" is no object".into())
            }
        }
    }

    fn event(&self, event: &str) -> Found<Option<&Array<'t>>> {
        let Some(hooks) = self.hooks()? else { return Ok(None) };
        match hooks.get(event).map(|property| &property.value) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(other) => {
                self.trouble(other.start(), format!("the value of {event:?} is no list"))
            }
        }
    }

    /// Returns the number of the first group that says the same.
    fn position(&self, event: &str, group: &str) -> Option<usize> {
        let wanted: serde_json::Value = serde_json::from_str(group).ok()?;
        self.event(event).ok()??.elements.iter().position(|element| {
            let text = self.text.get(element.range().start..element.range().end);
            text.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
                .is_some_and(|found| found == wanted)
        })
    }

    fn add_property(
        &self,
        object: Option<&str>,
        name: &str,
        value: &str,
        made: &mut Made,
    ) -> Found<String> {
        let (object, path, depth) = match object {
            None => (Some(self.root()?), "", 1),
            Some(_) => (self.hooks()?, HOOKS, 2),
        };
        let Some(object) = object else { return Ok(self.text.to_owned()) };
        let ranges: Vec<Range<usize>> =
            object.properties.iter().map(|p| p.range.start..p.range.end).collect();
        let colon = if self.is_spread() { ": " } else { ":" };
        let what = format!("{}{colon}{value}", serde_json::Value::from(name));
        Ok(self.with(object.range, &ranges, &what, depth, (path, made)))
    }

    fn add_group(&self, event: &str, group: &str, made: &mut Made) -> Found<String> {
        let Some(array) = self.event(event)? else { return Ok(self.text.to_owned()) };
        let path = format!("{HOOKS}.{event}");
        Ok(self.with(array.range, &ranges(&array.elements), group, 3, (&path, made)))
    }

    /// Returns the text with an element more at the end of an object or array.
    fn with(
        &self,
        outer: Span,
        elements: &[Range<usize>],
        what: &str,
        depth: usize,
        (path, made): (&str, &mut Made),
    ) -> String {
        let (line, unit) = self.layout();
        let indent = |depth: usize| match self.is_spread() {
            true => format!("{line}{}", unit.repeat(depth)),
            false => String::new(),
        };
        if let Some(last) = elements.last() {
            return splice(self.text, last.end..last.end, &format!(",{}{what}", indent(depth)));
        }
        let inner = outer.start + 1..outer.end - 1;
        let blank = self.text.get(inner.clone()).unwrap_or_default();
        let is_blank = blank.trim().is_empty();
        if is_blank && !blank.is_empty() {
            made.blanks.insert(path.to_owned(), blank.to_owned());
        }
        // A comment in it stays, in front of its end.
        let end = if is_blank { indent(depth - 1) } else { String::new() };
        let to = if is_blank { inner } else { inner.start..inner.start };
        splice(self.text, to, &format!("{}{what}{end}", indent(depth)))
    }

    fn without_property(
        &self,
        object: Option<&Object<'t>>,
        name: &str,
        blank: Option<&String>,
    ) -> String {
        let Some(object) = object else { return self.text.to_owned() };
        let ranges: Vec<Range<usize>> =
            object.properties.iter().map(|p| p.range.start..p.range.end).collect();
        match object.properties.iter().position(|p| p.name.as_str() == name) {
            Some(at) => self.without(object.range, &ranges, at, blank),
            None => self.text.to_owned(),
        }
    }

    /// Returns the text without an element of an object or array. Comments stay.
    fn without(
        &self,
        outer: Span,
        elements: &[Range<usize>],
        at: usize,
        blank: Option<&String>,
    ) -> String {
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        let Some(own) = elements.get(at).cloned() else { return self.text.to_owned() };
        let previous = at.checked_sub(1).and_then(|at| elements.get(at));
        if let Some(previous) = previous {
            let between = part(previous.end..own.start);
            return match between.trim() == "," {
                true => splice(self.text, previous.end..own.end, ""),
                false => {
                    let comma = previous.end + comma_in(between);
                    splice(&splice(self.text, own, ""), comma..comma + 1, "")
                }
            };
        }
        let inner = outer.start + 1..outer.end - 1;
        let before = part(inner.start..own.start);
        let from = if before.trim().is_empty() { inner.start } else { own.start };
        if let Some(next) = elements.get(at + 1) {
            let comma = own.end + comma_in(part(own.end..next.start));
            let kept = part(own.end..comma).to_owned();
            return splice(self.text, from..comma + 1, &kept);
        }
        let after = part(own.end..inner.end);
        match from == inner.start && after.trim().is_empty() {
            true => splice(self.text, inner, blank.map_or("", String::as_str)),
            false => splice(self.text, from..own.end, ""),
        }
    }

    /// Whether the document is written on many lines. An empty one is, as a person would write it.
    fn is_spread(&self) -> bool {
        self.text.trim_end().contains('\n')
            || self.root().is_ok_and(|root| root.properties.is_empty())
    }

    /// Returns the end of a line and one step of indentation, as the document has them.
    fn layout(&self) -> (&'static str, &'t str) {
        let line = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let first = self.root().ok().and_then(|root| Some(root.properties.first()?.range.start));
        let before = first.and_then(|first| self.text.get(..first)).unwrap_or_default();
        let unit = before.rsplit_once('\n').map_or("", |(_, unit)| unit);
        match !unit.is_empty() && unit.trim().is_empty() {
            true => (line, unit),
            false => (line, "  "),
        }
    }
}

fn ranges(elements: &[Value<'_>]) -> Vec<Range<usize>> {
    elements.iter().map(|element| element.range().start..element.range().end).collect()
}

/// Returns where the comma between two elements is, outside of the comments there.
fn comma_in(between: &str) -> usize {
    let mut rest = between;
    let at = |rest: &str| between.len() - rest.len();
    while let Some(first) = rest.chars().next() {
        let skip = match first {
            ',' => return at(rest),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '/' => rest.find('\n').unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
    0
}

fn splice(text: &str, range: Range<usize>, what: &str) -> String {
    let (before, after) = (text.get(..range.start), text.get(range.end..));
    [before.unwrap_or_default(), what, after.unwrap_or_default()].concat()
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
