//! The commands of etcdctl on users and roles: which words there are, and the complaints about them.

use super::flags::{Flag, Given, Kind, parse, reorder};
use super::table::word_help;
use super::{Wish, no_such};
use crate::args::{AccessArgs, AuthCommand, RoleChangeArgs, RoleCommand, UserCommand};
use crate::exit::{Failure, Outcome};
use crate::kv::{Session, users};
use crate::terminal::print;

const fn flag(names: &'static [&'static str], kind: Kind, help: &'static str) -> Flag {
    Flag { names, kind, help }
}

const ROLES: &[Flag] = &[flag(&["roles"], Kind::List, "a role")];

const PATH: &[Flag] = &[
    flag(&["path"], Kind::Text, "a key, or a beginning of keys with a star"),
    flag(&["read"], Kind::Bool, "read and watch"),
    flag(&["write"], Kind::Bool, "write and remove"),
    flag(&["readwrite", "rw"], Kind::Bool, "both"),
];

/// What a command line asks for.
enum Asked {
    User(UserCommand),
    Role(RoleCommand),
    Auth(AuthCommand),
}

/// Carries out `user`, `role` or `auth`.
pub(super) async fn carry_out(wish: Wish, mut session: Session, sync: bool) -> Outcome {
    let Some((name, rest)) = wish.args.split_first() else {
        print(&word_help(wish.word))?;
        return Ok(0);
    };
    let flags = match (wish.word.name, name.as_str()) {
        ("user", "grant" | "revoke") => ROLES,
        ("role", "grant" | "revoke") => PATH,
        _ => &[],
    };
    let (given, words) = match parse(flags, &reorder(flags, rest)) {
        Ok(parsed) => parsed,
        Err(why) => {
            print(&format!("Incorrect Usage: {why}\n\n{}", word_help(wish.word)))?;
            return Err(Failure::usage(why));
        }
    };
    let asked = match wish.word.name {
        "user" => Asked::User(user(name, &given, &words)?),
        "role" => Asked::Role(role(name, &given, &words)?),
        _ => Asked::Auth(auth(name, &words)?),
    };
    if sync {
        session.sync().await?;
    }
    // Its client says so, and so does each of its APIs for these.
    session.announce();
    session.announce();
    match asked {
        Asked::User(command) => users::user(&session, command).await,
        Asked::Role(command) => users::role(&session, command).await,
        Asked::Auth(command) => users::auth(&session, command).await,
    }
}

fn refuse<T>(text: &str) -> Result<T, Failure> {
    Err(Failure::usage(text.to_owned()))
}

fn user(name: &str, given: &Given, words: &[String]) -> Result<UserCommand, Failure> {
    let one = || match words {
        [user] => Ok(user.clone()),
        _ => refuse("Please provide a username"),
    };
    let roles = || match given.list("roles") {
        roles if roles.is_empty() => refuse("No roles specified; please use `--roles`"),
        roles => Ok(roles),
    };
    Ok(match name {
        "list" if words.is_empty() => UserCommand::List,
        "list" => return refuse("No arguments accepted"),
        "add" => UserCommand::Add { user: one()? },
        "get" => UserCommand::Get { user: one()? },
        "remove" => UserCommand::Remove { user: one()? },
        "passwd" => UserCommand::Passwd { user: one()? },
        "grant" => {
            let roles = roles()?;
            UserCommand::Grant { user: one()?, roles }
        }
        "revoke" => {
            let roles = roles()?;
            UserCommand::Revoke { user: one()?, roles }
        }
        name => return Err(no_such(name)),
    })
}

fn role(name: &str, given: &Given, words: &[String]) -> Result<RoleCommand, Failure> {
    let one = || match words {
        [role] => Ok(role.clone()),
        _ => refuse("Please provide a role name"),
    };
    Ok(match name {
        "list" if words.is_empty() => RoleCommand::List,
        "list" => return refuse("No arguments accepted"),
        "add" => RoleCommand::Add { role: one()? },
        "get" => RoleCommand::Get { role: one()? },
        "remove" => RoleCommand::Remove { role: one()? },
        "grant" => RoleCommand::Grant(change(given, one)?),
        "revoke" => RoleCommand::Revoke(change(given, one)?),
        name => return Err(no_such(name)),
    })
}

/// The complaints come in etcdctl's order.
fn change(given: &Given, role: impl FnOnce() -> Result<String, Failure>) -> Result<RoleChangeArgs, Failure> {
    let Some(path) = given.text("path") else {
        return refuse("No path specified; please use `--path`");
    };
    users::check_path(&path)?;
    let access = AccessArgs {
        read: given.is("read"),
        write: given.is("write"),
        readwrite: given.is("readwrite"),
    };
    if u8::from(access.read) + u8::from(access.write) + u8::from(access.readwrite) != 1 {
        return refuse("Please specify exactly one of --read, --write or --readwrite");
    }
    Ok(RoleChangeArgs {
        role: role()?,
        path,
        access,
    })
}

fn auth(name: &str, words: &[String]) -> Result<AuthCommand, Failure> {
    let command = match name {
        "enable" => AuthCommand::Enable,
        "disable" => AuthCommand::Disable,
        name => return Err(no_such(name)),
    };
    if !words.is_empty() {
        return refuse("No arguments accepted");
    }
    Ok(command)
}
