"""
Requests by which one thing is meant to pass for another: known attacks on
those who take requests and pass them on.

C{AN_ID} stands for a name of the attack's own, and C{SMUGGLED} for a request that
must never reach a model's server, as it is hidden in another one's body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

__all__ = ["ATTACKS", "Attack"]

SMUGGLED = b"GET /AN_ID/smuggled?model=a HTTP/1.1\r\nHost: localhost\r\n\r\n"


@frozen
class Attack:
    """
    An attack.

    @ivar name: the name of it.
    @ivar sent: what the client sends.
    @ivar passes: how many requests reach the server.
    @ivar waits: whether what is missing of it is waited for.
    """

    name: str
    sent: bytes
    passes: int = 0
    waits: bool = False


def _post(headers: bytes, body: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST /AN_ID?model=a HTTP/%b\r\nHost: localhost\r\n%b\r\n\r\n%b" % (
        version,
        headers,
        body,
    )


#: A body that is empty in chunks, with something behind it.
_BEHIND = b"0\r\n\r\n" + SMUGGLED

#: Headers that say, in one way or the other, both a length and chunks, so that
#: some take what is behind the empty chunk for a request, and some do not.
_DOUBLE: Mapping[str, bytes] = {
    "CL.TE": b"Content-Length: %d\r\nTransfer-Encoding: chunked",
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: %d",
    "TE.TE": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: x",
    "TE twice": b"Content-Length: %d\r\nTransfer-Encoding: chunked, chunked",
    "TE, unknown": b"Content-Length: %d\r\nTransfer-Encoding: xchunked",
    "TE, not last": b"Content-Length: %d\r\nTransfer-Encoding: chunked, identity",
    "TE, quoted": b'Content-Length: %d\r\nTransfer-Encoding: "chunked"',
    "TE with a tab": b"Content-Length: %d\r\nTransfer-Encoding:\tchunked",
    "TE with a vertical tab": b"Content-Length: %d\r\nTransfer-Encoding:\x0bchunked",
    "TE with a vertical tab behind": b"Content-Length: %d\r\n"
    b"Transfer-Encoding: chunked\x0b",
    "TE with a space before the colon": b"Content-Length: %d\r\n"
    b"Transfer-Encoding : chunked",
    "TE with a NUL": b"Content-Length: %d\r\nTransfer-Encoding: chunked\0",
    "TE with a letter beyond ASCII": b"Content-Length: %d\r\n"
    b"Transfer-Encoding: chun\xc4\xb7ed",
    "TE, folded": b"Content-Length: %d\r\nTransfer-Encoding:\r\n chunked",
    "TE in a folded line": b"Content-Length: %d\r\nX-A: a\r\n Transfer-Encoding: chunked",
    "TE behind a line feed": b"Content-Length: %d\r\nX-A: a\nTransfer-Encoding: chunked",
    "TE behind a carriage return": b"Content-Length: %d\r\n"
    b"X-A: a\rTransfer-Encoding: chunked",
    "TE, empty": b"Content-Length: %d\r\nTransfer-Encoding:",
    "TE in capitals": b"CONTENT-LENGTH: %d\r\nTRANSFER-ENCODING: CHUNKED",
}

#: Ways to write a length that some read as another.
_LENGTHS: Mapping[str, bytes] = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d",
    "two lengths, the other way": b"Content-Length: %d\r\nContent-Length: 0",
    "a list of lengths": b"Content-Length: 0, %d",
    "a signed length": b"Content-Length: +%d",
    "a negative length": b"Content-Length: -%d",
    "a length in hexadecimal": b"Content-Length: 0x%d",
    "an octal length": b"Content-Length: 0o%d",
    "a length with a fraction": b"Content-Length: %d.0",
    "a length with an exponent": b"Content-Length: %de0",
    "a length with an underscore": b"Content-Length: 0_%d",
    "a length with a semicolon": b"Content-Length: %d;x",
    "a length with a NUL": b"Content-Length: 0\0%d",
    "a length with a space in it": b"Content-Length: 0 %d",
    "a length in other digits": b"Content-Length: %d\xd9\xa3",
    "a length with a space before the colon": b"Content-Length : %d",
    "a length, folded": b"Content-Length:\r\n %d",
    "a length behind a carriage return": b"X-A: a\rContent-Length: %d",
    "a length beyond 64 bits": b"Content-Length: 18446744073709551616%d",
}

#: Chunks that some read in one way and some in another.
_CHUNKS: Mapping[str, bytes] = {
    "a signed chunk": b"+5\r\nabcde\r\n",
    "a chunk in C's hexadecimal": b"0x5\r\nabcde\r\n",
    "a negative chunk": b"-5\r\nabcde\r\n",
    "a chunk with an underscore": b"0_5\r\nabcde\r\n",
    "a chunk with a space before it": b" 5\r\nabcde\r\n",
    "a chunk that is longer than it says": b"5\r\nabcdef\r\n",
    "a chunk that ends with a line feed": b"5\r\nabcde\n",
    "a chunk whose line ends with a line feed": b"5\nabcde\r\n",
    "a chunk whose line ends with a carriage return": b"5\rabcde\r\n",
    "an extension with a line feed": b"5;a\nb\r\nabcde\r\n",
    "an extension with a carriage return": b"5;a\rb\r\nabcde\r\n",
    "an extension with a NUL": b"5;a\0b\r\nabcde\r\n",
    "a chunk without a size": b"\r\nabcde\r\n",
    "a chunk of other digits": b"\xd9\xa5\r\nabcde\r\n",
}

#: First lines that some read in one way and some in another.
_LINES: Mapping[str, bytes] = {
    "no version": b"GET /AN_ID?model=a",
    "an old version": b"GET /AN_ID?model=a HTTP/0.9",
    "a new version": b"GET /AN_ID?model=a HTTP/3.0",
    "a version in small letters": b"GET /AN_ID?model=a http/1.1",
    "a version with a letter": b"GET /AN_ID?model=a HTTP/1.1a",
    "a long version": b"GET /AN_ID?model=a HTTP/1.01",
    "two spaces": b"GET  /AN_ID?model=a HTTP/1.1",
    "a tab": b"GET\t/AN_ID?model=a HTTP/1.1",
    "a space in the target": b"GET /AN_ID/x y?model=a HTTP/1.1",
    "a NUL in the target": b"GET /AN_ID/\0?model=a HTTP/1.1",
    "a carriage return in the target": b"GET /AN_ID/\rx?model=a HTTP/1.1",
    "a letter beyond ASCII in the target": b"GET /AN_ID/\xff?model=a HTTP/1.1",
    "a target without a slash": b"GET AN_ID?model=a HTTP/1.1",
    "a target with a user": b"GET @elsewhere/AN_ID?model=a HTTP/1.1",
    "another scheme": b"GET file:///AN_ID?model=a HTTP/1.1",
    "a tunnel": b"CONNECT elsewhere:80 HTTP/1.1",
    "an odd method": b"GE(T /AN_ID?model=a HTTP/1.1",
    "a method with a NUL": b"GE\0T /AN_ID?model=a HTTP/1.1",
}

_HOST = b"\r\nHost: localhost\r\n\r\n"


def _attacks() -> Iterator[Attack]:
    size = len(_BEHIND)
    for name, headers in _DOUBLE.items():
        yield Attack(name, _post(headers.replace(b"%d", b"%d" % size), _BEHIND))
    size = len(SMUGGLED)
    for name, headers in _LENGTHS.items():
        yield Attack(name, _post(headers.replace(b"%d", b"%d" % size), SMUGGLED))
    chunks = b"Transfer-Encoding: chunked"
    for name, body in _CHUNKS.items():
        yield Attack(name, _post(chunks, body + b"0\r\n\r\n" + SMUGGLED))
    for name, line in _LINES.items():
        yield Attack(name, line + _HOST + SMUGGLED)
    yield Attack(
        "a chunk beyond 64 bits",
        _post(chunks, b"10000000000000005\r\nabcde\r\n0\r\n\r\n" + SMUGGLED),
        waits=True,
    )
    yield Attack("chunks in HTTP/1.0", _post(chunks, _BEHIND, b"1.0"))
    yield Attack(
        "a body that is a request",
        _post(b"Content-Length: %d" % size, SMUGGLED),
        1,
    )
    yield Attack(
        "a body in chunks that is a request",
        _post(chunks, b"%x\r\n%b\r\n0\r\n\r\n" % (size, SMUGGLED)),
        1,
    )
    yield Attack(
        "a body for GET that is a request",
        b"GET /AN_ID?model=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
        % (size, SMUGGLED),
        1,
    )
    yield Attack(
        "trailers that are headers",
        _post(
            chunks,
            b"2\r\n{}\r\n0\r\nContent-Length: 100\r\nTransfer-Encoding: x\r\n"
            b"Host: elsewhere\r\nX-Injected: 1\r\n\r\n",
        ),
        1,
    )
    yield Attack(
        "an empty line that is a space",
        b"GET /AN_ID?model=a HTTP/1.1\r\nHost: localhost\r\n \r\n" + SMUGGLED,
    )
    yield Attack(
        "headers that end with line feeds",
        b"GET /AN_ID?model=a HTTP/1.1\r\nHost: localhost\n\n" + SMUGGLED,
    )
    yield Attack("no host", b"GET /AN_ID?model=a HTTP/1.1\r\n\r\n" + SMUGGLED)
    yield Attack(
        "two hosts",
        b"GET /AN_ID?model=a HTTP/1.1\r\nHost: localhost\r\nHost: elsewhere\r\n\r\n"
        + SMUGGLED,
    )
    yield Attack(
        "a header that is folded",
        b"GET /AN_ID?model=a HTTP/1.1\r\nHost: localhost\r\nX-A: a\r\n"
        b" X-Injected: 1\r\n\r\n" + SMUGGLED,
    )
    yield Attack(
        "what Connection lists",
        _post(
            b"Content-Length: 2\r\nConnection: close, content-length, host, via, "
            b"x-forwarded-for, transfer-encoding, x-request-id",
            b"{}",
        ),
        1,
    )
    yield Attack(
        "a way to HTTP/2",
        b"GET /AN_ID?model=a HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP\r\n"
        b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        1,
    )
    for name, target in {
        "an absolute target": b"http://elsewhere/AN_ID?model=a",
        "two slashes": b"//elsewhere/AN_ID?model=a",
        "dots": b"/AN_ID/../../%2e%2e/x?model=a",
        "encoded line ends": b"/AN_ID/%0d%0aX-Injected:%201?model=a",
        "an encoded NUL": b"/AN_ID/%00?model=a",
        "encoded slashes": b"/upstream/a/AN_ID/%2F..%2f..%5c/x",
    }.items():
        yield Attack(name, b"GET %b HTTP/1.1%b" % (target, _HOST), 1)
    for name, target in {
        "a name with line ends": b"/AN_ID?model=a%0d%0aX-Injected:%201",
        "a name with a NUL": b"/AN_ID?model=a%00",
        "a way out of a name": b"/upstream/a%2f..%2f..%2f/AN_ID",
        "a name with line ends in the path": b"/upstream/a%0d%0aX-Injected:%201/AN_ID",
    }.items():
        yield Attack(name, b"GET %b HTTP/1.1%b" % (target, _HOST))
    body = b'{"model": "a\\r\\nX-Injected: 1\\r\\n\\r\\n"}'
    yield Attack(
        "a name with line ends in JSON",
        b"POST /AN_ID HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
    )
    yield Attack("two requests", b"GET /AN_ID?model=a HTTP/1.1%b" % _HOST * 2, 2)


#: All of them, each with C{AN_ID} replaced.
ATTACKS = [
    evolve(attack, sent=attack.sent.replace(b"AN_ID", b"id%03d" % number))
    for number, attack in enumerate(_attacks())
]
