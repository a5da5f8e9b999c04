//! The Engine API over TCP: with certificates on both sides, or not at all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_harness::{Engine, Finished, Scratch, busybox_rootfs, clients, need_root, run, until};

use crate::typed::{PATIENCE, Typed};
use crate::{berth, skipped};

/// Longer than the engine waits for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(40);

/// Certificates as `berth cert` makes them.
struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    fn new(dir: PathBuf) -> Self {
        let to = dir.display().to_string();
        let hosts = "127.0.0.1,localhost";
        berth()
            .run(&["cert", "server", "--dir", &to, "--hosts", hosts])
            .ok();
        berth().run(&["cert", "client", "--dir", &to]).ok();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// docker's flags with the files of a kind.
    fn flags(&self, kind: &str) -> Vec<String> {
        vec![
            "--tlsverify".to_owned(),
            format!("--tlscacert={}", self.path("ca.pem")),
            format!("--tlscert={}", self.path(&format!("{kind}.pem"))),
            format!("--tlskey={}", self.path(&format!("{kind}-key.pem"))),
        ]
    }
}

struct World {
    scratch: Scratch,
    certificates: Certificates,
    engine: Engine,
    address: SocketAddr,
}

impl World {
    fn new() -> Self {
        need_root();
        let scratch = Scratch::new();
        let certificates = Certificates::new(scratch.join("certs"));
        let mut flags = vec!["--listen=tcp://127.0.0.1:0".to_owned()];
        flags.extend(certificates.flags("server"));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let engine = Engine::start(&berth(), &scratch, &flags);
        let log = engine.log();
        let place = log
            .split("tcp=")
            .nth(1)
            .unwrap_or_else(|| panic!("no TCP port:\n{log}"));
        let address = place.split_whitespace().next().unwrap().trim_matches('"');
        let address = address.parse().unwrap();
        let rootfs = busybox_rootfs(scratch.path());
        let local = clients(&engine.socket(), &scratch.join("docker-config")).remove(0);
        local.ok(&["import", &rootfs.to_string_lossy(), "app"]);
        Self {
            scratch,
            certificates,
            engine,
            address,
        }
    }

    fn host(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// A client of docker with these flags, and none of the caller's settings.
    fn docker(&self, program: &Path, flags: &[String], words: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DOCKER_")) {
            command.env_remove(name);
        }
        command
            .arg(format!("--host={}", self.host()))
            .args(flags)
            .args(words)
            .env("DOCKER_CONFIG", self.scratch.join("docker-config"))
            .stdin(Stdio::null());
        command
    }

    fn finish(mut self) {
        self.engine.teardown();
        self.engine.leftovers().expect_none();
    }
}

/// Every docker client on this machine.
fn programs(world: &World) -> Vec<PathBuf> {
    let found = clients(&world.engine.socket(), &world.scratch.join("docker-config"));
    found
        .iter()
        .map(|client| PathBuf::from(client.command(&[]).get_program()))
        .collect()
}

