//! Who is started again when a process fails: groups with a strategy and a budget, in a tree below one root.
//!
//! Every agent is a child: of the group its spec names, else of the root. A group's path is its place in the tree:
//! `shop/workers` is a child of `shop`, and that of the root. A failure is dealt with where it happened, under that group's
//! strategy, while the group's budget lasts; then it is a failure of the group within the group above. The root keeps one
//! budget for each of its own agents, because they are strangers to each other, and starts no group again: what reaches it
//! is given up, and its agents are `failed` until somebody asks for them.
//!
//! Modules in reading order: `budget` (how often, after which wait), `tree` (the children and the decision), `plan` (restarts
//! that wait), `restart` (what the kernel makes of a decision), `request` (restarts that somebody asked for).

mod budget;
mod plan;
mod request;
mod restart;
mod tree;

pub(crate) use request::Meant;
pub(crate) use restart::Ended;
pub(crate) use tree::{Child, Condition, Rest, Supervisors};
