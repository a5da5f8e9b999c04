//! The changes of users and roles, with etcd's words for what is refused. A refused change has no effect.

use super::{
    Auth, GUEST, MAX_AUTH_BYTES, MAX_AUTH_NAME_BYTES, MAX_HASH_BYTES, MAX_PATTERN_BYTES, Permissions, ROOT,
    Role, User,
};
use crate::apply::{Applied, Store};
use crate::error::{StoreError, code};
use std::collections::BTreeSet;

/// What etcd's first change costs more in indexes: the directories in which it keeps users and roles, and the switch.
const FIRST_STEPS: u64 = 4;

/// A change of users and roles. Passwords come hashed, with a salt that whoever made the command chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthChange {
    /// Makes a user with roles.
    CreateUser {
        /// The name.
        name: String,
        /// The hash of the password; without one it is refused.
        hash: Option<String>,
        /// The roles.
        roles: Vec<String>,
    },
    /// Makes a user, or gives it another password.
    PutUser {
        /// The name.
        name: String,
        /// The hash of the password; a new user needs one.
        hash: Option<String>,
    },
    /// Changes a user.
    UpdateUser {
        /// The name.
        name: String,
        /// The hash of a new password.
        hash: Option<String>,
        /// Roles to add.
        grant: Vec<String>,
        /// Roles to take away.
        revoke: Vec<String>,
    },
    /// Removes a user.
    DeleteUser {
        /// The name.
        name: String,
    },
    /// Makes a role.
    CreateRole(Role),
    /// Changes a role.
    UpdateRole {
        /// The name.
        name: String,
        /// Patterns to add.
        grant: Option<Permissions>,
        /// Patterns to take away.
        revoke: Option<Permissions>,
    },
    /// Removes a role.
    DeleteRole {
        /// The name.
        name: String,
    },
    /// Makes credentials count.
    Enable,
    /// Makes them not count.
    Disable,
}

/// What a change of users and roles came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthOutcome {
    /// The user as it is now.
    User {
        /// The user.
        user: User,
        /// It was not there before, and no roles were asked for: etcd answers 201 only then.
        created: bool,
    },
    /// The role as it is now.
    Role {
        /// The role.
        role: Role,
        /// It was not there before.
        created: bool,
    },
    /// There is nothing to show.
    Done,
}

/// Why a change is refused: one of the codes of auth, and what is told.
type Refusal = (u16, String);

impl Store {
    /// Changes users and roles. Like etcd, which keeps them among its nodes, it takes indexes, which nobody sees events of.
    pub(crate) fn change_auth(&mut self, change: &AuthChange) -> Result<Applied, StoreError> {
        let mut auth = self.auth.clone();
        let (outcome, steps) = match auth.change(change) {
            Ok(done) => done,
            Err((code, cause)) => return self.refuse(code, cause),
        };
        if auth.bytes > MAX_AUTH_BYTES && auth.bytes > self.auth.bytes {
            let cause = format!("auth: users and roles take more than {MAX_AUTH_BYTES} bytes");
            return self.refuse(code::AUTH_INVALID, cause);
        }
        let first = if auth.is_untouched() { FIRST_STEPS } else { 0 };
        auth.made = true;
        self.auth = auth;
        for _ in 0..first + steps {
            self.bump();
        }
        Ok(Applied {
            auth: Some(outcome),
            ..Applied::default()
        })
    }
}

impl Auth {
    /// Gives the outcome and how many indexes it takes.
    fn change(&mut self, change: &AuthChange) -> Result<(AuthOutcome, u64), Refusal> {
        match change {
            AuthChange::CreateUser { name, hash, roles } => {
                self.create_user(name, hash.as_deref(), Some(roles.clone()), false)
            }
            AuthChange::PutUser { name, hash } if self.users.contains_key(name) => {
                self.update_user(name, hash.as_deref(), &[], &[])
            }
            AuthChange::PutUser { name, hash } => self.create_user(name, hash.as_deref(), None, true),
            AuthChange::UpdateUser {
                name,
                hash,
                grant,
                revoke,
            } => self.update_user(name, hash.as_deref(), grant, revoke),
            AuthChange::DeleteUser { name } => self.delete_user(name),
            AuthChange::CreateRole(role) => self.create_role(role),
            AuthChange::UpdateRole { name, grant, revoke } => {
                self.update_role(name, grant.as_ref(), revoke.as_ref())
            }
            AuthChange::DeleteRole { name } => self.delete_role(name),
            AuthChange::Enable => self.enable(),
            AuthChange::Disable if !self.enabled => conflict("already disabled"),
            AuthChange::Disable => {
                self.enabled = false;
                Ok((AuthOutcome::Done, 1))
            }
        }
    }

