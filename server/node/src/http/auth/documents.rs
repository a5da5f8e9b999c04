//! The documents of users and roles: what requests say, read by the rules of Go's decoder, and what answers show.

use crate::http::json;
use berth_store::{Permissions, Role, User};
use serde_json::{Deserializer, Map, Value};

/// What a PUT to a user says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UserWish {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) roles: Vec<String>,
    pub(super) grant: Vec<String>,
    pub(super) revoke: Vec<String>,
}

/// What a PUT to a role says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RoleWish {
    pub(super) role: String,
    pub(super) permissions: Permissions,
    pub(super) grant: Option<Permissions>,
    pub(super) revoke: Option<Permissions>,
}

/// The document is none, or has a value of another type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

pub(super) fn user_wish(body: &[u8]) -> Result<UserWish, Unreadable> {
    let fields = first_document(body)?;
    Ok(UserWish {
        user: text(&fields, "user")?,
        password: text(&fields, "password")?,
        roles: list(&fields, "roles")?.unwrap_or_default(),
        grant: list(&fields, "grant")?.unwrap_or_default(),
        revoke: list(&fields, "revoke")?.unwrap_or_default(),
    })
}

pub(super) fn role_wish(body: &[u8]) -> Result<RoleWish, Unreadable> {
    let fields = first_document(body)?;
    Ok(RoleWish {
        role: text(&fields, "role")?,
        permissions: permissions(&fields, "permissions")?.unwrap_or_default(),
        grant: permissions(&fields, "grant")?,
        revoke: permissions(&fields, "revoke")?,
    })
}

/// The first document of a body; what comes behind it does not matter, and `null` has no fields. The depth is bounded by
/// serde's decoder, the size by the body's.
fn first_document(body: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    let mut documents = Deserializer::from_slice(body).into_iter::<Value>();
    match documents.next() {
        Some(Ok(Value::Object(fields))) => Ok(fields),
        Some(Ok(Value::Null)) => Ok(Map::new()),
        Some(_) | None => Err(Unreadable),
    }
}

/// The value of a field. Names match in any case; of several the one that is written as here counts. `null` is as if it
/// were not there.
fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let same = || fields.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
    let value = fields.get(name).or_else(|| same().map(|(_, value)| value));
    value.filter(|value| !value.is_null())
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, Unreadable> {
    match field(fields, name) {
        None => Ok(String::new()),
        Some(value) => value.as_str().map(str::to_owned).ok_or(Unreadable),
    }
}

fn list(fields: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Unreadable> {
    let Some(value) = field(fields, name) else {
        return Ok(None);
    };
    let texts = value.as_array().ok_or(Unreadable)?.iter().map(|each| {
        let text = if each.is_null() { Some("") } else { each.as_str() };
        text.map(str::to_owned).ok_or(Unreadable)
    });
    texts.collect::<Result<_, _>>().map(Some)
}

fn permissions(fields: &Map<String, Value>, name: &str) -> Result<Option<Permissions>, Unreadable> {
    let Some(value) = field(fields, name) else {
        return Ok(None);
    };
    let kinds = value.as_object().ok_or(Unreadable)?;
    let Some(value) = field(kinds, "kv") else {
        return Ok(Some(Permissions::default()));
    };
    let lists = value.as_object().ok_or(Unreadable)?;
    Ok(Some(Permissions {
        read: list(lists, "read")?,
        write: list(lists, "write")?,
    }))
}

/// A document of this API, which ends with a newline.
pub(super) struct Document(Vec<u8>);

impl Document {
    /// The user as a change leaves it: the roles by their names.
    pub(super) fn changed_user(user: &User) -> Document {
        let mut out = b"{\"user\":".to_vec();
        json::text(&mut out, user.name.as_bytes());
        out.extend_from_slice(b",\"roles\":");
        write_list(&mut out, user.roles.as_deref());
        Document::end(out)
    }

    /// A user with its roles in full.
    pub(super) fn user(name: &str, roles: &[Role]) -> Document {
        let mut out = Vec::new();
        write_user(&mut out, name, roles);
        Document::end_list(out)
    }

    /// All users with their roles in full.
    pub(super) fn users(users: &[(String, Vec<Role>)]) -> Document {
        let mut out = b"{\"users\":".to_vec();
        write_all(&mut out, users, |out, (name, roles)| write_user(out, name, roles));
        Document::end(out)
    }

    pub(super) fn role(role: &Role) -> Document {
        let mut out = Vec::new();
        write_role(&mut out, role);
        Document::end_list(out)
    }

    pub(super) fn roles(roles: &[Role]) -> Document {
        let mut out = b"{\"roles\":".to_vec();
        write_all(&mut out, roles, write_role);
        Document::end(out)
    }

    pub(super) fn enabled(enabled: bool) -> Document {
        Document(format!("{{\"enabled\":{enabled}}}\n").into_bytes())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn end(mut out: Vec<u8>) -> Document {
        out.push(b'}');
        Document::end_list(out)
    }

    fn end_list(mut out: Vec<u8>) -> Document {
        out.push(b'\n');
        Document(out)
    }
}

fn write_user(out: &mut Vec<u8>, name: &str, roles: &[Role]) {
    out.extend_from_slice(b"{\"user\":");
    json::text(out, name.as_bytes());
    if !roles.is_empty() {
        out.extend_from_slice(b",\"roles\":");
        write_all(out, roles, write_role);
    }
    out.push(b'}');
}

fn write_role(out: &mut Vec<u8>, role: &Role) {
    out.extend_from_slice(b"{\"role\":");
    json::text(out, role.name.as_bytes());
    out.extend_from_slice(b",\"permissions\":{\"kv\":{\"read\":");
    write_list(out, role.permissions.read.as_deref());
    out.extend_from_slice(b",\"write\":");
    write_list(out, role.permissions.write.as_deref());
    out.extend_from_slice(b"}}}");
}

/// A list that never was filled is `null`.
fn write_list(out: &mut Vec<u8>, list: Option<&[String]>) {
    match list {
        Some([]) => out.extend_from_slice(b"[]"),
        Some(list) => write_all(out, list, |out, text| json::text(out, text.as_bytes())),
        None => out.extend_from_slice(b"null"),
    }
}

/// Without anything in it the list is `null`, too.
fn write_all<T>(out: &mut Vec<u8>, list: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    if list.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    let mut mark = b'[';
    for each in list {
        out.push(std::mem::replace(&mut mark, b','));
        write(out, each);
    }
    out.push(b']');
}
