//! A node that does not answer: its store, its ports, and the road back after a failed write.

use std::net::{TcpListener, UdpSocket};

use weft_protocol::Recovered;
use weft_storage::Store;

use super::machine::time_syncs;
use super::{Check, CliError};
use crate::cli::output::plural;
use crate::home::{Home, HomeDir, HomeError};

/// What can be seen without starting it.
pub(super) fn check(home: &HomeDir) -> Vec<Check> {
    match Home::probe(home) {
        Ok(()) => {}
        Err(HomeError::Locked { pid, .. }) => {
            let message = format!("process {pid} holds the home, and its door does not answer");
            return vec![Check::fail("node", message, format!("wait a moment; then kill {pid}"))];
        }
        Err(error) => return vec![Check::of_error("node", &CliError::from(error))],
    }
    let mut checks = vec![Check::ok("node", "does not run; weft up starts it"), ports(home)];
    checks.push(match (home.poisoned(), home.damaged()) {
        (Some(reason), _) => Check::damaged("store", failed_write(&reason), "weft doctor --storage"),
        (None, Some(reason)) => Check::damaged("store", found_damage(&reason), FETCHED_AT_START),
        (None, None) => store(home),
    });
    checks
}

/// What is said of a store that a run could not write.
pub(super) fn failed_write(reason: &str) -> String {
    let reason = if reason.is_empty() { "the disk was full" } else { reason };
    format!("an earlier run could not write its store: {reason}")
}

/// What is said of a store in which a run found damage.
fn found_damage(reason: &str) -> String {
    format!("an earlier run found damage: {reason}")
}

/// What mends a damaged store.
const FETCHED_AT_START: &str = "weft up fetches from members what is missing, while one of them runs";

/// Verifies everything in the store, tries the disk, and lets the node start again after a failed write.
///
/// # Errors
/// `locked`, while the node runs.
pub(super) fn check_storage(folder: &HomeDir) -> Result<Vec<Check>, CliError> {
    let home = Home::open(folder.clone()).map_err(|error| CliError::from(error).hint("weft down, then this again"))?;
    let (poisoned, damaged) = (home.poisoned(), home.damaged());
    let mut checks = vec![match time_syncs(home.path()) {
        Ok(_) => Check::ok("disk-sync", "the disk takes writes and syncs them"),
        Err(error) => {
            Check::fail("disk-sync", format!("nothing can be written: {error}"), "make room, or mend the disk")
        }
    }];
    let disk_is_good = checks.iter().all(|check| check.verdict == super::Verdict::Ok);
    checks.push(store(&home));
    let good = checks.iter().all(|check| check.verdict == super::Verdict::Ok);
    checks.push(match (poisoned, damaged) {
        (None, None) => Check::ok("failed-write", "no earlier run failed to write, or found damage"),
        _ if good => {
            home.clear_poison()?;
            home.clear_damage()?;
            Check::ok("failed-write", "the store is whole: the node may start again")
        }
        (None, Some(reason)) => Check::damaged("failed-write", found_damage(&reason), FETCHED_AT_START),
        // The disk works, and the store is damaged: only a start can put it in order.
        (Some(reason), _) if disk_is_good => {
            home.note_damage(&reason)?;
            home.clear_poison()?;
            Check::damaged("failed-write", failed_write(&reason), FETCHED_AT_START)
        }
        (Some(reason), _) => {
            Check::damaged("failed-write", failed_write(&reason), "mend what is said above, then this again")
        }
    });
    Ok(checks)
}

/// Opens the store, which verifies every chain from its first event.
fn store(home: &HomeDir) -> Check {
    if !home.store().exists() {
        return Check::ok("store", "there is none yet");
    }
    let opened = Store::open(&home.store()).map_err(CliError::from).and_then(|(store, recovered)| {
        let report = store
            .verify_all(weft_replication::StateOfChain::begin)
            .map_err(|error| CliError::new("damaged", error.to_string()))?;
        let fault = report.chains.iter().find_map(|chain| chain.fault.as_ref());
        match fault {
            Some(fault) => {
                Err(CliError::new("damaged", format!("commit {}: {}", fault.first_bad_commit, fault.reason)))
            }
            None => Ok(recovered),
        }
    });
    match opened {
        Ok(recovered) => Check::ok("store", held(&recovered)),
        Err(error) => Check::of_error("store", &error),
    }
}

fn held(recovered: &Recovered) -> String {
    let events = recovered.chains.iter().map(|chain| chain.state.size()).sum();
    let chains = plural(recovered.chains.len() as u64, "chain");
    format!("{chains} with {}, all verified", plural(events, "event"))
}

/// Whether the ports of the last start are free.
fn ports(home: &HomeDir) -> Check {
    let kept = std::fs::read(home.listen()).ok().and_then(|bytes| serde_json::from_slice::<Vec<String>>(&bytes).ok());
    let taken: Vec<String> = kept.iter().flatten().filter_map(|address| taken(address)).collect();
    if taken.is_empty() {
        return Check::ok("ports", "those of the last start are free");
    }
    let fix = "end what uses it; or remove listen.json from the home, and others learn the new port";
    Check::fail("ports", format!("{} is used by another program", taken.join(", ")), fix)
}

/// The port, when it cannot be listened at.
fn taken(multiaddr: &str) -> Option<String> {
    let parts: Vec<&str> = multiaddr.split('/').collect();
    let ["", _, host, protocol, port, ..] = parts.as_slice() else { return None };
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let host: std::net::IpAddr = host.parse().ok()?;
    let free = match *protocol {
        "tcp" => TcpListener::bind((host, port)).is_ok(),
        "udp" => UdpSocket::bind((host, port)).is_ok(),
        _ => true,
    };
    (!free).then(|| format!("{protocol} {port}"))
}
