//! docker's groups of commands: what they have beside the short forms is volumes, networks, and cleaning up.

use std::collections::BTreeMap;

use berth_sdk::{ConnectOptions, NetworkOptions, SdkError};
use berth_wire::docker::VolumeCreate;
use serde_json::{Value, json};

use crate::args::{
    ContainerArgs, ContainerCommand, Global, ImageArgs, ImageCommand, ListArgs, MoreCommand, NamesArgs,
    NetworkArgs, NetworkCommand, NetworkCreateArgs, Output, PruneArgs, RemoveArgs, SystemArgs, SystemCommand,
    SystemPruneArgs, VolumeArgs, VolumeCommand, VolumeCreateArgs,
};
use crate::containers::{client, each, files, filters, join, looks, run, width};
use crate::exit::{self, Failure, Outcome};
use crate::terminal::{print, print_line, tell};
use crate::{containers, figures, images, output, system};

pub(crate) async fn more(global: &Global, command: MoreCommand) -> Outcome {
    match command {
        MoreCommand::Create(args) => run::create(global, *args).await,
        MoreCommand::Exec(args) => join::exec(global, args).await,
        MoreCommand::Attach(args) => join::attach(global, args).await,
        MoreCommand::Wait(args) => looks::wait(global, args).await,
        MoreCommand::Rename(args) => looks::rename(global, args).await,
        MoreCommand::Port(args) => looks::port(global, args).await,
        MoreCommand::Cp(args) => files::copy(global, args).await,
        MoreCommand::Diff(args) => files::diff(global, args).await,
        MoreCommand::Commit(args) => files::commit(global, args).await,
        MoreCommand::Tag(args) => images::tag(global, args).await,
        MoreCommand::Events(args) => looks::events(global, args).await,
        MoreCommand::Container(args) => container(global, args).await,
        MoreCommand::Image(args) => image(global, args).await,
        MoreCommand::Volume(args) => volume(global, args).await,
        MoreCommand::Network(args) => network(global, args).await,
        MoreCommand::System(args) => system(global, args).await,
        MoreCommand::Pause(args) => figures::pause(global, args).await,
        MoreCommand::Unpause(args) => figures::unpause(global, args).await,
        MoreCommand::Top(args) => figures::top(global, args).await,
        MoreCommand::Stats(args) => figures::stats(global, args).await,
    }
}

async fn container(global: &Global, args: ContainerArgs) -> Outcome {
    match args.command {
        ContainerCommand::Attach(args) => join::attach(global, args).await,
        ContainerCommand::Commit(args) => files::commit(global, args).await,
        ContainerCommand::Cp(args) => files::copy(global, args).await,
        ContainerCommand::Create(args) => run::create(global, *args).await,
        ContainerCommand::Diff(args) => files::diff(global, args).await,
        ContainerCommand::Exec(args) => join::exec(global, args).await,
        ContainerCommand::Export(args) => files::export(global, args).await,
        ContainerCommand::Inspect(args) => containers::inspect(global, args).await,
        ContainerCommand::Kill(args) => containers::kill(global, args).await,
        ContainerCommand::Logs(args) => looks::logs(global, args).await,
        ContainerCommand::Ls(args) => containers::ps(global, args).await,
        ContainerCommand::Pause(args) => figures::pause(global, args).await,
        ContainerCommand::Port(args) => looks::port(global, args).await,
        ContainerCommand::Prune(args) => prune(global, &args, Prune::Containers).await,
        ContainerCommand::Rename(args) => looks::rename(global, args).await,
        ContainerCommand::Restart(args) => containers::restart(global, args).await,
        ContainerCommand::Rm(args) => containers::remove(global, args).await,
        ContainerCommand::Run(args) => run::run(global, *args).await,
        ContainerCommand::Start(args) => join::start(global, args).await,
        ContainerCommand::Stats(args) => figures::stats(global, args).await,
        ContainerCommand::Stop(args) => containers::stop(global, args).await,
        ContainerCommand::Top(args) => figures::top(global, args).await,
        ContainerCommand::Unpause(args) => figures::unpause(global, args).await,
        ContainerCommand::Update(args) => looks::update(global, args).await,
        ContainerCommand::Wait(args) => looks::wait(global, args).await,
    }
}

async fn image(global: &Global, args: ImageArgs) -> Outcome {
    match args.command {
        ImageCommand::Ls(args) => images::images(global, args).await,
        ImageCommand::Import(args) => images::import(global, args).await,
        ImageCommand::Inspect(args) => {
            let client = client(global)?;
            let look = async |name: &str| Ok(serde_json::to_value(client.inspect_image(name).await?));
            inspect(&args.names, look).await
        }
        ImageCommand::Prune(args) => prune(global, &args, Prune::Images).await,
        ImageCommand::Rm(args) => images::remove(global, args).await,
        ImageCommand::Tag(args) => images::tag(global, args).await,
    }
}

