//! Who counts, what is in which order, what is stable, and what remains of a chain with two histories: a model to build
//! replication against, with a switch for each rule so that tests can show what breaks without it.
//!
//! `view` is what a member holds, `fold` what that means (the model itself), `ballots` how an epoch is decided, `rules` the switches, `member` how an honest
//! member behaves, `world` many of them in generated histories, and the judge.

mod ballots;
mod fold;
mod member;
mod rules;
mod view;
mod world;

pub use fold::{Epoch, Fold, Placed, convicted};
pub use member::Member;
pub use rules::{Acknowledged, Rules};
pub use view::{Ballot, Chain, Change, Commit, Head, Key, Record, Tick, View};
pub use world::{Report, Setting, contradiction, play, play_watched};
