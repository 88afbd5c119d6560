# -*- test-case-name: llmux.test.test_web_backend -*-
"""
The servers of models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from attrs import Factory, define, field
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from llmux.config import Config
from llmux.descriptors import PATIENCE, Descriptors, PatientEndpoint
from llmux.errors import LLMuxError
from llmux.interfaces import Event, IObserver, State, StateChanged
from llmux.web._address import Address, endpointFor, parseAddress
from llmux.web._errors import BackendError
from llmux.web._guard import GuardedEndpoint

__all__ = ()

#: How long a connection may be kept for the next request, in seconds.  Servers
#: commonly close those that were quiet for 5 seconds; to be the first to do so
#: is the way not to send a request over one that is just being closed.
KEPT = 2.0

#: How many connections to one model may be kept for the next requests.
MANY = 256

#: The states in which what a model has begun goes on.
_SERVING = (State.AWAKE, State.CHECKING, State.DRAINING)

EndpointFor = Callable[[Any, Address, float], IStreamClientEndpoint]


class Unreachable(LLMuxError):
    """
    No connection to a model's server could be made, so it has seen nothing
    of the request.
    """

    def __str__(self) -> str:
        return "no connection to the model's server could be made"


@implementer(IObserver)
@define(eq=False)
class Backends:
    """
    The servers of all models.

    An observer of the switcher: no connection to a model's server outlives
    the time in which the model is awake.

    @ivar descriptors: knows the connections to servers.
    """

    config: Config
    _reactor: Any
    _endpointFor: EndpointFor = endpointFor
    descriptors: Descriptors = field(
        default=Factory(lambda self: Descriptors(self._reactor), takes_self=True)
    )
    _known: dict[str, Any] = field(factory=dict, init=False)
    _guests: dict[str, set[Callable[[], None]]] = field(factory=dict, init=False)

    interests: ClassVar = frozenset({StateChanged})

    def __attrs_post_init__(self) -> None:
        self.descriptors.closers.append(self.closeKept)

    def at(self, model: str, address: str) -> Any:
        """
        The server of a model: a L{Backend}, or what a subclass has instead.

        @param model: the model's name.
        @param address: its server's base URL.
        @raise BackendError: if that is no address that can be used.
        """
        known = self._known.get(model)
        if known is not None:
            if known.address.text == address:
                return known
            known.close()
        try:
            parsed = parseAddress(address)
        except ValueError:
            raise BackendError(model, "is at no known address") from None
        timeouts = self.config.models[model].timeouts
        endpoint = self._endpointFor(self._reactor, parsed, timeouts.connect)
        # That there are no descriptors is nothing that the server does.
        first = timeouts.first_byte
        patience = PATIENCE if first is None else min(PATIENCE, first / 2)
        patient = PatientEndpoint(endpoint, self.descriptors, self._reactor, patience)
        made = self._known[model] = self._make(model, parsed, patient)
        return made

    def _make(
        self, model: str, address: Address, endpoint: IStreamClientEndpoint
    ) -> Any:
        # Not before a request goes the usual way: treq takes a while to load,
        # and most programs never do with anything but the lane.
        from llmux.web._sending import Backend

        guarded = GuardedEndpoint(endpoint, self.descriptors)
        return Backend(model, address, guarded, self._reactor, self.descriptors)

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        if isinstance(event, StateChanged) and event.after is not State.AWAKE:
            known = self._known.get(event.model)
            if known is not None:
                known.close()
            if event.after not in _SERVING:
                for leave in list(self._guests.get(event.model, ())):
                    leave()

    def whenAsleep(self, model: str, leave: Callable[[], None]) -> Callable[[], None]:
        """
        Have a function called as soon as a model serves no more: before it is
        put to sleep.

        @return: what is called to have that not happen any more.
        """
        guests = self._guests.setdefault(model, set())
        guests.add(leave)
        return lambda: guests.discard(leave)

    def close(self) -> None:
        """
        Close all connections that wait for a request, or that do not hold
        their models.
        """
        for guests in self._guests.values():
            for leave in list(guests):
                leave()
        self.closeKept()

    def closeKept(self) -> None:
        """
        Close all connections that wait for a request.
        """
        for known in self._known.values():
            known.close()