async fn volume(global: &Global, args: VolumeArgs) -> Outcome {
    match args.command {
        VolumeCommand::Create(args) => create_volume(global, args).await,
        VolumeCommand::Inspect(NamesArgs { names }) => {
            let client = client(global)?;
            let look = async |name: &str| Ok(serde_json::to_value(client.inspect_volume(name).await?));
            inspect(&names, look).await
        }
        VolumeCommand::Ls(args) => list_volumes(global, args).await,
        VolumeCommand::Prune(args) => prune(global, &args, Prune::Volumes).await,
        VolumeCommand::Rm(RemoveArgs { names, force }) => {
            let client = client(global)?;
            let remove = async |name: &str| client.remove_volume(name, force).await;
            each(global, &names, "removed", remove).await
        }
    }
}

async fn network(global: &Global, args: NetworkArgs) -> Outcome {
    let client = client(global)?;
    match args.command {
        NetworkCommand::Connect(args) => {
            let options = ConnectOptions {
                aliases: args.alias,
                ip: args.ip,
                ip6: args.ip6,
            };
            client.connect(&args.network, &args.container, &options).await?;
            Ok(0)
        }
        NetworkCommand::Create(args) => create_network(global, *args).await,
        NetworkCommand::Disconnect(args) => {
            client
                .disconnect(&args.network, &args.container, args.force)
                .await?;
            Ok(0)
        }
        NetworkCommand::Inspect(NamesArgs { names }) => {
            let look = async |name: &str| Ok(Ok(client.inspect_network(name).await?));
            inspect(&names, look).await
        }
        NetworkCommand::Ls(args) => list_networks(global, args).await,
        NetworkCommand::Prune(args) => prune(global, &args, Prune::Networks).await,
        NetworkCommand::Rm(RemoveArgs { names, force }) => {
            let remove = async |name: &str| match client.remove_network(name).await {
                Err(error) if force && error.engine_status() == Some(404) => Ok(()),
                removed => removed,
            };
            each(global, &names, "removed", remove).await
        }
    }
}

async fn system(global: &Global, args: SystemArgs) -> Outcome {
    match args.command {
        SystemCommand::Df => disk_usage(global).await,
        SystemCommand::Events(args) => looks::events(global, args).await,
        SystemCommand::Info => system::info(global).await,
        SystemCommand::Prune(args) => prune_all(global, &args).await,
    }
}

/// Documents of several things in one list; those that are not there are told.
async fn inspect(
    names: &[String],
    look: impl AsyncFn(&str) -> Result<serde_json::Result<Value>, SdkError>,
) -> Outcome {
    let mut found = Vec::new();
    let mut code = 0;
    for name in names {
        match look(name).await {
            Ok(document) => found.push(document?),
            Err(error) if error.engine_status().is_none() => return Err(error.into()),
            Err(error) => {
                tell(&error.chain());
                code = exit::FAILED;
            }
        }
    }
    print_line(&serde_json::to_string_pretty(&found)?)?;
    Ok(code)
}

/// `KEY=VALUE` words as a map; a key alone has an empty value.
fn pairs(words: &[String]) -> BTreeMap<String, String> {
    let pair = |word: &String| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}

async fn create_volume(global: &Global, args: VolumeCreateArgs) -> Outcome {
    let request = VolumeCreate {
        name: args.name.unwrap_or_default(),
        driver: args.driver,
        driver_opts: pairs(&args.opt),
        labels: pairs(&args.label),
    };
    let made = client(global)?.create_volume(&request).await?;
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&made)?)?,
        Output::Text => print_line(&made.name)?,
    }
    Ok(0)
}

async fn list_volumes(global: &Global, args: ListArgs) -> Outcome {
    let mut rows = client(global)?.volumes(&filters(&args.filter)?).await?;
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&rows)?)?,
        Output::Text if args.quiet => {
            let names: String = rows.iter().map(|row| format!("{}\n", row.name)).collect();
            print(&names)?;
        }
        Output::Text => {
            let lines = rows.into_iter().map(|row| vec![row.driver, row.name]);
            print(&output::columns(&["DRIVER", "VOLUME NAME"], lines))?;
        }
    }
    Ok(0)
}

async fn create_network(global: &Global, args: NetworkCreateArgs) -> Outcome {
    if args.gateway.len().max(args.ip_range.len()) > args.subnet.len() {
        return Err(Failure::usage(
            "--gateway and --ip-range need a --subnet in the same place".to_owned(),
        ));
    }
    let subnet = |(place, subnet): (usize, &String)| {
        let gateway = args.gateway.get(place).cloned();
        (subnet.clone(), gateway, args.ip_range.get(place).cloned())
    };
    let options = NetworkOptions {
        subnets: args.subnet.iter().enumerate().map(subnet).collect(),
        name: args.name,
        driver: Some(args.driver),
        internal: args.internal,
        attachable: args.attachable,
        ipv6: args.ipv6,
        options: pairs(&args.opt),
        labels: pairs(&args.label),
    };
    let id = client(global)?.create_network(&options).await?;
    match global.output {
        Output::Json => print_line(&json!({ "Id": id }).to_string())?,
        Output::Text => print_line(&id)?,
    }
    Ok(0)
}

