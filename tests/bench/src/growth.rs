//! How the cost of a store grows with members, keys, watchers and the size of values; a chart of each.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use berth_harness::{Berth, Cluster, EtcdCluster, Scratch, Store};

use crate::fanout;
use crate::figures::resident_mebibytes;
use crate::load::{load_of, put_one};
use crate::plot::{Chart, svg};

const MEMBERS: [usize; 3] = [1, 3, 5];
const KEYS: [u32; 4] = [1_000, 10_000, 100_000, 300_000];
const WATCHERS: [usize; 4] = [10, 100, 1_000, 5_000];
const VALUES: [usize; 5] = [64, 1_024, 8_192, 65_536, 524_288];
/// Connections of the loads.
const CONNECTIONS: u32 = 64;
/// Bytes of a value where its size is not what is measured.
const VALUE: usize = 64;

/// Measures all four and writes the charts.
pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let berth = Berth::new(crate::berth_program()?);
    for (name, chart) in [
        ("members", members(&berth)?),
        ("keys", keys(&berth)?),
        ("watchers", watchers(&berth)?),
        ("values", values(&berth)?),
    ] {
        let path = folder.join(format!("{name}.svg"));
        for (line, points) in &chart.series {
            println!("{name}: {line}: {points:?}");
        }
        std::fs::write(&path, svg(&chart)).with_context(|| format!("{}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn number(value: impl TryInto<u32>) -> f64 {
    f64::from(value.try_into().unwrap_or(u32::MAX))
}

fn members(berth: &Berth) -> anyhow::Result<Chart> {
    let mut lines = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for size in MEMBERS {
        let scratch = Scratch::new();
        let cluster = Cluster::start(berth, &scratch, size, &[]);
        cluster.wait_all();
        let address = cluster.client(cluster.leader());
        put_one(address)?;
        for (line, what) in [(0, ("PUT", "")), (1, ("GET", "?quorum=true"))] {
            let run = load_of(address, &cluster.ids(), what, VALUE, CONNECTIONS, scratch.path())?;
            lines[line].push((number(size), run.per_second));
        }
        drop(cluster);
        let etcd = EtcdCluster::start(&scratch, size);
        let address = etcd.client(etcd.leader());
        put_one(address)?;
        for (line, what) in [(2, ("PUT", "")), (3, ("GET", "?quorum=true"))] {
            let run = load_of(address, &etcd.ids(), what, VALUE, CONNECTIONS, scratch.path())?;
            lines[line].push((number(size), run.per_second));
        }
    }
    let names = ["Berth PUT", "Berth quorum GET", "etcd PUT", "etcd quorum GET"];
    Ok(Chart {
        title: format!("Requests a second by members, all on one machine, {CONNECTIONS} connections"),
        across: "members".to_owned(),
        up: "requests a second".to_owned(),
        series: names.map(str::to_owned).into_iter().zip(lines).collect(),
    })
}

fn keys(berth: &Berth) -> anyhow::Result<Chart> {
    let mut points = Vec::new();
    let mut theirs = Vec::new();
    for count in KEYS {
        let scratch = Scratch::new();
        let store = Store::start(berth, &scratch);
        crate::store::fill(store.address(), count)?;
        points.push((number(count), resident_mebibytes(store.id())));
        drop(store);
        let etcd = berth_harness::Etcd::start(&scratch);
        crate::store::fill(etcd.address(), count)?;
        theirs.push((number(count), resident_mebibytes(etcd.id())));
    }
    Ok(Chart {
        title: format!("Resident memory by keys of {VALUE} bytes"),
        across: "keys".to_owned(),
        up: "MiB".to_owned(),
        series: vec![("Berth".to_owned(), points), ("etcd".to_owned(), theirs)],
    })
}

fn watchers(berth: &Berth) -> anyhow::Result<Chart> {
    let measure = |address: SocketAddr, process: u32, count: usize| -> anyhow::Result<(f64, f64)> {
        let run = fanout::measure_with(address, process, count)?;
        Ok((number(count), run.per_second))
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for count in WATCHERS {
        let scratch = Scratch::new();
        let store = Store::start(berth, &scratch);
        ours.push(measure(store.address(), store.id(), count)?);
        drop(store);
        let etcd = berth_harness::Etcd::start(&scratch);
        theirs.push(measure(etcd.address(), etcd.id(), count)?);
    }
    Ok(Chart {
        title: "Events delivered a second by watchers of one key".to_owned(),
        across: "watchers".to_owned(),
        up: "events a second".to_owned(),
        series: vec![("Berth".to_owned(), ours), ("etcd".to_owned(), theirs)],
    })
}

fn values(berth: &Berth) -> anyhow::Result<Chart> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for bytes in VALUES {
        let scratch = Scratch::new();
        let store = Store::start(berth, &scratch);
        put_one(store.address())?;
        let put = ("PUT", "");
        let run = load_of(
            store.address(),
            &[store.id()],
            put,
            bytes,
            CONNECTIONS,
            scratch.path(),
        )?;
        ours.push((number(bytes), run.per_second));
        drop(store);
        let etcd = berth_harness::Etcd::start(&scratch);
        put_one(etcd.address())?;
        let run = load_of(
            etcd.address(),
            &[etcd.id()],
            put,
            bytes,
            CONNECTIONS,
            scratch.path(),
        )?;
        theirs.push((number(bytes), run.per_second));
    }
    Ok(Chart {
        title: format!("PUTs a second by the size of the value, {CONNECTIONS} connections, one member"),
        across: "bytes of the value".to_owned(),
        up: "requests a second".to_owned(),
        series: vec![("Berth".to_owned(), ours), ("etcd".to_owned(), theirs)],
    })
}
