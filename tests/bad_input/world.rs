//! A user who has nothing but one folder, and what the cases need in it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::table::{Case, fill, words};
use crate::cluster::{BOUND, Node, Said, wait_for, weft};

/// The user's folder, removed at the end.
pub(super) struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The words of a case with what this run has for them.
    pub(super) fn fill(&self, text: &str, more: &[(&str, &str)]) -> String {
        let folder = self.folder().display().to_string();
        let home = self.path("home").display().to_string();
        let node = self.path("alpha").display().to_string();
        let large = "x".repeat(1024 * 1024);
        let grants = ["\"call:echo\""; 65].join(",");
        let deep = format!("{}true{}", r#"{"not":"#.repeat(40), "}".repeat(40));
        let (forty, seventy, title) = ("x".repeat(40_000), "x".repeat(70_000), "x".repeat(60_000));
        let needs = (0..65).map(|number| format!("\"s{number}\"")).collect::<Vec<_>>().join(",");
        let (many, stars) = (["true"; 1_100].join(","), "* ".repeat(200));
        let values = [
            ("folder", &*folder),
            ("home", &*home),
            ("node", &*node),
            ("large", &*large),
            ("grants", &*grants),
            ("deep", &*deep),
            ("forty", &*forty),
            ("seventy", &*seventy),
            ("title", &*title),
            ("needs", &*needs),
            ("many", &*many),
            ("stars", &*stars),
        ];
        fill(&fill(text, more), &values)
    }

    fn run(&self, words: &[String]) -> Said {
        let mut command = weft();
        let is_setting = |word: &&String| {
            word.split_once('=')
                .is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
        };
        let settings = words.iter().take_while(is_setting).count();
        command.env("XDG_DATA_HOME", self.path("data")).env("XDG_CONFIG_HOME", self.path("config"));
        command.env("HOME", self.folder()).env_remove("WEFT_HOME").env_remove("WEFT_NAME");
        command.envs(words.iter().take(settings).filter_map(|word| word.split_once('=')));
        command.args(&words[settings..]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let (_keep, never) = std::sync::mpsc::channel::<()>();
        let end = Instant::now() + BOUND;
        while child.try_wait().expect("a child").is_none() && Instant::now() < end {
            let _pause = never.recv_timeout(Duration::from_millis(2));
        }
        // What was not refused may run for ever.
        let _ended_already = child.kill();
        let output = child.wait_with_output().expect("a child");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A proof of another chain, cut and changed copies of it, exports that are none: what the offline cases name.
    pub(super) fn make_offline_files(&self, node: &Node) {
        let write = |name: &str, text: &str| std::fs::write(self.path(name), text).expect("written");
        wait_booted(node);
        let proof = node.json(&["chain", "prove", "0"]);
        write("proof.json", &proof.to_string());
        let changed = |key: &str, value: Value| {
            let mut changed = proof.clone();
            changed[key] = value;
            changed.to_string()
        };
        write("no-json.json", "{]");
        write("no-fields.json", "{}");
        write("other-format.json", &changed("format", "weft-event-proof-9".into()));
        write("no-base64.json", &changed("proof", "?".into()));
        write("no-cbor.json", &changed("proof", "AAAA".into()));
        let mut tree = node.json(&["tree", "prove", "/agents", "--output", "-"]);
        tree["proof"] = "AAAA".into();
        write("no-tree-proof.json", &tree.to_string());
        tree["format"] = "weft-event-proof-1".into();
        write("no-tree.json", &tree.to_string());
        let bytes = data_encoding::BASE64.decode(proof["proof"].as_str().expect("text").as_bytes()).expect("base64");
        let mut flipped = bytes.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        write("flipped.json", &changed("proof", data_encoding::BASE64.encode(&flipped).into()));
        write("large.json", &"x".repeat(300 * 1024));
        std::fs::create_dir(self.path("empty")).expect("a folder");
        let export = self.path("export");
        node.json(&["chain", "export", export.to_str().expect("text")]);
        for entry in std::fs::read_dir(&export).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let mut bytes = std::fs::read(&entry).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&entry, bytes).expect("written");
        }
        for (name, content) in
            [("no-store", "not a store at all, and long enough to see".repeat(1_000)), ("cut-store", String::new())]
        {
            std::fs::create_dir(self.path(name)).expect("a folder");
            write(&format!("{name}/store.redb"), &content);
        }
        write("scenario-cut.toml", "name = \"x\"\n");
        write("scenario-no-toml.toml", "name = \n");
        let calm = include_str!("../../simulations/scenarios/calm.toml");
        for (name, from, to) in [("nodes", "nodes = 3", "nodes = 1"), ("key", "nodes = 3", "nodes = 3\nmodes = 3")] {
            assert!(calm.contains(from), "the scenario calm changed");
            write(&format!("scenario-{name}.toml"), &calm.replacen(from, to, 1));
        }
    }

    /// Harms the home of alpha in the way of this name, until what is given back is dropped.
    pub(super) fn harm(&self, name: &str) -> Harm {
        use std::os::unix::fs::PermissionsExt as _;
        let home = self.path("alpha");
        let (key, cluster, store) = (home.join("identity.key"), home.join("cluster.cbor"), home.join("store.redb"));
        let mode = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
        };
        let harm = Harm::of(&[&key, &cluster, &store]);
        let flip = |path: &Path| {
            let mut bytes = std::fs::read(path).expect("there");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).expect("ours");
        };
        match name {
            "open keys" => mode(&key, 0o644),
            "cut keys" => std::fs::write(&key, b"weft-identity-1\n").expect("ours"),
            "flipped keys" => flip(&key),
            "no keys" => std::fs::remove_file(&key).expect("there"),
            "cut cluster" => {
                let bytes = std::fs::read(&cluster).expect("there");
                std::fs::write(&cluster, &bytes[..bytes.len() - 1]).expect("ours");
            }
            "cut store" => {
                let bytes = std::fs::read(&store).expect("there");
                std::fs::write(&store, &bytes[..10_000]).expect("ours");
            }
            "failed write" => std::fs::write(home.join("poisoned"), "no space left").expect("ours"),
            "begun join" => {
                std::fs::remove_file(&cluster).expect("there");
                std::fs::write(home.join("joining"), "c0ffee").expect("ours");
            }
            "nothing" => {}
            other => panic!("no harm is called {other}"),
        }
        harm
    }

    /// What the cases of a running node need, and every record of its start.
    pub(super) fn prepare(&self, node: &Node) {
        std::fs::create_dir(self.path("full")).expect("a folder");
        std::fs::write(self.path("full/file"), "here already").expect("written");
        node.json(&["agent", "spawn", "counter"]);
        node.json(&["agent", "spawn", "clock"]);
        node.json(&["agent", "stop", "clock"]);
        node.json(&["services", "register", "words", "--agent", "echo"]);
        std::fs::write(self.path("large"), "x".repeat(400 * 1024)).expect("written");
        wait_booted(node);
    }

    pub(super) fn events(&self, node: &Node) -> u64 {
        node.json(&["chain", "status"])["events"].as_u64().expect("a number")
    }

    /// The kinds of what was recorded since.
    pub(super) fn kinds_from(&self, node: &Node, seq: u64) -> Vec<String> {
        let said = node.weft(&["chain", "log", "--from", &seq.to_string(), "--json"]);
        let rows = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        rows.map(|row| row["kind"].as_str().expect("a kind").to_owned()).collect()
    }
}

