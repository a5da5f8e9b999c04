//! The bytes of changes in the log, and of users and roles in snapshots.

use super::{Auth, AuthChange, Permissions, Role, User};
use crate::codec::{CodecError, Reader, Writer};

/// The records of a snapshot: the switch, a user, a role.
pub(crate) const TAG_AUTH: u8 = 6;
pub(crate) const TAG_USER: u8 = 7;
pub(crate) const TAG_ROLE: u8 = 8;

const CREATE_USER: u8 = 1;
const PUT_USER: u8 = 2;
const UPDATE_USER: u8 = 3;
const DELETE_USER: u8 = 4;
const CREATE_ROLE: u8 = 5;
const UPDATE_ROLE: u8 = 6;
const DELETE_ROLE: u8 = 7;
const ENABLE: u8 = 8;
const DISABLE: u8 = 9;

/// Something that may be missing is there.
const THERE: u8 = 1;

pub(crate) fn write_change(out: &mut Writer, change: &AuthChange) {
    match change {
        AuthChange::CreateUser { name, hash, roles } => {
            out.byte(CREATE_USER);
            text(out, name);
            optional(out, hash.as_ref(), |out, hash| text(out, hash));
            list(out, roles);
        }
        AuthChange::PutUser { name, hash } => {
            out.byte(PUT_USER);
            text(out, name);
            optional(out, hash.as_ref(), |out, hash| text(out, hash));
        }
        AuthChange::UpdateUser {
            name,
            hash,
            grant,
            revoke,
        } => {
            out.byte(UPDATE_USER);
            text(out, name);
            optional(out, hash.as_ref(), |out, hash| text(out, hash));
            list(out, grant);
            list(out, revoke);
        }
        AuthChange::DeleteUser { name } => {
            out.byte(DELETE_USER);
            text(out, name);
        }
        AuthChange::CreateRole(role) => {
            out.byte(CREATE_ROLE);
            write_role(out, role);
        }
        AuthChange::UpdateRole { name, grant, revoke } => {
            out.byte(UPDATE_ROLE);
            text(out, name);
            optional(out, grant.as_ref(), write_permissions);
            optional(out, revoke.as_ref(), write_permissions);
        }
        AuthChange::DeleteRole { name } => {
            out.byte(DELETE_ROLE);
            text(out, name);
        }
        AuthChange::Enable => out.byte(ENABLE),
        AuthChange::Disable => out.byte(DISABLE),
    }
}

pub(crate) fn read_change(from: &mut Reader<'_>) -> Result<AuthChange, CodecError> {
    Ok(match from.byte()? {
        CREATE_USER => AuthChange::CreateUser {
            name: read_text(from)?,
            hash: read_optional(from, read_text)?,
            roles: read_list(from)?,
        },
        PUT_USER => AuthChange::PutUser {
            name: read_text(from)?,
            hash: read_optional(from, read_text)?,
        },
        UPDATE_USER => AuthChange::UpdateUser {
            name: read_text(from)?,
            hash: read_optional(from, read_text)?,
            grant: read_list(from)?,
            revoke: read_list(from)?,
        },
        DELETE_USER => AuthChange::DeleteUser {
            name: read_text(from)?,
        },
        CREATE_ROLE => AuthChange::CreateRole(read_role(from)?),
        UPDATE_ROLE => AuthChange::UpdateRole {
            name: read_text(from)?,
            grant: read_optional(from, read_permissions)?,
            revoke: read_optional(from, read_permissions)?,
        },
        DELETE_ROLE => AuthChange::DeleteRole {
            name: read_text(from)?,
        },
        ENABLE => AuthChange::Enable,
        DISABLE => AuthChange::Disable,
        tag => return Err(CodecError::Tag { tag }),
    })
}

pub(crate) fn auth_record(auth: &Auth) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(TAG_AUTH);
    out.byte(u8::from(auth.is_enabled()) * THERE);
    out.finish()
}

/// Whether credentials count.
pub(crate) fn read_auth(from: &mut Reader<'_>) -> Result<bool, CodecError> {
    Ok(from.flags(THERE)? == THERE)
}

pub(crate) fn user_record(user: &User) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(TAG_USER);
    text(&mut out, &user.name);
    text(&mut out, &user.hash);
    optional(&mut out, user.roles.as_ref(), |out, roles| list(out, roles));
    out.finish()
}

pub(crate) fn read_user(from: &mut Reader<'_>) -> Result<User, CodecError> {
    Ok(User {
        name: read_text(from)?,
        hash: read_text(from)?,
        roles: read_optional(from, read_list)?,
    })
}

pub(crate) fn role_record(role: &Role) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(TAG_ROLE);
    write_role(&mut out, role);
    out.finish()
}

pub(crate) fn read_role(from: &mut Reader<'_>) -> Result<Role, CodecError> {
    Ok(Role {
        name: read_text(from)?,
        permissions: read_permissions(from)?,
    })
}

fn write_role(out: &mut Writer, role: &Role) {
    text(out, &role.name);
    write_permissions(out, &role.permissions);
}

fn write_permissions(out: &mut Writer, permissions: &Permissions) {
    for patterns in [&permissions.read, &permissions.write] {
        optional(out, patterns.as_ref(), |out, patterns| list(out, patterns));
    }
}

fn read_permissions(from: &mut Reader<'_>) -> Result<Permissions, CodecError> {
    Ok(Permissions {
        read: read_optional(from, read_list)?,
        write: read_optional(from, read_list)?,
    })
}

fn text(out: &mut Writer, text: &str) {
    out.bytes(text.as_bytes());
}

fn read_text(from: &mut Reader<'_>) -> Result<String, CodecError> {
    let text = str::from_utf8(from.bytes()?).map_err(|_| CodecError::Text)?;
    Ok(text.to_owned())
}

fn optional<T>(out: &mut Writer, value: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
    out.byte(u8::from(value.is_some()) * THERE);
    if let Some(value) = value {
        write(out, value);
    }
}

fn read_optional<T>(
    from: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, CodecError>,
) -> Result<Option<T>, CodecError> {
    if from.flags(THERE)? == 0 {
        return Ok(None);
    }
    read(from).map(Some)
}

fn list(out: &mut Writer, texts: &[String]) {
    out.number(texts.len() as u64);
    for each in texts {
        text(out, each);
    }
}

/// A text takes a byte at least, so that a length that was made up ends with the bytes.
fn read_list(from: &mut Reader<'_>) -> Result<Vec<String>, CodecError> {
    let length = from.number()?;
    let mut texts = Vec::new();
    for _ in 0..length {
        texts.push(read_text(from)?);
    }
    Ok(texts)
}
