"""What the relay reads in an SDP, and what it writes there: payload types, and where packets are to be sent.

``payload_kinds`` says which RTP payload types are sound and which are pictures, ``hosts`` where a side listens,
``redirected`` is the same description with one candidate instead of all others, so that everything goes there.
An SDP from outside is bounded and never trusted: what is no description is refused with an ``InputError``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from avsync.errors import InputError
from avsync.types import AUDIO, VIDEO, Kind

MAX_SDP_CHARACTERS = 256 * 1024
_KINDS = {"audio": AUDIO, "video": VIDEO}
_PRIORITY = 2_130_706_431  # a host candidate's, RFC 8445 5.1.2.1: type 126, local preference 65535, component 1

Address = tuple[str, int]


def payload_kinds(sdp: str) -> dict[int, Kind]:
    """RTP payload type -> kind; retransmissions of pictures (rtx) are pictures."""
    kinds: dict[int, Kind] = {}
    for section in _media(sdp):
        words = section[0][2:].split()
        kind = _KINDS.get(words[0] if words else "")
        if kind is not None:
            kinds.update({int(word): kind for word in words[3:] if word.isdecimal() and len(word) <= 3})
    return kinds


def hosts(sdp: str) -> list[Address]:
    """UDP host candidates of component 1 with an address (no ``.local`` names), each once, in order."""
    found: dict[Address, None] = {}
    for section in _media(sdp):
        for line in section:
            words = line.removeprefix("a=").split()
            if not line.startswith("a=candidate:") or len(words) < 8:
                continue
            _, component, transport, _, host, port, typ, kind = words[:8]
            if (component, transport.lower(), typ, kind) != ("1", "udp", "typ", "host"):
                continue
            if _is_address(host) and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65_536:
                found[host, int(port)] = None
    return list(found)


def redirected(sdp: str, to: Address) -> str:
    """The same description with ``to`` as its only candidate, complete. Line ends stay as they are."""
    end = "\r\n" if "\r\n" in sdp else "\n"
    ours = f"a=candidate:1 1 udp {_PRIORITY} {to[0]} {to[1]} typ host"
    sections = list(_media(sdp))
    head = _lines(sdp)[: -sum(len(section) for section in sections)]
    out = [line for line in head if not _is_candidate(line)]
    for section in sections:
        out += [line for line in section if not _is_candidate(line)]
        # A section that was refused has no ICE of its own, and wants no candidate.
        if any(line.startswith("a=ice-ufrag:") for line in (*head, *section)):
            out += [ours, "a=end-of-candidates"]
    return end.join(out) + end


def _media(sdp: str) -> Iterator[list[str]]:
    """The lines of each media section, ``m=`` first."""
    section: list[str] | None = None
    for line in _lines(sdp):
        if line.startswith("m="):
            if section is not None:
                yield section
            section = []
        if section is not None:
            section.append(line)
    if section is None:
        raise InputError("no media section in this SDP", place="relay", remedy="give it a whole offer or answer")
    yield section


def _lines(sdp: str) -> list[str]:
    if len(sdp) > MAX_SDP_CHARACTERS:
        raise InputError(f"an SDP of {len(sdp)} characters; at most {MAX_SDP_CHARACTERS}", place="relay")
    return [line.rstrip("\r") for line in sdp.split("\n") if line.strip()]


def _is_candidate(line: str) -> bool:
    return line.startswith(("a=candidate:", "a=end-of-candidates", "a=ice-options:trickle"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
