"""The names in a server's certificate, matched with a host as libpq matches them.

Python's own check takes an IP address from no other place than an IP SAN; libpq also takes one that stands as
text in a DNS SAN or, without an IP SAN, in the common name.
Source: PostgreSQL, src/interfaces/libpq/fe-secure-common.c and fe-secure-openssl.c.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, Final

_DNS: Final = "DNS"
_ADDRESS: Final = "IP Address"


def is_for(certificate: Mapping[str, Any], host: str) -> bool:
    """Return whether a certificate, as `ssl` decodes it, names this host.

    >>> is_for({"subjectAltName": (("DNS", "*.example.com"),)}, "DB1.example.com")
    True
    >>> is_for({"subject": ((("commonName", "127.0.0.1"),),)}, "127.0.0.1")
    True
    >>> is_for({"subject": ((("commonName", "db1"),),), "subjectAltName": (("DNS", "db2"),)}, "db1")
    False
    """
    alternatives = [(str(kind), str(name)) for kind, name in certificate.get("subjectAltName", ())]
    own_kind = _DNS if _address(host) is None else _ADDRESS
    for kind, name in alternatives:
        if kind == _DNS and _is_same_name(name, host):
            return True
        if kind == _ADDRESS and own_kind == _ADDRESS and _address(name) == _address(host):
            return True
    if any(kind == own_kind for kind, _ in alternatives):
        return False
    return _is_same_name(next(_common_names(certificate), ""), host)


def names_in(certificate: Mapping[str, Any]) -> list[str]:
    """Return the names that a certificate is for, the alternatives first."""
    alternatives = [
        str(name) for kind, name in certificate.get("subjectAltName", ()) if kind in (_DNS, _ADDRESS)
    ]
    return [*alternatives, *_common_names(certificate)]


def _common_names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                yield str(value)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _is_same_name(pattern: str, host: str) -> bool:
    """Return whether a name, perhaps with `*` for its first label, is the host's.

    >>> _is_same_name("*.example.com", "a.b.example.com"), _is_same_name("*.com", "com")
    (False, False)
    """
    pattern, host = pattern.lower(), host.lower()
    if pattern == host:
        return bool(host)
    label, dot, rest = host.partition(".")
    return pattern.startswith("*.") and len(pattern) > 2 and bool(label and dot) and rest == pattern[2:]
