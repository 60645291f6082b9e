//! The table against a plain model, under any order of starts and ends.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_protocol::limits::EXITED_MAX;
use weft_protocol::{AgentName, AgentSpec, Backend, BuiltinKind, ExitReason, NodeId, Principal, ProcessId, Sender};

use super::*;

proptest! {
    #[test]
    fn no_id_is_given_twice_and_old_ones_are_gone(steps in prop::collection::vec((any::<bool>(), 0_usize..8), 1..200)) {
        let mut table = ProcessTable::restored(BTreeMap::from([(0, 6), (2, 0)]), 0);
        let mut living: Vec<(AgentName, ProcessId)> = Vec::new();
        let mut gone = vec![ProcessId { index: 0, generation: 6 }, ProcessId { index: 2, generation: 0 }];
        for (start, number) in steps {
            let name: AgentName = format!("agent-{number}").parse().expect("a name");
            let known = living.iter().position(|(living, _)| *living == name);
            match (start, known) {
                (true, None) => {
                    let process = table.next_id().expect("a free place");
                    prop_assert!(!gone.contains(&process));
                    prop_assert!(living.iter().all(|(_, other)| other.index != process.index));
                    table.insert(life(process, &name));
                    living.push((name, process));
                }
                (false, Some(position)) => {
                    let (_, process) = living.remove(position);
                    table.exit(process, ExitReason::Stopped);
                    gone.push(process);
                }
                _ => {}
            }
            for (name, process) in &living {
                prop_assert_eq!(table.named(name), Some(*process));
                prop_assert_eq!(table.find(*process), Found::Living);
                let next = ProcessId { generation: process.generation + 1, ..*process };
                prop_assert_eq!(table.find(next), Found::Never);
            }
            for process in &gone {
                prop_assert_eq!(table.find(*process), Found::Gone);
            }
            prop_assert_eq!(table.all_living().count(), living.len());
        }
    }
}

#[test]
fn the_oldest_of_those_that_exited_are_forgotten_but_stay_gone() {
    let mut table = ProcessTable::default();
    for generation in 0..=EXITED_MAX as u32 {
        let process = table.next_id().expect("a free place");
        assert_eq!(process, ProcessId { index: 0, generation });
        table.insert(life(process, &"a".parse().expect("a name")));
        table.exit(process, ExitReason::Stopped);
    }
    assert_eq!(table.all().count(), EXITED_MAX);
    assert_eq!(table.find(ProcessId { index: 0, generation: 0 }), Found::Gone);
    assert_eq!(table.find(ProcessId { index: 1, generation: 0 }), Found::Never);
}

#[test]
fn only_the_living_count() {
    let mut table = ProcessTable::default();
    for number in 0..PROCESSES_MAX {
        let process = table.next_id().expect("a free place");
        table.insert(life(process, &format!("a{number}").parse().expect("a name")));
    }
    assert_eq!(table.next_id(), None);
    table.exit(ProcessId { index: 7, generation: 0 }, ExitReason::Stopped);
    assert_eq!(table.next_id(), Some(ProcessId { index: 7, generation: 1 }));
}

fn life(process: ProcessId, name: &AgentName) -> Life {
    let spec = AgentSpec::new(name.clone(), Backend::Builtin(BuiltinKind::Echo));
    let by = Sender { node: NodeId::from_bytes([1; 32]), principal: Principal::Operator };
    Life::new(process, spec, [].into(), Vec::new(), by, 0)
}
