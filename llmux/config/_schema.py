# -*- test-case-name: llmux.test.test_config_schema -*-
"""
The JSON Schema of the configuration, for editors, made from the same classes
as the reader.
"""

from __future__ import annotations

import json
from types import UnionType
from typing import Any, get_args, get_origin

from attrs import has

from llmux.config._keys import Entry, Key, entries
from llmux.config._texts import LONGEST_NAME, badName
from llmux.config._values import Config, ModelConfig

__all__ = ()

#: Where the text of a reference to the environment is allowed beside choices.
_REFERENCE = r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}"

_NAMES = {
    "minLength": 1,
    "maxLength": LONGEST_NAME,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
}

_Schema = dict[str, Any]


def schema() -> _Schema:
    """
    @return: the schema, as JSON has it.
    """
    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmux configuration",
        **_section(Config),
    }
    # A file without anything is no configuration.
    found["type"] = "object"
    return found


def schemaText() -> str:
    """
    @return: the schema as it is shipped.
    """
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _section(kind: type) -> _Schema:
    keys = entries(kind)
    found: _Schema = {
        # A section of which all keys are commented out is null in YAML.
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {name: _property(entry) for name, entry in keys.items()},
    }
    required = [name for name, entry in keys.items() if entry.required]
    if required:
        found["type"] = "object"
        found["required"] = required
    if kind is ModelConfig:
        found["not"] = {
            "required": ["port", "url"],
            "properties": {"port": {"type": "integer"}, "url": {"type": "string"}},
        }
    return found


def _property(entry: Entry) -> _Schema:
    key = entry.key
    about = key.about.replace("``", "`")
    if key.unit:
        about += f" In {key.unit}."
    if key.default:
        about += f" Default: {key.default.replace('``', '`')}."
    found: _Schema = {"description": about}
    # What is left out may be none where what is given must be some.
    if not entry.required and not has(entry.type) and key.listed is None:
        found["default"] = plainValue(entry.value)
    found["examples"] = [key.example]
    return found | _typed(entry.type, key)


def _typed(kind: Any, key: Key) -> _Schema:
    if get_origin(kind) is UnionType:
        found = _typed(get_args(kind)[0], key)
        if not isinstance(found["type"], list):
            found["type"] = [found["type"], "null"]
        return found
    if has(kind):
        return _section(kind)
    if get_origin(kind) is tuple:
        items = _NAMES if key.complaint is badName else {"pattern": r"\S"}
        if key.pattern:
            items = {**_NAMES, "pattern": key.pattern}
        found = {
            "type": ["array", "null"],
            "items": {"type": "string", **items},
            "uniqueItems": True,
        }
        inner = get_args(kind)[0]
        if has(inner):
            found["type"] = ["array", "object", "null"]
            found["propertyNames"] = _NAMES
            found["additionalProperties"] = _section(inner)
        return found
    if get_origin(kind) is not None:
        inner = get_args(kind)[1]
        names = {**_NAMES, "pattern": key.pattern} if key.pattern else _NAMES
        found = {
            "type": ["object", "null"],
            "propertyNames": names,
            "additionalProperties": True if inner is object else _typed(inner, key),
        }
        if key.short:
            short = entries(inner)[key.short]
            found["additionalProperties"] = {
                "anyOf": [_typed(short.type, short.key), _section(inner)]
            }
        elif has(inner):
            found |= {"type": "object", "minProperties": 1}
        if key.listed is not None:
            texts = _typed(tuple[str], entries(inner)[key.listed[0]].key)
            found = {"anyOf": [found, texts | {"type": "array", "minItems": 1}]}
        return found
    if kind is bool:
        return {"type": "boolean"}
    if kind is str:
        return _text(key)
    return _number(kind, key)


def _text(key: Key) -> _Schema:
    found: _Schema = {"type": "string"}
    if key.choices:
        found["anyOf"] = [{"enum": list(key.choices)}, {"pattern": _REFERENCE}]
    else:
        # Not empty, and not of white space alone.
        found["pattern"] = key.pattern or r"\S"
    return found


def _number(kind: type, key: Key) -> _Schema:
    found: _Schema = {"type": "integer" if kind is int else "number"}
    if key.low is not None:
        found["minimum"] = key.low
    if key.above is not None:
        found["exclusiveMinimum"] = key.above
    if key.high is not None:
        found["maximum"] = int(key.high)
    return found


def plainValue(value: Any) -> Any:
    """
    A default as JSON has it.
    """
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
