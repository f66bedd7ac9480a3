"""ARCHITECTURE.md is about the code that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hapi_prune"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_the_page_names_the_rooms_and_files_that_are_there():
    table = PAGE.split("| room |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `([\w./]+)` \|(.*)$", table, re.M))
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert set(rows) == folders | modules
    drawn = set(re.findall(r"\w+(?:\.py|/)", PAGE.split("```")[1]))
    assert drawn == set(rows)
    inside = {room + name for room, text in rows.items() for name in re.findall(r"`(\w+\.py)`", text)}
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE.replace(table, ""))) | inside
    assert len(named) > 30
    assert [name for name in sorted(named) if not (PACKAGE / name).is_file()] == []
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert [link for link in links if not (ROOT / link).exists()] == []
