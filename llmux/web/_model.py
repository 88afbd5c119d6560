# -*- test-case-name: llmux.test.test_web_model,llmux.test.test_wire -*-
"""
Which model a request names, and the same request with another name for it.

In this order: C{/upstream/MODEL/...}, the field C{model} of a JSON body, that
of a form, C{?model=}.  Of duplicates the last counts in JSON, as its parsers
have it, and the first in forms and queries.  An empty name is as good as none.

A body whose C{Content-Encoding} is not C{identity} names nothing: nothing is
decompressed.  Only the content types of JSON and of multipart forms are taken
at their word, so that an error in such a body is one.  Any other body names a
model if it is a JSON object (C{curl -d} calls that a form, and a string from
C{fetch} is C{text/plain}), or else if it is said to be a form and has the
field.

What becomes of the name where a model's server knows it by another
(C{backend_model}) is the caller's to arrange:

  - named in the body or the query: L{withModel} or L{withModelInQuery};
  - named in the path: the name is gone with the prefix.  If the body names
    the same model once more, as SDKs make it do, L{withModel}; another
    name there is meant for the model's server and stays.
"""

from __future__ import annotations

from typing import IO

from llmux.config import Shape
from llmux.web import _json, _multipart, _shaping, _target
from llmux.web._errors import BadBody
from llmux.web._json import Said
from llmux.web._pieces import (
    Pieces,
    Slice,
    chunks,
    replaced,
    scratch,
    sizeOf,
    viewed,
)
from llmux.web._target import (
    Named,
    nameInQuery,
    nameInTarget,
    originForm,
    withModelInQuery,
)

__all__ = (
    "Named",
    "Pieces",
    "Said",
    "Slice",
    "chunks",
    "nameInBody",
    "nameInQuery",
    "nameInTarget",
    "originForm",
    "saidInBody",
    "shaped",
    "sizeOf",
    "wantsStream",
    "withModel",
    "withModelInQuery",
)

#: How much of a form is searched, in bytes.  What is longer has hardly been
#: typed in; most likely it is a file that C{curl} calls a form.
SEARCHED = 4 * 1024 * 1024

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


def saidInBody(
    contentType: bytes | None,
    contentEncoding: bytes | None,
    body: IO[bytes],
    length: int,
) -> Said:
    """
    Find the model that a request body names, and, in JSON, how long its
    answer may be.

    @param contentType: the header of that name, if there is one.
    @param contentEncoding: the header of that name, if there is one.
    @param body: a file with the whole body, in memory or on disk.  Where it
        stands afterwards is not defined.
    @param length: the body's length in bytes.
    @raise BadBody: if the body is not what its content type says, or C{model}
        is not a name.
    """
    if not length or _isEncoded(contentEncoding):
        return Said()
    kind, boundary = _multipart.contentTypeOf(contentType)
    if kind == _MULTIPART:
        whole = chunks([Slice(0, length)], body)
        field = _multipart.fieldIn(whole, boundary)
        name = None if field is None else field[1].decode("utf-8", "replace") or None
        return Said(name)
    with viewed(body, length) as view:
        if _isJSON(kind):
            return _json.saidInJSON(view)
        if _json.looksLikeObject(view):
            # It is not said to be JSON, so that it may well not be.
            try:
                return _json.saidInJSON(view)
            except BadBody as error:
                # It is an object if all that is wrong with it is its model.
                if error.param is not None:
                    raise
        place = _placeInForm(view) if kind == _FORM else None
        return Said(
            None if place is None else _target.decodeField(bytes(view[slice(*place)]))
        )


def nameInBody(
    contentType: bytes | None,
    contentEncoding: bytes | None,
    body: IO[bytes],
    length: int,
) -> str | None:
    """
    As L{saidInBody}, of the model alone: L{None} if it names none.
    """
    return saidInBody(contentType, contentEncoding, body, length).model


