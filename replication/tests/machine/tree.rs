//! The tree of resources is a pure function of what is held; one change costs one path; what it proves is true.

use std::sync::LazyLock;

use proptest::prelude::*;
use weft_protocol::limits::TREE_PROOF_BYTES_MAX;
use weft_protocol::{
    Admitted, AgentSpec, AuditLevel, Backend, Boot, BuiltinKind, Certificate, ChainId, Configured, ContractRegistered,
    Effect, EffectOutcome, EffectResult, Endpoint, Environment, ExitReason, Fact, ForkSeen, Frontier, Hlc, Incarnation,
    Millionths, NodeId, Observation, PlacedFact, Principal, ProcessExited, ProcessId, ResourceKind, ResourcePath,
    ResourceScored, RestartPlanned, Role, ServiceEnd, ServiceEnded, ServiceEntry, SettingChange, Shake, Signed,
    Snapshot, StateFold, Timestamp, TopicSubscribed, TreeClaim, TreeProof, decode, encode, hash,
};
use weft_replication::{FoldedState, OrderKey, StateOfChain, Tree};

use crate::world::World;
use crate::writer::{Writer, cluster};

/// Three chains: two nodes, one of them in two incarnations.
static WRITERS: LazyLock<[Writer; 3]> = LazyLock::new(|| {
    let (one, other) = (Writer::new(1), Writer::new(2));
    let reborn = one.reborn(9);
    [one, other, reborn]
});

const NAMES: [&str; 3] = ["words", "counts", "echo"];

