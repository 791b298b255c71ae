"""Addresses of the public internet: where we may connect to on behalf of somebody who is not the operator.

What is not known to be public is refused: whoever may name an address must not reach what only we can reach.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

# Everything that IANA's special-purpose registry keeps from the public, with multicast and what is reserved.
_PRIVATE_V4 = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's host, which answers every machine in it and nobody else.
    )
)
# The only part of IPv6 that is given out, less what has an IPv4 address inside (6to4, Teredo) or is special. Mapped
# addresses, NAT64, link-local, unique local, loopback and multicast all lie outside it.
_PUBLIC_V6 = ip_network("2000::/3")
_PRIVATE_V6 = tuple(
    ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; what is no address is not."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _PRIVATE_V4)
    return ip.scope_id is None and ip in _PUBLIC_V6 and not any(ip in network for network in _PRIVATE_V6)
