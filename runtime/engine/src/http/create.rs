//! create: a request, its image, a container.

use std::sync::Arc;

use berth_wire::docker::{ContainerConfig, CreateRequest, CreateResponse};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::params::Params;
use super::{Answer, Api, body, json, quirks};
use crate::error::Failure;
use crate::handle::Wish;

pub(crate) async fn create(api: &Arc<Api>, params: &Params, request: Request<Incoming>) -> Answer {
    check_platform(params.text("platform"))?;
    let request: CreateRequest = serde_json::from_value(quirks::moved(body::json(request).await?))?;
    if request.config == ContainerConfig::default() {
        return Err(Failure::EmptyConfig);
    }
    let name = params
        .given("name")
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned);
    check_sources(&request).await?;
    let _gate = api.image_gate.read().await;
    let image = api.actions.image(&request.config.image).await?;
    let wish = Wish {
        request,
        name,
        image_id: image.id,
        image: image.config,
    };
    let created = api.handle.create(wish).await?;
    json(
        StatusCode::CREATED,
        &CreateResponse {
            id: created.id,
            warnings: created.warnings,
        },
    )
}

/// What `--mount` binds has to be there; what `-v` binds is made.
async fn check_sources(request: &CreateRequest) -> Result<(), Failure> {
    let mounts = request.host_config.mounts.iter().flatten();
    let sources = mounts.filter(|mount| {
        let makes = mount
            .bind_options
            .as_ref()
            .is_some_and(|options| options.create_mountpoint);
        mount.kind == "bind" && mount.source.starts_with('/') && !makes
    });
    for mount in sources {
        if !tokio::fs::try_exists(&mount.source).await.unwrap_or(false) {
            return Err(Failure::NoBindSource(mount.source.clone()));
        }
    }
    Ok(())
}

/// Only this host's own platform can be had.
fn check_platform(platform: &str) -> Result<(), Failure> {
    let own = [
        String::new(),
        "linux".to_owned(),
        format!("linux/{}", super::system::architecture()),
    ];
    if own.iter().any(|own| own == platform) {
        return Ok(());
    }
    Err(Failure::BadParameter {
        name: "platform",
        value: platform.to_owned(),
    })
}
