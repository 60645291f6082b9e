//! Several machines that watch each other over a network which can be cut, and which nobody may lie on.

use std::collections::{BTreeMap, BTreeSet};

use weft_discovery::{DiscoveryConfig, Identity, Input, MemberState, Output};
use weft_protocol::{Hlc, Recovered, RecoveredChain, Role, Timestamp};

use crate::world::{
    LETTERS, Machine, SECOND_US, START, admitted, advert, arrived, certificate, chain, connected, identity, letter,
    node,
};

/// How long a packet is on its way.
const WAY_US: u64 = 1_000;

/// All of them, and what is between them.
pub(crate) struct Mesh {
    pub(crate) machines: BTreeMap<char, Machine>,
    /// Packets on their way, by arrival.
    packets: BTreeMap<(Timestamp, u64), (char, char, Vec<u8>)>,
    sent: u64,
    now: Timestamp,
    /// Who is not run.
    pub(crate) stopped: BTreeSet<char>,
    /// What came to them meanwhile and lies before their door.
    unread: Vec<(char, char, Vec<u8>)>,
    /// Between whom nothing passes.
    cut: BTreeSet<(char, char)>,
}

impl Mesh {
    /// The first letters, all connected to each other.
    fn of(count: usize) -> Self {
        Self::linked(count, &DiscoveryConfig::default(), |_, _| true)
    }

    /// The first letters, each connected to those that it is linked to.
    pub(crate) fn linked(count: usize, config: &DiscoveryConfig, linked: impl Fn(char, char) -> bool) -> Self {
        let letters = &LETTERS[..count];
        let machines = letters.iter().map(|letter| (*letter, member_with(*letter, letters, config.clone()))).collect();
        let (packets, stopped, cut) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut mesh = Self { machines, packets, sent: 0, now: START, stopped, unread: Vec::new(), cut };
        for one in letters {
            for other in letters.iter().filter(|other| *other != one && linked(*one, **other)) {
                mesh.give(*one, connected(*other));
            }
        }
        mesh.run(2 * SECOND_US);
        mesh
    }

    pub(crate) fn give(&mut self, letter: char, input: Input) {
        let machine = self.machines.get_mut(&letter).unwrap();
        machine.now = self.now;
        for output in machine.give(input) {
            if let Output::SendSwim { to, packet } = output {
                self.sent += 1;
                let reachable = self.machines.get(&letter).is_some_and(|machine| machine.discovery.is_reachable(to));
                let to = self::letter(to);
                if !reachable {
                    // Lost, as the transport loses what it has no connection for.
                    continue;
                }
                self.packets.insert((self.now.after_us(WAY_US), self.sent), (letter, to, packet));
            }
        }
    }

    /// Who was stopped goes on: what is due for it comes first, then what lies before its door.
    fn resume(&mut self) {
        self.stopped.clear();
        for packet in std::mem::take(&mut self.unread) {
            self.sent += 1;
            self.packets.insert((self.now.after_us(1), self.sent), packet);
        }
    }

    pub(crate) fn run(&mut self, duration_us: u64) {
        self.run_until(duration_us, |_| false);
    }

    /// Runs until `done`, at most so long, and says how long it took.
    fn run_until(&mut self, duration_us: u64, done: impl Fn(&Self) -> bool) -> Option<u64> {
        let (begin, end) = (self.now, self.now.after_us(duration_us));
        while !done(self) {
            let running = self.machines.iter().filter(|(letter, _)| !self.stopped.contains(letter));
            let wakeups = running.filter_map(|(letter, machine)| Some((machine.discovery.next_wakeup()?, *letter)));
            let wakeup = wakeups.min();
            let packet = self.packets.first_key_value().map(|((when, _), _)| *when);
            let packet_first = packet.is_some_and(|packet| wakeup.is_none_or(|(wakeup, _)| packet <= wakeup));
            let next = if packet_first { packet } else { wakeup.map(|(when, _)| when) };
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return done(self).then_some(duration_us);
            };
            self.now = self.now.max(next);
            if packet_first {
                let (_, (from, to, packet)) = self.packets.pop_first().unwrap();
                if self.stopped.contains(&to) {
                    self.unread.push((from, to, packet));
                } else if !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from)) {
                    self.give(to, Input::SwimArrived { from: node(from), packet });
                }
            } else if let Some((_, letter)) = wakeup {
                self.give(letter, Input::Woken);
            }
        }
        Some(self.now.since_us(begin))
    }

    /// What everybody who runs says of one.
    fn states_of(&self, of: char) -> Vec<MemberState> {
        let others = self.machines.iter().filter(|(letter, _)| **letter != of && !self.stopped.contains(letter));
        others.map(|(_, machine)| machine.state(of)).collect()
    }

    pub(crate) fn all_say(&self, of: char, state: MemberState) -> bool {
        self.states_of(of).iter().all(|said| *said == state)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.machines.values().map(|machine| machine.discovery.counters().swim_refused).sum()
    }
}