    fn create_user(
        &mut self,
        name: &str,
        hash: Option<&str>,
        roles: Option<Vec<String>>,
        created: bool,
    ) -> Result<(AuthOutcome, u64), Refusal> {
        let Some(hash) = hash else {
            return invalid(format!("Cannot create user {name} with an empty password"));
        };
        if self.users.contains_key(name) {
            return conflict(format!("User {name} already exists."));
        }
        let user = User {
            name: name.to_owned(),
            hash: hash.to_owned(),
            roles,
        };
        self.keep_user(user.complete(), created)
    }

    fn update_user(
        &mut self,
        name: &str,
        hash: Option<&str>,
        grant: &[String],
        revoke: &[String],
    ) -> Result<(AuthOutcome, u64), Refusal> {
        let Some(old) = self.shown_user(name) else {
            return missing(format!("User {name} does not exist."));
        };
        let mut roles: BTreeSet<String> = old.roles.iter().flatten().cloned().collect();
        for role in grant {
            if !roles.insert(role.clone()) {
                return conflict(format!("Granting duplicate role {role} for user {name}"));
            }
        }
        for role in revoke {
            if !roles.remove(role) {
                return conflict(format!("Revoking ungranted role {role} for user {name}"));
            }
        }
        let new = User {
            name: name.to_owned(),
            hash: hash.map_or_else(|| old.hash.clone(), str::to_owned),
            roles: Some(roles.into_iter().collect()),
        };
        if new == old {
            return invalid("User not updated. Use grant/revoke/password to update the user.");
        }
        self.keep_user(new, false)
    }

    fn keep_user(&mut self, user: User, created: bool) -> Result<(AuthOutcome, u64), Refusal> {
        if !fits_user(&user) {
            return invalid("a name or a hash is empty or too long");
        }
        self.put_user(user.clone());
        Ok((AuthOutcome::User { user, created }, 1))
    }

    fn delete_user(&mut self, name: &str) -> Result<(AuthOutcome, u64), Refusal> {
        if self.enabled && name == ROOT {
            return forbidden("Cannot delete root user while auth is enabled.");
        }
        if !self.remove_user(name) {
            return missing(format!("User {name} does not exist"));
        }
        Ok((AuthOutcome::Done, 1))
    }

    fn create_role(&mut self, role: &Role) -> Result<(AuthOutcome, u64), Refusal> {
        modifiable(&role.name)?;
        if self.roles.contains_key(&role.name) {
            return conflict(format!("Role {} already exists.", role.name));
        }
        self.keep_role(role.clone(), true)
    }

    fn update_role(
        &mut self,
        name: &str,
        grant: Option<&Permissions>,
        revoke: Option<&Permissions>,
    ) -> Result<(AuthOutcome, u64), Refusal> {
        modifiable(name)?;
        let Some(old) = self.roles.get(name).cloned() else {
            return missing(format!("Role {name} does not exist."));
        };
        let mut permissions = old.permissions.clone();
        if let Some(grant) = grant {
            permissions = Permissions {
                read: granted("read", permissions.read, grant.read.as_deref())?,
                write: granted("write", permissions.write, grant.write.as_deref())?,
            };
        }
        if let Some(revoke) = revoke {
            permissions = Permissions {
                read: revoked(permissions.read, revoke.read.as_deref()),
                write: revoked(permissions.write, revoke.write.as_deref()),
            };
        }
        if permissions == old.permissions {
            return invalid("Role not updated. Use grant/revoke to update the role.");
        }
        let role = Role {
            name: name.to_owned(),
            permissions,
        };
        self.keep_role(role, false)
    }

