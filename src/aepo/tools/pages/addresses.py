"""Decides which internet addresses are public.

The lists are IANA's registries of special-purpose addresses. They are written out here because `ipaddress.is_global`
differs between versions of Python. If an IPv6 address stands for an IPv4 address, the IPv4 address decides.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; some clouds' metadata services
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host, from inside Azure
        "169.254.0.0/16",  # link-local; most clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

PUBLIC_V6 = IPv6Network("2000::/3")
"""All addresses that are given out for unicast. Loopback, link-local, private, multicast and reserved ones are outside.
"""

NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, among them Teredo's tunnels
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4's tunnels
        "3fff::/20",  # documentation
    )
)

_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: Address) -> bool:
    """Tell whether an address is public."""
    address = plain(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_V4)
    if address.scope_id is not None or address not in PUBLIC_V6:
        return False
    if any(address in network for network in NOT_PUBLIC_V6):
        return False
    number = int(address)
    tunnelled = (number >> 32) & 0xFFFFFFFF in _ISATAP
    return not tunnelled or is_public(IPv4Address(number & 0xFFFFFFFF))


def plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for (IPv4-mapped or NAT64); else the address itself."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
