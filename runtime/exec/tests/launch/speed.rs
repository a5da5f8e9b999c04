//! How long a start takes, and where the time goes: `launch --measure`.

use std::time::{Duration, Instant};

use crate::world::World;

const ROUNDS: u8 = 50;

pub(crate) fn measure() {
    for network in [false, true] {
        let world = World::new("measure");
        let (mut root, mut start, mut end, mut clean) = (vec![], vec![], vec![], vec![]);
        for round in 0..ROUNDS {
            let mut plan = world.plan(&format!("speed{round}"), &["true"]);
            if network {
                world.connect(&mut plan, round + 2, None);
            }
            let begun = Instant::now();
            let mounted = world.root(&plan.id);
            root.push(begun.elapsed());
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
        for (what, times) in [
            ("root", root),
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

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
