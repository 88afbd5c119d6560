# -*- test-case-name: llmux.test.test_web_scan -*-
"""
The program that looks at request bodies: what it is told and what it says.
"""

from __future__ import annotations

import io
import json
import os
import sys
from io import BytesIO
from shutil import copyfileobj
from typing import IO, Any

from llmux.config import Shape
from llmux.web._errors import BadBody
from llmux.web._looks import Look, Renaming, Shaping, Streaming, Translating
from llmux.web._model import Said
from llmux.web._ollamaasked import Route, Translated, Turned
from llmux.web._pieces import piecesFrom, piecesInJSON

__all__ = ()

#: The descriptor at which the program finds the body.
BODY = 3

#: The descriptor at which it finds a file for what it makes, if it makes
#: anything.
MADE = 4


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
    if "pieces" in said:
        return Streaming(kind, encoding, length, piecesFrom(said["pieces"]))
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
        elif isinstance(seen, bool):
            answer = {"wants": seen}
        else:
            answer = {"pieces": None if seen is None else piecesInJSON(seen)}
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
    if "wants" in told:
        return told["wants"]
    return None if told["pieces"] is None else piecesFrom(told["pieces"])


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
