//! Bytes recorded earlier are still written and still read.
//!
//! To record a new type or version, run the tests with `WEFT_RECORD_GOLDEN=1` and add the lines they print to
//! `golden/VERSIONS.md` with the reason.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use weft_protocol::{Fact, content_address};

use crate::samples;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn every_type_has_the_recorded_bytes() {
    let record = std::env::vars().any(|(name, _)| name == "WEFT_RECORD_GOLDEN");
    for (name, bytes) in samples::all() {
        let path = folder().join(format!("{name}.v1.hex"));
        let text = format!("{}\n", HEXLOWER.encode(&bytes));
        if record {
            std::fs::write(&path, &text).unwrap();
            println!("{}  {name}.v1.hex", content_address(text.as_bytes()));
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(recorded, text, "{name} is no longer written as recorded");
    }
}

#[test]
fn recorded_facts_are_still_read() {
    for fact in samples::facts() {
        let name = fact.kind().replace('.', "-");
        let text = std::fs::read_to_string(folder().join(format!("fact-{name}.v1.hex"))).unwrap();
        let bytes = HEXLOWER.decode(text.trim().as_bytes()).unwrap();
        assert_eq!(Fact::decode(fact.kind(), &bytes), Ok(fact));
    }
}

#[test]
fn an_unknown_kind_is_carried_as_it_is() {
    let fact = Fact::decode("future.kind", b"whatever").unwrap();
    assert_eq!((fact.kind(), fact.encode().as_slice()), ("future.kind", b"whatever".as_slice()));
}
