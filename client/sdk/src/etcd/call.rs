//! A request to the keys API in parts, in the form in which etcd's own client sends it.

use std::collections::BTreeMap;

use http::Method;
use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::{EtcdClient, FORM, FORM_TYPE, KeyAnswer, Outgoing, PATH};
use crate::error::SdkError;

/// What etcd's client leaves as it is in a path.
const GO_PATH: &AsciiSet = &PATH
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// Why no member did what a request asked for: one error for each member that was tried.
#[derive(Debug, Default)]
pub struct Failures {
    errors: Vec<SdkError>,
    stopped: bool,
}

impl Failures {
    pub(super) fn push(&mut self, error: SdkError) {
        self.errors.push(error);
    }

    /// The last error ended the round: it is final, or what it left behind is unknown.
    pub(super) fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }

    /// The errors in the order of the tries.
    #[must_use]
    pub fn errors(&self) -> &[SdkError] {
        &self.errors
    }

    /// What the store itself refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&SdkError> {
        self.errors.last().filter(|error| error.store_code().is_some())
    }

    /// All of them as one error.
    #[must_use]
    pub fn into_error(mut self) -> SdkError {
        let texts = self.errors.iter().map(SdkError::chain).collect();
        match self.errors.pop() {
            Some(last) if self.stopped => last,
            _ => SdkError::NoEndpoint(texts),
        }
    }
}

impl From<SdkError> for Failures {
    fn from(error: SdkError) -> Self {
        Self {
            errors: vec![error],
            stopped: true,
        }
    }
}

/// A request to the keys API. Parameters are sent sorted by name, as etcd's client does.
#[derive(Debug, Clone)]
pub struct KeysCall {
    method: Method,
    key: String,
    query: BTreeMap<&'static str, String>,
    form: Option<BTreeMap<&'static str, String>>,
}

impl KeysCall {
    /// Reads a key or lists a directory.
    #[must_use]
    pub fn get(key: &str, recursive: bool, sorted: bool, quorum: bool) -> Self {
        Self::new(Method::GET, key)
            .query("recursive", recursive)
            .query("sorted", sorted)
            .query("quorum", quorum)
    }

    /// Writes a key or makes a directory.
    #[must_use]
    pub fn put(key: &str) -> Self {
        let mut call = Self::new(Method::PUT, key);
        call.form = Some(BTreeMap::new());
        call
    }

    /// Makes a key with a name of the store's choice, in the order of the requests.
    #[must_use]
    pub fn post(key: &str) -> Self {
        let mut call = Self::new(Method::POST, key);
        call.form = Some(BTreeMap::new());
        call
    }

    /// Deletes a key.
    #[must_use]
    pub fn delete(key: &str) -> Self {
        Self::new(Method::DELETE, key)
    }

    /// Waits for a change.
    #[must_use]
    pub fn watch(key: &str, recursive: bool, wait_index: Option<u64>) -> Self {
        Self::new(Method::GET, key)
            .query("recursive", recursive)
            .query("wait", true)
            .query_if("waitIndex", wait_index)
    }

    fn new(method: Method, key: &str) -> Self {
        Self {
            method,
            key: key.to_owned(),
            query: BTreeMap::new(),
            form: None,
        }
    }

    /// With a parameter in the query.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.insert(name, value.to_string());
        self
    }

    /// With a parameter in the query, if there is a value.
    #[must_use]
    pub fn query_if(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// With a parameter in the form.
    #[must_use]
    pub fn form(mut self, name: &'static str, value: impl ToString) -> Self {
        self.form.get_or_insert_default().insert(name, value.to_string());
        self
    }

    /// With a parameter in the form, if there is a value.
    #[must_use]
    pub fn form_if(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.form(name, value),
            None => self,
        }
    }

    fn path(&self) -> String {
        let mut path = String::from("/v2/keys");
        path.extend(utf8_percent_encode(&canonical(&self.key), GO_PATH));
        if !self.query.is_empty() {
            path.push('?');
            path.push_str(&encoded(&self.query));
        }
        path
    }
}

/// A key without empty, `.` and `..` parts; a slash at the end stays.
fn canonical(key: &str) -> String {
    let mut parts = Vec::new();
    for part in key.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut path = String::new();
    for part in &parts {
        path.push('/');
        path.push_str(part);
    }
    if key.ends_with('/') {
        path.push('/');
    }
    path
}

/// `name=value` pairs with blanks as plus signs.
fn encoded(pairs: &BTreeMap<&'static str, String>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for (at, piece) in value.split(' ').enumerate() {
            if at > 0 {
                text.push('+');
            }
            text.extend(utf8_percent_encode(piece, FORM));
        }
    }
    text
}

/// Base64 with the standard alphabet and padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            if at <= group.len() {
                text.push(char::from(DIGITS[bits >> (18 - 6 * at) & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

impl EtcdClient {
    /// Sends a request to one member after the other until one answers; what the store refuses is final.
    ///
    /// # Errors
    /// One error for each member tried. A single [`SdkError::Store`] is the store's refusal.
    pub async fn send(&self, call: &KeysCall) -> Result<KeyAnswer, Failures> {
        let path = call.path();
        let form = call.form.as_ref().map(encoded);
        let outgoing = Outgoing {
            method: &call.method,
            path: &path,
            body: form.as_deref().map(|form| (FORM_TYPE, form)),
        };
        let waits = call.query.contains_key("wait");
        loop {
            let answer = self.attempt(&outgoing).await?;
            // A server that ends a wait without an event wants to be asked again.
            if !(waits && answer.status.is_success() && answer.body.is_empty()) {
                return self.understand(&answer).map_err(Failures::from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_etcds_client() {
        for (key, wanted) in [
            ("", "/v2/keys"),
            ("/", "/v2/keys/"),
            ("a", "/v2/keys/a"),
            ("/a//b/../c/", "/v2/keys/a/c/"),
            ("/a b/c?é:@", "/v2/keys/a%20b/c%3F%C3%A9:@"),
            ("/..", "/v2/keys"),
        ] {
            assert_eq!(KeysCall::delete(key).path(), wanted, "{key}");
        }
        assert_eq!(
            KeysCall::get("/a", true, false, true).path(),
            "/v2/keys/a?quorum=true&recursive=true&sorted=false"
        );
        let call = KeysCall::put("/a").form("value", "x y&z").form("ttl", 5);
        assert_eq!(
            encoded(call.form.as_ref().expect("a form")),
            "ttl=5&value=x+y%26z"
        );
    }

    #[test]
    fn base64_is_padded() {
        for (text, wanted) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("root:x", "cm9vdDp4"),
        ] {
            assert_eq!(base64(text.as_bytes()), wanted);
        }
    }
}
