//! The members API, and what a member says about its health.

use std::sync::atomic::Ordering;

use berth_wire::etcd::{Health, Member, MembersBody, Standing, StandingsBody};
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{EtcdClient, Failures, Outgoing};
use crate::endpoints::Endpoint;
use crate::error::SdkError;
use crate::transport::{Answer, Call, Transport};

const JSON_TYPE: &str = "application/json";

/// Why a request to the members API came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The store refused, in its own words.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// No member answered.
    #[error("no member of the store answered")]
    Unanswered(Failures),
}

impl From<Failures> for MembersError {
    fn from(failures: Failures) -> Self {
        Self::Unanswered(failures)
    }
}

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    message: String,
}

/// What `/health` says: the word of 2.x and 3.x, or the truth value of some proxies.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum HealthWords {
    Word(Health),
    Truth { health: bool },
}

impl EtcdClient {
    /// All members.
    ///
    /// # Errors
    /// What the store refuses, or no member that answers.
    pub async fn members(&self) -> Result<Vec<Member>, MembersError> {
        let body: MembersBody = self.ask("/v2/members").await?;
        Ok(body.members)
    }

    /// All members with what etcd's list does not tell: who leads, and who has no vote yet.
    ///
    /// # Errors
    /// As [`EtcdClient::members`]; etcd itself does not know the question.
    pub async fn standings(&self) -> Result<Vec<Standing>, MembersError> {
        let body: StandingsBody = self.ask("/berth/members").await?;
        Ok(body.members)
    }

    /// The member that leads.
    ///
    /// # Errors
    /// As [`EtcdClient::members`]; during an election there is none.
    pub async fn leader(&self) -> Result<Member, MembersError> {
        self.ask("/v2/members/leader").await
    }

    /// Adds a member that the others reach at these URLs.
    ///
    /// # Errors
    /// As [`EtcdClient::members`].
    pub async fn add_member(&self, peer_urls: &[String]) -> Result<Member, MembersError> {
        let answer = self.change(&Method::POST, "/v2/members", Some(peer_urls)).await?;
        self.document(&answer)
    }

    /// Removes a member for good.
    ///
    /// # Errors
    /// As [`EtcdClient::members`].
    pub async fn remove_member(&self, id: &str) -> Result<(), MembersError> {
        self.change(&Method::DELETE, &member_path(id), None)
            .await
            .map(drop)
    }

    /// Gives a member other peer URLs.
    ///
    /// # Errors
    /// As [`EtcdClient::members`].
    pub async fn update_member(&self, id: &str, peer_urls: &[String]) -> Result<(), MembersError> {
        self.change(&Method::PUT, &member_path(id), Some(peer_urls))
            .await
            .map(drop)
    }

    /// Makes the member with this id lead, or any other if there is none, and waits until it does. It is Berth's own: etcd
    /// has no such request.
    ///
    /// # Errors
    /// As [`EtcdClient::members`].
    pub async fn move_leader(&self, id: Option<&str>) -> Result<(), MembersError> {
        let text = serde_json::json!({ "id": id }).to_string();
        self.send_document(&Method::PUT, "/v2/members/leader", Some(&text))
            .await
            .map(drop)
    }

    /// Whether the member at `endpoint` calls itself healthy.
    ///
    /// # Errors
    /// No answer, or one that is not `/health`'s.
    pub async fn health(&self, endpoint: &Endpoint) -> Result<bool, SdkError> {
        let member = Transport::new(endpoint.clone()).with_tls(self.tls.clone());
        let call = Call::new(Method::GET, "/health").within(self.limit);
        let answer = member.send(call).await?;
        match serde_json::from_slice(&answer.body) {
            Ok(HealthWords::Word(word)) => Ok(word.health == "true"),
            Ok(HealthWords::Truth { health }) => Ok(health),
            Err(_) => Err(member.unexpected(&answer)),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, MembersError> {
        let answer = self.change(&Method::GET, path, None).await?;
        self.document(&answer)
    }

    async fn change(
        &self,
        method: &Method,
        path: &str,
        peer_urls: Option<&[String]>,
    ) -> Result<Answer, MembersError> {
        let text = peer_urls.map(|urls| serde_json::json!({ "peerURLs": urls }).to_string());
        self.send_document(method, path, text.as_deref()).await
    }

    async fn send_document(
        &self,
        method: &Method,
        path: &str,
        text: Option<&str>,
    ) -> Result<Answer, MembersError> {
        let outgoing = Outgoing {
            method,
            path,
            body: text.map(|text| (JSON_TYPE, text)),
        };
        let answer = self.attempt(&outgoing).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        if super::no_leader(answer.status) {
            return Err(self.odd(&answer));
        }
        let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Refusal {
            message: answer.text().trim().to_owned(),
        });
        Err(MembersError::Refused {
            status: answer.status.as_u16(),
            message: refusal.message,
        })
    }

    fn document<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, MembersError> {
        serde_json::from_slice(&answer.body).map_err(|_| self.odd(answer))
    }

    fn odd(&self, answer: &Answer) -> MembersError {
        let member = self.member(self.preferred.load(Ordering::Relaxed));
        MembersError::Unanswered(Failures::from(member.unexpected(answer)))
    }
}

/// An id from a person may hold anything.
fn member_path(id: &str) -> String {
    let id: String = percent_encoding::utf8_percent_encode(id, super::FORM).collect();
    format!("/v2/members/{id}")
}
