# -*- test-case-name: llmux.test.test_web_page -*-
"""
The page on which operators see what goes on, and what belongs to it.

It is three files beside this, which nothing has to be built for.  There is
nothing secret in them: what the page shows, it asks for as any other client.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from llmux.web._headers import Pair

__all__ = ()

#: What stands at which path, and its content type.
FILES = {
    b"/llmux/": ("page.html", b"text/html; charset=utf-8"),
    b"/llmux/page.js": ("page.js", b"text/javascript; charset=utf-8"),
    b"/llmux/page.css": ("page.css", b"text/css; charset=utf-8"),
}

#: Where the page is for those who leave out the end of its path, seen from
#: there.
HERE = b"llmux/"

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: Nothing is loaded from elsewhere, and no other page can have this one inside.
HEADERS: list[Pair] = [
    (b"Content-Security-Policy", _POLICY),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
]


@cache
def content(path: bytes) -> tuple[bytes, bytes]:
    """
    What stands at one of the paths, and its content type.
    """
    name, kind = FILES[path]
    return (files("llmux.web") / "page" / name).read_bytes(), kind
