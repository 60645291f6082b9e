//! Which processes of this machine belong to an agent, read from /proc, and how all of them are ended.
//!
//! The guard of an agent leads its process group and adopts every orphan below it, so whatever an agent starts, and however
//! it detaches, descends from the guard or is in its group.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

/// Longest line of ancestors that is followed; real ones are short (guess).
const ANCESTORS_MAX: usize = 1_024;

/// One line of /proc.
#[derive(Debug, Clone, Copy)]
struct Stat {
    pid: i32,
    parent: i32,
    group: i32,
    ended: bool,
    stopped: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &text)
}

/// What one process of a family uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) pid: i32,
    /// When it started, in ticks since the machine did: with the number it names one process for ever.
    pub(crate) start: u64,
    /// Processor time of its own, in ticks.
    pub(crate) own_ticks: u64,
    /// Processor time of its children that ended and were waited for, in ticks.
    pub(crate) waited_ticks: u64,
    pub(crate) resident_pages: u64,
}

/// What this guard and everyone below it use. Everyone is below it: it adopts orphans, whatever group they are in.
pub(crate) fn family(guard: i32) -> Vec<Use> {
    let mut found = Vec::new();
    let mut open = vec![guard];
    while let Some(pid) = open.pop() {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        found.extend(parse_use(pid, &text));
        open.extend(children(pid));
    }
    found
}

/// The children of all threads of a process. Where this kernel does not list them, of /proc as a whole.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("children")));
    let mut children = Vec::new();
    for list in lists {
        match list {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !lists_children() => {
                return everyone().into_iter().filter(|one| one.parent == pid).map(|one| one.pid).collect();
            }
            // The thread has ended.
            Err(_) => {}
        }
    }
    children
}

fn lists_children() -> bool {
    std::path::Path::new("/proc/thread-self/children").exists()
}

/// See proc_pid_stat(5): times are its fields 14 to 17, the start 22, the pages 24; the state, field 3, is the first here.
fn parse_use(pid: i32, text: &str) -> Option<Use> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // Children's times are signed in the manual, and never negative.
    Some(Use {
        pid,
        start: number(22)?,
        own_ticks: number(14)? + number(15)?,
        waited_ticks: number(16)? + number(17)?,
        resident_pages: number(24)?,
    })
}

/// The name in parentheses can hold anything, so fields are counted from the last one.
fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let (ended, stopped) = (matches!(state, "Z" | "X" | "x"), matches!(state, "T" | "t"));
    Some(Stat { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()?, ended, stopped })
}

fn everyone() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(stat).collect()
}

/// All that belong to this guard, without itself: those that run and those that ended and were not waited for.
fn members(guard: i32) -> Vec<Stat> {
    let everyone = everyone();
    let mut family = BTreeSet::from([guard]);
    // Children can stand before their parents, so this repeats until nobody is added.
    loop {
        let before = family.len();
        for one in &everyone {
            if family.contains(&one.parent) || one.group == guard {
                family.insert(one.pid);
            }
        }
        if family.len() == before {
            break;
        }
    }
    everyone.into_iter().filter(|one| one.pid != guard && family.contains(&one.pid)).collect()
}

/// Kills everyone of this guard's family who still runs, but not the guard, and says how many were left.
/// What starts meanwhile is met by the next call: repeat until it is zero.
pub(crate) fn kill_members(guard: u32) -> usize {
    let Ok(guard) = i32::try_from(guard) else { return 0 };
    let running: Vec<_> = members(guard).into_iter().filter(|one| !one.ended).collect();
    for pid in running.iter().filter_map(|one| Pid::from_raw(one.pid)) {
        let _ended_meanwhile = kill_process(pid, Signal::KILL);
    }
    running.len()
}

