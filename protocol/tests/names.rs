//! Ids, names, addresses and tokens as people write them.

use proptest::prelude::*;
use weft_protocol::{
    AgentName, ChainId, Grant, GrantId, GrantRef, GrantSpec, GrantTerms, Incarnation, Level, LocalTarget, MessageId,
    MethodName, NodeId, NodeRef, Pattern, ProcessId, Right, ServiceName, Target, Timestamp, Token, TokenError,
    TopicName, TopicPattern, cluster_name,
};

use crate::samples;

#[test]
fn a_node_id_is_a_libp2p_peer_id() {
    let text = "12D3KooWEYh9bVhtvgT6vzKWMsc7hJR6hoT71bNn4eQb2Ug5Lrvq";
    if let Ok(node) = text.parse::<NodeId>() {
        assert_eq!(node.to_string(), text);
    }
    let node = samples::node(42);
    assert!(node.to_string().starts_with("12D3KooW"));
    assert_eq!(node.to_string().parse(), Ok(node));
    for wrong in ["", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", &"1".repeat(500)] {
        assert!(wrong.parse::<NodeId>().is_err(), "{wrong}");
    }
}

#[test]
fn targets_print_as_they_parse() {
    for text in [
        "echo",
        "echo@beta",
        "#12.3@beta",
        "#0.0",
        "topic:jobs.new",
        "svc:words",
        "svc:words@beta",
        "svc:words.Count",
        "svc:words.count@beta",
        "kernel",
        "kernel@beta",
        "broadcast",
        "broadcast@beta",
    ] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    let by_id = format!("echo@{}", samples::node(9));
    assert_eq!(by_id.parse::<Target>().unwrap().to_string(), by_id);
    for wrong in [
        "",
        "@",
        "echo@",
        "@beta",
        "#12",
        "#a.b",
        "#+1.2",
        "topic:",
        "topic:a..b",
        "Echo",
        "e cho",
        "svc:",
        "svc:.x",
        "svc:x.",
        "svc:x.y.z",
        "svc:X",
        "svc:x@",
        "kernel@",
        "broadcast@B c",
    ] {
        assert!(wrong.parse::<Target>().is_err(), "{wrong}");
    }
}

/// Any target that can be built.
fn target() -> impl Strategy<Value = Target> {
    let process = (any::<u32>(), any::<u32>()).prop_map(|(index, generation)| ProcessId { index, generation });
    let agent = "[a-z0-9][a-z0-9_-]{0,9}".prop_filter_map("a word of its own", |name| name.parse::<AgentName>().ok());
    let service = || "[a-z0-9][a-z0-9_-]{0,9}".prop_map(|name| name.parse::<ServiceName>().unwrap());
    let method = "[a-zA-Z0-9_-]{1,9}".prop_map(|name| name.parse::<MethodName>().unwrap());
    let local = prop_oneof![
        process.prop_map(LocalTarget::Process),
        agent.prop_map(LocalTarget::Agent),
        service().prop_map(LocalTarget::Service),
        (service(), method).prop_map(|(service, method)| LocalTarget::ServiceMethod { service, method }),
        Just(LocalTarget::Broadcast),
        Just(LocalTarget::Kernel),
    ];
    let by_name = "[a-z][a-z0-9-]{0,9}".prop_map(|name| Some(NodeRef::Name(name.parse().unwrap())));
    let node = prop_oneof![Just(None), by_name, any::<u8>().prop_map(|byte| Some(NodeRef::Id(samples::node(byte))))];
    let topic = "[a-zA-Z0-9]{1,5}(\\.[a-z]{1,5}){0,3}".prop_map(|topic| LocalTarget::Topic(topic.parse().unwrap()));
    prop_oneof![
        5 => (node, local).prop_map(|(node, local)| Target { node, local }),
        1 => topic.prop_map(|local| Target { node: None, local }),
    ]
}

proptest! {
    #[test]
    fn every_target_survives_being_written(target in target()) {
        prop_assert_eq!(target.to_string().parse(), Ok(target));
    }
}

#[test]
fn ids_print_as_they_parse() {
    let message = MessageId { chain: samples::chain(), counter: 5 };
    assert_eq!(message.to_string().parse(), Ok(message));
    assert_eq!(message.new_trace().to_string().parse(), Ok(message.new_trace()));
    let begun = |counter| MessageId { counter, ..message }.new_trace().0;
    assert_eq!(begun(8), begun(7) + 1, "those of one chain follow each other");
    assert_ne!(begun(7 + (1 << 32)), begun(7), "the low half of a number comes again, the trace does not");
    let other = ChainId { incarnation: Incarnation(message.chain.incarnation.0 + 1), ..message.chain };
    assert_ne!(MessageId { chain: other, ..message }.new_trace(), message.new_trace());
    assert_eq!("#12.3".parse(), Ok(ProcessId { index: 12, generation: 3 }));
    assert!("t-+00000000000000f".parse::<weft_protocol::TraceId>().is_err());
}

#[test]
fn levels_print_as_they_parse_and_durable_alone_means_executed() {
    for text in [
        "routed",
        "received",
        "executed",
        "received+durable",
        "executed+witnessed",
        "received+witnessed(2)",
        "executed+witnessed(32)",
    ] {
        assert_eq!(text.parse::<Level>().unwrap().to_string(), text);
    }
    assert_eq!("durable".parse::<Level>().unwrap().to_string(), "executed+durable");
    for wrong in [
        "",
        "executed+",
        "durable+executed",
        "executed+durable+witnessed",
        "done",
        "executed+none",
        "executed+witnessed(1)",
        "executed+witnessed(02)",
        "executed+witnessed(33)",
        "executed+witnessed()",
    ] {
        assert!(wrong.parse::<Level>().is_err(), "{wrong}");
    }
}