/// Something that a node can write down about resources.
#[derive(Debug, Clone)]
enum Deed {
    Spawn {
        name: usize,
        generation: u32,
    },
    /// Of the intent so many events ago.
    Outcome {
        back: u64,
        result: EffectResult,
    },
    Exit {
        name: usize,
        generation: u32,
    },
    Serve {
        name: usize,
    },
    EndService {
        name: usize,
    },
    Admit {
        whom: usize,
        role: Role,
    },
    SeeFork {
        whom: usize,
    },
    Listen {
        name: usize,
    },
    Score {
        path: usize,
        reliability: u32,
        weight: u32,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    let name = 0..NAMES.len();
    let result = prop_oneof![
        4 => Just(EffectResult::Done),
        1 => Just(EffectResult::Indeterminate),
        1 => Just(EffectResult::Failed { reason: "no such file".into() })
    ];
    let role = prop_oneof![Just(Role::Admin), Just(Role::Worker)];
    prop_oneof![
        4 => (name.clone(), 0..3_u32).prop_map(|(name, generation)| Deed::Spawn { name, generation }),
        4 => (1..4_u64, result).prop_map(|(back, result)| Deed::Outcome { back, result }),
        3 => (name.clone(), 0..3_u32).prop_map(|(name, generation)| Deed::Exit { name, generation }),
        2 => name.clone().prop_map(|name| Deed::Serve { name }),
        2 => name.clone().prop_map(|name| Deed::EndService { name }),
        2 => (0..2_usize, role).prop_map(|(whom, role)| Deed::Admit { whom, role }),
        1 => (0..2_usize).prop_map(|whom| Deed::SeeFork { whom }),
        2 => name.prop_map(|name| Deed::Listen { name }),
        4 => (0..4_usize, 0..=1_000_000_u32, 0..=1_000_000_u32)
            .prop_map(|(path, reliability, weight)| Deed::Score { path, reliability, weight }),
    ]
}

const fn process(generation: u32) -> ProcessId {
    ProcessId { index: 1, generation }
}

fn agent(name: &str, node: NodeId) -> ResourcePath {
    format!("/agents/{name}@{node}").parse().unwrap()
}

fn spawn(name: &str, generation: u32) -> Fact {
    let spec = AgentSpec::new(name.parse().unwrap(), Backend::Builtin(BuiltinKind::Echo));
    let (process, by) = (process(generation), Principal::Operator);
    Fact::Intent(Box::new(Effect::Spawn { process, spec, grants: Vec::new(), by, from: None }))
}

fn exit(name: &str, generation: u32) -> Fact {
    let (process, agent) = (process(generation), name.parse().unwrap());
    Fact::Exited(ProcessExited { process, agent, reason: ExitReason::Exited { code: 0 } })
}

fn done(intent: u64) -> Fact {
    Fact::Outcome(EffectOutcome { intent, result: EffectResult::Done })
}

fn score(path: ResourcePath, reliability: u32, weight: u32) -> Fact {
    let [reliability, weight] = [reliability, weight].map(|part| Millionths::try_from(part).unwrap());
    let seen = Observation { reliability: Some(reliability), ..Observation::default() };
    Fact::ResourceScored(Box::new(ResourceScored { path, seen, weight, by: None }))
}

fn admit(by: &Writer, whom: &Writer, role: Role) -> Fact {
    let certificate = Certificate {
        cluster: cluster(),
        keys: whom.public(),
        name: "alpha".parse().unwrap(),
        role,
        grants: Vec::new(),
        issuer: by.chain.node,
        issued: Timestamp(1),
        not_after: None,
    };
    Fact::Admitted(Box::new(Admitted { certificate: Signed::new(&certificate, &*by.keys), invite: None }))
}

fn fact(writer: &Writer, seq: u64, deed: Deed) -> Fact {
    match deed {
        Deed::Spawn { name, generation } => spawn(NAMES[name], generation),
        Deed::Outcome { back, result } => Fact::Outcome(EffectOutcome { intent: seq.saturating_sub(back), result }),
        Deed::Exit { name, generation } => exit(NAMES[name], generation),
        Deed::Serve { name } => Fact::ServiceRegistered(ServiceEntry {
            name: NAMES[name].parse().unwrap(),
            owner: Principal::Operator,
            endpoint: Endpoint::Agent(NAMES[name].parse().unwrap()),
            contract: None,
            audit_level: AuditLevel::Full,
            registered_at: Timestamp(seq),
        }),
        Deed::EndService { name } => Fact::ServiceEnded(ServiceEnded {
            name: NAMES[name].parse().unwrap(),
            end: ServiceEnd::Unregistered { by: Principal::Operator },
        }),
        Deed::Admit { whom, role } => admit(writer, &WRITERS[whom], role),
        Deed::SeeFork { whom } => {
            let chain = WRITERS[whom].chain;
            Fact::ForkSeen(ForkSeen { chain, commit_no: 1, first: hash("a", &[]), second: hash("b", &[]) })
        }
        Deed::Listen { name } => Fact::TopicSubscribed(TopicSubscribed {
            by: Principal::Agent { agent: NAMES[name].parse().unwrap(), process: process(0) },
            pattern: "builds.*".parse().unwrap(),
        }),
        Deed::Score { path: 3, reliability, weight } => score("/topics/builds.*".parse().unwrap(), reliability, weight),
        Deed::Score { path, reliability, weight } => {
            score(agent(NAMES[path], WRITERS[0].chain.node), reliability, weight)
        }
    }
}

type Chain = (ChainId, Vec<PlacedFact>);

/// What three chains say. Their stamps meet often, so that the order between them hangs on more than stamps.
fn chains() -> impl Strategy<Value = Vec<Chain>> {
    let chain = |index: usize| {
        prop::collection::vec((deed(), 1..4_u64), 0..14).prop_map(move |deeds| {
            let writer = &WRITERS[index];
            let mut hlc = 0;
            let placed = deeds.into_iter().zip(0..).map(|((deed, passed), seq)| {
                hlc += passed;
                PlacedFact { seq, hlc: Hlc(hlc), fact: fact(writer, seq, deed) }
            });
            (writer.chain, placed.collect())
        })
    };
    (chain(0), chain(1), chain(2)).prop_map(|(one, two, three)| vec![one, two, three])
}

/// The same in pieces, each chain's in their order and otherwise in any.
fn pieces() -> impl Strategy<Value = (Vec<Chain>, Vec<Chain>)> {
    let shuffled = |chains: Vec<Chain>| {
        let turns: Vec<usize> =
            chains.iter().enumerate().flat_map(|(index, (_, facts))| vec![index; facts.len()]).collect();
        (Just(chains), Just(turns).prop_shuffle(), 1..5_usize)
    };
    chains().prop_flat_map(shuffled).prop_map(|(chains, turns, size)| {
        let mut left = chains.clone();
        let mut pieces = Vec::new();
        for turn in turns {
            let (chain, facts) = &mut left[turn];
            let piece: Vec<_> = facts.drain(..size.min(facts.len())).collect();
            pieces.push((*chain, piece));
        }
        (chains, pieces)
    })
}

fn tree(chains: &[Chain]) -> Tree {
    let mut tree = Tree::default();
    tree.recover(chains.iter().map(|(chain, facts)| (*chain, facts.as_slice())));
    tree
}

fn folded(mut fold: StateOfChain, facts: &[PlacedFact]) -> StateOfChain {
    facts.iter().for_each(|placed| fold.apply(placed));
    fold
}

#[test]
fn a_snapshot_forgets_what_is_over_for_the_longest_as_its_chain_does() {
    let chain = WRITERS[0].chain;
    let life = |number: u64| {
        let name = format!("a{number}");
        let spawned = PlacedFact { seq: 2 * number, hlc: Hlc(2 * number + 1), fact: spawn(&name, 0) };
        [spawned, PlacedFact { seq: 2 * number + 1, hlc: Hlc(2 * number + 2), fact: exit(&name, 0) }]
    };
    let facts: Vec<PlacedFact> = (0..1_100).flat_map(life).collect();
    let whole = folded(StateOfChain::of(chain), &facts).state();
    for at in [1, 500, 2_046, 2_047, 2_048, 2_049, 2_100] {
        let before = folded(StateOfChain::of(chain), &facts[..at]).state();
        let resumed = StateOfChain::resumed(&before, at as u64).unwrap();
        assert!(folded(resumed, &facts[at..]).state() == whole, "at {at}");
    }
}

/// Every path of a tree.
fn paths(tree: &Tree) -> Vec<ResourcePath> {
    let mut paths = vec![ResourcePath::root()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        paths.extend(tree.children(&path).map(|(entry, _)| entry.path.clone()));
        next += 1;
    }
    paths
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arrival_does_not_change_the_tree((chains, pieces) in pieces()) {
        let mut pieced = Tree::default();
        for (chain, facts) in &pieces {
            pieced.learn(*chain, facts);
        }
        let whole = tree(&chains);
        let entries = |tree: &Tree| paths(tree).iter().map(|path| tree.get(path).cloned()).collect::<Vec<_>>();
        prop_assert_eq!(entries(&pieced), entries(&whole));
        prop_assert_eq!(pieced.root(), whole.root());
        prop_assert_eq!(pieced.len(), paths(&whole).len());
    }

    #[test]
    fn what_is_cut_away_leaves_no_trace((chains, pieces) in pieces(), which in 0..3_usize, kept in 0..14_usize) {
        let mut cut = Tree::default();
        pieces.iter().for_each(|(chain, facts)| cut.learn(*chain, facts));
        let mut left = chains.clone();
        left[which].1.truncate(kept);
        cut.forget(&chains[which].0);
        cut.learn(left[which].0, &left[which].1);
        prop_assert_eq!(cut.root(), tree(&left).root());
    }

    #[test]
    fn what_is_hidden_counts_when_it_is_shown((chains, pieces) in pieces(), which in 0..3_usize, from in 0..14_usize) {
        let hidden = chains[which].0;
        let mut shown = Tree::default();
        for (index, (chain, facts)) in pieces.iter().enumerate() {
            if index == from {
                shown.hide(hidden);
            }
            shown.learn(*chain, facts);
        }
        if from < pieces.len() {
            let others: Vec<Chain> = chains.iter().filter(|(chain, _)| *chain != hidden).cloned().collect();
            prop_assert_eq!(shown.root(), tree(&others).root());
        }
        shown.show(&hidden);
        prop_assert_eq!(shown.root(), tree(&chains).root());
    }

    #[test]
    fn what_is_stable_is_the_tree_at_that_place(
        (chains, pieces) in pieces(),
        steps in prop::collection::vec(0..50_u64, 1..4),
    ) {
        let bound = |hlc| OrderKey::new(WRITERS[0].chain, 3, Hlc(hlc));
        let mut tree = Tree::with_stable(bound(0));
        pieces.iter().for_each(|(chain, facts)| tree.learn(*chain, facts));
        for step in steps {
            tree.advance(bound(step));
            let (reached, root) = tree.stable_root().unwrap();
            let held = chains.iter().map(|(chain, facts)| (*chain, facts.as_slice()));
            prop_assert_eq!(root, Tree::at(reached, held).root());
        }
    }

    #[test]
    fn a_snapshot_and_what_follows_are_all_of_it((chains, _) in pieces(), at in 0..14_usize, growing in 0..40_usize) {
        for (chain, facts) in &chains {
            let at = at.min(facts.len());
            let size = facts[..at].last().map_or(0, |placed| placed.seq + 1);
            let before = folded(StateOfChain::of(*chain), &facts[..at]).state();
            let kept = decode::<FoldedState>(&encode(&before), usize::MAX).unwrap();
            let resumed = folded(StateOfChain::resumed(&kept, size).unwrap(), facts).state();
            prop_assert_eq!(&resumed, &folded(StateOfChain::of(*chain), facts).state());
            // What is read once more before the place of the snapshot changes nothing; what a tree holds of the chain is the same.
            prop_assert_eq!(resumed.hash(), tree(&chains).state_of(*chain).hash());
        }
        let leaves: Vec<_> = (0..growing).map(|leaf| hash("leaf", &[&leaf.to_be_bytes()])).collect();
        let at = at.min(growing);
        let (mut whole, mut first) = (Frontier::default(), Frontier::default());
        leaves.iter().for_each(|leaf| whole.push::<Shake>(*leaf));
        leaves[..at].iter().for_each(|leaf| first.push::<Shake>(*leaf));
        let (root, peaks) = (first.root::<Shake>(), first.peaks().to_vec());
        let snapshot = Snapshot { size: at as u64, root, peaks, state: root, fold: 1 };
        let mut resumed = snapshot.frontier().unwrap();
        leaves[at..].iter().for_each(|leaf| resumed.push::<Shake>(*leaf));
        prop_assert_eq!(resumed, whole);
        let other = Snapshot { root: hash("other", &[]), ..snapshot };
        prop_assert!(other.frontier().is_none());
    }

    #[test]
    fn what_is_proven_is_so((chains, _) in pieces(), bit in any::<prop::sample::Index>()) {
        let tree = tree(&chains);
        for path in paths(&tree) {
            let proof = tree.prove(&path);
            prop_assert_eq!(proof.check(&tree.root()), Ok(()));
            let TreeClaim::Present { resource, .. } = &proof.claim else { panic!("{path} is there") };
            prop_assert_eq!(Some(resource), tree.get(&path));
            let missing = path.child("nobody").unwrap();
            let absent = tree.prove(&missing);
            prop_assert_eq!(absent.check(&tree.root()), Ok(()));
            prop_assert_eq!((absent.path(), matches!(absent.claim, TreeClaim::Absent { .. })), (&missing, true));
            let mut bytes = encode(&proof);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = decode::<TreeProof>(&bytes, TREE_PROOF_BYTES_MAX);
            prop_assert!(changed.is_err() || changed.is_ok_and(|proof| proof.check(&tree.root()).is_err()));
        }
    }
}

#[test]
fn every_flipped_bit_of_a_proof_fails() {
    let chain = WRITERS[0].chain;
    let mut tree = Tree::default();
    let facts =
        (0..20).map(|number| PlacedFact { seq: number, hlc: Hlc(number), fact: spawn(&format!("a{number}"), 0) });
    tree.learn(chain, &facts.collect::<Vec<_>>());
    let (proof, root) = (tree.prove(&agent("a7", chain.node)), tree.root());
    let bytes = encode(&proof);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let changed = decode::<TreeProof>(&bytes, TREE_PROOF_BYTES_MAX);
        assert!(changed.is_err() || changed.is_ok_and(|proof| proof.check(&root).is_err()), "bit {bit}");
    }
}

