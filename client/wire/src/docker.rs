//! The documents of the Docker Engine API, tolerant of `null` and of absent fields as its clients are.
//!
//! Field names are Docker's own (in snake case), so the fields carry no comments unless their meaning surprises.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares a document: Docker's spelling of the names, every field optional, `null` the same as absent.
macro_rules! document {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        #[allow(missing_docs, reason = "the fields are those of Docker's document of that name")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(deserialize_with = "crate::docker::nullable")]
                pub $field: $ty,
            )*
        }
    )*};
}

mod container;
mod disk;
mod exec;
mod frames;
mod host;
mod image;
mod keys;
mod network;
mod stats;
mod system;
mod volume;

pub use container::{
    ContainerConfig, ContainerInspect, ContainerState, ContainerSummary, CreateRequest, CreateResponse,
    GraphDriver, HealthConfig, HealthLogEntry, HealthState, HostNetworkMode, MountPoint, PortSummary,
    PruneContainersResponse, SummaryNetworkSettings, WaitError, WaitResponse,
};
pub use disk::{
    DiskCache, DiskUsage, DiskVolume, DiskVolumeUsage, PruneBuildResponse, PruneImagesResponse, TopResponse,
    UpdateResponse,
};
pub use exec::{ExecConfig, ExecInspect, ExecProcess, ExecStart};
pub use frames::{Frame, FrameDecoder, FrameError, MAX_FRAME_PAYLOAD, Stream, encode_frame, frame_header};
pub use host::{
    BindOptions, DeviceMapping, DeviceRequest, HostConfig, LogConfig, Mount, PortBinding, PortMap,
    RestartPolicy, ThrottleDevice, TmpfsOptions, Ulimit, VolumeDriver, VolumeOptions, WeightDevice,
};
pub use image::{ImageConfig, ImageDeleteItem, ImageInspect, ImageMetadata, ImageSummary, RootFs};
pub use keys::{DetachKeys, DetachKeysError};
pub use network::{
    EndpointIpam, EndpointSettings, IpamConfig, NetworkConnect, NetworkContainer, NetworkCreate,
    NetworkCreated, NetworkDisconnect, NetworkIpam, NetworkReference, NetworkResource, NetworkSettings,
    NetworkingConfig, PruneNetworksResponse,
};
pub use stats::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats,
    StorageStats, ThrottlingData,
};
pub use system::{
    ErrorBody, EventActor, EventMessage, IdResponse, Plugins, ProgressMessage, RegistryConfig, Runtime,
    SwarmInfo, SystemInfo, VersionComponent, VersionInfo, VersionPlatform,
};
pub use volume::{
    FileChange, PathStat, PruneVolumesResponse, VolumeCreate, VolumeList, VolumeResource, VolumeUsage,
};

/// The value of a `PathSet`: an empty object, whatever the client wrote there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Empty;

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<((), ())>())
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A set written as an object of empty objects, such as `{"80/tcp":{}}`.
pub type PathSet = std::collections::BTreeMap<String, Empty>;

/// Reads `null` as the default value of the type.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An argument list that clients write as a list or as one string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(
    /// The words; one string makes one word.
    pub Vec<String>,
);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            One(String),
            Many(Vec<String>),
        }
        Spelling::deserialize(deserializer).map(|spelling| match spelling {
            Spelling::One(word) => Self(vec![word]),
            Spelling::Many(words) => Self(words),
        })
    }
}
