//! Flags of the commands on users and roles.

use clap::{Args, Subcommand};

/// List, add, remove and change users of the store.
///
/// Users count once `berth auth enable` was said, for which there must be a user named root.
#[derive(Debug, Clone, Args)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

/// What can be done with users.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; the password is asked for, or read from the first line of standard input
    Add {
        /// Its name, or NAME:PASSWORD, which other users of this host can see
        user: String,
    },
    /// Print a user's roles
    Get {
        /// Its name
        user: String,
    },
    /// List the users
    List,
    /// Remove a user
    Remove {
        /// Its name
        user: String,
    },
    /// Give roles to a user
    Grant {
        /// Its name
        user: String,
        /// The roles, separated by commas
        #[arg(long, required = true, value_name = "ROLE", value_delimiter = ',')]
        roles: Vec<String>,
    },
    /// Take roles away from a user
    Revoke {
        /// Its name
        user: String,
        /// The roles, separated by commas
        #[arg(long, required = true, value_name = "ROLE", value_delimiter = ',')]
        roles: Vec<String>,
    },
    /// Give a user another password, which is asked for, or read from the first line of standard input
    Passwd {
        /// Its name
        user: String,
    },
}

/// List, add, remove and change roles of the store.
///
/// A role permits reading and writing keys by patterns. The role root may do everything; the role guest is that of whoever
/// shows no password.
#[derive(Debug, Clone, Args)]
pub(crate) struct RoleArgs {
    #[command(subcommand)]
    pub(crate) command: RoleCommand,
}

/// What can be done with roles.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RoleCommand {
    /// Add a role, which permits nothing yet
    Add {
        /// Its name
        role: String,
    },
    /// Print what a role permits
    Get {
        /// Its name
        role: String,
    },
    /// List the roles
    List,
    /// Remove a role
    Remove {
        /// Its name
        role: String,
    },
    /// Let a role do more
    Grant(RoleChangeArgs),
    /// Let a role do less
    Revoke(RoleChangeArgs),
}

/// What a role is to do more or less.
#[derive(Debug, Clone, Args)]
pub(crate) struct RoleChangeArgs {
    /// The name of the role
    pub(crate) role: String,
    /// A key, or a beginning of keys with a star behind it: /dir/* is everything below /dir
    #[arg(long, value_name = "KEY|KEY*")]
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Reading, writing or both.
#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct AccessArgs {
    /// Read and watch
    #[arg(long)]
    pub(crate) read: bool,
    /// Write and remove
    #[arg(long)]
    pub(crate) write: bool,
    /// Both
    #[arg(long, visible_alias = "rw")]
    pub(crate) readwrite: bool,
}

/// Let users and roles count, or not.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuthArgs {
    #[command(subcommand)]
    pub(crate) command: AuthCommand,
}

/// The switch.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum AuthCommand {
    /// Every request needs the rights of its user from now on; there must be a user named root
    Enable,
    /// Everybody may do everything again
    Disable,
}
