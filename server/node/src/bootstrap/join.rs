//! Joining a cluster that is there: what the flags say is held against what its members say, before anything is made.

use crate::bootstrap::sorted;
use crate::config::{InitialCluster, InitialMember};
use crate::disk::{Forming, Identity};
use crate::error::{BootstrapError, Chain};
use crate::peers::{Told, ask};
use crate::tls::Tls;
use berth_replica::Member;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a member is waited for that answers; then the start fails.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long the answers may contradict the flags: a member that lags does not know of the newest one yet.
const LAG_TIME: Duration = Duration::from_secs(3);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(250);

/// Tokens that flags have when nothing was said. etcd compares none with those of a cluster that is there, so that its users
/// say none.
const USUAL_TOKENS: [&str; 2] = ["berth-cluster", "etcd-cluster"];

/// Asks the members named, until their answer fits or the time is up.
pub(crate) async fn join(
    initial: &InitialCluster,
    own: &InitialMember,
    tls: Option<&Arc<Tls>>,
) -> Result<Forming, BootstrapError> {
    let start = Instant::now();
    let others = initial.members.iter().filter(|member| member.name != own.name);
    let urls: Vec<&String> = others.flat_map(|member| &member.peer_urls).collect();
    loop {
        let mut silent = Vec::new();
        let mut misfit = None;
        for url in &urls {
            match ask(url, tls).await {
                Ok(told) if told.members.is_empty() => silent.push(format!("{url}: it is joining itself")),
                Ok(told) => match fit(initial, own, told) {
                    Ok(forming) => return Ok(forming),
                    Err(error) => misfit = Some(error),
                },
                Err(error) => silent.push(format!("{url}: {}", Chain(&error))),
            }
        }
        let time = if misfit.is_some() { LAG_TIME } else { ANSWER_TIME };
        if start.elapsed() >= time {
            return Err(misfit.unwrap_or_else(|| BootstrapError::Unanswered {
                said: silent.join("; "),
            }));
        }
        sleep(PAUSE).await;
    }
}

/// What a first start makes of an answer, if that is the cluster that the flags describe.
fn fit(initial: &InitialCluster, own: &InitialMember, told: Told) -> Result<Forming, BootstrapError> {
    let members: Vec<Member> = told.members.into_iter().map(Member::from).collect();
    let at = |urls: &[String]| {
        members
            .iter()
            .find(|member| sorted(&member.peer_urls) == sorted(urls))
    };
    let this = at(&own.peer_urls).ok_or_else(|| BootstrapError::NotAdded {
        name: own.name.clone(),
        urls: own.peer_urls.join(","),
    })?;
    if initial.members.len() != members.len() {
        return Err(BootstrapError::Count {
            named: initial.members.len(),
            found: members.len(),
            list: list(&members),
        });
    }
    if let Some(missing) = initial
        .members
        .iter()
        .find(|member| at(&member.peer_urls).is_none())
    {
        return Err(BootstrapError::Misnamed {
            name: missing.name.clone(),
            urls: missing.peer_urls.join(","),
            list: list(&members),
        });
    }
    let said = !USUAL_TOKENS.contains(&initial.token.as_str());
    if said && told.token.as_ref().is_some_and(|token| *token != initial.token) {
        return Err(BootstrapError::OtherToken {
            token: initial.token.clone(),
        });
    }
    if !this.name.is_empty() {
        return Err(BootstrapError::Started {
            id: this.id,
            name: this.name.clone(),
        });
    }
    Ok(Forming {
        identity: Some(Identity {
            member: this.id,
            cluster: told.cluster,
        }),
        founders: named(initial, members),
        joins: true,
        token: told.token,
    })
}

/// As the flag has it.
fn list(members: &[Member]) -> String {
    let pairs = members.iter().flat_map(|member| {
        let name = if member.name.is_empty() {
            format!("{:x}", member.id)
        } else {
            member.name.clone()
        };
        member.peer_urls.iter().map(move |url| format!("{name}={url}"))
    });
    pairs.collect::<Vec<_>>().join(",")
}

/// Members that have not started have the names of the flags.
fn named(initial: &InitialCluster, mut members: Vec<Member>) -> Vec<Member> {
    for member in &mut members {
        let said = initial
            .members
            .iter()
            .find(|said| sorted(&said.peer_urls) == sorted(&member.peer_urls));
        if let (true, Some(said)) = (member.name.is_empty(), said) {
            member.name.clone_from(&said.name);
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::fit;
    use crate::config::InitialCluster;
    use crate::peers::{Acquaintance, Told};

    fn told(token: Option<&str>, members: &[(u64, &str, &str)]) -> Told {
        Told {
            cluster: 7,
            token: token.map(str::to_owned),
            members: members
                .iter()
                .map(|(id, name, url)| Acquaintance {
                    id: *id,
                    name: (*name).to_owned(),
                    peer_urls: vec![(*url).to_owned()],
                    client_urls: Vec::new(),
                })
                .collect(),
        }
    }

    fn check(text: &str, token: &str, answer: Told) -> Result<(u64, Vec<String>), String> {
        let initial = InitialCluster {
            members: InitialCluster::parse(text).expect("a list of members"),
            token: token.to_owned(),
            existing: true,
        };
        let own = initial.members.iter().find(|member| member.name == "b");
        let forming = fit(&initial, own.expect("this member"), answer).map_err(|error| error.to_string())?;
        assert!(forming.joins);
        let names = forming.founders.into_iter().map(|member| member.name);
        Ok((forming.identity.expect("an identity").member, names.collect()))
    }

    const TWO: &str = "a=http://h:1,b=http://h:2";

    #[test]
    fn what_fits_takes_the_ids_of_the_cluster() {
        let answer = told(Some("t"), &[(4, "a", "http://h:1"), (5, "", "http://h:2/")]);
        let names = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(check(TWO, "t", answer.clone()), Ok((5, names())));
        assert_eq!(check(TWO, "etcd-cluster", answer), Ok((5, names())));
        let unknown = told(None, &[(4, "", "http://h:1"), (5, "", "http://h:2")]);
        assert_eq!(check(TWO, "t", unknown), Ok((5, names())));
    }

    #[test]
    fn what_does_not_is_refused_by_name() {
        let a = (4, "a", "http://h:1");
        let b = (5, "", "http://h:2");
        for (token, members, said) in [
            (None, vec![a], "no member at http://h:2"),
            (
                None,
                vec![a, b, (6, "c", "http://h:3")],
                "it names 2 members, but the cluster has 3: a=http://h:1,5=http://h:2,c=http://h:3",
            ),
            (None, vec![(4, "a", "http://h:9"), b], "no member at http://h:1"),
            (Some("u"), vec![a, b], "--initial-cluster-token"),
            (None, vec![a, (5, "b", "http://h:2")], "has started before"),
        ] {
            let error = check(TWO, "t", told(token, &members)).expect_err(said);
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
