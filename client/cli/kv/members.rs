//! `member` and `cluster-health`: who is in the cluster and how they are.

use std::time::Duration;

use berth_sdk::{Endpoint, MembersError, SdkError};
use berth_wire::etcd::{Member, Standing, StandingsBody};

use super::{Session, Shape, Style, words};
use crate::args::{HealthArgs, MemberCommand};
use crate::exit::{Failure, NOT_HEALTHY, Outcome, STORE_REFUSES};
use crate::terminal::{EndWish, print, print_line};

/// Time between two looks of `cluster-health --forever`.
const NEXT_LOOK: Duration = Duration::from_secs(10);

pub(crate) async fn member(session: &Session, command: MemberCommand) -> Outcome {
    match command {
        MemberCommand::List => list(session).await,
        MemberCommand::Add { name, peer_url } => add(session, &name, &peer_url).await,
        MemberCommand::Remove { id } => remove(session, &id).await,
        MemberCommand::Update { id, peer_urls } => update(session, &id, &peer_urls).await,
        MemberCommand::MoveLeader { member } => move_leader(session, member).await,
    }
}

async fn list(session: &Session) -> Outcome {
    let client = session.client();
    let failed = |error| session.members_failed(error);
    // etcdctl lists members in one shape.
    if session.style() == Style::Berth && session.shape() != &Shape::Simple {
        let members = client.standings().await.map_err(failed)?;
        return standings(members, session.shape() == &Shape::Json);
    }
    let members = client.members().await.map_err(failed)?;
    // Without a leader the list is still worth showing: nobody is marked then.
    let leader = client.leader().await.map(|leader| leader.id).unwrap_or_default();
    for member in &members {
        print_line(&line(member, &leader))?;
    }
    Ok(0)
}

/// The members with what etcd does not tell of them.
fn standings(members: Vec<Standing>, json: bool) -> Outcome {
    if json {
        let body = StandingsBody { members };
        print_line(&serde_json::to_string(&body).unwrap_or_default())?;
        return Ok(0);
    }
    for Standing {
        member,
        is_leader,
        is_learner,
    } in &members
    {
        let leader = if *is_leader { &member.id } else { "" };
        print_line(&format!("{} isLearner={is_learner}", line(member, leader)))?;
    }
    Ok(0)
}

/// A member as etcdctl lists it; one without a name has not started yet.
fn line(member: &Member, leader: &str) -> String {
    let Member {
        id,
        name,
        peer_urls,
        client_urls,
    } = member;
    let peers = peer_urls.join(",");
    if name.is_empty() {
        return format!("{id}[unstarted]: peerURLs={peers}");
    }
    let leads = id == leader;
    format!(
        "{id}: name={name} peerURLs={peers} clientURLs={} isLeader={leads}",
        client_urls.join(",")
    )
}

async fn add(session: &Session, name: &str, peer_url: &str) -> Outcome {
    let client = session.client();
    let failed = |error| session.members_failed(error);
    let added = client.add_member(&[peer_url.to_owned()]).await.map_err(failed)?;
    print_line(&format!(
        "Added member named {name} with ID {} to cluster",
        added.id
    ))?;
    let members = client.members().await.map_err(failed)?;
    print(&settings(name, &added.id, &members))?;
    Ok(0)
}

/// What the new member is to be started with.
fn settings(name: &str, id: &str, members: &[Member]) -> String {
    let mut cluster = Vec::new();
    for member in members {
        let name = if member.id == id { name } else { &member.name };
        for url in &member.peer_urls {
            cluster.push(format!("{name}={url}"));
        }
    }
    let cluster = cluster.join(",");
    format!(
        "\nETCD_NAME={name:?}\nETCD_INITIAL_CLUSTER={cluster:?}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
    )
}

async fn remove(session: &Session, id: &str) -> Outcome {
    let client = session.client();
    let failed = |error| session.members_failed(error);
    let members = client.members().await.map_err(failed)?;
    if !members.iter().any(|member| member.id == id) {
        let mut text = format!("Couldn't find a member in the cluster with an ID of {id}.");
        if let Some(named) = members.iter().find(|member| member.name == id) {
            text = format!(
                "the member named {id} has the ID {}, which is needed here\n{text}",
                named.id
            );
        }
        return Err(Failure::usage(text));
    }
    client.remove_member(id).await.map_err(failed)?;
    print_line(&format!("Removed member {id} from cluster"))?;
    Ok(0)
}

async fn update(session: &Session, id: &str, peer_urls: &str) -> Outcome {
    let urls: Vec<String> = peer_urls.split(',').map(str::to_owned).collect();
    let updated = session.client().update_member(id, &urls).await;
    updated.map_err(|error| session.members_failed(error))?;
    print_line(&format!("Updated member with ID {id} in cluster"))?;
    Ok(0)
}

