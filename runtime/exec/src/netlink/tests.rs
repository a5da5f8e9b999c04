//! The network part against the real kernel, with real connections. Each test has a network namespace for its host, so
//! the host of the test run is not touched. Needs root, and says so when it is not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use super::{
    BridgeConfig, Endpoint, Family, Message, NetworkError, Protocol, Socket, connect, disconnect,
    ensure_bridge, forget_flows, lonely, remove_bridge, route, setting,
};
use crate::nft::{self, Published};

const TABLE: &str = "berth-test";
const DEADLINE: Duration = Duration::from_secs(5);

/// Long enough for a packet on a machine that is busy: what is dropped is dropped at once.
const REFUSAL: Duration = Duration::from_millis(400);

fn bridge() -> BridgeConfig {
    BridgeConfig {
        name: "berthtest0".to_owned(),
        address: Ipv4Addr::new(172, 29, 0, 1),
        prefix_len: 16,
    }
}

fn endpoint(bridge: &BridgeConfig, last: u8) -> Endpoint {
    let [a, b, c, _] = bridge.address.octets();
    Endpoint {
        bridge: bridge.name.clone(),
        host_interface: format!("vt{b}x{last}"),
        address: Ipv4Addr::new(a, b, c, last),
        prefix_len: bridge.prefix_len,
        gateway: bridge.address,
        mac: [0x02, 0x42, a, b, c, last],
        interface: "eth0".to_owned(),
        routed: true,
        isolated: false,
        ipv6: None,
    }
}

/// Runs `test` on a thread whose network is empty but for `lo`; everything goes away with it.
fn on_a_host(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            let mut socket = Socket::open(Family::Route).unwrap();
            route::set_up(&mut socket, route::LOOPBACK).unwrap();
            setting::set("net/ipv4/ip_forward", "0").unwrap();
            test();
        });
        if let Err(panic) = host.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `work` inside of a container's network.
fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        worker.join().unwrap()
    })
}

/// Answers every connection with the address it comes from, until the test is over.
fn serve(namespace: &OwnedFd, port: u16) {
    let namespace = namespace.try_clone().unwrap();
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            let _ = write!(stream, "{peer}");
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
}

/// Who the server at this address says that we are.
fn ask(address: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(SocketAddrV4::new(address, port)), DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn is_out_of_reach(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::V4(SocketAddrV4::new(address, port)), REFUSAL).is_err()
}

fn published(host_address: Ipv4Addr, host_port: u16, address: Ipv4Addr, port: u16) -> Published {
    Published {
        protocol: Protocol::Tcp,
        host_address,
        host_port,
        address,
        port,
    }
}

fn interfaces() -> Vec<String> {
    let mut socket = Socket::open(Family::Route).unwrap();
    let links = route::links(&mut socket).unwrap();
    links
        .into_iter()
        .filter(|link| matches!(link.kind.as_str(), "bridge" | "veth"))
        .map(|link| link.name)
        .collect()
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    for bridged_packets_pass_netfilter in ["0", "1"] {
        on_a_host(|| {
            setting::set_if_there(
                "net/bridge/bridge-nf-call-iptables",
                bridged_packets_pass_netfilter,
            )
            .unwrap();
            let bridge = bridge();
            ensure_bridge(&bridge).unwrap();
            nft::ensure_table(TABLE, &bridge).unwrap();
            let web = endpoint(&bridge, 2);
            let namespace = connect(&web).unwrap();
            let other = connect(&endpoint(&bridge, 3)).unwrap();
            serve(&namespace, 80);
            let port = published(Ipv4Addr::UNSPECIFIED, 8000, web.address, 80);
            nft::publish(TABLE, &[port]).unwrap();

            let gateway = bridge.address;
            assert_eq!(ask(web.address, 80).unwrap(), "172.29.0.1", "host to container");
            assert_eq!(
                ask(Ipv4Addr::LOCALHOST, 8000).unwrap(),
                "172.29.0.1",
                "host by localhost"
            );
            assert_eq!(
                ask(Ipv4Addr::new(127, 1, 2, 3), 8000).unwrap(),
                "172.29.0.1",
                "host by 127/8"
            );
            assert_eq!(
                ask(gateway, 8000).unwrap(),
                "172.29.0.1",
                "host by the bridge's address"
            );
            let direct = inside(&other, || ask(web.address, 80)).unwrap();
            assert_eq!(direct, "172.29.0.3", "container to container");
            let by_host = inside(&other, || ask(gateway, 8000)).unwrap();
            assert_eq!(by_host, "172.29.0.1", "container to container by the host");
            let itself = inside(&namespace, || ask(gateway, 8000)).unwrap();
            assert_eq!(itself, "172.29.0.1", "container to itself by the host");

            nft::unpublish(TABLE, &[port]).unwrap();
            assert!(is_out_of_reach(Ipv4Addr::LOCALHOST, 8000));
            assert!(is_out_of_reach(gateway, 8000));
        });
    }
}

