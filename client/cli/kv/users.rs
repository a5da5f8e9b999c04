//! `user`, `role` and `auth`: who may do what in the store.

use berth_sdk::MembersError;
use berth_wire::etcd::{KeyPermissions, Permissions, RoleChange, UserChange};
use serde::Serialize;

use super::{Session, Style};
use crate::args::{AccessArgs, AuthCommand, RoleChangeArgs, RoleCommand, UserCommand};
use crate::exit::{Failure, Outcome};
use crate::password;
use crate::terminal::{note_part, print, print_line};

pub(crate) async fn user(session: &Session, command: UserCommand) -> Outcome {
    let client = session.client();
    let failed = |error| session.members_failed(error);
    match command {
        UserCommand::Add { user } => return add(session, &user).await,
        UserCommand::Get { user } => {
            let found = client.user(&user).await.map_err(failed)?;
            if session.is_json() {
                return document(&found);
            }
            // etcdctl's own list begins with a blank for each role.
            let blanks = match session.style() {
                Style::Berth => String::new(),
                Style::Etcdctl => " ".repeat(found.roles.len()),
            };
            print(&format!(
                "User: {}\nRoles: {blanks}{}\n",
                found.user,
                found.roles.join(" ")
            ))?;
        }
        UserCommand::List => {
            let users = client.users().await.map_err(failed)?;
            if session.is_json() {
                return document(&users);
            }
            for user in users {
                print_line(&user.user)?;
            }
        }
        UserCommand::Remove { user } => {
            client.remove_user(&user).await.map_err(failed)?;
            print_line(&format!("User {user} removed"))?;
        }
        UserCommand::Grant { user, roles } => {
            let change = UserChange {
                grant: roles,
                ..named(&user)
            };
            update(session, &change).await?;
        }
        UserCommand::Revoke { user, roles } => {
            let change = UserChange {
                revoke: roles,
                ..named(&user)
            };
            update(session, &change).await?;
        }
        UserCommand::Passwd { user } => {
            exists(session, &user).await?;
            let change = UserChange {
                password: ask(session.style(), "New password: ")?,
                ..named(&user)
            };
            client.put_user(&change).await.map_err(failed)?;
            print_line("Password updated")?;
        }
    }
    Ok(0)
}

fn named(user: &str) -> UserChange {
    UserChange {
        user: user.to_owned(),
        ..UserChange::default()
    }
}

async fn update(session: &Session, change: &UserChange) -> Result<(), Failure> {
    let updated = session.client().put_user(change).await;
    updated.map_err(|error| session.members_failed(error))?;
    print_line(&format!("User {} updated", change.user))?;
    Ok(())
}

/// Refuses a user that is not there. One with a role that is not there is.
async fn exists(session: &Session, user: &str) -> Result<(), Failure> {
    let users = session.client().users().await;
    let users = users.map_err(|error| session.members_failed(error))?;
    if users.iter().any(|found| found.user == user) {
        return Ok(());
    }
    Err(Failure::usage(format!("auth: User {user} does not exist.")))
}

async fn add(session: &Session, words: &str) -> Outcome {
    let client = session.client();
    let (name, given) = match words.split_once(':') {
        Some((name, password)) => (name, Some(password.to_owned())),
        None => (words, None),
    };
    // etcdctl looks for a user with the name that was given, the password with it.
    let looked_for = match session.style() {
        Style::Berth => name,
        Style::Etcdctl => words,
    };
    match client.user(looked_for).await {
        Ok(_) => return Err(Failure::usage(format!("User {name} already exists"))),
        // What else is wrong will be told by the request that follows.
        Err(MembersError::Refused { .. } | MembersError::Unanswered(_)) => {}
    }
    let password = match given {
        Some(password) => password,
        None => ask(session.style(), "New password: ")?,
    };
    let change = UserChange {
        password,
        ..named(name)
    };
    let added = client.put_user(&change).await;
    added.map_err(|error| session.members_failed(error))?;
    print_line(&format!("User {name} created"))?;
    Ok(0)
}

/// Asks for a password. etcdctl asks on standard output.
pub(super) fn ask(style: Style, question: &str) -> Result<String, Failure> {
    match style {
        Style::Berth => password::ask(question, note_part),
        Style::Etcdctl => password::ask(question, print),
    }
}

