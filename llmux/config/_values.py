# -*- test-case-name: llmux.test.test_config_values -*-
"""
The configuration as values.  The names of fields are the keys of the file,
hence not in the case of the rest of the code.

To add a key, add a field with its metadata here; the reader, the JSON Schema
and the reference follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import Factory, field, frozen

from llmux.config._access import ApiKey, badHostName, badOrigin
from llmux.config._keys import key, seconds
from llmux.config._shape import Shape, shapeOf
from llmux.config._texts import (
    badEndpoint,
    badHook,
    badHost,
    badMetadata,
    badName,
    badParameter,
    badURL,
)

__all__ = ()


#: For editors; L{badParameter} is what counts.
_PARAMETER = r"^(?!model$)[^\u0000-\u001f\u007f-\u009f]*$"


def _readOnly(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


def _readOnlyOrNone(mapping: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if mapping is None else _readOnly(mapping)


@frozen
class Timeouts:
    """
    How long to wait for a model's hooks and for its server, in seconds.
    """

    wake: float = field(
        default=600.0,
        metadata=seconds(
            "How long the ``wake`` hook may take. Then its process group is ended, "
            "and waking has failed.",
            1800,
            above=0,
        ),
    )
    sleep: float = field(
        default=120.0,
        metadata=seconds(
            "How long the ``sleep`` hook may take. Then its process group is ended, "
            "and the model is held to keep what it has until a later attempt succeeds.",
            300,
            above=0,
        ),
    )
    alive: float = field(
        default=10.0,
        metadata=seconds(
            "How long the ``alive`` hook may take before the model counts as dead.",
            3,
            above=0,
        ),
    )
    connect: float = field(
        default=5.0,
        metadata=seconds(
            "How long it may take to connect to the model's server.", 2, above=0
        ),
    )
    first_byte: float | None = field(
        default=None,
        metadata=seconds(
            "How long the model's server may take from the end of a request to the "
            "first byte of its answer.",
            300,
            above=0,
            default="no limit",
        ),
    )
    idle: float | None = field(
        default=None,
        metadata=seconds(
            "How long the model's server may pause within an answer.",
            60,
            above=0,
            default="no limit",
        ),
    )


@frozen
class Resource:
    """
    Something that models share.

    @ivar name: the name under which it stands in L{Config.resources}.
    """

    name: str
    total: float = field(metadata=key("How much there is of it.", 24, low=0))
    free_command: str | None = field(
        default=None,
        metadata=key(
            "A command that prints how much of it is free, as one number in the same "
            "unit. It is run like a hook. Before each wake llmux asks it, every "
            "second, until what the model needs is there: a process that has ended "
            "may still hold memory for a while.",
            "nvidia-smi -i 0 --query-gpu=memory.free --format=csv,noheader,nounits "
            "| awk '{print $1 / 1024}'",
            complaint=badHook,
            default="none: what sleeps holds nothing",
        ),
    )
    free_timeout_secs: float = field(
        default=60,
        metadata=seconds(
            "How long to wait for that. Then the model is not woken, as if its "
            "``wake`` had failed.",
            120,
            above=0,
        ),
    )


def _resources(given: Mapping[str, Resource | float]) -> Mapping[str, Resource]:
    return _readOnly(
        {
            name: one if isinstance(one, Resource) else Resource(name, one)
            for name, one in given.items()
        }
    )


@frozen
class Limits:
    """
    What a client may send, and how slowly.
    """

    body_mb: float = field(
        default=512,
        metadata=key(
            "The largest request body. A larger one gets status 413.",
            100,
            unit="megabytes",
            above=0,
            high=1e9,
        ),
    )
    head_kb: float = field(
        default=64,
        metadata=key(
            "The largest request head: the request line and all headers together.",
            16,
            unit="kilobytes",
            above=0,
            high=1e6,
        ),
    )
    head_secs: float = field(
        default=15,
        metadata=seconds(
            "How long a client may take to send the head of a request.", 5, above=0
        ),
    )
    stall_secs: float = field(
        default=300,
        metadata=seconds(
            "How long a client may stand still while it sends a body or takes an "
            "answer, before it is disconnected.",
            60,
            above=0,
        ),
    )


@frozen
class PolicyConfig:
    """
    When to switch, and how.
    """

    name: str = field(
        default="cost-aware",
        metadata=key(
            "Which policy chooses the models that are awake: one of llmux's own, or "
            "one that another package has registered.",
            "night-shift",
        ),
    )
    request_timeout_secs: float | None = field(
        default=None,
        metadata=seconds(
            "How long a request waits for its model before it gets status 504.",
            300,
            default="no limit",
        ),
    )
    drain_before_switch: bool = field(
        default=True,
        metadata=key(
            "Whether the requests that a model is serving may finish before it is put "
            "to sleep for another. If not, they are cut, and their clients see that.",
            False,
        ),
    )
    min_active_secs: float = field(
        default=0,
        metadata=seconds(
            "How long a model stays awake at least before it is put to sleep for "
            "another. It goes on serving meanwhile.",
            5,
        ),
    )
    max_wait_secs: float | None = field(
        default=120,
        metadata=seconds(
            "How long a request may be passed over by requests that came later; null "
            "for no bound. The drain and the switch itself come on top.",
            30,
        ),
    )
    default_model: str | None = field(
        default=None,
        metadata=key(
            "The model that is woken when nothing is asked for in its place.",
            "llama",
            complaint=badName,
            default="none",
        ),
    )
    default_after_secs: float = field(
        default=60,
        metadata=seconds(
            "For how long nothing must have been asked for before ``default_model`` "
            "is woken.",
            600,
        ),
    )
    cancelled_wake: str = field(
        default="yield",
        metadata=key(
            "What becomes of a wake that nobody waits for any more: ``finish`` it and "
            "keep the model; ``yield`` is the same unless another model is asked for "
            "that needs the place, and then ends it; ``end`` it at once. What was "
            "ended is cleaned up after by ``sleep``.",
            "end",
            choices=("finish", "yield", "end"),
        ),
    )
    drain_timeout_secs: float | None = field(
        default=None,
        metadata=seconds(
            "How long requests may go on when their model is to be put to sleep, or "
            "llmux is to stop. Then they are cut, and their clients see that.",
            60,
            default="no limit",
        ),
    )


def _set() -> Any:
    return field(
        factory=dict,
        converter=_readOnly,
        metadata=key(
            "Parameters of requests that have these values, whatever the client says: "
            "members of a JSON body, at its top level.",
            {"temperature": 1.2, "chat_template_kwargs": {"enable_thinking": False}},
            complaint=badParameter,
            pattern=_PARAMETER,
            default="none",
        ),
    )


def _setDefault() -> Any:
    return field(
        factory=dict,
        converter=_readOnly,
        metadata=key(
            "Parameters of requests that have these values if the client gives none, "
            "or null.",
            {"max_tokens": 1024},
            complaint=badParameter,
            pattern=_PARAMETER,
            default="none",
        ),
    )


def _strip() -> Any:
    return field(
        default=(),
        converter=tuple,
        metadata=key(
            "Parameters that are taken out of requests.",
            ["logit_bias"],
            complaint=badParameter,
            pattern=_PARAMETER,
            default="none",
        ),
    )


def _description(default: str) -> Any:
    return field(
        default=None,
        metadata=key(
            "What ``/v1/models`` says of it in a few words.",
            "For stories",
            default=default,
        ),
    )


def _unlisted() -> Any:
    return field(
        default=False,
        metadata=key(
            "Whether ``/v1/models`` keeps quiet about the name, which can be asked for "
            "all the same.",
            True,
        ),
    )


@frozen
class Alias:
    """
    Another name for a model, and what is done to requests that use it.

    @ivar name: the name.
    """

    name: str
    set: Mapping[str, object] = _set()
    set_default: Mapping[str, object] = _setDefault()
    strip: tuple[str, ...] = _strip()
    description: str | None = _description("that of the model")
    unlisted: bool = _unlisted()


def _aliases(given: Mapping[str, Alias] | Iterable[str | Alias]) -> tuple[Alias, ...]:
    if isinstance(given, Mapping):
        return tuple(given.values())
    return tuple(Alias(one) if isinstance(one, str) else one for one in given)


@frozen
class ModelConfig:
    """
    One model: where its server is, and how it is woken and put to sleep.

    @ivar name: the name under which it stands in L{Config.models}.
    """

    name: str
    wake: str = field(
        metadata=key(
            "The script that brings the model to where it can serve: shell commands, "
            "or the path of an executable file. It is run by ``sh -c`` in the folder "
            "of the configuration, must do no harm if the model is awake already, and "
            "exits with status 0 when the model's server is ready.",
            "./wake-llama.sh",
            complaint=badHook,
        )
    )
    sleep: str = field(
        metadata=key(
            "The script that frees what the model holds. It exits with status 0 when "
            "that is done.",
            "./sleep-llama.sh",
            complaint=badHook,
        )
    )
    alive: str = field(
        metadata=key(
            "The script that tells whether the model is awake: status 0 means that it "
            "is, any other that it is not.",
            "curl -sf http://localhost:8001/health",
            complaint=badHook,
        )
    )
    port: int | None = field(
        default=None,
        metadata=key(
            "The port of the model's server, on 127.0.0.1. Several models may have "
            "the same. Give ``port`` or ``url``, or neither if the ``wake`` or "
            "``alive`` hook says where the server is.",
            8001,
            low=1,
            high=65535,
            default="none",
        ),
    )
    url: str | None = field(
        default=None,
        metadata=key(
            "The base URL of the model's server, instead of ``port``: "
            "``http://HOST:PORT``, ``https://HOST:PORT``, either with a path, or "
            "``unix:/PATH`` for a socket.",
            "http://gpu2:8001",
            complaint=badURL,
            pattern="^(https?://|unix:/|.*\\$\\{env:)",
            default="none",
        ),
    )
    aliases: tuple[Alias, ...] = field(
        default=(),
        converter=_aliases,
        metadata=key(
            "Other names by which clients may ask for the model: a list, or names, "
            "each with what is done to requests that use it. Where a name says "
            "something of a parameter, what the model says of that does not count.",
            ["gpt-4o-mini"],
            complaint=badName,
            default="none",
        ),
    )
    backend_model: str | None = field(
        default=None,
        metadata=key(
            "The name by which the model's own server knows it, if that is another. "
            "It is put in the place of the name in each request.",
            "org/llama-8b",
            default="the name that the client gave",
        ),
    )
    set: Mapping[str, object] = _set()
    set_default: Mapping[str, object] = _setDefault()
    strip: tuple[str, ...] = _strip()
    description: str | None = _description("nothing")
    context_length: int | None = field(
        default=None,
        metadata=key(
            "How long the model's context is; told in ``/v1/models``.",
            32768,
            unit="tokens",
            low=1,
            default="not told",
        ),
    )
    capabilities: tuple[str, ...] = field(
        default=(),
        converter=tuple,
        metadata=key(
            "What the model can do, in words that clients look for; told in "
            "``/v1/models``.",
            ["completion", "tools", "vision"],
            default="not told",
        ),
    )
    metadata: Mapping[str, object] = field(
        factory=dict,
        converter=_readOnly,
        metadata=key(
            "What else ``/v1/models`` says of the model, as it stands here.",
            {"max_model_len": 32768},
            complaint=badMetadata,
            pattern="^(?!(id|object|created|owned_by|state|description|"
            "context_length|capabilities)$)[^\\u0000-\\u001f\\u007f-\\u009f]*$",
            default="nothing",
        ),
    )
    unlisted: bool = _unlisted()
    needs: Mapping[str, float] | None = field(
        default=None,
        converter=_readOnlyOrNone,
        metadata=key(
            "How much of each of the ``resources`` the model holds while it is awake.",
            {"gpu0": 20},
            low=0,
            default="everything, so that no other model is awake at the same time",
        ),
    )
    ttl_secs: float | None = field(
        default=None,
        metadata=seconds(
            "After how long without a request the model is put to sleep.",
            900,
            above=0,
            default="never",
        ),
    )
    preload: bool = field(
        default=False,
        metadata=key("Whether the model is woken when llmux starts.", True),
    )
    pin: bool = field(
        default=False,
        metadata=key(
            "Whether the model, once awake, is never put to sleep for another.", True
        ),
    )
    priority: float = field(
        default=0,
        metadata=key("Requests for models with a higher priority go first.", 10),
    )
    max_wait_secs: float | None = field(
        default=None,
        metadata=seconds(
            "How long a request for the model may be passed over by requests that "
            "came later.",
            15,
            default="``policy.max_wait_secs``",
        ),
    )
    max_in_flight: int | None = field(
        default=None,
        metadata=key(
            "How many requests the model serves at once. More of them wait.",
            64,
            unit="requests",
            low=1,
            default="no limit",
        ),
    )
    max_queue: int | None = field(
        default=None,
        metadata=key(
            "How many requests may wait for the model. More of them get status 429.",
            256,
            unit="requests",
            low=0,
            default="no limit",
        ),
    )
    api: str = field(
        default="openai",
        metadata=key(
            "What the model's server speaks. Requests of Ollama's API, such as "
            "``/api/chat``, are translated to OpenAI's unless it is ``ollama``.",
            "ollama",
            choices=("openai", "ollama"),
        ),
    )
    ignore_websockets: bool = field(
        default=False,
        metadata=key(
            "Whether open WebSockets leave the model free to be put to sleep, which "
            "closes them, and do not wake it. For the models of user interfaces that "
            "never hang up.",
            True,
        ),
    )
    timeouts: Timeouts = field(
        factory=Timeouts,
        metadata=key(
            "How long to wait for the model's hooks and for its server.", {"wake": 1800}
        ),
    )

    @property
    def names(self) -> tuple[str, ...]:
        """
        All names by which clients may ask for the model; its own is the first.
        """
        return (self.name, *[alias.name for alias in self.aliases])

    @property
    def address(self) -> str:
        """
        The base URL of the model's server, without a slash at its end; empty
        if its hooks say where it is.
        """
        if self.port is not None:
            return f"http://127.0.0.1:{self.port}"
        url = self.url or ""
        return url if url.startswith("unix:") else url.rstrip("/")


def _canonical(config: Config) -> Mapping[str, str]:
    names = {
        name: model.name for model in config.models.values() for name in model.names
    }
    return names | {name: name for name in config.models}


def _shapes(config: Config) -> Mapping[str, Shape]:
    shapes = {
        alias.name: shapeOf(model, alias)
        for model in config.models.values()
        for alias in model.aliases
    }
    shapes |= {model.name: shapeOf(model) for model in config.models.values()}
    return {name: shape for name, shape in shapes.items() if shape}


@frozen
class Config:
    """
    A whole configuration.

    @ivar folder: the folder of the file, in which hooks are run.  Absolute if
        it was loaded from a file.
    """

    models: Mapping[str, ModelConfig] = field(
        converter=_readOnly,
        metadata=key(
            "The models, each under the name by which clients ask for it: up to 256 "
            "characters of any kind but control characters.",
            {
                "llama": {
                    "port": 8001,
                    "wake": "./wake-llama.sh",
                    "sleep": "./sleep-llama.sh",
                    "alive": "curl -sf http://localhost:8001/health",
                }
            },
        ),
    )
    resources: Mapping[str, Resource] = field(
        factory=dict,
        converter=_resources,
        metadata=key(
            "What models share, under names of your own, and how much there is of "
            "each. A model says in ``needs`` what it holds; models that fit together "
            "may be awake together.",
            {"gpu0": 24, "gpu1": 24},
            short="total",
            default="none: one model is awake at a time",
        ),
    )
    policy: PolicyConfig = field(
        factory=PolicyConfig,
        metadata=key("When to switch, and how.", {"min_active_secs": 5}),
    )
    limits: Limits = field(
        factory=Limits,
        metadata=key("What a client may send, and how slowly.", {"body_mb": 100}),
    )
    port: int = field(
        default=3000,
        metadata=key("The port on which llmux serves.", 4000, low=1, high=65535),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=key(
            "The address on which llmux serves. ``0.0.0.0`` is every IPv4 address of "
            "the machine: then everyone who can reach it can use your models.",
            "0.0.0.0",
            complaint=badHost,
        ),
    )
    listen: tuple[str, ...] = field(
        default=(),
        converter=tuple,
        metadata=key(
            "Where llmux serves, as Twisted server endpoint strings. If there are "
            "any, ``port`` and ``host`` have no effect.",
            ["tcp:3000:interface=127.0.0.1", "unix:/run/llmux.sock"],
            complaint=badEndpoint,
            default="``port`` on ``host``",
        ),
    )
    api_keys: Mapping[str, ApiKey] = field(
        factory=dict,
        converter=_readOnly,
        metadata=key(
            "The keys of those who may use llmux: each under a name of your own with "
            "what it is good for, or a list of keys, each of which is good for "
            "everything.",
            {"alice": {"key": "${env:ALICE_KEY}", "models": ["llama"]}},
            listed=("key", {"operator": True}),
            default="none: whoever reaches llmux may use everything",
        ),
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        converter=tuple,
        metadata=key(
            "Names, without ports, by which clients on this machine may ask for llmux "
            "beside ``localhost`` and loopback addresses, such as that of a proxy in "
            "front that passes on the ``Host`` it was asked for. ``*`` is every name, "
            "and lets a web page use llmux whose name is made to lead to this machine.",
            ["llm.example.com"],
            complaint=badHostName,
            default="none",
        ),
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        converter=tuple,
        metadata=key(
            "Origins of web pages that may use llmux from a browser. ``*`` is every "
            "page there is.",
            ["https://chat.example.com"],
            complaint=badOrigin,
            default="none",
        ),
    )
    alive_interval_secs: float = field(
        default=30,
        metadata=seconds(
            "How often a model that is awake and serves nothing, or answers nothing, "
            "is asked whether it is alive; 0 for never. It has to fail twice in a row, and is then put "
            "to sleep, so that its next request wakes it again.",
            60,
            low=0,
        ),
    )
    watch: bool = field(
        default=False,
        metadata=key(
            "Whether the file is read again when it has changed, as it is at SIGHUP "
            "and at ``POST /llmux/reload``.",
            True,
        ),
    )
    loading_heartbeat_secs: float = field(
        default=15,
        metadata=seconds(
            "How often a client that waits for its model, and asks for a stream of "
            "events, gets a comment in that stream, so that neither it nor a proxy on "
            "the way takes the connection for a dead one; 0 for never. With the first "
            "of them it gets status 200, so that an error can then only be an event.",
            5,
            low=0,
        ),
    )
    loading_text: str = field(
        default="none",
        metadata=key(
            "What a client that waits gets in place of comments if it chats: "
            "``reasoning`` is text that it shows as what the model thinks.",
            "reasoning",
            choices=("none", "reasoning"),
        ),
    )
    on_exit: str = field(
        default="leave",
        metadata=key(
            "What becomes of the models that are awake when llmux stops: ``leave`` "
            "them awake, or put them to ``sleep``.",
            "sleep",
            choices=("leave", "sleep"),
        ),
    )
    lane: str = field(
        default="on",
        metadata=key(
            "Whether plain requests for models take a shorter way through llmux, "
            "which costs a fraction of the processor time. What it does not know, it "
            "leaves to the usual way.",
            "off",
            choices=("on", "off"),
        ),
    )
    access_log: str = field(
        default="off",
        metadata=key(
            "Where a line for each request to a model is written, when it is over: "
            "``log`` for the log, as ``request_finished``, or a file, which gets "
            "JSON. Paths are those from the folder of this file. A file may be moved "
            "away while llmux runs.",
            "/var/log/llmux/access.log",
        ),
    )
    traces: str = field(
        default="off",
        metadata=key(
            "Whether requests and switches are sent to an OpenTelemetry collector, "
            "which is where ``OTEL_EXPORTER_OTLP_ENDPOINT`` and the other variables "
            "of OpenTelemetry say. Needs ``pip install 'llmux[traces]'``.",
            "otlp",
            choices=("off", "otlp"),
        ),
    )
    folder: str = "."
    _names: Mapping[str, str] = field(
        default=Factory(_canonical, takes_self=True),
        init=False,
        eq=False,
        repr=False,
    )

    _shapes: Mapping[str, Shape] = field(
        default=Factory(_shapes, takes_self=True),
        init=False,
        eq=False,
        repr=False,
    )

    @property
    def names(self) -> Collection[str]:
        """
        All names by which models can be asked for.
        """
        return self._names.keys()

    def shapeFor(self, name: str) -> Shape | None:
        """
        What is done to requests for a model.

        @param name: its name, or the alias that they use.
        @return: L{None} if that is nothing.
        """
        return self._shapes.get(name)

    @property
    def totals(self) -> Mapping[str, float]:
        """
        How much there is of each of the resources.
        """
        return {name: one.total for name, one in self.resources.items()}

    def modelNamed(self, name: str) -> ModelConfig | None:
        """
        Find a model by its name or by one of its aliases.
        """
        return self.models.get(self._names.get(name, name))
