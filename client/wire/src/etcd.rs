//! The documents of the keys API.

use serde::{Deserialize, Serialize};

/// What happened to a key, or what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// `get`, `set`, `create`, `update`, `delete`, `compareAndSwap`, `compareAndDelete`, `expire`.
    pub action: String,
    /// The node as it is now.
    pub node: Node,
    /// The node as it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_node: Option<Node>,
}

/// A key or a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// The absolute key; the root has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The value of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A directory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dir: bool,
    /// When it goes, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// Seconds until it goes, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// What a directory holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// The index of the last change.
    #[serde(skip_serializing_if = "is_zero")]
    pub modified_index: u64,
    /// The index of the creation.
    #[serde(skip_serializing_if = "is_zero")]
    pub created_index: u64,
}

/// Why the store refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorBody {
    /// The number of the error.
    pub error_code: u16,
    /// What the number means.
    pub message: String,
    /// What it is about: the key, as a rule.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// The store's index.
    pub index: u64,
}

/// The answer of `/version`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Version {
    /// The member's version.
    pub etcdserver: String,
    /// The cluster's version.
    pub etcdcluster: String,
}

/// The answer of `/health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `true` or `false`, as text.
    pub health: String,
}

/// The answer of `/v2/members`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MembersBody {
    /// All members.
    pub members: Vec<Member>,
}

/// A member of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its id in hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where the other members reach it.
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

/// The answer of `/berth/members`, which etcd does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StandingsBody {
    /// All members.
    pub members: Vec<Standing>,
}

/// A member and what it is among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// The member, as etcd's list has it.
    #[serde(flatten)]
    pub member: Member,
    /// It leads, as far as the member that was asked knows.
    #[serde(rename = "isLeader")]
    pub is_leader: bool,
    /// It receives everything, but has no vote yet.
    #[serde(rename = "isLearner")]
    pub is_learner: bool,
}

/// A user, by the names of its roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its name.
    pub user: String,
    /// Its roles.
    pub roles: Vec<String>,
}

/// What is to become of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserChange {
    /// Its name.
    pub user: String,
    /// Its password; an existing user keeps the old one if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// Roles to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grant: Vec<String>,
    /// Roles to take away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoke: Vec<String>,
}

/// A role and what it permits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Its name.
    pub role: String,
    /// What it permits.
    pub permissions: Permissions,
}

/// What is to become of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RoleChange {
    /// Its name.
    pub role: String,
    /// What to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Permissions>,
    /// What to take away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Permissions>,
}

/// What a role permits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// On keys.
    pub kv: KeyPermissions,
}

/// Patterns of keys: a key, or a beginning of keys with a `*` behind it. A list that was never filled is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyPermissions {
    /// What may be read and watched.
    pub read: Option<Vec<String>>,
    /// What may be written and removed.
    pub write: Option<Vec<String>>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_as_it_was_read() {
        for text in [
            r#"{"action":"set","node":{"key":"/a","value":"","modifiedIndex":7,"createdIndex":7}}"#,
            r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":4}]}}"#,
            r#"{"action":"expire","node":{"key":"/a","modifiedIndex":9,"createdIndex":7},"prevNode":{"key":"/a","value":"x","expiration":"2026-11-23T22:07:30.7Z","ttl":2,"modifiedIndex":7,"createdIndex":7}}"#,
        ] {
            let event: Event = serde_json::from_str(text).expect("an event");
            assert_eq!(serde_json::to_string(&event).expect("json"), text);
        }
    }

    #[test]
    fn an_error_is_read_with_and_without_a_cause() {
        let text = r#"{"errorCode":100,"message":"Key not found","cause":"/foo","index":6}"#;
        let error: ErrorBody = serde_json::from_str(text).expect("an error");
        assert_eq!(
            (error.error_code, error.cause.as_str(), error.index),
            (100, "/foo", 6)
        );
        assert_eq!(serde_json::to_string(&error).expect("json"), text);
        let bare: ErrorBody =
            serde_json::from_str(r#"{"errorCode":300,"message":"m","index":0}"#).expect("an error");
        assert!(bare.cause.is_empty());
    }
}
