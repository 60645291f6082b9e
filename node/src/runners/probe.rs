//! Looks how things are, for probes: a process of the operating system, and the room on the disk.

use std::path::Path;

use weft_kernel::ProbeAnswer;

/// With less room than this for what the node writes it is unhealthy, in bytes: a few seconds of records (guess).
const FREE_BYTES_MIN: u64 = 64 << 20;
/// With less than this it is degraded, in bytes: time for somebody to come and look (guess).
const FREE_BYTES_LOW: u64 = 512 << 20;

/// Whether this process is there and may run. /proc answers at once.
pub(crate) fn process(pid: u32) -> ProbeAnswer {
    let failed = |reason: String| ProbeAnswer::Failed { reason };
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return failed(format!("process {pid} is gone"));
    };
    // The state follows the program's name, which stands in parentheses and may hold any character.
    match stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next()) {
        Some('T' | 't') => failed(format!("process {pid} is stopped by a signal or a debugger")),
        Some('Z' | 'X') => failed(format!("process {pid} has ended")),
        Some(_) => ProbeAnswer::Healthy,
        None => failed(format!("process {pid} cannot be looked at")),
    }
}

/// How much room there is for what the node writes. May block.
pub(crate) fn disk(folder: &Path) -> ProbeAnswer {
    let free_bytes = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return ProbeAnswer::Failed { reason: format!("{}: {error}", folder.display()) },
    };
    judge(free_bytes)
}

fn judge(free_bytes: u64) -> ProbeAnswer {
    let reason = format!("{} MiB are left on the disk", free_bytes >> 20);
    match free_bytes {
        ..FREE_BYTES_MIN => ProbeAnswer::Failed { reason },
        FREE_BYTES_MIN..FREE_BYTES_LOW => ProbeAnswer::Degraded { reason },
        FREE_BYTES_LOW.. => ProbeAnswer::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_there_or_not() {
        assert_eq!(process(std::process::id()), ProbeAnswer::Healthy);
        assert!(matches!(process(u32::MAX), ProbeAnswer::Failed { .. }));
    }

    #[test]
    fn room_is_judged_by_what_is_left() {
        assert_eq!(judge(u64::MAX), ProbeAnswer::Healthy);
        assert_eq!(judge(100 << 20), ProbeAnswer::Degraded { reason: "100 MiB are left on the disk".to_owned() });
        assert_eq!(judge(0), ProbeAnswer::Failed { reason: "0 MiB are left on the disk".to_owned() });
        assert!(matches!(disk(Path::new("/no/such/folder")), ProbeAnswer::Failed { .. }));
    }
}
