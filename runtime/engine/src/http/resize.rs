//! resize: the size of a container's terminal.

use std::sync::Arc;

use berth_exec::ExecError;
use http::StatusCode;

use super::params::Params;
use super::{Answer, Api, empty};
use crate::container::Status;
use crate::error::Failure;

pub(crate) async fn resize(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let (rows, columns) = size(params)?;
    let container = api.handle.find(id).await?.container;
    if container.run.status != Status::Running {
        return Err(Failure::ContainerNotRunning {
            id: container.id.clone(),
        });
    }
    match api.actions.resize(&container.id, rows, columns).await {
        // dockerd too takes the size of a terminal that is not there: clients ask without a look whether there is one.
        Ok(()) | Err(Failure::Exec(ExecError::NoTerminal { .. })) => {}
        Err(failure) => return Err(failure),
    }
    let mut attributes = container.attributes();
    attributes.insert("height".to_owned(), rows.to_string());
    attributes.insert("width".to_owned(), columns.to_string());
    api.events
        .publish("container", "resize", &container.id, attributes);
    Ok(empty(StatusCode::OK))
}

/// Lines and columns.
pub(super) fn size(params: &Params) -> Result<(u16, u16), Failure> {
    let number = |name| {
        let text = params.text(name);
        text.parse().map_err(|_| Failure::BadParameter {
            name,
            value: text.to_owned(),
        })
    };
    Ok((number("h")?, number("w")?))
}