#[test]
fn a_port_of_one_address_is_not_a_port_of_another() {
    on_a_host(|| {
        let bridge = bridge();
        ensure_bridge(&bridge).unwrap();
        nft::ensure_table(TABLE, &bridge).unwrap();
        let web = endpoint(&bridge, 2);
        let namespace = connect(&web).unwrap();
        serve(&namespace, 80);
        serve(&namespace, 81);
        let local = published(Ipv4Addr::LOCALHOST, 8000, web.address, 80);
        nft::publish(TABLE, &[local]).unwrap();
        ask(Ipv4Addr::LOCALHOST, 8000).unwrap();
        assert!(is_out_of_reach(bridge.address, 8000));
        let everywhere = published(Ipv4Addr::UNSPECIFIED, 8001, web.address, 81);
        nft::publish(TABLE, &[local, everywhere]).unwrap();
        assert_eq!(nft::list_published(TABLE).unwrap(), [everywhere, local]);
        ask(bridge.address, 8001).unwrap();

        let stranger = published(Ipv4Addr::LOCALHOST, 8000, Ipv4Addr::new(172, 29, 0, 9), 80);
        let fresh = published(Ipv4Addr::LOCALHOST, 8002, Ipv4Addr::new(172, 29, 0, 9), 80);
        let error = nft::publish(TABLE, &[fresh, stranger]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Bind for 127.0.0.1:8000 failed: port is already allocated"
        );
        nft::unpublish(TABLE, &[stranger]).unwrap();
        assert_eq!(
            nft::list_published(TABLE).unwrap(),
            [everywhere, local],
            "all or nothing"
        );

        nft::ensure_table(TABLE, &bridge).unwrap();
        assert_eq!(
            nft::list_published(TABLE).unwrap(),
            [everywhere, local],
            "kept over a restart"
        );
        nft::unpublish_address(TABLE, web.address).unwrap();
        nft::unpublish(TABLE, &[everywhere, local]).unwrap();
        assert_eq!(nft::list_published(TABLE).unwrap(), []);
    });
}

#[test]
fn the_outside_sees_published_ports_and_nothing_else() {
    on_a_host(|| {
        let bridge = bridge();
        ensure_bridge(&bridge).unwrap();
        nft::ensure_table(TABLE, &bridge).unwrap();
        let uplink = BridgeConfig {
            name: "uplink0".to_owned(),
            address: Ipv4Addr::new(198, 51, 100, 1),
            prefix_len: 24,
        };
        ensure_bridge(&uplink).unwrap();
        let neighbour = endpoint(&uplink, 2);
        let outside = connect(&neighbour).unwrap();
        let web = endpoint(&bridge, 2);
        let namespace = connect(&web).unwrap();
        serve(&namespace, 80);
        serve(&outside, 80);
        nft::publish(TABLE, &[published(Ipv4Addr::UNSPECIFIED, 8000, web.address, 80)]).unwrap();

        let seen = inside(&outside, || ask(uplink.address, 8000)).unwrap();
        assert_eq!(seen, "198.51.100.2", "the source is kept");
        assert!(inside(&outside, || is_out_of_reach(web.address, 80)));
        let seen = inside(&namespace, || ask(neighbour.address, 80)).unwrap();
        assert_eq!(seen, "198.51.100.1", "the container hides behind the host");
    });
}

