# -*- test-case-name: llmux.test.test_inflight -*-
"""
In-flight tokens: each keeps its model awake until it is given back.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field


@define(eq=False)
class Token:
    """
    A promise that a model stays awake until L{release} is called.

    @ivar model: the model's name.
    @ivar address: the base URL of its server, as it is while this token is
        held.
    @ivar granted: when the token was granted, on the switcher's clock.
    @ivar arrived: when the request for it arrived, on the same clock.
    @ivar number: its place in the order of arrival, over all models.
    @ivar priority: that of the request and its model together.
    @ivar size: about how many seconds of service it will take, if known.
    @ivar maxTokens: how many tokens its answer may have, if it says so.
    """

    model: str
    address: str
    granted: float
    arrived: float
    number: int
    _onRelease: Callable[[Token], None] | None = field(repr=False)
    _onAnswered: Callable[[Token], None] | None = field(default=None, repr=False)
    size: float | None = None
    maxTokens: int | None = None
    priority: float = 0.0
    _onCut: Callable[[str], None] | None = field(default=None, init=False, repr=False)
    _cut: str | None = field(default=None, init=False)

    @property
    def held(self) -> bool:
        """
        Whether the token has not been given back yet.
        """
        return self._onRelease is not None

    @property
    def isAnswered(self) -> bool:
        """
        Whether the model's server has begun to answer.
        """
        return self._onAnswered is None

    @property
    def wasCut(self) -> bool:
        """
        Whether the work was ended before it was done.
        """
        return self._cut is not None

    def release(self) -> None:
        """
        Give the token back.  Every call after the first does nothing.
        """
        onRelease, self._onRelease = self._onRelease, None
        self._onCut = None
        if onRelease is not None:
            onRelease(self)

    def answered(self) -> None:
        """
        Say that the model's server has begun to answer, which proves that its
        wake was a success.
        """
        onAnswered, self._onAnswered = self._onAnswered, None
        if onAnswered is not None:
            onAnswered(self)

    def whenCut(self, cut: Callable[[str], None]) -> None:
        """
        Have a function called if the work must end before it is done: the
        drain took longer than it may, or the model was found dead.

        The function is called at most once, and not after L{release}.  It
        must end the work at once, in a way that whoever it is done for can
        see.  The token counts as released when it returns.

        @param cut: takes a few words that say why.
        """
        if self._cut is not None:
            cut(self._cut)
        else:
            self._onCut = cut

    def cut(self, why: str) -> None:
        """
        End the work that the token is held for, and give it back.
        """
        if self._onRelease is None:
            return
        self._cut = why
        onCut, self._onCut = self._onCut, None
        if onCut is not None:
            onCut(why)
        self.release()