/// Lets everyone of this guard's family stand still, but not the guard, and says how many did not yet: repeat until it is
/// zero.
pub(crate) fn stop_members(guard: u32) -> usize {
    let Ok(guard) = i32::try_from(guard) else { return 0 };
    let running = members(guard).into_iter().filter(|one| !one.ended && !one.stopped && !will_stop(one.pid));
    let running: Vec<_> = running.collect();
    for pid in running.iter().filter_map(|one| Pid::from_raw(one.pid)) {
        let _ended_meanwhile = kill_process(pid, Signal::STOP);
    }
    running.len()
}

/// Whether a process waits inside the operating system and stops before it runs another instruction of its own: so does
/// the parent of a `vfork` whose child was stopped before it became another program, for as long as the child stands still.
fn will_stop(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| parse_will_stop(&status))
}

/// See proc_pid_status(5): the state, and the signals that wait for the whole process, a bit each from SIGHUP on.
fn parse_will_stop(status: &str) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let waits =
        |name| u64::from_str_radix(field(name), 16).is_ok_and(|set| set >> (Signal::STOP.as_raw() - 1) & 1 == 1);
    field("State:").starts_with('D') && (waits("ShdPnd:") || waits("SigPnd:"))
}

/// Lets everyone of this guard's family go on.
pub(crate) fn continue_members(guard: u32) {
    let Ok(guard) = i32::try_from(guard) else { return };
    for pid in members(guard).into_iter().filter_map(|one| Pid::from_raw(one.pid)) {
        let _ended_meanwhile = kill_process(pid, Signal::CONT);
    }
}

/// The children of this guard that ended and that nobody waited for.
pub(crate) fn ended_children(guard: u32) -> Vec<Pid> {
    let Ok(guard) = i32::try_from(guard) else { return Vec::new() };
    let ended = everyone().into_iter().filter(|one| one.parent == guard && one.ended);
    ended.filter_map(|one| Pid::from_raw(one.pid)).collect()
}

/// The guards of all running agents; a clone sees the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentProcesses(Arc<Mutex<BTreeSet<i32>>>);

impl AgentProcesses {
    /// Whether the process is an agent, or was started by one. Also true when that cannot be told, as for a process that
    /// has ended: whoever passes its connection on and exits must gain nothing.
    pub(crate) fn is_agent_pid(&self, pid: u32) -> bool {
        let guards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        descends(pid, |one| guards.contains(&one))
    }

    pub(crate) fn insert(&self, guard: u32) {
        let guard = i32::try_from(guard).unwrap_or(i32::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(guard);
    }

    /// Kills every family and its guard: for what is left when nothing else is possible any more.
    pub(crate) fn kill_all(&self) {
        let guards = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for guard in guards {
            u32::try_from(guard).map(kill_members).unwrap_or_default();
            if let Some(guard) = Pid::from_raw(guard) {
                let _ended_meanwhile = kill_process(guard, Signal::KILL);
            }
        }
    }

    pub(crate) fn remove(&self, guard: u32) {
        let guard = i32::try_from(guard).unwrap_or(i32::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&guard);
    }
}

/// Whether the process certainly belongs to this guard's family.
pub(crate) fn is_member(pid: u32, guard: u32) -> bool {
    let runs = i32::try_from(pid).ok().and_then(stat).is_some_and(|stat| !stat.ended);
    runs && descends(pid, |one| u32::try_from(one) == Ok(guard))
}

fn descends(pid: u32, is_guard: impl Fn(i32) -> bool) -> bool {
    let Ok(mut pid) = i32::try_from(pid) else { return true };
    for _ in 0..ANCESTORS_MAX {
        if is_guard(pid) {
            return true;
        }
        // Whoever has ended may have lost its parents before.
        let Some(stat) = stat(pid).filter(|stat| !stat.ended) else { return true };
        if is_guard(stat.group) {
            return true;
        }
        if stat.parent == 0 {
            return false;
        }
        pid = stat.parent;
    }
    true
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let stat = parse_stat(7, "7 (a) R 1 1 (b) S 3 5 5 0 -1").unwrap();
        assert_eq!((stat.parent, stat.group, stat.ended), (3, 5, false));
        assert!(parse_stat(7, "7 (a) Z 3 5 5").unwrap().ended);
        assert!(parse_stat(7, "nonsense").is_none());
        let line = "7 (a) R 1) S 3 5 5 0 -1 4 0 0 0 0 11 12 13 14 20 0 1 0 99 4096 77 18446744073709551615";
        let used = Use { pid: 7, start: 99, own_ticks: 23, waited_ticks: 27, resident_pages: 77 };
        assert_eq!(parse_use(7, line), Some(used));
        assert_eq!(parse_use(7, "7 (a) S 3 5"), None);
    }

