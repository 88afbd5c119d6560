# -*- test-case-name: llmux.test.test_web_scan -*-
"""
Looks at request bodies, as values: they can be done here, or by a program of
its own, which is this module.
"""

from __future__ import annotations

import io
import json
import os
import sys
from base64 import b64decode, b64encode
from io import BytesIO
from shutil import copyfileobj
from typing import IO, Any

from attrs import frozen

from llmux.config import Shape
from llmux.web import _cost
from llmux.web._errors import BadBody
from llmux.web._json import looksLikeObject
from llmux.web._model import Pieces, Said, Slice, saidInBody, shaped, withModel
from llmux.web._ollamaasked import Route, Translated, Turned, turned
from llmux.web._pieces import viewed

__all__ = ()

#: The descriptor at which the program finds the body.
BODY = 3

#: The descriptor at which it finds a file for what it makes, if it makes
#: anything.
MADE = 4

#: How many values a body may have that is translated.
PARTS = 2 * 1024 * 1024


@frozen
class Look:
    """
    A look at a body.

    @ivar kind: its C{Content-Type}.
    @ivar encoding: its C{Content-Encoding}.
    @ivar length: its length in bytes.
    @cvar worst: how many milliseconds each MiB of it can take, whatever is in
        it.
    @cvar most: how long it can be, in bytes, for what L{cost} tells to be
        worth a thought.
    @cvar makes: whether a body is made of it, of any length.
    """

    kind: bytes | None
    encoding: bytes | None
    length: int

    worst = 6.0
    most = 16 << 20
    makes = False

    def cost(self, text: memoryview) -> float:
        """
        @param text: the body.

        @return: how many milliseconds it takes, at most.
        """
        return self._asForm(text) + (_cost.skimming(text) if self._isJSON(text) else 0)

    def _isJSON(self, text: memoryview) -> bool:
        return b"json" in (self.kind or b"").lower() or looksLikeObject(text)

    def _asForm(self, text: memoryview) -> float:
        kind = (self.kind or b"").lower()
        isForm = b"multipart/" in kind or b"form-" in kind
        return 4e-6 * len(text) if isForm else 0.0

    def at(self, body: IO[bytes]) -> Any:
        """
        Look.

        @raise BadBody: see the functions that do it.
        """
        return saidInBody(self.kind, self.encoding, body, self.length)

    def more(self) -> dict[str, Any]:
        """
        What else the program is told.
        """
        return {}


@frozen
class Renaming(Look):
    """
    See L{withModel}.
    """

    name: str

    worst = 60.0
    most = 4 << 20

    def cost(self, text: memoryview) -> float:
        """
        See L{Look.cost}.
        """
        return self._asForm(text) + (_cost.renaming(text) if self._isJSON(text) else 0)

    def at(self, body: IO[bytes]) -> Pieces:
        """
        See L{Look.at}.
        """
        return withModel(self.kind, body, self.length, self.name, self.encoding)

    def more(self) -> dict[str, Any]:
        """
        See L{Look.more}.
        """
        return {"name": self.name}


@frozen
class Shaping(Look):
    """
    See L{shaped}.
    """

    shape: Shape
    name: str | None

    worst = 250.0
    most = 4 << 20

    def cost(self, text: memoryview) -> float:
        """
        See L{Look.cost}.
        """
        return _cost.shaping(text)

    def at(self, body: IO[bytes]) -> Pieces | None:
        """
        See L{Look.at}.
        """
        return shaped(
            self.kind, self.encoding, body, self.length, self.shape, self.name
        )

    def more(self) -> dict[str, Any]:
        """
        See L{Look.more}.
        """
        shape = self.shape
        return {
            "always": {name: value.decode() for name, value in shape.always.items()},
            "default": {name: value.decode() for name, value in shape.default.items()},
            "never": sorted(shape.never),
            "name": self.name,
        }


@frozen
class Translating(Look):
    """
    See L{turned}.
    """

    route: Route
    name: str

    worst = 400.0
    most = 8 << 20
    makes = True

    def cost(self, text: memoryview) -> float:
        """
        See L{Look.cost}.
        """
        return _cost.translating(text)

    def at(self, body: IO[bytes]) -> Turned:
        """
        See L{Look.at}.
        """
        with viewed(body, self.length) as view:
            if _cost.parts(view) > PARTS:
                raise BadBody("the body has too many parts to be translated")
            text = bytes(view)
        return turned(self.route, text, self.name)

    def more(self) -> dict[str, Any]:
        """
        See L{Look.more}.
        """
        return {"route": self.route.name, "name": self.name}


