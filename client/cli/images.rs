//! images, import, rmi.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use berth_sdk::ImportOptions;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::io::{AsyncRead, ReadBuf};

use crate::args::{Global, ImagesArgs, ImportArgs, Output, RmiArgs, TagArgs};
use crate::containers::files::name_and_tag;
use crate::containers::{client, now, width};
use crate::exit::{self, Failure, Outcome};
use crate::output;
use crate::terminal::{print, print_line, tell};

pub(crate) async fn images(global: &Global, args: ImagesArgs) -> Outcome {
    let filters: Vec<(String, String)> = args
        .reference
        .map(|reference| ("reference".to_owned(), reference))
        .into_iter()
        .collect();
    let rows = client(global)?.images(&filters).await?;
    let width = width(args.no_trunc);
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&rows)?)?,
        Output::Text if args.quiet => {
            for row in &rows {
                print_line(&output::id(&row.id, width))?;
            }
        }
        Output::Text => print(&output::images(&rows, width, now()))?,
    }
    Ok(0)
}

pub(crate) async fn import(global: &Global, args: ImportArgs) -> Outcome {
    let options = ImportOptions {
        reference: args.reference,
        changes: args.change,
        message: args.message,
    };
    let client = client(global)?;
    let progress = ProgressBar::no_length();
    let (archive, length): (Box<dyn AsyncRead + Send + Unpin>, Option<u64>) = if args.archive
        == Path::new("-")
    {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let file = tokio::fs::File::open(&args.archive).await;
        let file = file.map_err(|error| Failure::usage(format!("{}: {error}", args.archive.display())))?;
        let length = file.metadata().await?.len();
        (Box::new(file), Some(length))
    };
    // Drawn only where standard error is a terminal.
    if let Some(length) = length {
        progress.set_length(length);
        progress.set_style(ProgressStyle::with_template(
            "importing {wide_bar} {bytes}/{total_bytes}",
        )?);
    } else {
        progress.set_style(ProgressStyle::with_template("importing {spinner} {bytes}")?);
    }
    let counted = Counted {
        archive,
        progress: progress.clone(),
    };
    let imported = client.import(counted, &options).await;
    progress.finish_and_clear();
    let id = imported?;
    match global.output {
        Output::Json => print_line(&json!({ "Id": id }).to_string())?,
        Output::Text => print_line(&id)?,
    }
    Ok(0)
}

/// An archive that tells how far it was read.
struct Counted {
    archive: Box<dyn AsyncRead + Send + Unpin>,
    progress: ProgressBar,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.archive).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        self.progress.inc(count as u64);
        read
    }
}

pub(crate) async fn remove(global: &Global, args: RmiArgs) -> Outcome {
    let client = client(global)?;
    let mut code = 0;
    for image in &args.images {
        match client.remove_image(image, args.force).await {
            Ok(items) => match global.output {
                Output::Json => print_line(&serde_json::to_string(&items)?)?,
                Output::Text => {
                    for item in items {
                        let lines = [("Untagged", item.untagged), ("Deleted", item.deleted)];
                        for (done, name) in lines.into_iter().filter_map(|(done, name)| Some((done, name?))) {
                            print_line(&format!("{done}: {name}"))?;
                        }
                    }
                }
            },
            Err(error) if error.is_connection() => return Err(error.into()),
            Err(error) => {
                tell(&error.chain());
                code = exit::FAILED;
            }
        }
    }
    Ok(code)
}

pub(crate) async fn tag(global: &Global, args: TagArgs) -> Outcome {
    let (repository, tag) = name_and_tag(&args.reference);
    let tag = tag.unwrap_or_else(|| "latest".to_owned());
    client(global)?.tag(&args.image, &repository, &tag).await?;
    if global.output == Output::Json {
        print_line(&json!({ "Name": args.reference, "Action": "tagged" }).to_string())?;
    }
    Ok(0)
}
