//! The rules of who counts and what is stable: three members by hand, then generated histories, and each rule left out.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod admins;
mod by_hand;
mod generated;
mod same;
