//! update: other limits and another restart policy.

use std::sync::Arc;

use berth_wire::docker::{HostConfig, UpdateResponse};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::{Answer, Api, body, json};

pub(crate) async fn update(api: &Arc<Api>, id: &str, request: Request<Incoming>) -> Answer {
    let wish: HostConfig = body::json(request).await?;
    api.handle.update(id, wish).await?;
    json(StatusCode::OK, &UpdateResponse { warnings: None })
}