/// A machine that holds the admissions of all of these.
fn member(letter: char, members: &[char]) -> Machine {
    member_with(letter, members, DiscoveryConfig::default())
}

pub(crate) fn member_with(letter: char, members: &[char], config: DiscoveryConfig) -> Machine {
    let recovered = Recovered { chains: vec![admissions(members)], ..Recovered::default() };
    let role = if letter == 'a' { Role::Admin } else { Role::Worker };
    Machine::start_with(identity(letter, certificate('a', letter, role)), &recovered, config)
}

/// The founder's chain with its own admission and those of all others.
fn admissions(members: &[char]) -> RecoveredChain {
    let role = |member| if member == 'a' { Role::Admin } else { Role::Worker };
    chain('a', members.iter().map(|member| admitted(&certificate('a', *member, role(*member)))).collect())
}

#[test]
fn everybody_is_alive_for_everybody_and_stays_so() {
    let mut mesh = Mesh::of(8);
    let all_alive = |mesh: &Mesh| mesh.machines.keys().all(|letter| mesh.all_say(*letter, MemberState::Alive));
    for _ in 0..60 {
        assert!(all_alive(&mesh));
        mesh.run(SECOND_US);
    }
    assert_eq!(mesh.refused(), 0);
}

#[test]
fn who_stops_is_missed_by_all_within_seconds_and_then_dead() {
    let mut mesh = Mesh::of(8);
    let mut longest_us = 0;
    for stopped in LETTERS {
        mesh.stopped = BTreeSet::from([stopped]);
        let missed = |mesh: &Mesh| mesh.states_of(stopped).iter().all(|state| *state != MemberState::Alive);
        let missed_us = mesh.run_until(6 * SECOND_US, missed).expect("everybody misses it");
        longest_us = longest_us.max(missed_us);
        let dead = mesh.run_until(10 * SECOND_US, |mesh| mesh.all_say(stopped, MemberState::Dead));
        assert!(dead.is_some(), "{stopped}: {:?}", mesh.states_of(stopped));
        mesh.resume();
        let back = mesh.run_until(5 * SECOND_US, |mesh| mesh.all_say(stopped, MemberState::Alive));
        assert!(back.is_some(), "{stopped} came back: {:?}", mesh.states_of(stopped));
        mesh.run(5 * SECOND_US);
    }
    assert!(longest_us <= 2 * SECOND_US, "{longest_us}");
}

#[test]
fn a_node_that_stood_still_judges_nobody() {
    let mut mesh = Mesh::of(5);
    // It is stopped between a probe and its answer.
    let probing = |mesh: &Mesh| mesh.packets.values().any(|(from, _, _)| *from == 'c');
    mesh.run_until(SECOND_US, probing).expect("it probes");
    mesh.stopped = BTreeSet::from(['c']);
    mesh.run(60 * SECOND_US);
    mesh.resume();
    let suspected = |mesh: &Mesh| {
        let others = mesh.machines.keys().filter(|letter| **letter != 'c');
        others.into_iter().any(|letter| mesh.states_of(*letter).iter().any(|state| *state != MemberState::Alive))
    };
    assert_eq!(mesh.run_until(10 * SECOND_US, suspected), None, "nobody but c was missed by anybody");
    assert!(mesh.all_say('c', MemberState::Alive));
}

#[test]
fn an_ended_watch_is_known_to_all_at_once_and_a_living_node_says_that_it_lives() {
    let mut mesh = Mesh::of(8);
    mesh.give('b', Input::WatchEnded { node: node('d') });
    assert_eq!(mesh.machines[&'b'].state('d'), MemberState::Suspect);
    let refuted = mesh.run_until(SECOND_US, |mesh| mesh.all_say('d', MemberState::Alive));
    assert!(refuted.is_some(), "{:?}", mesh.states_of('d'));

    // When it does not, nobody has to find out by himself, and it is dead where it was missed first as well.
    mesh.run(10 * SECOND_US);
    mesh.stopped = BTreeSet::from(['d']);
    mesh.give('b', Input::WatchEnded { node: node('d') });
    let missed = |mesh: &Mesh| mesh.states_of('d').iter().all(|state| *state != MemberState::Alive);
    assert!(mesh.run_until(SECOND_US, missed).is_some());
    assert!(mesh.run_until(6 * SECOND_US, |mesh| mesh.all_say('d', MemberState::Dead)).is_some());
}

