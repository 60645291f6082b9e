//! Links that are opened because something has to pass, in a mesh that is partial: what waits before the door of a member that is no
//! neighbour, and when the link to it is let go again.

use std::collections::{BTreeMap, VecDeque};

use weft_discovery as discovery;
use weft_protocol::{A2aItem, NodeId, SyncRequest, Timestamp};

use crate::config::QUEUED_ITEMS_MAX;
use crate::event::{OutboundId, Output, Request};
use crate::peer::Peer;

/// Most requests that wait for a link to one member, besides messages; one more fails at once (guess: nobody asks so much at a time).
const REQUESTS_WAITING_MAX: usize = 64;

/// What waits for a link to one member.
#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<A2aItem>,
    requests: Vec<(OutboundId, Request)>,
}

/// All that waits. It waits no longer than discovery dials: then it goes, or is lost as on a connection that ends.
#[derive(Debug, Default)]
pub(crate) struct Doorstep {
    waiting: BTreeMap<NodeId, Waiting>,
}

impl Peer {
    /// Whether what is for that member has to wait for a link that is opened for it.
    pub(crate) fn waits_for_link(&self, to: &NodeId) -> bool {
        self.wire(to).is_none() && self.discovery.is_on_demand(to)
    }

    /// Lets an item wait; one for which there is no room is lost.
    pub(crate) fn item_waits(&mut self, to: NodeId, item: A2aItem) {
        let waiting = self.wait_for(to);
        if waiting.items.len() < QUEUED_ITEMS_MAX {
            waiting.items.push_back(item);
        } else {
            self.item_lost(to, &item);
        }
    }

    /// Lets a request wait; gives its number back when there is no room.
    pub(crate) fn request_waits(&mut self, to: NodeId, request: OutboundId, content: Request) -> Option<OutboundId> {
        let waiting = self.wait_for(to);
        if waiting.requests.len() >= REQUESTS_WAITING_MAX {
            return Some(request);
        }
        waiting.requests.push((request, content));
        None
    }

    fn wait_for(&mut self, to: NodeId) -> &mut Waiting {
        if !self.doorstep.waiting.contains_key(&to) {
            self.tell_discovery(discovery::Input::LinkWanted { node: to });
        }
        self.doorstep.waiting.entry(to).or_default()
    }

    /// A link to that member is open: what waited for it goes.
    pub(crate) fn door_opened(&mut self, node: NodeId, out: &mut Vec<Output>) {
        let Waiting { items, requests } = self.doorstep.waiting.remove(&node).unwrap_or_default();
        for item in items {
            self.transmit(node, item);
        }
        out.extend(requests.into_iter().map(|(request, content)| Output::Request { request, to: node, content }));
    }

    /// No link to that member comes to be: what waited for it is lost, and whoever sent it hears so.
    pub(crate) fn door_stays_closed(&mut self, node: NodeId, now: Timestamp, out: &mut Vec<Output>) {
        let Waiting { items, requests } = self.doorstep.waiting.remove(&node).unwrap_or_default();
        for item in items {
            self.item_lost(node, &item);
        }
        for (request, _) in requests {
            self.request_failed(request, "that member was not reached".to_owned(), now, out);
        }
    }

    /// When the first link is to be let go over which nothing passes.
    pub(crate) fn next_let_go(&self) -> Option<Timestamp> {
        let ends = self
            .discovery
            .is_partial()
            .then(|| self.links.used_at().filter_map(|(node, used)| self.ends_at(&node, used)));
        ends.into_iter().flatten().min()
    }

    fn ends_at(&self, node: &NodeId, used: Timestamp) -> Option<Timestamp> {
        self.discovery.idle_us_max(node).map(|idle_us| used.after_us(idle_us))
    }

    /// Lets links go over which nothing has passed for long.
    pub(crate) fn let_links_go(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if !self.discovery.is_partial() {
            return;
        }
        let idle = |(node, used): &(NodeId, Timestamp)| self.ends_at(node, *used).is_some_and(|at| at <= now);
        let idle: Vec<NodeId> = self.links.used_at().filter(idle).map(|(node, _)| node).collect();
        for node in idle {
            // Until it is closed it counts as used, so that it is closed once.
            self.links.used(node, now);
            out.push(Output::Disconnect { node });
        }
    }
}

/// Whether a request is a reason to keep a link. What compares chains, adverts and publications goes over whatever link there is, and over others
/// without it.
pub(crate) fn is_use(content: &Request) -> bool {
    match content {
        Request::A2a(_) | Request::Blob(_) => true,
        Request::Sync(sync) => match sync {
            SyncRequest::Trace { .. } | SyncRequest::Lease { .. } => true,
            SyncRequest::Hello { .. }
            | SyncRequest::Range { .. }
            | SyncRequest::Stretch { .. }
            | SyncRequest::Evidence { .. }
            | SyncRequest::Head { .. }
            | SyncRequest::LastTick { .. }
            | SyncRequest::Witness { .. }
            | SyncRequest::Streams { .. }
            | SyncRequest::Publications { .. }
            | SyncRequest::Adverts { .. } => false,
        },
    }
}
