//! `/v2/members` and `/v2/machines`: the members as far as they are known here, and changes of them.

mod request;
mod syntax;

use crate::http::App;
use crate::http::error::{Refused, allow};
use crate::http::keys::X_ETCD_CLUSTER_ID;
use crate::membership::{Verdict, Wish};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use berth_wire::etcd::{Member, MembersBody, Standing, StandingsBody};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use std::sync::Arc;

const ALLOW: &str = "GET,POST,DELETE,PUT";

/// What stands in the place of an id for the one that leads.
const LEADER: &str = "leader";

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
    fn document(&self, status: StatusCode, document: &impl Serialize) -> Response {
        let body = serde_json::to_string(document).unwrap_or_default() + "\n";
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (status, [json, (X_ETCD_CLUSTER_ID, self.cluster_id.clone())], body).into_response()
    }

    /// An answer that says no more than that it is done.
    fn done(&self) -> Response {
        let id = (X_ETCD_CLUSTER_ID, self.cluster_id.clone());
        (StatusCode::NO_CONTENT, [id]).into_response()
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

    async fn add(&self, request: Request) -> Result<Response, Refused> {
        let peer_urls = request::peer_urls(request).await?;
        let id = crate::bootstrap::random().map_err(|_| Refused::Internal)?.max(1);
        let wish = Wish::Add {
            id,
            peer_urls: peer_urls.clone(),
        };
        made(self.handle.change(wish).await, "")?;
        let member = Member {
            id: format!("{id:x}"),
            name: String::new(),
            peer_urls,
            client_urls: Vec::new(),
        };
        Ok(self.document(StatusCode::CREATED, &member))
    }

    async fn remove(&self, text: &str) -> Result<Response, Refused> {
        let wish = Wish::Remove { id: id(text)? };
        let verdict = self.handle.change(wish).await;
        if verdict == Verdict::Gone {
            return Err(Refused::GoneMember(text.to_owned()));
        }
        made(verdict, text).map(|()| self.done())
    }

    async fn update(&self, text: &str, request: Request) -> Result<Response, Refused> {
        let id = id(text)?;
        let peer_urls = request::peer_urls(request).await?;
        made(self.handle.change(Wish::Move { id, peer_urls }).await, text).map(|()| self.done())
    }

    async fn lead(&self, request: Request) -> Result<Response, Refused> {
        let text = request::next_leader(request).await?;
        let id = text.as_deref().map(id).transpose()?;
        let verdict = self.handle.change(Wish::Lead { id }).await;
        if let Verdict::Unsafe(why) = verdict {
            return Err(Refused::CannotLead(why));
        }
        made(verdict, &text.unwrap_or_default()).map(|()| self.done())
    }
}

/// The number that a text stands for.
fn id(text: &str) -> Result<u64, Refused> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    id.ok_or_else(|| Refused::NoMember(text.to_owned()))
}

/// What is refused, but for what depends on the method. Why a change would be unsafe is said in the log, since etcd's clients
/// know one answer to all of that.
fn made(verdict: Verdict, text: &str) -> Result<(), Refused> {
    match verdict {
        Verdict::Made => Ok(()),
        Verdict::Unknown => Err(Refused::NoMember(text.to_owned())),
        Verdict::UrlTaken => Err(Refused::PeerUrlExists),
        Verdict::IdTaken => Err(Refused::MemberExists),
        Verdict::Unsafe(why) => {
            tracing::warn!(why, "a change of the members was refused");
            Err(Refused::Internal)
        }
        Verdict::Again | Verdict::Gone | Verdict::Open => Err(Refused::Internal),
    }
}

/// The list, and additions to it.
pub(crate) async fn members(State(app): State<Arc<App>>, request: Request) -> Response {
    let answer = match *request.method() {
        Method::GET => Ok(app.document(
            StatusCode::OK,
            &MembersBody {
                members: app.members(),
            },
        )),
        Method::POST => app.add(request).await,
        // These need an id.
        Method::DELETE | Method::PUT => Err(Refused::Method("")),
        _ => Err(Refused::Method(ALLOW)),
    };
    answer.unwrap_or_else(|refused| app.refuse(refused))
}

/// One member. It is asked for by `leader` and not by its id; PUT there makes another one lead, which etcd does not have.
pub(crate) async fn member(
    State(app): State<Arc<App>>,
    Path(rest): Path<String>,
    request: Request,
) -> Response {
    let answer = match (request.method(), rest.as_str()) {
        (&Method::GET, LEADER) => match app.leader() {
            Some(leader) => Ok(app.document(StatusCode::OK, &leader)),
            None => Err(Refused::DuringElection),
        },
        (&Method::GET, _) => Err(Refused::NotFound),
        (&Method::POST, _) => app.add(request).await,
        (&Method::DELETE, id) => app.remove(id).await,
        (&Method::PUT, LEADER) => app.lead(request).await,
        (&Method::PUT, id) => app.update(id, request).await,
        _ => Err(Refused::Method(ALLOW)),
    };
    answer.unwrap_or_else(|refused| app.refuse(refused))
}

/// The members with what etcd's list does not tell of them: who leads, and who has no vote yet.
pub(crate) async fn standings(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET,HEAD")?;
    let leader = app.leader().map(|leader| leader.id);
    let roster = app.handle.cluster.roster();
    let learners: Vec<String> = roster.learners.iter().map(|id| format!("{id:x}")).collect();
    let members = app.members().into_iter().map(|member| Standing {
        is_leader: leader.as_ref() == Some(&member.id),
        is_learner: learners.contains(&member.id),
        member,
    });
    let body = StandingsBody {
        members: members.collect(),
    };
    Ok(app.document(StatusCode::OK, &body))
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
