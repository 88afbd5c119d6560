# -*- test-case-name: llmux.test.test_web_openapi -*-
"""
The description of llmux's own routes, in OpenAPI's words.

It stands in C{openapi.yaml} beside this, where it can be read and commented.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, cast

import yaml

from llmux._version import __version__

__all__ = ()


def document() -> dict[str, Any]:
    """
    The description, as Python sees it.
    """
    text = (files("llmux.web") / "openapi.yaml").read_text("utf-8")
    found = cast("dict[str, Any]", yaml.safe_load(text))
    found["info"]["version"] = __version__
    return found


@cache
def description() -> bytes:
    """
    The description, in JSON.
    """
    return json.dumps(document()).encode("ascii") + b"\n"
