//! Users, roles and the switch that makes them count: a small state beside the keyspace, changed by replicated commands,
//! read by whoever checks a request.

mod change;
mod codec;

use crate::digest::{mix, mix_bytes};
use crate::key::MAX_KEY_BYTES;
use imbl::OrdMap;
use std::borrow::Cow;
use std::sync::Arc;

pub use change::{AuthChange, AuthOutcome};
pub(crate) use codec::{
    TAG_AUTH, TAG_ROLE, TAG_USER, auth_record, read_auth, read_change, read_role, read_user, role_record,
    user_record, write_change,
};

/// The longest name of a user or a role; a longer one is refused.
pub const MAX_AUTH_NAME_BYTES: usize = 256;

/// The longest pattern: that of the longest key, with a slash and a star behind it; a longer one is refused.
pub const MAX_PATTERN_BYTES: usize = MAX_KEY_BYTES + 2;

/// All users and roles together, each text counted with `TEXT_BYTES` more. Each member holds them in memory, and a check
/// may look at all patterns of a user. A change beyond is refused.
pub const MAX_AUTH_BYTES: usize = 2 << 20;

/// What a text costs beside its bytes.
const TEXT_BYTES: usize = 32;

/// The longest hash of a password; those of bcrypt have 60 bytes.
pub(crate) const MAX_HASH_BYTES: usize = 128;

/// The role that may do everything, and the user that always has it.
pub const ROOT: &str = "root";

/// The role of whoever shows no credentials.
pub const GUEST: &str = "guest";

/// What everybody may do whom nothing forbids.
const EVERYTHING: &str = "/*";

/// Someone with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The hash of the password, as bcrypt writes it. The password itself never comes here.
    pub hash: String,
    /// The names of the roles; none if never any was given, which answers tell from an empty list.
    pub roles: Option<Vec<String>>,
}

/// What holders of a role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The name.
    pub name: String,
    /// What it permits.
    pub permissions: Permissions,
}

/// Patterns of keys: a key, or a beginning of keys with a `*` behind it. An absent list is empty, which answers tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What may be read and watched.
    pub read: Option<Vec<String>>,
    /// What may be written and removed.
    pub write: Option<Vec<String>>,
}

/// What a request does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Get, watch.
    Read,
    /// Everything else.
    Write,
}

/// Users and roles at one point of the log. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth {
    enabled: bool,
    /// Something was changed once.
    made: bool,
    users: OrdMap<String, Arc<User>>,
    roles: OrdMap<String, Arc<Role>>,
    /// What all users and roles cost.
    bytes: usize,
    /// The sum of the hashes of all users and roles.
    hash: u64,
}

impl User {
    /// Whether it has a role. The user `root` always has the role `root`.
    pub fn has(&self, role: &str) -> bool {
        role == ROOT && self.name == ROOT || self.roles.iter().flatten().any(|held| held == role)
    }

    /// The same with the role that the user `root` always has.
    fn complete(&self) -> User {
        let mut user = self.clone();
        if user.name == ROOT && !user.roles.iter().flatten().any(|held| held == ROOT) {
            user.roles.get_or_insert_default().push(ROOT.to_owned());
        }
        user
    }

    fn bytes(&self) -> usize {
        let roles = self.roles.iter().flatten();
        cost(&self.name) + cost(&self.hash) + roles.map(|role| cost(role)).sum::<usize>()
    }

    fn digest(&self) -> u64 {
        let hash = mix_bytes(mix_bytes(1, self.name.as_bytes()), self.hash.as_bytes());
        mix_list(hash, self.roles.as_deref())
    }
}

impl Role {
    fn root() -> Role {
        Role {
            name: ROOT.to_owned(),
            permissions: Permissions::everything(),
        }
    }

    fn may(&self, path: &[u8], access: Access, recursive: bool) -> bool {
        let list = match access {
            Access::Read => &self.permissions.read,
            Access::Write => &self.permissions.write,
        };
        let matches = |pattern: &String| covers(pattern.as_bytes(), path, recursive);
        self.name == ROOT || list.iter().flatten().any(matches)
    }

    fn bytes(&self) -> usize {
        let Permissions { read, write } = &self.permissions;
        let patterns = read.iter().chain(write).flatten();
        cost(&self.name) + patterns.map(|pattern| cost(pattern)).sum::<usize>()
    }

    fn digest(&self) -> u64 {
        let hash = mix_bytes(2, self.name.as_bytes());
        let hash = mix_list(hash, self.permissions.read.as_deref());
        mix_list(hash, self.permissions.write.as_deref())
    }
}

impl Permissions {
    fn everything() -> Permissions {
        let all = || Some(vec![EVERYTHING.to_owned()]);
        Permissions {
            read: all(),
            write: all(),
        }
    }

    /// Whether there is no pattern in it.
    pub fn is_empty(&self) -> bool {
        self.read.iter().chain(&self.write).all(Vec::is_empty)
    }
}

