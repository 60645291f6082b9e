//! What other members' chains say that concerns this node: told to the core that acts on it, when it arrives and at each start.

use weft_discovery::{self as discovery, Discovery};
use weft_kernel::{self as kernel, Kernel};
use weft_protocol::{
    Admitted, Evidence, Fact, Hlc, MemberChangeWanted, MemberVerb, NodeId, PlacedFact, Recovered, Role,
};
use weft_replication::{self as replication, Replication};

use crate::peer::{Peer, Step};

impl Peer {
    pub(crate) fn learned(&mut self, issuer: NodeId, facts: Vec<PlacedFact>) {
        let own = issuer == self.node;
        for placed in facts {
            match placed.fact {
                Fact::Admitted(admitted) => {
                    let Admitted { certificate, invite } = *admitted;
                    let certificate = Box::new(certificate);
                    self.tell_discovery(discovery::Input::AdmissionSeen { issuer, certificate, invite });
                }
                Fact::KeyRotated(rotation) => {
                    self.tell_discovery(discovery::Input::KeysRotated { node: issuer, rotation });
                }
                // Of what came back of an earlier chain of ours, only who was admitted counts before the next start.
                _ if own => {}
                Fact::Shutdown(_) => {
                    self.tell_discovery(discovery::Input::ShutdownSeen { node: issuer, hlc: placed.hlc });
                }
                Fact::GrantIssued(issued) if may_give(self.discovery.role_of(issuer)) => {
                    self.tell_kernel(kernel::Input::GrantLearned { issuer, issued });
                }
                Fact::Exited(exited) => {
                    self.tell_kernel(kernel::Input::ExitLearned { node: issuer, exited: Box::new(exited) });
                }
                Fact::GrantRevoked(revoked) => {
                    let grant = revoked.grant;
                    self.tell_kernel(kernel::Input::RevocationLearned { issuer, grant });
                }
                Fact::MemberChangeWanted(wanted) if may_take_back(self.discovery.role_of(issuer)) => {
                    self.take_back(&wanted, placed.hlc);
                }
                fact @ (Fact::Amendment(_) | Fact::Endorsed(_)) => {
                    let (hlc, fact) = (placed.hlc, Box::new(fact));
                    self.tell_kernel(kernel::Input::RulesSaid { node: issuer, hlc, fact });
                }
                _ => {}
            }
        }
    }
}

impl Peer {
    /// An admin readmits a node: if it was cut off, it may come back with a chain that it began since.
    pub(crate) fn take_back(&mut self, wanted: &MemberChangeWanted, hlc: Hlc) {
        if is_taken_back(&self.replication, wanted, hlc) {
            let node = wanted.node;
            self.tell_discovery(discovery::Input::MemberPardoned { node });
            self.tell_replication(replication::Input::MemberPardoned { node });
        }
    }
}

/// Whether this word of an admin, stamped so, lets a node come back: not when it was proven to lie on a chain that it began later.
fn is_taken_back(replication: &Replication, wanted: &MemberChangeWanted, hlc: Hlc) -> bool {
    let proven = replication.evidence().filter_map(Evidence::chain);
    let mut later = proven.filter(|chain| chain.node == wanted.node);
    let standing = replication.standing();
    wanted.verb == MemberVerb::Readmit && later.all(|chain| standing.begun(&chain).is_none_or(|begun| begun < hlc))
}

/// Which nodes admins have taken back after they were cut off, as chains say.
pub(crate) fn pardons_learned(recovered: &Recovered, discovery: &Discovery, replication: &Replication) -> Vec<Step> {
    let facts = recovered.chains.iter().flat_map(|chain| {
        let issuer = chain.state.chain().node;
        chain.facts.iter().map(move |placed| (issuer, placed))
    });
    let pardons = facts.filter_map(|(issuer, placed)| match &placed.fact {
        Fact::MemberChangeWanted(wanted) if may_take_back(discovery.role_of(issuer)) => {
            is_taken_back(replication, wanted, placed.hlc).then_some(wanted.node)
        }
        _ => None,
    });
    let both = |node| {
        let replicated = Step::Replication(replication::Input::MemberPardoned { node });
        [Step::Discovery(discovery::Input::MemberPardoned { node }), replicated]
    };
    pardons.flat_map(both).collect()
}

