//! Flags of TLS: those of a store, with the names of etcd, those of an engine that registers in one, and those of the Engine
//! API, with the names of docker.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

/// TLS of a store.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "TLS of a store")]
pub(crate) struct TlsFlags {
    /// Certificate for clients, PEM; addresses without a scheme are https then
    #[arg(long, env = "BERTH_CERT_FILE", value_name = "FILE")]
    pub(crate) cert_file: Option<PathBuf>,
    /// Private key of --cert-file, PEM
    #[arg(long, env = "BERTH_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Authorities of the clients' certificates, PEM; by itself it demands none
    #[arg(long, env = "BERTH_TRUSTED_CA_FILE", value_name = "FILE")]
    pub(crate) trusted_ca_file: Option<PathBuf>,
    /// Demand a certificate of --trusted-ca-file from every client
    #[arg(long, env = "BERTH_CLIENT_CERT_AUTH")]
    pub(crate) client_cert_auth: bool,
    /// The old name of both: --trusted-ca-file with --client-cert-auth
    #[arg(long, env = "BERTH_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Revoked certificates of clients: lists in PEM, or one in DER
    #[arg(long, env = "BERTH_CLIENT_CRL_FILE", value_name = "FILE")]
    pub(crate) client_crl_file: Option<PathBuf>,
    /// Common names of the clients that are let in; all without it
    #[arg(
        long,
        env = "BERTH_CLIENT_CERT_ALLOWED_CN",
        value_name = "NAME[,..]",
        value_delimiter = ','
    )]
    pub(crate) client_cert_allowed_cn: Vec<String>,
    /// Names or addresses of which clients' certificates must have one; any without it
    #[arg(
        long,
        env = "BERTH_CLIENT_CERT_ALLOWED_HOSTNAME",
        value_name = "HOST[,..]",
        value_delimiter = ','
    )]
    pub(crate) client_cert_allowed_hostname: Vec<String>,
    /// Serve clients with a certificate that the store makes for itself, and keeps in its data directory
    #[arg(long, env = "BERTH_AUTO_TLS")]
    pub(crate) auto_tls: bool,
    /// Certificate for the other members, PEM; it is shown to them when they are called, too
    #[arg(long, env = "BERTH_PEER_CERT_FILE", value_name = "FILE")]
    pub(crate) peer_cert_file: Option<PathBuf>,
    /// Private key of --peer-cert-file, PEM
    #[arg(long, env = "BERTH_PEER_KEY_FILE", value_name = "FILE")]
    pub(crate) peer_key_file: Option<PathBuf>,
    /// Authorities of the members' certificates, PEM
    #[arg(long, env = "BERTH_PEER_TRUSTED_CA_FILE", value_name = "FILE")]
    pub(crate) peer_trusted_ca_file: Option<PathBuf>,
    /// Demand a certificate of --peer-trusted-ca-file from every member
    #[arg(long, env = "BERTH_PEER_CLIENT_CERT_AUTH")]
    pub(crate) peer_client_cert_auth: bool,
    /// The old name of both: --peer-trusted-ca-file with --peer-client-cert-auth
    #[arg(long, env = "BERTH_PEER_CA_FILE", value_name = "FILE")]
    pub(crate) peer_ca_file: Option<PathBuf>,
    /// Revoked certificates of members: lists in PEM, or one in DER
    #[arg(long, env = "BERTH_PEER_CRL_FILE", value_name = "FILE")]
    pub(crate) peer_crl_file: Option<PathBuf>,
    /// Common names of the members that are let in and called; all without it
    #[arg(
        long,
        env = "BERTH_PEER_CERT_ALLOWED_CN",
        value_name = "NAME[,..]",
        value_delimiter = ','
    )]
    pub(crate) peer_cert_allowed_cn: Vec<String>,
    /// Names or addresses of which members' certificates must have one; any without it
    #[arg(
        long,
        env = "BERTH_PEER_CERT_ALLOWED_HOSTNAME",
        value_name = "HOST[,..]",
        value_delimiter = ','
    )]
    pub(crate) peer_cert_allowed_hostname: Vec<String>,
    /// Let members call from addresses that their certificates do not name
    #[arg(long, env = "BERTH_PEER_SKIP_CLIENT_SAN_VERIFICATION")]
    pub(crate) peer_skip_client_san_verification: bool,
    /// Speak to the other members with certificates that each makes for itself: hidden from others, but nobody is known by them
    #[arg(long, env = "BERTH_PEER_AUTO_TLS")]
    pub(crate) peer_auto_tls: bool,
}

