//! Query parameters as Docker's clients write them.

use percent_encoding::percent_decode_str;

/// The parameters of a request in their order; keys may repeat.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads a query. A parameter without `=` has an empty value.
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key), decode(value))
            })
            .collect();
        Self { pairs }
    }

    /// The first value of a key, or an empty string.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.given(key).unwrap_or("")
    }

    /// The first value of a key if there is one.
    pub(crate) fn given(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(found, _)| found == key)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.pairs
            .iter()
            .filter(|(found, _)| found == key)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Docker's reading of a boolean: a few words are false, everything else is true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let value = self.text(key).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let params = Params::parse("a=1&b=False&c=True&d&e=x%2Fy+z&n=1&n=2&none=none");
        assert!(params.flag("a") && params.flag("c"));
        assert!(!params.flag("b") && !params.flag("d") && !params.flag("none") && !params.flag("absent"));
        assert_eq!(params.text("e"), "x/y z");
        assert_eq!(params.all("n"), ["1", "2"]);
        assert_eq!(params.given("d"), Some(""));
        assert_eq!(params.given("absent"), None);
    }
}