#[test]
fn the_namespaces_stand_from_the_beginning() {
    let tree = Tree::default();
    for path in [
        "/kernel",
        "/kernel/services",
        "/kernel/processes",
        "/kernel/agents",
        "/kernel/tools/fs",
        "/kernel/containers",
        "/network",
        "/network/peers",
        "/apps",
        "/agents",
        "/topics",
        "/services",
        "/environments/production",
    ] {
        let path: ResourcePath = path.parse().unwrap();
        assert_eq!(tree.get(&path).map(|entry| &entry.path), Some(&path));
    }
    assert_eq!(Tree::default().root(), tree.root());
}

fn placed(seq: u64, hlc: u64, fact: Fact) -> PlacedFact {
    PlacedFact { seq, hlc: Hlc(hlc), fact }
}

#[test]
fn what_waits_too_long_for_stability_is_let_go_and_said() {
    let chain = WRITERS[0].chain;
    let bound = |hlc| OrderKey::new(chain, 0, Hlc(hlc));
    let mut tree = Tree::with_stable(bound(0));
    let facts: Vec<PlacedFact> = (0..65_537).map(|seq| placed(seq, seq + 1, done(seq))).collect();
    tree.recover([(chain, facts.as_slice())]);
    tree.advance(bound(1_000));
    assert!(tree.stable_root().is_some(), "a start may bring more");
    tree.learn(chain, &(65_537..66_600).map(|seq| placed(seq, seq + 1, done(seq))).collect::<Vec<_>>());
    assert_eq!(tree.stable_root(), None, "65,600 wait");
    assert_eq!(Tree::at(bound(0), [(chain, facts.as_slice())]).root(), Tree::default().root());
}

