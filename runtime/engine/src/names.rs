//! Names and ids of containers: checking, choosing, finding.

use std::collections::BTreeMap;

/// Why a reference names no single container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// Nothing has that id, name or id prefix.
    NotFound,
    /// So many ids begin with it.
    Ambiguous(usize),
}

/// Names in use, each with the id of its container.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_name: BTreeMap<String, String>,
}

impl Names {
    /// The id that holds a name.
    pub(crate) fn holder(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// Takes a name; the caller has seen that nobody holds it.
    pub(crate) fn take(&mut self, name: &str, id: &str) {
        self.by_name.insert(name.to_owned(), id.to_owned());
    }

    /// Gives a name back.
    pub(crate) fn release(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// A free name of two words, made from random bits; a digit is added when the words are taken.
    pub(crate) fn choose(&self, random: u64) -> String {
        let words = u64::try_from(ADJECTIVES.len() * NOUNS.len()).unwrap_or(1);
        let pick = usize::try_from(random % words).unwrap_or(0);
        let name = format!(
            "{}_{}",
            ADJECTIVES[pick % ADJECTIVES.len()],
            NOUNS[pick / ADJECTIVES.len()]
        );
        if !self.by_name.contains_key(&name) {
            return name;
        }
        (0u64..)
            .map(|digit| format!("{name}{digit}"))
            .find(|name| !self.by_name.contains_key(name))
            .unwrap_or(name)
    }

    /// The id that a reference means: full id, then name, then a unique id prefix.
    pub(crate) fn find<'a>(
        &'a self,
        reference: &str,
        mut ids: impl Iterator<Item = &'a String> + Clone,
    ) -> Result<&'a str, LookupError> {
        if is_full_id(reference)
            && let Some(id) = ids.clone().find(|id| id.as_str() == reference)
        {
            return Ok(id);
        }
        if let Some(id) = self.holder(reference.strip_prefix('/').unwrap_or(reference)) {
            return Ok(id);
        }
        if reference.is_empty() {
            return Err(LookupError::NotFound);
        }
        let mut matching = ids.by_ref().filter(|id| id.starts_with(reference));
        match (matching.next(), matching.count()) {
            (None, _) => Err(LookupError::NotFound),
            (Some(id), 0) => Ok(id),
            (Some(_), more) => Err(LookupError::Ambiguous(more + 1)),
        }
    }
}

fn is_full_id(reference: &str) -> bool {
    reference.len() == 64
        && reference
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether a container may have this name (without its slash): two characters at least.
pub(crate) fn is_valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() >= 2
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// 64 hexadecimal digits from 32 random bytes.
pub(crate) fn id_from(random: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    random.iter().fold(String::with_capacity(64), |mut id, byte| {
        write!(id, "{byte:02x}").expect("a string takes every write");
        id
    })
}

const ADJECTIVES: [&str; 24] = [
    "agile", "amber", "brave", "brisk", "calm", "clever", "crisp", "eager", "fair", "fond", "gentle",
    "jolly", "keen", "lucid", "mellow", "nimble", "patient", "quiet", "rapid", "sturdy", "tidy", "vivid",
    "warm", "witty",
];

const NOUNS: [&str; 24] = [
    "anchor", "beacon", "buoy", "capstan", "clipper", "compass", "cutter", "dinghy", "ferry", "galley",
    "harbour", "jetty", "keel", "ketch", "lantern", "mooring", "pilot", "quay", "rudder", "sextant", "skiff",
    "sloop", "tiller", "wharf",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names() {
        for name in ["ab", "a1", "9x", "web_1.2-3"] {
            assert!(is_valid(name), "{name}");
        }
        for name in ["", "a", "_a", ".a", "-a", "a b", "a/b", "ä1", "/web"] {
            assert!(!is_valid(name), "{name}");
        }
    }

    #[test]
    fn references() {
        let ids = [id_from(&[0xaa; 32]), id_from(&[0xab; 32]), id_from(&[0xcc; 32])];
        let mut names = Names::default();
        names.take("web", &ids[0]);
        names.take("cc", &ids[1]);
        let find = |reference: &str| names.find(reference, ids.iter()).map(ToOwned::to_owned);
        assert_eq!(find("web"), Ok(ids[0].clone()));
        assert_eq!(find("/web"), Ok(ids[0].clone()));
        assert_eq!(find(&ids[2]), Ok(ids[2].clone()));
        assert_eq!(find("cc"), Ok(ids[1].clone()), "a name beats a prefix");
        assert_eq!(find("ccc"), Ok(ids[2].clone()));
        assert_eq!(find("a"), Err(LookupError::Ambiguous(2)));
        assert_eq!(find("f"), Err(LookupError::NotFound));
        assert_eq!(find(""), Err(LookupError::NotFound));
    }

    #[test]
    fn chosen_names_are_valid_and_free() {
        let mut names = Names::default();
        for _ in 0..3 {
            let name = names.choose(5);
            assert!(is_valid(&name));
            assert_eq!(names.holder(&name), None);
            names.take(&name, "x");
        }
    }
}
