//! `ip_forward`: switched on when it is needed, guarded while it was us who did it, and put back by the last engine.

use std::io;

use super::expression::Expression;
use super::transaction::{Hook, Transaction, our_tables};
use crate::netlink::{NetworkError, Socket, get_setting, set_setting};

const SETTING: &str = "net/ipv4/ip_forward";

/// Stands while the setting is on because an engine switched it on. All engines of the host share it.
const GUARD: &str = "berth_forwarding";

const BRIDGE: &str = "bridge";

const FORWARD: Hook = Hook {
    kind: "filter",
    number: 2,
    priority: 0,
};

/// Switches forwarding on. If it was off, the host goes on to route nothing but what bridges are concerned with: their
/// owners' own tables judge that.
pub(super) fn switch_on(socket: &mut Socket) -> Result<(), NetworkError> {
    if get_setting(SETTING)?.as_deref() == Some("1") {
        return Ok(());
    }
    let mut guard = Transaction::new(GUARD);
    guard.table();
    // A device without a kind ends the rule at the comparison, so each kind that passes has a rule of its own.
    guard.chain(
        "forward",
        FORWARD,
        &[
            vec![Expression::CameFromKind(BRIDGE), Expression::Accept],
            vec![Expression::GoesToKind(BRIDGE), Expression::Accept],
            vec![Expression::Ipv4, Expression::Drop],
        ],
    );
    guard.commit(socket).map_err(NetworkError::kernel(format!(
        "making the nftables table {GUARD:?}"
    )))?;
    set_setting(SETTING, "1")
}

/// Puts the setting back when no other engine needs it. An engine that comes in between makes its table before it
/// looks at the setting, so one of the two sees the other.
pub(super) fn put_back(socket: &mut Socket) -> Result<(), NetworkError> {
    let failed = || NetworkError::kernel("listing the nftables tables");
    let tables = our_tables(socket).map_err(failed())?;
    if tables.iter().any(|table| table != GUARD) || !tables.iter().any(|table| table == GUARD) {
        return Ok(());
    }
    set_setting(SETTING, "0")?;
    let mut guard = Transaction::new(GUARD);
    guard.delete_table();
    match guard.commit(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(NetworkError::kernel(format!(
                "removing the nftables table {GUARD:?}"
            ))(error));
        }
        Ok(()) | Err(_) => {}
    }
    if our_tables(socket).map_err(failed())?.is_empty() {
        Ok(())
    } else {
        switch_on(socket)
    }
}
