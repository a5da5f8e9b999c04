//! Who may do what, by the examples of etcd's own tests; and the edges of what is kept.

use super::{Access, Auth, AuthChange, AuthOutcome, MAX_AUTH_BYTES, MAX_AUTH_NAME_BYTES, Permissions, Role};
use crate::{Command, Kind, Store, StoreError, code, restore};

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn permissions(read: &[&str], write: &[&str]) -> Permissions {
    Permissions {
        read: Some(texts(read)),
        write: Some(texts(write)),
    }
}

fn role(name: &str, read: &[&str], write: &[&str]) -> AuthChange {
    AuthChange::CreateRole(Role {
        name: name.to_owned(),
        permissions: permissions(read, write),
    })
}

fn user(name: &str, roles: &[&str]) -> AuthChange {
    AuthChange::CreateUser {
        name: name.to_owned(),
        hash: Some("hash".to_owned()),
        roles: texts(roles),
    }
}

fn change(store: &mut Store, change: AuthChange) -> Result<AuthOutcome, StoreError> {
    let command = Command::from(Kind::Auth(change));
    assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
    let applied = store.apply(&command)?;
    assert!(applied.events.is_empty());
    let restored = restore(store.chunks()).expect("an image");
    assert_eq!(restored.digest(), store.digest());
    assert_eq!(restored.auth(), store.auth());
    Ok(applied.auth.expect("an outcome"))
}

fn made(changes: Vec<AuthChange>) -> Store {
    let mut store = Store::new();
    for each in changes {
        change(&mut store, each).expect("a change");
    }
    store
}

#[test]
fn patterns_are_those_of_etcd() {
    let read = ["/foodir/*", "/fookey"];
    let write = ["/bardir/*", "/barkey"];
    let store = made(vec![role("r", &read, &write), user("u", &["r", "nobody"])]);
    let auth = store.auth();
    let user = auth.shown_user("u").expect("a user");
    let may = |path: &str, access, recursive| auth.permits(&user, path.as_bytes(), access, recursive);
    for (path, recursive, access) in [
        ("/foodir/foo/bar", false, Access::Read),
        ("/foodir/", false, Access::Read),
        ("/fookey", false, Access::Read),
        ("/foodir/", true, Access::Read),
        ("/foodir/foo", true, Access::Read),
        ("/bardir/bar/foo", false, Access::Write),
        ("/barkey", false, Access::Write),
        ("/bardir/x", true, Access::Write),
    ] {
        let other = if access == Access::Read {
            Access::Write
        } else {
            Access::Read
        };
        assert!(may(path, access, recursive), "{path}");
        assert!(!may(path, other, recursive), "{path}");
    }
    for (path, recursive) in [
        ("/foodir", false),
        ("/foodir", true),
        ("/fookey", true),
        ("/fookey/", false),
        ("", false),
    ] {
        assert!(!may(path, Access::Read, recursive), "{path}");
    }
}

#[test]
fn access_to_a_key_goes_by_the_roles() {
    for (roles, key, below) in [
        (vec![("r", "/foo")], true, false),
        (vec![("r", "/foo*")], true, true),
        (vec![("r", "/bar"), ("s", "/foo")], true, false),
        (vec![("r", "/bar*")], false, false),
        (vec![("r", "/f*o")], false, false),
    ] {
        let names: Vec<&str> = roles.iter().map(|(name, _)| *name).collect();
        let mut changes: Vec<AuthChange> = roles
            .iter()
            .map(|(name, pattern)| role(name, &[pattern], &[]))
            .collect();
        changes.push(user("u", &names));
        let store = made(changes);
        let user = store.auth().shown_user("u").expect("a user");
        let may = |recursive| store.auth().permits(&user, b"/foo", Access::Read, recursive);
        assert_eq!((may(false), may(true)), (key, below), "{roles:?}");
    }
    let root = made(vec![user("root", &["x"])]);
    let user = root.auth().shown_user("root").expect("a user");
    assert_eq!(user.roles, Some(texts(&["x", "root"])));
    assert!(root.auth().permits(&user, b"", Access::Write, true));
    let guest = made(vec![role("guest", &["/foo"], &[])]);
    assert!(guest.auth().permits_guest(b"/foo", Access::Read));
    assert!(
        !guest.auth().permits_guest(b"/foo", Access::Write)
            && !guest.auth().permits_guest(b"/bar", Access::Read)
    );
    assert!(!Auth::default().permits_guest(b"/foo", Access::Read));
}

#[test]
fn changes_take_indexes_and_refused_ones_none() {
    let mut store = Store::new();
    let refused = change(&mut store, AuthChange::Enable).expect_err("no root");
    assert_eq!((refused.code, store.index()), (code::AUTH_CONFLICT, 0));
    change(&mut store, user("root", &[])).expect("a user");
    assert_eq!(store.index(), 5, "the directories and the user");
    change(&mut store, AuthChange::Enable).expect("on");
    assert_eq!(store.index(), 7, "the guest and the switch");
    assert!(store.auth().is_enabled() && store.auth().role("guest").is_some());
    let name = "root".to_owned();
    let refused = change(&mut store, AuthChange::DeleteUser { name }).expect_err("on");
    assert_eq!(
        refused.cause,
        "auth: Cannot delete root user while auth is enabled."
    );
    change(&mut store, AuthChange::Disable).expect("off");
    assert_eq!(store.index(), 8);
    assert!(store.auth().role("guest").is_some());
}

#[test]
fn a_store_without_users_is_what_it_was_before_there_were_any() {
    let mut touched = Store::new();
    change(&mut touched, role("r", &[], &[])).expect("a role");
    let bytes = |store: &Store| store.chunks().flat_map(|(_, chunk)| chunk).collect::<Vec<u8>>();
    // The version stands behind the length and the tag of the header.
    assert_eq!((bytes(&Store::new())[2], bytes(&touched)[2]), (1, 2));
}

#[test]
fn there_are_limits() {
    let mut store = Store::new();
    let long = "n".repeat(MAX_AUTH_NAME_BYTES + 1);
    for refused in [
        user(&long, &[]),
        user("u", &[&long]),
        user("", &[]),
        role("r", &[""], &[]),
        role(&long, &[], &[]),
    ] {
        let error = change(&mut store, refused).expect_err("too long");
        assert_eq!((error.code, store.index()), (code::AUTH_INVALID, 0));
    }
    let pattern = "/p".repeat(4 << 10);
    let mut roles = 0;
    while change(&mut store, role(&format!("r{roles}"), &[&pattern], &[])).is_ok() {
        roles += 1;
    }
    assert!(roles > 200 && roles * pattern.len() < MAX_AUTH_BYTES, "{roles}");
    let name = "r0".to_owned();
    change(&mut store, AuthChange::DeleteRole { name }).expect("room");
    change(&mut store, role("again", &[&pattern], &[])).expect("room");
}
