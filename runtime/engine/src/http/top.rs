//! top: the processes of a container.

use std::sync::Arc;

use berth_wire::docker::TopResponse;
use http::StatusCode;

use super::params::Params;
use super::{Answer, Api, json};
use crate::clock;
use crate::error::Failure;
use crate::processes::{self, View};

pub(crate) async fn top(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let view = View::parse(params.text("ps_args"))?;
    let container = api.handle.find(id).await?.container;
    if container.run.pid == 0 {
        let id = container.id.clone();
        return Err(Failure::ContainerNotRunning { id });
    }
    let found = api.actions.processes(&container).await?;
    let host = processes::Host::read(api.handle.facts().memory_total, clock::now()).await;
    let rows = found.iter().map(|process| view.row(process, &host)).collect();
    api.events
        .publish("container", "top", &container.id, container.attributes());
    let document = TopResponse {
        titles: view.titles(),
        processes: rows,
    };
    json(StatusCode::OK, &document)
}
