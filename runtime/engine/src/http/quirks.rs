//! What requests of API 1.18 and older say elsewhere, or not at all. Pure.

use serde_json::{Map, Value};

/// Settings that stood at the top level of a create request once, and where they are now.
const MOVED: [(&str, &str); 6] = [
    ("Memory", "Memory"),
    ("MemorySwap", "MemorySwap"),
    ("CpuShares", "CpuShares"),
    ("Cpuset", "CpusetCpus"),
    ("CpusetCpus", "CpusetCpus"),
    ("VolumeDriver", "VolumeDriver"),
];

/// Brings what stands at the top level into the host's part, unless that says something itself.
pub(super) fn moved(mut request: Value) -> Value {
    let Value::Object(top) = &mut request else {
        return request;
    };
    let found: Vec<(&str, Value)> = MOVED
        .into_iter()
        .filter_map(|(old, new)| Some((new, top.get(old).filter(|value| says(value))?.clone())))
        .collect();
    if found.is_empty() {
        return request;
    }
    let host = top.entry("HostConfig").or_insert(Value::Null);
    if host.is_null() {
        *host = Value::Object(Map::new());
    }
    if let Value::Object(host) = host {
        for (name, value) in found {
            if !host.get(name).is_some_and(says) {
                host.insert(name.to_owned(), value);
            }
        }
    }
    request
}

/// The members of a document that say something.
pub(super) fn said(document: Map<String, Value>) -> Map<String, Value> {
    document.into_iter().filter(|(_, value)| says(value)).collect()
}

/// Null, zero and everything empty mean that nothing is said.
fn says(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_old_come_to_their_place() {
        for (request, wanted) in [
            (
                r#"{"Image":"a","Memory":5,"Cpuset":"0,1"}"#,
                r#"{"CpusetCpus":"0,1","Memory":5}"#,
            ),
            (
                r#"{"Memory":5,"CpuShares":0,"HostConfig":{"Memory":7}}"#,
                r#"{"Memory":7}"#,
            ),
            (r#"{"Memory":5,"HostConfig":null}"#, r#"{"Memory":5}"#),
            (r#"{"Memory":0}"#, "null"),
            (r#"[1]"#, "null"),
            (r#"{"Memory":5,"HostConfig":"x"}"#, r#""x""#),
        ] {
            let request = serde_json::from_str(request).expect("a document");
            let host = moved(request).get("HostConfig").cloned().unwrap_or(Value::Null);
            assert_eq!(host.to_string(), wanted);
        }
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let text = r#"{"Binds":null,"Dns":[],"Privileged":false,"Memory":0,"Links":["a:b"],"Tmpfs":{}}"#;
        let left = said(serde_json::from_str(text).expect("a document"));
        assert_eq!(Value::Object(left).to_string(), r#"{"Links":["a:b"]}"#);
    }
}
