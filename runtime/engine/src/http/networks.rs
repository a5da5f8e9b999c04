//! Networks: create, list, inspect, connect, disconnect, remove, prune.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_wire::docker::{
    IpamConfig, NetworkConnect, NetworkContainer, NetworkCreate, NetworkCreated, NetworkDisconnect,
    NetworkIpam, NetworkResource, PruneNetworksResponse,
};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::params::Params;
use super::{Answer, Api, body, empty, json};
use crate::clock;
use crate::error::Failure;
use crate::filters::{FilterError, Filters, name_matches};
use crate::handle::{NetworkRow, NetworkView};
use crate::networks::{Network, NetworkFailure, NetworkWish, PSEUDO};

const LIST_FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];

/// Everything below `/networks`.
pub(crate) async fn answer(
    api: &Arc<Api>,
    method: &str,
    rest: &[&str],
    params: &Params,
    request: Request<Incoming>,
) -> Answer {
    match (method, rest) {
        ("GET", []) => list(api, params).await,
        ("POST", ["create"]) => create(api, request).await,
        ("POST", ["prune"]) => prune(api, params).await,
        // `docker inspect X` asks for every kind of thing; a miss must be 404.
        ("GET", [name]) => inspect(api, name).await,
        ("POST", [name, "connect"]) => connect(api, name, request).await,
        ("POST", [name, "disconnect"]) => disconnect(api, name, request).await,
        ("DELETE", [name]) => remove(api, name).await,
        _ => Err(Failure::NoSuchPage),
    }
}

async fn create(api: &Arc<Api>, request: Request<Incoming>) -> Answer {
    let request: NetworkCreate = body::json(request).await?;
    let taken = tokio::task::spawn_blocking(berth_exec::netlink::taken_subnets);
    let taken = taken.await.map_err(|_| Failure::Stopping)?;
    let taken = taken.map_err(berth_exec::ExecError::from)?;
    let used = taken.iter().map(|subnet| (subnet.address, subnet.prefix_len));
    let wish = NetworkWish {
        request,
        used: used.collect(),
        has_ipv6: api.handle.facts().ipv6,
    };
    let created = NetworkCreated {
        id: api.handle.create_network(wish).await?,
        warning: String::new(),
    };
    json(StatusCode::CREATED, &created)
}

async fn list(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &LIST_FILTERS)?;
    check_values(&filters)?;
    let mut all = api.handle.networks().await?;
    let pseudo = PSEUDO.map(|(name, id)| (document_of_pseudo(name, id), false));
    let real = all.iter_mut().map(|view| {
        let used = !std::mem::take(&mut view.rows).is_empty();
        (document(view), used)
    });
    let mut rows: Vec<(NetworkResource, bool)> = real.chain(pseudo).collect();
    rows.retain(|(row, used)| selects(&filters, row, *used));
    rows.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let rows: Vec<NetworkResource> = rows.into_iter().map(|(row, _)| row).collect();
    json(StatusCode::OK, &rows)
}

fn check_values(filters: &Filters) -> Result<(), Failure> {
    for (key, known) in [
        ("type", &["custom", "builtin"][..]),
        ("dangling", &["true", "false", "1", "0"][..]),
    ] {
        let mut values = filters.values(key).into_iter().flatten();
        if let Some(value) = values.find(|value| !known.contains(&value.as_str())) {
            return Err(FilterError::Value(key.to_owned(), value.clone()).into());
        }
    }
    Ok(())
}

fn selects(filters: &Filters, row: &NetworkResource, used: bool) -> bool {
    let builtin = ["bridge", "host", "none"].contains(&row.name.as_str());
    filters.any("name", |pattern| name_matches(pattern, &row.name))
        && filters.any("id", |part| row.id.starts_with(part.as_str()))
        && filters.any("driver", |driver| *driver == row.driver)
        && filters.any("scope", |scope| *scope == row.scope)
        && filters.any("type", |kind| (kind == "builtin") == builtin)
        && filters.any("dangling", |word| {
            matches!(word.as_str(), "true" | "1") == (!used && !builtin)
        })
        && filters.labels(&row.labels)
}

async fn inspect(api: &Arc<Api>, name: &str) -> Answer {
    if let Some((name, id)) = PSEUDO
        .into_iter()
        .find(|(pseudo, id)| name == *pseudo || name == *id)
    {
        return json(StatusCode::OK, &document_of_pseudo(name, id));
    }
    let view = api.handle.network(name).await?;
    json(StatusCode::OK, &document(&view))
}

