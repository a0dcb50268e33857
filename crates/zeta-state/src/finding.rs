//! What could not be read, as JSON.

use zeta_core::json::Object;
use zeta_os::error::Error;

/// Adds the list of what could not be read.
pub fn add_errors(object: &mut Object, errors: &[Error]) {
    object.objects("findings", errors, |object, error| {
        let hints = error.hints.iter().map(|hint| hint.as_str());
        object.finding(error.kind.word(), &error.text, hints);
    });
}
