//! Files of containers: what is at a path, archives out of it and into it, changes, and images made of containers.

use berth_wire::docker::{FileChange, IdResponse, PathStat};
use http::Method;
use tokio::io::AsyncRead;

use super::{API, EngineClient, document, escape, refuse};
use crate::error::SdkError;
use crate::etcd::Query;
use crate::streams::ArchiveStream;
use crate::transport::Call;

/// The header that tells what is at a path: a document in base64.
const STAT: &str = "x-docker-container-path-stat";

/// How a container becomes an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOptions {
    /// The image's name without its tag.
    pub repository: Option<String>,
    /// The tag; `latest` unless given.
    pub tag: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// Settings in the words of a Dockerfile.
    pub changes: Vec<String>,
    /// Whether the container is paused meanwhile.
    pub pause: bool,
}

impl EngineClient {
    /// What is at a path of a container; `None` when nothing is.
    ///
    /// # Errors
    /// As every request.
    pub async fn stat(&self, container: &str, path: &str) -> Result<Option<PathStat>, SdkError> {
        let answer = self
            .transport
            .send(Call::new(Method::HEAD, archive_path(container, path, &[])))
            .await?;
        let header = answer.headers.get(STAT).and_then(|value| value.to_str().ok());
        match header {
            Some(text) => {
                let bytes = base64(text).ok_or_else(|| self.transport.unexpected(&answer))?;
                let stat = serde_json::from_slice(&bytes);
                stat.map(Some).map_err(|_| self.transport.unexpected(&answer))
            }
            // An answer to HEAD has no words; that the container is there is for the caller to know.
            None if answer.status == http::StatusCode::NOT_FOUND => Ok(None),
            None => {
                refuse(&self.transport, &answer)?;
                Err(self.transport.unexpected(&answer))
            }
        }
    }

    /// A tar archive of what is at a path of a container.
    ///
    /// # Errors
    /// As every request; 404 when nothing is there.
    pub async fn archive(&self, container: &str, path: &str) -> Result<ArchiveStream, SdkError> {
        let call = Call::new(Method::GET, archive_path(container, path, &[]));
        self.stream(call).await.map(ArchiveStream::new)
    }

    /// Unpacks a tar archive into a directory of a container. A file takes no directory's place, nor the reverse. With
    /// `own` everything belongs to the container's user.
    ///
    /// # Errors
    /// As every request; [`SdkError::Input`] when the archive cannot be read.
    pub async fn put_archive<R>(
        &self,
        container: &str,
        path: &str,
        own: bool,
        archive: R,
    ) -> Result<(), SdkError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let mut more = vec!["noOverwriteDirNonDir"];
        if own {
            more.push("copyUIDGID");
        }
        let call = Call::new(Method::PUT, archive_path(container, path, &more));
        let answer = self.send_archive(call, archive).await?;
        refuse(&self.transport, &answer)
    }

    /// A tar archive of all files of a container.
    ///
    /// # Errors
    /// As every request.
    pub async fn export(&self, container: &str) -> Result<ArchiveStream, SdkError> {
        let path = format!("{API}/containers/{}/export", escape(container));
        self.stream(Call::new(Method::GET, path))
            .await
            .map(ArchiveStream::new)
    }

    /// What a container changed of its image's files.
    ///
    /// # Errors
    /// As every request.
    pub async fn changes(&self, container: &str) -> Result<Vec<FileChange>, SdkError> {
        let path = format!("/containers/{}/changes", escape(container));
        let changes: Option<Vec<FileChange>> = self.get(&path, &Query::new()).await?;
        Ok(changes.unwrap_or_default())
    }

    /// Makes an image of a container, and gives its id.
    ///
    /// # Errors
    /// As every request.
    pub async fn commit(&self, container: &str, options: &CommitOptions) -> Result<String, SdkError> {
        let mut query = Query::new();
        query.pair("container", container);
        query.optional("repo", options.repository.as_deref());
        query.optional("tag", options.tag.as_deref());
        query.optional("author", options.author.as_deref());
        query.optional("comment", options.comment.as_deref());
        for change in &options.changes {
            query.pair("changes", change);
        }
        if !options.pause {
            query.pair("pause", "0");
        }
        let call = Call::new(Method::POST, query.onto(&format!("{API}/commit")));
        let answer = self.transport.send(call.body("application/json", "{}")).await?;
        refuse(&self.transport, &answer)?;
        let made: IdResponse = document(&self.transport, &answer)?;
        Ok(made.id)
    }
}

fn archive_path(container: &str, path: &str, flags: &[&str]) -> String {
    let mut query = Query::new();
    query.pair("path", path);
    for flag in flags {
        query.flag(flag, true);
    }
    query.onto(&format!("{API}/containers/{}/archive", escape(container)))
}

/// The bytes of a text in base64 with padding (RFC 4648, section 4); `None` when it is none.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut gathered, mut bits) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        gathered = (gathered << 6 | u32::from(value)) & 0xfff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(gathered >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (coded, plain) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg==", Some("foob")),
            ("Zm9", None),
            ("Zm9v====", None),
            ("Zm9*", None),
            ("=m9v", None),
        ] {
            let wanted = plain.map(|text| text.as_bytes().to_vec());
            assert_eq!(base64(coded), wanted, "{coded}");
        }
        assert_eq!(base64("//77"), Some(vec![0xff, 0xfe, 0xfb]));
    }
}