#[test]
fn an_agent_is_what_its_chain_said_last() {
    let chain = WRITERS[0].chain;
    let path = agent("words", chain.node);
    let mut tree = Tree::default();
    let state = |tree: &Tree| tree.get(&path).unwrap().metadata["state"].clone();
    tree.learn(chain, &[placed(0, 1, spawn("words", 0))]);
    assert_eq!(state(&tree), "starting");
    tree.learn(chain, &[placed(1, 2, done(0))]);
    assert_eq!((state(&tree), &tree.get(&path).unwrap().kind), ("running".into(), &ResourceKind::Agent));
    tree.learn(chain, &[placed(2, 3, exit("words", 7))]);
    assert_eq!(state(&tree), "running", "another process ended");
    tree.learn(chain, &[placed(3, 4, exit("words", 0))]);
    assert_eq!(
        (state(&tree), tree.get(&path).unwrap().metadata["end"].as_str()),
        ("exited".into(), "exited with code 0")
    );
    tree.learn(chain, &[placed(4, 5, spawn("words", 1))]);
    assert_eq!((state(&tree), tree.get(&path).unwrap().metadata.get("end")), ("starting".into(), None));
}

#[test]
fn of_two_writers_the_later_one_counts() {
    let [one, other, _] = &*WRITERS;
    let path: ResourcePath = format!("/network/peers/{}", other.chain.node).parse().unwrap();
    let said = |tree: &Tree, key: &str| tree.get(&path).unwrap().metadata.get(key).cloned();
    // The same stamp: the greater node is later.
    let (early, late) = if one.chain < other.chain { (one, other) } else { (other, one) };
    for reversed in [false, true] {
        let mut facts = [
            (early.chain, placed(0, 5, admit(early, other, Role::Admin))),
            (late.chain, placed(0, 5, admit(late, other, Role::Worker))),
        ];
        if reversed {
            facts.reverse();
        }
        let mut tree = Tree::default();
        facts.iter().for_each(|(chain, fact)| tree.learn(*chain, std::slice::from_ref(fact)));
        assert_eq!(said(&tree, "role").as_deref(), Some("worker"));
        let seen = Deed::SeeFork { whom: 1 };
        tree.learn(early.chain, &[placed(1, 6, fact(early, 1, seen.clone()))]);
        assert_eq!(said(&tree, "state").as_deref(), Some("forked"));
        tree.learn(late.chain, &[placed(1, 7, admit(late, other, Role::Worker))]);
        assert_eq!(said(&tree, "state").as_deref(), Some("admitted"));
    }
}

