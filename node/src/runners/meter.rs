//! How much an agent and all it started use: resident memory and processor time from /proc, and the bytes in its own folder.
//!
//! What it says is never more than what was used. Memory is exact when it matters: pages that several processes of the family
//! share are counted in each of them only as long as the sum is far from the bound. Processor time of a process that lived for
//! less than one look, and that nobody waited for, is not seen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use weft_kernel::Measured;
use weft_protocol::{Resource, ResourceLimits};

use crate::runners::family::{Use, family};

/// How long one look is from the next. At 80 % of a bound of two seconds of processor time a process has 400 ms left, so that
/// it is told before it is ended (guess); one look at a family of a few processes takes under a tenth of a millisecond.
pub(crate) const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// What one entry of the folder counts at least, in bytes: its name and inode cost the disk too, and a walk towards a bound
/// ends after so many entries whatever they hold (guess: a small inode with its name).
const ENTRY_BYTES_MIN: u64 = 1_024;
/// Most entries of the folder that one walk looks at; what lies beyond is not counted (guess: a second of a slow disk).
const ENTRIES_MAX: usize = 262_144;
/// The shortest time between two walks.
const WALK_EVERY: Duration = Duration::from_secs(1);
/// A walk may take one part in so many of the time: after a long one the next waits accordingly.
const WALK_SHARE: u32 = 50;

/// Measures one agent. Its parts may block, so it is used off the event loop.
#[derive(Debug)]
pub(crate) struct Meter {
    guard: i32,
    folder: PathBuf,
    /// The bounds; what has none is not measured.
    limits: ResourceLimits,
    /// Own processor time of each process that was seen, in ticks, by number and start.
    alive: BTreeMap<(i32, u64), u64>,
    /// The same of those that are gone.
    gone_ticks: u64,
    cpu_us: u64,
    walk_at: Instant,
}

impl Meter {
    /// A meter of the family of this guard; none when nothing of it is bounded, so nothing needs to be measured.
    pub(crate) fn new(guard: u32, folder: PathBuf, limits: ResourceLimits) -> Option<Self> {
        let measurable = [Resource::Memory, Resource::Cpu, Resource::Disk];
        let wanted = measurable.into_iter().any(|resource| limits.bound(resource).is_some());
        let guard = i32::try_from(guard).ok()?;
        let walk_at = Instant::now();
        wanted.then_some(Self { guard, folder, limits, alive: BTreeMap::new(), gone_ticks: 0, cpu_us: 0, walk_at })
    }

    /// Looks once.
    pub(crate) fn measure(&mut self) -> Measured {
        let (memory, cpu) = (self.limits.bound(Resource::Memory), self.limits.bound(Resource::Cpu));
        let uses = if memory.or(cpu).is_some() { family(self.guard) } else { Vec::new() };
        Measured {
            memory_bytes: memory.map(|bound| resident(&uses, self.guard, bound)),
            cpu_us: cpu.map(|_| self.processor_time(&uses)),
            disk_bytes: self.limits.bound(Resource::Disk).and_then(|bound| self.disk(bound)),
        }
    }

    /// Two sums below the truth, the greater of them: what every process was last seen to have used itself, and what the living
    /// used with all of their children that were waited for.
    fn processor_time(&mut self, uses: &[Use]) -> u64 {
        let now: BTreeMap<(i32, u64), u64> = uses.iter().map(|one| ((one.pid, one.start), one.own_ticks)).collect();
        self.gone_ticks +=
            self.alive.iter().filter(|(key, _)| !now.contains_key(key)).map(|(_, ticks)| ticks).sum::<u64>();
        self.alive = now;
        let seen = self.gone_ticks + self.alive.values().sum::<u64>();
        let waited_for = uses.iter().map(|one| one.own_ticks + one.waited_ticks).sum::<u64>();
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let cpu_us = u128::from(seen.max(waited_for)) * 1_000_000 / u128::from(per_second);
        self.cpu_us = self.cpu_us.max(u64::try_from(cpu_us).unwrap_or(u64::MAX));
        self.cpu_us
    }