async fn list_networks(global: &Global, args: ListArgs) -> Outcome {
    let mut rows = client(global)?.networks(&filters(&args.filter)?).await?;
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    let width = width(args.no_trunc);
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&rows)?)?,
        Output::Text if args.quiet => {
            let ids: String = rows
                .iter()
                .map(|row| format!("{}\n", output::id(&row.id, width)))
                .collect();
            print(&ids)?;
        }
        Output::Text => {
            let lines = rows
                .into_iter()
                .map(|row| vec![output::id(&row.id, width), row.name, row.driver, row.scope]);
            print(&output::columns(
                &["NETWORK ID", "NAME", "DRIVER", "SCOPE"],
                lines,
            ))?;
        }
    }
    Ok(0)
}

/// What is removed when nobody uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prune {
    Containers,
    Images,
    Volumes,
    Networks,
}

/// Names of what was removed, and the bytes that it took.
struct Removed {
    names: Vec<String>,
    bytes: u64,
}

async fn remove_unused(global: &Global, args: &PruneArgs, what: Prune) -> Result<Removed, Failure> {
    let client = client(global)?;
    let mut wanted = filters(&args.filter)?;
    Ok(match what {
        Prune::Containers => {
            let pruned = client.prune_containers(&wanted).await?;
            Removed {
                names: pruned.containers_deleted.unwrap_or_default(),
                bytes: pruned.space_reclaimed,
            }
        }
        Prune::Images => {
            let dangling = if args.all { "false" } else { "true" };
            wanted.push(("dangling".to_owned(), dangling.to_owned()));
            let pruned = client.prune_images(&wanted).await?;
            let items = pruned.images_deleted.unwrap_or_default();
            Removed {
                names: items
                    .into_iter()
                    .filter_map(|item| item.deleted.or(item.untagged))
                    .collect(),
                bytes: pruned.space_reclaimed,
            }
        }
        Prune::Volumes => {
            if args.all {
                wanted.push(("all".to_owned(), "true".to_owned()));
            }
            let pruned = client.prune_volumes(&wanted).await?;
            Removed {
                names: pruned.volumes_deleted.unwrap_or_default(),
                bytes: pruned.space_reclaimed,
            }
        }
        Prune::Networks => Removed {
            names: client.prune_networks(&wanted).await?,
            bytes: 0,
        },
    })
}

async fn prune(global: &Global, args: &PruneArgs, what: Prune) -> Outcome {
    let removed = remove_unused(global, args, what).await?;
    show_removed(global, &removed)
}

async fn prune_all(global: &Global, args: &SystemPruneArgs) -> Outcome {
    let mut kinds = vec![Prune::Containers, Prune::Networks, Prune::Images];
    if args.volumes {
        kinds.insert(1, Prune::Volumes);
    }
    let mut all = Removed {
        names: Vec::new(),
        bytes: 0,
    };
    for kind in kinds {
        // Volumes with a name are never meant here.
        let args = PruneArgs {
            all: args.prune.all && kind == Prune::Images,
            ..args.prune.clone()
        };
        let removed = remove_unused(global, &args, kind).await?;
        all.names.extend(removed.names);
        all.bytes = all.bytes.saturating_add(removed.bytes);
    }
    show_removed(global, &all)
}

fn show_removed(global: &Global, removed: &Removed) -> Outcome {
    if global.output == Output::Json {
        let document = json!({ "Deleted": removed.names, "SpaceReclaimed": removed.bytes });
        print_line(&document.to_string())?;
        return Ok(0);
    }
    for name in &removed.names {
        print_line(name)?;
    }
    let bytes = i64::try_from(removed.bytes).unwrap_or(i64::MAX);
    print_line(&format!("Total reclaimed space: {}", output::size(bytes)))?;
    Ok(0)
}

async fn disk_usage(global: &Global) -> Outcome {
    let usage = client(global)?.disk_usage().await?;
    if global.output == Output::Json {
        print_line(&serde_json::to_string(&usage)?)?;
        return Ok(0);
    }
    let line = |kind: &str, total: usize, active: usize, size: i64| {
        vec![
            kind.to_owned(),
            total.to_string(),
            active.to_string(),
            output::size(size.max(0)),
        ]
    };
    let used_images = usage.images.iter().filter(|row| row.containers > 0).count();
    let running = usage
        .containers
        .iter()
        .filter(|row| matches!(row.state.as_str(), "running" | "paused" | "restarting"));
    let written = usage.containers.iter().filter_map(|row| row.size_rw).sum();
    let used_volumes = usage.volumes.iter().filter(|row| row.usage_data.ref_count > 0);
    let kept = usage.volumes.iter().map(|row| row.usage_data.size.max(0)).sum();
    let lines = [
        line("Images", usage.images.len(), used_images, usage.layers_size),
        line("Containers", usage.containers.len(), running.count(), written),
        line("Local Volumes", usage.volumes.len(), used_volumes.count(), kept),
    ];
    print(&output::columns(
        &["TYPE", "TOTAL", "ACTIVE", "SIZE"],
        lines.into_iter(),
    ))?;
    Ok(0)
}