#[test]
fn of_two_chains_that_say_something_at_once_the_later_in_the_order_counts() {
    let [one, _, reborn] = &*WRITERS;
    assert!(one.chain < reborn.chain);
    let planned = Fact::RestartPlanned(RestartPlanned {
        agent: "words".parse().unwrap(),
        process: process(0),
        group: None,
        agents: vec!["words".parse().unwrap()],
        number: 1,
        delay_us: 1,
    });
    let mut tree = Tree::default();
    tree.learn(reborn.chain, &[placed(0, 9, planned)]);
    tree.learn(one.chain, &[placed(0, 1, spawn("words", 0)), placed(1, 9, exit("words", 0))]);
    assert_eq!(tree.get(&agent("words", one.chain.node)).unwrap().metadata["state"], "restarting");
}

#[test]
fn observations_blend_in_their_order_however_late_they_arrive() {
    let [one, other, _] = &*WRITERS;
    for (first, second) in [(one, other), (other, one)] {
        let path = agent("words", first.chain.node);
        let mut tree = Tree::default();
        tree.learn(first.chain, &[placed(0, 1, spawn("words", 0)), placed(1, 20, score(path.clone(), 0, 500_000))]);
        tree.learn(second.chain, &[placed(0, 10, score(path.clone(), 1_000_000, 300_000))]);
        // (0.5·0.7 + 0.3)·0.5
        assert_eq!(tree.get(&path).unwrap().scoring.reliability.to_string(), "0.325");
        assert_eq!(tree.get(&path).unwrap().scoring.trust, Millionths::HALF);
    }
}

