//! The files of a home: who may open them, and whether they are what was written.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Check;
use crate::cli::CliError;
use crate::config::{Flags, load};
use crate::home::HomeDir;
use crate::identity;
use crate::network::TcpSecurity;

/// The folder, and the token that opens the door.
pub(super) fn folder(home: &HomeDir) -> Check {
    let user = rustix::process::geteuid().as_raw();
    let wrong = |path: &Path, mode: u32| -> Option<Check> {
        let shown = path.display();
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return Some(Check::fail("home", format!("{shown}: {error}"), "name another --home")),
        };
        if metadata.uid() != user {
            let message = format!("{shown} belongs to user {}, not {user}", metadata.uid());
            return Some(Check::fail("home", message, format!("chown {user} {shown}")));
        }
        let others = metadata.mode() & 0o077;
        (others != 0).then(|| {
            let message = format!("{shown} has mode {:o}: others can reach it", metadata.mode() & 0o7777);
            Check::warn("home", message, format!("chmod {mode:o} {shown}"))
        })
    };
    let token = home.path().join("operator.token");
    let token = if token.exists() { wrong(&token, 0o600) } else { None };
    let found = wrong(home.path(), 0o700).or(token);
    found.unwrap_or_else(|| Check::ok("home", format!("{}, this user's alone", home.path().display())))
}

/// The secret keys.
pub(super) fn keys(home: &HomeDir) -> Check {
    use weft_protocol::Signer as _;
    match identity::load(home.path()) {
        Ok(keys) => Check::ok("keys", format!("whole, of {}", keys.public_keys().node())),
        Err(error) => Check::of_error("keys", &CliError::from(error)),
    }
}

/// Which cluster.
pub(super) fn cluster(home: &HomeDir) -> Check {
    match (home.cluster(), home.joining()) {
        (Ok(Some(cluster)), _) => {
            let name = weft_protocol::cluster_name(&cluster.charter.cluster_id());
            Check::ok("cluster", format!("{} in {name}", cluster.name))
        }
        (Ok(None), Some(_)) => {
            Check::warn("cluster", "a join has begun and is not complete", "weft join TOKEN, with the same token")
        }
        (Ok(None), None) => Check::fail("cluster", "the home belongs to no cluster", "weft up, or weft join TOKEN"),
        (Err(error), _) => Check::of_error("cluster", &CliError::from(error)),
    }
}

/// The configuration, as the next start would read it.
pub(super) fn settings(home: &HomeDir) -> Check {
    match load(home, &Flags::default()) {
        Ok(config) if config.tcp_security == TcpSecurity::TlsOrNoise => Check::warn(
            "config",
            "network.tcp_security is tls+noise: connections that Noise encrypts have no post-quantum key exchange",
            "weft members shows who came so (tcp+noise); without any, set it to tls",
        ),
        Ok(_) => Check::ok("config", "every key is known and in its range"),
        Err(error) => Check::of_error("config", &CliError::from(error)),
    }
}
