# -*- test-case-name: llmux.test.test_web_control -*-
"""
Whether a page of another site has a browser send a request.

A browser lets any page send simple POSTs anywhere, to servers on the machine
of its user, too; only the answer is kept from the page.  But it says whose
page it is.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from llmux.web._plan import Asked

__all__ = ()

_PORTS = {"http": 80, "https": 443}


def isForeign(asked: Asked, hasPrograms: bool = False) -> bool:
    """
    Whether a browser sends a request for a page that is not llmux's own.

    Programs that are no browsers send no C{Origin} and are nobody's tool.

    @param hasPrograms: whether the pages that a program has within it are
        not foreign.  They have an origin that no page of the web can have,
        such as C{app://obsidian.md}.
    """
    site = asked.header(b"sec-fetch-site")
    if site in (b"same-origin", b"none"):
        # The browser knows best: a proxy in between may have changed the host.
        return False
    origin = asked.header(b"origin")
    if origin is None:
        return site is not None
    isOfWeb = origin.lower().startswith((b"http:", b"https:"))
    if hasPrograms and b"://" in origin and not isOfWeb:
        return False
    if site == b"cross-site":
        return True
    host = asked.header(b"host") or b""
    try:
        there = urlsplit(origin.decode("ascii"))
        # The scheme may be another here: TLS can end at a proxy in between.
        here = urlsplit(f"{there.scheme}://{host.decode('ascii')}")
        usual = _PORTS.get(there.scheme)
        return (
            not there.hostname
            or there.hostname != here.hostname
            or (there.port or usual) != (here.port or usual)
        )
    except ValueError:
        return True


def isFollowed(asked: Asked) -> bool:
    """
    Whether a browser asks because somebody has followed a link, so that it
    shows the answer to them and not to the page.
    """
    return (
        asked.method in (b"GET", b"HEAD")
        and asked.header(b"sec-fetch-mode") == b"navigate"
        and asked.header(b"sec-fetch-dest") == b"document"
    )
