//! Publications of other nodes: judged here, remembered, and handed out once.

use weft_protocol::{NodeId, Publication, Role, Stage, StampVerdict};

use super::publish::PUBLICATION_BYTES_MAX;
use super::start::Cursor;
use crate::action::Action;
use crate::ipc::check_payload;
use crate::kernel::Kernel;

impl Kernel {
    /// A publication of another node, in its place among that node's. One that was fetched as history is remembered only.
    pub(crate) fn on_publication(&mut self, from: NodeId, role: Role, publication: Publication, fetched: bool) {
        let own = publication.id.chain.node == from && publication.from.node == from;
        if !own || from == self.identity.chain.node || !self.topics.is_followed(&publication.topic) {
            return;
        }
        let acceptable = check_payload(&publication.payload, PUBLICATION_BYTES_MAX).is_ok();
        if !acceptable || self.chain.observe(publication.hlc, self.now) == StampVerdict::Refused {
            return;
        }
        let (chain, seq) = (publication.id.chain, publication.seq);
        if !self.topics.is_new(publication.id) || self.topics.log.contains(&publication.topic, chain, seq) {
            return;
        }
        let action = Action::ReceivePublication { role, topic: publication.topic.clone() };
        let (resources, grants) = ([publication.topic.to_string()], publication.grant.as_slice());
        let judged = self.judge(&publication.from, &action, &resources, grants, Some(publication.id));
        let Ok(permit) = judged else { return };
        self.use_grant(&publication.from, &permit);
        let place = self.record_publication(Stage::Delivered, from, &publication, &permit.text());
        self.log_publication(place, fetched, publication.clone());
        if !fetched {
            let listeners = self.topics.listeners.live(&publication.topic);
            listeners.iter().for_each(|who| self.hand_to(*who, Cursor::Live(place), &publication));
        }
    }
}
