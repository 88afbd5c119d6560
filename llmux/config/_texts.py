# -*- test-case-name: llmux.test.test_config_texts -*-
"""
What is wrong with a name, a hook, an address: each function returns that in
words, without the text itself, or the empty string if nothing is.

Also how texts of others are shown in messages: short, and on one line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from urllib.parse import urlsplit

__all__ = ()

#: Characters that a name may have.
LONGEST_NAME = 256

#: Characters of the longest name for which a better one is looked for.
_WORTHWHILE = 40
#: How many names there may be to look among.
_FEW = 100

#: What can stand in an address: no spaces, no control characters.
_PRINTABLE = re.compile(r"[!-~]+")
#: Names that need no quotes in a key path.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Parts of an endpoint string, which end at a colon that is not escaped.
_ENDPOINT = re.compile(r"((?:[^\\:]|\\.)*)(?::|$)", re.DOTALL)


def _hasControls(text: str) -> bool:
    # C0 and C1 controls and delete, as the category Cc of Unicode has them.
    return any(c < " " or "\x7f" <= c <= "\x9f" for c in text)


def badName(name: str) -> str:
    """
    A name of a model or a resource, or an alias.
    """
    if not name.strip():
        return "a name must not be empty"
    if len(name) > LONGEST_NAME:
        return (
            f"this name has {len(name):,} characters; a name has {LONGEST_NAME} at most"
        )
    if _hasControls(name):
        return "a name must not have control characters, such as ends of lines, in it"
    return ""


def badParameter(name: str) -> str:
    """
    A parameter of requests.
    """
    if name == "model":
        return (
            "the model's name is no parameter; backend_model puts another in its place"
        )
    return badName(name)


def badMetadata(name: str) -> str:
    """
    A member of what C{/v1/models} says of a model.
    """
    if name in ("description", "context_length", "capabilities"):
        return f"stands beside `metadata`: write {name} as a key of the model"
    if name in ("id", "object", "created", "owned_by", "state"):
        return "is said by llmux itself; take it out"
    return badName(name)


def badHook(hook: str) -> str:
    """
    A hook, of which only the shell knows whether it makes sense.
    """
    if "\0" in hook:
        return "a script must not have a NUL character in it"
    return ""


def badURL(url: str) -> str:
    """
    A base URL of a model's server.
    """
    if not _PRINTABLE.fullmatch(url):
        return "must have no spaces and none but ASCII characters"
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        return "" if path.startswith("/") and path != "/" else "must be unix:/PATH"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has no valid host and port"
    if parts.scheme not in ("http", "https"):
        return "must begin with http://, https:// or unix:/"
    if not parts.hostname or port == 0:
        return "has no valid host and port"
    if parts.query or parts.fragment or "@" in parts.netloc:
        return "must have no user, no query and no fragment"
    return ""


def badHost(host: str) -> str:
    """
    An address to serve on.
    """
    if not _PRINTABLE.fullmatch(host) or "/" in host:
        return "must be an address such as 127.0.0.1, 0.0.0.0 or ::1"
    if host.count(":") == 1 or host.startswith("["):
        return "must be an address alone, without brackets; the port goes to `port`"
    return ""


def badEndpoint(description: str) -> str:
    """
    A Twisted server endpoint string.  What kinds of endpoints there are is
    left to Twisted and its plugins, which can say so only when llmux starts.
    """
    if "\0" in description:
        return "must not have a NUL character in it"
    kind, *rest = _ENDPOINT.findall(description)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+.-]*", kind) or not any(rest):
        return (
            "must be a Twisted server endpoint string, "
            "such as tcp:3000:interface=127.0.0.1 or unix:/run/llmux.sock"
        )
    if kind in ("tcp", "ssl", "tls"):
        numbers = [part for part in rest if part and "=" not in part]
        numbers += [p.removeprefix("port=") for p in rest if p.startswith("port=")]
        number = numbers[0] if numbers else ""
        if kind != "tls" and not (
            number.isascii() and number.isdigit() and int(number[:6]) <= 65535
        ):
            return f"needs a port from 0 to 65535 after {kind}:"
    return ""


def nearest(name: str, names: Collection[str]) -> str:
    """
    The one of several names that may have been meant by another, or the empty
    string.
    """
    # To compare many or long ones takes long.
    if len(name) > _WORTHWHILE or len(names) > _FEW:
        return ""
    return next(iter(get_close_matches(name, names, 1)), "")


def shown(text: str, most: int = 60) -> str:
    """
    A text of others as it can stand in a message: on one line, without
    characters that a terminal would act on, and not too long.
    """
    return _escaped(text[:most]) + _rest(text, most)


def _escaped(text: str) -> str:
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def _rest(text: str, most: int) -> str:
    return f"... ({len(text):,} characters)" if len(text) > most else ""


def within(where: str, name: str, most: int = 60) -> str:
    """
    The key path of what stands under a name in what stands at a key path.
    """
    if not _PLAIN.fullmatch(name):
        quoted = name[:most].replace("\\", "\\\\").replace('"', '\\"')
        name = f'"{_escaped(quoted)}"{_rest(name, most)}'
    return f"{where}.{name}" if where else name
