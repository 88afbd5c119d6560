# -*- test-case-name: llmux.test.test_fuzz -*-
"""
Everything that parses what a client, a model's server, a hook or a user sends,
as functions of bytes that raise if a promise is broken.

C{llmux/test/corpus} holds bytes for each of them: what has been thought of, and
what was found by C{python -m chaos.fuzz}, which makes up more.

Most of them take a line of settings first, so that what is in the corpus can be
read.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import provider

from llmux.config import ApiKey, Shape, parse
from llmux.errors import ConfigError, LLMuxError
from llmux.hooks import _output
from llmux.hooks._address import BadAddress, addressIn
from llmux.test._memory import FakeClient, makeAsked
from llmux.test._ways import Way, cut, messages
from llmux.testing import makeConfig
from llmux.web import _model, _ollamaasked
from llmux.web._access import Access, Use
from llmux.web._address import parseAddress
from llmux.web._chunks import Chunks
from llmux.web._errors import BadBody
from llmux.web._ollamaanswer import Answering, Broken

__all__ = ["CORPUS", "TARGETS", "tried"]

#: Where the bytes are: a folder for each target.
CORPUS = Path(__file__).parent / "corpus"

#: The longest input that is of interest, in bytes.
LONGEST = 4096

_GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _settings(data: bytes) -> tuple[bytes, list[int], bytes]:
    # The first line, the numbers in it, and what follows.
    line, _, rest = data[:LONGEST].partition(b"\n")
    return line, [int(number[:4]) for number in re.findall(rb"\d+", line)[:4]], rest


def _same(ways: tuple[Way, Way], methods: list[bytes]) -> None:
    # Both have done the same, as far as anybody can see.
    seen: list[Any] = []
    for way in ways:
        try:
            seen.append(way.seen(methods))
        except (AssertionError, ValueError):
            # With other methods than it looked like, what is a body is not
            # known; then it must be the same to the byte.
            said = re.sub(rb"(?i)x-request-id: [^\r]*", b"", way.transport.value())
            seen.append((said, way.transport.disconnecting, way.heard))
    _cutAlike(seen)
    assert seen[0] == seen[1], f"the lane: {seen[0]}\nthe usual way: {seen[1]}"


def _cutAlike(seen: list[Any]) -> None:
    # Of an answer that is seen to be cut, one way may have passed on more: the
    # lane takes no chunk of 2**64 bytes and more for the beginning of one.
    told = [one[0] for one in seen]
    if all(isinstance(one, list) and one and not one[-1].isWhole for one in told):
        bodies = [one[-1].body for one in told]
        shorter = min(bodies, key=len)
        if all(body.startswith(shorter) for body in bodies):
            for one in told:
                one[-1] = evolve(one[-1], body=shorter)


def _ended(ways: tuple[Way, Way]) -> None:
    # The client leaves, and nothing is left of it.
    for way in ways:
        way.leave()
        way.settle()
        assert way.inFlight() == 0, "a token was kept"
    assert ways[0].metrics.finished == ways[1].metrics.finished


def requests(data: bytes) -> None:
    """
    Heads and bodies of requests, over both ways.  The settings are where the
    bytes are cut.
    """
    _, cuts, data = _settings(data)
    ways = Way().build(True), Way().build(False)
    for way in ways:
        for part in cut(data, cuts):
            way.receive(part)
        for _ in range(8):
            before = len(way.heard)
            way.answer([_GOOD], "stay")
            if len(way.heard) == before:
                break
    methods = re.findall(rb"([!-~]+) [!-~]+ HTTP/1", data)
    _same(ways, methods)
    for way in ways:
        for heard in way.heard:
            # However odd the request: one request, whose head has an end.
            (message,) = messages(heard, [], False)
            assert message.isWhole, heard
    _ended(ways)


def responses(data: bytes) -> None:
    """
    Heads and bodies of responses, over both ways.  The settings are a letter
    for the method (G, H, P), one for what the server does behind it (s, c, b:
    stays, closes, breaks off) and where the bytes are cut.
    """
    line, cuts, data = _settings(data)
    method = {b"H": b"HEAD", b"P": b"POST"}.get(line[:1], b"GET")
    ending = {b"c": "close", b"b": "break"}.get(line[1:2], "stay")
    target = b"/v1/x?model=a"
    length = b"Content-Length: 0\r\n" if method == b"POST" else b""
    request = b"%b %b HTTP/1.1\r\nHost: llmux\r\n%b\r\n" % (method, target, length)
    ways = Way().build(True), Way().build(False)
    methods = [method]
    for way in ways:
        way.receive(request)
        way.answer(cut(data, cuts), ending)
    if any(way.transport.disconnecting for way in ways):
        # The lane sees sooner that the line of a chunk can be none: the usual
        # way waits for its end, which does not come if the server breaks off.
        for way in ways:
            way.stop()
    _same(ways, methods)
    if not any(way.transport.disconnecting for way in ways):
        # Whatever came, it is not taken for the answer to another request.
        for way in ways:
            way.receive(b"GET %b HTTP/1.1\r\nHost: llmux\r\n\r\n" % target)
            way.answer([_GOOD], "stay")
        _same(ways, [method, b"GET"])
    _ended(ways)


def chunks(data: bytes) -> None:
    """
    Chunked bodies: however they are cut, and whether framed anew or taken out
    of their frames, it is the same body.
    """
    _, cuts, data = _settings(data)
    found = []
    for parts in (
        [data],
        cut(data, cuts),
        [data[at : at + 1] for at in range(len(data))],
    ):
        for isFramed in (True, False):
            body = Chunks(isFramed)
            passed = b""
            for part in parts:
                if not body.done and not body.broken and part:
                    passed += body.feed(part)
            if isFramed:
                again = Chunks(False)
                passed = again.feed(passed) if passed else b""
                assert not again.broken and again.done == body.done, passed
            assert len(passed) == body.size, passed
            found.append((passed, body.done, body.broken))
    assert all(one == found[0] for one in found), found


_SHAPE = Shape({"temperature": b"0"}, {"top_p": b"1"}, frozenset({"user"}))


def bodies(data: bytes) -> None:
    """
    The model that a body names.  The settings are its content type.
    """
    kind, _, body = _settings(data)
    size = len(body)
    try:
        said = _model.saidInBody(kind, None, BytesIO(body), size)
    except BadBody:
        said = None
    for stream in (BytesIO(body),):
        _model.wantsStream(kind, None, (_model.Slice(0, size),) if size else (), stream)
    if said is None:
        return
    shown: Any = None
    if kind == b"application/json" and body:
        with suppress(RecursionError):
            shown = json.loads(body.decode("utf-8-sig", "replace"), strict=False)
            named = shown.get("model") if isinstance(shown, dict) else None
            assert (named or None) == said.model, (named, said)
    with suppress(BadBody):
        pieces = _model.withModel(kind, BytesIO(body), size, "other/name")
        other = b"".join(_model.chunks(pieces, BytesIO(body)))
        assert len(other) == _model.sizeOf(pieces)
        if said.model is None:
            assert other == body
        else:
            now = _model.nameInBody(kind, None, BytesIO(other), len(other))
            assert now == "other/name", now
    with suppress(BadBody):
        shaped = _model.shaped(kind, None, BytesIO(body), size, _SHAPE, None)
        if shaped is not None and isinstance(shown, dict):
            other = b"".join(_model.chunks(shaped, BytesIO(body)))
            now = json.loads(other.decode("utf-8-sig", "replace"), strict=False)
            expected = {key: shown[key] for key in shown if key != "user"}
            expected = {"top_p": 1, **expected, "temperature": 0}
            # As text: what is not a number is not like itself.
            same = [json.dumps(one, sort_keys=True) for one in (now, expected)]
            assert same[0] == same[1], same


def targets(data: bytes) -> None:
    """
    The model that a request target names.
    """
    target = bytes(byte for byte in data[:LONGEST] if 0x21 <= byte <= 0x7E)
    origin = _model.originForm(target)
    _model.nameInTarget(origin, lambda name: name in ("a", "org/b"))
    name = _model.nameInQuery(origin)
    if name is not None:
        other = _model.withModelInQuery(origin, "org/ö&=")
        assert _model.nameInQuery(other) == "org/ö&=", other


def configurations(data: bytes) -> None:
    """
    Configuration files.  The first line is the end of their name.
    """
    kind, _, text = _settings(data)
    name = "c.json" if kind.startswith(b"json") else "c.yaml"
    try:
        parse(
            text.decode("utf-8", "replace"),
            name=name,
            folder="/",
            environment={"SECRET": "planted-secret"},
        )
    except ConfigError as error:
        said = str(error)
        assert said and all(line.startswith("c.") for line in said.split("\n")), said
        assert all(char == "\n" or char.isprintable() for char in said), said
        assert "planted-secret" not in said


def outputs(data: bytes) -> None:
    """
    What a hook writes to C{LLMUX_OUTPUT}, and what it prints.
    """
    data = data[:LONGEST]
    with suppress(BadAddress):
        address = addressIn(data.decode("utf-8", "replace"))
        if address is not None:
            parseAddress(address)
    clock = Clock()
    said: list[str] = []
    stream = _output.OutputStream(
        clock, _output._Allowance(clock), lambda _, text: said.append(text), "stdout"
    )
    for part in cut(data, [len(data) // 3, len(data) // 2]):
        stream.dataReceived(part)
    clock.advance(2)
    stream.flush()
    for text in said:
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", text), text
    assert clock.getDelayedCalls() == []


def ollama(data: bytes) -> None:
    """
    What Ollama's clients ask, and what a model's server says to that.  The
    settings are the route; what follows an empty line is the answer.
    """
    kind, _, data = _settings(data)
    body, _, answer = data.partition(b"\n\n")
    route = next(
        (one for one in _ollamaasked.Route if one.value == b"/api/" + kind),
        _ollamaasked.Route.CHAT,
    )
    asked = _ollamaasked.translated(route, {"model": "a", "input": "x"})
    with suppress(BadBody):
        said = _ollamaasked.read(body)
        _ollamaasked.isEmpty(route, said)
        _ollamaasked.isUnloading(said)
        asked = _ollamaasked.translated(route, said)
        json.dumps(asked.body).encode("utf-8")
    with suppress(Broken):
        json.loads(Answering(asked, "a", lambda: 1.0).whole(answer))
    lines = []
    for parts in ([answer], cut(answer, [len(answer) // 2, len(answer) // 3])):
        answering = Answering(asked, "a", lambda: 1.0)
        told = b"".join(map(answering.feed, parts)) + answering.end()
        lines.append(told)
        for line in told.splitlines():
            assert isinstance(json.loads(line), dict), line
    assert lines[0] == lines[1], lines


_KEY = "sk-of-someone"
_KEYS = makeConfig(
    "a",
    api_keys={
        "someone": ApiKey(name="someone", key=_KEY),
    },
)


def keys(data: bytes) -> None:
    """
    The headers by which a request is let in: nobody is without the key.
    """
    pairs = []
    for line in data[:LONGEST].split(b"\n"):
        name, _, value = line.partition(b":")
        pairs.append((name.strip(), value.strip(b" \t\r")))
    asked = evolve(makeAsked(), headers=pairs)
    access = Access(_KEYS)
    for use in Use:
        try:
            principal = access.admit(asked, FakeClient(), use)
        except LLMuxError:
            continue
        assert principal.name == "someone"
        shown = b"".join(value for _, value in pairs)
        shown += b"".join(
            a2b_base64(word + b"==")
            for word in re.findall(rb"[A-Za-z0-9+/]{16,}", shown)
            if len(word) % 4 != 1
        )
        assert _KEY.encode() in shown, pairs


#: All of them, by name.
TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "bodies": bodies,
    "chunks": chunks,
    "configurations": configurations,
    "keys": keys,
    "ollama": ollama,
    "outputs": outputs,
    "requests": requests,
    "responses": responses,
    "targets": targets,
}


@contextmanager
def _heeded() -> Iterator[list[str]]:
    # What is logged as a failure of llmux's own.
    said: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.critical:
            said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield said
    finally:
        globalLogPublisher.removeObserver(observe)


def tried(name: str, data: bytes) -> None:
    """
    Try some bytes.

    @param name: the target's name.
    @raise Exception: of whatever kind, if a promise is broken.
    """
    with _heeded() as said:
        TARGETS[name](data)
    assert not said, said