#[test]
fn the_docker_client_works_over_tcp_with_certificates() {
    if skipped("the TCP ports of Berth") {
        return;
    }
    let world = World::new();
    let flags = world.certificates.flags("client");
    for program in programs(&world) {
        let docker = |words: &[&str]| run(&mut world.docker(&program, &flags, words), PATIENCE);
        let version = docker(&["version", "--format", "{{.Server.Version}}"]);
        assert!(!version.ok().is_empty(), "{version:?}");
        assert_eq!(docker(&["run", "--rm", "app", "echo", "hi"]).ok(), "hi");
        assert_eq!(docker(&["run", "--rm", "app", "sh", "-c", "exit 3"]).code, 3);
        let both = docker(&["run", "--rm", "app", "sh", "-c", "echo out; echo err >&2"]);
        assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
        // The end of the input is a close_notify; the output goes on behind it.
        let line = world.docker(
            &program,
            &flags,
            &["run", "--rm", "-i", "app", "sh", "-c", "cat; echo after"],
        );
        let mut piped = Command::new("sh");
        piped.arg("-c").arg(format!("printf 'one\\ntwo\\n' | {line:?}"));
        assert_eq!(run(&mut piped, PATIENCE).ok(), "one\ntwo\nafter");
        let slow = "for i in 1 2 3; do echo $i; sleep 0.1; done; exec sleep 1000";
        docker(&["run", "-d", "--name", "box", "app", "sh", "-c", slow]).ok();
        until("the log", PATIENCE, || {
            (docker(&["logs", "box"]).ok() == "1\n2\n3").then_some(())
        });
        let many = docker(&["exec", "box", "seq", "1", "20000"]);
        assert_eq!(many.ok().lines().count(), 20_000);
        let mut shell = Typed::start(&world.docker(&program, &flags, &["exec", "-it", "box", "sh"]));
        shell.shows("#");
        shell.types("echo $((40+2)); busybox stty size\r");
        shell.shows("\r\n42\r\n31 97\r");
        shell.types("exit 7\r");
        assert_eq!(shell.code(), 7);
        docker(&["rm", "-f", "box"]).ok();
        from_variables(&world, &program);
    }
    world.finish();
}

#[test]
fn our_own_commands_work_over_tcp_with_certificates() {
    if skipped("the TCP ports of Berth") {
        return;
    }
    let world = World::new();
    let host = world.host();
    let flags = world.certificates.flags("client");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let own = |words: &[&str]| berth().run(&[&["--host", &host][..], &flags, words].concat());
    assert_eq!(own(&["run", "--rm", "app", "echo", "hi"]).ok(), "hi");
    own(&[
        "run",
        "-d",
        "--name",
        "box",
        "app",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ])
    .ok();
    assert!(own(&["ps"]).ok().contains("box"));
    assert_eq!(own(&["logs", "box"]).ok(), "up");
    assert_eq!(own(&["exec", "box", "sh", "-c", "exit 5"]).code, 5);
    let line = berth().command(&[&["--host", &host][..], &flags, &["exec", "-i", "box", "cat"]].concat());
    let mut piped = Command::new("sh");
    piped.arg("-c").arg(format!("printf 'one\\ntwo\\n' | {line:?}"));
    assert_eq!(run(&mut piped, PATIENCE).ok(), "one\ntwo");
    // Files by their usual names in a directory, and everything from variables.
    let usual = usual_names(&world);
    let mut command = berth().command(&["exec", "box", "echo", "there"]);
    command
        .env("BERTH_HOST", &host)
        .env("BERTH_TLS_VERIFY", "1")
        .env("BERTH_CERT_PATH", &usual)
        .stdin(Stdio::null());
    assert_eq!(run(&mut command, PATIENCE).ok(), "there");
    own(&["rm", "-f", "box"]).ok();
    let ca = format!("--tlscacert={}", world.certificates.path("ca.pem"));
    for (words, said) in [
        (&["--tlsverify", &ca, "ps"][..], "it demands a client certificate"),
        (
            &["--tlsverify", "--tlscacert=/nonexistent", "ps"],
            "cannot read /nonexistent",
        ),
        (&["ps"], "Client sent an HTTP request to an HTTPS server"),
    ] {
        let refused = berth().run(&[&["--host", &host][..], words].concat());
        assert!(
            refused.code == 1 && refused.stderr.contains(said),
            "{words:?}: {refused:?}"
        );
    }
    world.finish();
}

/// A client's files by the names that docker gives them.
fn usual_names(world: &World) -> PathBuf {
    let usual = world.scratch.join("usual");
    std::fs::create_dir_all(&usual).unwrap();
    for (from, to) in [
        ("ca.pem", "ca.pem"),
        ("client.pem", "cert.pem"),
        ("client-key.pem", "key.pem"),
    ] {
        std::fs::copy(world.certificates.path(from), usual.join(to)).unwrap();
    }
    usual
}

