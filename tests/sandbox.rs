//! Sandboxes of real programs: what each flag takes away and gives, that the rest goes on, and what is refused instead of half kept.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::agents::script;
use crate::cluster::{BOUND, Node, run, wait_for};

/// Does what its message says and answers with what came of it, or with the name of the error.
const TRIES: &str = r#"
import ctypes, errno, glob, json, os, socket, subprocess, sys
from weft_agent import Agent, Refused

libc = ctypes.CDLL(None, use_errno=True)

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return "done"

def read(path):
    with open(path) as file:
        return file.read().strip()

def write(path):
    with open(path, "w") as file:
        file.write("written")
    return "done"

def tcp(port):
    with socket.create_connection(("127.0.0.1", int(port)), 5) as stream:
        stream.sendall(b"tcp")
    return "done"

def udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"udp", ("127.0.0.1", int(port)))
    return "done"

def family(number):
    socket.socket(int(number), socket.SOCK_RAW if int(number) == 16 else socket.SOCK_STREAM).close()
    return "done"

def queue():
    room = ctypes.create_string_buffer(256)
    return checked(libc.syscall(425, 4, room))

def pair():
    one, other = socket.socketpair()
    one.sendall(b"x")
    return {b"x": "done"}[other.recv(1)]

def program(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()

def loader():
    return program((glob.glob("/lib64/ld-linux*.so.*") + glob.glob("/lib/ld-linux*.so.*"))[0], "/bin/sh", "-c", "echo hi")

def become():
    # By an open file, which is the other call that starts a program.
    child = os.fork()
    if child == 0:
        try:
            os.execve(os.open("/bin/true", os.O_RDONLY), ["true"], {})
        except OSError as error:
            os._exit(error.errno)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return checked(0) if status == 0 else errno.errorcode[status]

def trace():
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.ptrace(0, 0, 0, 0) == 0 else ctypes.get_errno())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "done" if status == 0 else errno.errorcode[status]

def door():
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(os.environ["WEFT_API"])
        question = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": {"target": "echo", "payload": {"text": "by the door"}}}
        door.sendall((json.dumps(question) + "\n").encode())
        return json.loads(door.makefile().readline())["result"]["reply"]["text"]

def answer(agent, message):
    what, *words = message["payload"]["text"].split()
    try:
        if what == "node":
            return {"text": agent.call("echo", {"text": "by the pipe"})["reply"]["text"]}
        if what == "spawn":
            request = json.loads(" ".join(words))
            tool = {"tool_call": {"name": "agent.spawn", "args": request}}
            return {"text": str(agent.call("kernel", tool)["reply"])}
        return {"text": globals()[what](*words)}
    except OSError as error:
        return {"text": errno.errorcode[error.errno]}
    except Refused as refused:
        return {"text": f"{refused.code}: {refused}"}

Agent(answer).run()
"#;

struct World {
    folder: tempfile::TempDir,
    alpha: Node,
    command: String,
}

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), TRIES);
    World { folder, alpha, command }
}

impl World {
    fn spawn(&self, agent: &str, words: &[&str]) {
        let begin = ["agent", "spawn", agent, "--exec", &self.command, "--grant", "call:*", "--grant", "spawn:*"];
        self.alpha.json(&[begin.as_slice(), words].concat());
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).expect("a folder").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    fn try_(&self, agent: &str, what: &str) -> String {
        said(&self.alpha, agent, what)
    }
}

fn said(node: &Node, agent: &str, what: &str) -> String {
    node.json(&["call", agent, what])["reply"].as_str().expect("a text").to_owned()
}

/// What each of them answers to each of these.
fn table(world: &World, agents: &[&str], rows: &[(&str, &[&str])]) {
    for (what, expected) in rows {
        let found = agents.iter().map(|agent| world.try_(agent, what)).collect::<Vec<_>>();
        assert_eq!(found, *expected, "{what} by {agents:?}");
    }
}

