# -*- test-case-name: llmux.test.test_hooks_output -*-
"""
What hooks print: kept in a bounded ring for each model, and in the log, line
by line.

A hook is free to print 10 GB.  What is read is thrown away as fast as it
comes once it is more than an allowance, and only its end is kept, so that
neither the memory nor the log nor the other duties of the reactor suffer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["HookOutput", "OutputLine", "OutputRing", "OutputStream"]

#: Bytes of one line that are kept.
LINE_SIZE = 4096

#: Bytes that are kept of the end of what is over the allowance.
HELD_SIZE = 4096

#: Lines that may come in one burst, and lines a second after it.  A log line
#: costs the reactor some 50 microseconds: this is 25 ms at once at the worst,
#: and 0.5 % of the time from then on.
BURST = 500
LINES_PER_SECOND = 100

#: C0, DEL and C1 controls, which could play tricks on whoever reads a log in
#: a terminal, to something that can be seen.
_VISIBLE = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 9
} | {0x2028: "\\u2028", 0x2029: "\\u2029"}


@frozen
class OutputLine:
    """
    One line that a hook printed.

    @ivar time: when it was read, in seconds on the reactor's clock, which for
        a real reactor are those since the epoch.
    @ivar hook: C{wake}, C{sleep} or C{alive}.
    @ivar stream: C{stdout} or C{stderr}, or C{llmux} for a remark about what
        was left out.
    @ivar text: the line without its end.  What could not be decoded is
        replaced, control characters are escaped.
    """

    time: float
    hook: str
    stream: str
    text: str


@define(eq=False)
class OutputRing:
    """
    The last lines that the hooks of one model printed.

    @ivar maxLines: how many are kept at most.
    @ivar maxCharacters: how long they may be at most, all together.
    """

    log = Logger()

    model: str
    maxLines: int = 1000
    maxCharacters: int = 256 * 1024
    _lines: deque[OutputLine] = field(factory=deque, init=False, repr=False)
    _characters: int = field(default=0, init=False)
    _followers: list[Callable[[OutputLine], None]] = field(
        factory=list, init=False, repr=False
    )

    def lines(self) -> list[OutputLine]:
        """
        @return: what is kept, oldest first.
        """
        return list(self._lines)

    def append(self, line: OutputLine) -> None:
        """
        Add a line, tell those who follow, and forget the oldest lines if
        there are too many.
        """
        self._lines.append(line)
        self._characters += len(line.text)
        while len(self._lines) > self.maxLines or self._characters > self.maxCharacters:
            self._characters -= len(self._lines.popleft().text)
        for follower in tuple(self._followers):
            with self.log.failuresHandled("while following the hooks of a model"):
                follower(line)

    def subscribe(self, follower: Callable[[OutputLine], None]) -> Callable[[], None]:
        """
        Have a function called with every line from now on.

        @return: a function that ends this, however often it is called.
        """
        self._followers.append(follower)

        def unsubscribe() -> None:
            if follower in self._followers:
                self._followers.remove(follower)

        return unsubscribe


@define(eq=False)
class _Allowance:
    """
    How many lines may be taken note of: a burst, and then so many a second.
    """

    _clock: IReactorTime
    _left: float = field(default=float(BURST), init=False)
    _at: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._at = self._clock.seconds()

    def left(self) -> int:
        """
        @return: how many lines may be taken now.
        """
        now = self._clock.seconds()
        # The clock of a real reactor is the wall's, and may be set back.
        gained = max(0.0, now - self._at) * LINES_PER_SECOND
        self._left = min(float(BURST), self._left + gained)
        self._at = now
        return max(0, int(self._left))

    def take(self, lines: int) -> None:
        """
        Count lines that were taken.
        """
        self._left -= lines


@define(eq=False)
class OutputStream:
    """
    What one run of a hook prints on one of its streams: bytes to lines.
    """

    _clock: IReactorTime
    _allowance: _Allowance
    _emit: Callable[[str, str], None]
    _name: str
    _rest: bytes = field(default=b"", init=False)
    _afterReturn: bool = field(default=False, init=False)
    _held: bytes = field(default=b"", init=False)
    _leftOut: int = field(default=0, init=False)
    _release: IDelayedCall | None = field(default=None, init=False)

    def dataReceived(self, data: bytes) -> None:
        """
        Take what was read.
        """
        # Progress bars return the carriage and feed no line.
        if self._afterReturn and data[:1] == b"\n":
            data = data[1:]
        self._afterReturn = data[-1:] == b"\r"
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._release is not None:
            self._hold(data)
            return
        *lines, rest = (self._rest + data).split(b"\n", self._allowance.left())
        self._take(lines)
        if b"\n" in rest:
            self._rest = b""
            self._hold(rest)
        else:
            # One byte more than is kept tells that the line was longer.
            self._rest = rest[: LINE_SIZE + 1]

    def flush(self) -> None:
        """
        Take note of what has not been yet, even if it is half a line: there
        will be no more, or not soon.
        """
        if self._release is not None:
            self._release.cancel()
            self._released()
        rest, self._rest = self._rest, b""
        if rest:
            self._take([rest])

    def _take(self, lines: list[bytes]) -> None:
        self._allowance.take(len(lines))
        for line in lines:
            text = line[:LINE_SIZE].decode("utf-8", "replace").translate(_VISIBLE)
            if len(line) > LINE_SIZE:
                text += " [cut]"
            self._emit(self._name, text)

    def _hold(self, data: bytes) -> None:
        self._leftOut += len(data)
        self._held = (self._held + data)[-HELD_SIZE:]
        if self._release is None:
            self._release = self._clock.callLater(1.0, self._released)

    def _released(self) -> None:
        self._release = None
        held, self._held = self._held, b""
        leftOut, self._leftOut = self._leftOut, 0
        *lines, rest = held.split(b"\n")
        if leftOut > len(held):
            # The first of them has lost its beginning.
            lines = lines[1:]
        # The last words are worth some lines even to one who talks too much.
        kept = lines[-max(20, self._allowance.left()) :]
        leftOut -= len(rest) + sum(len(line) + 1 for line in kept)
        if leftOut > 0:
            self._emit("llmux", f"[{leftOut} bytes of {self._name} left out]")
        self._take(kept)
        self._rest = rest[: LINE_SIZE + 1]


@define(eq=False)
class HookOutput:
    """
    Where the output of all hooks goes.

    @ivar log: where each line is told, as an event C{hook_output}.
    """

    _clock: IReactorTime
    log: Logger = field(factory=Logger, repr=False)
    _rings: dict[str, OutputRing] = field(factory=dict, init=False)
    _allowances: dict[str, _Allowance] = field(factory=dict, init=False)

    def ring(self, model: str) -> OutputRing:
        """
        @param model: the name of a configured model, never a client's word:
            a ring is made for it and kept.

        @return: what the model's hooks printed last.
        """
        if model not in self._rings:
            self._rings[model] = OutputRing(model)
        return self._rings[model]

    def stream(self, model: str, hook: str, name: str) -> OutputStream:
        """
        @param name: C{stdout} or C{stderr}.

        @return: what takes the bytes of one stream of one run of a hook.
        """
        ring = self.ring(model)
        if model not in self._allowances:
            self._allowances[model] = _Allowance(self._clock)

        def emit(stream: str, text: str) -> None:
            ring.append(OutputLine(self._clock.seconds(), hook, stream, text))
            self.log.info(
                "{model} {hook}: {line}",
                event="hook_output",
                model=model,
                hook=hook,
                stream=stream,
                line=text,
            )

        return OutputStream(self._clock, self._allowances[model], emit, name)
