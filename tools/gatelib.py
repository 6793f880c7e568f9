"""What the gates share: walking the tree, C source without comments and strings, X-macro lists, and the way to report.

A gate is a program tools/check_<what> [--root DIR] [--build DIR]. It prints one line for each finding ("path:line: what is wrong"),
then a summary, and exits 1 when there was one. tests/lint/bad/<what>/<case>/ holds small trees that it must reject (tools/gates
checks that).
"""

import argparse
import os
import re
import sys

SKIP = {".git", ".venv", ".cache", "__pycache__", "node_modules"}


def arguments(text, **extra):
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--build", default="build", help="folder of the build, for gates that look at what was built")
    for name, options in extra.items():
        parser.add_argument("--" + name, **options)
    return parser.parse_args()


def files(root, folders, endings):
    """Paths relative to root, sorted; "" as a folder means the root's own files."""
    found = []
    for folder in folders:
        top = os.path.join(root, folder)
        for here, inner, names in os.walk(top):
            relative = os.path.relpath(here, root)
            inner[:] = sorted(d for d in inner if d not in SKIP and not d.startswith("build"))
            if folder == "":
                inner[:] = []
            if "tests/lint/bad" in relative.replace(os.sep, "/"):
                inner[:] = []
                continue
            for name in sorted(names):
                if name.endswith(tuple(endings)):
                    found.append(os.path.normpath(os.path.join(relative, name)))
    return found


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def is_script(root, path):
    """A program without an ending in its name that begins with #!."""
    return "." not in os.path.basename(path) and read(root, path).startswith("#!")


_TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def bare_c(text):
    """C without comments, and with empty strings and characters; every line keeps its number."""

    def blank(match):
        token = match.group(0)
        kept = token[0] * 2 if token[0] in "\"'" else " "
        return kept + "\n" * token.count("\n")

    return _TOKENS.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def split_arguments(text):
    """The arguments of one macro call: commas inside brackets and strings do not count."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        c = text[i]
        if c == '"':
            i += 1
            while text[i] != '"':
                i += 2 if text[i] == "\\" else 1
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
        i += 1
    parts.append(text[start:].strip())
    return parts


def x_list(text, name):
    """Entries of `#define NAME(X) X(a, b) X(c, d)` as lists of arguments; string literals lose their quotes."""
    match = re.search(r"^#define\s+" + name + r"\(X\)((?:.*\\\n)*.*)$", text, re.M)
    if not match:
        return None
    body = match.group(1).replace("\\\n", " ")
    body = re.sub(r"/\*.*?\*/", " ", body)
    entries, i = [], 0
    while True:
        i = body.find("X(", i)
        if i < 0:
            return entries
        depth, j, in_string = 0, i + 1, False
        while True:
            c = body[j]
            if in_string:
                if c == "\\":
                    j += 1
                elif c == '"':
                    in_string = False
            elif c == '"':
                in_string = True
            elif c == "(":
                depth += 1
            elif c == ")":
                depth -= 1
                if depth == 0:
                    break
            j += 1
        entries.append([unquote(a) for a in split_arguments(body[i + 2 : j])])
        i = j


def unquote(text):
    literals = re.findall(r'"((?:\\.|[^"\\])*)"', text)
    return "".join(literals).replace('\\"', '"').replace("\\\\", "\\") if text.startswith('"') else text


class Report:
    def __init__(self, gate):
        self.gate = gate
        self.findings = []

    def add(self, path, line, text):
        where = f"{path}:{line}" if line else path
        self.findings.append(f"{where}: {text}")

    def finish(self, looked_at):
        for finding in self.findings:
            print(finding)
        if not looked_at:
            print(f"{self.gate}: nothing to look at")
            sys.exit(1)
        print(f"{self.gate}: {len(self.findings)} findings in {looked_at}")
        sys.exit(1 if self.findings else 0)