fn wait_booted(node: &Node) {
    wait_for("the start is recorded", BOUND, || {
        (!node.weft(&["chain", "log", "--kind", "node.booted"]).stdout.is_empty()).then_some(())
    });
}

/// Files as they were; they are that again when this is dropped.
pub(super) struct Harm {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Harm {
    fn of(paths: &[&Path]) -> Self {
        let files = paths.iter().map(|path| (path.to_path_buf(), std::fs::read(path).expect("there")));
        Self { files: files.collect() }
    }
}

impl Drop for Harm {
    fn drop(&mut self) {
        use std::os::unix::fs::PermissionsExt as _;
        for (path, bytes) in &self.files {
            let folder = path.parent().expect("a folder");
            for made in ["poisoned", "joining"] {
                let _was_not_made = std::fs::remove_file(folder.join(made));
            }
            std::fs::write(path, bytes).expect("ours");
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        }
    }
}

/// Runs the case for a person and with `--json`, and compares everything that is said.
pub(super) fn check_case(world: &World, case: &Case, more: &[(&str, &str)]) -> Result<(), String> {
    let line = world.fill(&case.given, more);
    let message = world.fill(&case.message, more);
    let words = words(&line);
    let said = world.run(&words);
    let json = world.run(&[&words[..], &["--json".to_owned()]].concat());
    let shown: String = case.given.chars().take(200).collect();
    let found = || {
        let told = said.stderr.trim_end().strip_prefix("error: ").unwrap_or(&said.stderr).to_owned();
        let code = serde_json::from_str::<Value>(&json.stdout).unwrap_or_default()["error"]["code"].clone();
        let (folder, home) = (world.folder().display().to_string(), world.path("home").display().to_string());
        let told = told.replace(&home, "{home}").replace(&folder, "{folder}");
        format!("{shown}\n  {} {}\n  {told}", said.code, code.as_str().unwrap_or(&json.stdout))
    };
    if said.code != case.exit || said.stderr != format!("error: {message}\n") || !said.stdout.is_empty() {
        return Err(found());
    }
    let object: Value = serde_json::from_str(&json.stdout).map_err(|_| found())?;
    let error = &object["error"];
    let told = error["message"].as_str().unwrap_or_default().replace('\n', " ");
    let same = json.code == case.exit && json.stderr.is_empty() && error["code"] == case.code.as_str();
    if same && !told.is_empty() && message.starts_with(&told) && error["changed"] == false {
        Ok(())
    } else {
        Err(format!("{}\n  (--json: {} {object})", found(), json.code))
    }
}

/// Whether the node writes it whenever it goes on with its chain.
fn grows(file: &Path) -> bool {
    let of_the_chain = file.file_name().is_some_and(|name| name == "store.redb" || name == "lock");
    of_the_chain || file.extension().is_some_and(|kind| kind == "sign-state")
}

/// Every file below a folder with its bytes; the store of a running node is compared by its chain instead.
pub(super) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if !grows(&entry) {
                found.push((entry.display().to_string(), std::fs::read(&entry).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}
