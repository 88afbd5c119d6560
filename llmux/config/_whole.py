# -*- test-case-name: llmux.test.test_config_whole,llmux.test.test_config_access,llmux.test.test_config_shape -*-
"""
What can be said only of a configuration as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from attrs import define

from llmux.config._build import Builder
from llmux.config._shape import Shaping, mentioned
from llmux.config._texts import nearest, shown, within
from llmux.config._tree import Node
from llmux.config._values import Config, ModelConfig

__all__ = ()

#: Tolerance for sums of amounts.
_EPSILON = 1e-9

#: How many names are listed in a message at most.
_SOME = 10

#: The path of a program, with or without plain arguments: no character that
#: means anything to a shell.
_PROGRAM = re.compile(r"\s*([\w.@%+,:-]*/[\w.@%+,:/-]*)(?:[ \t]+[\w.@%+,:/=-]+)*\s*")


@define(eq=False)
class Checks:
    """
    Looks at a configuration as a whole.

    @ivar root: the file, for lines.
    @ivar builder: what made the configuration; takes the problems.
    """

    config: Config
    root: Node
    builder: Builder

    def run(self) -> None:
        """
        Do all that need nothing but the configuration.
        """
        if not self.config.models and "models" not in self.builder.flawed:
            self._problem(["models"], "there is no model; llmux needs one at least")
        self._names()
        self._shapes()
        for model in self.config.models.values():
            if model.port is not None and model.url is not None:
                self._problem(
                    ["models", model.name, "url"],
                    'give "port" or "url", not both',
                )
        self._default()
        self._needs()
        self._keys()
        if not self.builder.flawed & {"models", "resources", "total", "needs", "pin"}:
            self._fit()

    def _problem(self, keys: list[str], what: str, index: int | None = None) -> None:
        where = ""
        for name in keys:
            where = within(where, name)
        if index is not None:
            where += f"[{index}]"
        self.builder.problem(self._line(keys, index), where, what)

    def _node(self, keys: list[str]) -> tuple[int, Node]:
        """
        @return: the line and the value of a key, or of the one above it that
            is in the file.
        """
        line, node = self.root.line, self.root
        for name in keys:
            if not isinstance(node.value, dict) or name not in node.value:
                break
            line, node = node.value[name]
        return line, node

    def _line(self, keys: list[str], index: int | None) -> int:
        line, node = self._node(keys)
        if index is not None and isinstance(node.value, list):
            return node.value[index].line
        return line

    def _names(self) -> None:
        """
        Each name is that of one model.
        """
        owners = {name: name for name in self.config.models}
        for model in self.config.models.values():
            keys = ["models", model.name, "aliases"]
            isList = isinstance(self._node(keys)[1].value, list)
            for index, alias in enumerate(model.names[1:]):
                owner = owners.setdefault(alias, "")
                if not owner:
                    # Those that were not right are empty: they have no owner.
                    owners[alias] = model.name if alias else ""
                    continue
                whose = "this model" if owner == model.name else f'"{shown(owner)}"'
                self._problem(
                    keys if isList else [*keys, alias],
                    f"is a name of {whose} already; give each name to one model",
                    index if isList else None,
                )

    def _shapes(self) -> None:
        """
        One thing is done to each parameter.
        """
        for model in self.config.models.values():
            keys = ["models", model.name]
            self._shape(keys, model)
            for alias in model.aliases:
                self._shape([*keys, "aliases", alias.name], alias)

    def _shape(self, keys: list[str], section: Shaping) -> None:
        counts = Counter(mentioned(section))
        # Those that were not right are empty.
        for name in [one for one, count in counts.items() if count > 1 and one]:
            homes = [
                home
                for home in ("set", "set_default", "strip")
                if name in getattr(section, home)
            ]
            where = homes[-1]
            what = f'stands in "{homes[0]}" as well; one thing is done to a parameter'
            if len(homes) == 1:
                what = f'"{shown(name)}" stands there twice'
            under = [name] * (where != "strip")
            self._problem([*keys, where, *under], what)

    def _keys(self) -> None:
        """
        Each key is good for somebody, and for models that there are.
        """
        keys = self.config.api_keys
        isGiven = isinstance(self.root.value, dict) and "api_keys" in self.root.value
        if isGiven and not keys and "api_keys" not in self.builder.flawed:
            self._problem(
                ["api_keys"],
                "there is no key in it; add one, or leave it out to let everyone in",
            )
        owners: dict[bytes, str] = {}
        for one in keys.values():
            if not one.key:
                continue
            owner = owners.setdefault(one.digest, one.name)
            if owner != one.name:
                isListed = isinstance(self._node(["api_keys"])[1].value, list)
                self._problem(
                    ["api_keys"] if isListed else ["api_keys", one.name, "key"],
                    f'is the key of "{shown(owner)}" already; give each its own',
                    int(one.name) - 1 if isListed else None,
                )
            for index, name in enumerate(one.models or ()):
                if not name or self.config.modelNamed(name) is not None:
                    continue
                if "models" not in self.builder.flawed:
                    what = self._noSuch("model", name, self.config.names)
                    self._problem(["api_keys", one.name, "models"], what, index)

    def _noSuch(self, kind: str, name: str, names: Collection[str]) -> str:
        near = nearest(name, names)
        if near:
            return f'no such {kind}, did you mean "{shown(near)}"?'
        some = ", ".join(shown(one) for one in list(names)[:_SOME])
        return f"no such {kind}; there are: {some}"

    def _default(self) -> None:
        """
        The default model is there, and stays.
        """
        name = self.config.policy.default_model
        if name is None or self.builder.flawed & {"default_model", "aliases"}:
            return
        keys = ["policy", "default_model"]
        model = self.config.modelNamed(name)
        if model is None:
            near = nearest(name, list(self.config.models))
            if self._borrowed(keys):
                what = "there is no model of the name that the environment gives"
            elif near:
                what = f'there is no such model, did you mean "{shown(near)}"?'
            else:
                what = "there is no such model"
            self._problem(keys, what)
        elif model.ttl_secs is not None:
            self._problem(
                keys,
                "is put to sleep after its ttl_secs, and would be woken again; leave "
                "one of the two out",
            )

    def _needs(self) -> None:
        """
        What is needed is something that there is.
        """
        resources = self.config.resources
        for model in self.config.models.values():
            for name in model.needs or ():
                if name in resources:
                    continue
                if not resources:
                    what = 'there are no "resources" in this file; add them'
                else:
                    what = self._noSuch("resource", name, resources)
                if "resources" not in self.builder.flawed:
                    self._problem(["models", model.name, "needs", name], what)

    def _fit(self) -> None:
        """
        Every model can be awake at some time, whatever pinned ones are.
        """
        # Without resources one model is awake at a time.
        total = self.config.totals or {"": 1.0}
        held = dict.fromkeys(total, 0.0)
        pinned = [model for model in self.config.models.values() if model.pin]
        for model in pinned:
            for name, amount in _needsOf(model, total).items():
                if name in held:
                    held[name] += amount
        for model in self.config.models.values():
            for name, amount in _needsOf(model, total).items():
                if name not in total:
                    continue
                others = held[name] - (amount if model.pin else 0.0)
                if amount <= total[name] - others + _EPSILON:
                    continue
                self._problem(
                    ["models", model.name, "needs"],
                    _lacking(name, amount, total[name], others, model, pinned),
                )
                break

    def programs(self, wrong: Callable[[str, bool], str]) -> None:
        """
        Look for the programs that hooks name by their paths.

        @param wrong: says what is wrong with the program at a path, or the
            empty string; without the path if its second argument is true.
        """
        scripts = [
            (["models", model.name, name], getattr(model, name))
            for model in self.config.models.values()
            for name in ("wake", "sleep", "alive")
        ]
        scripts += [
            (["resources", one.name, "free_command"], one.free_command)
            for one in self.config.resources.values()
        ]
        for keys, script in scripts:
            program = _PROGRAM.fullmatch(script or "")
            if program is not None:
                what = wrong(program.group(1), self._borrowed(keys))
                if what:
                    self._problem(keys, what)

    def _borrowed(self, keys: list[str]) -> bool:
        """
        Whether a text has in it what stands in the environment, which is not
        to be told.
        """
        raw = self._node(keys)[1].value
        return isinstance(raw, str) and "${env:" in raw

    def policy(self, find: Callable[[str], object]) -> None:
        """
        Look for the policy.

        @param find: raises L{LookupError} if it is not there.
        """
        if "policy" in self.builder.flawed or "name" in self.builder.flawed:
            return
        try:
            find(self.config.policy.name)
        except LookupError as error:
            keys = ["policy", "name"]
            what = str(error.args[0]) if error.args else "there is no such policy"
            if self._borrowed(keys):
                what = "there is no policy of the name that the environment gives"
            self._problem(keys, shown(what, 300))


def _needsOf(model: ModelConfig, total: Mapping[str, float]) -> Mapping[str, float]:
    return total if model.needs is None else model.needs


def _lacking(
    name: str,
    amount: float,
    total: float,
    others: float,
    model: ModelConfig,
    pinned: list[ModelConfig],
) -> str:
    """
    Why a model can never be woken.
    """
    names = ", ".join(
        f'"{shown(other.name)}"'
        for other in [one for one in pinned if one is not model][:_SOME]
    )
    if not name:
        return (
            f'can never be woken: {names} has "pin", and without "resources" one '
            "model is awake at a time"
        )
    wants = f"can never be woken: it needs {amount:g} of {shown(name)}"
    if model.needs is None:
        wants += ' (all of it, since there is no "needs")'
    if not others:
        return f"{wants}, of which there is {total:g}"
    return f"{wants}, and of {total:g} the pinned models ({names}) hold {others:g}"
