"""No address that is not everybody's passes, however it is written."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.pages.addresses import NOT_PUBLIC_V4, NOT_PUBLIC_V6, is_public

v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
v6 = st.integers(0, 2**128 - 1).map(IPv6Address) | st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(IPv6Address)


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return st.integers(0, network.num_addresses - 1).map(lambda offset: network[offset])


private_v4 = st.sampled_from(NOT_PUBLIC_V4).flatmap(inside)


def written(number: int, prefix: str) -> IPv6Address:
    return IPv6Address(int(IPv6Address(prefix)) | number)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
        *("168.63.129.16", "240.0.0.1", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.88.99.1"),
        *("::", "::1", "::7f00:2", "::ffff:127.0.0.2", "::ffff:0:127.0.0.1", "64:ff9b::7f00:2", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::1", "100::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2001::1", "2001:0:7f00:2::", "2001:db8::1", "2002:7f00:2::1", "2002:a00:1::", "3fff::1", "5f00::1"),
        *("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "2606:4700::1111%1"),
    ],
)
def test_addresses_of_hosts_networks_and_clouds_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1"),
        *("192.167.255.255", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::200e"),
        *("::ffff:8.8.8.8", "64:ff9b::808:808"),
    ],
)
def test_addresses_of_the_web_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(private_v4)
def test_a_private_address_is_not_public_in_any_form_that_ipv6_has_for_it(address: IPv4Address) -> None:
    number = int(address)
    forms = [written(number, prefix) for prefix in ("::ffff:0:0", "::", "64:ff9b::", "::ffff:0:0:0", "2a00::5efe:0:0")]
    forms += [written(number << 80, "2002::"), written(number << 64, "2001::"), written(number ^ 0xFFFFFFFF, "2001::")]
    assert [form for form in [address, *forms] if is_public(form)] == []


@given(st.sampled_from(NOT_PUBLIC_V6).flatmap(inside))
def test_a_reserved_ipv6_address_is_not_public(address: IPv6Address) -> None:
    assert not is_public(address)


@given(v4 | v6)
def test_what_is_public_is_global_for_the_standard_library_too(address: IPv4Address | IPv6Address) -> None:
    if is_public(address) and getattr(address, "ipv4_mapped", None) is None:
        assert address.is_global and not address.is_multicast


@given(v4)
def test_mapped_and_translated_addresses_are_judged_as_what_they_stand_for(address: IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_public(written(int(address), prefix)) == is_public(address)
