# -*- test-case-name: llmux.test.test_commands_init -*-
"""
What C{llmux init} knows of engines, and the files that it makes for them.

The hooks are those of the examples.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path, PurePosixPath

from attrs import field, frozen

from llmux.errors import LLMuxError

__all__ = ()

_isPlain = re.compile(r"[A-Za-z][A-Za-z0-9_. /&=-]*[A-Za-z0-9_]").fullmatch

#: The port of the first model's server.
FIRST_PORT = 8001


class BadModel(LLMuxError):
    """
    A model that an engine cannot have.
    """


@frozen
class Model:
    """
    A model that is to be served.

    @ivar name: by which clients know it.
    @ivar what: what the engine calls it, or its file.
    @ivar alias: another name; empty if there is none.
    """

    name: str
    what: str
    alias: str = ""


@frozen
class Engine:
    """
    A kind of server.

    @ivar name: also that of its folder and of its option.
    @ivar title: for people.
    @ivar program: what has to be installed.
    @ivar asks: what a model is, for people.
    @ivar read: makes a model of what somebody has said.
    @ivar timeouts: for its hooks.
    @ivar address: where all its models are; if empty, each has a port.
    @ivar renamed: whether it must be told its own name of a model.
    """

    name: str
    title: str
    program: str
    asks: str
    read: Callable[[str], Model]
    timeouts: str
    address: str = ""
    renamed: bool = False
    notes: Sequence[str] = ()
    hooks: Sequence[str] = ("wake.sh", "sleep.sh", "alive.sh")

    def environment(self, model: Model) -> str:
        """
        What is set for a model's hooks, before their name.
        """
        if self.name != "llama-cpp":
            return ""
        folder = shlex.quote(str(PurePosixPath(model.what).parent))
        return f"MODELS={folder} "


def _ggufModel(said: str) -> Model:
    path = Path(said).expanduser().absolute()
    if path.suffix != ".gguf":
        raise BadModel(f"{said}: a model of llama.cpp is a file that ends in .gguf")
    return Model(path.stem, str(path))


def _ollamaModel(said: str) -> Model:
    short = said.rpartition("/")[2].partition(":")[0]
    return Model(said, said, short if short != said else "")


def _vllmModel(said: str) -> Model:
    short = said.rstrip("/").rpartition("/")[2]
    return Model(short, said, said if short != said else "")


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "llama-cpp",
            "llama.cpp",
            "llama-server",
            "the path of a .gguf file",
            _ggufModel,
            "{wake: 300, sleep: 60}",
            notes=(
                "Each model has a llama-server of its own while it is awake. More",
                "options for it: LLAMA_OPTIONS in front of ./wake.sh.",
            ),
        ),
        Engine(
            "ollama",
            "Ollama",
            "ollama",
            "a model as `ollama list` shows it",
            _ollamaModel,
            "{wake: 300, sleep: 60}",
            address="http://127.0.0.1:11434",
            renamed=True,
            notes=(
                "One Ollama, which has these models in memory while they are awake.",
            ),
        ),
        Engine(
            "vllm",
            "vLLM",
            "vllm",
            "a model as `vllm serve` takes it",
            _vllmModel,
            "{wake: 900, sleep: 120}",
            renamed=True,
            notes=(
                "Each model has an engine of its own, which sleeps by vLLM's sleep mode:",
                "the first wake is a cold start, and later ones take a second or so.",
                "Options of `vllm serve` stand in vllm/engine.sh.",
            ),
            hooks=("wake.sh", "sleep.sh", "alive.sh", "common.sh", "guard.py"),
        ),
    )
}


@frozen
class Made:
    """
    A file to be written.

    @ivar path: below the folder of the configuration.
    """

    path: str
    text: str
    executable: bool = False


@frozen
class Plan:
    """
    All that is to be made.

    @ivar models: by engine, in the order in which they were named.
    """

    models: Sequence[tuple[Engine, Model]]
    port: int = 3000
    names: Sequence[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        names = [model.name for _, model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise BadModel(f"two models would have the name {name}")
        object.__setattr__(self, "names", names)

    def files(self) -> list[Made]:
        """
        The configuration first, then what belongs to it.
        """
        made = [Made("config.yaml", self._config())]
        for engine in self._engines():
            for name in engine.hooks:
                # As a module it would be one of llmux's own.
                kept = f"{name}.txt" if name.endswith(".py") else name
                there = files("llmux.commands") / "engines" / engine.name / kept
                made.append(
                    Made(
                        f"{engine.name}/{name}",
                        there.read_text("utf-8"),
                        name in ("wake.sh", "sleep.sh", "alive.sh"),
                    )
                )
            if engine.name == "vllm":
                own = [model for kind, model in self.models if kind is engine]
                made.append(Made("vllm/engine.sh", _engineScript(own), True))
        return made

    def _engines(self) -> Iterable[Engine]:
        return dict.fromkeys(engine for engine, _ in self.models)

    def _config(self) -> str:
        lines = list(_HEAD)
        ports = iter(range(FIRST_PORT, FIRST_PORT + len(self.models)))
        aliases = [model.alias for _, model in self.models]
        for engine in self._engines():
            lines += ["", *(f"  # {note}" for note in engine.notes)]
            for kind, model in self.models:
                if kind is not engine:
                    continue
                lines += [f"  {_text(model.name)}:"]
                if engine.address:
                    lines += [f"    url: {engine.address}"]
                else:
                    lines += [f"    port: {next(ports)}"]
                if model.alias and aliases.count(model.alias) == 1:
                    taken = model.alias in self.names
                    if not taken:
                        lines += [f"    aliases: [{_text(model.alias)}]"]
                if engine.renamed:
                    lines += [f"    backend_model: {_text(model.name)}"]
                if engine.name == "ollama":
                    lines += ["    api: ollama"]
                start = f"cd {engine.name} && {engine.environment(model)}"
                lines += [
                    f"    wake: {_text(f'{start}./wake.sh')}",
                    f"    sleep: {_text(f'cd {engine.name} && ./sleep.sh')}",
                    f"    alive: {_text(f'cd {engine.name} && ./alive.sh')}",
                    f"    timeouts: {engine.timeouts}",
                ]
        return "\n".join([*lines, *_tail(self.port), ""])


def _text(text: str) -> str:
    """
    Text as YAML has it; JSON's way is one of YAML's.
    """
    if _isPlain(text) and text not in ("true", "false", "null"):
        return text
    return json.dumps(text, ensure_ascii=False)


def _engineScript(models: Iterable[Model]) -> str:
    cases = "".join(
        f"    {shlex.quote(model.name)}) set -- {shlex.quote(model.what)} ;;\n"
        for model in models
    )
    return _ENGINE.replace("    CASES\n", cases)


_HEAD = (
    "# What llmux serves. All keys: docs/configuration.rst of llmux.",
    "# `llmux check -c config.yaml` says what is wrong with it.",
    "",
    "models:",
)


def _tail(port: int) -> Sequence[str]:
    return (
        "",
        "# One model is awake at a time. To have several, say what there is and, for",
        "# each model, what it needs of it:",
        "#resources: {gpu0: 24}          # and in each model: needs: {gpu0: 10}",
        "",
        "policy:",
        "  # Requests in flight end before their model is put to sleep, for at most:",
        "  #drain_timeout_secs: 60",
        "  # A request waits for its model for at most this long, and then gets 504:",
        "  #request_timeout_secs: 300",
        "  # No request is passed over by later ones for longer than this:",
        "  max_wait_secs: 120",
        "",
        f"port: {port}",
        "# Only this machine can reach it. Before you say 0.0.0.0, set keys:",
        "host: 127.0.0.1",
        '#api_keys: ["${env:LLMUX_KEY}"]',
    )


_ENGINE = """\
#!/bin/sh
# Become the engine of one model, with sleep mode and its routes.  This is the
# file to edit: which models there are, and how each is served.
set -eu

case $LLMUX_MODEL in
    CASES
    *)
        echo "engine.sh does not know how to serve $LLMUX_MODEL" >&2
        exit 1
        ;;
esac

# The routes for sleeping exist in vLLM's development mode only.  It has
# others that no client may reach: --host keeps the network out, and guard.py
# keeps out what comes through llmux.
VLLM_SERVER_DEV_MODE=1
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
export VLLM_SERVER_DEV_MODE PYTHONPATH

exec vllm serve "$@" \\
    --served-model-name "$LLMUX_MODEL" \\
    --host 127.0.0.1 --port "$LLMUX_PORT" \\
    --enable-sleep-mode \\
    --middleware guard.AdminGuard
"""
