//! `/v2/members` and `/v2/machines`: the one member there is.

use crate::http::App;
use crate::http::error::{Refused, allow};
use crate::http::keys::X_ETCD_CLUSTER_ID;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use berth_wire::etcd::{Member, MembersBody};
use http::{HeaderValue, Method, header};
use serde::Serialize;
use std::sync::Arc;

const ALLOW: &str = "GET,POST,DELETE,PUT";

impl App {
    fn member(&self) -> Member {
        Member {
            id: self.member_id.clone(),
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
        }
    }

    /// An answer of this API: it names the cluster, and ends with a newline.
    fn document(&self, document: &impl Serialize) -> Response {
        let body = serde_json::to_string(document).unwrap_or_default() + "\n";
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        ([json, (X_ETCD_CLUSTER_ID, self.cluster_id.clone())], body).into_response()
    }

    /// A refusal of this API, which names the cluster too, unless the method is at fault.
    fn refuse(&self, refused: Refused) -> Response {
        let named = !matches!(refused, Refused::Method(_));
        let mut response = refused.into_response();
        if named {
            let id = self.cluster_id.clone();
            response.headers_mut().insert(X_ETCD_CLUSTER_ID, id);
        }
        response
    }

    /// The leader: this member, if there is one.
    fn led(&self) -> bool {
        self.handle.published().status.leader == self.handle.identity.member
    }
}

/// The list.
pub(crate) async fn members(State(app): State<Arc<App>>, method: Method) -> Response {
    if let Err(refused) = changes(&method, false) {
        return app.refuse(refused);
    }
    app.document(&MembersBody {
        members: vec![app.member()],
    })
}

/// One member, by `leader`; members cannot be asked for by their ids.
pub(crate) async fn member(
    State(app): State<Arc<App>>,
    method: Method,
    Path(rest): Path<String>,
) -> Response {
    if let Err(refused) = changes(&method, true) {
        return app.refuse(refused);
    }
    match (rest.as_str(), app.led()) {
        ("leader", true) => app.document(&app.member()),
        ("leader", false) => app.refuse(Refused::DuringElection),
        _ => app.refuse(Refused::NotFound),
    }
}

/// Refuses everything but GET. Changing or removing needs an id.
fn changes(method: &Method, has_id: bool) -> Result<(), Refused> {
    allow(method, ALLOW)?;
    match *method {
        Method::GET => Ok(()),
        Method::DELETE | Method::PUT if !has_id => Err(Refused::Method("")),
        _ => Err(Refused::FixedMembership),
    }
}

/// The client URLs as text, sorted.
pub(crate) async fn machines(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET,HEAD")?;
    let mut urls = app.client_urls.clone();
    urls.sort();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, text)], urls.join(", ")).into_response())
}
