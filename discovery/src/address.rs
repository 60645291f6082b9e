//! Which of a node's own addresses are worth telling to others.

use weft_protocol::NodeId;
use weft_protocol::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};

/// The addresses that another node may dial, at most 16: without those that name no machine, and without loopback unless
/// there is nothing else.
pub(crate) fn worth_telling(listening: &[String]) -> Vec<String> {
    let named: Vec<&String> =
        listening.iter().filter(|address| !is_unspecified(address) && address.len() <= ADDRESS_BYTES_MAX).collect();
    let outward: Vec<&String> = named.iter().copied().filter(|address| !is_loopback(address)).collect();
    let told = if outward.is_empty() { named } else { outward };
    merged(told.into_iter().cloned(), [])
}

/// The address without the peer id of `node` at its end, so that one place has one text.
pub(crate) fn without_peer(address: &str, node: NodeId) -> String {
    address.strip_suffix(&format!("/p2p/{node}")).unwrap_or(address).to_owned()
}

/// Both lists in their order, each address once, at most 16; what does not fit is forgotten.
pub(crate) fn merged(first: impl IntoIterator<Item = String>, second: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for address in first.into_iter().chain(second) {
        if all.len() < ADDRESSES_MAX && address.len() <= ADDRESS_BYTES_MAX && !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}

fn is_unspecified(address: &str) -> bool {
    address.starts_with("/ip4/0.0.0.0/") || address.starts_with("/ip6/::/")
}

#[cfg(test)]
mod tests {
    use super::worth_telling;

    fn check(listening: &[&str], told: &[&str]) {
        let listening: Vec<String> = listening.iter().map(|&address| address.to_owned()).collect();
        assert_eq!(worth_telling(&listening), told);
    }

    #[test]
    fn loopback_is_told_only_when_there_is_nothing_else() {
        check(&["/ip4/127.0.0.1/tcp/1"], &["/ip4/127.0.0.1/tcp/1"]);
        check(&["/ip6/::1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.4/tcp/1"], &["/ip4/10.0.0.4/tcp/1"]);
        check(&["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1"], &[]);
        check(&["/ip4/10.0.0.4/tcp/1", "/ip4/10.0.0.4/tcp/1"], &["/ip4/10.0.0.4/tcp/1"]);
    }

    #[test]
    fn at_most_sixteen_addresses_of_bounded_length() {
        let many: Vec<String> = (0..40).map(|port| format!("/ip4/10.0.0.4/tcp/{port}")).collect();
        assert_eq!(worth_telling(&many), many[..16]);
        check(&[&"/ip4/10.0.0.4/".repeat(40)], &[]);
    }
}