async fn remove(api: &Arc<Api>, name: &str) -> Answer {
    api.handle.remove_network(name).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn connect(api: &Arc<Api>, name: &str, request: Request<Incoming>) -> Answer {
    let request: NetworkConnect = body::json(request).await?;
    let settings = request.endpoint_config.unwrap_or_default();
    api.handle.connect(name, &request.container, settings).await?;
    Ok(empty(StatusCode::OK))
}

async fn disconnect(api: &Arc<Api>, name: &str, request: Request<Incoming>) -> Answer {
    let request: NetworkDisconnect = body::json(request).await?;
    api.handle
        .disconnect(name, &request.container, request.force)
        .await?;
    Ok(empty(StatusCode::OK))
}

async fn prune(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &PRUNE_FILTERS)?;
    let until = super::prune::until(&filters)?;
    // A container that does not run has a claim too.
    let containers = api.handle.list().await?;
    let wanted = |network: &Network| {
        let mut attachments = containers.iter().flat_map(|container| &container.attachments);
        attachments.any(|attachment| attachment.network == network.id)
    };
    let mut deleted = Vec::new();
    for view in api.handle.networks().await? {
        let network = &view.network;
        let goes = !network.is_own()
            && view.rows.is_empty()
            && !wanted(network)
            && filters.labels(&network.labels)
            && filters.without_labels(&network.labels)
            && until.is_none_or(|until| network.created < until);
        // One that somebody uses by now is left alone.
        if goes && api.handle.remove_network(&network.id).await.is_ok() {
            deleted.push(network.name.clone());
        }
    }
    let reclaimed = [("reclaimed".to_owned(), "0".to_owned())];
    api.events.publish("network", "prune", "", reclaimed.into());
    json(
        StatusCode::OK,
        &PruneNetworksResponse {
            networks_deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
        },
    )
}

/// `docker rm --link /web/db`: the container stays, its link goes.
pub(crate) async fn unlink(api: &Arc<Api>, parent: &str, alias: &str, params: &Params) -> Answer {
    if !params.flag("link") {
        return Err(Failure::NoSuchPage);
    }
    api.handle.unlink(parent, alias).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn document(view: &NetworkView) -> NetworkResource {
    let network = &view.network;
    let subnet = IpamConfig {
        subnet: format!("{}/{}", network.subnet.0, network.subnet.1),
        ip_range: network
            .range
            .map(|(address, length)| format!("{address}/{length}"))
            .unwrap_or_default(),
        gateway: network.gateway.to_string(),
        auxiliary_addresses: network
            .kept
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    };
    let subnet6 = network.ipv6.as_ref().map(|ipv6| IpamConfig {
        subnet: format!("{}/{}", ipv6.subnet.0, ipv6.subnet.1),
        gateway: ipv6.gateway.to_string(),
        ..IpamConfig::default()
    });
    NetworkResource {
        name: network.name.clone(),
        id: network.id.clone(),
        created: clock::render(network.created),
        scope: "local".to_owned(),
        driver: "bridge".to_owned(),
        enable_ipv6: network.ipv6.is_some(),
        ipam: NetworkIpam {
            driver: "default".to_owned(),
            options: None,
            config: std::iter::once(subnet).chain(subnet6).collect(),
        },
        internal: network.internal,
        attachable: network.attachable,
        containers: view.rows.iter().map(row).collect(),
        options: network.options.clone(),
        labels: network.labels.clone(),
        ..NetworkResource::default()
    }
}

fn row(row: &NetworkRow) -> (String, NetworkContainer) {
    let address = &row.address;
    let ipv6 = address
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.ipv6.as_ref());
    let document = NetworkContainer {
        name: row.name.clone(),
        endpoint_id: address.endpoint_id.clone(),
        mac_address: address.mac.clone(),
        ipv4_address: format!("{}/{}", address.address, address.prefix_len),
        ipv6_address: ipv6
            .map(|ipv6| format!("{}/{}", ipv6.address, ipv6.prefix_len))
            .unwrap_or_default(),
    };
    (row.container.clone(), document)
}

fn document_of_pseudo(name: &str, id: &str) -> NetworkResource {
    NetworkResource {
        name: name.to_owned(),
        id: id.to_owned(),
        created: clock::render(0),
        scope: "local".to_owned(),
        driver: if name == "none" { "null" } else { name }.to_owned(),
        ipam: NetworkIpam {
            driver: "default".to_owned(),
            options: None,
            config: Vec::new(),
        },
        options: BTreeMap::new(),
        ..NetworkResource::default()
    }
}

/// Which status a refusal has.
pub(super) fn status(failure: &NetworkFailure) -> StatusCode {
    match failure {
        NetworkFailure::NotFound(_) | NetworkFailure::NoDriver(_) => StatusCode::NOT_FOUND,
        NetworkFailure::NameTaken(_) | NetworkFailure::Busy => StatusCode::CONFLICT,
        NetworkFailure::Overlap
        | NetworkFailure::InUse { .. }
        | NetworkFailure::Predefined(_)
        | NetworkFailure::PredefinedName(_)
        | NetworkFailure::AlreadyThere { .. }
        | NetworkFailure::HostNetwork
        | NetworkFailure::Shared
        | NetworkFailure::AddressTaken => StatusCode::FORBIDDEN,
        NetworkFailure::Ambiguous { .. }
        | NetworkFailure::Invalid { .. }
        | NetworkFailure::Refused(_)
        | NetworkFailure::NotInSubnet(_)
        | NetworkFailure::NoLinked { .. } => StatusCode::BAD_REQUEST,
        NetworkFailure::NoSubnetLeft
        | NetworkFailure::TooMany
        | NetworkFailure::NotConnected { .. }
        | NetworkFailure::Exhausted { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
