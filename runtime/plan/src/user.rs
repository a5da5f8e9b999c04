//! Who a container runs as: its user and groups by the container's own files, which are taken as hostile texts.

use crate::error::PlanError;
use crate::step::Credentials;

/// Longer lines of passwd and group are skipped: real ones are far shorter, except for groups with many members.
const MAX_LINE: usize = 64 * 1024;

/// More lines are not looked at: a file of a million users is an attack on the daemon, not a user base.
const MAX_LINES: usize = 100_000;

/// Supplementary groups; the kernel takes no more.
const MAX_GROUPS: usize = 65_536;

/// A user, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// User and groups, the primary group first among the supplementary ones.
    pub(crate) credentials: Credentials,
    /// The home directory.
    pub(crate) home: String,
}

/// The texts of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accounts<'a> {
    /// `/etc/passwd`
    pub(crate) passwd: &'a str,
    /// `/etc/group`
    pub(crate) group: &'a str,
}

/// A line of passwd; numbers that do not fit stay texts until somebody needs them.
struct User<'a> {
    name: &'a str,
    uid: &'a str,
    gid: &'a str,
    home: &'a str,
}

/// A line of group.
struct Group<'a> {
    name: &'a str,
    gid: &'a str,
    members: &'a str,
}

impl Accounts<'_> {
    /// Looks up `user`, `user:group`, numbers, or nothing for root, and the further groups.
    pub(crate) fn find(self, text: &str, more_groups: &[String]) -> Result<Account, PlanError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let (uid, entry) = self.user(user)?;
        let gid = match (group, &entry) {
            (Some(group), _) => self.group(group)?,
            (None, Some(entry)) => number(entry.gid)?,
            (None, None) => 0,
        };
        let mut groups = vec![gid];
        if let (None, Some(entry)) = (group, &entry) {
            groups.extend(self.memberships(entry.name));
        }
        for name in more_groups {
            groups.push(self.group(name)?);
        }
        let groups = without_repetitions(groups);
        if groups.len() > MAX_GROUPS {
            return Err(PlanError::TooManyGroups {
                user: text.to_owned(),
                limit: MAX_GROUPS,
            });
        }
        let home = entry.map_or("", |entry| entry.home);
        Ok(Account {
            credentials: Credentials { uid, gid, groups },
            home: if home.is_empty() { "/" } else { home }.to_owned(),
        })
    }
}

impl<'a> Accounts<'a> {
    fn user(self, text: &str) -> Result<(u32, Option<User<'a>>), PlanError> {
        let by_number = |uid: u32| self.users().find(|user| user.uid.parse() == Ok(uid));
        if text.is_empty() {
            return Ok((0, by_number(0)));
        }
        if is_number(text) {
            let uid = number(text)?;
            return Ok((uid, by_number(uid)));
        }
        let found = self.users().find(|user| user.name == text);
        let user = found.ok_or_else(|| PlanError::NoSuchUser(text.to_owned()))?;
        Ok((number(user.uid)?, Some(user)))
    }

    fn group(self, text: &str) -> Result<u32, PlanError> {
        if is_number(text) {
            return number(text);
        }
        let found = self.groups().find(|group| group.name == text);
        let group = found.ok_or_else(|| PlanError::NoSuchGroup(text.to_owned()))?;
        number(group.gid)
    }

    /// The groups that list the user. One whose number does not fit is left out: it cannot give any right.
    fn memberships(self, user: &str) -> impl Iterator<Item = u32> {
        self.groups()
            .filter(move |group| group.members.split(',').any(|member| member.trim() == user))
            .filter_map(|group| number(group.gid).ok())
    }

    fn users(self) -> impl Iterator<Item = User<'a>> {
        lines(self.passwd).filter_map(|line| {
            let mut fields = line.split(':');
            Some(User {
                name: name(fields.next()?)?,
                uid: fields.nth(1)?,
                gid: fields.next()?,
                home: fields.nth(1).unwrap_or_default(),
            })
        })
    }

    fn groups(self) -> impl Iterator<Item = Group<'a>> {
        lines(self.group).filter_map(|line| {
            let mut fields = line.split(':');
            Some(Group {
                name: name(fields.next()?)?,
                gid: fields.nth(1)?,
                members: fields.next().unwrap_or_default(),
            })
        })
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take(MAX_LINES)
        .filter(|line| line.len() <= MAX_LINE)
        .map(|line| line.trim())
        .filter(|line| !line.starts_with('#') && !line.contains('\0'))
}

fn name(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Whether it is meant as a number, however large: such a text is never looked up as a name.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The highest number is the kernel's "leave it as it is", which would be root.
fn number(text: &str) -> Result<u32, PlanError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && *number != u32::MAX)
        .ok_or_else(|| PlanError::AccountRange(text.to_owned()))
}

