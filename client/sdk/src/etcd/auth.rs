//! Users, roles and the switch that makes them count.

use berth_wire::etcd::{Permissions, Role, RoleChange, User, UserChange};
use http::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{EtcdClient, FORM, Failures, MembersError, Outgoing};
use crate::transport::Answer;

const JSON_TYPE: &str = "application/json";

/// A user with its roles in full, as the store shows it.
#[derive(Debug, Deserialize)]
struct FullUser {
    user: String,
    #[serde(default)]
    roles: Vec<Role>,
}

impl From<FullUser> for User {
    fn from(full: FullUser) -> Self {
        let roles = full.roles.into_iter().map(|role| role.role);
        Self {
            user: full.user,
            roles: roles.collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct UsersBody {
    users: Option<Vec<FullUser>>,
}

#[derive(Debug, Deserialize)]
struct RolesBody {
    roles: Option<Vec<Role>>,
}

/// The body of a refusal.
#[derive(Debug, Deserialize)]
struct Refusal {
    message: String,
}

impl EtcdClient {
    /// Lets credentials count, or not any more.
    ///
    /// # Errors
    /// What the store refuses, or no member that answers. A request that was not refused may have been carried out.
    pub async fn set_auth(&self, enabled: bool) -> Result<(), MembersError> {
        let method = if enabled { Method::PUT } else { Method::DELETE };
        self.tell(&method, "/v2/auth/enable", None).await.map(drop)
    }

    /// All users, by name.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn users(&self) -> Result<Vec<User>, MembersError> {
        let answer = self.tell(&Method::GET, "/v2/auth/users", None).await?;
        let body: UsersBody = self.told(&answer)?;
        Ok(body.users.into_iter().flatten().map(User::from).collect())
    }

    /// A user.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`]; a user with a role that is not there is refused.
    pub async fn user(&self, name: &str) -> Result<User, MembersError> {
        let answer = self.tell(&Method::GET, &path("users", name), None).await?;
        self.told::<FullUser>(&answer).map(User::from)
    }

    /// Makes a user, or changes one.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn put_user(&self, change: &UserChange) -> Result<(), MembersError> {
        let path = path("users", &change.user);
        self.tell(&Method::PUT, &path, document(change)).await.map(drop)
    }

    /// Removes a user.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn remove_user(&self, name: &str) -> Result<(), MembersError> {
        self.tell(&Method::DELETE, &path("users", name), None)
            .await
            .map(drop)
    }

    /// All roles, by name.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn roles(&self) -> Result<Vec<Role>, MembersError> {
        let answer = self.tell(&Method::GET, "/v2/auth/roles", None).await?;
        let body: RolesBody = self.told(&answer)?;
        Ok(body.roles.unwrap_or_default())
    }

    /// A role.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn role(&self, name: &str) -> Result<Role, MembersError> {
        let answer = self.tell(&Method::GET, &path("roles", name), None).await?;
        self.told(&answer)
    }

    /// Makes a role.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn add_role(&self, name: &str, permissions: Permissions) -> Result<(), MembersError> {
        let role = Role {
            role: name.to_owned(),
            permissions,
        };
        self.tell(&Method::PUT, &path("roles", name), document(&role))
            .await
            .map(drop)
    }

    /// Changes what a role permits; gives the role as it is then.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn change_role(&self, change: &RoleChange) -> Result<Role, MembersError> {
        let path = path("roles", &change.role);
        let answer = self.tell(&Method::PUT, &path, document(change)).await?;
        self.told(&answer)
    }

    /// Removes a role.
    ///
    /// # Errors
    /// As [`EtcdClient::set_auth`].
    pub async fn remove_role(&self, name: &str) -> Result<(), MembersError> {
        self.tell(&Method::DELETE, &path("roles", name), None)
            .await
            .map(drop)
    }

    async fn tell(
        &self,
        method: &Method,
        path: &str,
        document: Option<String>,
    ) -> Result<Answer, MembersError> {
        let outgoing = Outgoing {
            method,
            path,
            body: document.as_deref().map(|text| (JSON_TYPE, text)),
        };
        let answer = self.attempt(&outgoing).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        if super::no_leader(answer.status) {
            return Err(self.strange(&answer));
        }
        let refusal = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Refusal {
            message: answer.text().trim().to_owned(),
        });
        Err(MembersError::Refused {
            status: answer.status.as_u16(),
            message: refusal.message,
        })
    }

    fn told<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, MembersError> {
        serde_json::from_slice(&answer.body).map_err(|_| self.strange(answer))
    }

    fn strange(&self, answer: &Answer) -> MembersError {
        let member = self.member(self.preferred.load(std::sync::atomic::Ordering::Relaxed));
        MembersError::Unanswered(Failures::from(member.unexpected(answer)))
    }
}

/// Names from a person may hold anything.
fn path(kind: &str, name: &str) -> String {
    let name: String = percent_encoding::utf8_percent_encode(name, FORM).collect();
    format!("/v2/auth/{kind}/{name}")
}

/// Texts and lists of texts always can be written.
fn document(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}
