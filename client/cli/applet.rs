//! Which program this is, by the name that it was called by.

use std::ffi::OsStr;
use std::path::Path;

/// A program that the one binary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applet {
    /// `berth`, and every name that is none of the others.
    Berth,
    /// etcd's command line of a server.
    Etcd,
    /// etcdctl's command line of the v2 API.
    Etcdctl,
}

/// The program of the name in `argv[0]`; a path in front of it does not matter.
pub(crate) fn applet(argv0: Option<&OsStr>) -> Applet {
    let name = argv0.and_then(|argv0| Path::new(argv0).file_name()?.to_str());
    match name {
        Some("etcd") => Applet::Etcd,
        Some("etcdctl") => Applet::Etcdctl,
        _ => Applet::Berth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (argv0, wanted) in [
            ("berth", Applet::Berth),
            ("/usr/bin/etcdctl", Applet::Etcdctl),
            ("etcdctl", Applet::Etcdctl),
            ("etcdctl2", Applet::Berth),
            ("./etcd", Applet::Etcd),
            ("etcd.sh", Applet::Berth),
            ("", Applet::Berth),
        ] {
            assert_eq!(applet(Some(OsStr::new(argv0))), wanted, "{argv0}");
        }
        assert_eq!(applet(None), Applet::Berth);
    }
}
