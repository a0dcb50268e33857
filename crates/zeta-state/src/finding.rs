//! What was found to be wrong, as JSON: one shape in every list and report.

use zeta_core::json::Object;
use zeta_core::record::quote;
use zeta_os::error::Error;

/// Adds the keys of a finding: a word for scripts, a sentence, and next steps.
pub fn add<'h>(
    object: &mut Object,
    word: &str,
    message: &str,
    hints: impl IntoIterator<Item = &'h str>,
) {
    object.text("finding", word).text("message", message);
    object.list("hints", hints.into_iter().map(quote));
}

/// Adds the list of what could not be read.
pub fn add_errors(object: &mut Object, errors: &[Error]) {
    object.objects("findings", errors, |object, error| {
        let hints = error.hints.iter().map(|hint| hint.as_str());
        add(object, error.kind.word(), &error.text, hints);
    });
}
