# -*- test-case-name: llmux.test.test_web_scan,llmux.test.test_web_cost -*-
"""
Looks at request bodies, as values: they can be done here, or by a program of
its own.
"""

from __future__ import annotations

from typing import IO, Any

from attrs import frozen

from llmux.config import Shape
from llmux.web import _cost
from llmux.web._errors import BadBody
from llmux.web._json import looksLikeObject
from llmux.web._model import Pieces, saidInBody, shaped, wantsStream, withModel
from llmux.web._ollamaasked import Route, Turned, turned
from llmux.web._pieces import piecesInJSON, viewed

__all__ = ()

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
    @cvar inJSON: what it takes if the body is JSON, in milliseconds.
    """

    kind: bytes | None
    encoding: bytes | None
    length: int

    worst = 6.0
    most = 12 << 20
    makes = False
    inJSON = staticmethod(_cost.skimming)

    def cost(self, text: memoryview) -> float:
        """
        @param text: the body.

        @return: how many milliseconds it takes, at most.
        """
        return self._asForm(text) + (self.inJSON(text) if self._isJSON(text) else 0)

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
    inJSON = staticmethod(_cost.renaming)

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
class Streaming(Look):
    """
    See L{wantsStream}.
    """

    pieces: Pieces

    worst = 8.0
    most = 8 << 20

    def at(self, body: IO[bytes]) -> bool:
        """
        See L{Look.at}.
        """
        return wantsStream(self.kind, self.encoding, self.pieces, body)

    def more(self) -> dict[str, Any]:
        """
        See L{Look.more}.
        """
        return {"pieces": piecesInJSON(self.pieces)}


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
