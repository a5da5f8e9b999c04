//! Who may do what: the check of a request against users and roles, as they were last published.
//!
//! As in etcd, keys, users, roles and the change of members are guarded; machines, statistics, version, health and metrics
//! are open. The lock and leader modules go by the rights on the keys in which they keep their queues.

pub(crate) mod api;
mod basic;
mod documents;
mod passwords;
#[cfg(test)]
mod tests;

use crate::handle::{Published, Shared};
use crate::http::App;
use crate::http::error::Failure;
use crate::http::keys_parse::{Wanted, bad};
use basic::Shown;
use berth_store::{Access, Auth, Kind, ROOT, User, code};
use http::{Extensions, HeaderMap, Method};
use std::sync::Arc;

pub(crate) use passwords::Passwords;

/// The common name of the certificate that a client proved to own; an extension of its requests. It is the name of a user
/// if there are no other credentials.
#[derive(Clone, Debug)]
pub(crate) struct Certified(pub(crate) Arc<str>);

/// What a request shows of who sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    headers: &'a HeaderMap,
    certified: Option<&'a str>,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(headers: &'a HeaderMap, extensions: &'a Extensions) -> Asker<'a> {
        Asker {
            headers,
            certified: extensions.get::<Certified>().map(|name| &*name.0),
        }
    }
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// Somebody without credentials.
    Guest,
    /// Someone who has proved it.
    User(Arc<User>),
}

impl Who {
    fn may(&self, auth: &Auth, path: &[u8], access: Access, recursive: bool) -> bool {
        match self {
            Who::Guest => auth.permits_guest(path, access),
            Who::User(user) => auth.permits(user, path, access, recursive),
        }
    }
}

/// What a request asks for, and may.
#[derive(Debug)]
pub(crate) struct Permitted {
    pub(crate) wanted: Wanted,
    /// Looks after a watch for as long as it is open.
    pub(crate) guard: Option<Box<Guard>>,
}

/// Ends a watch when its client may not see its events any more.
#[derive(Debug)]
pub(crate) struct Guard {
    who: Who,
    path: Box<[u8]>,
    recursive: bool,
    /// The state of users and roles that permitted it last.
    seen: u64,
}

impl Guard {
    /// Whether the client may still see events: its roles suffice, and its password is the one that it showed.
    pub(crate) fn permits(&mut self, shared: &Shared) -> bool {
        let published = shared.published.load();
        let auth = published.view.auth();
        if auth.mark() == self.seen {
            return true;
        }
        let who = match &self.who {
            Who::Guest => Some(Who::Guest),
            Who::User(before) => auth
                .user(&before.name)
                .filter(|now| now.hash == before.hash)
                .map(|now| Who::User(Arc::clone(now))),
        };
        let may = |who: &Who| who.may(auth, &self.path, Access::Read, self.recursive);
        let permitted = !auth.is_enabled() || who.as_ref().is_some_and(may);
        self.seen = auth.mark();
        permitted
    }
}

/// Lets a request to a key pass, whose path is as it was asked for. Who shows a password may have to wait for it to be checked.
pub(crate) async fn permit(
    app: &App,
    asker: Asker<'_>,
    path: &[u8],
    wanted: Wanted,
) -> Result<Permitted, Failure> {
    let (published, who) = who(app, asker).await?;
    decide(published.view.auth(), who, path, wanted)
}

/// The same for a request without a password, at once.
pub(crate) fn permit_bare(
    app: &App,
    certified: Option<&str>,
    path: &[u8],
    wanted: Wanted,
) -> Result<Permitted, Failure> {
    let published = app.handle.shared.published.load();
    let auth = published.view.auth();
    let who = if auth.is_enabled() {
        by_certificate(auth, certified)
    } else {
        Who::Guest
    };
    decide(auth, who, path, wanted)
}

