# -*- test-case-name: llmux.test.test_errors -*-
"""
What can go wrong, each thing that a caller can do something about by a name
of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen


class LLMuxError(Exception):
    """
    The base of every exception that llmux raises on purpose.
    """


@frozen
class Problem:
    """
    One thing that is wrong with a configuration.

    @ivar where: the key path, such as C{models.llama.port}; empty for the
        file as a whole.
    @ivar what: what is wrong and what would mend it.
    @ivar file: the path of the file, as the user gave it.
    @ivar line: the line, counted from 1, if it is known.
    """

    where: str
    what: str
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.where, self.what) if part)


def _all(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(problems)


@frozen
class ConfigError(LLMuxError):
    """
    A configuration cannot be used.

    @ivar problems: all that is wrong with it, in the order of the file.
    """

    problems: tuple[Problem, ...] = field(converter=_all)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    @classmethod
    def one(cls, what: str, where: str = "", file: str = "") -> ConfigError:
        """
        An error about a single problem.
        """
        return cls([Problem(where, what, file)])

    @classmethod
    def many(cls, problems: Iterable[Problem]) -> ConfigError:
        """
        An error about several problems, which must not be none.
        """
        found = tuple(problems)
        assert found, "a configuration error without a problem"
        return cls(found)


class CannotStart(LLMuxError):
    """
    Something that is needed from the start is not to be had.
    """


@frozen
class UnknownModel(LLMuxError):
    """
    No model of that name, and no alias, is configured.
    """

    model: str

    def __str__(self) -> str:
        return f"no model named {self.model!r} is configured"


@frozen
class NeverFits(LLMuxError):
    """
    A model needs more than the whole machine has, or than what pinned models
    leave of it.
    """

    model: str

    def __str__(self) -> str:
        return (
            f"{self.model!r} can never be woken: it needs more than the configured "
            "resources leave beside the pinned models"
        )


@frozen
class QueueFull(LLMuxError):
    """
    As many requests wait for a model as its C{max_queue} allows.

    @ivar retryAfter: seconds after which a new attempt is worth while.
    """

    model: str
    retryAfter: float = 1.0

    def __str__(self) -> str:
        return f"the queue for {self.model!r} is full"


@frozen
class WakeFailed(LLMuxError):
    """
    A model could not be woken, or is not to be tried again yet.

    @ivar retryAfter: seconds until it is tried again.
    """

    model: str
    retryAfter: float = 1.0

    def __str__(self) -> str:
        return f"{self.model!r} could not be woken"


@frozen
class SleepFailed(LLMuxError):
    """
    A model could not be put to sleep: it still holds what it needs.
    """

    model: str

    def __str__(self) -> str:
        return f"{self.model!r} could not be put to sleep"


@frozen
class Conflict(LLMuxError):
    """
    What an operator asks for cannot be done to a model as it is now.

    @ivar why: what is in the way.
    """

    model: str
    why: str

    def __str__(self) -> str:
        return f"{self.model!r} {self.why}"


@frozen
class NoSource(LLMuxError):
    """
    There is no file from which the configuration could be read again.
    """

    def __str__(self) -> str:
        return "the configuration does not come from a file"


@frozen
class WaitedTooLong(LLMuxError):
    """
    A request waited for its model for longer than C{request_timeout_secs}.

    @ivar seconds: how long it waited.
    """

    model: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.model!r} was not ready within {self.seconds:g} seconds"


@frozen
class ShuttingDown(LLMuxError):
    """
    llmux is stopping and takes nothing new.
    """

    def __str__(self) -> str:
        return "llmux is shutting down"


@frozen
class Overloaded(LLMuxError):
    """
    There were no file descriptors left for a request.
    """

    def __str__(self) -> str:
        return "there are no file descriptors left"


@frozen
class HookFailed(LLMuxError):
    """
    A hook did not do its duty.  What it printed is not part of this error,
    which may end up before a client: it is in the log and in the model's
    output ring.

    @ivar model: the model whose hook it was.
    @ivar hook: C{wake}, C{sleep} or C{alive}.
    @ivar why: such as C{exit status 3}, C{timed out after 600 s}.
    """

    model: str
    hook: str
    why: str

    def __str__(self) -> str:
        return f"the {self.hook} hook of {self.model!r} failed: {self.why}"
