//! The `filters` parameter: JSON in either of its two shapes, and how values match.

use std::collections::{BTreeMap, BTreeSet};

/// Filters by key. Values of one key are alternatives, except labels, which must all be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    by_key: BTreeMap<String, BTreeSet<String>>,
}

/// Why filters are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// Not JSON of either shape.
    #[error("invalid filters: not an object of lists or of objects")]
    Shape,
    /// A key that this list does not know.
    #[error("Invalid filter '{0}'")]
    Key(String),
    /// A state of health that there is not.
    #[error("Unrecognised filter value for health: {0}")]
    Health(String),
    /// Neither yes nor no.
    #[error("Invalid filter '{0}=[{1}]'")]
    Flag(String, String),
    /// A value that the key does not take.
    #[error("Invalid filter '{0}={1}'")]
    Value(String, String),
}

impl Filters {
    /// Reads the parameter; `allowed` are the keys that the list at hand knows.
    pub(crate) fn parse(text: &str, allowed: &[&str]) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| FilterError::Shape)?;
        if value.is_null() {
            return Ok(Self::default());
        }
        let object = value.as_object().ok_or(FilterError::Shape)?;
        let mut by_key = BTreeMap::new();
        for (key, value) in object {
            if !allowed.contains(&key.as_str()) {
                return Err(FilterError::Key(key.clone()));
            }
            by_key.insert(key.clone(), values(value)?);
        }
        Ok(Self { by_key })
    }

    /// The values of a key; an absent key and a key without values are the same.
    pub(crate) fn values(&self, key: &str) -> Option<&BTreeSet<String>> {
        self.by_key.get(key).filter(|values| !values.is_empty())
    }

    /// Refuses values of a key that are neither yes nor no.
    pub(crate) fn check_flag(&self, key: &str) -> Result<(), FilterError> {
        let mut values = self.values(key).into_iter().flatten();
        match values.find(|value| !["true", "1", "false", "0"].contains(&value.as_str())) {
            Some(value) => Err(FilterError::Flag(key.to_owned(), value.clone())),
            None => Ok(()),
        }
    }

    /// True when the key is absent or one of its values satisfies the test.
    pub(crate) fn any(&self, key: &str, test: impl FnMut(&String) -> bool) -> bool {
        self.values(key).is_none_or(|values| values.iter().any(test))
    }

    /// True when none of the `label!` values (`k` or `k=v`) is among the labels.
    pub(crate) fn without_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.values("label!").is_none_or(|values| {
            !values.iter().any(|unwanted| match unwanted.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
                None => labels.contains_key(unwanted),
            })
        })
    }

    /// True when every `label` value (`k` or `k=v`) is among the labels.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.values("label").is_none_or(|values| {
            values.iter().all(|wanted| match wanted.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
                None => labels.contains_key(wanted),
            })
        })
    }
}

fn values(value: &serde_json::Value) -> Result<BTreeSet<String>, FilterError> {
    match value {
        serde_json::Value::Array(list) => list
            .iter()
            .map(|item| item.as_str().map(ToOwned::to_owned).ok_or(FilterError::Shape))
            .collect(),
        serde_json::Value::Object(map) => Ok(map
            .iter()
            .filter(|(_, on)| on.as_bool().unwrap_or(true))
            .map(|(item, _)| item.clone())
            .collect()),
        serde_json::Value::Null => Ok(BTreeSet::new()),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => {
            Err(FilterError::Shape)
        }
    }
}

/// Matches a name as clients write patterns: part of the name, `^` and `$` as anchors, tried with a slash in front too.
pub(crate) fn name_matches(pattern: &str, name: &str) -> bool {
    let (start, rest) = pattern
        .strip_prefix('^')
        .map_or((false, pattern), |rest| (true, rest));
    let (end, text) = rest.strip_suffix('$').map_or((false, rest), |rest| (true, rest));
    [name.to_owned(), format!("/{name}")]
        .iter()
        .any(|name| match (start, end) {
            (true, true) => name == text,
            (true, false) => name.starts_with(text),
            (false, true) => name.ends_with(text),
            (false, false) => name.contains(text),
        })
}

/// Matches a shell pattern of `*`, `?` and plain characters; a star does not cross a slash.
pub(crate) fn glob_matches(pattern: &str, text: &str) -> bool {
    glob(pattern.as_bytes(), text.as_bytes())
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // The position to come back to after the last star, so that matching stays quadratic at worst.
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(b'?') if text[read] != b'/' => (at, read) = (at + 1, read + 1),
            Some(byte) if *byte == text[read] => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((back, from)) if text[from] != b'/' => {
                    star = Some((back, from + 1));
                    (at, read) = (back + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read() {
        let map = Filters::parse(r#"{"label":{"a=b":true,"off":false}}"#, &["label"]).expect("map");
        let list = Filters::parse(r#"{"label":["a=b"]}"#, &["label"]).expect("list");
        assert_eq!(map, list);
        assert_eq!(Filters::parse("", &[]), Ok(Filters::default()));
        assert_eq!(
            Filters::parse(r#"{"foo":["x"]}"#, &["label"]),
            Err(FilterError::Key("foo".into()))
        );
        assert_eq!(Filters::parse("[]", &["label"]), Err(FilterError::Shape));
        assert_eq!(Filters::parse("{", &["label"]), Err(FilterError::Shape));
    }

    #[test]
    fn labels_are_all_needed() {
        let filters = Filters::parse(r#"{"label":["a=b","c"]}"#, &["label"]).expect("filters");
        let labels = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert!(filters.labels(&labels(&[("a", "b"), ("c", "")])));
        assert!(!filters.labels(&labels(&[("a", "b")])));
        assert!(!filters.labels(&labels(&[("a", "x"), ("c", "")])));
    }

    #[test]
    fn names_and_patterns() {
        for pattern in ["web", "^web$", "^/web$", "w", "^w", "b$", "/web"] {
            assert!(name_matches(pattern, "web"), "{pattern}");
        }
        for pattern in ["^eb", "we$", "x"] {
            assert!(!name_matches(pattern, "web"), "{pattern}");
        }
        assert!(glob_matches("app:*", "app:latest"));
        assert!(glob_matches("a?p*", "app"));
        assert!(glob_matches("*/app", "berth/app"));
        assert!(!glob_matches("*", "berth/app"));
        assert!(!glob_matches("app", "apple"));
        assert!(glob_matches("*a*b*", "xaybz"));
    }
}
