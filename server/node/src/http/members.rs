//! `/v2/members` and `/v2/machines`: the members as far as they are known here.

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
    /// All members, by id.
    fn members(&self) -> Vec<Member> {
        let members = self.handle.cluster.members().into_iter();
        members
            .map(|member| Member {
                id: format!("{:x}", member.id),
                name: member.name,
                peer_urls: member.peer_urls,
                client_urls: member.client_urls,
            })
            .collect()
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

    /// The leader, if there is one.
    fn leader(&self) -> Option<Member> {
        let leader = format!("{:x}", self.handle.published().status.leader);
        self.members().into_iter().find(|member| member.id == leader)
    }
}

/// The list.
pub(crate) async fn members(State(app): State<Arc<App>>, method: Method) -> Response {
    if let Err(refused) = changes(&method, false) {
        return app.refuse(refused);
    }
    app.document(&MembersBody {
        members: app.members(),
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
    match (rest.as_str(), app.leader()) {
        ("leader", Some(leader)) => app.document(&leader),
        ("leader", None) => app.refuse(Refused::DuringElection),
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
    let members = app.handle.cluster.members().into_iter();
    let mut urls: Vec<String> = members.flat_map(|member| member.client_urls).collect();
    urls.sort();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, text)], urls.join(", ")).into_response())
}
