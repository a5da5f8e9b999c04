//! Changes of the membership that clients wish for: carried to the leader, tried again while they certainly were not made, and
//! answered when this member sees them.

use crate::handle::{Handle, Request};
use crate::peers::{Cluster, call};
use berth_replica::{Change, ChangeError, Member, Roster};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// Pause before a wish is tried again: another change is being made, or a leader looked for.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a member that was asked looks whether it sees the change.
const LOOK: Duration = Duration::from_millis(10);

/// What a client wishes for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wish {
    /// A new member, without a vote before it has caught up.
    Add { id: u64, peer_urls: Vec<String> },
    /// A member leaves for ever.
    Remove { id: u64 },
    /// A member is reached elsewhere.
    Move { id: u64, peer_urls: Vec<String> },
    /// Another member leads; none: the one that has most of the log.
    Lead { id: Option<u64> },
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Made,
    /// Certainly not made; the same wish may be made later, or by another member.
    Again,
    /// No such member; not made.
    Unknown,
    /// The member has left for ever; not made.
    Gone,
    /// Another member has the URL; not made.
    UrlTaken,
    /// Another member has the id; not made.
    IdTaken,
    /// Not made, for the sake of the cluster.
    Unsafe(String),
    /// It may have been made, or may yet be.
    Open,
}

impl From<Result<(), ChangeError>> for Verdict {
    fn from(outcome: Result<(), ChangeError>) -> Verdict {
        let Err(error) = outcome else { return Verdict::Made };
        match error {
            ChangeError::NotLeader { .. }
            | ChangeError::NotReady
            | ChangeError::InProgress
            | ChangeError::Dropped
            | ChangeError::Superseded => Verdict::Again,
            ChangeError::Unknown { .. } => Verdict::Unknown,
            ChangeError::Removed { .. } => Verdict::Gone,
            ChangeError::Exists { .. } => Verdict::IdTaken,
            ChangeError::PeerUrlExists { .. } => Verdict::UrlTaken,
            ChangeError::NotALearner { .. }
            | ChangeError::NotAVoter { .. }
            | ChangeError::NotCaughtUp { .. }
            | ChangeError::QuorumAtRisk { .. }
            | ChangeError::LastVoter { .. }
            | ChangeError::TooMany { .. }
            | ChangeError::TooLarge { .. } => Verdict::Unsafe(error.to_string()),
            ChangeError::TimedOut | ChangeError::OutcomeUnknown => Verdict::Open,
        }
    }
}

impl Wish {
    /// The change that a leader proposes, by what it knows of the members; none for a change of the leader.
    pub(crate) fn change(self, members: &[Member]) -> Result<Option<Change>, Verdict> {
        let same = |one: &String, other: &String| one.trim_end_matches('/') == other.trim_end_matches('/');
        // The replicated state does not tell all URLs before each member has said its own.
        let free = |id: u64, urls: &[String]| {
            let mut others = members.iter().filter(|member| member.id != id);
            let taken = others.any(|member| {
                let mut theirs = member.peer_urls.iter();
                theirs.any(|known| urls.iter().any(|url| same(url, known)))
            });
            if taken { Err(Verdict::UrlTaken) } else { Ok(()) }
        };
        match self {
            Wish::Add { id, peer_urls } => {
                free(id, &peer_urls)?;
                Ok(Some(Change::AddLearner(Member {
                    peer_urls,
                    ..Member::bare(id)
                })))
            }
            Wish::Remove { id } => Ok(Some(Change::Remove { id })),
            Wish::Move { id, peer_urls } => {
                free(id, &peer_urls)?;
                let known = members.iter().find(|member| member.id == id).cloned();
                Ok(Some(Change::Update(Member {
                    peer_urls,
                    ..known.unwrap_or_else(|| Member::bare(id))
                })))
            }
            Wish::Lead { .. } => Ok(None),
        }
    }

    /// Whether a membership shows that it was made.
    fn shows(&self, roster: &Roster) -> bool {
        match self {
            Wish::Add { id, .. } => roster.contains(*id) || roster.removed.contains(id),
            Wish::Remove { id } => roster.removed.contains(id),
            Wish::Move { id, peer_urls } => roster
                .members
                .get(id)
                .is_none_or(|member| member.peer_urls == *peer_urls),
            Wish::Lead { .. } => true,
        }
    }
}