#[test]
fn whom_one_node_cannot_reach_is_alive_through_others() {
    let mut mesh = Mesh::of(5);
    mesh.cut = BTreeSet::from([('a', 'b')]);
    mesh.give('a', Input::Disconnected { node: node('b') });
    assert_eq!(mesh.machines[&'a'].state('b'), MemberState::Suspect);
    mesh.run(2 * SECOND_US);
    let mut dead = 0;
    for _ in 0..120 {
        mesh.run(SECOND_US / 2);
        dead += usize::from(mesh.states_of('b').contains(&MemberState::Dead));
    }
    assert_eq!(dead, 0, "a half-cut node is never dead");
    assert!(mesh.all_say('b', MemberState::Alive));
}

#[test]
fn two_halves_find_each_other_again() {
    let mut mesh = Mesh::of(5);
    let halves = ['a', 'b'].into_iter().flat_map(|one| ['c', 'd', 'e'].map(|other| (one, other)));
    mesh.cut = halves.clone().collect();
    for (one, other) in halves.clone() {
        mesh.give(one, Input::Disconnected { node: node(other) });
        mesh.give(other, Input::Disconnected { node: node(one) });
    }
    mesh.run(60 * SECOND_US);
    assert_eq!(mesh.machines[&'a'].state('d'), MemberState::Dead);
    assert_eq!(mesh.machines[&'d'].state('a'), MemberState::Dead);
    assert_eq!(mesh.machines[&'d'].state('c'), MemberState::Alive);
    mesh.cut.clear();
    for (one, other) in halves {
        mesh.give(one, connected(other));
        mesh.give(other, connected(one));
    }
    let whole = |mesh: &Mesh| mesh.machines.keys().all(|letter| mesh.all_say(*letter, MemberState::Alive));
    assert!(mesh.run_until(SECOND_US, whole).is_some());
    mesh.run(20 * SECOND_US);
    assert!(whole(&mesh));
}

#[test]
fn a_new_run_is_alive_although_the_old_one_died() {
    let mut mesh = Mesh::of(4);
    mesh.stopped = BTreeSet::from(['c']);
    for other in ['a', 'b', 'd'] {
        mesh.give(other, Input::Disconnected { node: node('c') });
    }
    mesh.run(10 * SECOND_US);
    assert!(mesh.all_say('c', MemberState::Dead));
    mesh.stopped.clear();
    mesh.machines.insert('c', member('c', &LETTERS[..4]));
    for other in ['a', 'b', 'd'] {
        mesh.give(other, connected('c'));
        mesh.give('c', connected(other));
    }
    assert!(mesh.all_say('c', MemberState::Alive), "it has just proven that it is there");
    mesh.run(10 * SECOND_US);
    assert!(mesh.all_say('c', MemberState::Alive));
}

/// Every packet that `from` sends when it is given this.
pub(crate) fn sent(machine: &mut Machine, input: Input) -> Vec<(char, Vec<u8>)> {
    let packets = machine.give(input).into_iter().filter_map(|output| match output {
        Output::SendSwim { to, packet } => Some((letter(to), packet)),
        _ => None,
    });
    packets.collect()
}

#[test]
fn nobody_speaks_for_another_and_nonsense_is_counted() {
    let mut mesh = Mesh::of(3);
    let mut machine = mesh.machines.remove(&'a').unwrap();
    machine.now = mesh.now;
    let mut other = member('b', &LETTERS[..3]);
    let packets = sent(&mut other, connected('a'));
    let [(_, greeting)] = packets.as_slice() else { panic!("one greeting: {packets:?}") };

    let arrives = |from, packet: &[u8]| Input::SwimArrived { from: node(from), packet: packet.to_vec() };
    assert_eq!(sent(&mut machine, arrives('c', greeting)), [], "it is not c who greets");
    let strange = sent(&mut member('d', &LETTERS[..4]), connected('a')).remove(0).1;
    assert_eq!(sent(&mut machine, arrives('d', &strange)), [], "d is no member");
    for length in 0..greeting.len() {
        assert_eq!(sent(&mut machine, arrives('b', &greeting[..length])), [], "{length} bytes");
    }
    let longer = [greeting.as_slice(), &[0; 9_000]].concat();
    assert_eq!(sent(&mut machine, arrives('b', &longer)), []);
    let refused = 2 + greeting.len() as u64 + 1;
    assert_eq!(machine.discovery.counters().swim_refused, refused);
    assert_eq!(sent(&mut machine, arrives('b', greeting)).len(), 1, "the whole of it is answered");
    assert_eq!(machine.discovery.counters().swim_refused, refused);
}