#[test]
fn a_node_stands_in_the_environment_that_it_said_last() {
    let chain = WRITERS[0].chain;
    let boot = |environment| Boot { version: "1".into(), name: "alpha".parse().unwrap(), counter: None, environment };
    let mut tree = Tree::default();
    let nodes = |tree: &Tree| {
        let below = |it: &Environment| tree.children(&format!("/environments/{it}").parse().unwrap()).count();
        Environment::ALL.each_ref().map(below)
    };
    tree.learn(chain, &[placed(0, 1, Fact::Boot(boot(None)))]);
    assert_eq!(nodes(&tree), [0, 0, 0], "an earlier version does not say");
    tree.learn(chain, &[placed(1, 2, Fact::Boot(boot(Some(Environment::Development))))]);
    assert_eq!(nodes(&tree), [1, 0, 0]);
    let change = SettingChange { key: "environment".into(), from: "development".into(), to: "production".into() };
    tree.learn(chain, &[placed(2, 3, Fact::Configured(Configured { changes: vec![change] }))]);
    assert_eq!(nodes(&tree), [0, 0, 1]);
}

#[test]
fn names_of_two_nodes_are_two_resources() {
    let [one, other, _] = &*WRITERS;
    let mut tree = Tree::default();
    tree.learn(one.chain, &[placed(0, 1, spawn("words", 0))]);
    tree.learn(other.chain, &[placed(0, 1, spawn("words", 0))]);
    assert_eq!(tree.children(&"/agents".parse().unwrap()).count(), 2);
}

#[test]
fn no_version_of_a_contract_breaks_a_path() {
    let chain = WRITERS[0].chain;
    let contract = weft_protocol::Contract {
        service: "words".parse().unwrap(),
        version: "..".parse().unwrap(),
        methods: std::collections::BTreeMap::new(),
    };
    let hash = contract.content_hash();
    let fact = Fact::ContractRegistered(Box::new(ContractRegistered { contract, hash, by: Principal::Operator }));
    let mut tree = Tree::default();
    tree.learn(chain, &[placed(0, 1, fact)]);
    let service: ResourcePath = format!("/services/words@{}", chain.node).parse().unwrap();
    assert_eq!(tree.children(&service).count(), 1);
}

/// The longest names that there can be, all of which are from other nodes.
#[test]
fn the_longest_names_fit_into_paths() {
    let (chain, word) = (WRITERS[0].chain, "a".repeat(63));
    let topic = [word.as_str(), word.as_str()].join(".");
    let agent = word.parse().unwrap();
    let listens = TopicSubscribed {
        by: Principal::Agent { agent, process: process(0) },
        pattern: format!("{topic}.").trim_end_matches('.').parse().unwrap(),
    };
    let mut tree = Tree::default();
    tree.learn(chain, &[placed(0, 1, spawn(&word, 0)), placed(1, 2, Fact::TopicSubscribed(listens))]);
    assert_eq!(tree.children(&format!("/topics/{topic}").parse().unwrap()).count(), 1);
    assert_eq!(tree.get(&format!("/topics/{topic}").parse().unwrap()).unwrap().kind, ResourceKind::Topic);
}