fn without_repetitions(numbers: Vec<u32>) -> Vec<u32> {
    let mut seen = std::collections::BTreeSet::new();
    numbers
        .into_iter()
        .filter(|number| seen.insert(*number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nweb:x:33:34:web:/srv:/bin/false\n\
        huge:x:4294967296:0::/:\nminus:x:-1:0::/:\nall:x:4294967295:0::/:\nbadgid:x:7:99999999999::/:\nshort:x\n\
        homeless:x:40:40\n123:x:50:50::/by-name:\n";
    const GROUP: &str =
        "root:x:0:\nwww:x:34:\nadm:x:4:root,web\ndisk:x:6: web ,other\nhuge:x:4294967296:web\nno:x\n";

    fn find(text: &str, more: &[&str]) -> String {
        let accounts = Accounts {
            passwd: PASSWD,
            group: GROUP,
        };
        let more: Vec<String> = more.iter().map(|group| (*group).to_owned()).collect();
        match accounts.find(text, &more) {
            Ok(Account { credentials, home }) => {
                let Credentials { uid, gid, groups } = credentials;
                format!("{uid}:{gid} {groups:?} {home}")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn users_and_groups() {
        for (text, wanted) in [
            ("", "0:0 [0, 4] /root"),
            ("root", "0:0 [0, 4] /root"),
            ("0", "0:0 [0, 4] /root"),
            ("web", "33:34 [34, 4, 6] /srv"),
            ("33", "33:34 [34, 4, 6] /srv"),
            ("web:", "33:34 [34, 4, 6] /srv"),
            ("web:adm", "33:4 [4] /srv"),
            ("web:77", "33:77 [77] /srv"),
            (":adm", "0:4 [4] /root"),
            ("1000", "1000:0 [0] /"),
            ("1000:1001", "1000:1001 [1001] /"),
            ("0033", "33:34 [34, 4, 6] /srv"),
            ("4294967294", "4294967294:0 [0] /"),
            ("homeless", "40:40 [40] /"),
            ("123", "123:0 [0] /"),
            (
                "nobody",
                "unable to find user nobody: no matching entries in passwd file",
            ),
            (
                "web:nobody",
                "unable to find group nobody: no matching entries in group file",
            ),
            (
                "short",
                "unable to find user short: no matching entries in passwd file",
            ),
            (
                "web:no",
                "unable to find group no: no matching entries in group file",
            ),
        ] {
            assert_eq!(find(text, &[]), wanted, "{text:?}");
        }
    }

    #[test]
    fn numbers_out_of_range() {
        let out_of_range = |text: &str| format!("uid or gid {text:?} is out of range: 0 to 4294967294");
        for (text, number) in [
            ("4294967295", "4294967295"),
            ("4294967296", "4294967296"),
            ("-1", "-1"),
            ("+0", "+0"),
            ("1000:-1", "-1"),
            ("1000:99999999999999999999", "99999999999999999999"),
            ("huge", "4294967296"),
            ("minus", "-1"),
            ("all", "4294967295"),
            ("badgid", "99999999999"),
            ("web:huge", "4294967296"),
        ] {
            assert_eq!(find(text, &[]), out_of_range(number), "{text:?}");
        }
    }

    #[test]
    fn more_groups() {
        assert_eq!(
            find("web", &["root", "4", "100"]),
            "33:34 [34, 4, 6, 0, 100] /srv"
        );
        assert_eq!(
            find("web", &["none"]),
            "unable to find group none: no matching entries in group file"
        );
    }

    #[test]
    fn hostile_texts() {
        let long = format!("{}:x:0:0::/:\nweb:x:1:1::/w:\n", "a".repeat(MAX_LINE));
        let many = "x\n".repeat(MAX_LINES) + "web:x:1:1::/w:\n";
        for (passwd, wanted) in [
            (long.as_str(), Ok(1)),
            (many.as_str(), Err(PlanError::NoSuchUser("web".to_owned()))),
            (":::::\n::0:0\nweb:x:1:1", Ok(1)),
            ("web:x:1:1\0::/:", Err(PlanError::NoSuchUser("web".to_owned()))),
            ("web:x::0::/:", Err(PlanError::AccountRange(String::new()))),
            (
                "web:x:\u{661}:0::/:",
                Err(PlanError::AccountRange("\u{661}".to_owned())),
            ),
        ] {
            let accounts = Accounts {
                passwd,
                group: ":::\n",
            };
            let found = accounts.find("web", &[]);
            assert_eq!(found.map(|account| account.credentials.uid), wanted);
        }
    }
}
