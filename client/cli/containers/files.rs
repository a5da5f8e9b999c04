//! cp, diff, export, commit: files of containers.

use std::io::Write;
use std::path::{Path, PathBuf};

use berth_sdk::{ArchiveStream, CommitOptions, EngineClient, Packing, Unpack};
use berth_wire::docker::PathStat;
use serde_json::json;

use super::client;
use crate::args::{CommitArgs, CpArgs, DiffArgs, ExportContainerArgs, Global, Output};
use crate::exit::{Failure, Outcome};
use crate::terminal::{print, print_line};

/// Go's bits for kinds of files in a mode.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;

/// One side of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// A tar archive on standard input or output.
    Stream,
    Here(&'a str),
    Container(&'a str, &'a str),
}

impl<'a> Place<'a> {
    /// As docker reads it: a colon behind a name without slashes makes it one of a container.
    fn read(text: &'a str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Stream,
            Some((name, path)) if !name.is_empty() && !name.contains('/') && !text.starts_with('.') => {
                Self::Container(name, path)
            }
            _ => Self::Here(text),
        }
    }
}

pub(crate) async fn copy(global: &Global, args: CpArgs) -> Outcome {
    let client = client(global)?;
    match (Place::read(&args.from), Place::read(&args.to)) {
        (Place::Container(name, path), Place::Stream) => {
            to_stdout(client.archive(name, path).await?).await?;
        }
        (Place::Container(name, path), Place::Here(target)) => {
            from_container(&client, (name, path), target, &args).await?;
        }
        (Place::Stream, Place::Container(name, path)) => {
            client
                .put_archive(name, path, args.archive, tokio::io::stdin())
                .await?;
        }
        (Place::Here(source), Place::Container(name, path)) => {
            to_container(&client, source, (name, path), &args).await?;
        }
        (Place::Container(..), Place::Container(..)) => {
            return Err(Failure::usage(
                "copying between containers is not supported".to_owned(),
            ));
        }
        (Place::Stream | Place::Here(_), Place::Stream | Place::Here(_)) => {
            return Err(Failure::usage(
                "must specify at least one container source".to_owned(),
            ));
        }
    }
    Ok(0)
}

/// Directory and last name of a path.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => (".", path),
    }
}

fn wrong(text: String) -> Failure {
    Failure::usage(text)
}

/// Whether a directory's contents are meant, and not itself.
fn contents(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

async fn from_container(
    client: &EngineClient,
    (name, path): (&str, &str),
    target: &str,
    args: &CpArgs,
) -> Result<(), Failure> {
    let mut path = path.to_owned();
    let mut stat = there(client, name, &path).await?;
    if args.follow_link && stat.mode & SYMLINK != 0 {
        path = stat.link_target;
        stat = there(client, name, &path).await?;
    }
    let directory = stat.mode & DIRECTORY != 0;
    let here = Path::new(target);
    let found = std::fs::metadata(here).ok();
    let unpack = match found {
        Some(found) if found.is_dir() => Unpack {
            into: here.to_owned(),
            rename: None,
            owners: args.archive,
        },
        Some(_) if directory => {
            return Err(wrong(format!("cannot copy a directory onto the file {target}")));
        }
        None if target.ends_with('/') && !directory => {
            return Err(wrong(format!("the directory {target} does not exist")));
        }
        Some(_) | None => {
            let (parent, wanted) = split(target);
            // The archive of `dir/.` has its names below a dot.
            let inside = if contents(&path) { "." } else { stat.name.as_str() };
            Unpack {
                into: PathBuf::from(parent),
                rename: Some((inside.to_owned(), wanted.to_owned())),
                owners: args.archive,
            }
        }
    };
    if unpack.rename.as_ref().is_some_and(|(inside, _)| inside == ".") {
        // A new directory takes the contents.
        std::fs::create_dir(here)?;
        let into = Unpack {
            into: here.to_owned(),
            rename: None,
            owners: args.archive,
        };
        return Ok(into.run(client.archive(name, &path).await?).await?);
    }
    Ok(unpack.run(client.archive(name, &path).await?).await?)
}

async fn there(client: &EngineClient, name: &str, path: &str) -> Result<PathStat, Failure> {
    match client.stat(name, path).await? {
        Some(stat) => Ok(stat),
        None => {
            // Tells a container that is not there from a path that is not.
            client.inspect(name).await?;
            Err(wrong(format!("{name}:{path}: no such file or directory")))
        }
    }
}

async fn to_container(
    client: &EngineClient,
    source: &str,
    (name, path): (&str, &str),
    args: &CpArgs,
) -> Result<(), Failure> {
    let here = if args.follow_link {
        std::fs::canonicalize(source)
    } else {
        std::path::absolute(source)
    };
    let here = here.map_err(|error| wrong(format!("{source}: {error}")))?;
    let kind = std::fs::symlink_metadata(&here).map_err(|error| wrong(format!("{source}: {error}")))?;
    let mut path = path.to_owned();
    let mut stat = client.stat(name, &path).await?;
    if let Some(link) = stat.as_ref().filter(|stat| stat.mode & SYMLINK != 0) {
        path.clone_from(&link.link_target);
        stat = client.stat(name, &path).await?;
    }
    if stat.is_none() {
        client.inspect(name).await?;
    }
    let (own_name, _) = (split(source).1.to_owned(), ());
    let (into, inside) = match stat {
        Some(stat) if stat.mode & DIRECTORY != 0 && contents(source) => (path, ".".to_owned()),
        Some(stat) if stat.mode & DIRECTORY != 0 => {
            let real = here.file_name().map(|name| name.to_string_lossy().into_owned());
            let real = if args.follow_link { Some(own_name) } else { real };
            (path, real.unwrap_or_else(|| ".".to_owned()))
        }
        Some(_) if kind.is_dir() => {
            return Err(wrong(format!(
                "cannot copy a directory onto the file {name}:{path}"
            )));
        }
        None if path.ends_with('/') && !kind.is_dir() => {
            return Err(wrong(format!("the directory {name}:{path} does not exist")));
        }
        Some(_) | None => {
            let (parent, wanted) = split(&path);
            let parent = if path.starts_with('/') || parent != "." {
                parent
            } else {
                "/"
            };
            (parent.to_owned(), wanted.to_owned())
        }
    };
    let (reader, packed) = Packing::begin(here, inside)?.parts();
    client.put_archive(name, &into, args.archive, reader).await?;
    packed.await??;
    Ok(())
}

async fn to_stdout(mut archive: ArchiveStream) -> Result<(), Failure> {
    while let Some(bytes) = archive.next().await? {
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()?;
    }
    Ok(())
}

pub(crate) async fn diff(global: &Global, args: DiffArgs) -> Outcome {
    let changes = client(global)?.changes(&args.container).await?;
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&changes)?)?,
        Output::Text => {
            let mut text = String::new();
            for change in &changes {
                let letter = match change.kind {
                    0 => 'C',
                    1 => 'A',
                    _ => 'D',
                };
                text.push_str(&format!("{letter} {}\n", change.path));
            }
            print(&text)?;
        }
    }
    Ok(0)
}

