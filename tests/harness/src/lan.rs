//! A network of hosts that are network namespaces of the test's own: cut links, one-way ones too, and nothing of the
//! machine's own network is touched.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use crate::process::run;
use crate::scratch::Scratch;

/// Longest a command may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Hosts on one bridge, which has a namespace of its own. Dropping it removes them.
#[derive(Debug)]
pub struct Lan {
    name: String,
    hosts: u8,
}

fn ok(program: &str, arguments: &str) {
    let finished = run(Command::new(program).args(arguments.split_whitespace()), PATIENCE);
    assert_eq!(finished.code, 0, "{program} {arguments}: {}", finished.stderr);
}

impl Lan {
    /// Makes the bridge and so many hosts, numbered from 0.
    ///
    /// # Panics
    /// When that fails; it takes root.
    #[must_use]
    pub fn new(scratch: &Scratch, hosts: u8) -> Self {
        let lan = Self {
            name: scratch.name(),
            hosts,
        };
        let bridge = lan.bridge();
        ok("ip", &format!("netns add {bridge}"));
        ok("ip", &format!("-n {bridge} link add br0 type bridge"));
        ok("ip", &format!("-n {bridge} addr add 192.0.2.254/24 dev br0"));
        ok("ip", &format!("-n {bridge} link set br0 up"));
        ok("ip", &format!("-n {bridge} link set lo up"));
        for host in 0..hosts {
            let namespace = lan.host(host);
            ok("ip", &format!("netns add {namespace}"));
            ok(
                "ip",
                &format!("-n {namespace} link add eth0 type veth peer name v{host} netns {bridge}"),
            );
            ok(
                "ip",
                &format!("-n {namespace} addr add {}/24 dev eth0", lan.address(host)),
            );
            ok("ip", &format!("-n {namespace} link set eth0 up"));
            ok("ip", &format!("-n {namespace} link set lo up"));
            ok("ip", &format!("-n {bridge} link set v{host} master br0 up"));
        }
        lan
    }

    fn bridge(&self) -> String {
        format!("{}b", self.name)
    }

    /// The namespace of a host.
    #[must_use]
    pub fn host(&self, host: u8) -> String {
        format!("{}h{host}", self.name)
    }

    /// The address of a host.
    #[must_use]
    pub fn address(&self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, host + 1))
    }

    /// Runs `work` on a thread that stands at the bridge, where every host is reached, whatever is cut between them.
    ///
    /// # Panics
    /// When `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.bridge());
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = std::fs::File::open(path).unwrap();
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What `from` sends to `to` gets lost: it goes to a network card that nobody has.
    ///
    /// # Panics
    /// When that cannot be arranged.
    pub fn cut(&self, from: u8, to: u8) {
        let (namespace, address) = (self.host(from), self.address(to));
        let nobody = "lladdr 02:00:00:00:00:99 nud permanent";
        ok(
            "ip",
            &format!("-n {namespace} neigh replace {address} {nobody} dev eth0"),
        );
    }

    /// Cuts both ways between a host and all others.
    pub fn isolate(&self, host: u8) {
        for other in (0..self.hosts).filter(|other| *other != host) {
            self.cut(host, other);
            self.cut(other, host);
        }
    }

    /// Of what a host sends, so many in a hundred packets get lost on their way to members and clients.
    ///
    /// # Panics
    /// When that cannot be arranged.
    pub fn lose(&self, host: u8, percent: u8) {
        let namespace = self.host(host);
        let chance = f64::from(percent) / 100.0;
        ok(
            "ip",
            &format!(
                "netns exec {namespace} iptables -A OUTPUT -m statistic --mode random --probability {chance} -j DROP"
            ),
        );
    }

    /// What a host sends goes at so many kilobits a second, with a queue of half a second.
    ///
    /// # Panics
    /// When that cannot be arranged.
    pub fn slow(&self, host: u8, kilobits: u32) {
        let namespace = self.host(host);
        let shape = format!("tbf rate {kilobits}kbit burst 8kb latency 500ms");
        ok(
            "tc",
            &format!("-n {namespace} qdisc replace dev eth0 root {shape}"),
        );
    }

    /// A host's link loses nothing and is fast again.
    pub fn mend(&self, host: u8) {
        let namespace = self.host(host);
        // One of the two may never have been made worse.
        for line in [
            format!("tc -n {namespace} qdisc del dev eth0 root"),
            format!("ip netns exec {namespace} iptables -F OUTPUT"),
        ] {
            let mut words = line.split_whitespace();
            let program = words.next().unwrap_or_default();
            run(Command::new(program).args(words), PATIENCE);
        }
    }

    /// Nothing is cut any more.
    pub fn heal(&self) {
        for from in 0..self.hosts {
            for to in (0..self.hosts).filter(|to| *to != from) {
                let (namespace, address) = (self.host(from), self.address(to));
                let arguments = format!("-n {namespace} neigh del {address} dev eth0");
                // Two hosts that never spoke do not know each other.
                run(Command::new("ip").args(arguments.split_whitespace()), PATIENCE);
            }
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let hosts = (0..self.hosts).map(|host| self.host(host));
        for namespace in hosts.chain([self.bridge()]) {
            run(Command::new("ip").args(["netns", "del", &namespace]), PATIENCE);
        }
    }
}
