"""A self-contained page of HTML from plain data. It loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from .tables import Column

if TYPE_CHECKING:
    from PIL.Image import Image

STYLE = """body{font:15px/1.5 -apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK SC",sans-serif;color:#212529;
background:#f1f3f5;margin:0}
main{max-width:1180px;margin:0 auto;padding:24px 20px 60px}h1{font-size:25px;margin:8px 0 4px}
h2{font-size:18px;margin:0 0 12px}h3{font-size:15px;margin:14px 0 2px}
section{background:#fff;border:1px solid #dee2e6;border-radius:8px;padding:18px 20px;margin:16px 0;overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:4px 12px;text-align:right;white-space:nowrap;border-bottom:1px solid #e9ecef}
th{color:#495057;font-weight:600}thead tr:last-child th{border-bottom:2px solid #adb5bd}
th.group{text-align:center;border-bottom:1px solid #adb5bd}td.text,th.text{text-align:left}
td.long{white-space:normal;min-width:280px;color:#495057}tbody tr:hover{background:#f8f9fa}
img,svg{display:block}img{max-width:100%;height:auto}
pre{font:13px/1.4 ui-monospace,Menlo,Consolas,monospace;margin:0}p{margin:4px 0 10px;color:#495057}
.bar{display:inline-block;width:140px;height:11px;background:#cfe2f3;border-radius:2px;vertical-align:-1px;
overflow:hidden}
.bar i{display:block;height:100%;background:#1c5d99}"""


def page(title: str, lead: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole document.

    Args:
        title: stands above, and in the browser's tab.
        lead: a sentence below it.
        sections: a heading and HTML for each.

    Example:
        >>> text = page("A & B", "Two.", [("Numbers", preformatted("1 < 2"))])
        >>> "A &amp; B" in text, "1 &lt; 2" in text
        (True, True)
    """
    parts = [f"<section><h2>{escape(head)}</h2>\n{body}\n</section>" for head, body in sections]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            f"<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>",
            *parts,
            "</main>\n</body>\n</html>\n",
        ]
    )


def preformatted(text: str) -> str:
    """Preformatted text, such as a table for the terminal."""
    return f"<pre>{escape(text)}</pre>"


def paragraphs(texts: Iterable[str]) -> str:
    """A paragraph for each text."""
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def part(head: str, body: str) -> str:
    """A subsection with a heading."""
    return f"<h3>{escape(head)}</h3>\n{body}"


def picture(image: Image, meaning: str) -> str:
    """An image, embedded in the page; ``meaning`` is its alternative text."""
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{escape(meaning)}" src="data:image/png;base64,{data}">'


def table(columns: Sequence[Column], left: Sequence[int] = (0,), long: Sequence[int] = ()) -> str:
    """A table.

    Args:
        columns: group, head and cells of each column; those of one group stand side by side.
        left: numbers of the columns that are set to the left.
        long: of these, those whose text may be broken into lines.
    """
    places = {number: "text long" if number in long else "text" for number in (*left, *long)}
    heads, *rows = list(zip(*columns))[1:]
    groups = [column[0] for column in columns]
    lines = ["<table>\n<thead>"]
    if any(groups):
        lines.append(f"<tr>{''.join(spanned(groups))}</tr>")
    lines += [f"<tr>{cells(heads, 'th', places)}</tr>", "</thead>\n<tbody>"]
    lines += [f"<tr>{cells(row, 'td', places)}</tr>" for row in rows]
    return "\n".join([*lines, "</tbody>\n</table>"])


def spanned(groups: Sequence[str]) -> Iterable[str]:
    """The row of group heads, each over its columns."""
    start = 0
    while start < len(groups):
        end = start + 1
        while end < len(groups) and groups[start] and groups[end] == groups[start]:
            end += 1
        kind = ' class="group"' if groups[start] else ""
        yield f'<th{kind} colspan="{end - start}">{escape(groups[start])}</th>'
        start = end


def cells(row: Sequence[str], tag: str, places: dict[int, str]) -> str:
    """The cells of a row; text is escaped, HTML from `bar` is not."""
    texts = [text if isinstance(text, Markup) else escape(text) for text in row]
    kinds = [f' class="{places[n]}"' if n in places else "" for n in range(len(row))]
    return "".join(f"<{tag}{kind}>{text}</{tag}>" for kind, text in zip(kinds, texts))


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def bar(share: float) -> Markup:
    """A share between 0 and 1 as a bar.

    Example:
        >>> bar(0.25)
        '<span class="bar"><i style="width:25.0%"></i></span>'
    """
    return Markup(f'<span class="bar"><i style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></i></span>')
