//! `cert`: an authority and certificates that it signs; and those that a store makes for itself.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::args::{CertArgs, CertCommand, LeafArgs};
use crate::exit::{Failure, Outcome};
use crate::terminal::print_line;

/// The files of the authority.
const CA: &str = "ca";
const CA_NAME: &str = "berth authority";
const CA_DAYS: u32 = 3_650;

/// What a certificate is for if nothing was said: this machine, for itself.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Clocks differ: a certificate is valid from a little before it was made.
const SKEW: Duration = Duration::from_secs(300);

/// Certificates that a store makes for itself are not renewed by it; nobody checks how old they are, except clients that were
/// given them by hand.
const SELF_MADE_DAYS: u32 = 3_650;

/// The longest common name that X.509 allows.
const LONGEST_NAME: usize = 64;

/// Makes what was asked for and says which files those are.
pub(crate) fn run(args: CertArgs) -> Outcome {
    let made = match args.command {
        CertCommand::Ca(args) => authority(&args.dir, &args.name, args.days),
        CertCommand::Server(args) => leaf(&args, "server", &[ExtendedKeyUsagePurpose::ServerAuth]),
        CertCommand::Client(args) => leaf(&args, "client", &[ExtendedKeyUsagePurpose::ClientAuth]),
        CertCommand::Peer(args) => leaf(
            &args,
            "peer",
            &[
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        ),
    };
    let files = made.map_err(|error| Failure::new(crate::exit::FAILED, error))?;
    for file in files {
        print_line(&file.display().to_string())?;
    }
    Ok(0)
}

/// A certificate and its key, in files that are named after it.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn of(dir: &Path, name: &str) -> Pair {
        Pair {
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}-key.pem")),
        }
    }

    /// Writes both files, or none.
    fn write(self, cert: &str, key: &str) -> anyhow::Result<Vec<PathBuf>> {
        create(&self.key, key)?;
        if let Err(error) = create(&self.cert, cert) {
            // It was made just now, and is of no use alone.
            drop(fs::remove_file(&self.key));
            return Err(error);
        }
        Ok(vec![self.cert, self.key])
    }
}

/// Makes a file for its owner alone. One that is there is left alone.
fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already, and is not written over", path.display())
        }
        made => made.with_context(|| format!("cannot make {}", path.display()))?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make {}", dir.display()))
}

fn authority(dir: &Path, name: &str, days: u32) -> anyhow::Result<Vec<PathBuf>> {
    make_dir(dir)?;
    let mut params = CertificateParams::default();
    describe(&mut params, name, days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Pair::of(dir, CA).write(&cert.pem(), &key.serialize_pem())
}

/// The authority of a directory, made if there is none; and the files that were made.
fn signer(dir: &Path) -> anyhow::Result<(Issuer<'static, KeyPair>, Vec<PathBuf>)> {
    let Pair { cert, key } = Pair::of(dir, CA);
    let made = if cert.exists() || key.exists() {
        Vec::new()
    } else {
        authority(dir, CA_NAME, CA_DAYS)?
    };
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read the authority's {}", path.display()))
    };
    let pair = KeyPair::from_pem(&read(&key)?).with_context(|| format!("{} is no key", key.display()))?;
    let issuer = Issuer::from_ca_cert_pem(&read(&cert)?, pair);
    let issuer = issuer.with_context(|| format!("{} is no authority", cert.display()))?;
    Ok((issuer, made))
}

fn leaf(args: &LeafArgs, kind: &str, uses: &[ExtendedKeyUsagePurpose]) -> anyhow::Result<Vec<PathBuf>> {
    let name = args.name.as_deref().unwrap_or(kind);
    if name == CA || name.ends_with("-key") || name.starts_with('.') || name.contains('/') {
        bail!("--name {name:?}: files cannot be named after it");
    }
    let mut hosts: Vec<String> = args.hosts.iter().map(|host| host.trim().to_owned()).collect();
    hosts.retain(|host| !host.is_empty());
    let for_servers = uses.contains(&ExtendedKeyUsagePurpose::ServerAuth);
    if hosts.is_empty() && for_servers {
        hosts = OWN_HOSTS.map(str::to_owned).to_vec();
    }
    make_dir(&args.dir)?;
    let (issuer, mut files) = signer(&args.dir)?;
    let mut params = params(hosts, uses)?;
    describe(&mut params, name, args.days)?;
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, &issuer)?;
    files.extend(Pair::of(&args.dir, name).write(&cert.pem(), &key.serialize_pem())?);
    Ok(files)
}

fn params(hosts: Vec<String>, uses: &[ExtendedKeyUsagePurpose]) -> anyhow::Result<CertificateParams> {
    let named = hosts.join(",");
    let params = CertificateParams::new(hosts);
    let mut params = params.with_context(|| format!("--hosts {named:?}: not all are names or addresses"))?;
    params.extended_key_usages = uses.to_vec();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// Its common name, and how long it is valid.
fn describe(params: &mut CertificateParams, name: &str, days: u32) -> anyhow::Result<()> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        bail!("--name {name:?}: it must have 1 to {LONGEST_NAME} bytes");
    }
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = date_time_ymd(1970, 1, 1) + now.context("the clock stands before 1970")?;
    params.not_before = now - SKEW;
    params.not_after = now + Duration::from_secs(u64::from(days) * 86_400);
    Ok(())
}

/// The certificate and the key that a store made for itself in this directory, made now if they are missing.
pub(crate) fn self_made(dir: &Path, hosts: &[String]) -> anyhow::Result<(PathBuf, PathBuf)> {
    let pair = Pair::of(dir, "cert");
    let (cert, key) = (pair.cert, dir.join("key.pem"));
    if !cert.exists() || !key.exists() {
        make_dir(dir)?;
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let mut params = params(hosts.to_vec(), &both)?;
        describe(&mut params, "berth", SELF_MADE_DAYS)?;
        let fresh = KeyPair::generate()?;
        let signed = params.self_signed(&fresh)?;
        // A start that was cut short may have left one of them.
        for path in [&cert, &key] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot replace {}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        create(&key, &fresh.serialize_pem())?;
        create(&cert, &signed.pem())?;
    }
    Ok((cert, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path, name: Option<&str>, hosts: &[&str]) -> LeafArgs {
        LeafArgs {
            name: name.map(str::to_owned),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            days: 1,
            dir: dir.to_owned(),
        }
    }

    #[test]
    fn names_that_make_no_files_are_refused() {
        let dir = std::env::temp_dir().join("berth-cert-test-that-is-never-made");
        let uses = [ExtendedKeyUsagePurpose::ClientAuth];
        for name in ["ca", "x-key", "../x", ".x", ""] {
            assert!(
                leaf(&args(&dir, Some(name), &[]), "client", &uses).is_err(),
                "{name:?}"
            );
        }
        let long = "x".repeat(65);
        let mut params = CertificateParams::default();
        assert!(describe(&mut params, &long, 1).is_err());
        assert!(describe(&mut params, "x", 1).is_ok());
        assert!(params.not_before < params.not_after);
    }
}
