"""What a page has to have in common with the same page in the other language."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ZH = ROOT / "docs" / "zh"


def english_of(path):
    """The English page of a Chinese one; anything else is its own."""
    if path == ROOT / "README_CN.md":
        return ROOT / "README.md"
    return ZH.parent / path.name if path.parent == ZH else path


def plain(page):
    """What a page says outside of its code blocks, and of the line at the top that leads to the other language."""
    text = page.read_text(encoding="utf-8").partition("\n")[2]
    return re.sub(r"```.*?```", "", text, flags=re.S)


def linked(page):
    """Where its links and pictures lead, in order: files as their English pages."""
    found = re.findall(r"\]\(([^)#]+)", plain(page))
    return [link if "://" in link else english_of((page.parent / link).resolve()) for link in found]


def pictures(page):
    """The pictures of a page, in order."""
    return [(page.parent / name).resolve() for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", plain(page))]


def headings(page):
    """The levels of its headings."""
    return [len(marks) for marks in re.findall(r"^(#+) ", plain(page), re.M)]


def code_of(page):
    """The code blocks of a page; Python without its comments."""
    found = re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    return [(kind, ast.dump(ast.parse(code)) if kind == "python" else code) for kind, code in found]


def shape(page):
    """The same in both languages: code but for its comments, headings, tables, links and printed runs."""
    lines = plain(page).splitlines()
    return {
        "code": code_of(page),
        "headings": headings(page),
        "rows": [row.count("|") for row in lines if row.startswith("|")],
        "printed": [line for line in lines if re.match(r"    [-\s\d]", line)],
        "links": sorted(map(str, linked(page))),
    }


def quoted(page):
    """What stands in backquotes: names, arguments, commands."""
    return set(re.findall(r"`([^`\n]+)`", plain(page)))


def numbers(page):
    """Every number that is written in digits outside of code, 1,000 as 1000."""
    text = re.sub(r"`[^`\n]+`|\]\([^)]+\)", " ", plain(page))
    return set(re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text)))


def turned_to_each_other(english, chinese):
    """Whether the first line of each leads to the other."""
    first = [page.read_text(encoding="utf-8").split("\n")[0] for page in (english, chinese)]
    to = [re.findall(r"\]\(([^)]+)\)", line) for line in first]
    return [[(page.parent / link).resolve() for link in links] for page, links in zip((english, chinese), to)] == [
        [chinese],
        [english],
    ]