/// Only an admin says who comes back.
const fn may_take_back(role: Option<Role>) -> bool {
    match role {
        Some(Role::Admin) => true,
        Some(Role::Worker | Role::Observer) | None => false,
    }
}

/// What other chains say about rights that crossed from one node to another: told to the kernel before anything else, so that
/// what was taken back stays so over a restart.
pub(crate) fn rights_learned(own: NodeId, recovered: &Recovered, discovery: &Discovery) -> Vec<Step> {
    let others = recovered.chains.iter().filter(|chain| chain.state.chain().node != own);
    let facts = others.flat_map(|chain| chain.facts.iter().map(|placed| (chain.state.chain().node, &placed.fact)));
    let learned = facts.filter_map(|(issuer, fact)| match fact {
        Fact::GrantIssued(issued) if may_give(discovery.role_of(issuer)) => {
            Some(kernel::Input::GrantLearned { issuer, issued: issued.clone() })
        }
        Fact::GrantRevoked(revoked) => Some(kernel::Input::RevocationLearned { issuer, grant: revoked.grant }),
        _ => None,
    });
    learned.map(Step::Kernel).collect()
}

/// Who may amend rules and say who counts, and what other chains say about rules.
pub(crate) fn rules_learned(own: NodeId, recovered: &Recovered, discovery: &Discovery) -> Vec<Step> {
    let others = recovered.chains.iter().filter(|chain| chain.state.chain().node != own);
    let said = others.flat_map(|chain| chain.facts.iter().map(|placed| (chain.state.chain().node, placed)));
    let said = said.filter(|(_, placed)| matches!(placed.fact, Fact::Amendment(_) | Fact::Endorsed(_)));
    let said = said.map(|(node, placed)| {
        let (hlc, fact) = (placed.hlc, Box::new(placed.fact.clone()));
        Step::Kernel(kernel::Input::RulesSaid { node, hlc, fact })
    });
    let known = [admins_known(discovery), members_known(own, discovery)];
    let counted = Step::Replication(admins_counted(discovery));
    known.into_iter().map(Step::Kernel).chain([counted]).chain(said).collect()
}

/// Whose word is needed for who counts: all admins that are not cut off.
pub(crate) fn admins_counted(discovery: &Discovery) -> replication::Input {
    replication::Input::AdminsKnown { admins: discovery.admins_now().collect() }
}

/// Who may vouch for what: every member that is not cut off.
pub(crate) fn members_known(own: NodeId, discovery: &Discovery) -> kernel::Input {
    kernel::Input::MembersKnown { members: discovery.active_others().chain([own]).collect() }
}

pub(crate) fn admins_known(discovery: &Discovery) -> kernel::Input {
    let term = |(node, since, until)| kernel::AdminTerm { node, since, until };
    kernel::Input::AdminsKnown { admins: discovery.admins().map(term).collect() }
}

/// What other chains say of the ends of processes that are monitored here since before the start.
pub(crate) fn ends_learned(own: NodeId, recovered: &Recovered, kernel: &Kernel) -> Vec<Step> {
    if kernel.nodes_watched().is_empty() {
        return Vec::new();
    }
    let others = recovered.chains.iter().filter(|chain| chain.state.chain().node != own);
    let facts = others.flat_map(|chain| chain.facts.iter().map(|placed| (chain.state.chain().node, &placed.fact)));
    let learned = facts.filter_map(|(node, fact)| match fact {
        Fact::Exited(exited) if kernel.is_watched(node, exited.process) => {
            Some(kernel::Input::ExitLearned { node, exited: Box::new(exited.clone()) })
        }
        _ => None,
    });
    learned.map(Step::Kernel).collect()
}

/// An observer gives nothing: it may not act on other nodes itself.
const fn may_give(role: Option<Role>) -> bool {
    match role {
        Some(Role::Admin | Role::Worker) => true,
        Some(Role::Observer) | None => false,
    }
}
