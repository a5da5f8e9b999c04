//! `/v2/auth`: users, roles, and the switch.

use super::documents::{self, Document, Unreadable};
use super::passwords::MAX_PASSWORD_BYTES;
use super::{Asker, require_root};
use crate::http::error::{Failure, Refused, allow};
use crate::http::keys::X_ETCD_CLUSTER_ID;
use crate::http::keys_parse::bad;
use crate::http::{App, path};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use berth_store::{Auth, AuthChange, AuthOutcome, Kind, Permissions, Role, User, code};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The largest document; a larger one is 413. It has room for some thousand patterns.
const MAX_DOCUMENT_BYTES: usize = 256 << 10;

/// For the body of a request; a slower one is refused.
const DOCUMENT_TIME: Duration = Duration::from_secs(30);

const USERS: &[u8] = b"/v2/auth/users";
const ROLES: &[u8] = b"/v2/auth/roles";

/// What an answer consists of.
struct Told {
    status: StatusCode,
    document: Option<Document>,
}

impl Told {
    fn done() -> Told {
        Told {
            status: StatusCode::OK,
            document: None,
        }
    }

    fn shown(document: Document) -> Told {
        Told {
            status: StatusCode::OK,
            document: Some(document),
        }
    }
}

/// What the rest of a path names.
enum Target {
    All,
    One(String),
}

/// The list of users, or one of them.
pub(crate) async fn users(State(app): State<Arc<App>>, request: Request) -> Response {
    serve(&app, request, USERS, user).await
}

/// The list of roles, or one of them.
pub(crate) async fn roles(State(app): State<Arc<App>>, request: Request) -> Response {
    serve(&app, request, ROLES, role).await
}

/// The switch. Everybody may look at it.
pub(crate) async fn enable(State(app): State<Arc<App>>, request: Request) -> Response {
    if let Err(refused) = allow(request.method(), "GET,PUT,DELETE") {
        return refuse(&app, refused, false);
    }
    if *request.method() == Method::GET {
        let enabled = app.handle.published().view.auth().is_enabled();
        return finish(&app, Ok(Told::shown(Document::enabled(enabled))));
    }
    let asker = Asker::new(request.headers(), request.extensions());
    if let Err(failure) = require_root(&app, asker).await {
        return refuse(&app, Refused::Failed(failure), false);
    }
    let change = match *request.method() {
        Method::PUT => AuthChange::Enable,
        _ => AuthChange::Disable,
    };
    finish(&app, carry_out(&app, change).await)
}

/// What is the same for users and roles: the method and the path are looked at, then the credentials, then the document.
async fn serve<F>(app: &App, request: Request, prefix: &[u8], answer: F) -> Response
where
    F: AsyncFnOnce(&App, String, Request) -> Result<Told, Refused>,
{
    let target = match target(&request, prefix) {
        Ok(target) => target,
        Err(refused) => return refuse(app, refused, false),
    };
    let allowed = match target {
        Target::All => allow(request.method(), "GET"),
        Target::One(_) => allow(request.method(), "GET,PUT,DELETE"),
    };
    if let Err(refused) = allowed {
        return refuse(app, refused, false);
    }
    let asker = Asker::new(request.headers(), request.extensions());
    if let Err(failure) = require_root(app, asker).await {
        return refuse(app, Refused::Failed(failure), false);
    }
    let told = match target {
        Target::One(name) => answer(app, name, request).await,
        Target::All => {
            let published = app.handle.published();
            let auth = published.view.auth();
            Ok(Told::shown(if prefix == USERS {
                all_users(auth)
            } else {
                let roles: Vec<Role> = auth.shown_roles().into_iter().map(Cow::into_owned).collect();
                Document::roles(&roles)
            }))
        }
    };
    finish(app, told)
}

fn target(request: &Request, prefix: &[u8]) -> Result<Target, Refused> {
    let path::Path::Clean(path) = path::read(request.uri().path()) else {
        return Err(Refused::NotFound);
    };
    let rest = path.strip_prefix(prefix).unwrap_or_default();
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let name = rest.strip_suffix(b"/").unwrap_or(rest);
    if name.is_empty() {
        return Ok(Target::All);
    }
    if name.contains(&b'/') {
        return Err(Refused::AuthDocument("Invalid path"));
    }
    Ok(Target::One(String::from_utf8_lossy(name).into_owned()))
}

/// Roles that are not there are left out.
fn all_users(auth: &Auth) -> Document {
    let with_roles = auth.shown_users().map(|user| {
        let names = user.roles.iter().flatten();
        let roles = names.filter_map(|role| auth.role(role)).map(Cow::into_owned);
        let roles: Vec<Role> = roles.collect();
        (user.name, roles)
    });
    let users: Vec<(String, Vec<Role>)> = with_roles.collect();
    Document::users(&users)
}

async fn user(app: &App, name: String, request: Request) -> Result<Told, Refused> {
    match *request.method() {
        Method::GET => {
            let published = app.handle.published();
            let auth = published.view.auth();
            let Some(user) = auth.shown_user(&name) else {
                return Err(missing(&format!("auth: User {name} does not exist.")));
            };
            Ok(Told::shown(Document::user(&name, &roles_of(auth, &user)?)))
        }
        Method::PUT => put_user(app, name, request).await,
        _ => carry_out(app, AuthChange::DeleteUser { name }).await,
    }
}

