//! From a request to what it asks of the keyspace. Parameters are checked for every method, in etcd's order.

use crate::http::form::{self, Form};
use berth_store::{Condition, Key, KeyError, Kind, MAX_TTL_SECONDS, Put, StoreError, code};
use http::Method;
use std::borrow::Cow;

/// The length of the name that a POST makes.
const IN_ORDER_NAME: usize = 20;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A node, also for HEAD.
    Get { key: Key, recursive: bool, quorum: bool },
    /// Events.
    Watch {
        key: Key,
        recursive: bool,
        stream: bool,
        since: Option<u64>,
    },
    /// A change. With `brief` its success is told by its name alone.
    Write { kind: Kind, brief: bool },
}

impl Wanted {
    /// Whether it may have to wait for others before it is done.
    pub(crate) fn waits(&self) -> bool {
        !matches!(self, Wanted::Get { quorum: false, .. })
    }
}

/// Reads a request: the decoded path after `/v2/keys`, the query, and the body if it is a form.
pub(crate) fn parse(
    method: &Method,
    path: &[u8],
    query: &[u8],
    body: Option<&[u8]>,
) -> Result<Wanted, StoreError> {
    if *method == Method::GET && query.is_empty() && body.is_none() {
        // The most frequent request of all has nothing to check but its key.
        let key = Key::parse(path).map_err(|error| bad_key(&error))?;
        return Ok(Wanted::Get {
            key,
            recursive: false,
            quorum: false,
        });
    }
    let form = form::read(body, query).map_err(|cause| bad(code::INVALID_FORM, cause))?;
    let given = Given::check(method, form)?;
    let key = Key::parse(path).map_err(|error| bad_key(&error))?;
    if *method == Method::POST {
        // The key that is made, whose name is not known yet, must be one that can be asked for.
        let child = [key.as_bytes(), b"/", &[b'0'; IN_ORDER_NAME]].concat();
        Key::parse(child).map_err(|error| bad_key(&error))?;
    }
    Ok(given.wanted(method, key))
}

/// The parameters, checked.
struct Given<'a> {
    value: Cow<'a, [u8]>,
    ttl: Option<u64>,
    dir: bool,
    prev_exist: Option<bool>,
    condition: Condition,
    recursive: bool,
    quorum: bool,
    wait: bool,
    wait_index: Option<u64>,
    stream: bool,
    refresh: bool,
    brief: bool,
}

