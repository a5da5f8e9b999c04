//! The addresses of a member: etcd's URLs, and the HOST:PORT of its first releases.

use crate::args::etcd::{Line, Refused, refuse};
use crate::etcd::{CLIENTS, PEERS, USUAL_PEERS, tls};
use crate::tls::Kind;

/// Where a member listens, and what it tells others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Urls {
    pub(crate) listen: Vec<String>,
    pub(crate) advertise: Vec<String>,
}

/// The flags for one kind of callers.
struct Names {
    listen: &'static str,
    advertise: &'static str,
    kind: Kind,
    /// Of 0.4.
    bind: &'static str,
    addr: &'static str,
}

const CLIENT_NAMES: Names = Names {
    listen: "listen-client-urls",
    advertise: "advertise-client-urls",
    kind: Kind::Clients,
    bind: "bind-addr",
    addr: "addr",
};

impl Urls {
    /// Those for clients.
    pub(crate) fn clients(line: &Line) -> Result<Urls, Refused> {
        let names = CLIENT_NAMES;
        let given = |name| line.get(name).is_some_and(|text| !text.is_empty());
        if given(names.listen) && !given(names.advertise) && !given(names.addr) {
            return Err(refuse(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            ));
        }
        Urls::read(line, &names, CLIENTS)
    }

    /// Those for clients of a gateway, of which nobody is told.
    pub(crate) fn of_gateway(line: &Line) -> Result<Urls, Refused> {
        Urls::read(line, &CLIENT_NAMES, CLIENTS)
    }

    /// Those for other members.
    pub(crate) fn peers(line: &Line) -> Result<Urls, Refused> {
        let names = Names {
            listen: "listen-peer-urls",
            advertise: "initial-advertise-peer-urls",
            kind: Kind::Peers,
            bind: "peer-bind-addr",
            addr: "peer-addr",
        };
        Urls::read(line, &names, PEERS)
    }

    fn read(line: &Line, names: &Names, default: &str) -> Result<Urls, Refused> {
        let get = |name| line.get(name).filter(|text| !text.is_empty());
        for (url, old) in [(names.listen, names.bind), (names.advertise, names.addr)] {
            if get(url).is_some() && get(old).is_some() {
                return Err(refuse(format!("--{url} and --{old} cannot both be given")));
            }
        }
        // Without a scheme, a certificate says it.
        let secure = tls::asked(line, names.kind).is_there();
        let port = match get(names.addr) {
            Some(text) => Some(host_and_port(names.addr, text, None)?.1),
            None => None,
        };
        let listen = match (get(names.listen), get(names.bind), get(names.addr)) {
            (Some(urls), _, _) => list(names.listen, urls)?,
            (None, Some(bind), _) => vec![url(host_and_port(names.bind, bind, port)?, secure)],
            (None, None, Some(addr)) => vec![url(host_and_port(names.addr, addr, None)?, secure)],
            (None, None, None) => list(names.listen, default)?,
        };
        let advertise = match (get(names.advertise), get(names.addr), get(names.bind)) {
            (Some(urls), _, _) => list(names.advertise, urls)?,
            (None, Some(addr), _) => vec![url(host_and_port(names.addr, addr, None)?, secure)],
            (None, None, Some(_)) => listen.clone(),
            (None, None, None) => list(names.advertise, default)?,
        };
        Ok(Urls { listen, advertise })
    }

    /// Whether these are what others are told. If that was not said, each of the usual addresses of a lone member will do.
    pub(crate) fn are(&self, urls: &[String], said: bool) -> bool {
        let plain = |urls: &[String]| {
            let mut plain: Vec<String> = urls
                .iter()
                .map(|url| url.replace("//localhost:", "//127.0.0.1:"))
                .collect();
            plain.sort();
            plain
        };
        if said {
            return plain(&self.advertise) == plain(urls);
        }
        let usual = plain(&USUAL_PEERS.map(str::to_owned));
        !urls.is_empty() && plain(urls).iter().all(|url| usual.contains(url))
    }
}

/// URLs separated by commas.
fn list(flag: &str, text: &str) -> Result<Vec<String>, Refused> {
    let flag = format!("--{flag}");
    let urls: Vec<String> = text.split(',').map(|url| url.trim().to_owned()).collect();
    for url in &urls {
        check(&flag, url)?;
    }
    Ok(urls)
}

/// `http://HOST:PORT` or `https://HOST:PORT`, and nothing behind it.
pub(crate) fn check(flag: &str, url: &str) -> Result<(), Refused> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(refuse(format!(
            "{flag} {url:?}: it must be http://HOST:PORT or https://HOST:PORT"
        )));
    };
    match scheme {
        "http" | "https" => {}
        "unix" | "unixs" => {
            return Err(refuse(format!("{flag} {url:?}: {scheme} is not supported yet")));
        }
        _ => {
            let text = format!("{flag}: URL scheme must be http, https, unix, or unixs: {url}");
            return Err(refuse(text));
        }
    }
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !path.is_empty() {
        return Err(refuse(format!("{flag}: URL must not contain a path: {url}")));
    }
    let port = place.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) || place.starts_with(':') {
        let text = format!("{flag}: URL address does not have the form \"host:port\": {url}");
        return Err(refuse(text));
    }
    Ok(())
}

/// `HOST:PORT`; where the port is missing another one may take its place.
fn host_and_port(flag: &str, text: &str, port: Option<u16>) -> Result<(String, u16), Refused> {
    let wrong = || refuse(format!("--{flag} {text:?}: it must be HOST:PORT"));
    let is_bracketed = text.starts_with('[') && text.ends_with(']');
    match text.rsplit_once(':') {
        Some((host, own)) if !is_bracketed => {
            let own = match own {
                "" => port.ok_or_else(wrong)?,
                own => own.parse().map_err(|_| wrong())?,
            };
            let host = if host.is_empty() { "0.0.0.0" } else { host };
            Ok((host.to_owned(), own))
        }
        Some(_) | None => Ok((text.to_owned(), port.ok_or_else(wrong)?)),
    }
}

fn url((host, port): (String, u16), secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{host}:{port}")
}