pub(crate) async fn export(global: &Global, args: ExportContainerArgs) -> Outcome {
    let client = client(global)?;
    let Some(file) = &args.file else {
        to_stdout(client.export(&args.container).await?).await?;
        return Ok(0);
    };
    let mut archive = client.export(&args.container).await?;
    let mut out =
        std::fs::File::create(file).map_err(|error| wrong(format!("{}: {error}", file.display())))?;
    while let Some(bytes) = archive.next().await? {
        out.write_all(&bytes)?;
    }
    Ok(0)
}

pub(crate) async fn commit(global: &Global, args: CommitArgs) -> Outcome {
    let (repository, tag) = match &args.reference {
        None => (None, None),
        Some(reference) => {
            let (repository, tag) = name_and_tag(reference);
            (Some(repository), tag)
        }
    };
    let options = CommitOptions {
        repository,
        tag,
        author: args.author,
        comment: args.message,
        changes: args.change,
        pause: args.pause,
    };
    let id = client(global)?.commit(&args.container, &options).await?;
    match global.output {
        Output::Json => print_line(&json!({ "Id": id }).to_string())?,
        Output::Text => print_line(&id)?,
    }
    Ok(0)
}

/// A port of a registry has a colon, too, but a slash follows it.
pub(crate) fn name_and_tag(reference: &str) -> (String, Option<String>) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), Some(tag.to_owned())),
        _ => (reference.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_names() {
        for (text, wanted) in [
            ("-", Place::Stream),
            ("web:/etc", Place::Container("web", "/etc")),
            ("web:x:y", Place::Container("web", "x:y")),
            ("./web:/etc", Place::Here("./web:/etc")),
            ("/a:b", Place::Here("/a:b")),
            ("a/b:c", Place::Here("a/b:c")),
            (":x", Place::Here(":x")),
            ("file", Place::Here("file")),
        ] {
            assert_eq!(Place::read(text), wanted, "{text}");
        }
        for (path, wanted) in [
            ("/a/b", ("/a", "b")),
            ("/a", ("/", "a")),
            ("a", (".", "a")),
            ("a/b/", ("a", "b")),
        ] {
            assert_eq!(split(path), wanted, "{path}");
        }
        assert_eq!(name_and_tag("r:5000/a"), ("r:5000/a".to_owned(), None));
        assert_eq!(name_and_tag("a:1"), ("a".to_owned(), Some("1".to_owned())));
    }
}
