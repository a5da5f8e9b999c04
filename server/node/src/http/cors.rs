//! Which web pages may read answers: the headers of cross-origin requests, as etcd sends them.

use http::{HeaderMap, HeaderValue, header};

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");

/// The origins that are let in.
#[derive(Debug, Default)]
pub(crate) struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
}

impl Cors {
    pub(crate) fn new(origins: &[String]) -> Cors {
        let trimmed = || origins.iter().map(|origin| origin.trim());
        Cors {
            any: trimmed().any(|origin| origin == "*"),
            // No client can send an origin that is not a header's value.
            origins: trimmed()
                .filter(|origin| !origin.is_empty())
                .filter_map(|origin| HeaderValue::from_str(origin).ok())
                .collect(),
        }
    }

    /// The origin to name in the answer to a request; none if its page may not read it. With `*` every answer names it,
    /// also one that no page asked for.
    pub(crate) fn origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        if self.origins.is_empty() {
            return None;
        }
        let origin = request.get(header::ORIGIN)?;
        self.origins.contains(origin).then(|| origin.clone())
    }

    /// Lets the pages of an origin read an answer.
    pub(crate) fn mark(answer: &mut HeaderMap, origin: HeaderValue) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    }
}

#[cfg(test)]
mod tests {
    use super::Cors;
    use http::{HeaderMap, HeaderValue, header};

    #[test]
    fn origins_are_compared_as_a_whole() {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for (origins, asked, named) in [
            ("", Some("http://a"), None),
            ("*", None, Some("*")),
            ("http://b, *", Some("http://a"), Some("*")),
            ("http://a", None, None),
            ("http://b, http://a ", Some("http://a"), Some("http://a")),
            ("http://a", Some("http://a:80"), None),
            ("http://a", Some("https://a"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert(header::ORIGIN, HeaderValue::from_static(asked));
            }
            let origin = Cors::new(&list(origins)).origin(&headers);
            assert_eq!(origin, named.map(HeaderValue::from_static), "{origins} {asked:?}");
        }
    }
}
