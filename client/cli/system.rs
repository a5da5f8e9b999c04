//! version and info.

use berth_sdk::EtcdClient;
use serde_json::json;

use crate::args::{Global, Output};
use crate::containers::client;
use crate::exit::{FAILED, Outcome};
use crate::output;
use crate::terminal::{print, print_line, tell};

/// This program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The versions of everything that answers. Fails when neither engine nor store does.
pub(crate) async fn version(global: &Global, store: &EtcdClient) -> Outcome {
    let client = client(global)?;
    let (engine, store) = tokio::join!(client.version(), store.version());
    let code = if engine.is_err() && store.is_err() {
        FAILED
    } else {
        0
    };
    if global.output == Output::Json {
        let document = json!({ "Client": VERSION, "Engine": engine.ok(), "Store": store.ok() });
        print_line(&document.to_string())?;
        return Ok(code);
    }
    print_line(&format!("client: berth {VERSION}"))?;
    match engine {
        Ok(engine) => print_line(&format!(
            "engine: {} (API {}, {} or newer)",
            engine.version, engine.api_version, engine.min_api_version
        ))?,
        Err(error) => tell(&format!("engine: {}", error.chain())),
    }
    match store {
        Ok(store) => print_line(&format!(
            "store: {} (cluster {})",
            store.etcdserver, store.etcdcluster
        ))?,
        Err(error) => tell(&format!("store: {}", error.chain())),
    }
    Ok(code)
}

pub(crate) async fn info(global: &Global) -> Outcome {
    let info = client(global)?.info().await?;
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&info)?)?,
        Output::Text => print(&output::info(&info))?,
    }
    Ok(0)
}
