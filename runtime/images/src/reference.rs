//! Names of images: `[registry/]repository[:tag]`, brought into one form.

use std::fmt;

const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";

/// The limits of the registry protocol, in bytes.
const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// A name with this many hexadecimal digits is an id.
const ID_DIGITS: usize = 64;

/// The full name of an image. Two spellings of the same name are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: String,
}

/// Why a name is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format: {0:?}")]
    Format(String),
    /// It has upper case letters in the repository.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Case(String),
    /// It looks like an id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Hexadecimal(String),
    /// It is too long.
    #[error("invalid reference format: a name has {NAME_LIMIT} characters at most")]
    Length,
    /// It names content by its digest.
    #[error("image reference {0:?}: digests are not supported yet")]
    Digest(String),
}

impl Reference {
    /// Reads a name; what is left out is filled in.
    ///
    /// # Errors
    /// When the text is not a name.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.contains('@') {
            return Err(ReferenceError::Digest(text.to_owned()));
        }
        let format = || ReferenceError::Format(text.to_owned());
        // A colon before the last slash belongs to the port of a registry.
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, DEFAULT_TAG),
        };
        if !is_tag(tag) {
            return Err(format());
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        if registry == DEFAULT_REGISTRY && path.len() == ID_DIGITS && path.bytes().all(is_hexadecimal) {
            return Err(ReferenceError::Hexadecimal(path.to_owned()));
        }
        let registry = if registry == LEGACY_REGISTRY {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{DEFAULT_NAMESPACE}/{path}")
        } else {
            path.to_owned()
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase())
            && is_repository(&repository.to_ascii_lowercase())
        {
            return Err(ReferenceError::Case(repository));
        }
        if !is_repository(&repository) {
            return Err(format());
        }
        if registry.len() + 1 + repository.len() > NAME_LIMIT {
            return Err(ReferenceError::Length);
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.to_owned(),
        })
    }

    /// The form for people: without what would be filled in, but always with the tag.
    #[must_use]
    pub fn familiar(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.to_string();
        }
        let short = self
            .repository
            .strip_prefix("library/")
            .filter(|rest| !rest.contains('/'));
        format!("{}:{}", short.unwrap_or(&self.repository), self.tag)
    }

    /// Registry and repository: what all tags of a repository have in common.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

/// The first part of a name is a registry when it could not be a repository.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let valid_port =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let valid_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let meant = port.is_some() || host.contains('.') || host == "localhost";
    meant && valid_port && host.split('.').all(valid_label)
}

fn is_repository(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// Words of small letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = text
        .as_bytes()
        .split(|byte| is_word(*byte))
        .filter(|part| !part.is_empty());
    let valid = |part: &[u8]| matches!(part, b"." | b"_" | b"__") || part.iter().all(|byte| *byte == b'-');
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(is_word)
        && bytes.last().copied().is_some_and(is_word)
        && separators.into_iter().all(valid)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=TAG_LIMIT).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// A digit of an id.
pub(crate) fn is_hexadecimal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::Reference;

    /// What is written, how it is kept, how it is shown.
    const NAMES: &str = "
        app                          docker.io/library/app:latest          app:latest
        app:1.0                      docker.io/library/app:1.0             app:1.0
        docker.io/library/app        docker.io/library/app:latest          app:latest
        docker.io/app:2              docker.io/library/app:2               app:2
        index.docker.io/me/app       docker.io/me/app:latest               me/app:latest
        berth/hello:latest           docker.io/berth/hello:latest          berth/hello:latest
        docker.io/berth/hello        docker.io/berth/hello:latest          berth/hello:latest
        library/app                  docker.io/library/app:latest          app:latest
        localhost/app                localhost/app:latest                  localhost/app:latest
        localhost:5000/a/b:v1        localhost:5000/a/b:v1                 localhost:5000/a/b:v1
        registry.example.org/a       registry.example.org/a:latest         registry.example.org/a:latest
        a--b__c.d_e                  docker.io/library/a--b__c.d_e:latest  a--b__c.d_e:latest
    ";

    #[test]
    fn all_spellings_of_a_name_are_one() {
        for line in NAMES.lines().filter(|line| !line.trim().is_empty()) {
            let columns: Vec<_> = line.split_whitespace().collect();
            let reference = Reference::parse(columns[0]).unwrap();
            assert_eq!(reference.to_string(), columns[1]);
            assert_eq!(reference.familiar(), columns[2]);
            for spelling in &columns[1..] {
                assert_eq!(Reference::parse(spelling).as_ref(), Ok(&reference));
            }
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        let long = "a".repeat(300);
        let refused = [
            ("", "invalid reference format: \"\""),
            (
                "App",
                "invalid reference format: repository name (library/App) must be lowercase",
            ),
            ("app:", "invalid reference format: \"app:\""),
            ("app:a b", "invalid reference format: \"app:a b\""),
            ("app:.x", "invalid reference format: \"app:.x\""),
            ("-app", "invalid reference format: \"-app\""),
            ("a..b", "invalid reference format: \"a..b\""),
            ("../../etc", "invalid reference format: \"../../etc\""),
            ("/app", "invalid reference format: \"/app\""),
            ("a//b", "invalid reference format: \"a//b\""),
            ("a\0b", "invalid reference format: \"a\\0b\""),
            ("localhost:x/app", "invalid reference format: \"localhost:x/app\""),
            (
                "app@sha256:00",
                "image reference \"app@sha256:00\": digests are not supported yet",
            ),
            (
                &long,
                "invalid reference format: a name has 255 characters at most",
            ),
            (
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "invalid repository name (0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef), cannot specify 64-byte hexadecimal strings",
            ),
        ];
        for (text, message) in refused {
            assert_eq!(Reference::parse(text).unwrap_err().to_string(), message);
        }
    }
}
