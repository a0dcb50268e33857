//! The verbs that `zeta marker` and `zeta persona` share: set, get, list and clear.

use zeta_os::error::{Kind, Result};
use zeta_state::presence::records as ops;
use zeta_state::presence::records::RecordKey;
use zeta_state::presence::report;
use zeta_state::presence::report::Records;

use super::Call;

/// Sets the fields that the options and the `K=V` arguments give.
pub(super) fn set(
    call: &Call,
    name: &RecordKey,
    options: Vec<(&'static str, String)>,
    words: &[String],
) -> Result<u8> {
    let mut pairs: Vec<(String, String)> =
        options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    for word in words {
        pairs.push(ops::parse_pair(name, word)?);
    }
    let fields = ops::set(&call.context()?, name, &pairs)?;
    if call.out.json {
        call.out.data(&report::record_json(&fields).done())?;
    }
    Ok(0)
}

/// Prints a record, or one field of it.
pub(super) fn get(call: &Call, name: &RecordKey, key: Option<&str>) -> Result<u8> {
    let fields = report::fields_of(name, ops::get(&call.context()?, name)?)?;
    match key {
        None => {
            call.out.either(|| report::record_json(&fields), || report::record_text(&fields))?;
        }
        Some(key) => {
            let (object, text) = report::field(name, &fields, key)?;
            call.out.either(|| object, || text)?;
        }
    }
    Ok(0)
}

/// Lists the records of one kind.
pub(super) fn list(call: &Call, markers: bool) -> Result<u8> {
    let records = Records::new(markers, ops::list(&call.context()?, markers)?);
    call.out.either(|| records.json(), || records.text())?;
    if !call.out.json {
        records.findings.iter().for_each(|finding| call.out.error(finding, None));
    }
    Ok(if records.findings.is_empty() { 0 } else { Kind::Unsafe.status() })
}

/// Removes a record.
pub(super) fn clear(call: &Call, name: &RecordKey) -> Result<u8> {
    if !ops::clear(&call.context()?, name)? {
        return Err(report::absent(name));
    }
    if call.out.json {
        call.out.data(&report::cleared_json(name).done())?;
    }
    Ok(0)
}
