//! Requests for networks and places as tables, and the table of networks under many changes.

use std::collections::BTreeSet;

use super::*;
use crate::error::Failure;

fn networks() -> Networks {
    let own = Network::own("172.29.0.0/16".parse().expect("a subnet"), "berth0");
    Networks::new(own, Vec::new())
}

fn make(networks: &mut Networks, request: &str) -> String {
    let number = networks.by_id.len();
    let digits = "0123456789abcdef";
    let id = format!("000{}{}", &digits[number..=number], digits.repeat(4));
    let id = id[..64].to_owned();
    let wish = NetworkWish {
        request: serde_json::from_str(request).expect("a request"),
        used: vec![(Ipv4Addr::new(192, 0, 2, 2), 24)],
        has_ipv6: true,
    };
    match understand(networks, &wish, &id, "berth0", 1) {
        Ok(network) => {
            let text = format!(
                "{}/{} via {} on {}{}",
                network.subnet.0,
                network.subnet.1,
                network.gateway,
                network.bridge,
                network
                    .ipv6
                    .as_ref()
                    .map(|ipv6| format!(" and {}/{} via {}", ipv6.subnet.0, ipv6.subnet.1, ipv6.gateway))
                    .unwrap_or_default()
            );
            networks.insert(network, Stage::Ready);
            text
        }
        Err(Failure::Network(failure)) => failure.to_string(),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn requests() {
    let mut all = networks();
    let mut check = |request: &str, wanted: &str| assert_eq!(make(&mut all, request), wanted, "{request}");
    check(
        r#"{"Name":"a"}"#,
        "172.18.0.0/16 via 172.18.0.1 on berth0000101234",
    );
    check(r#"{"Name":"a"}"#, "network with name a already exists");
    check(
        r#"{"Name":"b","Driver":"overlay"}"#,
        "plugin \"overlay\" not found",
    );
    check(
        r#"{"Name":"bridge"}"#,
        "operation is not permitted on predefined bridge network",
    );
    check(
        r#"{"Name":" "}"#,
        "invalid network name: \" \": it is blank or has a slash in it",
    );
    let subnet = |config: &str| format!(r#"{{"Name":"n","Driver":"bridge","IPAM":{{"Config":[{config}]}}}}"#);
    let overlap = "Pool overlaps with other one on this address space";
    check(&subnet(r#"{"Subnet":"172.18.7.0/24"}"#), overlap);
    check(&subnet(r#"{"Subnet":"192.0.2.128/25"}"#), overlap);
    check(
        &subnet(r#"{"Subnet":"10.1.2.0/33"}"#),
        "invalid subnet: \"10.1.2.0/33\": the length of the prefix is from 8 to 30",
    );
    check(
        &subnet(r#"{"Subnet":"10.1.2.0"}"#),
        "invalid subnet: \"10.1.2.0\": not an address with the length of its prefix",
    );
    check(
        &subnet(r#"{"Subnet":"127.1.2.0/24"}"#),
        "invalid subnet: \"127.1.2.0/24\": not a subnet that containers can have",
    );
    check(
        &subnet(r#"{"Gateway":"10.1.2.1"}"#),
        "every ip-range or gateway must have a corresponding subnet",
    );
    let elsewhere = "invalid address 10.1.3.1: It does not belong to any of this network's subnets";
    check(
        &subnet(r#"{"Subnet":"10.1.2.0/24","Gateway":"10.1.3.1"}"#),
        elsewhere,
    );
    check(
        &subnet(r#"{"Subnet":"10.1.2.0/24","IPRange":"10.1.0.0/16"}"#),
        "invalid ip-range: \"10.1.0.0/16\": it is not a part of the subnet",
    );
    check(
        &subnet(r#"{"Subnet":"10.1.2.3/24","Gateway":"10.1.2.254"}"#),
        "10.1.2.0/24 via 10.1.2.254 on berth0000201234",
    );
    check(
        r#"{"Name":"six","EnableIPv6":true}"#,
        "not supported: choosing an IPv6 subnet: name one with --subnet",
    );
    let six = r#"{"Name":"six","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"fd00:1::/64"},{"Subnet":"10.2.0.0/24"}]}}"#;
    check(
        six,
        "10.2.0.0/24 via 10.2.0.1 on berth0000301234 and fd00:1::/64 via fd00:1::1",
    );
    check(
        &six.replace("\"six\"", "\"seven\"").replace("10.2", "10.3"),
        overlap,
    );
}

/// Pools run out with a word, and whatever is asked of the table, no address has two owners.
#[test]
fn places() {
    let mut all = networks();
    make(
        &mut all,
        r#"{"Name":"n","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"10.9.0.0/29"},{"Subnet":"fd00:9::/64"}]}}"#,
    );
    let network = all.find("n").expect("made").clone();
    let wish = |settings: &str| {
        let settings = serde_json::from_str(settings).expect("settings");
        Attachment::understand(&network, &settings, &|_| None)
    };
    let plain = wish("{}").expect("nothing special");
    let id = "c".repeat(64);
    let places: Vec<Address> =
        std::iter::from_fn(|| all.place(&plain, &id, "eth0".to_owned()).ok()).collect();
    let found: Vec<String> = places
        .iter()
        .flat_map(Address::all)
        .map(|address| address.to_string())
        .collect();
    assert_eq!(found[..4], ["10.9.0.2", "fd00:9::2", "10.9.0.3", "fd00:9::3"]);
    assert_eq!(places.len(), 5);
    let interfaces: BTreeSet<_> = places
        .iter()
        .filter_map(|place| Some(place.endpoint.as_ref()?.host_interface.clone()))
        .collect();
    assert_eq!(interfaces.len(), 5);
    assert!(interfaces.iter().all(|name| name.len() == INTERFACE_NAME));
    all.release(&places[2]);
    let again =
        wish(r#"{"IPAMConfig":{"IPv4Address":"10.9.0.4"},"MacAddress":"02-42-0a-01-02-03"}"#).expect("wish");
    let place = all.place(&again, &id, "eth0".to_owned()).expect("free");
    assert_eq!(
        (place.address.to_string().as_str(), place.mac.as_str()),
        ("10.9.0.4", "02:42:0a:01:02:03")
    );
    let other = "d".repeat(64);
    assert_eq!(
        all.place(&again, &other, String::new()),
        Err(NetworkFailure::AddressTaken)
    );
    // The next run of the same container has it, and the end of the last one does not take it away.
    let next = all.place(&again, &id, "eth0".to_owned()).expect("its own");
    all.release(&place);
    assert_eq!(
        all.place(&again, &other, String::new()),
        Err(NetworkFailure::AddressTaken)
    );
    all.release(&next);
    all.place(&again, &other, "eth0".to_owned()).expect("free again");
    let refused = |settings: &str| wish(settings).expect_err("refused").to_string();
    assert_eq!(
        refused(r#"{"IPAMConfig":{"IPv4Address":"10.9.0.7"}}"#),
        "invalid address 10.9.0.7: It does not belong to any of this network's subnets"
    );
    assert_eq!(
        refused(r#"{"IPAMConfig":{"IPv6Address":"fd00:8::7"}}"#),
        "invalid address fd00:8::7: It does not belong to any of this network's subnets"
    );
    assert_eq!(
        refused(r#"{"MacAddress":"01:00:00:00:00:01"}"#),
        "invalid MAC address: \"01:00:00:00:00:01\": not the address of one interface"
    );
    assert_eq!(
        refused(r#"{"Aliases":["a b"]}"#),
        "invalid alias: \"a b\": not a name of at most 253 letters"
    );
    assert_eq!(
        refused(r#"{"Links":["db"]}"#),
        "could not get container for db: No such container: db"
    );
}

#[test]
fn references() {
    let mut all = networks();
    make(&mut all, r#"{"Name":"0"}"#);
    make(&mut all, r#"{"Name":"b"}"#);
    let find = |reference: &str| all.find(reference).map(|network| network.name.clone());
    assert_eq!(find("bridge").as_deref(), Ok("bridge"));
    assert_eq!(find("62726").as_deref(), Ok("bridge"));
    assert_eq!(
        find("0").as_deref(),
        Ok("0"),
        "a name goes before the beginning of an id"
    );
    assert_eq!(
        find("000"),
        Err(NetworkFailure::Ambiguous {
            reference: "000".to_owned(),
            count: 2
        })
    );
    assert_eq!(find(""), Err(NetworkFailure::NotFound(String::new())));
}