#[test]
fn the_hosts_loopback_is_out_of_reach() {
    on_a_host(|| {
        let bridge = bridge();
        ensure_bridge(&bridge).unwrap();
        nft::ensure_table(TABLE, &bridge).unwrap();
        let namespace = connect(&endpoint(&bridge, 2)).unwrap();
        // Without its own 127.0.0.1 the container sends packets for it to the host.
        inside(&namespace, || {
            let delete_address = Message::new(21, 0)
                .fixed(&[2, 8, 0, 0])
                .fixed(&route::LOOPBACK.to_ne_bytes())
                .attribute(2, &Ipv4Addr::LOCALHOST.octets());
            let mut socket = Socket::open(Family::Route).unwrap();
            socket.request(delete_address).unwrap();
            setting::set("net/ipv4/conf/eth0/route_localnet", "1").unwrap();
        });
        let private = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = private.local_addr().unwrap().port();
        assert!(inside(&namespace, || is_out_of_reach(Ipv4Addr::LOCALHOST, port)));
        nft::remove_table(TABLE).unwrap();
        let reached = inside(&namespace, || !is_out_of_reach(Ipv4Addr::LOCALHOST, port));
        assert!(reached, "it is the table that keeps the packets away");
    });
}

#[test]
fn datagrams_are_published_and_their_flows_forgotten() {
    on_a_host(|| {
        let bridge = bridge();
        ensure_bridge(&bridge).unwrap();
        nft::ensure_table(TABLE, &bridge).unwrap();
        let (first, second) = (endpoint(&bridge, 2), endpoint(&bridge, 3));
        let namespaces = [connect(&first).unwrap(), connect(&second).unwrap()];
        let receivers = namespaces.each_ref().map(|namespace| {
            let socket = inside(namespace, || {
                UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap()
            });
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        });
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut buffer = [0; 16];
        for (endpoint, receiver) in [&first, &second].into_iter().zip(&receivers) {
            let port = Published {
                protocol: Protocol::Udp,
                ..published(Ipv4Addr::UNSPECIFIED, 5300, endpoint.address, 53)
            };
            nft::publish(TABLE, &[port]).unwrap();
            client.send_to(b"hello", (Ipv4Addr::LOCALHOST, 5300)).unwrap();
            assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
            nft::unpublish(TABLE, &[port]).unwrap();
            // Without this the second round's datagram follows the first round's flow.
            forget_flows(endpoint.address).unwrap();
        }
    });
}

#[test]
fn nothing_stays_behind() {
    on_a_host(|| {
        let bridge = bridge();
        for _ in 0..2 {
            ensure_bridge(&bridge).unwrap();
            nft::ensure_table(TABLE, &bridge).unwrap();
        }
        assert_eq!(setting::get("net/ipv4/ip_forward").unwrap().unwrap(), "1");
        let namespace = connect(&endpoint(&bridge, 2)).unwrap();
        assert_eq!(interfaces().len(), 2);
        disconnect(&endpoint(&bridge, 2).host_interface).unwrap();
        disconnect(&endpoint(&bridge, 2).host_interface).unwrap();
        drop(namespace);
        for _ in 0..2 {
            nft::remove_table(TABLE).unwrap();
            remove_bridge(&bridge.name).unwrap();
        }
        assert_eq!(interfaces(), [] as [String; 0]);
        assert_eq!(
            setting::get("net/ipv4/ip_forward").unwrap().unwrap(),
            "0",
            "as it was found"
        );
        let rules = std::process::Command::new("nft")
            .args(["list", "ruleset"])
            .output();
        if let Ok(rules) = rules {
            assert_eq!(String::from_utf8_lossy(&rules.stdout), "");
        }
    });
}

