//! Carries out start plans: the keeper, the stage, netlink, nftables and cgroups.

#![deny(unsafe_code)]

pub mod netlink;
pub mod nft;
pub mod ports;
