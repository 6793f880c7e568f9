"""Secrets out of text that is shown or kept: the ``repr`` in a marker, log lines, recordings.

Taken out: what follows ``Bearer``, or ``Basic``, ``Digest``, ``Token`` behind ``Authorization``; tokens ``sk-...`` of at least ten letters and
digits in a row, and those of other makers by how they begin (``ghp_``, ``hf_``, ``AKIA``, ...), of sixteen; the values of fields whose name
holds a word for a secret (``_NAME``) at its end or before ``_`` or ``-``, in JSON, in a ``repr``, as ``name=value``, and of options
``--name value``; passwords in addresses (``scheme://user:password@host``); private keys in PEM; whatever an extra pattern matches.

The rules are those of src/base/redact.c, and so are the tests.

Invariant: the time is linear in the length of the text, whatever it holds. Thread: any; ``add_patterns`` is meant for the start.
"""

from __future__ import annotations

import re
from functools import cache

REDACTED = "<REDACTED>"

_extra: list[re.Pattern[str]] = []


_NAME = r"""(?: (?:api|access|account|private|secret|signing|encryption)[_-]?keys?
                 | token | secrets? | passwords? | passwd | pwd | passphrase | credentials? ) (?: [_-] [a-z0-9_-]{0,40} )?"""
_EQUALS = r"""\\{0,8} ["']? [ \t]{0,8} [:=] [ \t]{0,8}"""
_PEM = r"[A-Za-z0-9\x20]{0,40}PRIVATE\x20KEY(?:\x20BLOCK)?-----"


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """Compiled when they are first needed."""
    return {
        "pem": re.compile(rf"(?s)(-----BEGIN {_PEM}).*?(?=-----END {_PEM}|\Z)"),
        "after": re.compile(
            rf"""(?ix) ( \b bearer [ \t]+ | authorization {_EQUALS} \\{{0,8}} ["']? (?:basic|digest|token|apikey) [ \t]+ ) [^\s"',;<>]+"""
        ),
        "field": re.compile(
            rf"""(?isx)
            ( {_NAME} {_EQUALS} )                                                    # the name, quoted or not
            (?: ( [bru]{{0,2}} (\\{{0,8}}["']) ) (?:\\.|[^\\])*? (?: (\3) | \Z )     # a value in quotes, perhaps escaped ones
              | (?! (?-i:-----BEGIN\x20{_PEM}) )
                (?: \[[^\]]*\]? | \{{[^}}]*\}}?                                      # a list, a map
                  | (?: (?:bearer|basic) [ \t]+ (?= [^\s,;&)}}\]"'] ) )? [^\s,;&)}}\]"']+ ) )   # a word
            """
        ),
        "option": re.compile(
            r"""(?x) ( -- ([A-Za-z0-9_-]{1,64}) (?: ["'],[ \t]{0,8} | [ \t]{1,8} ) )
            (?: (["']) (?: (?!\3)[^\r\n] )* | (?!-) [^\s"',;)\]}]+ )"""
        ),
        "secret_name": re.compile(rf"(?ix) {_NAME} \Z"),
        "url": re.compile(r"""(://[^\s:/@"']{0,256}:)[^\s/"']{1,256}(?=@)"""),
        "sk": re.compile(r"(?<![A-Za-z0-9])sk-([A-Za-z0-9_-]+)"),
        "token": re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|AKIA|ASIA|AIza|xox)([A-Za-z0-9_-]+)"),
    }


def add_patterns(patterns: list[str]) -> None:
    """Further regular expressions whose matches are taken out."""
    _extra.extend(re.compile(pattern) for pattern in patterns)


def _sk(match: re.Match[str]) -> str:
    return REDACTED if re.search("[A-Za-z0-9]{10}", match.group(1)) else match.group()


def _token(match: re.Match[str]) -> str:
    return REDACTED if re.search("[A-Za-z0-9]{16}", match.group(1)) else match.group()


def _option(match: re.Match[str]) -> str:
    if not _patterns()["secret_name"].search(match.group(2)):
        return match.group()
    return f"{match.group(1)}{match.group(3) or ''}{REDACTED}"


def _field(match: re.Match[str]) -> str:
    name, opening, closing = match.group(1), match.group(2) or "", match.group(4) or ""
    return f"{name}{opening}{REDACTED}{closing}"


def redact(text: str) -> str:
    """The text without its secrets."""
    patterns = _patterns()
    text = patterns["pem"].sub(rf"\1{REDACTED}", text)
    text = patterns["after"].sub(rf"\1{REDACTED}", text)
    text = patterns["field"].sub(_field, text)
    text = patterns["option"].sub(_option, text)
    text = patterns["url"].sub(rf"\1{REDACTED}", text)
    text = patterns["sk"].sub(_sk, text)
    text = patterns["token"].sub(_token, text)
    for pattern in _extra:
        text = pattern.sub(REDACTED, text)
    return text