async fn move_leader(session: &Session, member: Option<String>) -> Outcome {
    let client = session.client();
    let failed = |error| session.members_failed(error);
    let members = client.members().await.map_err(failed)?;
    let id = match &member {
        None => None,
        Some(wished) => Some(identify(&members, wished)?),
    };
    client.move_leader(id).await.map_err(failed)?;
    let leader = client.leader().await.map_err(failed)?;
    print_line(&format!("Member {} ({}) leads", leader.id, leader.name))?;
    Ok(0)
}

/// The id of a member by its id or name.
fn identify<'a>(members: &'a [Member], wished: &str) -> Result<&'a str, Failure> {
    let named: Vec<&Member> = members
        .iter()
        .filter(|member| member.id == wished || member.name == wished)
        .collect();
    match named.as_slice() {
        [one] => Ok(&one.id),
        [] => Err(Failure::usage(format!("no member has the id or name {wished:?}"))),
        [_, _, ..] => Err(Failure::usage(format!(
            "several members have the name {wished:?}"
        ))),
    }
}

pub(crate) async fn health(session: &Session, args: HealthArgs) -> Outcome {
    let mut end = EndWish::new()?;
    loop {
        let code = tokio::select! {
            code = look(session) => code?,
            _ = end.next() => return Ok(0),
        };
        if !args.forever {
            return Ok(code);
        }
        print(&format!(
            "\nnext check after {} second...\n\n",
            NEXT_LOOK.as_secs()
        ))?;
        tokio::select! {
            () = tokio::time::sleep(NEXT_LOOK) => {}
            _ = end.next() => return Ok(0),
        }
    }
}

async fn look(session: &Session) -> Outcome {
    let members = match session.client().members().await {
        Ok(members) => members,
        Err(error) => {
            print_line("cluster may be unhealthy: failed to list members")?;
            return Err(match (session.style(), error) {
                (Style::Etcdctl, MembersError::Unanswered(failures)) => {
                    words::failure(STORE_REFUSES, &failures, false)
                }
                (Style::Etcdctl, error @ MembersError::Refused { .. }) => {
                    words::error(STORE_REFUSES, &error.to_string())
                }
                (Style::Berth, error) => session.members_failed(error),
            });
        }
    };
    let mut healthy = 0;
    for member in &members {
        if examine(session, member).await? {
            healthy += 1;
        }
    }
    let (word, code) = match healthy {
        healthy if healthy == members.len() => ("healthy", 0),
        0 => ("unavailable", NOT_HEALTHY),
        _ => ("degraded", NOT_HEALTHY),
    };
    print_line(&format!("cluster is {word}"))?;
    Ok(code)
}

/// Asks a member at one URL after the other until it answers.
async fn examine(session: &Session, member: &Member) -> Result<bool, Failure> {
    let id = &member.id;
    if member.client_urls.is_empty() {
        print_line(&format!(
            "member {id} is unreachable: no available published client urls"
        ))?;
        return Ok(false);
    }
    for url in &member.client_urls {
        match ask(session, url).await {
            Ok(true) => {
                print_line(&format!("member {id} is healthy: got healthy result from {url}"))?;
                return Ok(true);
            }
            Ok(false) => {
                print_line(&format!(
                    "member {id} is unhealthy: got unhealthy result from {url}"
                ))?;
                return Ok(false);
            }
            Err(error) => {
                let why = format!("Get \"{url}/health\": {}", words::text(&error));
                print_line(&format!(
                    "failed to check the health of member {id} on {url}: {why}"
                ))?;
            }
        }
    }
    let all = member.client_urls.join(" ");
    print_line(&format!(
        "member {id} is unreachable: [{all}] are all unreachable"
    ))?;
    Ok(false)
}

async fn ask(session: &Session, url: &str) -> Result<bool, SdkError> {
    let endpoint = Endpoint::parse(url, None)?;
    session.client().health(&endpoint).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, name: &str) -> Member {
        Member {
            id: id.to_owned(),
            name: name.to_owned(),
            peer_urls: vec![format!("http://{id}:1"), format!("http://{id}:2")],
            client_urls: vec![format!("http://{id}:3")],
        }
    }

    #[test]
    fn members_are_listed() {
        assert_eq!(
            line(&member("a1", "one"), "a1"),
            "a1: name=one peerURLs=http://a1:1,http://a1:2 clientURLs=http://a1:3 isLeader=true"
        );
        assert_eq!(
            line(&member("b2", ""), "a1"),
            "b2[unstarted]: peerURLs=http://b2:1,http://b2:2"
        );
    }

    #[test]
    fn a_new_member_is_told_how_to_start() {
        assert_eq!(
            settings("new", "b2", &[member("a1", "one"), member("b2", "")]),
            "\nETCD_NAME=\"new\"\nETCD_INITIAL_CLUSTER=\"one=http://a1:1,one=http://a1:2,new=http://b2:1,new=http://b2:2\"\n\
             ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
        );
    }
}