    fn keep_role(&mut self, role: Role, created: bool) -> Result<(AuthOutcome, u64), Refusal> {
        if !fits_role(&role) {
            return invalid("a name or a pattern is empty or too long");
        }
        self.put_role(role.clone());
        Ok((AuthOutcome::Role { role, created }, 1))
    }

    fn delete_role(&mut self, name: &str) -> Result<(AuthOutcome, u64), Refusal> {
        modifiable(name)?;
        if !self.remove_role(name) {
            return missing(format!("Role {name} doesn't exist."));
        }
        Ok((AuthOutcome::Done, 1))
    }

    fn enable(&mut self) -> Result<(AuthOutcome, u64), Refusal> {
        if self.enabled {
            return conflict("already enabled");
        }
        if !self.users.contains_key(ROOT) {
            return conflict("No root user available, please create one");
        }
        let mut steps = 1;
        if !self.roles.contains_key(GUEST) {
            self.put_role(Role {
                name: GUEST.to_owned(),
                permissions: Permissions::everything(),
            });
            steps += 1;
        }
        self.enabled = true;
        Ok((AuthOutcome::Done, steps))
    }
}

/// A list with more patterns in it, sorted.
fn granted(
    kind: &str,
    list: Option<Vec<String>>,
    more: Option<&[String]>,
) -> Result<Option<Vec<String>>, Refusal> {
    let mut patterns: BTreeSet<String> = list.into_iter().flatten().collect();
    for pattern in more.into_iter().flatten() {
        if !patterns.insert(pattern.clone()) {
            return conflict(format!("Granting duplicate {kind} permission {pattern}"));
        }
    }
    Ok(Some(patterns.into_iter().collect()))
}

/// A list with fewer patterns in it, sorted; those that are not in it do not matter.
fn revoked(list: Option<Vec<String>>, less: Option<&[String]>) -> Option<Vec<String>> {
    let mut patterns: BTreeSet<String> = list.into_iter().flatten().collect();
    for pattern in less.into_iter().flatten() {
        patterns.remove(pattern);
    }
    Some(patterns.into_iter().collect())
}

/// Whether the texts of a user have sizes that are taken.
pub(super) fn fits_user(user: &User) -> bool {
    let roles = user.roles.iter().flatten();
    fits_name(&user.name)
        && (1..=MAX_HASH_BYTES).contains(&user.hash.len())
        && roles.into_iter().all(|role| fits_name(role))
}

/// Whether the texts of a role have sizes that are taken.
pub(super) fn fits_role(role: &Role) -> bool {
    let Permissions { read, write } = &role.permissions;
    let mut patterns = read.iter().chain(write).flatten();
    role.name != ROOT
        && fits_name(&role.name)
        && patterns.all(|pattern| (1..=MAX_PATTERN_BYTES).contains(&pattern.len()))
}

fn fits_name(name: &str) -> bool {
    (1..=MAX_AUTH_NAME_BYTES).contains(&name.len())
}

fn modifiable(role: &str) -> Result<(), Refusal> {
    if role == ROOT {
        return forbidden(format!("Cannot modify role {role}: is root role."));
    }
    Ok(())
}

fn refused<T>(code: u16, text: impl std::fmt::Display) -> Result<T, Refusal> {
    Err((code, format!("auth: {text}")))
}

fn invalid<T>(text: impl std::fmt::Display) -> Result<T, Refusal> {
    refused(code::AUTH_INVALID, text)
}

fn forbidden<T>(text: impl std::fmt::Display) -> Result<T, Refusal> {
    refused(code::AUTH_FORBIDDEN, text)
}

fn missing<T>(text: impl std::fmt::Display) -> Result<T, Refusal> {
    refused(code::AUTH_NOT_FOUND, text)
}

fn conflict<T>(text: impl std::fmt::Display) -> Result<T, Refusal> {
    refused(code::AUTH_CONFLICT, text)
}
