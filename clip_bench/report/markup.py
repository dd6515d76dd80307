"""The markdown of our own pages as HTML: headings, paragraphs, lists, tables, links and emphasis; all else is text.

What a file holds has been through ``figures.clean``, so that it opens no table, tag or link; whatever it is, it leaves
here escaped.
"""

from __future__ import annotations

import re
from html import escape, unescape

LINK = re.compile(r"\[([^\]\[]*)\]\(([^()\s]+)\)")
STRONG = re.compile(r"\*([^*\s][^*]*)\*")
CODE = re.compile(r"`([^`]+)`")
FIGURE = re.compile(r"-|n/a.*|[-+≤]?\s?\d.*")
RULE = re.compile(r"\|[-:|]+\|")
LINES = re.compile(r"<br ?/?>")


def html(markdown: str, folder: str) -> str:
    """*markdown*, whose links lead into *folder*, a part of an address."""
    return "\n".join(_block(block, folder) for block in re.split(r"\n{2,}", markdown.strip()) if block.strip())


def words(text: str) -> str:
    """*text* between tags or in quotes: no markup, one line, and whatever has no place in UTF-8 replaced."""
    return escape(" ".join(text.split()).encode("utf-8", "replace").decode("utf-8"))


def _block(block: str, folder: str) -> str:
    lines = block.strip().splitlines()
    if len(lines) > 1 and RULE.fullmatch(lines[1]):
        return _table(lines, folder)
    if lines[0].startswith("### "):
        return f"<h3>{_inline(lines[0][4:], folder)}</h3>"
    if all(line.startswith("- ") for line in lines):
        return f"<ul>{''.join(f'<li>{_inline(line[2:], folder)}</li>' for line in lines)}</ul>"
    return f"<p>{_inline(block, folder)}</p>"


def _table(lines: list[str], folder: str) -> str:
    """A column that has nothing but figures is marked as such."""
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    kinds = ["n" if all(map(FIGURE.fullmatch, cells)) else "w" for cells in zip(*rows, strict=True)] or ["w"] * len(
        heads
    )
    top = "".join(
        f'<th scope="col" class="{kind}">{_inline(head, folder)}</th>' for kind, head in zip(kinds, heads, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{_inline(cell, folder)}</td>' for kind, cell in zip(kinds, cells, strict=True))
        + "</tr>"
        for cells in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{words(unescape(heads[0]))}">\n<table class="sorts">\n'
        f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _inline(text: str, folder: str) -> str:
    """Links and emphasis around text."""
    made, end = [], 0
    for link in LINK.finditer(text):
        made += [_emphasized(text[end : link.start()])]
        made += [f'<a href="{words(folder)}/{words(unescape(link[2]))}">{words(unescape(link[1]))}</a>']
        end = link.end()
    return "".join([*made, _emphasized(text[end:])])


def _emphasized(text: str) -> str:
    """*text*, with a space at either end where it had one."""
    plain = escape(unescape(LINES.sub(" ", re.sub(r"\s+", " ", text))).encode("utf-8", "replace").decode("utf-8"))
    return CODE.sub(r"<code>\1</code>", STRONG.sub(r"<em>\1</em>", plain))
