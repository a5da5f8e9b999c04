//! How long a start takes, and where the time goes: `launch --measure`.

use std::time::{Duration, Instant};

use berth_exec::netlink;
use berth_plan::{HostStep, Plan};

use crate::world::World;

const ROUNDS: u8 = 50;

pub(crate) fn measure() {
    let world = World::new("added");
    let (started, ended): (Vec<_>, Vec<_>) = crate::added::measure(&world, ROUNDS).into_iter().unzip();
    println!("added: start {:?}, end {:?}", median(&started), median(&ended));
    world.end();
    for network in [false, true] {
        let world = World::new("measure");
        let mut connect = vec![];
        let (mut root, mut start, mut end, mut clean) = (vec![], vec![], vec![], vec![]);
        for round in 0..ROUNDS {
            let mut plan = world.plan(&format!("speed{round}"), &["true"]);
            if network {
                world.connect(&mut plan, round + 2, None);
            }
            let begun = Instant::now();
            let mounted = world.root(&plan.id);
            root.push(begun.elapsed());
            if network {
                connect.push(time_network(&plan));
            }
            let begun = Instant::now();
            world.with(|launcher| launcher.start(&plan, mounted)).unwrap();
            start.push(begun.elapsed());
            let begun = Instant::now();
            world.exit_of(&plan.id);
            end.push(begun.elapsed());
            let begun = Instant::now();
            world.with(|launcher| {
                launcher.cleanup(&plan).unwrap();
                launcher.forget(&plan.id).unwrap();
            });
            clean.push(begun.elapsed());
        }
        println!("network: {network}, medians of {ROUNDS}");
        if !network {
            connect.push(Duration::ZERO);
        }
        for (what, times) in [
            ("root", root),
            ("network", connect),
            ("start", start),
            ("exit", end),
            ("cleanup", clean),
        ] {
            println!(
                "  {what:8} {:?} (least {:?})",
                median(&times),
                times.iter().min().unwrap()
            );
        }
        world.end();
    }
}

/// The part of the network alone, of another container like this one.
fn time_network(plan: &Plan) -> Duration {
    let endpoint = plan.host.iter().find_map(|step| {
        if let HostStep::Network { endpoint } = step {
            Some(endpoint)
        } else {
            None
        }
    });
    let endpoint = endpoint.unwrap();
    let endpoint = netlink::Endpoint {
        bridge: endpoint.bridge.clone(),
        host_interface: format!("{}x", endpoint.host_interface),
        address: endpoint.address,
        prefix_len: endpoint.prefix_len,
        gateway: endpoint.gateway,
        mac: endpoint.mac,
        interface: "eth0".to_owned(),
        routed: true,
        isolated: false,
        ipv6: None,
    };
    let begun = Instant::now();
    let namespace = netlink::connect(&endpoint).unwrap();
    let time = begun.elapsed();
    drop(namespace);
    time
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
