//! Certificates that are read, mutilated ones, and names.

use super::{Port, Tls, TlsSettings, names};
use crate::mutate::{Mutator, Naming, ROUNDS, rounds};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

fn certificate(name: &str, hosts: &[&str]) -> (CertificateDer<'static>, String, String) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let signed = params.self_signed(&key).expect("a certificate");
    (signed.der().clone(), signed.pem(), key.serialize_pem())
}

fn may_be_at(certificate: &CertificateDer<'_>, address: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let address: IpAddr = address.parse().expect("an address");
    runtime
        .expect("a runtime")
        .block_on(names::may_be_at(certificate, address))
}

#[test]
fn names_are_those_of_the_certificate() {
    let (own, ..) = certificate("alice", &["127.0.0.1", "a.example.com", "*.b.example.com"]);
    assert_eq!(names::common_name(&own).as_deref(), Some("alice"));
    for (host, wanted) in [
        ("127.0.0.1", true),
        ("127.0.0.2", false),
        ("a.example.com", true),
        ("x.b.example.com", true),
        ("alice", false),
        ("", false),
    ] {
        assert_eq!(names::is_for(&own, host), wanted, "{host}");
    }
    let (nameless, ..) = certificate("", &[]);
    assert_eq!(names::common_name(&nameless), None);
}

#[test]
fn members_are_where_their_certificates_say() {
    let (by_address, ..) = certificate("m", &["10.1.1.1"]);
    assert!(may_be_at(&by_address, "10.1.1.1"));
    assert!(may_be_at(&by_address, "::ffff:10.1.1.1"));
    assert!(!may_be_at(&by_address, "10.1.1.2"));
    let (by_name, ..) = certificate("m", &["localhost"]);
    assert!(may_be_at(&by_name, "127.0.0.1"));
    assert!(!may_be_at(&by_name, "10.1.1.1"));
    let (anywhere, ..) = certificate("m", &[]);
    assert!(may_be_at(&anywhere, "10.1.1.1"));
    assert!(!may_be_at(&CertificateDer::from(vec![0x30, 0]), "10.1.1.1"));
}

#[test]
fn mutilated_certificates_have_no_name_or_another_one_and_do_no_harm() {
    let words: [&[u8]; 4] = [b"\x55\x04\x03", b"\x55\x1d\x11", b"\x87\x04", b"a.example.com"];
    let mut mutator = Mutator::new("certificate", Vec::new(), &words, 2_000);
    for round in 0..rounds(ROUNDS) {
        let input = mutator.next();
        let _naming = Naming { round, input: &input };
        let bytes = CertificateDer::from(input.as_slice());
        let named = names::common_name(&bytes);
        assert!(named.is_none_or(|name| !name.is_empty() && name.len() <= 256));
        names::is_for(&bytes, "a.example.com");
    }
}

#[test]
fn files_that_are_none_are_refused_by_flag() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let (_, cert, key) = certificate("m", &["127.0.0.1"]);
    let (cert, key) = (write("cert", cert.as_bytes()), write("key", key.as_bytes()));
    let other = write("other", certificate("o", &[]).2.as_bytes());
    let odd = write(
        "odd",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let settings = |cert: &Path, key: &Path, ca: Option<&Path>, crl: Option<&Path>| TlsSettings {
        cert: Some(cert.to_owned()),
        key: Some(key.to_owned()),
        trusted_ca: ca.map(Path::to_owned),
        crl: crl.map(Path::to_owned),
        demand: ca.is_some(),
        ..TlsSettings::default()
    };
    let opened = |settings| {
        Tls::open(Port::Clients, settings)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(opened(settings(&cert, &key, Some(&cert), None)), Ok(()));
    for (wrong, flag) in [
        (settings(&key, &key, None, None), "--cert-file"),
        (settings(&cert, &cert, None, None), "--key-file"),
        (settings(&cert, &other, None, None), "--key-file"),
        (settings(&odd, &key, None, None), "--cert-file"),
        (settings(&cert, &key, Some(&odd), None), "--trusted-ca-file"),
        (
            settings(&cert, &key, Some(&cert), Some(&cert)),
            "--client-crl-file",
        ),
        (
            settings(&cert, &key, Some(&cert), Some(&write("der", &[0x30, 3, 1, 2, 3]))),
            "--client-crl-file",
        ),
    ] {
        let error = opened(wrong.clone()).expect_err("refused");
        assert!(error.starts_with(&format!("{flag}: ")), "{wrong:?}: {error}");
    }
}
