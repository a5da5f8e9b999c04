//! Clients for the keys API and the Engine API, over TCP and unix sockets.
//!
//! [`EtcdClient`] speaks to a list of store members, [`EngineClient`] to one engine. Both stand on [`Transport`],
//! which makes a fresh connection for every request.
#![forbid(unsafe_code)]

mod console;
mod docker;
mod endpoints;
mod error;
mod etcd;
mod local;
mod streams;
mod tls;
mod transport;

pub use console::{RawConsole, Size, stdin_is_terminal};
pub use docker::{
    AttachStreams, CommitOptions, ConnectOptions, EngineClient, EventsOptions, ImportOptions, ListOptions,
    LogsOptions, NetworkOptions, PendingExit, WaitCondition,
};
pub use endpoints::{Endpoint, EndpointError, parse_endpoints};
pub use error::SdkError;
pub use etcd::{
    BackupStream, DeleteOptions, EtcdClient, Failures, GetOptions, KeyAnswer, KeysCall, MembersError,
    SetOptions, WatchOptions, key_path, query_of,
};
pub use local::{Packing, Unpack};
pub use streams::{ArchiveStream, Attached, AttachedInput, FrameStream, LineStream};
pub use tls::{ClientTls, TlsFiles, TlsFilesError, TlsProblem};
pub use transport::{Answer, Call, Transport};

pub use http::{Method, StatusCode};
