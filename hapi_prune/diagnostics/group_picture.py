"""The groups of a network as boxes and arrows, in SVG, laid out in rows in the direction of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..analysis.graph import Program
from ..reporting import tables

Arrow = tuple[int, int]
Point = tuple[float, float]
Port = tuple[float, float, float, float]

WIDTH, LINE, BESIDE, BELOW, GUTTER, MARGIN, TOP = 190, 15, 12, 30, 76, 36, 84
CHARACTERS = 30
ASPECT, SHORT = 1.5, 9
PAINT = {
    "prunable": 'fill="#d3f0da" stroke="#2b8a3e"',
    "approximate": 'fill="#ffe3c7" stroke="#e8590c"',
    "stays": 'fill="#eceff1" stroke="#78838c" stroke-dasharray="5 3"',
    "end": 'fill="#ffffff" stroke="#343a40"',
}

STYLE = """text{font:11px Helvetica,Arial,sans-serif;fill:#212529}.b{font-weight:bold}.h{font-size:16px}
path{fill:none;stroke:#495057;stroke-width:1.3;marker-end:url(#tip)}
.pale{stroke:#adb5bd;stroke-width:.8;opacity:.6;marker-end:none}.back{stroke:#1c5d99;stroke-dasharray:4 3}"""

TIP = """<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<polygon points="0,0 8,4 0,8" fill="context-stroke"/></marker></defs>"""


@dataclass(frozen=True)
class Box:
    """A box: its name, its lines, its kind (a key of `PAINT`), and its tooltip. A knot of arrows has no name."""

    name: str
    lines: tuple[str, ...] = ()
    paint: str = "end"
    tip: str = ""

    def height(self) -> int:
        """How many lines of text the box takes."""
        return len(broken(self.name)) + len(self.lines)


def picture(
    boxes: Sequence[Box], arrows: Iterable[Arrow], title: str = "", legend: Sequence[tuple[str, str]] = ()
) -> str:
    """Draw boxes and the arrows between them.

    Boxes stand in layers, and an arrow points to a later layer; many layers are broken into columns. An arrow back
    to an earlier box is dashed. One that only jumps what a chain of other arrows leads through is pale.

    Args:
        boxes: in the order in which they are to be read.
        arrows: pairs of positions in ``boxes``, from and to.
        title: stands above.
        legend: ``(kind of box, or "back" for an arrow back, what it means)``.

    Returns:
        A complete SVG document.

    Example:
        >>> boxes = [Box("conv1", ("6 filters",), "prunable"), Box("fc", (), "stays", "is an output")]
        >>> text = picture(boxes, [(0, 1)], "two layers")
        >>> text.count("<g>"), text.count("<path"), "is an output" in text
        (2, 1, True)
    """
    boxes, edges = bundled(boxes, sorted({(a, b) for a, b in arrows if a != b}))
    layers = layered(len(boxes), edges)
    high = LINE * max((box.height() for box in boxes), default=0) + 10
    points, width, height, per = placed(layers, edges, high)
    pale = implied(len(boxes), edges)
    # The pale ones first: what is drawn later lies above.
    edges.sort(key=lambda edge: edge not in pale)
    ports = [port(box, point, high) for box, point in zip(boxes, points)]
    wires = [
        wire(ports[a], ports[b], layers[b] - layers[a], (a, b) in pale, layers[a] // per != layers[b] // per)
        for a, b in edges
    ]
    drawn = [box_at(box, point, high) for box, point in zip(boxes, points)]
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>", TIP]
    head += ['<rect width="100%" height="100%" fill="white"/>', text(title, (MARGIN, 34), "b h"), *keys(legend)]
    return "\n".join([*head, *wires, *drawn, "</svg>", ""])


def bundled(boxes: Sequence[Box], edges: Sequence[Arrow]) -> tuple[list[Box], list[Arrow]]:
    """Bundle arrows in a knot where several boxes point to the same several boxes (a concat that many layers read)."""
    into: dict[int, list[int]] = {box: [] for box in range(len(boxes))}
    for a, b in edges:
        into[b].append(a)
    readers: dict[tuple[int, ...], list[int]] = {}
    for box, layer in enumerate(layered(len(boxes), edges)):
        readers.setdefault((layer, *into[box]), []).append(box)
    knots = {below[0]: below for (_, *above), below in readers.items() if len(above) > 1 and len(below) > 1}
    knotted = {box: first for first, below in knots.items() for box in below}
    # Each knot stands right before the first box that it leads to.
    shifted = {box: box + sum(first <= box for first in knots) for box in into}
    wires = [(shifted[a], shifted[first] - 1) for first in knots for a in into[first]]
    wires += [(shifted[first] - 1, shifted[box]) for box, first in knotted.items()]
    wires += [(shifted[a], shifted[b]) for a, b in edges if b not in knotted]
    drawn = {shifted[box]: boxes[box] for box in into}
    return [drawn.get(n, Box("")) for n in range(len(boxes) + len(knots))], sorted(wires)


def layered(count: int, edges: Sequence[Arrow]) -> list[int]:
    """The layer of each box in the layout: below all boxes that point to it.

    A box may be written again by a later one (a residual sum). Who reads it after that stands below that writer, so
    that the blocks of a residual network follow each other.
    """
    into: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        into[b].append(a)
    layers: list[int] = []
    for box in range(count):
        before = [source for source in into[box] if source < box]
        again = [writer for source in before for writer in into[source] if source < writer < box]
        layers.append(1 + max((layers[other] for other in before + again), default=-1))
    return layers


def implied(count: int, edges: Sequence[Arrow]) -> set[Arrow]:
    """The arrows that a chain of other arrows makes redundant (transitive reduction)."""
    out: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        if a < b:
            out[a].append(b)
    reached = [0] * count  # a bit for each box
    pale = set()
    for a in reversed(range(count)):
        for b in out[a]:
            reached[a] |= reached[b]
        pale |= {(a, b) for b in out[a] if reached[a] >> b & 1}
        for b in out[a]:
            reached[a] |= 1 << b
    return pale


def placed(layers: Sequence[int], edges: Sequence[Arrow], high: int) -> tuple[list[Point], float, float, int]:
    """The middle of each box's upper side, the size of the picture, and how many layers are in a column."""
    rows: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for box, layer in enumerate(layers):
        rows[layer].append(box)
    per = rows_per_column(rows, high)
    points: list[Point] = [(0.0, 0.0)] * len(layers)
    left = float(MARGIN)
    for first in range(0, len(rows), per):
        column = rows[first : first + per]
        width = column_width(column)
        for number, row in enumerate(column):
            position_row(row, points, edges, left + width / 2, TOP + number * (high + BELOW))
        left += width + GUTTER
    depth = min(per, len(rows)) * (high + BELOW)
    return points, max(left - GUTTER + MARGIN + 40, 640), TOP + depth + MARGIN, per


def position_row(row: Sequence[int], points: list[Point], edges: Sequence[Arrow], middle: float, y: float) -> None:
    """Position the boxes of a row, each as near as possible to those that point to it."""

    def wish(box: int) -> tuple[float, int]:
        above = [points[a][0] for a, b in edges if b == box and a < b]
        return (sum(above) / len(above) if above else middle), box

    for number, box in enumerate(sorted(row, key=wish)):
        points[box] = (middle + (number - (len(row) - 1) / 2) * (WIDTH + BESIDE), y)


def column_width(rows: Sequence[Sequence[int]]) -> float:
    """The width of the widest row."""
    most = max(len(row) for row in rows)
    return float(most * WIDTH + (most - 1) * BESIDE)


def rows_per_column(rows: Sequence[Sequence[int]], high: int) -> int:
    """How many layers to put in a column, so that the picture comes nearest to the shape of a screen."""

    def shape(per: int) -> float:
        width = sum(column_width(rows[first : first + per]) + GUTTER for first in range(0, len(rows), per))
        ratio = width / (per * (high + BELOW)) / ASPECT
        return max(ratio, 1 / ratio)

    return min(range(min(SHORT, len(rows)), len(rows) + 1), key=shape) if rows else 1


def port(box: Box, point: Point, high: int) -> Port:
    """Where arrows can touch a box: its left, upper, right and lower side."""
    x, y = point
    wide, tall = (WIDTH / 2, high / 2) if box.name else (6, 6)
    return x - wide, y + high / 2 - tall, x + wide, y + high / 2 + tall


def wire(start: Port, end: Port, down: int, pale: bool, far: bool) -> str:
    """The curve of an arrow: down, or along the sides to a box straight below, an earlier one, or another column."""
    x, y, to, at = (start[0] + start[2]) / 2, (start[1] + start[3]) / 2, (end[0] + end[2]) / 2, (end[1] + end[3]) / 2
    if far:
        side = 1 if to > x else -1
        x, to = (start[2], end[0]) if side > 0 else (start[0], end[2])
        out = side * max(GUTTER * 0.6, abs(to - x) / 3)
        curve = f"M{x:g} {y:g}C{x + out:g} {y:g} {to - out:g} {at:g} {to:g} {at:g}"
    elif down < 0 or (down > 1 and abs(to - x) < 1):
        x, to = (start[2], end[2]) if down > 0 else (start[0], end[0])
        out = 14 + min(26, 4 * abs(down))
        turn = max(x, to) + out if down > 0 else min(x, to) - out
        curve = f"M{x:g} {y:g}C{turn:g} {y:g} {turn:g} {at:g} {to:g} {at:g}"
    else:
        y, at = start[3], end[1]
        bend = (at - y) / 2
        curve = f"M{x:g} {y:g}C{x:g} {y + bend:g} {to:g} {at - bend:g} {to:g} {at:g}"
    kind = "back" if down < 0 else "pale" if pale else ""
    return f'<path class="{kind}" d="{curve}"/>' if kind else f'<path d="{curve}"/>'


def box_at(box: Box, point: Point, high: int) -> str:
    """A box with its lines of text, as SVG."""
    x, y = point
    if not box.name:
        return f'<circle cx="{x:g}" cy="{y + high / 2:g}" r="5"/>'
    name = broken(box.name)
    top = y + high / 2 - LINE * (box.height() / 2 - 0.75)
    lines = [text(line, (x, top + LINE * n), "b", "middle") for n, line in enumerate(name)]
    lines += [text(line, (x, top + LINE * n), "", "middle") for n, line in enumerate(box.lines, len(name))]
    tip = f"<title>{escape(box.tip)}</title>" if box.tip else ""
    return f"<g>{tip}{frame(box.paint, x - WIDTH / 2, y, WIDTH, high)}{''.join(lines)}</g>"


def broken(name: str) -> list[str]:
    """A layer's name in one line, or in two if it is too long for a box."""
    if tables.wide(name) <= CHARACTERS:
        return [name]
    dots = [number for number, char in enumerate(name) if char == "."] or [len(name) // 2]
    middle = min(dots, key=lambda dot: abs(dot - len(name) // 2)) + 1
    return [name[:middle], name[middle:]]


def frame(paint: str, x: float, y: float, width: float, height: float) -> str:
    """A rectangle in the colours of a kind of box."""
    frame = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"'
    return f"<rect {frame} {PAINT[paint]}/>"


def keys(legend: Sequence[tuple[str, str]]) -> list[str]:
    """The legend, in one line; ``"back"`` is an arrow and no box."""
    parts, x = [], float(MARGIN)
    for paint, meaning in legend:
        sign = f'<path class="back" d="M{x:g} 55H{x + 18:g}"/>' if paint == "back" else frame(paint, x, 48, 18, 14)
        parts += [sign, text(meaning, (x + 24, 59))]
        x += 36 + 5.4 * len(meaning)
    return parts


def text(words: str, point: Point, kind: str = "", anchor: str = "") -> str:
    """A line of text, clipped to a box unless it is a head."""
    words = tables.clip(words, CHARACTERS) if anchor else words
    named = "".join(f' {name}="{value}"' for name, value in (("class", kind), ("text-anchor", anchor)) if value)
    return f'<text x="{point[0]:g}" y="{point[1]:g}"{named}>{escape(words)}</text>'


def first_uses(*programs: Program) -> dict[str, int]:
    """The number of the op that first uses each tensor; the programs are numbered one after the other."""
    found: dict[str, int] = {}
    start = 0
    for program in programs:
        for number, op in enumerate(program.ops, start):
            for operand in op.operands:
                if operand in program.tensors:
                    found.setdefault(program.tensors[operand], number)
        start += len(program.ops)
    return found


def arrows(program: Program, owner: Mapping[str, int]) -> set[Arrow]:
    """From which box to which the data goes next.

    Args:
        program: the operations.
        owner: for each tensor that turns what arrives into channels of its own the number of its box.

    Returns:
        Pairs of numbers, from and to; 0 is the input and -1 the output.
    """
    data: dict[int, frozenset[int]] = {}
    weights = {value: frozenset([owner[name]]) for value, name in program.tensors.items() if name in owner}
    found: set[Arrow] = set()
    for op in program.ops:
        operands = [value for value in op.operands if value is not None]
        own = frozenset(box for value in operands for box in weights.get(value, ()))
        arrived = frozenset(box for value in operands for box in data.get(value, ()))
        if own and arrived:
            found |= {(one, other) for one in arrived for other in own if one != other}
            data.update(dict.fromkeys(op.results, own))
        elif own:  # a weight that is only made ready: normalised, transposed, cast
            weights.update(dict.fromkeys(op.results, own))
        else:
            data.update(dict.fromkeys(op.results, frozenset([0]) if op.name in ("data", "feed") else arrived))
    return found | {(one, -1) for value in program.outputs for one in data.get(value, ())}
