//! The network of an address, to which limits per address apply.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the 64-bit prefix of an IPv6 address, behind which a client chooses its address freely (RFC 4291
/// section 2.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }

    /// Whether the address is the loopback address of this machine.
    pub(crate) fn is_this_machine(address: IpAddr) -> bool {
        matches!(address.to_canonical(), IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST))
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