#[test]
fn ended_agents_are_forgotten_when_too_many_came_after_them() {
    let chain = WRITERS[0].chain;
    let lives = |number: u64| {
        let name = format!("a{number}");
        [placed(number * 2, number * 2 + 1, spawn(&name, 0)), placed(number * 2 + 1, number * 2 + 2, exit(&name, 0))]
    };
    let facts: Vec<PlacedFact> = (0..2_000).flat_map(lives).collect();
    let mut tree = Tree::default();
    tree.learn(chain, &facts);
    let agents: ResourcePath = "/agents".parse().unwrap();
    assert_eq!(tree.children(&agents).count(), 1_024);
    assert_eq!((tree.get(&agent("a0", chain.node)), tree.left_out()), (None, 0));
    assert!(tree.get(&agent("a1999", chain.node)).is_some());
}

#[test]
fn a_chain_that_tells_of_too_much_is_cut_off_alike_everywhere() {
    let chain = WRITERS[0].chain;
    let spawned = |number: u64| placed(number, number + 1, spawn(&format!("a{number}"), 0));
    let facts: Vec<PlacedFact> = (0..16_390).map(spawned).collect();
    let mut tree = Tree::default();
    tree.learn(chain, &facts);
    assert_eq!((tree.children(&"/agents".parse().unwrap()).count(), tree.left_out()), (16_384, 6));
}

/// Counted, not measured: 10,000 agents stand beside the one that changes.
#[test]
fn a_change_hashes_one_path() {
    let chain = WRITERS[0].chain;
    let spawned = |number: u64| placed(number, number + 1, spawn(&format!("a{number}"), 0));
    let mut tree = Tree::default();
    tree.learn(chain, &(0..10_000).map(spawned).collect::<Vec<_>>());
    let mut most = 0;
    for seq in 10_000..10_100_u64 {
        let before = tree.hashes();
        tree.learn(chain, &[placed(seq, seq + 1, done((seq - 10_000) * 97))]);
        most = most.max(tree.hashes() - before);
    }
    // Its own, two for each level below the root, one for each node above, and the branches between: about 14 for 10,000
    // names, seldom twice that.
    assert!((10..=48).contains(&most), "{most} hashes");
    println!("a change among 10,000 costs at most {most} hashes");
}

/// Whole machines, whose every step compares equal vector roots with equal trees (see `World::check`).
#[test]
fn machines_that_hold_the_same_have_the_same_tree() {
    let mut writers = vec![Writer::new(1), Writer::new(2)];
    let now = Timestamp(1_700_000_000_000_000);
    for (index, writer) in writers.iter_mut().enumerate() {
        writer.write(now, 1, 0, true);
        for number in 0..5 {
            writer.say(now, spawn(&format!("agent-{index}-{number}"), 0));
        }
        let path = agent("agent-0-1", WRITERS[0].chain.node);
        writer.say(now, score(path, 1_000_000, 300_000));
    }
    let mut world = World::new(&writers, &[&[], &[]]);
    assert_ne!(world.hosts[0].machine.tree().root(), world.hosts[1].machine.tree().root());
    world.connect(0, 1);
    world.pass(20_000_000);
    world.assert_equal();
    let [one, other] = [0, 1].map(|host| world.hosts[host].machine.tree());
    assert_eq!((one.root(), one.children(&"/agents".parse().unwrap()).count()), (other.root(), 10));
    writers[0].say(now.after_us(1_000_000), exit("agent-0-1", 0));
    world.grow(0, &writers[0]);
    world.run();
    let state = |world: &World| {
        let entry = world.hosts[0].machine.tree().get(&agent("agent-0-1", writers[0].chain.node));
        entry.unwrap().metadata["state"].clone()
    };
    assert_eq!(state(&world), "exited");
    world.pass(20_000_000);
    world.assert_equal();
    assert_eq!(world.hosts[0].machine.tree().root(), world.hosts[1].machine.tree().root());
}

#[test]
fn a_chain_begun_anew_goes_on_with_its_names() {
    let [one, _, reborn] = &*WRITERS;
    assert_eq!((one.chain.node, reborn.chain.incarnation), (reborn.chain.node, Incarnation(9)));
    let path = agent("words", one.chain.node);
    let mut tree = Tree::default();
    tree.learn(reborn.chain, &[placed(0, 9, exit("words", 0))]);
    tree.learn(one.chain, &[placed(0, 1, spawn("words", 0))]);
    assert_eq!(tree.get(&path).unwrap().metadata["state"], "exited");
}
