//! What the machine gives a node: room and speed of the disk, confinement of agents, open files.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Check;
use crate::home::HomeDir;

/// Room below which a node should be given more, in bytes (guess: a day of a busy chain).
const ROOM_WANTED: u64 = 1 << 30;
/// Room below which the next commits may fail, in bytes (guess: a few thousand commits).
const ROOM_NEEDED: u64 = 64 << 20;
/// A sync that takes longer makes every durable call slow (guess: a spinning disk takes 10 ms).
const SYNC_WANTED: Duration = Duration::from_millis(50);
/// Syncs that are timed; the middle one counts.
const SYNCS: usize = 5;
/// Open files that a node with many members and agents needs (guess: 1,024 is what most systems give).
const FILES_WANTED: u64 = 1_024;

/// All of it.
pub(super) fn check(home: &HomeDir) -> Vec<Check> {
    vec![room(home.path()), sync(home.path()), confinement(), files()]
}

fn room(folder: &Path) -> Check {
    let found = match rustix::fs::statvfs(folder) {
        Ok(found) => found,
        Err(error) => return Check::fail("disk-space", format!("{}: {error}", folder.display()), ""),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let message = format!("{} MiB are free for {}", free >> 20, folder.display());
    let fix = "make room there, or move the home to a larger disk";
    match free {
        ..ROOM_NEEDED => Check::fail("disk-space", message, fix),
        ROOM_NEEDED..ROOM_WANTED => Check::warn("disk-space", message, fix),
        ROOM_WANTED.. => Check::ok("disk-space", message),
    }
}

fn sync(folder: &Path) -> Check {
    match time_syncs(folder) {
        Err(error) => {
            let fix = "is the disk full, or mounted read-only?";
            Check::fail("disk-sync", format!("nothing can be written in {}: {error}", folder.display()), fix)
        }
        Ok(middle) => {
            let message = format!("a sync takes {}.{} ms", middle.as_millis(), middle.as_micros() % 1_000 / 100);
            if middle > SYNC_WANTED {
                Check::warn("disk-sync", message, "durable calls wait for it: move the home to a faster disk")
            } else {
                Check::ok("disk-sync", message)
            }
        }
    }
}

/// The middle one of some syncs of 4 KiB.
pub(super) fn time_syncs(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join("doctor.probe");
    let timed = || {
        let mut file = File::create(&path)?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let begun = Instant::now();
            file.write_all(&[0x5a; 4_096])?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times[SYNCS / 2])
    };
    let result = timed();
    let _never_made = std::fs::remove_file(&path);
    result
}

fn confinement() -> Check {
    match crate::shim::can_confine() {
        Ok(()) => Check::ok("landlock", "agents that are programs can be confined"),
        Err(reason) => {
            let fix = "a kernel of Linux 6.2 or later with Landlock; or --trusted, for agents that may read your files";
            Check::warn("landlock", format!("agents that are programs cannot be confined: {reason}"), fix)
        }
    }
}

fn files() -> Check {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match most {
        Some(most) if most < FILES_WANTED => {
            Check::warn("open-files", format!("{most} open files are allowed"), format!("ulimit -n {FILES_WANTED}"))
        }
        Some(most) => Check::ok("open-files", format!("{most} open files are allowed")),
        None => Check::ok("open-files", "any number of open files is allowed"),
    }
}