#[test]
fn a_path_that_is_allowed_is_read_or_written_and_one_that_is_denied_is_not() {
    let mut world = world();
    for folder in ["data/in", "work", "other"] {
        fs::create_dir_all(world.path(folder)).expect("a folder");
        fs::write(world.path(folder).join("file"), "content").expect("written");
    }
    for folder in ["data", "work"] {
        let program = world.path(folder).join("program");
        fs::copy("/bin/true", &program).expect("copied");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let (data, work) = (world.text("data/"), format!("{}:rw", world.text("work")));
    world.spawn("plain", &[]);
    world.spawn("given", &["--allow-path", &data, "--allow-path", &work, "--restart", "permanent"]);
    world.spawn("less", &["--deny-path", "/etc", "--deny-path", "/proc/sys"]);
    let at = |what: &str, path: &str| format!("{what} {}", world.text(path));
    let kept = ["EACCES", "EACCES"];
    let given = |world: &World| {
        table(
            world,
            &["plain", "given"],
            &[
                (&at("read", "data/in/file"), &["EACCES", "content"]),
                (&at("write", "data/in/file"), &kept),
                (&at("write", "data/new"), &kept),
                (&at("write", "work/new"), &["EACCES", "done"]),
                (&at("read", "work/new"), &["EACCES", "written"]),
                (&at("read", "other/file"), &kept),
                (&at("program", "data/program"), &kept),
                (&at("program", "work/program"), &kept),
                ("program /bin/echo hi", &["hi", "hi"]),
            ],
        );
    };
    given(&world);
    assert_eq!(fs::read_to_string(world.path("work/new")).expect("there"), "written");
    assert_eq!(fs::read_to_string(world.path("data/in/file")).expect("there"), "content");
    let host = fs::read_to_string("/etc/hostname").expect("a name").trim().to_owned();
    table(
        &world,
        &["plain", "less"],
        &[
            ("read /etc/hostname", &[&host, "EACCES"]),
            ("read /proc/sys/kernel/ostype", &["Linux", "EACCES"]),
            ("program /bin/echo hi", &["hi", "hi"]),
            ("node", &["by the pipe", "by the pipe"]),
        ],
    );

    let sandbox = json!({
        "allowed_paths": [format!("{}:ro", world.text("data")), work],
        "denied_paths": [], "allow_network": true, "allow_shell": true,
    });
    assert_eq!(world.alpha.json(&["agent", "inspect", "given"])["sandbox"], sandbox);
    assert_eq!(world.alpha.json(&["agent", "inspect", "plain"])["sandbox"], Value::Null);
    let shown = world.alpha.weft(&["agent", "inspect", "less"]).stdout;
    assert!(shown.contains("deny /etc, deny /proc/sys"), "{shown}");
    let recorded = |node: &Node| {
        let log = node.weft(&["chain", "log", "--kind", "effect.intent", "--json"]).stdout;
        let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let of_given = |event: &Value| event["detail"]["spawn"]["agent"] == "given";
        events.filter(of_given).map(|event| event["detail"]["spawn"]["sandbox"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(recorded(&world.alpha), std::slice::from_ref(&sandbox));

    world.alpha.kill();
    world.alpha.restart();
    let alpha = &world.alpha;
    let running = || (alpha.json(&["agent", "inspect", "given"])["state"] == "running").then_some(());
    wait_for("it runs again", BOUND, running);
    fs::remove_file(world.path("work/new")).expect("there");
    world.spawn("plain", &[]);
    let at = |what: &str, path: &str| format!("{what} {}", world.text(path));
    table(
        &world,
        &["plain", "given"],
        &[
            (&at("read", "data/in/file"), &["EACCES", "content"]),
            (&at("write", "data/in/file"), &kept),
            (&at("write", "work/new"), &["EACCES", "done"]),
        ],
    );
    assert_eq!(recorded(&world.alpha), [sandbox.clone(), sandbox]);
    assert_eq!(world.alpha.json(&["chain", "verify"])["ok"], true);
    assert!(world.alpha.down().success());
    let offline = run(&["chain", "verify", "--offline", world.alpha.home.to_str().expect("text"), "--json"]);
    assert_eq!(offline.json()["ok"], true, "{offline:?}");
}

#[test]
fn without_the_network_nothing_leaves_the_machine_and_the_node_is_still_heard() {
    let world = world();
    let stream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    datagrams.set_read_timeout(Some(BOUND)).expect("a bound");
    world.spawn("open", &[]);
    world.spawn("apart", &["--no-network"]);
    let (tcp, udp) = (stream.local_addr().expect("one").port(), datagrams.local_addr().expect("one").port());
    // 16 is netlink, 17 packets, 40 the sockets of virtual machines.
    table(
        &world,
        &["open", "apart"],
        &[
            (&format!("tcp {tcp}"), &["done", "EACCES"]),
            (&format!("udp {udp}"), &["done", "EACCES"]),
            ("family 10", &["done", "EACCES"]),
            ("family 16", &["done", "EACCES"]),
            ("pair", &["done", "done"]),
            ("node", &["by the pipe", "by the pipe"]),
            ("door", &["by the door", "by the door"]),
            ("program /bin/echo hi", &["hi", "hi"]),
        ],
    );
    assert_ne!(world.try_("open", "queue"), "EACCES", "whether there are such queues at all is the machine's setting");
    assert_eq!(world.try_("apart", "queue"), "EACCES");
    let mut heard = String::new();
    stream.accept().expect("the one of `open`").0.read_to_string(&mut heard).expect("text");
    let mut datagram = [0; 8];
    let size = datagrams.recv(&mut datagram).expect("the one of `open`");
    assert_eq!((heard.as_str(), &datagram[..size]), ("tcp", b"udp".as_slice()));
    stream.set_nonblocking(true).expect("asked");
    assert!(stream.accept().is_err(), "and no other");
}

#[test]
fn without_a_shell_nothing_is_started_by_any_road_and_the_agent_answers() {
    let world = world();
    world.spawn("open", &[]);
    world.spawn("single", &["--no-shell"]);
    table(
        &world,
        &["open", "single"],
        &[
            ("program /bin/sh -c echo", &["", "ENOSYS"]),
            ("program /bin/echo hi", &["hi", "ENOSYS"]),
            ("loader", &["hi", "ENOSYS"]),
            ("become", &["done", "ENOSYS"]),
            ("trace", &["done", "EACCES"]),
            ("node", &["by the pipe", "by the pipe"]),
            ("door", &["by the door", "by the door"]),
            ("pair", &["done", "done"]),
        ],
    );
    let by_env = world.path("code/by-env");
    fs::write(&by_env, format!("#!/usr/bin/env python3\n{TRIES}")).expect("written");
    fs::set_permissions(&by_env, fs::Permissions::from_mode(0o755)).expect("executable");
    world.alpha.json(&["agent", "spawn", "by-env", "--no-shell", "--exec", by_env.to_str().expect("text")]);
    assert_eq!(world.try_("by-env", "program /bin/echo hi"), "ENOSYS");
    let pid = world.alpha.json(&["agent", "inspect", "single"])["pid"].as_u64().expect("its own");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    assert!(status.contains("TracerPid:\t0"), "the guard has left it: {status}");
    assert_eq!(world.alpha.json(&["agent", "stop", "single"])["reason"], "stopped");
}

/// The code, the exit code and the message of a spawn that is refused.
fn refused(world: &World, command: &str, words: &[&str]) -> (String, i32, String) {
    let begin = ["agent", "spawn", "refused", "--json", "--restart", "permanent", "--exec", command];
    let said = world.alpha.weft(&[begin.as_slice(), words].concat());
    assert_ne!(said.code, 0, "{said:?}");
    let error = &said.json()["error"];
    let text = |name: &str| error[name].as_str().expect("a text").to_owned();
    assert_eq!(error["changed"], false, "{said:?}");
    (text("code"), said.code, text("message"))
}

#[test]
fn what_cannot_be_enforced_is_refused_with_the_paths_and_does_not_run() {
    let world = world();
    fs::create_dir_all(world.path("data")).expect("a folder");
    symlink(world.path("data"), world.path("link")).expect("a link");
    let by_shell = world.path("code/by-shell");
    fs::write(&by_shell, "#!/bin/sh\nexec python3 agent.py\n").expect("written");
    fs::set_permissions(&by_shell, fs::Permissions::from_mode(0o755)).expect("executable");
    let by_shell = by_shell.to_str().expect("text");
    let home = fs::canonicalize(&world.alpha.home).expect("a home");
    let home = home.to_str().expect("text");
    let (agents, place, link, data) =
        (format!("{home}/agents"), world.text(""), world.text("link"), world.text("data"));
    let place = place.trim_end_matches('/');
    let python = fs::canonicalize("/usr/bin/python3").expect("python3");
    let command = world.command.as_str();
    let cases: [(&str, &[&str], String); 9] = [
        (
            command,
            &["--allow-path", home],
            format!("{home} cannot be allowed, because it holds this node's home, {home}"),
        ),
        (
            command,
            &["--allow-path", place],
            format!("{place} cannot be allowed, because it holds this node's home, {home}"),
        ),
        (
            command,
            &["--allow-path", &agents],
            format!("{agents} cannot be allowed, because it lies in the home of a node"),
        ),
        (command, &["--allow-path", &link], format!("{link} cannot be allowed, because it leads to {data}: name that")),
        (
            command,
            &["--deny-path", "/usr/local"],
            "/usr/local cannot be denied, because /usr above it is allowed as a whole".to_owned(),
        ),
        (
            command,
            &["--deny-path", "/usr"],
            format!("/usr cannot be denied, because the program {} lies in it", python.display()),
        ),
        (
            command,
            &["--deny-path", home],
            format!("{home} cannot be denied, because the agent's own {home}/agents/refused lies in it"),
        ),
        ("/bin/sh -c true", &["--no-shell"], "the agent would run in /bin/sh, which is a shell".to_owned()),
        (by_shell, &["--no-shell"], "the agent would run in /bin/sh, which is a shell".to_owned()),
    ];
    let count = cases.len();
    for (command, words, reason) in cases {
        let expected = ("unenforceable".to_owned(), 7, format!("this sandbox cannot be enforced: {reason}"));
        assert_eq!(refused(&world, command, words), expected);
    }
    let ended = world.alpha.weft(&["chain", "log", "--kind", "process.exited", "--json"]).stdout;
    assert_eq!(ended.matches("its sandbox cannot be enforced").count(), count, "each is on the chain, once: {ended}");
    let state = world.alpha.json(&["agent", "inspect", "refused"]);
    assert_eq!(state["state"], "exited", "it is not tried again: {state}");
}

#[test]
fn what_an_agent_spawns_is_kept_as_it_is_kept_itself() {
    let world = world();
    fs::create_dir_all(world.path("data")).expect("a folder");
    fs::write(world.path("data/file"), "content").expect("written");
    fs::write(world.path("secret"), "secret").expect("written");
    let data = world.text("data");
    world.spawn("parent", &["--no-network", "--allow-path", &format!("{data}:rw")]);
    let words = world.command.split(' ').collect::<Vec<_>>();
    let spawn = |agent: &str, exec: &[&str], sandbox: &Value| {
        let mut request = json!({"agent": agent, "exec": exec, "grants": ["call:*"]});
        if !sandbox.is_null() {
            request["sandbox"] = sandbox.clone();
        }
        world.try_("parent", &format!("spawn {request}"))
    };
    let wider = spawn("child", &words, &json!({"allow_network": true}));
    assert!(wider.starts_with("wider: a sandbox with the network is wider"), "{wider}");
    let secret = world.text("secret");
    let told = spawn("child", &[words[0], words[1], &secret], &Value::Null);
    assert!(told.starts_with(&format!("wider: a sandbox with {secret} is wider")), "{told}");
    let denied = world.alpha.weft(&["chain", "log", "--kind", "gate.denied", "--json"]).stdout;
    assert_eq!(denied.matches("\"action\":\"widen-sandbox\"").count(), 2, "{denied}");

    // A link that the parent may make leads nowhere for its child.
    symlink(world.path("code/agent.py"), world.path("data/link")).expect("a link");
    fs::create_dir(world.path("far")).expect("a folder");
    fs::write(world.path("far/near"), "far").expect("written");
    symlink(world.path("far/near"), world.path("data/far")).expect("a link");
    let told = spawn("child", &[words[0], words[1], &format!("{data}/far")], &Value::Null);
    assert!(told.contains("running"), "{told}");
    let inherited = world.alpha.json(&["agent", "inspect", "child"])["sandbox"].clone();
    assert_eq!(inherited, world.alpha.json(&["agent", "inspect", "parent"])["sandbox"]);
    table(
        &world,
        &["parent", "child"],
        &[
            ("family 2", &["EACCES", "EACCES"]),
            (&format!("read {data}/file"), &["content", "content"]),
            (&format!("read {}", world.text("far/near")), &["EACCES", "EACCES"]),
            (&format!("read {secret}"), &["EACCES", "EACCES"]),
            ("node", &["by the pipe", "by the pipe"]),
        ],
    );
}

#[test]
fn on_another_node_that_node_enforces_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = crate::remote::two(folder.path());
    let command = script(folder.path(), TRIES);
    let spawn = |agent: &str, words: &[&str]| {
        let begin = ["agent", "spawn", agent, "--json", "--on", "beta", "--exec", &command, "--grant", "call:*"];
        alpha.weft(&[begin.as_slice(), words].concat())
    };
    assert_eq!(spawn("w", &["--no-network", "--no-shell", "--deny-path", "/etc"]).code, 0);
    let of_beta = |what: &str| said(&beta, "w", what);
    assert_eq!(
        [of_beta("family 2"), of_beta("program /bin/echo hi"), of_beta("read /etc/hostname"), of_beta("node")],
        ["EACCES", "ENOSYS", "EACCES", "by the pipe"]
    );
    let home = fs::canonicalize(&beta.home).expect("a home");
    let told = spawn("x", &["--allow-path", home.to_str().expect("text")]);
    assert_eq!(told.json_error(), ("unenforceable".to_owned(), 7), "{told:?}");
    let shown = alpha.json(&["agent", "inspect", "w@beta"])["sandbox"].clone();
    assert_eq!(shown["denied_paths"], json!(["/etc"]));
    let relative = spawn("x", &["--deny-path", Path::new("etc").to_str().expect("text")]);
    assert_eq!(relative.json_error(), ("invalid".to_owned(), 7), "{relative:?}");
}
