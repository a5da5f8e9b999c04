//! What the demo shows, step by step. Every answer is checked; the first wrong one ends it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use berth_sdk::{
    Call, Endpoint, EngineClient, EtcdClient, GetOptions, KeyAnswer, Method, StatusCode, Transport,
};
use berth_wire::docker::CreateRequest;
use serde_json::json;
use tokio::time::sleep;

use super::show;
use super::world::{LOOK, World};

/// The container, the image, and the port that its process listens on.
const NAME: &str = "hello";
const IMAGE: &str = "berth/hello";
const PORT: &str = "80/tcp";

/// Where its key is.
const SERVICE: &str = "/services/hello";
const KEY: &str = "/services/hello/80-tcp";

/// Longest wait for something that should happen at once.
const SOON: Duration = Duration::from_secs(10);

/// What expiry may add to a TTL on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// Longest wait for an HTTP answer of the container.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn tell(world: &mut World, keep: bool) -> anyhow::Result<()> {
    show::heading("a store: one Raft member, every write is on the disk before it is answered")?;
    world.start_store().await?;
    show::right(&format!(
        "{} (data in {})",
        world.store_url(),
        world.directory().display()
    ))?;
    let store = world.store_client()?;
    message(world, &store).await?;

    show::heading("an engine: runs containers and registers them in the store")?;
    world.start_engine().await?;
    show::right(&format!("unix://{}", world.socket().display()))?;
    let engine = world.engine_client();
    create(world, &engine).await?;
    start(world, &engine, "start").await?;
    let first = registered(world, &store, &engine, None).await?;
    answers(&first).await?;
    published(&engine).await?;

    show::heading("a restart: another address, the same key")?;
    start(world, &engine, "restart").await?;
    let second = registered(world, &store, &engine, Some(&first)).await?;
    answers(&second).await?;

    show::heading("a stop: no key")?;
    start(world, &engine, "stop").await?;
    gone(world, &store, SOON).await?;

    show::heading("kill -9 of the whole engine: the key goes by its TTL, the container runs on")?;
    start(world, &engine, "start").await?;
    let third = registered(world, &store, &engine, None).await?;
    let id = world.engine_id().context("the engine is gone")?;
    show::command(&["kill", "-9", &id.to_string()])?;
    world.kill_engine()?;
    answers(&third).await?;
    gone(world, &store, Duration::from_secs(world.ttl()) + SLACK).await?;

    show::heading("the engine again: it adopts the running container and registers it")?;
    world.start_engine().await?;
    let again = registered(world, &store, &engine, None).await?;
    ensure!(
        again == third,
        "the adopted container should still be at {third}, the key says {again}"
    );
    answers(&again).await?;

    if keep {
        show::heading("everything stays up until Ctrl-C; paste any line from above")?;
    }
    Ok(())
}

/// A key by hand.
async fn message(world: &World, store: &EtcdClient) -> anyhow::Result<()> {
    let url = format!("{}/v2/keys/message", world.store_url());
    show::command(&["curl", "-s", "-X", "PUT", &url, "-d", "value=Hello"])?;
    let answer = store
        .set("/message", "Hello", &berth_sdk::SetOptions::default())
        .await?;
    show::answer(&answer.document)?;
    show::command(&["curl", "-s", &url])?;
    let answer = store.get("/message", GetOptions::default()).await?;
    show::answer(&answer.document)?;
    ensure!(
        answer.event.node.value.as_deref() == Some("Hello"),
        "the value that was written should be read"
    );
    show::right("written and read")?;
    Ok(())
}

async fn create(world: &World, engine: &EngineClient) -> anyhow::Result<()> {
    let document = json!({
        "Image": IMAGE,
        "ExposedPorts": { PORT: {} },
        "HostConfig": { "PortBindings": { PORT: [{ "HostIp": "127.0.0.1", "HostPort": "" }] } },
    });
    let socket = world.socket();
    show::command(&[
        "curl",
        "-s",
        "--unix-socket",
        &socket.to_string_lossy(),
        "-X",
        "POST",
        &format!("http://localhost/containers/create?name={NAME}"),
        "-H",
        "Content-Type: application/json",
        "-d",
        &document.to_string(),
    ])?;
    let request: CreateRequest = serde_json::from_value(document)?;
    let created = engine.create(Some(NAME), &request).await?;
    show::answer(&serde_json::to_string(&created)?)?;
    ensure!(
        created.id.len() == 64,
        "an id has 64 digits, not {:?}",
        created.id
    );
    show::right(&format!("a container from the built-in image {IMAGE}"))?;
    Ok(())
}

/// start, restart or stop.
async fn start(world: &World, engine: &EngineClient, verb: &str) -> anyhow::Result<()> {
    let socket = world.socket();
    show::command(&[
        "curl",
        "-s",
        "--unix-socket",
        &socket.to_string_lossy(),
        "-X",
        "POST",
        &format!("http://localhost/containers/{NAME}/{verb}"),
    ])?;
    match verb {
        "start" => engine.start(NAME).await?,
        "restart" => engine.restart(NAME, None).await?,
        _ => engine.stop(NAME, None).await?,
    }
    Ok(())
}

