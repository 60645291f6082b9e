//! Which node opened a socket, read from /proc: the number of the socket by its address, then the process that holds it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use tokio::time::Instant;

use super::super::name::Party;
use super::SimNode;

/// The processes of the nodes, and the sockets that they were seen to hold.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pids: BTreeMap<SimNode, u32>,
    /// By the socket's number, which no later socket gets.
    held: BTreeMap<u64, SimNode>,
    /// The tables as they were read last, and when that began: while one is read, others wait for it.
    read: BTreeMap<Table, (Instant, Sockets)>,
}

/// Numbers of sockets by what they are bound to.
type Sockets = BTreeMap<SocketAddrV4, u64>;

/// Which table of /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Tcp,
    Udp,
}

impl Table {
    const fn path(self) -> &'static str {
        match self {
            Self::Tcp => "/proc/self/net/tcp",
            Self::Udp => "/proc/self/net/udp",
        }
    }
}

impl Owners {
    /// A node runs as this process from now on.
    pub(super) fn runs_as(&mut self, node: SimNode, pid: u32) {
        self.pids.insert(node, pid);
    }

    /// Who holds the socket at this end of a connection, which was there at that time.
    pub(super) fn find(&mut self, table: Table, address: SocketAddr, since: Instant) -> Party {
        if self.read.get(&table).is_none_or(|(read, _)| *read <= since) {
            let now = Instant::now();
            let lines = std::fs::read_to_string(table.path()).unwrap_or_default();
            self.read.insert(table, (now, sockets_of(&lines)));
        }
        let sockets = self.read.get(&table).map(|(_, sockets)| sockets);
        let Some(socket) = sockets.and_then(|sockets| socket_at(sockets, address)) else { return Party::Outside };
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

/// The sockets of a table: see proc(5), `/proc/net/tcp`; addresses are in the machine's order of bytes. Ends of connections that wait
/// without an owner are none.
fn sockets_of(lines: &str) -> Sockets {
    let bound = lines.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (ip, port) = fields.nth(1)?.split_once(':')?;
        let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
        let socket = fields.nth(7)?.parse::<u64>().ok().filter(|socket| *socket != 0)?;
        Some((SocketAddrV4::new(ip.into(), u16::from_str_radix(port, 16).ok()?), socket))
    });
    // Of a listener and those that it took, the listener comes first; all are one process's.
    let mut sockets = Sockets::new();
    bound.for_each(|(address, socket)| {
        sockets.entry(address).or_insert(socket);
    });
    sockets
}

/// The number of the socket that is bound to this address, or to its port of all addresses.
fn socket_at(sockets: &Sockets, address: SocketAddr) -> Option<u64> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let at = |ip| sockets.get(&SocketAddrV4::new(ip, address.port())).copied();
    at(ip).or_else(|| at(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn whoever_opened_a_socket_is_found_and_nobody_else() {
        let mut owners = Owners::default();
        let node: SimNode = "n3".parse().expect("a node");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let end = stream.local_addr().expect("bound");
        assert_eq!(owners.find(Table::Tcp, end, Instant::now()), Party::Outside, "nobody runs yet");
        owners.runs_as(node, std::process::id());
        assert_eq!(owners.find(Table::Tcp, end, Instant::now()), Party::Node(node));
        let datagrams = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let port = datagrams.local_addr().expect("bound").port();
        assert_eq!(
            owners.find(Table::Udp, SocketAddr::from(([127, 0, 0, 1], port)), Instant::now()),
            Party::Node(node)
        );
        drop((stream, datagrams));
        // The end that was closed first waits in the table without an owner.
        assert_eq!(owners.find(Table::Udp, SocketAddr::from(([127, 0, 0, 1], port)), Instant::now()), Party::Outside);
    }
}