impl Cluster {
    /// Gives a wish to this member's own replica.
    pub(crate) async fn change_here(&self, wish: Wish) -> Verdict {
        let (answer, verdict) = oneshot::channel();
        if !self.inbox.ask(Request::Change { wish, answer }) {
            return Verdict::Again;
        }
        verdict.await.unwrap_or(Verdict::Open)
    }
}

impl Handle {
    /// Carries out a wish, or gives why not. It waits for a leader, and for other changes that are being made, as long as a
    /// write would.
    pub(crate) async fn change(&self, wish: Wish) -> Verdict {
        let end = Instant::now() + self.cluster.patience.wish;
        let before = self.published().status.leader;
        loop {
            let status = self.published().status;
            let left = end.saturating_duration_since(Instant::now());
            let verdict = match status.leader {
                0 => Verdict::Again,
                leader if leader == status.id => self.cluster.change_here(wish.clone()).await,
                leader => call::ask(&self.cluster, leader, &wish, left).await,
            };
            match verdict {
                Verdict::Again if left > PAUSE => sleep(PAUSE).await,
                Verdict::Again => return Verdict::Open,
                Verdict::Made if self.sees(&wish, before, end).await => return Verdict::Made,
                Verdict::Made => return Verdict::Open,
                Verdict::Unknown
                | Verdict::Gone
                | Verdict::UrlTaken
                | Verdict::IdTaken
                | Verdict::Unsafe(_)
                | Verdict::Open => return verdict,
            }
        }
    }

    /// Waits until this member sees what the leader made.
    async fn sees(&self, wish: &Wish, before: u64, end: Instant) -> bool {
        loop {
            let leader = self.published().status.leader;
            let led = match wish {
                Wish::Lead { id: Some(id) } => leader == *id,
                Wish::Lead { id: None } => leader != 0 && leader != before,
                Wish::Add { .. } | Wish::Remove { .. } | Wish::Move { .. } => true,
            };
            if led && wish.shows(&self.cluster.roster()) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, Wish};
    use crate::mutate::{Mutator, Naming, ROUNDS, rounds};
    use crate::peers::Told;
    use berth_replica::{Change, Member};

    fn members() -> Vec<Member> {
        [(1, "a"), (2, "b")]
            .map(|(id, name)| Member {
                name: name.to_owned(),
                peer_urls: vec![format!("http://h:{id}")],
                ..Member::bare(id)
            })
            .to_vec()
    }

    const WORDS: &[&[u8]] = &[
        b"{\"add\":",
        b"\"remove\"",
        b"\"move\"",
        b"\"lead\"",
        b"\"id\":18446744073709551615",
        b"\"peer_urls\":[",
        b"\"http://h:1/\"",
        b"null",
        b"\"unsafe\"",
        b"\"made\"",
        b"{",
        b"}",
        b"]",
        b"\xff",
    ];

    #[test]
    fn what_another_member_sends_is_read_or_refused() {
        let mut inputs = Mutator::new("wish", Vec::new(), WORDS, 4 << 10);
        let mut read = 0;
        for round in 0..rounds(ROUNDS) {
            let input = inputs.next();
            let _naming = Naming { round, input: &input };
            if let Ok(wish) = serde_json::from_slice::<Wish>(&input) {
                read += 1;
                let text = serde_json::to_vec(&wish).expect("a wish is written");
                assert_eq!(serde_json::from_slice::<Wish>(&text).ok(), Some(wish.clone()));
                let _ = wish.change(&members());
            }
            let _ = serde_json::from_slice::<Verdict>(&input);
            let _ = serde_json::from_slice::<Told>(&input);
        }
        assert!(read > 0, "no wish was read");
    }

    #[test]
    fn urls_of_others_are_taken_however_they_are_written() {
        let add = |url: &str| Wish::Add {
            id: 3,
            peer_urls: vec![url.to_owned()],
        };
        assert_eq!(add("http://h:2").change(&members()), Err(Verdict::UrlTaken));
        assert_eq!(add("http://h:1/").change(&members()), Err(Verdict::UrlTaken));
        let own = |id: u64, url: &str| Wish::Move {
            id,
            peer_urls: vec![url.to_owned()],
        };
        assert_eq!(own(1, "http://h:2").change(&members()), Err(Verdict::UrlTaken));
        let change = own(2, "http://h:2").change(&members()).expect("its own URL");
        assert_eq!(change, Some(Change::Update(members()[1].clone())));
    }
}
