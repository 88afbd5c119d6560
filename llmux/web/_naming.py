# -*- test-case-name: llmux.test.test_exchange,llmux.test.test_web_scan -*-
"""
The first step of an exchange: whose request it is, and what for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from llmux.config import Config
from llmux.errors import LLMuxError
from llmux.web._access import Principal
from llmux.web._context import Context
from llmux.web._plan import Asked, Plan, Steps, made, planning
from llmux.web._scanner import LEAST

__all__ = ()

T = TypeVar("T")


class Naming:
    """
    A request for which a plan is made: at once, or, if there is much to look
    at, in a while.
    """

    log = Logger()

    _planning: Deferred[Plan] | None = None
    _closed = False
    # How long a body may be in bytes for its plan to be made at once.
    _least = LEAST

    def __init__(self, context: Context, client: Any, asked: Asked) -> None:
        """
        @param client: provides L{IClient}.
        """
        self._context = context
        self._client = client
        self._asked, self._account = context.begin(asked)

    def start(self) -> None:
        """
        Begin.  Everything after that happens by itself.
        """
        self._client.attach(self._over)
        try:
            principal = self._context.access.admit(self._asked, self._client)
            plan = self._makePlan(principal.config)
            if plan is None:
                self._look(self._steps(principal.config), self._enter, principal)
            else:
                self._enter(principal, plan)
        except LLMuxError as error:
            self._refuse(error)
        except Exception as error:
            self._surprised(Failure(error))

    def _makePlan(self, config: Config) -> Plan | None:
        """
        @return: L{None} if that may take long.
        """
        if self._asked.length > self._least:
            return None
        return made(self._steps(config))

    def _steps(self, config: Config) -> Steps:
        return planning(config, self._asked)

    def _look(self, steps: Steps, then: Callable[[T, Plan], None], what: T) -> None:
        """
        Have a plan made that may take long.

        @param then: is called with C{what} and the plan.
        """
        planning = self._context.scanner.plan(steps)
        self._planning = planning
        planning.addCallback(self._planned, then, what)
        planning.addErrback(self._notPlanned)

    def _planned(self, plan: Plan, then: Callable[[T, Plan], None], what: T) -> None:
        self._planning = None
        then(what, plan)

    def _notPlanned(self, why: Failure) -> None:
        self._planning = None
        if self._closed or why.check(CancelledError):
            return
        if isinstance(why.value, LLMuxError):
            self._refuse(why.value)
        else:
            self._surprised(why)

    def _lookNoMore(self) -> None:
        planning, self._planning = self._planning, None
        if planning is not None:
            planning.cancel()

    # What becomes of it then.

    def _enter(self, principal: Principal, plan: Plan) -> None:
        """
        @raise LLMuxError: if the request is refused.
        """
        raise NotImplementedError

    def _refuse(self, error: Any) -> None:
        raise NotImplementedError

    def _surprised(self, why: Failure) -> None:
        raise NotImplementedError

    def _over(self) -> None:
        raise NotImplementedError