#[test]
fn names_are_bounded() {
    assert!("a".repeat(63).parse::<AgentName>().is_ok());
    for wrong in ["", "-a", "A", "a.b", "ä", "a b", "kernel", "broadcast", &"a".repeat(64)] {
        assert!(wrong.parse::<AgentName>().is_err(), "{wrong}");
    }
    assert!("a".repeat(128).parse::<TopicName>().is_ok());
    assert!("a".repeat(129).parse::<TopicName>().is_err());
}

#[test]
fn a_token_survives_being_written_and_not_being_cut() {
    let token = samples::token();
    let word = token.to_string();
    assert!(word.bytes().all(|byte| byte.is_ascii_alphanumeric()), "a shell knows a character of {word}");
    assert_eq!(word.parse(), Ok(token));
    assert_eq!(word[..word.len() - 1].parse::<Token>(), Err(TokenError::Checksum));
    assert_eq!(word.replacen("weft1", "weft2", 1).parse::<Token>(), Err(TokenError::Prefix));
    assert_eq!("weft1".parse::<Token>(), Err(TokenError::Cut));
    assert_eq!(format!("weft1{}", "z".repeat(1 << 20)).parse::<Token>(), Err(TokenError::TooLong));
}

#[test]
fn a_cluster_name_follows_from_its_id() {
    let id = weft_protocol::ClusterId::from_bytes([0; 32]);
    assert_eq!(cluster_name(&id), "quiet-otter");
}

#[test]
fn grants_allow_what_they_name_until_they_end() {
    let spec: GrantSpec = "call:echo@beta".parse().unwrap();
    let grant = Grant::root(GrantId(1), GrantTerms { spec, expires: Some(Timestamp(10)), uses: None });
    assert!(grant.allows(Right::Call, "echo@beta", Timestamp(9)));
    assert!(!grant.allows(Right::Call, "echo@beta", Timestamp(10)));
    assert!(!grant.allows(Right::Send, "echo@beta", Timestamp(9)));
    assert!(!grant.allows(Right::Call, "echo@betamax", Timestamp(9)));
    for wrong in ["call", "call:", "own:x", "call:a b", ":x", "call:a*b"] {
        assert!(wrong.parse::<GrantSpec>().is_err(), "{wrong}");
    }
}

/// Beginnings of topics and whole ones, as operators grant them.
fn pattern_of_topics() -> impl Strategy<Value = Pattern> {
    "(([ab]|aa|ab)\\.){0,2}[ab]{0,2}\\*?".prop_filter_map("not empty", |text| Pattern::try_from(text).ok())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    "[ab@.]{0,4}\\*?".prop_filter_map("not empty", |text| Pattern::try_from(text).ok())
}

proptest! {
    #[test]
    fn a_delegated_grant_is_never_wider(
        wide in pattern(),
        narrow in pattern(),
        resource in "[ab@.]{0,5}",
        held in (prop::option::of(0..4_u64), prop::option::of(0..4_u64)),
        asked in (prop::option::of(0..4_u64), prop::option::of(0..4_u64)),
        now in 0..5_u64,
    ) {
        let terms = |resource, expires: Option<u64>, uses| {
            GrantTerms { spec: GrantSpec { right: Right::Call, resource }, expires: expires.map(Timestamp), uses }
        };
        let holder = samples::node(7);
        let grant = Grant { depth: 1, ..Grant::root(GrantId(1), terms(wide, held.0, held.1)) };
        if let Some(delegated) = grant.narrow(holder, GrantId(2), &terms(narrow, asked.0, asked.1)) {
            let now = Timestamp(now);
            let allowed = delegated.allows(Right::Call, &resource, now);
            prop_assert!(!allowed || grant.allows(Right::Call, &resource, now));
            prop_assert!(delegated.uses.unwrap_or(u64::MAX) <= grant.uses.unwrap_or(u64::MAX));
            prop_assert_eq!(delegated.depth, 0);
            prop_assert_eq!(&delegated.parents, &[GrantRef { node: holder, grant: GrantId(1) }]);
            let again = GrantTerms { spec: delegated.spec.clone(), expires: None, uses: None };
            prop_assert!(delegated.narrow(holder, GrantId(3), &again).is_none(), "no depth is left");
        }
    }

    #[test]
    fn a_grant_of_names_never_lets_anybody_subscribe_wider(
        granted in pattern_of_topics(),
        subscribed in "(([ab*]|aa|ab)\\.){0,3}([ab*>]|aa|ab)",
        topic in "(([ab]|aa|ab)\\.){0,3}([ab]|aa|ab)",
    ) {
        let spec = GrantSpec { right: Right::Subscribe, resource: granted };
        let grant = Grant::root(GrantId(1), GrantTerms { spec, expires: None, uses: None });
        let subscribed: TopicPattern = subscribed.parse().unwrap();
        let topic: TopicName = topic.parse().unwrap();
        if grant.allows(Right::Subscribe, subscribed.as_str(), Timestamp(0)) && subscribed.matches(&topic) {
            prop_assert!(grant.allows(Right::Subscribe, topic.as_str(), Timestamp(0)), "{topic} through {subscribed}");
        }
    }

    #[test]
    fn a_mistyped_token_is_noticed(place in any::<prop::sample::Index>(), letter in "[1-9A-HJ-NP-Za-km-z]") {
        let word = samples::token().to_string();
        let place = 5 + place.index(word.len() - 5);
        let mut mistyped = word.clone();
        mistyped.replace_range(place..=place, &letter);
        prop_assert!(mistyped == word || mistyped.parse::<Token>() == Err(TokenError::Checksum));
    }
}