#[test]
fn engines_share_a_host() {
    on_a_host(|| {
        let one = bridge();
        let two = BridgeConfig {
            name: "berthtest1".to_owned(),
            address: Ipv4Addr::new(172, 30, 0, 1),
            prefix_len: 24,
        };
        for (bridge, table) in [(&one, "one"), (&two, "two")] {
            ensure_bridge(bridge).unwrap();
            nft::ensure_table(table, bridge).unwrap();
        }
        let (first, second) = (endpoint(&one, 2), endpoint(&two, 2));
        let namespaces = [connect(&first).unwrap(), connect(&second).unwrap()];
        serve(&namespaces[0], 80);
        serve(&namespaces[1], 80);
        nft::publish(
            "one",
            &[published(Ipv4Addr::UNSPECIFIED, 8000, first.address, 80)],
        )
        .unwrap();
        nft::publish(
            "two",
            &[published(Ipv4Addr::UNSPECIFIED, 8001, second.address, 80)],
        )
        .unwrap();
        ask(Ipv4Addr::LOCALHOST, 8000).unwrap();
        ask(Ipv4Addr::LOCALHOST, 8001).unwrap();
        assert!(inside(&namespaces[0], || is_out_of_reach(second.address, 80)));
        let by_host = inside(&namespaces[0], || ask(one.address, 8001)).unwrap();
        assert_eq!(by_host, "172.30.0.1", "a published port of the other engine");

        nft::remove_table("one").unwrap();
        assert_eq!(
            setting::get("net/ipv4/ip_forward").unwrap().unwrap(),
            "1",
            "two needs it"
        );
        ask(Ipv4Addr::LOCALHOST, 8001).unwrap();
        nft::remove_table("two").unwrap();
        assert_eq!(setting::get("net/ipv4/ip_forward").unwrap().unwrap(), "0");
    });
}

#[test]
fn a_restart_takes_over_the_interface_of_the_run_before() {
    on_a_host(|| {
        let bridge = bridge();
        ensure_bridge(&bridge).unwrap();
        let before = connect(&endpoint(&bridge, 2)).unwrap();
        let mut again = endpoint(&bridge, 3);
        again.host_interface = endpoint(&bridge, 2).host_interface;
        let after = connect(&again).unwrap();
        serve(&after, 80);
        assert_eq!(ask(again.address, 80).unwrap(), "172.29.0.1");
        drop(before);
    });
}

#[test]
fn what_is_somebody_elses_is_refused() {
    on_a_host(|| {
        let bridge = bridge();
        ensure_bridge(&bridge).unwrap();
        let moved = BridgeConfig {
            address: Ipv4Addr::new(172, 28, 0, 1),
            ..bridge.clone()
        };
        let error = ensure_bridge(&moved).unwrap_err();
        assert!(matches!(error, NetworkError::BridgeAddress { .. }), "{error}");
        let overlapping = BridgeConfig {
            name: "berthtest1".to_owned(),
            address: Ipv4Addr::new(172, 29, 7, 1),
            prefix_len: 24,
        };
        let error = ensure_bridge(&overlapping).unwrap_err();
        assert_eq!(
            error.to_string(),
            "subnet 172.29.7.0/24 overlaps with 172.29.0.1/16 of interface \"berthtest0\""
        );
        let lo = BridgeConfig {
            name: "lo".to_owned(),
            ..bridge.clone()
        };
        assert!(matches!(
            ensure_bridge(&lo).unwrap_err(),
            NetworkError::WrongKind { .. }
        ));
        assert!(matches!(
            remove_bridge("lo").unwrap_err(),
            NetworkError::WrongKind { .. }
        ));
        for name in ["", "..", "a/b", "a b", "sixteen-bytes-16"] {
            assert!(matches!(
                remove_bridge(name).unwrap_err(),
                NetworkError::Name { .. }
            ));
        }
        nft::make_foreign_table("filter").unwrap();
        for error in [
            nft::ensure_table("filter", &bridge).unwrap_err(),
            nft::remove_table("filter").unwrap_err(),
        ] {
            assert!(matches!(error, NetworkError::TableTaken { .. }), "{error}");
        }
    });
}

#[test]
fn a_lonely_container_has_only_itself() {
    on_a_host(|| {
        let namespace = lonely().unwrap();
        serve(&namespace, 80);
        let seen = inside(&namespace, || ask(Ipv4Addr::LOCALHOST, 80)).unwrap();
        assert_eq!(seen, "127.0.0.1");
        assert!(inside(&namespace, || {
            UdpSocket::bind("0.0.0.0:0")
                .unwrap()
                .connect("192.0.2.1:1")
                .is_err()
        }));
    });
}
