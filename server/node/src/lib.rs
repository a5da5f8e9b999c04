//! The store's server: event loop, durable log, snapshots, HTTP.
