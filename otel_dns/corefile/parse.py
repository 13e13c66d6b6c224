"""A Corefile, taken apart as CoreDNS's own parser (Caddy v1's) does it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

_MAX_BYTES: Final = 1 << 20
_MAX_IMPORTS: Final = 1_000
"""Snippets put in, however they name one another."""
_MANIFEST: Final = re.compile(r"""^[\s{]*"?(apiVersion|kind|data)"?\s*:""", re.MULTILINE)
_NO_TEXT: Final = re.compile("[\0-\x08\x0e-\x1f\ufffd]")


class CorefileError(ValueError):
    """The text is no Corefile; the message has the line."""


class Token(NamedTuple):
    """A word, or a quoted text without its quotes."""

    text: str
    line: int
    quoted: bool


@dataclass(frozen=True, slots=True)
class Directive:
    """One plugin's line in a server block, with its own block if it has one."""

    name: str
    arguments: tuple[str, ...]
    line: int
    properties: tuple["Directive", ...] = ()

    def property(self, name: str) -> "Directive | None":
        """Return the last property of a name: the one that counts."""
        return next((one for one in reversed(self.properties) if one.name == name), None)


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """A server block: for which zones, and what it does."""

    keys: tuple[str, ...]
    directives: tuple[Directive, ...]
    line: int

    def all(self, name: str) -> tuple[Directive, ...]:
        """Return the directives of a name, in order."""
        return tuple(one for one in self.directives if one.name == name)

    def first(self, name: str) -> Directive | None:
        """Return the first directive of a name."""
        return next(iter(self.all(name)), None)


def parse(text: str) -> list[ServerBlock]:
    """Take a Corefile apart; snippets are put in where they are imported.

    An import of a file stays, as a directive of that name: what is in the file is not known here.

    Raises:
        CorefileError: braces or quotes do not match, a block has no name, or it is something else
            altogether.
    """
    if len(text) > _MAX_BYTES:
        raise CorefileError(f"more than {_MAX_BYTES} characters")
    if _NO_TEXT.search(text):
        raise CorefileError("this is no text")
    if _MANIFEST.match(text):
        raise CorefileError(
            "a Kubernetes manifest, it seems: give what is in it, kubectl get configmap ..."
            " -o jsonpath='{.data.Corefile}'"
        )
    lines = _lines(text)
    blocks: list[ServerBlock] = []
    snippets: dict[str, tuple[Directive, ...]] = {}
    at = 0
    while at < len(lines):
        keys = lines[at]
        opened = keys[-1].text == "{" and not keys[-1].quoted
        names = [part for token in keys for part in token.text.split(",") if part]
        while not opened and keys[-1].text.endswith(",") and at + 1 < len(lines):
            at += 1  # keys may go on in the next line
            keys = lines[at]
            opened = keys[-1].text == "{" and not keys[-1].quoted
            names += [part for token in keys for part in token.text.split(",") if part]
        line = lines[at][0].line
        if opened:
            names = names[:-1]
        if "{" in names:
            raise CorefileError(
                f"line {line}: what is in a block begins on the line after its '{{'"
            )
        if "}" in names:
            raise CorefileError(f"line {line}: '}}' where a server block should begin")
        if opened:
            directives, at = _directives(lines, at + 1, line)
        elif not blocks and not snippets:  # the only block of a file may go without braces
            directives, at = _rest(lines, at + 1), len(lines)
        else:
            raise CorefileError(f"line {line}: a server block needs braces")
        if not names:
            raise CorefileError(f"line {line}: a server block without a zone")
        if len(names) == 1 and names[0].startswith("(") and names[0].endswith(")"):
            snippets[names[0][1:-1]] = directives
        else:
            blocks.append(ServerBlock(tuple(names), directives, line))
    budget = [_MAX_IMPORTS]
    return [
        replace(block, directives=tuple(_imported(block.directives, snippets, budget)))
        for block in blocks
    ]


def _imported(
    directives: tuple[Directive, ...],
    snippets: dict[str, tuple[Directive, ...]],
    budget: list[int],
    within: tuple[str, ...] = (),
) -> Iterator[Directive]:
    for directive in directives:
        name = directive.arguments[0] if directive.arguments else ""
        if directive.name != "import" or name not in snippets or name in within:
            yield directive
            continue
        budget[0] -= 1
        if budget[0] < 0:
            raise CorefileError(f"line {directive.line}: more than {_MAX_IMPORTS} imports")
        yield from _imported(snippets[name], snippets, budget, (*within, name))


def _directives(
    lines: list[list[Token]], at: int, opened: int
) -> tuple[tuple[Directive, ...], int]:
    found: list[Directive] = []
    while at < len(lines):
        tokens = lines[at]
        if tokens[0].text == "}" and not tokens[0].quoted:
            return tuple(found), at + 1
        directive, at = _directive(lines, at)
        found.append(directive)
    raise CorefileError(f"line {opened}: this block is not closed")


def _rest(lines: list[list[Token]], at: int) -> tuple[Directive, ...]:
    found = []
    while at < len(lines):
        directive, at = _directive(lines, at)
        found.append(directive)
    return tuple(found)


def _directive(lines: list[list[Token]], at: int) -> tuple[Directive, int]:
    tokens = lines[at]
    name, line = tokens[0].text, tokens[0].line
    if name in {"{", "}"} and not tokens[0].quoted:
        raise CorefileError(f"line {line}: {name!r} where a plugin's name should be")
    opened = len(tokens) > 1 and tokens[-1].text == "{" and not tokens[-1].quoted
    arguments = tuple(token.text for token in (tokens[1:-1] if opened else tokens[1:]))
    if not opened:
        return Directive(name, arguments, line), at + 1
    properties: list[Directive] = []
    depth, at = 1, at + 1
    while at < len(lines):
        inner = lines[at]
        at += 1
        if inner[0].text == "}" and not inner[0].quoted:
            depth -= 1
            if not depth:
                return Directive(name, arguments, line, tuple(properties)), at
            continue
        opens = inner[-1].text == "{" and not inner[-1].quoted and len(inner) > 1
        if depth == 1:
            texts = tuple(token.text for token in (inner[1:-1] if opens else inner[1:]))
            properties.append(Directive(inner[0].text, texts, inner[0].line))
        depth += opens
    raise CorefileError(f"line {line}: the block of {name!r} is not closed")


def _lines(text: str) -> list[list[Token]]:
    """Cut into tokens, those of one line together."""
    lines: list[list[Token]] = []
    tokens: list[Token] = []
    number, at, size = 1, 0, len(text)
    while at < size:
        char = text[at]
        if char == "\n":
            if tokens:
                lines.append(tokens)
                tokens = []
            number += 1
            at += 1
        elif char.isspace() or char == "\ufeff":
            at += 1
        elif char == "#":
            end = text.find("\n", at)
            at = size if end < 0 else end
        elif char == '"':
            value, end = _quoted(text, at, number)
            tokens.append(Token(value, number, True))
            number += text.count("\n", at, end)
            at = end
        else:
            end = at
            while end < size and not text[end].isspace():
                end += 1
            tokens.append(Token(text[at:end], number, False))
            at = end
    if tokens:
        lines.append(tokens)
    return lines


def _quoted(text: str, at: int, number: int) -> tuple[str, int]:
    value = []
    at += 1
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] == '"':
            value.append('"')
            at += 2
        elif char == '"':
            return "".join(value), at + 1
        else:
            value.append(char)
            at += 1
    raise CorefileError(f"line {number}: a quotation mark without its other half")
