//! Which node opened a socket, read from /proc: the number of the socket by its address, then the process that holds it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::super::name::Party;
use super::SimNode;

/// The processes of the nodes, and the sockets that they were seen to hold.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pids: BTreeMap<SimNode, u32>,
    /// By the socket's number, which no later socket gets.
    held: BTreeMap<u64, SimNode>,
}

/// Which table of /proc.
#[derive(Debug, Clone, Copy)]
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

    /// Who holds the socket at this end of a connection.
    pub(super) fn find(&mut self, table: Table, address: SocketAddr) -> Party {
        let lines = std::fs::read_to_string(table.path()).unwrap_or_default();
        let Some(socket) = socket_at(&lines, address) else { return Party::Outside };
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

/// The number of the socket that is bound to this address: see proc(5), `/proc/net/tcp`; addresses are in the machine's order
/// of bytes. One that is bound to the port of all addresses counts as well.
fn socket_at(lines: &str, address: SocketAddr) -> Option<u64> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let port = address.port();
    let exact = format!("{:08X}:{port:04X}", u32::from_ne_bytes(ip.octets()));
    let any = format!("{:08X}:{port:04X}", 0);
    let find = |local: &str| {
        lines.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let socket = fields.get(9)?.parse::<u64>().ok()?;
            (fields.get(1) == Some(&local) && socket != 0).then_some(socket)
        })
    };
    find(&exact).or_else(|| find(&any))
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
        assert_eq!(owners.find(Table::Tcp, end), Party::Outside, "nobody runs yet");
        owners.runs_as(node, std::process::id());
        assert_eq!(owners.find(Table::Tcp, end), Party::Node(node));
        let datagrams = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let port = datagrams.local_addr().expect("bound").port();
        assert_eq!(owners.find(Table::Udp, SocketAddr::from(([127, 0, 0, 1], port))), Party::Node(node));
        drop((stream, datagrams));
        // The end that was closed first waits in the table without an owner.
        assert_eq!(owners.find(Table::Udp, SocketAddr::from(([127, 0, 0, 1], port))), Party::Outside);
    }
}
