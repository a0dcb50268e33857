//! An answer of GitHub, before it is judged.

use ureq::http::HeaderMap;

use crate::forge::ForgeError;

/// Status, headers and body of an answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Response {
    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The body, read as a value of this type.
    pub fn read<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T, ForgeError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let status = self.status;
            ForgeError::Lost(format!("{what}: the answer {status} cannot be read: {error}"))
        })
    }
}