/// The names that docker gives the files of a client.
fn from_variables(world: &World, program: &Path) {
    let usual = usual_names(world);
    let mut command = Command::new(program);
    command
        .args(["version", "--format", "{{.Server.Os}}"])
        .env("DOCKER_CONFIG", world.scratch.join("docker-config"))
        .env("DOCKER_HOST", world.host())
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", &usual)
        .stdin(Stdio::null());
    assert_eq!(run(&mut command, PATIENCE).ok(), "linux");
}

#[test]
fn nobody_gets_in_without_a_certificate_of_the_authority() {
    if skipped("the TCP ports of Berth") {
        return;
    }
    let world = World::new();
    let foreign = Certificates::new(world.scratch.join("foreign"));
    let ours = |name: &str| world.certificates.path(name);
    let ca = format!("--tlscacert={}", ours("ca.pem"));
    let of_another = vec![
        "--tlsverify".to_owned(),
        ca.clone(),
        format!("--tlscert={}", foreign.path("client.pem")),
        format!("--tlskey={}", foreign.path("client-key.pem")),
    ];
    for program in programs(&world) {
        let version = |flags: &[String]| run(&mut world.docker(&program, flags, &["version"]), PATIENCE);
        for (flags, said) in [
            (vec!["--tlsverify".to_owned(), ca.clone()], "certificate"),
            (of_another.clone(), "remote error: tls: "),
            (Vec::new(), "Client sent an HTTP request to an HTTPS server"),
        ] {
            let refused = version(&flags);
            assert!(
                refused.code != 0 && refused.stderr.contains(said),
                "{flags:?}: {refused:?}"
            );
        }
        // The client, too, knows whom it speaks to.
        let mut flags = world.certificates.flags("client");
        flags[1] = format!("--tlscacert={}", foreign.path("ca.pem"));
        let stranger = version(&flags);
        assert!(
            stranger.code != 0 && stranger.stderr.contains("certificate"),
            "{stranger:?}"
        );
    }
    let plain = curl(&[&format!("http://{}/_ping", world.address)]);
    assert_eq!(
        plain.stdout,
        "Client sent an HTTP request to an HTTPS server.\n400"
    );
    let good = [
        "--cacert",
        &ours("ca.pem"),
        "--cert",
        &ours("client.pem"),
        "--key",
        &ours("client-key.pem"),
    ];
    let url = format!("https://{}/_ping", world.address);
    for (version, works) in [("1.2", true), ("1.3", true), ("1.1", false)] {
        let words = [&good[..], &["--tls-max", version, "--http2", &url]].concat();
        let answer = curl(&words);
        assert_eq!(answer.stdout == "OK200", works, "TLS {version}: {answer:?}");
    }
    let log = world.engine.log();
    assert!(log.contains("a client was turned away"), "{log}");
    world.finish();
}

/// The body and the status.
fn curl(words: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "-w", "%{http_code}"])
        .args(words);
    run(command.stdin(Stdio::null()), PATIENCE)
}

/// What is no handshake, or only the beginning of one.
const NOISE: [&[u8]; 9] = [
    b"",
    b"\0",
    b"\x16",
    b"\x16\x03\x01",
    b"\x16\x03\x01\xff\xff",
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
    b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    b"get / http/1.1\r\n\r\n",
    b"GET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n",
];

#[test]
fn noise_and_silence_end_and_shut_nobody_out() {
    if skipped("the TCP ports of Berth") {
        return;
    }
    let world = World::new();
    let silent: Vec<TcpStream> = NOISE
        .iter()
        .map(|noise| {
            let mut stream = TcpStream::connect(world.address).unwrap();
            stream.set_read_timeout(Some(HANDSHAKE)).unwrap();
            let _ = stream.write_all(noise);
            stream
        })
        .collect();
    let flags = world.certificates.flags("client");
    let program = programs(&world).remove(0);
    let version = ["version", "--format", "{{.Server.Os}}"];
    assert_eq!(
        run(&mut world.docker(&program, &flags, &version), PATIENCE).ok(),
        "linux"
    );
    for (mut stream, noise) in silent.into_iter().zip(NOISE) {
        let mut heard = Vec::new();
        // A connection that is reset has ended, too.
        match stream.read_to_end(&mut heard) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{noise:?}"),
        }
        let heard = String::from_utf8_lossy(&heard);
        assert_eq!(
            heard.contains("400 Bad Request"),
            noise.starts_with(b"GET"),
            "{noise:?}: {heard}"
        );
    }
    world.finish();
}

