//! Which node opened a socket: the number of the socket by its address, then the process that holds it, read from /proc.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::super::name::Party;
use super::SimNode;
use super::socket_number::{Kind, socket_number};

/// The processes of the nodes, and the sockets that they were seen to hold.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pids: BTreeMap<SimNode, u32>,
    /// By the socket's number, which no later socket gets.
    held: BTreeMap<u64, SimNode>,
}

impl Owners {
    /// A node runs as this process from now on.
    pub(super) fn runs_as(&mut self, node: SimNode, pid: u32) {
        self.pids.insert(node, pid);
    }

    /// Who holds the socket at this end of a connection, of which the other end is `other`.
    pub(super) fn find(&mut self, kind: Kind, address: SocketAddr, other: SocketAddr) -> Party {
        let (SocketAddr::V4(at), SocketAddr::V4(other)) = (address, other) else { return Party::Outside };
        // A kernel that answers no such question shows all sockets, which takes a thousand times as long.
        let number = socket_number(kind, at, other).unwrap_or_else(|_| number_in_table(kind, at));
        let Some(socket) = number else { return Party::Outside };
        if !self.held.contains_key(&socket) {
            self.look_again();
        }
        self.held.get(&socket).map_or(Party::Outside, |node| Party::Node(*node))
    }

    /// One look at all processes answers for all sockets that were opened meanwhile.
    fn look_again(&mut self) {
        self.held.clear();
        for (node, pid) in &self.pids {
            let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
            let links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
            let sockets = links
                .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
            self.held.extend(sockets.map(|socket| (socket, *node)));
        }
    }
}

/// The number of the socket that is bound to this address, or to its port of all addresses, in the table of all sockets.
fn number_in_table(kind: Kind, at: SocketAddrV4) -> Option<u64> {
    let path = match kind {
        Kind::Tcp => "/proc/self/net/tcp",
        Kind::Udp => "/proc/self/net/udp",
    };
    let lines = std::fs::read_to_string(path).unwrap_or_default();
    let bound: Vec<_> = lines.lines().filter_map(socket_of).collect();
    let number = |address| bound.iter().find(|(one, _)| *one == address).map(|(_, number)| *number);
    number(at).or_else(|| number(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, at.port())))
}

/// The socket of a line: see proc(5), `/proc/net/tcp`; addresses are in the machine's order of bytes. An end of a connection that
/// waits without an owner is none.
fn socket_of(line: &str) -> Option<(SocketAddrV4, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    let socket = fields.nth(7)?.parse::<u64>().ok().filter(|socket| *socket != 0)?;
    Some((SocketAddrV4::new(ip.into(), u16::from_str_radix(port, 16).ok()?), socket))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn v4(address: std::io::Result<SocketAddr>) -> SocketAddrV4 {
        match address {
            Ok(SocketAddr::V4(address)) => address,
            other => panic!("no address: {other:?}"),
        }
    }

    #[test]
    fn whoever_opened_a_socket_is_found_and_nobody_else() {
        let mut owners = Owners::default();
        let node: SimNode = "n3".parse().expect("a node");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (end, far) = (stream.local_addr().expect("bound"), stream.peer_addr().expect("connected"));
        assert_eq!(owners.find(Kind::Tcp, end, far), Party::Outside, "nobody runs yet");
        owners.runs_as(node, std::process::id());
        assert_eq!(owners.find(Kind::Tcp, end, far), Party::Node(node));
        let datagrams = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let at = SocketAddr::from(([127, 0, 0, 1], datagrams.local_addr().expect("bound").port()));
        let other = UdpSocket::bind("127.0.0.2:0").expect("a port").local_addr().expect("bound");
        assert_eq!(owners.find(Kind::Udp, at, other), Party::Node(node));
        drop((stream, datagrams));
        // The end that was closed first waits without an owner.
        assert_eq!(owners.find(Kind::Tcp, end, far), Party::Outside);
        assert_eq!(owners.find(Kind::Udp, at, other), Party::Outside);
    }

    #[test]
    fn the_kernel_and_its_table_say_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (at, other) = (v4(stream.local_addr()), v4(stream.peer_addr()));
        let number = number_in_table(Kind::Tcp, at);
        assert!(number.is_some());
        assert_eq!(socket_number(Kind::Tcp, at, other).expect("an answer"), number);
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = v4(datagrams.local_addr());
        let number = number_in_table(Kind::Udp, at);
        assert!(number.is_some());
        assert_eq!(socket_number(Kind::Udp, at, other).expect("an answer"), number);
        drop(datagrams);
        assert_eq!(socket_number(Kind::Udp, at, other).expect("an answer"), None);
    }
}