def withModel(
    contentType: bytes | None,
    body: IO[bytes],
    length: int,
    name: str,
    contentEncoding: bytes | None = None,
) -> Pieces:
    """
    The same body with another name in the place where L{nameInBody} finds
    one, and with no other byte changed.  (One exception: where a part of a
    form says how long it is, that is put right.)

    @param name: the other name.
    @return: the whole body as it is, if L{nameInBody} finds no name in it.
        Read it with L{chunks}; its length is L{sizeOf} it.
    @raise BadBody: as L{nameInBody}, or if the place of the name cannot be
        told beyond doubt.
    """
    same: Pieces = (Slice(0, length),) if length else ()
    if not length or _isEncoded(contentEncoding):
        return same
    kind, boundary = _multipart.contentTypeOf(contentType)
    if kind == _MULTIPART:
        return _withPart(body, length, boundary, name) or same
    with scratch(body, length) as view:
        if _isJSON(kind) or _isReallyJSON(view):
            place, new = _json.placeInJSON(view), _json.encoded(name)
        else:
            place = _placeInForm(view) if kind == _FORM else None
            new = _target.encodeField(name)
    return same if place is None else replaced(length, *place, new)


def shaped(
    contentType: bytes | None,
    contentEncoding: bytes | None,
    body: IO[bytes],
    length: int,
    shape: Shape,
    name: str | None,
) -> Pieces | None:
    """
    The same body with the parameters that the configuration wants, if it is a
    JSON object, and with no other byte changed.

    @param name: what is to stand in the place of the model's name, if it
        names one.
    @return: L{None} if it is anything else, or compressed.
    @raise BadBody: if it has more parts than can be looked at.
    """
    if not length or _isEncoded(contentEncoding):
        return None
    kind, _ = _multipart.contentTypeOf(contentType)
    if not _isJSON(kind):
        with viewed(body, length) as view:
            if kind == _MULTIPART or not _json.looksLikeObject(view):
                return None
    return _shaping.shaped(body, length, shape, name)


def wantsStream(
    contentType: bytes | None,
    contentEncoding: bytes | None,
    pieces: Pieces,
    body: IO[bytes],
) -> bool:
    """
    Whether a body, as it is to be sent, asks for its answer bit by bit: by
    C{stream} in a JSON object or in a form with parts.

    @param body: the body as it came.
    """
    if not pieces or _isEncoded(contentEncoding):
        return False
    kind, boundary = _multipart.contentTypeOf(contentType)
    whole = chunks(pieces, body)
    if kind == _MULTIPART:
        try:
            field = _multipart.fieldIn(whole, boundary, "stream")
        except BadBody:
            return False
        return field is not None and field[1].strip().lower() in (b"true", b"1")
    return _json.isStreamed(b"".join(whole))


def _placeInForm(view: memoryview) -> tuple[int, int] | None:
    with view[:SEARCHED] as start:
        place = _target.fieldIn(start)
    if place is None or place[0] == place[1]:
        return None
    if place[1] == SEARCHED < len(view):  # it may go on behind
        return None
    if place[1] - place[0] > _multipart.LONGEST:
        raise BadBody("`model` is too long", "model")
    return place


def _withPart(
    body: IO[bytes], length: int, boundary: bytes, name: str
) -> Pieces | None:
    field = _multipart.fieldIn(chunks([Slice(0, length)], body), boundary)
    if field is None or not field[1]:
        return None
    number, value = field[0], name.encode("utf-8", "replace")
    with viewed(body, length) as view:
        head, start, stop = _multipart.placeIn(view, boundary, number)
        headers = _multipart.withLength(bytes(view[head:start]), len(value))
    pieces = replaced(length, head, stop, headers + value)
    if _multipart.fieldIn(chunks(pieces, body), boundary) != (number, value):
        raise BadBody("the place of `model` in the form cannot be told", "model")
    return pieces


def _isEncoded(contentEncoding: bytes | None) -> bool:
    return (contentEncoding or b"").strip().lower() not in (b"", b"identity")


def _isJSON(kind: str) -> bool:
    return kind in ("application/json", "text/json") or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _isReallyJSON(view: memoryview) -> bool:
    # A body that is not said to be JSON, so that it may well not be.
    if not _json.looksLikeObject(view):
        return False
    try:
        _json.nameInJSON(view)
    except BadBody as error:
        # It is an object if all that is wrong with it is its model.
        return error.param is not None
    return True
