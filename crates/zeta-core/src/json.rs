//! One JSON object under construction, as `--json` prints it and later front ends send it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use crate::record::{Fields, is_plain, quote, unquote};

/// One JSON object under construction. The values of records are JSON already and go in as is.
#[derive(Debug, Clone, Default)]
pub struct Object {
    text: String,
    /// The object that is being written has a key already.
    begun: bool,
    /// Where the keys of the objects that are open stand in the text, but for those of records.
    keys: Vec<Range<usize>>,
    /// The first one of the object that is being written.
    first: usize,
}

impl Object {
    /// An empty object.
    pub fn new() -> Object {
        Object::default()
    }

    /// An empty object whose text is added to `text`; [`Object::into_text`] gives it back.
    pub fn after(text: String) -> Object {
        Object { text, ..Object::default() }
    }

    fn key(&mut self, key: &str) {
        self.record_key(key);
        let end = self.text.len() - 2;
        self.keys.push(end - key.len()..end);
    }

    /// Keys of a record differ among themselves, so only the others are remembered.
    fn record_key(&mut self, key: &str) {
        // One reservation for a key and a value of the usual length.
        self.text.reserve(key.len() + 64);
        self.text.push_str(if self.begun { ",\"" } else { "{\"" });
        self.text.push_str(key);
        self.text.push_str("\":");
        self.begun = true;
    }

    fn has(&self, key: &str) -> bool {
        let keys = self.keys.get(self.first..).unwrap_or_default();
        let written = self.text.as_bytes();
        keys.iter()
            .any(|at| at.len() == key.len() && written.get(at.clone()) == Some(key.as_bytes()))
    }

    fn close(&mut self) {
        self.text.push_str(if self.begun { "}" } else { "{}" });
    }

    /// Adds a value that is JSON already.
    pub fn raw(&mut self, key: &str, value: &str) -> &mut Object {
        self.key(key);
        self.text.push_str(value);
        self
    }

    /// Adds a string.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Object {
        self.raw(key, &quote(value))
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, value: u64) -> &mut Object {
        self.key(key);
        let _ = write!(self.text, "{value}");
        self
    }

    /// Adds a string, if it is known.
    pub fn text_if(&mut self, key: &str, value: Option<&str>) -> &mut Object {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// Adds the keys of a finding, the same in every answer: a word for scripts, a sentence, and
    /// next steps.
    pub fn finding<'h>(
        &mut self,
        word: &str,
        message: &str,
        hints: impl IntoIterator<Item = &'h str>,
    ) -> &mut Object {
        self.text("finding", word).text("message", message);
        self.list("hints", hints.into_iter().map(quote))
    }

    /// Adds a boolean.
    pub fn flag(&mut self, key: &str, value: bool) -> &mut Object {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// Adds a list of JSON values.
    pub fn list(&mut self, key: &str, values: impl IntoIterator<Item = String>) -> &mut Object {
        let values: Vec<String> = values.into_iter().collect();
        self.raw(key, &format!("[{}]", values.join(",")))
    }

    /// Adds a list of objects, each written in place by `each`.
    pub fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Object, T),
    ) -> &mut Object {
        self.key(key);
        let (outer, first) = (self.first, self.keys.len());
        for (at, item) in items.into_iter().enumerate() {
            self.text.push(if at == 0 { '[' } else { ',' });
            self.begun = false;
            self.keys.truncate(first);
            self.first = first;
            each(self, item);
            self.close();
        }
        self.text.push_str(if self.text.ends_with(':') { "[]" } else { "]" });
        self.begun = true;
        self.keys.truncate(first);
        self.first = outer;
        self
    }

    /// Adds all keys of a record, but for its last line.
    pub fn fields(&mut self, fields: &Fields<'_>) -> &mut Object {
        self.fields_but(fields, &[])
    }

    /// As [`Object::fields`], without the keys that the caller adds later with a meaning of its
    /// own. Those that it added before are left out anyway: a record cannot speak for them.
    pub fn fields_but(&mut self, fields: &Fields<'_>, but: &[&str]) -> &mut Object {
        for (key, value) in fields.iter().filter(|(key, _)| !but.contains(key)) {
            if !self.has(key) {
                self.record_key(key);
                self.text.push_str(&json_of(value));
            }
        }
        self
    }

    /// The finished object.
    pub fn done(&self) -> String {
        self.clone().into_text()
    }

    /// The finished object, after the text that it was added to.
    pub fn into_text(mut self) -> String {
        self.close();
        self.text
    }
}

/// A value of a record as JSON that every parser reads and that is safe on a terminal.
///
/// The grammar of records lets pass what an attacker could use: lone surrogates, and control
/// characters beyond ASCII.
pub fn json_of(value: &str) -> Cow<'_, str> {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    if is_plain(inner) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(quote(&unquote(value).unwrap_or(Cow::Borrowed(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_added_to_a_text_and_has_every_kind_of_value() {
        let mut object = Object::after("data: ".to_owned());
        object.flag("yes", true).flag("no", false).number("n", 7).text("t", "a\"b");
        object.list("l", ["1".to_owned(), "[]".to_owned()]).raw("r", "null");
        object.objects("none", [0; 0], |_, _| {});
        let json = r#"{"yes":true,"no":false,"n":7,"t":"a\"b","l":[1,[]],"r":null,"none":[]}"#;
        assert_eq!(object.into_text(), format!("data: {json}"));
    }

    #[test]
    fn a_record_cannot_repeat_a_key_that_was_written_before() {
        let mut record = Fields::new("lease");
        record.push_text("outcome", "forged");
        record.push_text("end_of", "x");
        let mut object = Object::new();
        object.text("outcome", "granted");
        object.objects("list", [1, 2], |object, number| {
            object.number("kind", number).fields(&record);
        });
        object.fields(&record);
        let one = |n: u8| {
            format!("{{\"kind\":{n},\"schema\":1,\"outcome\":\"forged\",\"end_of\":\"x\"}}")
        };
        let rest = "\"schema\":1,\"kind\":\"lease\",\"end_of\":\"x\"}";
        let list = format!("{},{}", one(1), one(2));
        assert_eq!(object.done(), format!("{{\"outcome\":\"granted\",\"list\":[{list}],{rest}"));
    }
}
