//! Volumes and networks, what is on the disk, and removing what nobody uses.

use std::collections::BTreeMap;

use berth_wire::docker::{
    DiskUsage, HostConfig, NetworkResource, PruneContainersResponse, PruneImagesResponse,
    PruneVolumesResponse, UpdateResponse, VolumeCreate, VolumeList, VolumeResource,
};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{API, EngineClient, escape, filters, refuse, to_json};
use crate::error::SdkError;
use crate::etcd::Query;
use crate::transport::Call;

/// A network that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Its name.
    pub name: String,
    /// Its driver; bridge unless given.
    pub driver: Option<String>,
    /// No way out of the host.
    pub internal: bool,
    /// Containers may be attached by hand.
    pub attachable: bool,
    /// Addresses of IPv6 too.
    pub ipv6: bool,
    /// Subnets, and for each the gateway and the range that addresses are taken from, where given.
    pub subnets: Vec<(String, Option<String>, Option<String>)>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// How a container takes part in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Further names of the container there.
    pub aliases: Vec<String>,
    /// The address it gets.
    pub ip: Option<String>,
    /// The IPv6 address it gets.
    pub ip6: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pruned {
    networks_deleted: Option<Vec<String>>,
}

impl EngineClient {
    /// Renames a container.
    ///
    /// # Errors
    /// As every request; 409 when the name is taken.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), SdkError> {
        let mut query = Query::new();
        query.pair("name", name);
        self.order(container, "/rename", &query).await
    }

    /// Changes limits and the restart policy of a container; what is 0 or empty stays as it is.
    ///
    /// # Errors
    /// As every request.
    pub async fn update(&self, container: &str, wish: &HostConfig) -> Result<UpdateResponse, SdkError> {
        let path = format!("{API}/containers/{}/update", escape(container));
        let call = Call::new(Method::POST, path);
        self.ask(call.body("application/json", to_json(wish)?)).await
    }

    /// Lists volumes.
    ///
    /// # Errors
    /// As every request.
    pub async fn volumes(&self, wanted: &[(String, String)]) -> Result<Vec<VolumeResource>, SdkError> {
        let mut query = Query::new();
        query.optional("filters", filters(wanted)?);
        let list: VolumeList = self.get("/volumes", &query).await?;
        Ok(list.volumes)
    }

    /// Everything about a volume.
    ///
    /// # Errors
    /// As every request; 404 when there is none.
    pub async fn inspect_volume(&self, name: &str) -> Result<VolumeResource, SdkError> {
        self.get(&format!("/volumes/{}", escape(name)), &Query::new())
            .await
    }

    /// Makes a volume; one of that name that is there already is as good.
    ///
    /// # Errors
    /// As every request.
    pub async fn create_volume(&self, request: &VolumeCreate) -> Result<VolumeResource, SdkError> {
        let call = Call::new(Method::POST, format!("{API}/volumes/create"));
        self.ask(call.body("application/json", to_json(request)?)).await
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// As every request; 409 when a container has it.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<(), SdkError> {
        let mut query = Query::new();
        query.flag("force", force);
        self.delete(query.onto(&format!("{API}/volumes/{}", escape(name))))
            .await
    }

    /// Lists networks.
    ///
    /// # Errors
    /// As every request.
    pub async fn networks(&self, wanted: &[(String, String)]) -> Result<Vec<NetworkResource>, SdkError> {
        let mut query = Query::new();
        query.optional("filters", filters(wanted)?);
        self.get("/networks", &query).await
    }

    /// Everything about a network, as the engine writes it.
    ///
    /// # Errors
    /// As every request; 404 when there is none.
    pub async fn inspect_network(&self, name: &str) -> Result<Value, SdkError> {
        self.get(&format!("/networks/{}", escape(name)), &Query::new())
            .await
    }

    /// Makes a network, and gives its id.
    ///
    /// # Errors
    /// As every request; 409 when there is one of that name.
    pub async fn create_network(&self, options: &NetworkOptions) -> Result<String, SdkError> {
        let config: Vec<Value> = options.subnets.iter().map(subnet).collect();
        let request = json!({
            "Name": options.name,
            "CheckDuplicate": true,
            "Driver": options.driver.as_deref().unwrap_or("bridge"),
            "Internal": options.internal,
            "Attachable": options.attachable,
            "EnableIPv6": options.ipv6,
            "IPAM": { "Driver": "default", "Config": config },
            "Options": options.options,
            "Labels": options.labels,
        });
        let call = Call::new(Method::POST, format!("{API}/networks/create"));
        let made: berth_wire::docker::IdResponse = self
            .ask(call.body("application/json", to_json(&request)?))
            .await?;
        Ok(made.id)
    }

    /// Removes a network.
    ///
    /// # Errors
    /// As every request; 403 when containers are in it.
    pub async fn remove_network(&self, name: &str) -> Result<(), SdkError> {
        self.delete(format!("{API}/networks/{}", escape(name))).await
    }

    /// Brings a container into a network.
    ///
    /// # Errors
    /// As every request.
    pub async fn connect(
        &self,
        network: &str,
        container: &str,
        options: &ConnectOptions,
    ) -> Result<(), SdkError> {
        let mut addresses = Map::new();
        for (name, address) in [("IPv4Address", &options.ip), ("IPv6Address", &options.ip6)] {
            if let Some(address) = address {
                addresses.insert(name.to_owned(), address.clone().into());
            }
        }
        let mut endpoint = Map::new();
        if !addresses.is_empty() {
            endpoint.insert("IPAMConfig".to_owned(), addresses.into());
        }
        if !options.aliases.is_empty() {
            endpoint.insert("Aliases".to_owned(), options.aliases.clone().into());
        }
        let request = json!({ "Container": container, "EndpointConfig": endpoint });
        self.tell(format!("{API}/networks/{}/connect", escape(network)), &request)
            .await
    }

    /// Takes a container out of a network.
    ///
    /// # Errors
    /// As every request.
    pub async fn disconnect(&self, network: &str, container: &str, force: bool) -> Result<(), SdkError> {
        let request = json!({ "Container": container, "Force": force });
        self.tell(format!("{API}/networks/{}/disconnect", escape(network)), &request)
            .await
    }

    /// What takes how much of the disk.
    ///
    /// # Errors
    /// As every request.
    pub async fn disk_usage(&self) -> Result<DiskUsage, SdkError> {
        self.get("/system/df", &Query::new()).await
    }

    /// Removes containers that do not run.
    ///
    /// # Errors
    /// As every request.
    pub async fn prune_containers(
        &self,
        wanted: &[(String, String)],
    ) -> Result<PruneContainersResponse, SdkError> {
        self.prune("containers", wanted).await
    }

    /// Removes images that have no name, or with the filter `dangling=false` all that no container uses.
    ///
    /// # Errors
    /// As every request.
    pub async fn prune_images(&self, wanted: &[(String, String)]) -> Result<PruneImagesResponse, SdkError> {
        self.prune("images", wanted).await
    }

    /// Removes volumes that no container has: those without a name, or with the filter `all=true` all.
    ///
    /// # Errors
    /// As every request.
    pub async fn prune_volumes(&self, wanted: &[(String, String)]) -> Result<PruneVolumesResponse, SdkError> {
        self.prune("volumes", wanted).await
    }

    /// Removes networks without containers, and gives their names.
    ///
    /// # Errors
    /// As every request.
    pub async fn prune_networks(&self, wanted: &[(String, String)]) -> Result<Vec<String>, SdkError> {
        let pruned: Pruned = self.prune("networks", wanted).await?;
        Ok(pruned.networks_deleted.unwrap_or_default())
    }

    async fn prune<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        wanted: &[(String, String)],
    ) -> Result<T, SdkError> {
        let mut query = Query::new();
        query.optional("filters", filters(wanted)?);
        let path = query.onto(&format!("{API}/{what}/prune"));
        self.ask(Call::new(Method::POST, path)).await
    }

    async fn delete(&self, path: String) -> Result<(), SdkError> {
        let answer = self.transport.send(Call::new(Method::DELETE, path)).await?;
        refuse(&self.transport, &answer)
    }

    async fn tell(&self, path: String, request: &Value) -> Result<(), SdkError> {
        let call = Call::new(Method::POST, path).body("application/json", to_json(request)?);
        let answer = self.transport.send(call).await?;
        refuse(&self.transport, &answer)
    }
}

fn subnet((subnet, gateway, range): &(String, Option<String>, Option<String>)) -> Value {
    let mut entry = Map::new();
    entry.insert("Subnet".to_owned(), subnet.clone().into());
    for (name, value) in [("Gateway", gateway), ("IPRange", range)] {
        if let Some(value) = value {
            entry.insert(name.to_owned(), value.clone().into());
        }
    }
    entry.into()
}