    fn disk(&mut self, bound: u64) -> Option<u64> {
        let begin = Instant::now();
        if begin < self.walk_at {
            return None;
        }
        let bytes = folder_bytes(&self.folder, bound);
        self.walk_at = begin + WALK_EVERY.max(begin.elapsed() * WALK_SHARE);
        Some(bytes)
    }
}

/// The guard is ours: what it holds is not the agent's.
fn resident(uses: &[Use], guard: i32, bound: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    let agents: Vec<&Use> = uses.iter().filter(|one| one.pid != guard).collect();
    let sum = agents.iter().map(|one| one.resident_pages * page).sum::<u64>();
    if agents.len() < 2 || sum < bound - bound / 5 {
        return sum;
    }
    agents.iter().map(|one| proportional(one.pid).unwrap_or(one.resident_pages * page)).sum()
}

/// The memory of a process in which a page that N processes share counts as an Nth, in bytes.
fn proportional(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// What lies below the folder as far as `bound`, where the walk ends. Symbolic links are not followed; a file with several
/// names counts once for each.
fn folder_bytes(folder: &Path, bound: u64) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0_u64;
    let mut entries = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(inside) = fs::read_dir(&folder) else { continue };
        for entry in inside.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            // A block of `stat` has 512 bytes everywhere.
            bytes = bytes.saturating_add((metadata.blocks() * 512).max(ENTRY_BYTES_MIN));
            entries += 1;
            if bytes >= bound || entries >= ENTRIES_MAX {
                return bytes;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn bounded(memory_bytes: Option<u64>, cpu_us: Option<u64>, disk_bytes: Option<u64>) -> ResourceLimits {
        ResourceLimits { memory_bytes, cpu_us, disk_bytes, ..ResourceLimits::default() }
    }

    #[test]
    fn nothing_is_measured_when_nothing_is_bounded() {
        let counted = ResourceLimits { messages: Some(5), ..bounded(None, Some(ResourceLimits::UNBOUNDED), None) };
        assert!(Meter::new(1, PathBuf::new(), counted).is_none());
    }

    #[test]
    fn the_folder_counts_with_all_below_it_and_not_what_a_link_names() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("below")).unwrap();
        fs::write(place.path().join("below/file"), vec![1; 300_000]).unwrap();
        std::os::unix::fs::symlink("/usr", place.path().join("link")).unwrap();
        let bytes = folder_bytes(place.path(), u64::MAX);
        assert!((300_000..400_000).contains(&bytes), "{bytes}");
        let short = folder_bytes(place.path(), 4_096);
        assert!(short >= 4_096, "{short}");
        for number in 0..64 {
            fs::write(place.path().join(format!("empty-{number}")), "").unwrap();
        }
        assert!(folder_bytes(place.path(), u64::MAX) >= bytes + 64 * ENTRY_BYTES_MIN, "names cost too");
    }

    /// What a family holds and burns is seen, whoever of it does, and is not forgotten when that process is gone.
    #[test]
    fn memory_and_processor_time_of_a_whole_family_are_seen() {
        let program = "
import os, sys
held = bytearray(64 << 20)
for index in range(0, len(held), 4096): held[index] = 1
child = os.fork()
if child == 0:
    while os.times().user < 0.4: pass
    os._exit(0)
os.waitpid(child, 0)
print('burnt', flush=True)
sys.stdin.read()
";
        let mut guard = Command::new("python3");
        guard.args(["-c", program]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = guard.spawn().unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let uses = family(i32::try_from(child.id()).unwrap());
        let held = resident(&uses, 0, u64::MAX);
        assert!((64 << 20..128 << 20).contains(&held), "{held}");
        let mut meter = Meter::new(child.id(), PathBuf::new(), bounded(None, Some(1), None)).unwrap();
        let cpu_us = meter.measure().cpu_us.unwrap();
        assert!((400_000..10_000_000).contains(&cpu_us), "{cpu_us}");
        assert_eq!(meter.measure().memory_bytes, None, "nothing bounds it");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(meter.measure().cpu_us, Some(cpu_us).max(meter.measure().cpu_us), "what was used stays used");
        assert!(meter.measure().cpu_us >= Some(cpu_us));
    }
}
