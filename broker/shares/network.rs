//! The network of an address, to which limits per address apply.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or the 64-bit prefix of an IPv6 address, behind which a client chooses its address freely (RFC 4291
/// section 2.5.4). It holds no more than that, because every session has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    /// An address.
    V4(Ipv4Addr),
    /// The first half of an address.
    V6([u8; 8]),
}

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }

    /// Whether the address is the loopback address of this machine.
    pub(crate) fn is_this_machine(address: IpAddr) -> bool {
        matches!(address.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_with_one_prefix_are_one_network() {
        let network = |address: &str| Network::of(address.parse().expect("an address"));
        for (one, other, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            assert_eq!(network(one) == network(other), same, "{one} {other}");
        }
        let own = |address: &str| Network::is_this_machine(address.parse().expect("an address"));
        assert_eq!(["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.2"].map(own), [true, true, true, false]);
    }
}