#[test]
fn an_engine_without_certificates_listens_on_no_tcp_port() {
    if skipped("the TCP ports of Berth") {
        return;
    }
    need_root();
    let scratch = Scratch::new();
    let certificates = Certificates::new(scratch.join("certs"));
    // Whoever tried to bind it would say that it is in use.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("tcp://{}", taken.local_addr().unwrap());
    let (socket, data) = (scratch.join("berth.sock"), scratch.join("engine"));
    let run_dir = scratch.join("run");
    let refused = |words: &[&str]| {
        let mut command = berth().command(&["engine", "--socket"]);
        command
            .arg(&socket)
            .arg("--data-dir")
            .arg(&data)
            .arg("--run-dir")
            .arg(&run_dir)
            .args(words);
        let refused = run(command.stdin(Stdio::null()), PATIENCE);
        assert!(!socket.exists() && !data.exists(), "{words:?} left something");
        assert_eq!(refused.code, 1, "{words:?}: {refused:?}");
        refused.stderr
    };
    let file = |flag: &str, name: &str| format!("{flag}={}", certificates.path(name));
    let (ca, cert) = (file("--tlscacert", "ca.pem"), file("--tlscert", "server.pem"));
    let (key, other) = (
        file("--tlskey", "server-key.pem"),
        file("--tlskey", "client-key.pem"),
    );
    let wrong = file("--tlscert", "server-key.pem");
    let [ca, cert, key, other, wrong] = [&ca, &cert, &key, &other, &wrong].map(String::as_str);
    let listen = ["--listen", place.as_str()];
    for (words, said) in [
        (vec![], "it needs --tlsverify"),
        (vec![ca, cert, key], "it needs --tlsverify"),
        (vec!["--tlsverify"], "--tlscacert: it is needed with --tlsverify"),
        (
            vec!["--tlsverify", ca, cert],
            "--tlskey: it is needed with --tlsverify",
        ),
        (
            vec!["--tlsverify", ca, wrong, key],
            "holds no certificate in PEM form",
        ),
        (vec!["--tlsverify", ca, cert, other], "--tlskey: "),
        (
            vec!["--tlsverify", "--tlscertpath=/nonexistent"],
            "cannot read /nonexistent/ca.pem",
        ),
    ] {
        let words = [&listen[..], &words].concat();
        let text = refused(&words);
        assert!(text.contains(said), "{words:?}: {text}");
    }
    // docker's daemon takes the place from -H.
    assert!(refused(&["-H", &place]).contains("it needs --tlsverify"));
    assert!(refused(&["--listen", "0.0.0.0:2376"]).contains("it must be tcp://HOST:PORT"));
    let in_use = refused(&["-H", &place, "--tlsverify", ca, cert, key]);
    assert!(in_use.contains(&format!("cannot listen on {place}")), "{in_use}");
}

#[test]
fn the_unix_socket_is_for_its_group_alone() {
    if skipped("the TCP ports of Berth") {
        return;
    }
    need_root();
    use std::os::unix::fs::MetadataExt;
    let group = nix::unistd::Group::from_name("docker").unwrap();
    let usual = group.map_or(0, |group| group.gid.as_raw());
    for (flags, gid) in [(&[][..], usual), (&["--socket-group=daemon"], 1)] {
        let scratch = Scratch::new();
        let mut engine = Engine::start(&berth(), &scratch, flags);
        let found = std::fs::metadata(engine.socket()).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o660, 0, gid));
        engine.teardown();
    }
}
