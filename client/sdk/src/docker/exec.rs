//! Further processes in running containers, and the size of terminals.

use berth_wire::docker::{ExecConfig, ExecInspect, ExecStart, IdResponse};
use http::Method;

use super::{API, EngineClient, escape, refuse, to_json};
use crate::console::Size;
use crate::error::SdkError;
use crate::etcd::Query;
use crate::streams::Attached;
use crate::transport::Call;

impl EngineClient {
    /// Prepares a process in a running container, and gives its id.
    ///
    /// # Errors
    /// As every request; 409 when the container does not run or is paused.
    pub async fn create_exec(&self, container: &str, config: &ExecConfig) -> Result<String, SdkError> {
        let path = format!("{API}/containers/{}/exec", escape(container));
        let call = Call::new(Method::POST, path).body("application/json", to_json(config)?);
        let made: IdResponse = self.ask(call).await?;
        Ok(made.id)
    }

    /// Starts a prepared process and attaches to it.
    ///
    /// # Errors
    /// As every request.
    pub async fn start_exec(&self, id: &str, start: &ExecStart) -> Result<Attached, SdkError> {
        let call = Call::new(Method::POST, format!("{API}/exec/{}/start", escape(id)));
        self.upgrade(call.body("application/json", to_json(start)?)).await
    }

    /// Starts a prepared process and leaves it alone.
    ///
    /// # Errors
    /// As every request.
    pub async fn start_exec_detached(&self, id: &str) -> Result<(), SdkError> {
        let start = ExecStart {
            detach: true,
            ..ExecStart::default()
        };
        let call = Call::new(Method::POST, format!("{API}/exec/{}/start", escape(id)));
        let call = call.body("application/json", to_json(&start)?);
        let answer = self.transport.send(call).await?;
        refuse(&self.transport, &answer)
    }

    /// What became of a process.
    ///
    /// # Errors
    /// As every request.
    pub async fn inspect_exec(&self, id: &str) -> Result<ExecInspect, SdkError> {
        self.get(&format!("/exec/{}/json", escape(id)), &Query::new())
            .await
    }

    /// Gives the terminal of a container another size.
    ///
    /// # Errors
    /// As every request; 409 when it does not run or has none.
    pub async fn resize(&self, container: &str, size: Size) -> Result<(), SdkError> {
        self.order(container, "/resize", &size_query(size)).await
    }

    /// Gives the terminal of a further process another size.
    ///
    /// # Errors
    /// As every request.
    pub async fn resize_exec(&self, id: &str, size: Size) -> Result<(), SdkError> {
        let path = size_query(size).onto(&format!("{API}/exec/{}/resize", escape(id)));
        let answer = self.transport.send(Call::new(Method::POST, path)).await?;
        refuse(&self.transport, &answer)
    }
}

fn size_query(size: Size) -> Query {
    let mut query = Query::new();
    query.optional("h", Some(size.rows));
    query.optional("w", Some(size.columns));
    query
}
