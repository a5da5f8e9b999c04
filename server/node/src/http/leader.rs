//! `/mod/v2/leader/NAME`: the lock of that name, held by whoever is to lead, with the leader's name as its value.

use crate::http::App;
use crate::http::auth::Asker;
use crate::http::error::{Denied, allow};
use crate::http::lock::queue::{Queue, Which};
use crate::http::lock::{Words, acquire, name_of, parameter, permit, text};
use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;
use std::sync::Arc;

const PREFIX: &[u8] = b"/mod/v2/leader/";

/// `name` is missing.
const NAME_REQUIRED: u16 = 206;

/// PUT waits until the name leads, GET tells the leader's name, DELETE lets another one lead.
pub(crate) async fn leader(State(app): State<Arc<App>>, request: Request) -> Result<Response, Denied> {
    allow(request.method(), "GET,PUT,DELETE")?;
    let queue = Queue::new(&app.handle, &name_of(request.uri(), PREFIX)?)?;
    let asker = Asker::new(request.headers(), request.extensions());
    permit(&app, &queue, asker, request.method()).await?;
    let method = request.method().clone();
    let words = Words::read(&app, request).await?;
    let name = |cause: &str| match words.get("name") {
        Some(name) if !name.is_empty() => Ok(name.into()),
        Some(_) | None => Err(parameter(NAME_REQUIRED, cause)),
    };
    match method {
        Method::PUT => acquire(&queue, &words, name("Set")?).await,
        Method::DELETE => {
            let place = queue.find(Which::Value(name("Delete")?)).await?;
            queue.release(place).await?;
            Ok(text(String::new()))
        }
        _ => Ok(text(
            queue.holder().await?.map_or(String::new(), |place| place.value()),
        )),
    }
}