fn roles_of(auth: &Auth, user: &User) -> Result<Vec<Role>, Refused> {
    let names = user.roles.iter().flatten();
    names
        .map(|name| {
            let role = auth.role(name).map(Cow::into_owned);
            role.ok_or_else(|| missing(&format!("auth: Role {name} does not exist.")))
        })
        .collect()
}

async fn put_user(app: &App, name: String, request: Request) -> Result<Told, Refused> {
    let wish = documents::user_wish(&body(app, request).await?)?;
    if wish.user != name {
        return Err(Refused::AuthDocument(
            "User JSON name does not match the name in the URL",
        ));
    }
    let updates = !(wish.grant.is_empty() && wish.revoke.is_empty());
    if updates && !wish.roles.is_empty() {
        return Err(Refused::AuthDocument(
            "User JSON contains both roles and grant/revoke",
        ));
    }
    if wish.password.len() > MAX_PASSWORD_BYTES {
        return Err(Refused::AuthDocument(
            "auth: the password is longer than 72 bytes",
        ));
    }
    let hash = match wish.password.is_empty() {
        true => None,
        false => Some(app.passwords.hash(wish.password).await.map_err(Refused::Failed)?),
    };
    let change = if updates {
        AuthChange::UpdateUser {
            name,
            hash,
            grant: wish.grant,
            revoke: wish.revoke,
        }
    } else if wish.roles.is_empty() {
        AuthChange::PutUser { name, hash }
    } else {
        AuthChange::CreateUser {
            name,
            hash,
            roles: wish.roles,
        }
    };
    carry_out(app, change).await
}

async fn role(app: &App, name: String, request: Request) -> Result<Told, Refused> {
    match *request.method() {
        Method::GET => {
            let published = app.handle.published();
            match published.view.auth().role(&name) {
                Some(role) => Ok(Told::shown(Document::role(&role))),
                None => Err(missing(&format!("auth: Role {name} does not exist."))),
            }
        }
        Method::PUT => put_role(app, name, request).await,
        _ => carry_out(app, AuthChange::DeleteRole { name }).await,
    }
}

async fn put_role(app: &App, name: String, request: Request) -> Result<Told, Refused> {
    let wish = documents::role_wish(&body(app, request).await?)?;
    if wish.role != name {
        return Err(Refused::AuthDocument(
            "Role JSON name does not match the name in the URL",
        ));
    }
    let none = |permissions: &Option<Permissions>| permissions.as_ref().is_none_or(Permissions::is_empty);
    if none(&wish.grant) && none(&wish.revoke) {
        let permissions = wish.permissions;
        return carry_out(app, AuthChange::CreateRole(Role { name, permissions })).await;
    }
    if !wish.permissions.is_empty() {
        return Err(Refused::AuthDocument(
            "Role JSON contains both permissions and grant/revoke",
        ));
    }
    let change = AuthChange::UpdateRole {
        name,
        grant: wish.grant,
        revoke: wish.revoke,
    };
    carry_out(app, change).await
}

/// Makes a change, on all members.
async fn carry_out(app: &App, change: AuthChange) -> Result<Told, Refused> {
    let failed = |failure: Failure| Refused::Failed(failure);
    let proposed = app.handle.propose(Kind::Auth(change)).await;
    let reply = proposed.map_err(|refusal| failed(refusal.into()))?;
    let applied = reply.outcome.map_err(|error| failed(error.into()))?;
    let created = |created: bool| {
        if created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        }
    };
    Ok(match applied.auth {
        Some(AuthOutcome::User { user, created: new }) => Told {
            status: created(new),
            document: Some(Document::changed_user(&user)),
        },
        Some(AuthOutcome::Role { role, created: new }) => Told {
            status: created(new),
            document: Some(Document::role(&role)),
        },
        Some(AuthOutcome::Done) | None => Told::done(),
    })
}

/// The body of a request, whatever it is said to be.
async fn body(app: &App, request: Request) -> Result<Bytes, Refused> {
    let _reserved = app
        .handle
        .reserve(MAX_DOCUMENT_BYTES)
        .map_err(|refusal| Refused::Failed(refusal.into()))?;
    let read = axum::body::to_bytes(request.into_body(), MAX_DOCUMENT_BYTES);
    match tokio::time::timeout(DOCUMENT_TIME, read).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Refused::DocumentSize),
        Err(_) => Err(Unreadable.into()),
    }
}

impl From<Unreadable> for Refused {
    fn from(_: Unreadable) -> Refused {
        Refused::AuthDocument("Invalid JSON in request body.")
    }
}

fn missing(text: &str) -> Refused {
    Refused::Failed(bad(code::AUTH_NOT_FOUND, text).into())
}

fn finish(app: &App, told: Result<Told, Refused>) -> Response {
    let told = match told {
        Ok(told) => told,
        Err(refused) => return refuse(app, refused, true),
    };
    let document = told.document.map(Document::into_bytes).unwrap_or_default();
    let mut response = Response::new(Body::from(document));
    *response.status_mut() = told.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_ETCD_CLUSTER_ID, app.cluster_id.clone());
    response
}

/// A refusal; it names the cluster if the request got past the credentials.
fn refuse(app: &App, refused: Refused, named: bool) -> Response {
    let mut response = axum::response::IntoResponse::into_response(refused);
    if named {
        response
            .headers_mut()
            .insert(X_ETCD_CLUSTER_ID, app.cluster_id.clone());
    }
    response
}
