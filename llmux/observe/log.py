# -*- test-case-name: llmux.test.test_observe_log -*-
"""
Events as lines of the log: text for people, and fields, of which C{event} is
the first, for programs.

No client's word gets here: all names are those of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from llmux.interfaces import (
    Admit,
    BoundMissed,
    Decision,
    DecisionRefused,
    Event,
    Hook,
    HookFinished,
    IObserver,
    RequestDone,
    RequestDropped,
    State,
    StateChanged,
    Switch,
    SwitchEnded,
    SwitchStarted,
    isDeath,
)

__all__ = ["EventLog", "Louder"]


class Louder(Logger):
    """
    A logger whose details are news.
    """

    def debug(self, format: str | None = None, **values: object) -> None:
        """
        See L{Logger.debug}.
        """
        self.info(format, **values)


@implementer(IObserver)
@define(eq=False)
class EventLog:
    """
    Logs what happens to models.  What happens to requests that do well is not
    logged here: it would be many lines a second.

    @ivar log: where to.
    """

    log: Logger = field(factory=Logger, repr=False)
    _lines: dict[type[Any], Callable[[Any], None]] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._lines = {
            StateChanged: self._stateChanged,
            HookFinished: self._hookFinished,
            SwitchStarted: self._switchStarted,
            SwitchEnded: self._switchEnded,
            RequestDropped: self._requestDropped,
            RequestDone: self._requestDone,
            BoundMissed: self._boundMissed,
            DecisionRefused: self._decisionRefused,
        }

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        line = self._lines.get(type(event))
        if line is not None:
            line(event)

    def _stateChanged(self, event: StateChanged) -> None:
        fields = {
            "model": event.model,
            "state_before": event.before.value,
            "state": event.after.value,
            "duration": event.duration,
        }
        if event.after is State.AWAKE and event.before in (State.WAKING, State.UNKNOWN):
            how = "was found awake" if event.before is State.UNKNOWN else "is awake"
            self.log.info("{model} " + how, event="model_activated", **fields)
        elif isDeath(event):
            self.log.warn(
                "{model} does not say that it is alive, and is put to sleep; what is "
                "asked of it then wakes it",
                event="model_dead",
                **fields,
            )
        elif event.after is State.STUCK:
            self.log.error(
                "{model} could not be put to sleep: what it holds is not free, and "
                "nothing that needs it will be woken until its sleep hook succeeds",
                event="model_stuck",
                **fields,
            )
        elif event.after is State.COOLING:
            self.log.warn(
                "{model} could not be woken and is left alone for a while",
                event="model_cooling",
                **fields,
            )
        else:
            self.log.debug(
                "{model}: {state_before} to {state}", event="model_state", **fields
            )

    def _hookFinished(self, event: HookFinished) -> None:
        fields = {
            "model": event.model,
            "hook": event.hook.value,
            "reason": event.reason.value,
            "attempt": event.attempt,
            "duration": event.duration,
        }
        # alive is asked often, and "no" is an answer, not a fault.
        asked = event.hook is Hook.ALIVE
        if not event.error:
            write = self.log.debug if asked else self.log.info
            write(
                "The {hook} hook of {model} took {duration:.3f} s",
                event="hook_completed",
                **fields,
            )
            return
        fields["error"] = event.error
        if asked:
            self.log.info(
                "The {hook} hook of {model} does not find it awake: {error}",
                event="hook_failed",
                **fields,
            )
            return
        name = "sleep_hook_failed" if event.hook is Hook.SLEEP else "hook_failed"
        self.log.error(
            "The {hook} hook of {model} failed after {duration:.3f} s, attempt "
            "{attempt}: {error}",
            event=name,
            **fields,
        )

    def _switchStarted(self, event: SwitchStarted) -> None:
        self.log.info(
            "Switching {from_text}to {target}",
            event="switch_started",
            from_text=_from(event.victims),
            target=event.target,
            victims=list(event.victims),
            reason=event.reason.value,
        )

    def _switchEnded(self, event: SwitchEnded) -> None:
        name, write, said = {
            "ok": ("switch_completed", self.log.info, "Switched"),
            "failed": ("switch_failed", self.log.error, "Failed to switch"),
        }.get(event.result, ("switch_cancelled", self.log.info, "Gave up to switch"))
        write(
            said + " {from_text}to {target} after {duration:.3f} s, of which the "
            "drain took {drain:.3f} s; {waiting} waiting",
            event=name,
            from_text=_from(event.victims),
            target=event.target,
            victims=list(event.victims),
            result=event.result,
            duration=event.duration,
            drain=event.drain,
            waiting=event.waiting,
        )

    def _requestDropped(self, event: RequestDropped) -> None:
        fields = {"model": event.model, "waited": event.waited, "depth": event.depth}
        if event.why == "timeout":
            self.log.warn(
                "A request for {model} was given up after it had waited {waited:.3f} s",
                event="request_timeout",
                **fields,
            )
        else:
            # Many at once if a wake fails or a queue is full; each client is
            # told, and each is counted.
            self.log.debug(
                "A request for {model} was dropped after {waited:.3f} s: {why}",
                event="request_dropped",
                why=event.why,
                **fields,
            )

    def _requestDone(self, event: RequestDone) -> None:
        if event.cut:
            self.log.warn(
                "A request to {model} was cut off after {duration:.3f} s",
                event="request_cut",
                model=event.model,
                duration=event.duration,
                in_flight=event.inFlight,
            )

    def _boundMissed(self, event: BoundMissed) -> None:
        self.log.warn(
            "A request for {model} has waited {waited:.3f} s, which is longer than "
            "the {bound:g} s of max_wait_secs, and others are still in the way: "
            "for as long as more comes than can be served within its bound, what "
            "waits is served in the order of arrival",
            event="bound_missed",
            model=event.model,
            waited=event.waited,
            bound=event.bound,
        )

    def _decisionRefused(self, event: DecisionRefused) -> None:
        self.log.error(
            "The policy's decision to {decision} was refused: {why}",
            event="decision_refused",
            decision=_said(event.decision),
            why=event.why,
        )


def _from(victims: tuple[str, ...]) -> str:
    return f"from {', '.join(victims)} " if victims else ""


def _said(decision: Decision) -> str:
    """
    Say what a decision is, in a few words.
    """
    if isinstance(decision, Switch):
        return f"switch {_from(tuple(sorted(decision.victims)))}to {decision.target}"
    if isinstance(decision, Admit):
        return f"admit a request to {decision.waiting.model}"
    return "stay"
