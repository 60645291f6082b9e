//! A cluster of real nodes in a terminal: faults strike where they are put, ordinary commands work, and nothing is left at the end.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::cluster::{BOUND, Said, run_command, signal, wait_for, weft};

/// An agent that says that it is there, and ends for nobody who only asks.
const AGENT: &str = "import json, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get('method') == 'initialize':
        print(json.dumps({'jsonrpc': '2.0', 'id': asked['id'], 'result': {}}), flush=True)
while True:
    signal.pause()
";

/// A simulation, in a folder of its own. Dropping it kills what runs.
struct Sim {
    folder: tempfile::TempDir,
    parent: Option<Child>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some(mut parent) = self.parent.take() {
            let _ended_already = parent.kill();
            let _ended = parent.wait();
        }
        let _none_runs = self.weft(&["sim", "down"]);
    }
}

impl Sim {
    /// None runs yet.
    fn nowhere() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), parent: None }
    }

    /// So many nodes, in the foreground, once all serve.
    fn up(nodes: &str) -> Self {
        let mut sim = Self::nowhere();
        let mut parent = sim.command(&["sim", "up", nodes, "--json"]);
        let mut parent = parent.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(parent.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let up: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(up["pid"], parent.id(), "{up}");
        let _reader = std::thread::spawn(move || {
            let mut rest = String::new();
            let _cut_off = stdout.read_to_string(&mut rest);
        });
        sim.parent = Some(parent);
        sim
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = weft();
        command.args(words).env("XDG_DATA_HOME", self.folder.path());
        command
    }

    fn weft(&self, words: &[&str]) -> Said {
        run_command(&mut self.command(words))
    }

    /// What a command says as JSON; it must succeed.
    fn json(&self, words: &[&str]) -> Value {
        let said = self.weft(&[words, &["--json"]].concat());
        assert_eq!(said.code, 0, "weft {words:?}: {said:?}");
        said.json()
    }

    fn converge(&self) {
        let report = self.json(&["sim", "wait", "converged", "--timeout", "30s"]);
        assert_eq!(report["converged"], true, "{report}");
    }

    /// What one node says of another.
    fn row(&self, of: &str, at: &str) -> Value {
        let report = self.json(&["members", "--node", at]);
        let rows = report["members"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == of).unwrap_or_else(|| panic!("{at} knows no {of}: {report}"))
    }

    /// Whether an agent of that node answers another node's.
    fn calls(&self, to: &str, from: &str) -> bool {
        let target = format!("echo@{to}");
        let said = self.weft(&["call", &target, "hi", "--node", from, "--deadline", "2s", "--json"]);
        said.code == 0 && said.json()["reply"] == "hi"
    }

    /// The fault of that kind that is in force, and how often it struck.
    fn fault(&self, kind: &str) -> Option<Value> {
        let report = self.json(&["sim", "fault", "ls"]);
        let rows = report["faults"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["fault"] == kind)
    }

    fn home(&self, node: &str) -> PathBuf {
        self.folder.path().join("weft").join(node)
    }

    /// Processes whose command line or environment names the folder, and files in it.
    fn left(&self) -> (BTreeSet<String>, Vec<PathBuf>) {
        (processes_naming(self.folder.path()), entries(self.folder.path()))
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Read from /proc, where the environment of a process is as well: agents of a node do not name its folder on their command line.
fn processes_naming(folder: &Path) -> BTreeSet<String> {
    let name = folder.to_str().expect("text").as_bytes();
    let names =
        |path: PathBuf| std::fs::read(path).is_ok_and(|text| text.windows(name.len()).any(|window| window == name));
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    let found = pids
        .filter(|pid| *pid != own)
        .filter(|pid| ["cmdline", "environ"].iter().any(|file| names(PathBuf::from(format!("/proc/{pid}/{file}")))));
    found.map(|pid| pid.to_string()).collect()
}

#[test]
fn faults_strike_where_they_are_put_and_end() {
    let sim = Sim::up("4");
    sim.converge();
    assert!(sim.calls("n4", "n1"), "ordinary commands work");

    // Nobody gets around the partition: neither at another address nor through another member.
    let report = sim.json(&["sim", "fault", "partition", "n1,n2", "/", "n3,n4"]);
    assert_eq!(report["in_force"][0]["nodes"], "n1,n2 / n3,n4", "{report}");
    let dead = |of: &str, at: &str| (sim.row(of, at)["state"] == "dead").then_some(());
    wait_for("n1 misses n3", BOUND, || dead("n3", "n1"));
    wait_for("n4 misses n2", BOUND, || dead("n2", "n4"));
    for (to, from) in [("n3", "n1"), ("n1", "n3"), ("n4", "n2")] {
        assert!(!sim.calls(to, from), "{from} reaches {to} across the partition");
        let no_way = || (sim.row(to, from)["path"] == "none").then_some(());
        wait_for(&format!("{from} has no way to {to}"), BOUND, no_way);
    }
    assert!(sim.calls("n2", "n1") && sim.calls("n3", "n4"), "within a group everything passes");
    let said = sim.weft(&["sim", "wait", "converged", "--timeout", "1s", "--json"]);
    assert_eq!(said.json_error(), ("deadline".to_owned(), 5), "{said:?}");
    assert!(said.stdout.contains("n1 holds n3 for dead"), "{said:?}");
    let struck = sim.fault("partition").expect("in force");
    assert!(struck["counts"]["dropped"].as_u64() > Some(0), "it never struck: {struck}");
    let report = sim.json(&["sim", "fault", "heal"]);
    assert!(report["ended"][0]["counts"]["dropped"].as_u64() > Some(0), "{report}");
    assert_eq!(report["in_force"], json!([]), "{report}");
    sim.converge();
    assert!(sim.calls("n3", "n1"), "everything passes again");

    sim.json(&["sim", "fault", "kill", "n4"]);
    wait_for("n1 misses n4", BOUND, || dead("n4", "n1"));
    let said = sim.weft(&["sim", "fault", "pause", "n4", "--json"]);
    assert_eq!(said.json_error(), ("conflict".to_owned(), 1), "{said:?}");
    sim.converge();
    sim.json(&["sim", "fault", "start", "n4"]);
    sim.converge();
    assert!(sim.calls("n4", "n2"), "it is back, in the same home");

    sim.json(&["sim", "fault", "pause", "n2"]);
    assert_eq!(sim.fault("paused").map(|row| row["nodes"].clone()), Some(json!("n2")));
    assert!(!sim.calls("n2", "n1"), "a stopped process answers nobody");
    sim.json(&["sim", "fault", "resume", "n2"]);
    sim.converge();
    assert!(sim.calls("n2", "n1"), "it goes on");

    sim.json(&["sim", "fault", "slow", "n2", "100ms", "1%"]);
    let call = sim.json(&["call", "echo@n2", "hi", "--node", "n1", "--deadline", "20s"]);
    assert!(call["latency_us"].as_u64() >= Some(200_000), "there and back is twice 100 ms: {call}");
    let struck = sim.fault("slow").expect("in force");
    assert!(struck["counts"]["delayed"].as_u64() > Some(0), "it never struck: {struck}");
    sim.json(&["sim", "fault", "heal"]);

    sim.json(&["sim", "fault", "skew", "n3", "+30s"]);
    assert_eq!(sim.json(&["status", "--node", "n3"])["clock_offset_ms"], 30_000);
    assert_eq!(sim.fault("skewed").map(|row| row["nodes"].clone()), Some(json!("n3")));
    sim.converge();
    let ahead = || (sim.row("n3", "n1")["ahead_us"].as_u64() > Some(20_000_000)).then_some(());
    let _something_new = sim.weft(&["send", "echo@n3", "hi", "--node", "n3"]);
    wait_for("n1 sees that the clock of n3 is ahead", BOUND, ahead);
}

#[test]
fn an_interrupt_leaves_nothing_and_neither_does_down() {
    for ends_by in ["INT", "TERM", "down"] {
        let mut sim = Sim::up("2");
        let script = sim.folder.path().join("agent.py");
        std::fs::write(&script, AGENT).expect("a script");
        let exec = format!("python3 {}", script.display());
        sim.json(&["--node", "n2", "agent", "spawn", "idle", "--exec", &exec]);
        assert_ne!(processes_naming(&script), BTreeSet::new(), "the agent's process runs");
        sim.json(&["sim", "fault", "pause", "n1"]);
        std::fs::remove_file(&script).expect("ours");
        let mut parent = sim.parent.take().expect("it runs");
        match ends_by {
            "down" => assert_eq!(sim.weft(&["sim", "down"]).code, 0),
            name => signal(parent.id(), name),
        }
        let ended = wait_for("its end", BOUND, || parent.try_wait().expect("a child"));
        assert!(ended.success(), "{ends_by}: {ended}");
        assert_eq!(sim.left(), (BTreeSet::new(), Vec::new()), "left after {ends_by}");
    }
}

#[test]
fn what_is_still_starting_ends_when_it_is_asked_to_and_leaves_nothing() {
    let mut sim = Sim::nowhere();
    let mut parent = sim.command(&["sim", "up", "24", "--json"]);
    let parent = parent.stdout(Stdio::piped()).spawn().expect("it starts");
    let parent = sim.parent.insert(parent);
    let mut stdout = parent.stdout.take().expect("piped");
    wait_for("it hears", BOUND, || sim.folder.path().join("weft/.sim/control.sock").exists().then_some(()));
    let said = sim.weft(&["sim", "fault", "ls", "--json"]);
    assert_eq!(said.json_error().0, "busy", "{said:?}");
    assert_eq!(sim.weft(&["sim", "down"]).code, 0);
    let parent = sim.parent.as_mut().expect("it ran");
    let ended = wait_for("its end", BOUND, || parent.try_wait().expect("a child"));
    assert!(ended.success(), "{ended}");
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("text");
    assert_eq!(said, "", "it never served");
    assert_eq!(sim.left(), (BTreeSet::new(), Vec::new()));
}

#[test]
fn when_it_is_killed_its_nodes_end_and_the_next_start_removes_what_is_left() {
    let sim = Sim::nowhere();
    let up = sim.json(&["sim", "up", "2", "--detach"]);
    let again = sim.weft(&["sim", "up", "2", "--json"]);
    assert_eq!(again.json_error(), ("locked".to_owned(), 1), "one at a time: {again:?}");
    let before = sim.json(&["status", "--node", "n1"])["node"].clone();
    sim.json(&["sim", "fault", "pause", "n2"]);
    signal(u32::try_from(up["pid"].as_u64().expect("a pid")).expect("a pid"), "KILL");
    wait_for("all processes end", BOUND, || processes_naming(sim.folder.path()).is_empty().then_some(()));
    assert!(sim.home("n1").join("store.redb").exists(), "nobody was left to remove it");
    let said = sim.weft(&["sim", "fault", "heal", "--json"]);
    assert_eq!(said.json_error(), ("not-running".to_owned(), 6), "{said:?}");

    sim.json(&["sim", "up", "2", "--detach"]);
    assert_ne!(sim.json(&["status", "--node", "n1"])["node"], before, "a new home");
    sim.converge();
    assert_eq!(sim.weft(&["sim", "down"]).code, 0);
    wait_for("all processes end", BOUND, || processes_naming(sim.folder.path()).is_empty().then_some(()));
    assert_eq!(sim.left(), (BTreeSet::new(), Vec::new()));
}

#[test]
fn a_node_of_the_users_own_is_left_alone() {
    let sim = Sim::nowhere();
    let home = sim.home("n2");
    std::fs::create_dir_all(&home).expect("a folder");
    std::fs::write(home.join("cluster.cbor"), b"mine").expect("a file");
    // In the background first: should it start after all, that returns.
    for words in [["sim", "up", "3", "--json", "--detach"].as_slice(), &["sim", "up", "3", "--json"]] {
        let said = sim.weft(words);
        assert_eq!(said.json_error(), ("conflict".to_owned(), 1), "{said:?}");
        assert!(said.stdout.contains("n2 is a node of your own"), "{said:?}");
    }
    assert_eq!(std::fs::read(home.join("cluster.cbor")).expect("still there"), b"mine");
    assert_eq!(entries(&sim.folder.path().join("weft")), [home], "nothing else was made");
}
