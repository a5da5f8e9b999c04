//! `berth demo`: everything once, on a store and an engine of its own, and nothing left behind.
//!
//! Store and engine are processes of this executable, so that one of them can be killed. A third one, the janitor, waits
//! for the end of the demo, even by SIGKILL, and takes away what is left then.

mod janitor;
mod show;
mod story;
mod world;

use anyhow::anyhow;

use crate::args::DemoArgs;
use crate::exit::{FAILED, Failure, INTERRUPTED, Outcome};
use crate::terminal::{EndWish, print_line};

pub(crate) use janitor::{JANITOR, run as janitor};
use world::World;

pub(crate) async fn run(args: DemoArgs) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::usage(
            "the demo makes namespaces, mounts and networks: run it as root".to_owned(),
        ));
    }
    let mut wish = EndWish::new()?;
    let mut world = World::create(args.ttl).map_err(failed)?;
    let told = {
        let story = story::tell(&mut world, args.keep);
        tokio::select! {
            told = story => told.map(|()| Ended::Told),
            _ = wish.next() => Ok(Ended::Interrupted),
        }
    };
    // Once the story has been told, Ctrl-C is how it is meant to end.
    let told = match told {
        Ok(Ended::Told) if args.keep => {
            wish.next().await;
            Ok(Ended::Told)
        }
        told => told,
    };
    if let Err(error) = &told {
        show::wrong(&format!("{error:#}"))?;
        show::logs(&world)?;
    }
    print_line("")?;
    show::wait("cleaning up")?;
    // Another Ctrl-C leaves the rest to the janitor.
    let cleaned = tokio::select! {
        cleaned = world.end() => cleaned,
        _ = wish.next() => Err(anyhow!("interrupted while cleaning up, the rest is being removed in the background")),
    };
    match cleaned {
        Ok(()) => {
            show::right("nothing is left: no process, mount, interface, firewall table, cgroup or file")?
        }
        Err(error) => return Err(failed(error)),
    }
    match told {
        Ok(Ended::Told) => Ok(0),
        Ok(Ended::Interrupted) => Ok(INTERRUPTED),
        Err(_) => Err(Failure {
            code: FAILED,
            error: None,
        }),
    }
}

/// How the story ended.
enum Ended {
    Told,
    Interrupted,
}

fn failed(error: anyhow::Error) -> Failure {
    Failure {
        code: FAILED,
        error: Some(error),
    }
}
