//! Links of the engine's own network: what a container gets to know of another one when it starts.

use std::net::Ipv4Addr;

use berth_plan::LinkedHost;

use crate::container::Container;
use crate::networks::TargetAlias;

/// Variables of the other container that are no news.
const NO_NEWS: [&str; 2] = ["HOME", "PATH"];

/// What a link looks like in an inspect: `/db:/web/database`.
pub(crate) fn document(target: &str, own: &str, link: &TargetAlias) -> String {
    format!("/{target}:/{own}/{}", link.alias)
}

/// The line in the hosts file: the alias, the host name, and the name unless it is the alias.
pub(crate) fn host(link: &TargetAlias, target: &Container, address: Ipv4Addr) -> LinkedHost {
    let mut names = format!("{} {}", link.alias, target.spec.hostname);
    if link.alias != target.name {
        names = format!("{names} {}", target.name);
    }
    LinkedHost { address, names }
}

/// The variables that tell of a link, in Docker's form and order.
pub(crate) fn environment(
    own: &str,
    link: &TargetAlias,
    target: &Container,
    address: Ipv4Addr,
) -> Vec<String> {
    let prefix = link.alias.to_uppercase().replace('-', "_");
    // By number, TCP first: "tcp" is before "udp".
    let ports = target.ports();
    let mut variables = Vec::new();
    if let Some((port, protocol)) = ports.first() {
        variables.push(format!("{prefix}_PORT={protocol}://{address}:{port}"));
    }
    for (first, last) in runs(&ports) {
        let protocol = &first.1;
        let stem = format!("{prefix}_PORT_{}_{}", first.0, protocol.to_uppercase());
        variables.extend([
            format!("{stem}_START={protocol}://{address}:{}", first.0),
            format!("{stem}_ADDR={address}"),
            format!("{stem}_PROTO={protocol}"),
            format!("{stem}_PORT_START={}", first.0),
            format!("{stem}_END={protocol}://{address}:{}", last.0),
            format!("{stem}_PORT_END={}", last.0),
        ]);
    }
    for (port, protocol) in &ports {
        let stem = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
        variables.extend([
            format!("{stem}={protocol}://{address}:{port}"),
            format!("{stem}_ADDR={address}"),
            format!("{stem}_PORT={port}"),
            format!("{stem}_PROTO={protocol}"),
        ]);
    }
    variables.push(format!("{prefix}_NAME=/{own}/{}", link.alias));
    let news = target.config.env.iter().filter_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        (!NO_NEWS.contains(&name)).then(|| format!("{prefix}_ENV_{name}={value}"))
    });
    variables.extend(news);
    variables
}

type Port = (u16, String);

/// Three and more ports of one protocol in a row: the first and the last of each.
fn runs(ports: &[Port]) -> Vec<(&Port, &Port)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < ports.len() {
        let mut end = at;
        while let (Some(one), Some(next)) = (ports.get(end), ports.get(end + 1))
            && one.1 == next.1
            && one.0.checked_add(1) == Some(next.0)
        {
            end += 1;
        }
        if end > at + 1 {
            found.push((&ports[at], &ports[end]));
        }
        at = end + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_a_row() {
        let ports: Vec<Port> = [80, 90, 91, 92, 100, 101]
            .into_iter()
            .map(|port| (port, "tcp".to_owned()))
            .collect();
        let found = runs(&ports);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.0, found[0].1.0), (90, 92));
        assert!(runs(&[]).is_empty());
    }
}
