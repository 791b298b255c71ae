from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.addresses import is_public

WAYS_HOME = [
    *(
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
    ),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1"),
    *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.88.99.1", "203.0.113.9"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *(
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
    ),
    *("2001::1", "2001:0:7f00:1::", "3fff::1", "100::1", "2606:4700::1%1"),
    *("", "localhost", "127.1", "0x7f.1", "2130706433", "1.1.1.1 ", "1.1.1.1/32"),
]


@pytest.mark.parametrize("address", WAYS_HOME)
def test_an_address_that_only_we_could_reach_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::5"]
)
def test_an_address_that_everybody_reaches_is_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_nothing_that_python_knows_to_be_private_is_public(ip: IPv4Address | IPv6Address) -> None:
    if is_public(str(ip)):
        assert ip.is_global
        assert not ip.is_multicast
        assert not ip.is_reserved


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_the_clothes_of_ipv6_is_never_public(ip: IPv4Address) -> None:
    number = int(ip)
    for dressed in (
        (0xFFFF << 32) | number,
        number,
        int(ip_address("64:ff9b::")) | number,
        int(ip_address("2002::")) | number << 80,
    ):
        assert not is_public(str(IPv6Address(dressed)))


@given(
    st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "fc00::/7"]), st.data()
)
def test_no_address_of_a_private_network_is_public(network: str, data: st.DataObject) -> None:
    assert not is_public(str(data.draw(st.ip_addresses(network=network))))
    assert not ip_network(network).is_global


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    assert is_public(text) in (True, False)