    #[test]
    fn a_process_stands_still_inside_the_system_when_its_stop_waits() {
        let status = |state, set| format!("Name:\ta\nState:\t{state}\nSigPnd:\t0000\nShdPnd:\t{set}\n");
        assert!(parse_will_stop(&status("D (disk sleep)", "0000000000040000")));
        assert!(!parse_will_stop(&status("D (disk sleep)", "0000000000020000")), "another signal waits");
        assert!(!parse_will_stop(&status("R (running)", "0000000000040000")), "it runs until it hears of it");
    }

    #[test]
    fn whoever_waits_for_a_child_that_was_stopped_before_it_was_another_program_stands_still() {
        // A pipe that nobody writes to holds the child up before it becomes `cat`.
        let script = "import os; os.mkfifo('never')\n\
            os.posix_spawnp('cat', ['cat'], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, 'never', os.O_RDONLY, 0)])";
        let folder = tempfile::tempdir().unwrap();
        let mut guard = Command::new("/bin/sh")
            .args(["-c", "python3 -c \"$0\" & read never", script])
            .current_dir(&folder)
            .process_group(0)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let waits = || members(i32::try_from(guard.id()).unwrap()).iter().any(|one| state(one.pid).starts_with('D'));
        let begin = tokio::time::Instant::now();
        while !waits() {
            assert!(begin.elapsed().as_secs() < 20, "its parent never waited inside the system");
            std::thread::yield_now();
        }
        assert!((0..1_000).any(|_| stop_members(guard.id()) == 0), "{:?}", members(i32::try_from(guard.id()).unwrap()));
        while kill_members(guard.id()) > 0 {}
        guard.kill().unwrap();
        guard.wait().unwrap();
    }

    fn state(pid: i32) -> String {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default().trim().to_owned()
    }

    #[test]
    fn children_and_group_members_are_told_from_strangers() {
        let mut guard = Command::new("/bin/sh");
        // The grandchild leaves the group; it is found by its ancestors all the same.
        guard
            .args(["-c", "setsid /bin/sh -c 'echo $$; exec tail -f /dev/null >/dev/null' & read never"])
            .process_group(0);
        guard.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut guard = guard.spawn().unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(guard.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let grandchild: u32 = line.trim().parse().unwrap();

        let agents = AgentProcesses::default();
        assert!(!agents.is_agent_pid(grandchild));
        agents.insert(guard.id());
        assert!(agents.is_agent_pid(guard.id()));
        assert!(agents.is_agent_pid(grandchild));
        assert!(is_member(grandchild, guard.id()));
        let found = family(i32::try_from(guard.id()).unwrap()).iter().map(|one| one.pid).collect::<BTreeSet<_>>();
        assert!(found.contains(&i32::try_from(guard.id()).unwrap()), "{found:?}");
        assert!(!found.contains(&1) && !found.contains(&i32::try_from(std::process::id()).unwrap()), "{found:?}");
        assert!(!agents.is_agent_pid(std::process::id()));
        assert!(!is_member(std::process::id(), guard.id()));
        assert!(!agents.is_agent_pid(1));

        while kill_members(guard.id()) > 0 {}
        guard.kill().unwrap();
        guard.wait().unwrap();
        assert!(agents.is_agent_pid(grandchild), "a process that has ended cannot be told from an agent's");
        assert!(!is_member(grandchild, guard.id()), "nor does it belong for certain");
        agents.remove(guard.id());
    }
}
