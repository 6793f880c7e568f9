"""Secrets out of text that is shown or kept: the ``repr`` in a marker, log lines, recordings.

Taken out: what follows ``Bearer``; tokens ``sk-...`` of at least ten letters and digits; the values of fields whose name ends in
api_key, api-key, token, secret or password, in JSON, in a ``repr`` or as ``name=value``; whatever an extra pattern matches.

Invariant: the time is linear in the length of the text, whatever it holds. Thread: any; ``add_patterns`` is meant for the start.
"""

from __future__ import annotations

import re
from functools import cache

REDACTED = "<REDACTED>"

_extra: list[re.Pattern[str]] = []


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Compiled when they are first needed: after Bearer, fields, tokens, and what makes a token long."""
    return (
        re.compile(r"(?i)\b(bearer[ \t]+)[^\s\"',;<>]+"),
        re.compile(
            r"""(?isx)
            ( (?:api[_-]?key|token|secret|password) \\{0,8}["']? [ \t]{0,8} [:=] [ \t]{0,8} )   # the name, quoted or not
            (?: ( [bru]{0,2} (\\{0,8}["']) ) (?:\\.|[^\\])*? (?: (\3) | \Z )                    # a value in quotes, perhaps escaped ones
              | (?: \[[^\]]*\]? | \{[^}]*\}? | [^\s,;&)}\]"']+ ) )                              # a list, a map, a word
            """
        ),
        re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]+"),
    )


def add_patterns(patterns: list[str]) -> None:
    """Further regular expressions whose matches are taken out."""
    _extra.extend(re.compile(pattern) for pattern in patterns)


def _token(match: re.Match[str]) -> str:
    return REDACTED if re.search("[A-Za-z0-9]{10}", match.group()) else match.group()


def _field(match: re.Match[str]) -> str:
    name, opening, closing = match.group(1), match.group(2) or "", match.group(4) or ""
    return f"{name}{opening}{REDACTED}{closing}"


def redact(text: str) -> str:
    """The text without its secrets."""
    bearer, field, token = _patterns()
    text = bearer.sub(rf"\1{REDACTED}", text)
    text = field.sub(_field, text)
    text = token.sub(_token, text)
    for pattern in _extra:
        text = pattern.sub(REDACTED, text)
    return text
