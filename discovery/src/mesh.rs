//! Who is whose neighbour when there are too many members for everybody to be connected to everybody: a pure function of who they are.
//!
//! Members fall into groups by their ids. All of one group are neighbours; and each has in every other group one contact, the one
//! that suits it best by a number of both, which is a neighbour too, whichever of the two chose. So any two members have a common neighbour:
//! the contact that one has in the other's group. With about as many groups as a group has members, a member has some two and a half
//! times the square root of their number as neighbours. Who comes or goes changes links of its own, and of those whose
//! contact it was or becomes: nothing depends on anybody's place among the others.

use std::collections::BTreeSet;

use weft_protocol::NodeId;

/// Groups are as many as the least power of two whose square is at least a third of the members: where one more doubling costs more
/// contacts than it saves in the own group.
const MEMBERS_PER_SQUARE: usize = 3;

/// One member and the number by which it is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    number: u64,
    node: NodeId,
}

impl Place {
    /// Ids are keys, which are as good as random: their bits are folded and mixed.
    fn of(node: NodeId) -> Self {
        let words = node.as_bytes().chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes);
        Self { number: words.fold(0, |number, word| mixed(number ^ word)), node }
    }

    /// How well these two suit each other: the same from both sides.
    fn suits(self, other: Self) -> u64 {
        mixed(self.number ^ other.number)
    }
}

/// The last step of splitmix64 (Steele, Lea, Flood, 2014).
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Members in their groups.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    groups: Vec<Vec<Place>>,
}

impl Mesh {
    /// Of these members, each named once.
    #[must_use]
    pub fn of(members: &BTreeSet<NodeId>) -> Self {
        let mut count: usize = 1;
        while count * count * MEMBERS_PER_SQUARE < members.len() {
            count *= 2;
        }
        let mut groups = vec![Vec::new(); count];
        for node in members {
            let place = Place::of(*node);
            groups[group_of(place, count)].push(place);
        }
        Self { groups }
    }

    /// All neighbours of `node`, which need not be one of the members.
    #[must_use]
    pub fn neighbours(&self, node: NodeId) -> BTreeSet<NodeId> {
        let own = Place::of(node);
        let group = self.group(own);
        let mut found: BTreeSet<NodeId> = group.iter().map(|place| place.node).collect();
        for other in self.groups.iter().filter(|other| !std::ptr::eq(*other, group)) {
            found.extend(contact(own, other).map(|place| place.node));
            found.extend(other.iter().filter(|it| contact(**it, group) == Some(own)).map(|it| it.node));
        }
        found.remove(&node);
        found
    }

    /// Whether these two members are neighbours.
    #[must_use]
    pub fn are_neighbours(&self, one: NodeId, other: NodeId) -> bool {
        let (one, other) = (Place::of(one), Place::of(other));
        let (first, second) = (self.group(one), self.group(other));
        let chosen = || contact(one, second) == Some(other) || contact(other, first) == Some(one);
        one != other && (std::ptr::eq(first, second) || chosen())
    }

    fn group(&self, of: Place) -> &Vec<Place> {
        &self.groups[group_of(of, self.groups.len())]
    }
}

/// By the leading bits, so that each of half as many groups holds two of these.
#[expect(clippy::cast_possible_truncation, reason = "less than the number of groups, which is a usize")]
fn group_of(place: Place, groups: usize) -> usize {
    ((u128::from(place.number) * groups as u128) >> 64) as usize
}

/// Whom of a group a member of another one is connected to.
fn contact(of: Place, group: &[Place]) -> Option<Place> {
    group.iter().copied().max_by_key(|other| (of.suits(*other), other.node))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(seed: u64, count: usize) -> BTreeSet<NodeId> {
        let id = |number: u64| {
            let mut bytes = [0; 32];
            for (place, chunk) in (0_u64..).zip(bytes.chunks_exact_mut(8)) {
                chunk.copy_from_slice(&mixed(seed ^ (number << 3 | place) ^ 0x9e37_79b9_7f4a_7c15).to_le_bytes());
            }
            NodeId::from_bytes(bytes)
        };
        (1..).map(id).take(count).collect()
    }

    fn links(members: &BTreeSet<NodeId>) -> BTreeSet<(NodeId, NodeId)> {
        let mesh = Mesh::of(members);
        members.iter().flat_map(|one| mesh.neighbours(*one).into_iter().map(|other| (*one, other))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn neighbours_are_so_to_each_other_and_any_two_have_one_in_common(seed: u64, count in 2_usize..400) {
            let members = members(seed, count);
            let mesh = Mesh::of(&members);
            let near: Vec<(NodeId, BTreeSet<NodeId>)> =
                members.iter().map(|node| (*node, mesh.neighbours(*node))).collect();
            for (one, of_one) in &near {
                prop_assert!(!of_one.contains(one));
                for (other, of_other) in near.iter().filter(|(other, _)| other != one) {
                    prop_assert_eq!(of_one.contains(other), of_other.contains(one));
                    prop_assert_eq!(of_one.contains(other), mesh.are_neighbours(*one, *other));
                    prop_assert!(of_one.contains(other) || !of_one.is_disjoint(of_other));
                }
            }
        }
    }

    /// Worlds in which ids fall as they may. They are always the same ones, as with enough of them some are as unlucky as one likes.
    fn worlds() -> impl Iterator<Item = (BTreeSet<NodeId>, f64)> {
        let counts = [66_usize, 97, 160, 193, 300, 400, 512];
        let worlds = (0..8).flat_map(move |seed| counts.map(|count| (mixed(seed), count)));
        worlds.map(|(seed, count)| (members(seed, count), (count as f64).sqrt()))
    }

    #[test]
    fn nobody_has_many() {
        for (members, root) in worlds() {
            let mesh = Mesh::of(&members);
            let degrees: Vec<usize> = members.iter().map(|node| mesh.neighbours(*node).len()).collect();
            let mean = degrees.iter().sum::<usize>() as f64 / members.len() as f64;
            assert!(mean <= 3.0 * root, "{mean} of {}", members.len());
            let most = degrees.into_iter().max().unwrap_or(0);
            assert!(most as f64 <= 5.0 * root, "{most} of {}", members.len());
        }
    }

    #[test]
    fn whoever_comes_or_goes_changes_little() {
        let mut looked_at = 0;
        for (all, root) in worlds() {
            let newcomer = *all.iter().nth(all.len() / 2).expect("one of them");
            let before: BTreeSet<NodeId> = all.iter().copied().filter(|node| *node != newcomer).collect();
            if Mesh::of(&all).groups.len() != Mesh::of(&before).groups.len() {
                continue;
            }
            looked_at += 1;
            let (before, after) = (links(&before), links(&all));
            let of_others = |links: &BTreeSet<(NodeId, NodeId)>| -> BTreeSet<(NodeId, NodeId)> {
                links.iter().filter(|(one, other)| *one != newcomer && *other != newcomer).copied().collect()
            };
            let (kept, of_others) = (of_others(&after), of_others(&before));
            assert!(kept.is_subset(&of_others), "nobody else is connected anew");
            let gone = of_others.difference(&kept).count();
            assert!(gone as f64 <= 6.0 * root, "{gone} of {}", before.len());
        }
        assert!(looked_at > 40, "{looked_at} worlds");
    }

    #[test]
    fn few_members_are_one_group() {
        let members = members(7, 3);
        assert_eq!(links(&members).len(), 6);
        assert_eq!(Mesh::of(&BTreeSet::new()).neighbours(NodeId::from_bytes([1; 32])), BTreeSet::new());
    }
}
