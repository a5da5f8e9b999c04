//! commit: a container becomes an image.

use std::sync::Arc;

use berth_images::Commit;
use berth_wire::docker::{ContainerConfig, IdResponse, ImageConfig};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;

use super::params::Params;
use super::{Answer, Api, body, json};
use crate::container::{Container, Status};
use crate::error::Failure;
use crate::handle::Change;

pub(crate) async fn commit(api: &Arc<Api>, params: &Params, request: Request<Incoming>) -> Answer {
    let found = api.handle.find(params.text("container")).await?;
    let container = found.container;
    let bytes = body::bytes(request).await?;
    let own: Value = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes)?
    };
    let config = merged(&container.config, own)?;
    let pauses = params.given("pause").is_none() || params.flag("pause");
    let pauses = pauses && container.run.status == Status::Running && !container.run.paused;
    let (own_api, own_params, source) = (Arc::clone(api), params.clone(), Arc::clone(&container));
    // A client that goes away must not leave it paused.
    let made = tokio::spawn(async move {
        let id = &source.id;
        if pauses {
            own_api.handle.change(id, Change::Pause).await?;
        }
        let made = make(&own_api, &own_params, &source, config).await;
        if pauses {
            // It may have been ended meanwhile; then there is nothing to go on.
            if let Err(error) = own_api.handle.change(id, Change::Unpause).await {
                tracing::warn!(container = id, %error, "a container was not unpaused after a commit");
            }
        }
        made
    });
    let id = made.await.map_err(|_| Failure::Stopping)??;
    let mut attributes = container.attributes();
    attributes.insert("comment".to_owned(), comment(params).to_owned());
    attributes.insert("imageID".to_owned(), id.clone());
    attributes.insert("imageRef".to_owned(), reference(params).unwrap_or_default());
    api.events
        .publish("container", "commit", &container.id, attributes);
    json(StatusCode::CREATED, &IdResponse { id })
}

async fn make(
    api: &Arc<Api>,
    params: &Params,
    container: &Arc<Container>,
    config: ImageConfig,
) -> Result<String, Failure> {
    let reference = reference(params);
    let changes: Vec<String> = params
        .all("changes")
        .iter()
        .flat_map(|text| lines(text))
        .collect();
    let (comment, author) = (comment(params).to_owned(), params.text("author").to_owned());
    let container_dir = api.actions.directory(&container.id);
    let image_id = container.image_id.clone();
    let made = api.actions.with_images(move |images| {
        images.commit(Commit {
            image: &image_id,
            container_dir: &container_dir,
            reference: reference.as_deref(),
            config,
            changes: &changes,
            comment: &comment,
            author: &author,
        })
    });
    Ok(made.await?.id)
}

/// Clients put several instructions into one parameter, one a line.
fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(ToOwned::to_owned).collect()
}

/// Old clients write `m`.
fn comment(params: &Params) -> &str {
    match params.text("comment") {
        "" => params.text("m"),
        comment => comment,
    }
}

fn reference(params: &Params) -> Option<String> {
    match (params.text("repo"), params.text("tag")) {
        ("", _) => None,
        (repository, "") => Some(repository.to_owned()),
        (repository, tag) => Some(format!("{repository}:{tag}")),
    }
}

/// What containers of the image take over: the container's own configuration, and what the request says instead.
fn merged(config: &ContainerConfig, own: Value) -> Result<ImageConfig, Failure> {
    let mut document = serde_json::to_value(config)?;
    let says_something = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    };
    if let (Some(document), Value::Object(own)) = (document.as_object_mut(), own) {
        for (key, value) in own.into_iter().filter(|(_, value)| says_something(value)) {
            document.insert(key, value);
        }
    }
    Ok(serde_json::from_value(document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_request_says_goes_before() {
        let config: ContainerConfig =
            serde_json::from_str(r#"{"Env":["A=1"],"Cmd":["x"],"User":"me","Image":"app","Tty":true}"#)
                .expect("one");
        let own = serde_json::from_str(r#"{"Cmd":["y","z"],"User":"","Env":null}"#).expect("a value");
        let merged = merged(&config, own).expect("merged");
        assert_eq!(merged.cmd.expect("words").0, ["y", "z"]);
        assert_eq!(
            (merged.user.as_str(), merged.env.as_slice()),
            ("me", &["A=1".to_owned()][..])
        );
    }

    #[test]
    fn several_instructions_in_one_parameter() {
        assert_eq!(lines("CMD a\n\n ENV B=c"), ["CMD a", "ENV B=c"]);
    }
}