/// Whether a pattern covers a path; with everything below it only if it ends with a star.
fn covers(pattern: &[u8], path: &[u8], recursive: bool) -> bool {
    match pattern.split_last() {
        Some((b'*', beginning)) => path.starts_with(beginning),
        Some(_) => !recursive && path == pattern,
        None => false,
    }
}

fn cost(text: &str) -> usize {
    text.len() + TEXT_BYTES
}

fn mix_list(hash: u64, list: Option<&[String]>) -> u64 {
    let Some(list) = list else {
        return mix(hash, 0);
    };
    let hash = mix(hash, 1 + list.len() as u64);
    list.iter()
        .fold(hash, |hash, text| mix_bytes(hash, text.as_bytes()))
}

impl Auth {
    /// Whether credentials count.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether it is as it is in a new store.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.made
    }

    /// A user as it is stored, for a check of its password.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// A user as answers show it: the user `root` with the role `root`.
    pub fn shown_user(&self, name: &str) -> Option<User> {
        self.users.get(name).map(|user| user.complete())
    }

    /// The users as answers show them, by name.
    pub fn shown_users(&self) -> impl Iterator<Item = User> + '_ {
        self.users.values().map(|user| user.complete())
    }

    /// A role; that of `root` is always there.
    pub fn role(&self, name: &str) -> Option<Cow<'_, Role>> {
        if name == ROOT {
            return Some(Cow::Owned(Role::root()));
        }
        self.roles.get(name).map(|role| Cow::Borrowed(&**role))
    }

    /// The roles by name, that of `root` among them.
    pub fn shown_roles(&self) -> Vec<Cow<'_, Role>> {
        let held = self.roles.values().map(|role| Cow::Borrowed(&**role));
        let mut roles: Vec<Cow<'_, Role>> = held.chain([Cow::Owned(Role::root())]).collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        roles
    }

    /// Whether a user may do something to the path of a key as it was asked for, with a slash at its end or without. With
    /// `recursive` everything below the path is meant too.
    pub fn permits(&self, user: &User, path: &[u8], access: Access, recursive: bool) -> bool {
        let held = user.roles.iter().flatten();
        user.has(ROOT)
            || held
                .filter_map(|role| self.roles.get(role.as_str()))
                .any(|role| role.may(path, access, recursive))
    }

    /// The same for whoever shows no credentials. As in etcd, a pattern without a star suffices for what is below.
    pub fn permits_guest(&self, path: &[u8], access: Access) -> bool {
        let guest = self.roles.get(GUEST);
        guest.is_some_and(|role| role.may(path, access, false))
    }

    /// Different, all but certainly, for different states.
    pub fn mark(&self) -> u64 {
        self.mix_into(0)
    }

    /// Different, all but certainly, for different states; only the state of a new store gives `hash` itself.
    pub(crate) fn mix_into(&self, hash: u64) -> u64 {
        if self.is_untouched() {
            return hash;
        }
        mix(mix(hash, self.hash), 1 + u64::from(self.enabled))
    }

    fn put_user(&mut self, user: User) {
        self.remove_user(&user.name);
        self.bytes += user.bytes();
        self.hash = self.hash.wrapping_add(user.digest());
        self.users.insert(user.name.clone(), Arc::new(user));
    }

    fn remove_user(&mut self, name: &str) -> bool {
        let Some(user) = self.users.remove(name) else {
            return false;
        };
        self.bytes -= user.bytes();
        self.hash = self.hash.wrapping_sub(user.digest());
        true
    }

    fn put_role(&mut self, role: Role) {
        self.remove_role(&role.name);
        self.bytes += role.bytes();
        self.hash = self.hash.wrapping_add(role.digest());
        self.roles.insert(role.name.clone(), Arc::new(role));
    }

    fn remove_role(&mut self, name: &str) -> bool {
        let Some(role) = self.roles.remove(name) else {
            return false;
        };
        self.bytes -= role.bytes();
        self.hash = self.hash.wrapping_sub(role.digest());
        true
    }

    /// Restores the switch of a snapshot.
    pub(crate) fn restore_switch(&mut self, enabled: bool) {
        self.made = true;
        self.enabled = enabled;
    }

    /// Restores a user of a snapshot; `false` if it cannot be a part of one.
    pub(crate) fn restore_user(&mut self, user: User) -> bool {
        let new = self.made && self.users.keys().next_back().is_none_or(|last| *last < user.name);
        let fits = new && change::fits_user(&user) && user.bytes() + self.bytes <= MAX_AUTH_BYTES;
        if fits {
            self.put_user(user);
        }
        fits
    }

    /// Restores a role of a snapshot; `false` if it cannot be a part of one.
    pub(crate) fn restore_role(&mut self, role: Role) -> bool {
        let new = self.made && self.roles.keys().next_back().is_none_or(|last| *last < role.name);
        let fits = new && change::fits_role(&role) && role.bytes() + self.bytes <= MAX_AUTH_BYTES;
        if fits {
            self.put_role(role);
        }
        fits
    }

    /// All users as they are stored, by name.
    pub(crate) fn stored_users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// All roles as they are stored, by name.
    pub(crate) fn stored_roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }
}

#[cfg(test)]
mod tests;
