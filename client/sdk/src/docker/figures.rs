//! Pausing containers, and looking at what they run and use.

use berth_wire::docker::{ContainerStats, TopResponse};

use super::{EngineClient, escape};
use crate::error::SdkError;
use crate::etcd::Query;

impl EngineClient {
    /// Stops all processes of a container where they are.
    ///
    /// # Errors
    /// As every request; 409 when it is paused already or does not run.
    pub async fn pause(&self, container: &str) -> Result<(), SdkError> {
        self.order(container, "/pause", &Query::new()).await
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// As every request.
    pub async fn unpause(&self, container: &str) -> Result<(), SdkError> {
        self.order(container, "/unpause", &Query::new()).await
    }

    /// The processes of a container in the columns that these arguments of `ps` ask for; `-ef` unless given.
    ///
    /// # Errors
    /// As every request; 409 when it does not run.
    pub async fn top(&self, container: &str, arguments: &str) -> Result<TopResponse, SdkError> {
        let mut query = Query::new();
        query.optional("ps_args", Some(arguments).filter(|text| !text.is_empty()));
        self.get(&format!("/containers/{}/top", escape(container)), &query)
            .await
    }

    /// One look at what a container uses, without one before it.
    ///
    /// # Errors
    /// As every request.
    pub async fn stats(&self, container: &str) -> Result<ContainerStats, SdkError> {
        let mut query = Query::new();
        query.optional("stream", Some("0"));
        query.flag("one-shot", true);
        self.get(&format!("/containers/{}/stats", escape(container)), &query)
            .await
    }
}
