# -*- test-case-name: llmux.test.test_web_json -*-
"""
The model in a JSON body, and how long the answer may be.

The body is checked and skimmed by msgspec, which builds no part of it but
these fields; of duplicate fields the last counts, as with most parsers.  What
msgspec skips it checks for form, not for valid UTF-8: that is left to the
model's server.  More than JSON allows is refused (C{NaN} and C{Infinity}), and
so are lone surrogates, which msgspec does not take, and nesting deeper than
the interpreter's recursion limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import msgspec

from llmux.web._errors import BadBody

__all__ = ()

#: How many fields of the same name and value, at whatever depth, are told
#: apart in a body in which one is to be exchanged.
MANY = 4096

#: The longest C{options} in which a limit is looked for, in bytes.
LONGEST = 64 * 1024

_NONE = msgspec.Raw()


class _Request(msgspec.Struct):
    model: msgspec.Raw = _NONE
    max_tokens: msgspec.Raw = _NONE
    max_completion_tokens: msgspec.Raw = _NONE
    max_output_tokens: msgspec.Raw = _NONE
    n_predict: msgspec.Raw = _NONE
    options: msgspec.Raw = _NONE


class _Options(msgspec.Struct):
    num_predict: msgspec.Raw = _NONE


class _Streamed(msgspec.Struct):
    stream: msgspec.Raw = _NONE


class _Object(msgspec.Struct):
    pass


_request = msgspec.json.Decoder(_Request)
_options = msgspec.json.Decoder(_Options)
_streamed = msgspec.json.Decoder(_Streamed)
_anything = msgspec.json.Decoder(msgspec.Raw)
_object = msgspec.json.Decoder(_Object)
_string = msgspec.json.Decoder(str)

_BOM = b"\xef\xbb\xbf"
_beginsObject = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]{0,64}\{").match

# Every way in which JSON can spell the key.
_KEY = (
    rb'"(?:m|\\u006[dD])(?:o|\\u006[fF])(?:d|\\u0064)(?:e|\\u0065)(?:l|\\u006[cC])"'
    rb"[ \t\r\n]*:[ \t\r\n]*"
)


def looksLikeObject(body: memoryview) -> bool:
    """
    Whether a body that is not said to be JSON may yet be a JSON object.
    """
    return _beginsObject(body) is not None


def isObject(body: memoryview) -> bool:
    """
    Whether a body is a JSON object.
    """
    try:
        with body[textStart(body) :] as text:
            return _isObject(text)
    except BadBody:
        return False


def _isObject(text: memoryview) -> bool:
    # A function of its own, so that no traceback keeps the view alive.
    try:
        _object.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def isStreamed(body: bytes) -> bool:
    """
    Whether the top-level field C{stream} of a body is true.
    """
    try:
        return bytes(_streamed.decode(body[textStart(memoryview(body)) :]).stream) == (
            b"true"
        )
    except (BadBody, msgspec.MsgspecError, RecursionError):
        return False


class Said(NamedTuple):
    """
    What a request says of itself.

    @ivar model: the model that it names, if it does.
    @ivar maxTokens: how many tokens its answer may have, if it says so.
    """

    model: str | None = None
    maxTokens: int | None = None


def saidInJSON(body: memoryview) -> Said:
    """
    Find the top-level field C{model}, and the one that limits the answer:
    C{max_completion_tokens}, C{max_tokens}, C{max_output_tokens} or, with
    llama.cpp, C{n_predict}; or else C{num_predict} in C{options}, as Ollama
    has it.

    @return: without a model if there is none, or if it is C{null} or empty,
        or if the body is JSON but not an object.  Without a limit if there is
        none that is a count.
    @raise BadBody: if the body is not JSON in UTF-8, or C{model} is not a
        string.
    """
    raw, limit = _skimmed(body)
    return Said(None if raw is None else _decoded(raw) or None, limit)


def plainlySaid(body: bytes) -> Said | None:
    """
    As L{saidInJSON}, of a body that is as nearly all are.

    @return: L{None} if there is anything out of the ordinary about it: it is
        for L{saidInJSON}.
    """
    if body[:1] != b"{":
        return None
    try:
        request = _request.decode(body)
        raw = bytes(request.model)
        if raw[:1] != b'"':
            return None
        model = _string.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Said(model, _limitIn(request)) if model else None


def nameInJSON(body: memoryview) -> str | None:
    """
    As L{saidInJSON}, of the model alone.
    """
    return saidInJSON(body).model


def placeInJSON(body: memoryview) -> tuple[int, int] | None:
    """
    Find where the value of the top-level field C{model} stands.

    Places that look right are found by a pattern.  The right one is the one
    where a change of its letters changes the model that the parser sees.

    @param body: a body that may be written to; when this returns it is as it
        was.
    @return: the offsets at which the value, with its quotes, begins and ends;
        or L{None} if L{nameInJSON} finds none.
    @raise BadBody: as L{nameInJSON}, or if the place cannot be told.
    """
    raw = _rawName(body)
    if raw is None or not _decoded(raw):
        return None
    size = len(raw)
    other = b'"' + (b"y" if raw[1:2] == b"x" else b"x") * (size - 2) + b'"'

    def isAmong(places: Sequence[int]) -> bool:
        for place in places:
            body[place : place + size] = other
        try:
            return _rawName(body) == other
        finally:
            for place in places:
                body[place : place + size] = raw

    places = _places(body, raw)
    while len(places) > 1:
        half = places[len(places) // 2 :]
        places = half if isAmong(half) else places[: len(places) // 2]
    if not isAmong(places):
        raise BadBody("`model` stands in too many places of the body", "model")
    return places[0], places[0] + size


def _places(body: memoryview, raw: bytes) -> list[int]:
    # A function of its own, so that no traceback keeps the matcher and, by
    # it, the view alive.
    found = re.finditer(_KEY + re.escape(raw), body)
    return [match.end() - len(raw) for match in islice(found, MANY)]


def encoded(name: str) -> bytes:
    """
    Write a name as a JSON string.
    """
    return json.dumps(name).encode("ascii")


def _rawName(body: memoryview) -> bytes | None:
    return _skimmed(body)[0]


def _limitIn(request: _Request) -> int | None:
    for raw in (
        request.max_completion_tokens,
        request.max_tokens,
        request.max_output_tokens,
        request.n_predict,
        _inOptions(request.options),
    ):
        if raw is not _NONE:
            # Whether it makes sense is the model's server's to say.
            digits = bytes(raw)
            if digits.isdigit() and len(digits) < 10:
                return int(digits)
    return None


def _inOptions(options: msgspec.Raw) -> msgspec.Raw:
    if options is not _NONE and len(memoryview(options)) <= LONGEST:
        with suppress(msgspec.ValidationError):  # whatever it is for
            return _options.decode(options).num_predict
    return _NONE


def _skimmed(body: memoryview) -> tuple[bytes | None, int | None]:
    # The value of `model` as it is written, None for what counts as none; and
    # the limit of the answer.
    with body[textStart(body) :] as text:
        try:
            try:
                request = _request.decode(text)
                raw, limit = bytes(request.model), _limitIn(request)
                # It looks into the body.
                del request
            except msgspec.ValidationError:  # not an object; is it JSON at all?
                _anything.decode(text)
                return None, None
        except RecursionError:
            problem = "it is nested too deeply"
        except msgspec.DecodeError as error:
            problem = str(error)
        else:
            return (None if raw in (b"", b"null") else raw), limit
    # Outside of the handlers, so that no traceback keeps the view alive.
    raise BadBody(f"the body is not valid JSON: {problem}")


def textStart(body: memoryview) -> int:
    """
    Where the JSON in a body begins.

    @raise BadBody: if it is not in UTF-8.
    """
    head = bytes(body[:4])
    if head.startswith(_BOM):
        return len(_BOM)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:2]:
        raise BadBody("the body is not in UTF-8, which JSON must be")
    return 0


def _decoded(raw: bytes) -> str:
    if not raw.startswith(b'"'):
        raise BadBody("`model` must be a string", "model")
    try:
        return _string.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadBody("`model` is not valid text in UTF-8", "model") from None
