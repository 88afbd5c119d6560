# -*- test-case-name: llmux.test.test_demo -*-
"""
The knobs: how the toy behaves, and how a single request may ask it to behave
otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

from attrs import Attribute, evolve, field, fields, frozen

#: What the name of a header or of a field in the body begins with if it is a
#: knob for that request.
PREFIX = "x-demo-"


class BadKnob(ValueError):
    """
    A knob that does not exist, or a value that is not one for it.
    """


def seconds(value: object) -> float:
    """
    A number that is not negative.
    """
    number = float(str(value))
    if number < 0 or not isfinite(number):
        raise ValueError(value)
    return number


def whole(value: object) -> int:
    """
    A whole number that is not negative.
    """
    number = int(str(value))
    if number < 0:
        raise ValueError(value)
    return number


def truth(value: object) -> bool:
    """
    Yes or no.
    """
    word = str(value).lower()
    if word not in ("1", "true", "yes", "0", "false", "no"):
        raise ValueError(value)
    return word in ("1", "true", "yes")


def garbage(value: object) -> str:
    """
    Where to talk nonsense: C{head} or C{body}.
    """
    if value not in ("head", "body"):
        raise ValueError(value)
    return str(value)


def _knob(default: Any, convert: Callable[[object], Any], help: str) -> Any:
    return field(default=default, metadata={"convert": convert, "help": help})


@frozen
class Behaviour:
    """
    How requests are answered.  Each field is an option of the command line
    and, as C{X-Demo-...}, a header or a field in the JSON body of a request.
    """

    tokens: int = _knob(16, whole, "answer with N tokens, or fewer if asked to")
    tokensPerSecond: float = _knob(
        0.0, seconds, "speak at this rate; 0: as fast as the client reads"
    )
    tokenBytes: int = _knob(0, whole, "make each token at least N bytes long")
    seed: int = _knob(0, whole, "say something else; a request's own seed wins")
    delay: float = _knob(0.0, seconds, "wait N seconds before the first byte")
    status: int = _knob(200, whole, "refuse with this HTTP status")
    retryAfter: int | None = _knob(None, whole, "say Retry-After: N when refusing")
    refuse: bool = _knob(False, truth, "refuse with 503, as an overloaded server")
    hang: bool = _knob(False, truth, "take requests, never answer")
    drop: bool = _knob(False, truth, "close the connection, answer nothing")
    garbage: str | None = _knob(
        None, garbage, "what is not HTTP (head), or not JSON or events (body)"
    )
    cutAfter: int | None = _knob(
        None, whole, "close the connection after N events; half-way if not a stream"
    )
    endAfter: int | None = _knob(
        None, whole, "end a stream after N events as if it were whole"
    )
    errorAfter: int | None = _knob(
        None, whole, "after N events send an error as the last one"
    )
    stallAfter: int | None = _knob(
        None, whole, "send nothing more after N events, but stay connected"
    )
    crashAfter: int | None = _knob(
        None, whole, "the whole server dies after N events of one answer"
    )

    def having(self, knobs: Iterable[tuple[str, object]]) -> Behaviour:
        """
        This behaviour, changed for one request.

        @param knobs: names without the prefix, in any case, and values.

        @raise BadKnob: if one of them makes no sense.
        """
        changes = {}
        for name, value in knobs:
            plain = name.lower().replace("_", "-")
            if plain not in KNOBS:
                raise BadKnob(f"no knob {name!r}; there are {', '.join(KNOBS)}")
            knob = KNOBS[plain]
            try:
                changes[knob.name] = knob.metadata["convert"](value)
            except ValueError:
                raise BadKnob(f"{value!r} is no value for {plain}") from None
        return evolve(self, **changes) if changes else self

    def forRequest(
        self,
        headers: Iterable[tuple[str, str]],
        body: Mapping[str, Any],
    ) -> Behaviour:
        """
        This behaviour, changed by what a request says in its headers or in
        its body; the body, which no proxy changes, wins.

        @raise BadKnob: if it asks for what does not exist.
        """
        return self.having(
            (name[len(PREFIX) :], value)
            for name, value in [*headers, *body.items()]
            if name.lower().replace("_", "-").startswith(PREFIX)
        )


def _dashed(name: str) -> str:
    return re.sub("([A-Z])", r"-\1", name).lower()


#: Every knob by the name under which users know it.
KNOBS: Mapping[str, Attribute[Any]] = {
    _dashed(attribute.name): attribute for attribute in fields(Behaviour)
}