impl<'a> Given<'a> {
    fn check(method: &Method, form: Form<'a>) -> Result<Given<'a>, StoreError> {
        let prev_index = number(form.prev_index.as_deref(), code::INDEX_NOT_A_NUMBER, "prevIndex")?;
        let wait_index = number(form.wait_index.as_deref(), code::INDEX_NOT_A_NUMBER, "waitIndex")?;
        let recursive = quoted_bool(form.recursive.as_deref(), "recursive")?;
        quoted_bool(form.sorted.as_deref(), "sorted")?;
        let wait = quoted_bool(form.wait.as_deref(), "wait")?;
        let dir = quoted_bool(form.dir.as_deref(), "dir")?;
        let quorum = quoted_bool(form.quorum.as_deref(), "quorum")?;
        let stream = quoted_bool(form.stream.as_deref(), "stream")?;
        if wait && *method != Method::GET {
            return Err(bad(
                code::INVALID_FIELD,
                "\"wait\" can only be used with GET requests",
            ));
        }
        if form.prev_value.as_deref().is_some_and(<[u8]>::is_empty) {
            return Err(bad(code::PREV_VALUE_REQUIRED, "\"prevValue\" cannot be empty"));
        }
        let brief = quoted_bool(form.no_value_on_success.as_deref(), "noValueOnSuccess")?;
        let ttl = form.ttl.as_deref().filter(|ttl| !ttl.is_empty());
        let ttl = number(ttl, code::TTL_NOT_A_NUMBER, "ttl")?;
        // etcd wraps around into the past.
        if ttl.is_some_and(|ttl| ttl > MAX_TTL_SECONDS) {
            return Err(bad(code::TTL_NOT_A_NUMBER, "invalid value for \"ttl\""));
        }
        let prev_exist = form
            .prev_exist
            .as_deref()
            .map(|word| boolean(word, || "invalid value for prevExist".to_owned()))
            .transpose()?;
        let refresh = match form.refresh.as_deref() {
            Some(word) => boolean(word, || "invalid value for refresh".to_owned())?,
            None => false,
        };
        let value = form.value.unwrap_or_default();
        if refresh && !value.is_empty() {
            return Err(bad(code::REFRESH_WITH_VALUE, "A value was provided on a refresh"));
        }
        if refresh && ttl.is_none() {
            return Err(bad(code::REFRESH_WITHOUT_TTL, "No TTL value set"));
        }
        Ok(Given {
            value,
            ttl,
            dir,
            prev_exist,
            condition: Condition {
                prev_value: form.prev_value.map(|value| (&*value).into()),
                prev_index: prev_index.unwrap_or(0),
            },
            recursive,
            quorum,
            wait,
            wait_index,
            stream,
            refresh,
            brief,
        })
    }

    fn wanted(self, method: &Method, key: Key) -> Wanted {
        let Given {
            recursive, stream, ..
        } = self;
        let brief = self.brief && (*method == Method::PUT || *method == Method::POST);
        match *method {
            Method::PUT => Wanted::Write {
                kind: self.put(key),
                brief,
            },
            Method::POST => Wanted::Write {
                kind: Kind::CreateInOrder(self.written(key)),
                brief,
            },
            Method::DELETE => Wanted::Write {
                kind: self.delete(key),
                brief,
            },
            _ if self.wait && !self.quorum => Wanted::Watch {
                key,
                recursive,
                stream,
                since: self.wait_index,
            },
            _ => Wanted::Get {
                key,
                recursive,
                quorum: self.quorum && *method == Method::GET,
            },
        }
    }

    fn put(self, key: Key) -> Kind {
        let condition = self.condition.clone();
        let conditional = self.is_conditional();
        match self.prev_exist {
            Some(false) => Kind::Create(self.written(key)),
            Some(true) if !conditional => Kind::Update(self.written(key)),
            Some(true) | None if conditional => Kind::CompareAndSwap(self.written(key), condition),
            Some(true) | None => Kind::Set(self.written(key)),
        }
    }

    fn delete(self, key: Key) -> Kind {
        if self.is_conditional() {
            return Kind::CompareAndDelete {
                key,
                condition: self.condition,
            };
        }
        Kind::Delete {
            key,
            dir: self.dir,
            recursive: self.recursive,
        }
    }

    fn is_conditional(&self) -> bool {
        self.condition.prev_value.is_some() || self.condition.prev_index > 0
    }

    fn written(self, key: Key) -> Put {
        Put {
            key,
            value: (&*self.value).into(),
            dir: self.dir,
            ttl: self.ttl,
            refresh: self.refresh,
        }
    }
}

/// Decimal digits only, up to the largest index.
fn number(text: Option<&[u8]>, code: u16, name: &str) -> Result<Option<u64>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    let digits = Some(text).filter(|text| !text.is_empty() && text.iter().all(u8::is_ascii_digit));
    digits
        .and_then(|digits| str::from_utf8(digits).ok()?.parse().ok())
        .map(Some)
        .ok_or_else(|| bad(code, format_args!("invalid value for \"{name}\"")))
}

fn quoted_bool(word: Option<&[u8]>, name: &str) -> Result<bool, StoreError> {
    match word {
        Some(word) => boolean(word, || format!("invalid value for \"{name}\"")),
        None => Ok(false),
    }
}

/// Go's words for true and false.
fn boolean(word: &[u8], cause: impl FnOnce() -> String) -> Result<bool, StoreError> {
    match word {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
        _ => Err(bad(code::INVALID_FIELD, cause())),
    }
}

fn bad_key(error: &KeyError) -> StoreError {
    bad(code::INVALID_FIELD, error)
}

/// An error of a parameter; these have no index.
pub(crate) fn bad(code: u16, cause: impl std::fmt::Display) -> StoreError {
    StoreError::new(code, cause, 0)
}

#[cfg(test)]
mod tests;
