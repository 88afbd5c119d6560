# -*- test-case-name: llmux.test.test_web_errors -*-
"""
What each failure is to a client: a status, a code and words of our own.

Nothing that a hook printed, no traceback and no key is part of an answer: the
words are written here, and of what the exceptions carry only model names and
whole seconds go into them.
"""

from __future__ import annotations

import math

from attrs import frozen

from llmux.errors import (
    ConfigError,
    Conflict,
    HookFailed,
    LLMuxError,
    NeverFits,
    NoSource,
    Overloaded,
    QueueFull,
    ShuttingDown,
    SleepFailed,
    UnknownModel,
    WaitedTooLong,
    WakeFailed,
)
from llmux.web._answer import Answer
from llmux.web._denied import (
    ForeignOrigin,
    InvalidKey,
    NotAllowed,
    TooManyAtOnce,
    TooManyReaders,
    UnknownHost,
)
from llmux.web._late import LateAnswer, errorIn

__all__ = ()

#: The longest part of a client's own words that is said back to it, in
#: characters.
QUOTED = 200

#: Clients of the OpenAI family obey C{Retry-After} up to two minutes, and do
#: not retry at all when it asks for more.
LONGEST_RETRY = 120

#: How long a stopped llmux is likely to be away, in seconds.
RESTART = 5.0


@frozen
class BadBody(LLMuxError):
    """
    A request body is not what its content type says, or its C{model} is not
    a name.

    @ivar what: what is wrong with it.
    @ivar param: the field that is wrong, if it is one.
    """

    what: str
    param: str | None = None

    def __str__(self) -> str:
        return self.what


@frozen
class BodyTooLarge(LLMuxError):
    """
    A request body is over the limit.

    @ivar limit: the limit in bytes.
    """

    limit: int

    def __str__(self) -> str:
        return f"the request body is larger than {self.limit} bytes"


@frozen
class ModelRequired(LLMuxError):
    """
    A request that needs a model names none.
    """

    def __str__(self) -> str:
        return "the request names no model"


@frozen
class NotFound(LLMuxError):
    """
    Neither llmux nor, since no model is named, a model has such a path.
    """

    def __str__(self) -> str:
        return "there is no such path"


@frozen
class WrongMethod(LLMuxError):
    """
    A path of llmux's own does not take a request's method.

    @ivar allowed: what it takes.
    """

    allowed: str

    def __str__(self) -> str:
        return f"this path takes {self.allowed}"


@frozen
class Asleep(LLMuxError):
    """
    A model sleeps, and the request is of a kind that does not wake it.

    @ivar model: which.
    """

    model: str

    def __str__(self) -> str:
        return f"{self.model!r} is asleep"


@frozen
class BackendError(LLMuxError):
    """
    A model's server refused, broke off or spoke nonsense.

    @ivar model: whose server it was.
    @ivar why: a few words of our own that may be shown to a client.
    """

    model: str
    why: str = "could not be reached, or broke off"

    def __str__(self) -> str:
        return f"the server of {self.model!r} {self.why}"


