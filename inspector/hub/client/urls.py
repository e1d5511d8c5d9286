"""The Hub's URLs, and which redirects are followed with what."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from inspector.errors import HubError

Origin = tuple[str, str, int]
"""Scheme, host, port: what a token may be sent to is decided by all three."""

_PORTS = {"http": 80, "https": 443}


def file_url(endpoint: str, repo: str, revision: str, path: str) -> str:
    """A file of a repo. A revision's slashes are encoded (`refs%2Fpr%2F1`), a path's are not."""
    return f"{endpoint}/{quote(repo)}/resolve/{quote(revision, safe='')}/{quote(path)}"


def headers_url(endpoint: str, repo: str, index: str) -> str:
    """The Hub's own endpoint that has all shard headers of `main` in one answer."""
    return f"{endpoint}/api/models/{quote(repo)}/safetensors-metadata/{quote(index)}"


def listing_url(endpoint: str, repo: str, revision: str) -> str:
    """What the repo holds, with the files' sizes."""
    return f"{endpoint}/api/models/{quote(repo)}/revision/{quote(revision, safe='')}?blobs=true"


def origin(url: str) -> Origin:
    """Raises ValueError for a URL that has no valid host or port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)


def host(url: str) -> str:
    """The host and port to show to a person: no password, no signed query."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def redirect_target(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        HubError: to no http(s) URL, or from a public host to an address within this machine or its network.
    """
    try:
        parts = urlsplit(urljoin(url, location))
        scheme, to_host, port = origin(urlunsplit(parts))
    except ValueError:
        raise HubError(f"{host(url)} redirects to an address that is not valid") from None
    if scheme not in _PORTS or not to_host:
        raise HubError(f"{host(url)} redirects to something else than a web address")
    if is_internal(to_host) and not is_internal(urlsplit(url).hostname or ""):
        raise HubError(f"{host(url)} redirects to {to_host}, an address within this network: not followed")
    # A user and password in the address are dropped: they would be sent as credentials.
    name = f"[{to_host}]" if ":" in to_host else to_host
    return urlunsplit((scheme, f"{name}:{port}", parts.path, parts.query, ""))


def is_internal(name: str) -> bool:
    """Whether a host looks like one within this machine or network. Names are not looked up."""
    name = name.lower().rstrip(".")
    address = _address(name)
    if address is not None:
        return not address.is_global
    return "." not in name or name.endswith((".localhost", ".local", ".internal", ".home.arpa"))


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:  # the short and octal spellings that the system's own look-up takes: 127.1, 0x7f000001
            return ipaddress.IPv4Address(socket.inet_aton(name))
        except OSError:
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
