//! Certificates of all kinds, good and bad, with explicit dates.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// The years in which certificates are valid.
pub(crate) const VALID: (i32, i32) = (2020, 2100);
pub(crate) const EXPIRED: (i32, i32) = (2020, 2021);
pub(crate) const NOT_YET: (i32, i32) = (2099, 2100);

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Server,
    Client,
    Both,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    serial: u64,
}

impl Pair {
    /// Puts this pair in the place of another one, as tools that renew certificates do.
    pub(crate) fn replace(&self, other: &Pair) {
        for (from, to) in [(&self.key, &other.key), (&self.cert, &other.cert)] {
            let fresh = to.with_extension("fresh");
            fs::copy(from, &fresh).unwrap();
            fs::rename(&fresh, to).unwrap();
        }
    }
}

/// An authority that signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
    pub(crate) pem: PathBuf,
    serials: std::cell::Cell<u64>,
}

impl Authority {
    /// One whose files are in `dir`.
    pub(crate) fn new(dir: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(VALID.0, 1, 1);
        params.not_after = date_time_ymd(VALID.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let pem = dir.join(format!("{name}.pem"));
        fs::write(&pem, cert.pem()).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            dir: dir.to_owned(),
            pem,
            serials: std::cell::Cell::new(1),
        }
    }

    /// A certificate: its files' name, its common name, its hosts, its use and its years.
    pub(crate) fn sign(&self, file: &str, name: &str, hosts: &[&str], usage: Use, years: (i32, i32)) -> Pair {
        let (params, serial) = self.describe(name, hosts, usage, years);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &cert.pem(), &key, serial)
    }

    /// One for everything that is good in every way.
    pub(crate) fn good(&self, file: &str, name: &str) -> Pair {
        self.sign(file, name, &["127.0.0.1", "localhost"], Use::Both, VALID)
    }

    /// One that looks as if it were good, but that nobody signed.
    pub(crate) fn self_signed(&self, file: &str, name: &str) -> Pair {
        let (params, serial) = self.describe(name, &["127.0.0.1", "localhost"], Use::Both, VALID);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        self.write(file, &cert.pem(), &key, serial)
    }

    fn describe(
        &self,
        name: &str,
        hosts: &[&str],
        usage: Use,
        years: (i32, i32),
    ) -> (CertificateParams, u64) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match usage {
            Use::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Use::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Use::Both => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        };
        let serial = self.serials.get();
        self.serials.set(serial + 1);
        params.serial_number = Some(SerialNumber::from(serial));
        (params, serial)
    }

    fn write(&self, file: &str, cert: &str, key: &KeyPair, serial: u64) -> Pair {
        let pair = Pair {
            cert: self.dir.join(format!("{file}.pem")),
            key: self.dir.join(format!("{file}-key.pem")),
            serial,
        };
        fs::write(&pair.cert, cert).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    /// Writes the list of revoked certificates.
    pub(crate) fn revoke(&self, path: &Path, revoked: &[&Pair]) {
        let day = date_time_ymd(VALID.0, 6, 1);
        let list = CertificateRevocationListParams {
            this_update: day,
            next_update: date_time_ymd(VALID.1, 1, 1),
            crl_number: SerialNumber::from(u64::try_from(revoked.len()).unwrap() + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|pair| RevokedCertParams {
                    serial_number: SerialNumber::from(pair.serial),
                    revocation_time: day,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let fresh = path.with_extension("fresh");
        fs::write(&fresh, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        fs::rename(&fresh, path).unwrap();
    }
}