def written(look: Look) -> bytes:
    """
    A look, as the program reads it.
    """
    said = {
        "kind": None if look.kind is None else look.kind.decode("latin-1"),
        "encoding": None if look.encoding is None else look.encoding.decode("latin-1"),
        "length": look.length,
        **look.more(),
    }
    return json.dumps(said).encode("ascii")


def read(text: bytes) -> Look:
    """
    What L{written} has written.
    """
    said = json.loads(text)
    kind, encoding = (
        None if said[key] is None else said[key].encode("latin-1")
        for key in ("kind", "encoding")
    )
    length = said["length"]
    if "always" in said:
        always, default = (
            {name: value.encode() for name, value in said[key].items()}
            for key in ("always", "default")
        )
        shape = Shape(always, default, frozenset(said["never"]))
        return Shaping(kind, encoding, length, shape, said["name"])
    if "route" in said:
        route = Route[said["route"]]
        return Translating(kind, encoding, length, route, said["name"])
    if "name" in said:
        return Renaming(kind, encoding, length, said["name"])
    return Look(kind, encoding, length)


def answered(look: Look, body: IO[bytes], made: IO[bytes]) -> bytes:
    """
    Look, and write down what was seen.

    @param made: where to put the body that is made, if one is.
    """
    answer: dict[str, Any]
    try:
        seen = look.at(body)
    except BadBody as error:
        answer = {"bad": [error.what, error.param]}
    else:
        if isinstance(seen, Said):
            answer = {"said": list(seen)}
        elif isinstance(seen, Turned):
            copyfileobj(seen.body, made)
            made.flush()
            about = seen.made
            answer = {
                "made": [about.target.decode("ascii"), about.isStream, about.isRaw],
                "turned": [seen.length, seen.isEmpty, seen.isUnload],
                "route": about.route.name,
            }
        elif seen is None:
            answer = {"pieces": None}
        else:
            answer = {
                "pieces": [
                    [piece.start, piece.stop]
                    if isinstance(piece, Slice)
                    else b64encode(piece).decode()
                    for piece in seen
                ]
            }
    return json.dumps(answer).encode("ascii")


def seen(answer: bytes, made: IO[bytes] | None = None) -> Any:
    """
    What L{answered} has written.

    @param made: where it has put the body that it has made, if it has.

    @raise BadBody: if it says so.
    """
    told = json.loads(answer)
    if "bad" in told:
        raise BadBody(*told["bad"])
    if "said" in told:
        return Said(*told["said"])
    if "made" in told:
        target, isStream, isRaw = told["made"]
        about = Translated(
            Route[told["route"]], target.encode("ascii"), {}, isStream, isRaw
        )
        return Turned(about, made or BytesIO(), *told["turned"])
    if told["pieces"] is None:
        return None
    return tuple(
        b64decode(piece) if isinstance(piece, str) else Slice(*piece)
        for piece in told["pieces"]
    )


class Apart(io.RawIOBase):
    """
    A file that is read without moving the place at which all others stand who
    have the same descriptor.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._at = 0

    def fileno(self) -> int:
        """
        The descriptor.
        """
        return self._number

    def readable(self) -> bool:
        """
        It can be read.
        """
        return True

    def seekable(self) -> bool:
        """
        It has a place.
        """
        return True

    def seek(self, at: int, whence: int = os.SEEK_SET) -> int:
        """
        Go to a place, counted from the start.
        """
        assert whence == os.SEEK_SET
        self._at = at
        return at

    def readinto(self, into: Any) -> int:
        """
        Read on.
        """
        data = os.pread(self._number, len(into), self._at)
        into[: len(data)] = data
        self._at += len(data)
        return len(data)


def main() -> None:
    """
    Be told of a look, and say what was seen.
    """
    os.nice(5)
    look = read(sys.stdin.buffer.read())
    body: Any = io.BufferedReader(Apart(BODY))
    made = os.fdopen(MADE, "wb") if look.makes else BytesIO()
    sys.stdout.buffer.write(answered(look, body, made))
