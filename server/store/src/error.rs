//! The errors of the v2 API: codes, messages, causes.

use std::fmt;

/// A refused request, in the terms of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// `errorCode`.
    pub code: u16,
    /// `cause`: the key, or the comparison that failed.
    pub cause: String,
    /// The store's index when it was refused.
    pub index: u64,
}

/// The codes of the API.
pub mod code {
    /// There is no such key.
    pub const KEY_NOT_FOUND: u16 = 100;
    /// A condition does not hold.
    pub const COMPARE_FAILED: u16 = 101;
    /// It is a directory.
    pub const NOT_A_FILE: u16 = 102;
    /// It is a file.
    pub const NOT_A_DIRECTORY: u16 = 104;
    /// It is there already.
    pub const KEY_EXISTS: u16 = 105;
    /// The root cannot be changed.
    pub const ROOT_READ_ONLY: u16 = 107;
    /// The directory has children.
    pub const DIRECTORY_NOT_EMPTY: u16 = 108;
    /// Credentials are missing or wrong.
    pub const UNAUTHORIZED: u16 = 110;
    /// A change of users and roles that makes no sense. The codes of these changes are not of the API: it tells their
    /// cause alone.
    pub const AUTH_INVALID: u16 = 1_400;
    /// A change of users and roles that is never made.
    pub const AUTH_FORBIDDEN: u16 = 1_403;
    /// A change of a user or a role that is not there.
    pub const AUTH_NOT_FOUND: u16 = 1_404;
    /// A change of users and roles that was made already.
    pub const AUTH_CONFLICT: u16 = 1_409;
    /// `prevValue` is empty.
    pub const PREV_VALUE_REQUIRED: u16 = 201;
    /// `ttl` is not a number.
    pub const TTL_NOT_A_NUMBER: u16 = 202;
    /// `prevIndex` or `waitIndex` is not a number.
    pub const INDEX_NOT_A_NUMBER: u16 = 203;
    /// A parameter has no valid value.
    pub const INVALID_FIELD: u16 = 209;
    /// The form cannot be read.
    pub const INVALID_FORM: u16 = 210;
    /// A refresh with a value.
    pub const REFRESH_WITH_VALUE: u16 = 211;
    /// A refresh without a TTL.
    pub const REFRESH_WITHOUT_TTL: u16 = 212;
    /// No agreement: unknown whether the request was carried out.
    pub const RAFT_INTERNAL: u16 = 300;
    /// There is no leader.
    pub const LEADER_ELECTION: u16 = 301;
    /// A watch was closed because the state was replaced.
    pub const WATCHER_CLEARED: u16 = 400;
    /// The history does not reach back so far.
    pub const EVENT_INDEX_CLEARED: u16 = 401;
}

/// The text that goes with a code.
pub fn message(code: u16) -> &'static str {
    match code {
        100 => "Key not found",
        101 => "Compare failed",
        102 => "Not a file",
        103 => "Reached the max number of peers in the cluster",
        104 => "Not a directory",
        105 => "Key already exists",
        106 => "The prefix of given key is a keyword in etcd",
        107 => "Root is read only",
        108 => "Directory not empty",
        109 => "Peer address has existed",
        110 => "The request requires user authentication",
        200 => "Value is Required in POST form",
        201 => "PrevValue is Required in POST form",
        202 => "The given TTL in POST form is not a number",
        203 => "The given index in POST form is not a number",
        204 => "Value or TTL is required in POST form",
        205 => "The given timeout in POST form is not a number",
        206 => "Name is required in POST form",
        207 => "Index or value is required",
        208 => "Index and value cannot both be specified",
        209 => "Invalid field",
        210 => "Invalid POST form",
        211 => "Value provided on refresh",
        212 => "A TTL must be provided on refresh",
        300 => "Raft Internal Error",
        301 => "During Leader Election",
        400 => "watcher is cleared due to etcd recovery",
        401 => "The event in requested index is outdated and cleared",
        402 => "Standby Internal Error",
        403 => "Invalid active size",
        404 => "Standby remove delay",
        500 => "Client Internal Error",
        _ => "Unknown error",
    }
}

impl StoreError {
    /// An error with its cause.
    pub fn new(code: u16, cause: impl fmt::Display, index: u64) -> StoreError {
        StoreError {
            code,
            cause: cause.to_string(),
            index,
        }
    }

    /// The error of a watch that asks for events older than `oldest`.
    pub fn history_cleared(oldest: u64, asked: u64, index: u64) -> StoreError {
        let cause = format!("the requested history has been cleared [{oldest}/{asked}]");
        StoreError {
            code: code::EVENT_INDEX_CLEARED,
            cause,
            index,
        }
    }

    /// The text that goes with the code.
    pub fn message(&self) -> &'static str {
        message(self.code)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} ({}) [{}]",
            self.code,
            self.message(),
            self.cause,
            self.index
        )
    }
}

impl std::error::Error for StoreError {}
