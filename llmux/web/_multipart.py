# -*- test-case-name: llmux.test.test_web_multipart -*-
"""
The model in a C{multipart/form-data} body.

The body is read as a stream and only up to the end of the first field
C{model}; a file of that name is not meant.  What follows the field is not
checked: it is the model server's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

# It has annotations, but not the marker that says so.
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from llmux.web._errors import BadBody

__all__ = ()

#: How many parts a body may have before the one that names the model.
PARTS = 1024

#: The longest value that is taken for a name, in bytes.
LONGEST = 64 * 1024


@lru_cache(256)
def contentTypeOf(header: bytes | None) -> tuple[str, bytes]:
    """
    Take the header C{Content-Type} apart.

    @return: the type, in lower case, and the boundary; each is empty if there
        is none.
    """
    kind, options = parse_options_header((header or b"").decode("latin-1"))
    return kind, options.get("boundary", "").encode("latin-1")


def fieldIn(
    chunks: Iterable[bytes], boundary: bytes, name: str = "model"
) -> tuple[int, bytes] | None:
    """
    Find the first field of a name.

    @param chunks: the body.
    @return: the number of its part, counted from 0, and its value; or L{None}
        if there is none.
    @raise BadBody: if the body breaks the format before the end of that field,
        or the value is too long for a name.
    """
    number = -1
    value: bytearray | None = None
    try:
        parser = PushMultipartParser(boundary, max_segment_count=PARTS)
        for chunk in chunks:
            for event in parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    number += 1
                    isName = event.name == name and event.filename is None
                    value = bytearray() if isName else None
                elif value is not None:
                    if event is None:
                        return number, bytes(value)
                    value += event
                    if len(value) > LONGEST:
                        raise BadBody(f"`{name}` is too long", name)
        parser.close()
    except MultipartError as error:
        raise BadBody(f"the body is not valid multipart/form-data: {error}") from None
    return None


def placeIn(body: memoryview, boundary: bytes, number: int) -> tuple[int, int, int]:
    """
    Find where a part stands.  To be checked, by L{fieldIn} on the outcome.

    @param number: the number of the part, counted from 0.
    @return: the offsets at which its headers begin, its value begins and its
        value ends.
    """
    line = b"\r\n--" + boundary
    first = bytes(body[: len(line) - 2]) == line[2:]
    starts = [len(line) - 2] if first else []
    found = re.finditer(re.escape(line), body)
    starts.extend(match.end() for match in islice(found, number + 2 - len(starts)))
    # There are as many as that: the parser has seen them.
    start, stop = starts[number] + 2, starts[number + 1] - len(line)
    blank = re.compile(rb"\r\n\r\n").search(body, start)
    return start, start if blank is None else blank.end(), stop


def withLength(headers: bytes, length: int) -> bytes:
    """
    The headers of a part whose value has another length now, in case they
    say how long it is.
    """
    return re.sub(
        rb"(?im)^(content-length[ \t]*:[ \t]*)[0-9]+", rb"\g<1>%d" % length, headers
    )
