"""Each page of the guide in both languages: the same code, headings, tables, links, pictures, names and numbers."""

import importlib.util
import re

import pytest
from languages import ROOT, ZH, headings, linked, numbers, pictures, quoted, shape, turned_to_each_other

DOCS = ROOT / "docs"
TABLES = {"accuracy.md", "networks.md", "speed.md"}
"""Pages with tables that programs write: the Chinese page leads to these, and does not repeat them."""

WHOLE = sorted({page.name for page in DOCS.glob("*.md")} - TABLES)


def both(name):
    return DOCS / name, ZH / name


def test_every_page_is_there_in_both_languages():
    assert {page.name for page in ZH.glob("*.md")} == {*WHOLE, *TABLES}


@pytest.mark.parametrize("name", [*WHOLE, *sorted(TABLES)])
def test_each_leads_to_the_other_and_to_what_is_there(name):
    english, chinese = both(name)
    assert turned_to_each_other(english, chinese)
    files = [link for page in both(name) for link in linked(page) if "://" not in str(link)]
    assert [link for link in files if not link.exists()] == []


@pytest.mark.parametrize("name", WHOLE)
def test_both_languages_say_the_same(name):
    english, chinese = both(name)
    assert shape(chinese) == shape(english)
    assert pictures(chinese) == pictures(english)
    assert quoted(chinese) == quoted(english)
    assert numbers(english) <= numbers(chinese)
    assert numbers(chinese) - numbers(english) <= set("0123456789")  # English has words for these


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_chinese_page_beside_tables_leads_to_them_and_says_nothing_else(name):
    english, chinese = both(name)
    text = chinese.read_text(encoding="utf-8")
    assert re.search(r"^(\||    |```)", text, re.M) is None
    assert headings(chinese) == headings(english)
    assert pictures(chinese) == pictures(english)
    assert linked(chinese)[0] == english
    assert set(linked(chinese)) <= {english, *linked(english)}
    assert [name for name in quoted(chinese) if name not in english.read_text(encoding="utf-8")] == []
    assert numbers(chinese) <= numbers(english)


def test_every_page_is_in_the_menu_of_the_site():
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts" / "docs_site.py")
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)

    def pages(menu):
        for page in menu.values():
            yield from pages(page) if isinstance(page, dict) else [page]

    wanted = {page.relative_to(ROOT).as_posix() for page in DOCS.rglob("*.md")}
    assert wanted == {page for page in pages(site.NAV) if page.startswith("docs/")}
