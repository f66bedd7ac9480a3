"""Every example in a docstring runs and prints what it says; every public name has one, and says what it takes."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import enum
import importlib
import inspect
import pkgutil
import re
import tempfile
import textwrap

import pytest

import hapi_prune
from hapi_prune.analysis.rules import TABLE

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NAMES = ["hapi_prune", *(found.name for found in pkgutil.walk_packages(hapi_prune.__path__, "hapi_prune."))]
PUBLIC = {name: getattr(hapi_prune, name) for name in hapi_prune.__all__}
SECTION = re.compile(r"^( *)(Args|Attributes):\n((?:\1 +.*\n|\n)*)", re.M)

# Paddle warns of what it does itself, and of data that hapi copies.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch, tmp_path):
    """The rules that examples register are gone afterwards, and so are the files that they write."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, table in vars(TABLE).items():
        monkeypatch.setattr(TABLE, name, dict(table))


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_run(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    told: list[str] = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        if test.name.removeprefix(f"{name}.") in PUBLIC:
            test.globs = {"__name__": "__main__"}  # it imports what it needs, as the reader has to
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


def test_every_module_is_looked_at():
    assert {value.__module__ for value in PUBLIC.values()} <= set(NAMES)


def arguments(function):
    """The names of the arguments of a function or method."""
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def fields_of(kind):
    """What a class is made of: the fields of a dataclass, the members of an enumeration, else its arguments."""
    if issubclass(kind, enum.Enum):
        return list(kind.__members__)
    if dataclasses.is_dataclass(kind):
        return [part.name for part in dataclasses.fields(kind)]
    own = vars(kind).get("__init__")  # a Protocol gets one from Python
    return arguments(own) if inspect.isfunction(own) and not getattr(kind, "_is_protocol", False) else []


def explained(text):
    """The names that the sections Args and Attributes of a docstring explain."""
    return {name for _, names in sections(text) for name in names}


def sections(text):
    """(Args or Attributes, the names that it explains) for each such section of a docstring."""
    for _, section, body in SECTION.findall(inspect.cleandoc(text) + "\n"):
        heads = re.findall(r"^(\w[\w, ]*):", textwrap.dedent(body), re.M)
        yield section, {name for head in heads for name in head.split(", ")}


def methods_of(kind):
    """The public methods that a class of ours adds to what its bases of Paddle's or Python's have, by name."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("hapi_prune")]
    others = {name for base in kind.__mro__ if base not in ours for name in vars(base)}
    return {
        name: getattr(value, "__func__", value)
        for base in reversed(ours)
        for name, value in vars(base).items()
        if not name.startswith("_") and name not in others
        if inspect.isfunction(value) or isinstance(value, (property, classmethod))
    }


def lacking(function):
    """What the docstring of a function or method should say, and does not."""
    text = function.__doc__ or ""
    if isinstance(function, property):
        return [] if text else ["a docstring"]
    found = [f"Args: {name}" for name in arguments(function) if name not in explained(text)]
    returns = inspect.signature(function).return_annotation
    if arguments(function) and returns != "None" and "Returns:" not in text:
        found.append("Returns")
    if re.search(r"raise (\w+\.)?PruneError", inspect.getsource(function)) and "Raises:" not in text:
        found.append("Raises")
    return found if text else ["a docstring"]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_explained(name):
    value = PUBLIC[name]
    assert ">>> " in (value.__doc__ or ""), f"{name} has no example"
    if not inspect.isclass(value):
        assert lacking(value) == []
        return
    assert [f for f in fields_of(value) if f not in explained(value.__doc__)] == []
    assert {f"{name}.{method}": lacks for method, of in methods_of(value).items() if (lacks := lacking(of))} == {}


def test_what_is_not_explained_is_noticed():
    def told(number: int, other: int) -> int:
        """Add.

        Args:
            number: the one.
        """
        raise hapi_prune.PruneError("here", "nothing")

    assert lacking(told) == ["Args: other", "Returns", "Raises"]


def documented(name):
    """(object, section, names) for all that the docstrings of a module's classes and functions explain."""
    module = importlib.import_module(name)
    waiting = [value for value in vars(module).values() if getattr(value, "__module__", "") == name]
    for value in waiting:
        if inspect.isclass(value):
            waiting += [getattr(own, "__func__", own) for own in vars(value).values()]
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__doc__:
            yield from ((value, section, names) for section, names in sections(value.__doc__))


def attributes_of(kind):
    """What instances of a class have: fields, properties, methods, and all that its methods assign to ``self``."""
    found = {name for base in kind.__mro__ for name in [*vars(base), *vars(base).get("__annotations__", {})]}
    for base in kind.__mro__:
        if base.__module__.startswith(("hapi_prune", __name__)):
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_what_a_docstring_explains_is_there(name):
    for value, section, names in documented(name):
        there = attributes_of(value) if section == "Attributes" else set(inspect.signature(value).parameters)
        assert names <= there, f"{value.__qualname__}: {section} that are not there: {sorted(names - there)}"


def test_an_attribute_that_is_not_there_is_noticed():
    class Box:
        """A box.

        Attributes:
            size, weight: how large and heavy it is.
            tags: what is written on it.
        """

        size: int = 0

        def __init__(self) -> None:
            self.tags: list[str] = []

    assert {"size", "tags", "weight"} - attributes_of(Box) == {"weight"}
    assert list(sections(Box.__doc__)) == [("Attributes", {"size", "tags", "weight"})]