/// Looks the service up until the key is that of the running container; it must not be `old`. Returns `ip:port`.
async fn registered(
    world: &World,
    store: &EtcdClient,
    engine: &EngineClient,
    old: Option<&str>,
) -> anyhow::Result<String> {
    let inspected = engine.inspect(NAME).await?;
    let networks = inspected.network_settings.networks.values();
    let address = networks
        .map(|network| network.ip_address.clone())
        .find(|address| !address.is_empty());
    let address = address.context("the running container should have an address")?;
    let wanted = format!("{address}:80");
    ensure!(
        old != Some(wanted.as_str()),
        "a restart should give another address than {wanted}"
    );
    let answer = look_up(store, &wanted).await?;
    show::command(&[
        "curl",
        "-s",
        &format!("{}/v2/keys{SERVICE}?recursive=true", world.store_url()),
    ])?;
    show::answer(&answer.document)?;
    let node = answer.event.node.nodes.iter().find(|node| node.key == KEY);
    let ttl = node
        .and_then(|node| node.ttl)
        .context("the key should have a TTL")?;
    let longest = i64::try_from(world.ttl())?;
    ensure!(
        (1..=longest).contains(&ttl),
        "the TTL should be from 1 to {longest}, not {ttl}"
    );
    show::right(&format!("{KEY} is {wanted}, for {ttl} s unless it is refreshed"))?;
    Ok(wanted)
}

async fn look_up(store: &EtcdClient, wanted: &str) -> anyhow::Result<KeyAnswer> {
    let deadline = Instant::now() + SOON;
    let options = GetOptions {
        recursive: true,
        quorum: false,
    };
    loop {
        let found = store.get(SERVICE, options).await;
        if let Ok(answer) = &found {
            let values: Vec<&str> = answer
                .event
                .node
                .nodes
                .iter()
                .filter_map(|node| node.value.as_deref())
                .collect();
            if values == [wanted] {
                return found.map_err(Into::into);
            }
        }
        if Instant::now() > deadline {
            let seen = found.map_or_else(|error| error.chain(), |answer| answer.document);
            bail!("{KEY} should be {wanted} by now; the store says {seen}");
        }
        sleep(LOOK).await;
    }
}

/// Waits until the key is gone.
async fn gone(world: &World, store: &EtcdClient, limit: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let found = store.get(KEY, GetOptions::default()).await;
        match found {
            Err(error) if error.store_code() == Some(100) => {
                show::command(&["curl", "-s", &format!("{}/v2/keys{KEY}", world.store_url())])?;
                show::answer(&raw_answer(&world.store_url(), &format!("/v2/keys{KEY}")).await?)?;
                show::right(&format!(
                    "the key was gone after {:.1} s",
                    begun.elapsed().as_secs_f64()
                ))?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
            Ok(answer) if begun.elapsed() > limit => {
                bail!(
                    "{KEY} should be gone after {} s; the store says {}",
                    limit.as_secs(),
                    answer.document
                )
            }
            Ok(_) => sleep(LOOK).await,
        }
    }
}

/// What curl prints, also when the status is an error's.
async fn raw_answer(server: &str, target: &str) -> anyhow::Result<String> {
    let transport = Transport::new(Endpoint::parse(server, None)?);
    let answer = transport
        .send(Call::new(Method::GET, target).within(ANSWER_LIMIT))
        .await?;
    Ok(answer.text())
}

/// Asks the container itself.
async fn answers(address: &str) -> anyhow::Result<()> {
    let url = format!("http://{address}/");
    show::command(&["curl", "-s", &url])?;
    let text = fetch(address).await?;
    show::answer(&text)?;
    ensure!(text.starts_with("hello from "), "{url} should say hello");
    show::right(&format!("the container answers at {address}"))?;
    Ok(())
}

/// Asks the container through the port of the host.
async fn published(engine: &EngineClient) -> anyhow::Result<()> {
    let inspected = engine.inspect(NAME).await?;
    let bindings = inspected.network_settings.ports.get(PORT).cloned().flatten();
    let binding = bindings.and_then(|bindings| bindings.into_iter().next());
    let binding = binding.with_context(|| format!("{PORT} should be published"))?;
    answers(&format!("127.0.0.1:{}", binding.host_port)).await
}

/// A process that was just started may not listen yet.
async fn fetch(address: &str) -> anyhow::Result<String> {
    let transport = Transport::new(Endpoint::parse(address, None)?);
    let deadline = Instant::now() + SOON;
    loop {
        let answer = transport
            .send(Call::new(Method::GET, "/").within(ANSWER_LIMIT))
            .await;
        match answer {
            Ok(answer) if answer.status == StatusCode::OK => return Ok(answer.text()),
            Ok(answer) => bail!("http://{address}/ answered with status {}", answer.status),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => sleep(LOOK).await,
        }
    }
}