pub(crate) async fn role(session: &Session, command: RoleCommand) -> Outcome {
    let client = session.client();
    let failed = |error| session.members_failed(error);
    match command {
        RoleCommand::Add { role } => {
            if client.role(&role).await.is_ok() {
                return Err(Failure::usage(format!("Role {role} already exists")));
            }
            let added = client.add_role(&role, Permissions::default()).await;
            added.map_err(failed)?;
            print_line(&format!("Role {role} created"))?;
        }
        RoleCommand::Get { role } => {
            let found = client.role(&role).await.map_err(failed)?;
            if session.is_json() {
                return document(&found);
            }
            let KeyPermissions { read, write } = &found.permissions.kv;
            let lines = |list: &Option<Vec<String>>| -> String {
                let patterns = list.iter().flatten();
                patterns.map(|pattern| format!("\t{pattern}\n")).collect()
            };
            print(&format!(
                "Role: {}\nKV Read:\n{}KV Write:\n{}",
                found.role,
                lines(read),
                lines(write)
            ))?;
        }
        RoleCommand::List => {
            let roles = client
                .roles()
                .await
                .map_err(|error| list_failed(session, error))?;
            if session.is_json() {
                return document(&roles);
            }
            for role in roles {
                print_line(&role.role)?;
            }
        }
        RoleCommand::Remove { role } => {
            client.remove_role(&role).await.map_err(failed)?;
            print_line(&format!("Role {role} removed"))?;
        }
        RoleCommand::Grant(args) => return change(session, args, true).await,
        RoleCommand::Revoke(args) => return change(session, args, false).await,
    }
    Ok(0)
}

/// Of this one refusal etcdctl tells only the status.
fn list_failed(session: &Session, error: MembersError) -> Failure {
    match (session.style(), error) {
        (Style::Etcdctl, MembersError::Refused { status, .. }) => {
            Failure::usage(format!("unexpected status code {status}"))
        }
        (Style::Berth | Style::Etcdctl, error) => session.members_failed(error),
    }
}

async fn change(session: &Session, args: RoleChangeArgs, grant: bool) -> Outcome {
    let RoleChangeArgs { role, path, access } = args;
    check_path(&path)?;
    let client = session.client();
    let failed = |error| session.members_failed(error);
    client.role(&role).await.map_err(failed)?;
    let permissions = Some(permissions(path, access));
    let change = RoleChange {
        role,
        grant: permissions.clone().filter(|_| grant),
        revoke: permissions.filter(|_| !grant),
    };
    client.change_role(&change).await.map_err(failed)?;
    print_line(&format!("Role {} updated", change.role))?;
    Ok(0)
}

fn permissions(path: String, access: AccessArgs) -> Permissions {
    let AccessArgs {
        read,
        write,
        readwrite,
    } = access;
    let list = |wanted: bool| wanted.then(|| vec![path.clone()]);
    Permissions {
        kv: KeyPermissions {
            read: list(read || readwrite),
            write: list(write || readwrite),
        },
    }
}

/// Refuses a path that no key can match.
pub(crate) fn check_path(path: &str) -> Result<(), Failure> {
    let canonical = canonical(path);
    if canonical == path {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "Not canonical path; please use `--path={canonical}`"
    )))
}

/// A path with one slash in front and none twice; one at the end stays.
fn canonical(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", parts.join("/"))
}

pub(crate) async fn auth(session: &Session, command: AuthCommand) -> Outcome {
    let (enabled, told) = match command {
        AuthCommand::Enable => (true, "Authentication Enabled"),
        AuthCommand::Disable => (false, "Authentication Disabled"),
    };
    let set = session.client().set_auth(enabled).await;
    set.map_err(|error| session.members_failed(error))?;
    print_line(told)?;
    Ok(0)
}

fn document(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value)?;
    print_line(&text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn paths_are_made_canonical() {
        for (path, wanted) in [
            ("/a", "/a"),
            ("a", "/a"),
            ("/a/", "/a/"),
            ("/a/*", "/a/*"),
            ("/*", "/*"),
            ("//a/../b", "/b"),
            ("/", "/"),
            ("", "/"),
        ] {
            assert_eq!(canonical(path), wanted, "{path}");
        }
    }
}
