//! Sources in their order, and what each refuses.

use std::path::Path;

use super::sources::{environment, parse};
use super::{Config, ConfigError, Flags, KEYS, Key, LogFormat, Origin, merge};

fn file(text: &str) -> Result<Config, ConfigError> {
    merge(&parse(Path::new("c.toml"), text)?)
}

#[test]
fn later_sources_win_key_by_key() {
    let user = parse(Path::new("user.toml"), "name = \"alpha\"\nlog = \"debug\"\n[kernel]\ngrace = \"3s\"\n");
    let node = parse(Path::new("node.toml"), "listen = [\"/ip4/127.0.0.1/tcp/1\"]\nkernel.grace = \"4s\"\n");
    let variables = environment([("WEFT_LOG".to_owned(), "warn".to_owned())]);
    let mut flags = Flags::default();
    flags.add("--listen", "listen", "/ip4/127.0.0.1/tcp/2");
    let given = [user, node, variables, flags.given()].map(|source| source.expect("settings")).concat();
    let config = merge(&given).expect("a configuration");
    assert_eq!(config.name, Some("alpha".parse().expect("a name")));
    assert_eq!((config.log.as_str(), config.log_format), ("warn", LogFormat::Text));
    assert_eq!(config.listen, ["/ip4/127.0.0.1/tcp/2"]);
    assert_eq!(config.kernel.grace_us, 4_000_000);
    let origins = ["name", "log", "listen", "kernel.grace", "kernel.start"]
        .map(|name| config.origin(Key::named(name).expect("a key")).to_string());
    assert_eq!(origins, ["user.toml:1", "WEFT_LOG", "--listen", "node.toml:2", "default"]);
}

#[test]
fn every_key_takes_its_own_default_from_every_source() {
    let default = Config::default();
    for key in &KEYS {
        let value = key.show(&default);
        let value = if key.name == "name" { "alpha".to_owned() } else { value };
        let mut flags = Flags::default();
        flags.add("--set", key.name, &value);
        let from_flag = merge(&flags.given().expect("settings")).expect(key.name);
        assert_eq!(key.show(&from_flag), value, "{}", key.name);
        let from_variable = merge(&environment([(key.variable(), value.clone())]).expect("settings")).expect(key.name);
        assert_eq!(*from_variable.origin(key), Origin::Variable(key.variable()));
        assert!(!key.about.is_empty() && !key.allowed().is_empty());
    }
}

#[test]
fn every_bound_is_kept() {
    for key in &KEYS {
        let allowed = key.allowed();
        let Some((least, most)) = allowed.split_once(" to ") else { continue };
        for bound in [least, most.trim_end_matches(", or none")].into_iter().filter(|_| key.name != "name") {
            let mut flags = Flags::default();
            flags.add("--set", key.name, bound);
            // A bound may be out of order with another key, never out of its own range.
            let set = merge(&flags.given().expect("settings"));
            let problem = set.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!problem.contains("allowed is"), "{}: {problem}", key.name);
        }
    }
}

#[test]
fn wrong_files_are_refused_with_line_and_nearest_key() {
    let cases = [
        ("# c\n\nlissten = []\n", 3, "unknown key `lissten`; did you mean `listen`?"),
        (
            "\n[bounds]\nx = 1\n",
            2,
            "unknown section `bounds`; sections are kernel, discovery, network, replication, anchor, limits, storage",
        ),
        ("[kernal]\ngrace = \"1s\"\n", 1, "unknown section `kernal`; did you mean `kernel`?"),
        ("[kernel]\n\ngracy = \"1s\"\n", 3, "unknown key `kernel.gracy`; did you mean `kernel.grace`?"),
        ("grace = \"1s\"\n", 1, "unknown key `grace`; did you mean `kernel.grace`?"),
        ("name = \"a\"\nlog_format = \"xml\"\n", 2, "`xml` is neither text nor json"),
        ("name = \"A b\"\n", 1, "`A b` is not a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit)"),
        ("listen = 7\n", 1, "`listen` wants a list of texts, and not 7"),
        ("kernel.grace = 2\n", 1, "`kernel.grace` wants a time with its unit, as \"5s\" or \"200ms\", and not 2"),
        ("kernel.grace = \"soon\"\n", 1, "`soon` is not a time (500ms, 5s, 1h)"),
        ("kernel.grace = \"2h\"\n", 1, "`kernel.grace` is `2h`; allowed is 10ms to 1m"),
        ("kernel.in_flight = 65\n", 1, "`kernel.in_flight` is 65; allowed is 1 to 64"),
        ("kernel.in_flight = -1\n", 1, "`kernel.in_flight` wants a whole number, and not -1"),
        ("kernel.in_flight = true\n", 1, "`kernel.in_flight` wants a whole number, and not true"),
        (
            "network.announce = [\"/dns/example.org/tcp/1\"]\n",
            1,
            "/dns/example.org/tcp/1: not an address to be told to others (it names no IP address); write it as /ip4/203.0.113.7/udp/4001/quic-v1 or /ip4/203.0.113.7/tcp/4001",
        ),
        ("network.mdns = 1\n", 1, "`network.mdns` wants true or false, and not 1"),
        ("kernel.boot_agents = [\"ecko\"]\n", 1, "`ecko` is not a built-in agent (echo, counter, clock or load)"),
        ("kernel.boot_agents = [\"echo\", \"echo\"]\n", 1, "`echo` is named twice, and a name has one agent"),
        ("replication.page = \"1TB\"\n", 1, "`replication.page` wants a size, as \"64KiB\", and not `1TB`"),
        (
            "[discovery]\nredial_min = \"9s\"\n",
            2,
            "`discovery.redial_min` (9s) is more than `discovery.redial_max` (2s)",
        ),
        ("name = \"a\"\nname = \"b\"\n", 2, "duplicate key"),
    ];
    for (text, line, problem) in cases {
        let error = file(text).expect_err(text);
        assert_eq!(error.to_string(), format!("c.toml:{line}: {problem}"), "{text}");
    }
}

#[test]
fn variables_and_flags_that_resemble_ours_are_refused() {
    let check = |name: &str, value: &str| {
        let given = environment([(name.to_owned(), value.to_owned())]).and_then(|given| merge(&given));
        given.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(check("WEFT_LISTEM", "x"), Err("WEFT_LISTEM: unknown variable; did you mean WEFT_LISTEN?".into()));
    assert_eq!(
        check("WEFT_KERNEL_COLOUR", "x"),
        Err("WEFT_KERNEL_COLOUR: unknown variable: no key has that name".into())
    );
    assert_eq!(check("WEFT_LOG_FORMAT", "xml"), Err("WEFT_LOG_FORMAT: `xml` is neither text nor json".into()));
    for other in ["WEFT_HOME", "WEFT_SOMETHING_ELSE", "PATH"] {
        assert_eq!(check(other, "/x"), Ok(()));
    }
    let mut flags = Flags::default();
    flags.add("--set kernel.gracy", "kernel.gracy", "1s");
    let error = flags.given().expect_err("no such key").to_string();
    assert_eq!(error, "--set kernel.gracy: unknown key `kernel.gracy`; did you mean `kernel.grace`?");
}