/// Lets a request to a lock pass, which means the key of its queue.
pub(crate) async fn permit_lock(
    app: &App,
    asker: Asker<'_>,
    queue: &[u8],
    method: &Method,
) -> Result<(), Failure> {
    let access = if *method == Method::GET {
        Access::Read
    } else {
        Access::Write
    };
    let (published, who) = who(app, asker).await?;
    let auth = published.view.auth();
    if auth.is_enabled() && !who.may(auth, queue, access, false) {
        return Err(insufficient());
    }
    Ok(())
}

/// Lets only those pass who have the role of root, while credentials count.
pub(crate) async fn require_root(app: &App, asker: Asker<'_>) -> Result<(), Failure> {
    let (published, who) = who(app, asker).await?;
    match who {
        _ if !published.view.auth().is_enabled() => Ok(()),
        Who::User(user) if user.has(ROOT) => Ok(()),
        Who::User(_) | Who::Guest => Err(insufficient()),
    }
}

/// Whether only root may send a request to this path, beside those to users and roles: what changes the members, and what
/// is Berth's own, such as a backup of everything.
pub(crate) fn is_for_root(method: &Method, path: &[u8]) -> bool {
    let members = path
        .strip_prefix(b"/v2/members")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let changes = matches!(*method, Method::POST | Method::PUT | Method::DELETE);
    members && changes || path.starts_with(b"/berth/")
}

fn decide(auth: &Auth, who: Who, path: &[u8], wanted: Wanted) -> Result<Permitted, Failure> {
    let (access, recursive) = match &wanted {
        Wanted::Get { recursive, .. } | Wanted::Watch { recursive, .. } => (Access::Read, *recursive),
        Wanted::Write {
            kind: Kind::Delete { recursive, .. },
            ..
        } => (Access::Write, *recursive),
        Wanted::Write { .. } => (Access::Write, false),
    };
    if auth.is_enabled() && !who.may(auth, path, access, recursive) {
        return Err(insufficient());
    }
    let guard = matches!(wanted, Wanted::Watch { .. }).then(|| {
        Box::new(Guard {
            who,
            path: path.into(),
            recursive,
            seen: auth.mark(),
        })
    });
    Ok(Permitted { wanted, guard })
}

/// Finds out who sends a request, and the state by which that is judged. While credentials do not count, everybody is a
/// guest. The check of a password may have to wait: what counts is the state behind it.
async fn who(app: &App, asker: Asker<'_>) -> Result<(Arc<Published>, Who), Failure> {
    let published = app.handle.published();
    let auth = published.view.auth();
    if !auth.is_enabled() {
        return Ok((published, Who::Guest));
    }
    match basic::read(asker.headers) {
        Shown::Nothing => {
            let who = by_certificate(auth, asker.certified);
            Ok((published, who))
        }
        Shown::Malformed => Err(insufficient()),
        Shown::Pair { name, password } => {
            let hash = named(auth, &name).map(|user| user.hash.clone());
            drop(published);
            let proved = app.passwords.check(&name, &password, hash.as_deref()).await?;
            let published = app.handle.published();
            let user = named(published.view.auth(), &name).filter(|user| hash.as_ref() == Some(&user.hash));
            match user.map(Arc::clone) {
                Some(user) if proved => Ok((published, Who::User(user))),
                Some(_) | None => {
                    tracing::debug!(user = ?String::from_utf8_lossy(&name), "wrong user or password");
                    Err(insufficient())
                }
            }
        }
    }
}

fn named<'a>(auth: &'a Auth, name: &[u8]) -> Option<&'a Arc<User>> {
    auth.user(str::from_utf8(name).ok()?)
}

/// As in etcd 3.4, a certificate whose name is no user's is as good as none.
fn by_certificate(auth: &Auth, certified: Option<&str>) -> Who {
    let user = certified.and_then(|name| auth.user(name));
    user.map_or(Who::Guest, |user| Who::User(Arc::clone(user)))
}

fn insufficient() -> Failure {
    bad(code::UNAUTHORIZED, "Insufficient credentials").into()
}