def answerTo(error: BaseException) -> Answer:
    """
    Find what to answer when a request failed.

    @param error: why it failed.
    """
    match error:
        case UnknownModel(model):
            return Answer(
                404,
                "model_not_found",
                f"No model named {_quoted(model)} is configured. "
                "GET /v1/models lists those that are.",
                "model",
            )
        case ModelRequired():
            return Answer(
                400,
                "model_required",
                "The request names no model. Name one in the field `model` of the "
                "body, in the query as ?model=NAME, or in the path as "
                "/upstream/NAME/...",
                "model",
            )
        case NotFound():
            return Answer(
                404,
                "not_found",
                "There is no such path here, and the request names no model whose "
                "server might have it.",
            )
        case BadBody(what, param):
            return Answer(400, "invalid_body", _sentence(what), param)
        case BodyTooLarge(limit):
            return Answer(
                413,
                "body_too_large",
                f"The request body is larger than {limit} bytes, which is the most "
                "that this server takes (limits.body_mb).",
            )
        case InvalidKey(forOperators):
            # A browser then asks for a password, which is the key; it is not
            # to do so for those who use models.
            schemes = b'Bearer, Basic realm="llmux"' if forOperators else b"Bearer"
            return Answer(
                401,
                "invalid_api_key",
                "The API key is missing or wrong. Send it as "
                "'Authorization: Bearer KEY'.",
                headers=((b"WWW-Authenticate", schemes),),
            )
        case NotAllowed():
            return Answer(
                403,
                "permission_denied",
                "This API key is not for that. Whoever gave it to you can allow it "
                "(`operator` or `metrics` in api_keys).",
            )
        case TooManyAtOnce(limit, seconds):
            return Answer(
                429,
                "too_many_in_flight",
                f"{limit} requests with this API key are waiting or being answered "
                "already, which is as many as may. Try again later.",
                headers=(_retryAfter(seconds),),
            )
        case UnknownHost():
            return Answer(
                403,
                "host_not_allowed",
                "This server is not known by the name in the Host header. Ask for it "
                "as localhost, or have its operator add the name to allowed_hosts.",
            )
        case WrongMethod(allowed):
            return Answer(
                405,
                "method_not_allowed",
                f"This path takes {allowed}.",
                headers=((b"Allow", allowed.encode("ascii")),),
            )
        case ForeignOrigin():
            return Answer(
                403,
                "foreign_origin",
                "Pages of other sites may not do this: the request's Origin is not "
                "this server, nor one that its operator has listed (cors_origins).",
            )
        case TooManyReaders():
            return Answer(
                503,
                "too_many_readers",
                "As many follow events and logs as may. Close one of them.",
            )
        case NoSource():
            return Answer(
                409,
                "conflict",
                "The configuration does not come from a file that could be read "
                "again: the program that llmux is a part of made it.",
            )
        case ConfigError():
            return Answer(
                400,
                "invalid_config",
                f"Nothing has changed, since the configuration is wrong: {error}",
            )
        case Conflict(model, why):
            return Answer(409, "conflict", f"{_quoted(model)} {why}.")
        case Asleep(model):
            return Answer(
                503,
                "asleep",
                f"{_quoted(model)} is not awake, and a WebSocket does not wake it "
                "(ignore_websockets). Any other request does.",
                headers=(_NO_RETRY,),
            )
        case SleepFailed(model):
            return Answer(
                503,
                "sleep_failed",
                f"{_quoted(model)} could not be put to sleep, and is thought to hold "
                "what it needs. The server's log says why; clear it when it holds "
                "nothing.",
                headers=(_NO_RETRY,),
            )
        case QueueFull(model, seconds):
            return Answer(
                429,
                "queue_full",
                f"As many requests wait for {_quoted(model)} as may. Try again later.",
                headers=(_retryAfter(seconds),),
            )
        case BackendError(model, why):
            return Answer(
                502, "backend_error", f"The server of {_quoted(model)} {why}."
            )
        case LateAnswer(model, status, body):
            what = "an error" if status >= 400 else "something that is no stream"
            return Answer(
                502,
                "backend_error",
                f"The server of {_quoted(model)} answered with {what} (status "
                f"{status}).",
                said=errorIn(body),
            )
        case WakeFailed(model, seconds):
            return _wakeFailed(model, seconds)
        case HookFailed(model, _, _):
            return _wakeFailed(model, 1.0)
        case NeverFits(model):
            return Answer(
                503,
                "never_fits",
                f"{_quoted(model)} needs more than this machine has beside the models "
                "that are pinned. Its operator must change `needs`, `resources` or "
                "`pin`.",
                "model",
                (_NO_RETRY,),
            )
        case Overloaded():
            return Answer(
                503,
                "overloaded",
                "As many connections are open here as may. Try again later.",
                headers=(_retryAfter(1.0),),
            )
        case ShuttingDown():
            return Answer(
                503,
                "shutting_down",
                "The server is shutting down. Try again when it is back.",
                headers=(_retryAfter(RESTART),),
            )
        case WaitedTooLong(model, seconds):
            return Answer(
                504,
                "switch_timeout",
                f"{_quoted(model)} was not ready within {seconds:g} seconds, which is "
                "as long as a request may wait (policy.request_timeout_secs).",
            )
    return Answer(
        500,
        "internal_error",
        "The server failed. Its log says why, under the id of this request.",
        expected=False,
    )


#: Honoured by the SDKs of OpenAI and Anthropic, which would otherwise try each
#: 503 three times within seconds.
_NO_RETRY = (b"x-should-retry", b"false")


def _wakeFailed(model: str, seconds: float) -> Answer:
    return Answer(
        503,
        "wake_failed",
        f"{_quoted(model)} could not be woken and is left alone for a while. The "
        "server's log says why.",
        headers=(_retryAfter(seconds), _NO_RETRY),
    )


def _retryAfter(seconds: float) -> tuple[bytes, bytes]:
    # The comparison is written so that a NaN ends up at the upper bound.
    whole = math.ceil(seconds) if seconds < LONGEST_RETRY else LONGEST_RETRY
    return (b"Retry-After", b"%d" % max(1, whole))


def _quoted(name: str) -> str:
    return repr(name if len(name) <= QUOTED else name[:QUOTED] + "…")


def _sentence(what: str) -> str:
    return what[:1].upper() + what[1 : 2 * QUOTED].rstrip(".") + "."