/// Lets a few machines exchange what `from` sends until nobody has anything to say.
fn converse(machines: &mut BTreeMap<char, Machine>, from: char, packets: Vec<(char, Vec<u8>)>) {
    let mut queue: Vec<(char, char, Vec<u8>)> = packets.into_iter().map(|(to, packet)| (from, to, packet)).collect();
    while let Some((from, to, packet)) = queue.pop() {
        let Some(machine) = machines.get_mut(&to) else { continue };
        let more = sent(machine, Input::SwimArrived { from: node(from), packet });
        queue.extend(more.into_iter().map(|(next, packet)| (to, next, packet)));
    }
}

/// What `b` answers to a greeting of `a` when these have greeted it.
fn words_of_b(others: Vec<(char, Machine)>) -> Vec<u8> {
    let mut machines: BTreeMap<char, Machine> = others.into_iter().collect();
    machines.insert('b', member('b', &LETTERS[..4]));
    for other in machines.keys().copied().filter(|other| *other != 'b').collect::<Vec<_>>() {
        let packets = sent(machines.get_mut(&other).unwrap(), connected('b'));
        converse(&mut machines, other, packets);
    }
    let b = machines.get_mut(&'b').unwrap();
    b.give(connected('a'));
    let greeting = sent(&mut member('a', &LETTERS[..4]), connected('b')).remove(0).1;
    let (to, words) = sent(b, Input::SwimArrived { from: node('a'), packet: greeting }).remove(0);
    assert_eq!(to, 'a');
    words
}

#[test]
fn a_member_cannot_invent_others() {
    // For b d is a member, for a it is not.
    let of_four = |letter| (letter, member(letter, &LETTERS[..4]));
    let words = words_of_b(vec![of_four('c'), of_four('d')]);
    let mut honest = member('a', &LETTERS[..3]);
    honest.give(connected('b'));
    honest.give(Input::SwimArrived { from: node('b'), packet: words });
    assert_eq!(honest.discovery.counters().swim_refused, 0);
    let mut to = BTreeSet::new();
    for _ in 0..40 {
        honest.wait(SECOND_US / 2);
        to.extend(sent(&mut honest, Input::Woken).into_iter().map(|(to, _)| to));
    }
    assert!(to.contains(&'b') && to.contains(&'c') && !to.contains(&'d'), "{to:?}");
}

#[test]
fn a_later_run_of_another_is_believed_when_that_one_said_so_itself() {
    let run_of_c = |second: u64| {
        let started = Hlc::from_wall(START.after_us(second * SECOND_US));
        let identity = Identity { started, ..identity('c', certificate('a', 'c', Role::Worker)) };
        Machine::start_run(identity, &Recovered { chains: vec![admissions(&LETTERS[..4])], ..Recovered::default() })
    };
    // b says that c runs since the hundredth second.
    let words = words_of_b(vec![('c', run_of_c(100))]);
    let taken_for_dead = |advertised: u64| {
        let mut honest = member('a', &LETTERS[..4]);
        let mut c = run_of_c(0);
        honest.give(connected('b'));
        honest.give(arrived(&advert('c', advertised, 1, &[])));
        honest.give(Input::SwimArrived { from: node('b'), packet: words.clone() });
        // Whoever is told that he is dead says again who he is.
        let greeting = sent(&mut c, connected('a')).remove(0).1;
        let answer = sent(&mut honest, Input::SwimArrived { from: node('c'), packet: greeting }).remove(0).1;
        !sent(&mut c, Input::SwimArrived { from: node('a'), packet: answer }).is_empty()
    };
    assert!(taken_for_dead(100), "c advertised that run: the one of the start is over");
    assert!(!taken_for_dead(0), "c never said so: b invented it");
}
