# -*- test-case-name: llmux.test.test_config_json -*-
"""
Reads JSON, with lines.

The json module says whether it is JSON at all, but not where in it anything
stands.  In what is known to be JSON, a simple pattern finds each token.
"""

from __future__ import annotations

import json
import re

from llmux.config._tree import Scalar, Tree

__all__ = ()

#: The tokens of what is known to be JSON, and the ends of lines.
_TOKEN = re.compile(
    r"""
      "[^"\\]*(?:\\.[^"\\]*)*"
    | [\[\]{}\n]
    | [^\s\[\]{}:,"]+
    """,
    re.VERBOSE,
)

_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None}


def readJSON(text: str, tree: Tree) -> None:
    """
    Tell a tree what stands in a JSON document.

    @raise llmux.errors.ConfigError: if it is none.
    """
    try:
        # What numbers are is found out below, where their lines are known.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise tree.error(
            error.lineno, f"not valid JSON: {error.msg} (column {error.colno})"
        ) from None
    except RecursionError:
        raise tree.error(None, "lists and objects are nested too deep") from None
    line = 1
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token == "\n":
            line += 1
        elif token == "{":
            tree.begin(line, {})
        elif token == "[":
            tree.begin(line, [])
        elif token in "]}":
            tree.end()
        elif tree.wantsKey:
            tree.key(line, _text(line, token, tree))
        elif token.startswith('"'):
            tree.scalar(line, _text(line, token, tree))
        elif token in _WORDS:
            tree.scalar(line, _WORDS[token])
        else:
            tree.scalar(line, _number(line, token, tree))


def _text(line: int, token: str, tree: Tree) -> str:
    text: str = json.loads(token)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            tree.problem(line, "there is half of a surrogate pair in this text")
            return text.encode(errors="replace").decode()
    return text


def _number(line: int, token: str, tree: Tree) -> int | float:
    if token in ("NaN", "Infinity", "-Infinity"):
        tree.problem(line, f"{token} is not a number in JSON")
        return 0
    try:
        return int(token) if token.lstrip("-").isdigit() else float(token)
    except ValueError:
        tree.problem(line, "this number has too many digits")
        return 0
