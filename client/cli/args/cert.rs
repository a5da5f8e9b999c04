//! Flags of the command that makes certificates.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Make certificates for TLS, and the authority that signs them.
///
/// Each command makes what it needs: the first one makes the authority, too. Files are for their owner alone, and one that is
/// there already is never written over.
///
/// A cluster with TLS everywhere: berth cert peer --name m0 --hosts 10.0.0.1 (one for each member), berth cert server --hosts
/// 10.0.0.1,store.example.com, and berth cert client --name alice. Copy ca.pem and the pair of each member to it, never
/// ca-key.pem. Then: berth store --cert-file server.pem --key-file server-key.pem --trusted-ca-file ca.pem --client-cert-auth,
/// and berth --endpoints https://10.0.0.1:2379 --ca-file ca.pem --cert-file alice.pem --key-file alice-key.pem ls
#[derive(Debug, Clone, Args)]
pub(crate) struct CertArgs {
    #[command(subcommand)]
    pub(crate) command: CertCommand,
}

/// What to make.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CertCommand {
    /// Make an authority: ca.pem and ca-key.pem
    Ca(CaArgs),
    /// Make a certificate that a store shows to clients
    Server(LeafArgs),
    /// Make a certificate that a client shows; its name is the user's
    Client(LeafArgs),
    /// Make a certificate that members show to each other
    Peer(LeafArgs),
}

/// Flags of an authority.
#[derive(Debug, Clone, Args)]
pub(crate) struct CaArgs {
    /// Its common name
    #[arg(long, value_name = "NAME", default_value = "berth authority")]
    pub(crate) name: String,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 3_650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// Where the files go; made if it is missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// Flags of other certificates.
#[derive(Debug, Clone, Args)]
pub(crate) struct LeafArgs {
    /// Its common name, and that of the files: NAME.pem and NAME-key.pem; server, client or peer without it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Names and addresses that it is for, separated by commas; this machine's own ones for itself without it
    #[arg(long, visible_alias = "san", value_name = "HOST[,..]", value_delimiter = ',')]
    pub(crate) hosts: Vec<String>,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// Where the files go, and where ca.pem and ca-key.pem are; they are made if they are missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}
