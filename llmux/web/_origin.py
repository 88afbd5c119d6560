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


def isForeign(asked: Asked) -> bool:
    """
    Whether a browser sends a request for a page that is not llmux's own.

    Programs that are no browsers send no C{Origin} and are nobody's tool.
    """
    site = asked.header(b"sec-fetch-site")
    if site is not None and site not in (b"same-origin", b"none"):
        return True
    origin = asked.header(b"origin")
    if origin is None:
        return False
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