/// TLS of an engine's way to its store.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StoreTlsFlags {
    /// Authorities of the store's certificates, PEM; those of the system without it
    #[arg(long, env = "BERTH_STORE_CA_FILE", value_name = "FILE")]
    pub(crate) store_ca_file: Option<PathBuf>,
    /// Certificate that is shown to the store, PEM
    #[arg(long, env = "BERTH_STORE_CERT_FILE", value_name = "FILE")]
    pub(crate) store_cert_file: Option<PathBuf>,
    /// Private key of --store-cert-file, PEM
    #[arg(long, env = "BERTH_STORE_KEY_FILE", value_name = "FILE")]
    pub(crate) store_key_file: Option<PathBuf>,
}

/// TLS of a gateway: towards its clients, and towards the members.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "TLS of a gateway")]
pub(crate) struct GatewayTlsFlags {
    /// Certificate for clients, PEM; addresses without a scheme are https then
    #[arg(long, env = "BERTH_CERT_FILE", value_name = "FILE")]
    pub(crate) cert_file: Option<PathBuf>,
    /// Private key of --cert-file, PEM
    #[arg(long, env = "BERTH_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Authorities of the clients' certificates, PEM; by itself it demands none
    #[arg(long, env = "BERTH_TRUSTED_CA_FILE", value_name = "FILE")]
    pub(crate) trusted_ca_file: Option<PathBuf>,
    /// Demand a certificate of --trusted-ca-file from every client
    #[arg(long, env = "BERTH_CLIENT_CERT_AUTH")]
    pub(crate) client_cert_auth: bool,
    /// Revoked certificates of clients: lists in PEM, or one in DER
    #[arg(long, env = "BERTH_CLIENT_CRL_FILE", value_name = "FILE")]
    pub(crate) client_crl_file: Option<PathBuf>,
    /// How the members are called that are https
    #[command(flatten)]
    pub(crate) store: StoreTlsFlags,
    /// Certificate for the members' addresses of --initial-cluster, PEM
    #[arg(long, env = "BERTH_PEER_CERT_FILE", value_name = "FILE")]
    pub(crate) peer_cert_file: Option<PathBuf>,
    /// Private key of --peer-cert-file, PEM
    #[arg(long, env = "BERTH_PEER_KEY_FILE", value_name = "FILE")]
    pub(crate) peer_key_file: Option<PathBuf>,
    /// Authorities of the members' certificates there, PEM
    #[arg(long, env = "BERTH_PEER_TRUSTED_CA_FILE", value_name = "FILE")]
    pub(crate) peer_trusted_ca_file: Option<PathBuf>,
}

/// TLS of the Engine API over TCP, at either end; names and files are docker's.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ApiTls {
    /// TLS with the engine, at both ends; an engine that listens on TCP demands certificates from its clients then
    #[arg(
        long,
        global = true,
        env = "BERTH_TLS_VERIFY",
        value_parser = FalseyValueParser::new(),
        help_heading = "Connections"
    )]
    pub(crate) tlsverify: bool,
    /// Directory with ca.pem, cert.pem and key.pem, where a file is not named by itself
    #[arg(
        long,
        global = true,
        env = "BERTH_CERT_PATH",
        value_name = "DIR",
        help_heading = "Connections"
    )]
    pub(crate) tlscertpath: Option<PathBuf>,
    /// Authorities of the other end's certificates, PEM
    #[arg(
        long,
        global = true,
        env = "BERTH_TLS_CACERT",
        value_name = "FILE",
        help_heading = "Connections"
    )]
    pub(crate) tlscacert: Option<PathBuf>,
    /// Certificate that is shown, PEM
    #[arg(
        long,
        global = true,
        env = "BERTH_TLS_CERT",
        value_name = "FILE",
        help_heading = "Connections"
    )]
    pub(crate) tlscert: Option<PathBuf>,
    /// Private key of --tlscert, PEM
    #[arg(
        long,
        global = true,
        env = "BERTH_TLS_KEY",
        value_name = "FILE",
        help_heading = "Connections"
    )]
    pub(crate) tlskey: Option<PathBuf>,
}
