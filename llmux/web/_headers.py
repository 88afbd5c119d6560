# -*- test-case-name: llmux.test.test_web_headers -*-
"""
Which headers go on, in both directions.

Headers are pairs of a name and a value, in the order in which they came; the
case of a name is left as it is.  What frames a message or concerns a single
connection never goes on: whoever sends the message frames it anew.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from os import urandom

__all__ = ()

Pair = tuple[bytes, bytes]

#: What concerns one connection (RFC 9110, section 7.6.1, and what older
#: clients send), and what frames a message.  C{Trailer} is among them because
#: trailers are not passed on.
DROPPED = frozenset(
    {
        b"connection",
        b"content-length",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: What C{Connection} cannot have dropped: without these a recipient would read
#: the body as something else than llmux did.  RFC 9110 forbids to list them.
PROTECTED = frozenset({b"content-encoding", b"content-type", b"host"})

#: What L{forBackend} writes itself.
_REWRITTEN = frozenset(
    {
        # It has been answered by the time a body is here to be sent.
        b"expect",
        b"host",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    }
)

#: What of that is written behind what was there.
_APPENDED = _REWRITTEN - {b"expect", b"host", b"x-request-id"}

#: What L{forClient} writes itself.
_ANSWERED = frozenset({b"via", b"x-request-id"})

#: Where a key to llmux may stand.
KEYS = frozenset({b"api-key", b"authorization", b"x-api-key"})

#: What L{forBackend} must look at one by one.
_SPECIAL = _REWRITTEN | KEYS

_hasBreak = re.compile(rb"[\x00\r\n]").search
_isToken = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_isSaneId = re.compile(rb"[0-9A-Za-z._:/+=@~-]{1,128}").fullmatch


def endToEnd(headers: Sequence[Pair]) -> list[Pair]:
    """
    Leave out what must not be passed on: hop-by-hop headers, those that
    C{Connection} lists, framing, and whatever could end the head early.
    """
    return [pair for _, pair in _endToEnd(headers)]


def _endToEnd(headers: Sequence[Pair]) -> Sequence[tuple[bytes, Pair]]:
    # Most clients and servers say the same again and again.
    return _known(headers) if type(headers) is tuple else _found(headers)


def _found(headers: Sequence[Pair]) -> Sequence[tuple[bytes, Pair]]:
    # What is left of the headers, each with its name in lower case.  This runs
    # twice for each request, so it is a few comprehensions rather than a loop.
    pairs = headers
    names = [name for name, _ in pairs]
    # Names are tokens if, in a row, they are one, and none is empty.
    if (
        not all(names)
        or not _isToken(b"".join(names) or b"x")
        or _hasBreak(b"".join([value for _, value in pairs]))
    ):
        pairs = [
            (n, value) for n, value in pairs if _isToken(n) and not _hasBreak(value)
        ]
        names = [name for name, _ in pairs]
    lower = [name.lower() for name in names]
    dropped: Collection[bytes] = DROPPED
    if b"connection" in lower:
        lists = b",".join(
            [
                pair[1]
                for name, pair in zip(lower, pairs, strict=True)
                if name == b"connection"
            ]
        )
        listed = {token.strip(b" \t") for token in lists.lower().split(b",")}
        listed -= PROTECTED
        if not listed.isdisjoint(lower):
            dropped = DROPPED | listed
    return [both for both in zip(lower, pairs, strict=True) if both[0] not in dropped]


_known = lru_cache(256)(_found)


class _Ids:
    # Random ids.  To ask the system for each of them would take longer.

    def __init__(self) -> None:
        self._ids: list[bytes] = []

    def next(self) -> bytes:
        if not self._ids:
            digits = urandom(4096).hex().encode("ascii")
            self._ids = [digits[at : at + 32] for at in range(0, len(digits), 32)]
        return self._ids.pop()


#: Makes the id of a request.
newId = _Ids().next


def requestId(headers: Iterable[Pair], make: Callable[[], bytes] = newId) -> bytes:
    """
    The id of a request: the client's own C{X-Request-Id} if there is one of at
    most 128 harmless characters, else a new one.

    @param headers: those of the client's request.
    @param make: makes a new id.
    """
    ids = [value for name, value in headers if name.lower() == b"x-request-id"]
    return ids[0] if len(ids) == 1 and _isSaneId(ids[0]) else make()


def forBackend(
    headers: Sequence[Pair],
    *,
    host: bytes,
    peer: bytes,
    scheme: bytes,
    requestId: bytes,
    version: bytes = b"1.1",
    isOwnKey: Callable[[bytes], bool] = lambda key: False,
) -> list[Pair]:
    """
    The headers of a request to a model's server, apart from framing.

    C{Via} and C{X-Forwarded-*} that the client sent are kept, and what llmux
    itself knows is written behind them, since another proxy may well stand in
    front of it.  So the last entry of each is true and the others are hearsay.

    @param headers: those of the client's request.
    @param host: the model server's host, and port if it is not the usual one.
    @param peer: the client's IP address, or the empty string if it has none.
    @param scheme: C{http} or C{https}: what the client spoke.
    @param requestId: see L{requestId}.
    @param version: the HTTP version that the client spoke.
    @param isOwnKey: tells keys to llmux itself, which are not passed on, from
        those that the model's server may ask for.
    """
    kept: list[Pair] = [(b"Host", host)]
    earlier: dict[bytes, list[bytes]] = {}
    for name, pair in _endToEnd(headers):
        if name not in _SPECIAL:
            kept.append(pair)
        elif name in _REWRITTEN:
            earlier.setdefault(name, []).append(pair[1])
        elif not isOwnKey(keyIn(name, pair[1])):
            kept.append(pair)

    asked = earlier.get(b"host")
    written = [
        (b"X-Forwarded-For", peer or b"unknown"),
        (b"X-Forwarded-Proto", scheme),
        *([(b"X-Forwarded-Host", asked[0])] if asked else ()),
        (b"Via", version + b" llmux"),
    ]
    if not _APPENDED.isdisjoint(earlier):
        written = [
            (name, _behind(earlier.get(name.lower(), ()), value))
            for name, value in written
        ]
    kept += written
    kept.append((b"X-Request-Id", requestId))
    return kept


def _behind(before: Iterable[bytes], value: bytes) -> bytes:
    return b", ".join([*[v for v in before if v.strip(b" \t")], value])


def forClient(
    headers: Sequence[Pair], *, requestId: bytes, version: bytes = b"1.1"
) -> list[Pair]:
    """
    The headers of a response to a client, apart from framing.

    The id is the one that the request came or was sent with, so that what a
    client holds in its hand can be found in the log.

    @param headers: those of the response of a model's server.
    @param requestId: see L{requestId}.
    @param version: the HTTP version that the model's server spoke.
    """
    given = _endToEnd(headers)
    kept = [pair for name, pair in given if name not in _ANSWERED]
    before = [pair[1] for name, pair in given if name == b"via"]
    kept.append((b"Via", b", ".join([*before, version + b" llmux"])))
    kept.append((b"X-Request-Id", requestId))
    return kept


def isPlainEventStream(headers: Iterable[Pair]) -> bool:
    """
    Whether an event can be written behind what has been sent of a body.
    """
    return _knownStream(headers) if type(headers) is tuple else _isStream(headers)


def _isStream(headers: Iterable[Pair]) -> bool:
    kind = encoding = b""
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-type":
            kind = kind or value
        elif lower == b"content-encoding":
            encoding = encoding or value
    return kind.lower().startswith(b"text/event-stream") and not encoding


_knownStream = lru_cache(256)(_isStream)


def keyIn(name: bytes, value: bytes) -> bytes:
    """
    Read the key out of a header that may have one: as OpenAI, Anthropic or
    Azure have it, or as a browser has a password.

    @param name: the header's name in lower case.
    @return: the key, or the empty string if there is none.
    """
    value = value.strip(b" \t")
    if name == b"authorization":
        scheme, _, key = value.partition(b" ")
        kind, key = scheme.lower(), key.strip(b" \t")
        if kind == b"basic":
            return _passwordIn(key)
        return key if kind == b"bearer" else b""
    return value if name in KEYS else b""


def _passwordIn(encoded: bytes) -> bytes:
    try:
        user, _, password = b64decode(encoded, validate=True).partition(b":")
    except ValueError:
        return b""
    # As some have it, who have nothing but a key.
    return password or user
