"""The command line: ``python -m hapi_prune explain module:function --input 1,3,224,224``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle.static import InputSpec

from .analysis.cost import cost
from .criteria.named import BUILT_IN
from .cutting.pruning import prune
from .diagnostics.check import check
from .diagnostics.explain import explain
from .diagnostics.preview import preview
from .errors import PruneError, gist, nearest
from .reporting import page
from .schedules import OneShot
from .selection.options import TARGETS, Options
from .training.checkpoint import load

FINE, WRONG, USAGE = 0, 1, 2


@dataclass(frozen=True)
class Output:
    """The output of a command: as text, as data for JSON, as a page; and whether all is well."""

    title: str
    text: str
    data: Any
    picture: str = ""
    ok: bool = True

    def html(self) -> str:
        """The output as a page of HTML."""
        sections = [("Picture", self.picture)] if self.picture else []
        return page.page(self.title, "", [*sections, ("Table", page.preformatted(self.text))])


@dataclass(frozen=True)
class Command:
    """One of the commands.

    Attributes:
        run: ``(network, inputs, arguments)`` -> the output.
        about: its purpose, in a sentence.
        options: adds the options of its own.
    """

    run: Callable[[paddle.nn.Layer, Any, argparse.Namespace], Output]
    about: str
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None


def explained(network: paddle.nn.Layer, inputs: Any, arguments: argparse.Namespace) -> Output:
    """What can be pruned, and why the rest stays."""
    found = explain(network, inputs, skip=arguments.skip)
    return Output(found.title, found.table(), json.loads(found.to_json()), found.svg())


def counted(network: paddle.nn.Layer, inputs: Any, arguments: argparse.Namespace) -> Output:
    """What the network costs, layer by layer; at a ratio, what is left of it."""
    name = type(network).__name__
    if arguments.ratio is None:
        found = cost(network, inputs)
        return Output(f"Cost of {name}", found.table(), asdict(found))
    given = {"skip": arguments.skip, "target": arguments.target, "scope": arguments.scope}
    record = prune(network, inputs, arguments.ratio, arguments.criterion, **given)
    lines = [str(record), "", record.cost_after.table()]
    data = {"before": asdict(record.cost_before), "after": asdict(record.cost_after), "widths": record.widths}
    return Output(f"Cost of {name} at ratio {arguments.ratio:g}", "\n".join(lines), data)


def previewed(network: paddle.nn.Layer, inputs: Any, arguments: argparse.Namespace) -> Output:
    """What a cut to a ratio would leave, and what stays; the network is left as it was."""
    options = Options(arguments.criterion, arguments.skip, target=arguments.target, scope=arguments.scope)
    found = preview(network, inputs, OneShot(0, arguments.ratio), options, epochs=1)
    title = f"{type(network).__name__} at {arguments.ratio:g} of its {arguments.target}"
    return Output(title, str(found), asdict(found))


def checked(network: paddle.nn.Layer, inputs: Any, arguments: argparse.Namespace) -> Output:
    """Whether pruning works on the network, in every respect."""
    given = {"ratios": arguments.ratio, "criteria": arguments.criterion}
    report = check(network, inputs, **{name: value for name, value in given.items() if value})
    title = f"Check of {report.network}: {'all right' if report.ok else 'not all right'}"
    return Output(title, report.table(), json.loads(report.to_json()), ok=report.ok)


def skip_option(parser: argparse.ArgumentParser) -> None:
    """``--skip``."""
    parser.add_argument("--skip", action="append", default=[], metavar="LAYER", help="leave this layer alone")


def cost_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``cost``."""
    skip_option(parser)
    parser.add_argument("--ratio", type=float, help="prune this share first, and count what is left")
    choice_options(parser)


def preview_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``preview``."""
    skip_option(parser)
    parser.add_argument("--ratio", type=float, required=True, help="the share to remove")
    choice_options(parser)


def choice_options(parser: argparse.ArgumentParser) -> None:
    """How to choose what goes, for commands that cut."""
    parser.add_argument("--criterion", default="l1_norm", help=f"{', '.join(BUILT_IN)} (default: %(default)s)")
    parser.add_argument("--target", default="filters", help=f"{', '.join(TARGETS)} (default: %(default)s)")
    parser.add_argument("--scope", default="uniform", help="uniform or global (default: %(default)s)")


def check_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``check``."""
    parser.add_argument("--ratio", type=float, action="append", help="a ratio to check; may be given several times")
    parser.add_argument("--criterion", action="append", help="a criterion to check; may be given several times")


COMMANDS = {
    "explain": Command(explained, "say of each layer whether it can be pruned, and if not why", skip_option),
    "cost": Command(counted, "count FLOPs and parameters, layer by layer", cost_options),
    "preview": Command(previewed, "say what a cut would leave, and what stays", preview_options),
    "check": Command(checked, "prune at several ratios, and exit with 1 if not all is right", check_options),
}
"""All commands; a new one needs a line here and nothing else."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m hapi_prune", description="Look at a network without writing code.")
    commands = made.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.about, description=f"{command.about.capitalize()}.")
        one.add_argument("network", help="module:function or file.py:function that builds it")
        one.add_argument(
            "--input",
            action="append",
            required=True,
            metavar="SIZES",
            help="shape of an input, as 1,3,224,224 or 1,20:int64; once for each input, in order",
        )
        one.add_argument("--weights", metavar="FILE", help="a .pdparams to load first, pruned or not")
        one.add_argument("--json", action="store_true", help="print JSON")
        one.add_argument("--html", metavar="FILE", help="write a page to look at")
        command.options(one)
    return made


def input_of(text: str) -> InputSpec:
    """``1,3,224,224`` or ``1,20:int64`` as an InputSpec.

    Raises:
        PruneError: something else.

    Example:
        >>> input_of("1,20:int64").shape
        (1, 20)
    """
    sizes, _, kind = text.partition(":")
    try:
        return InputSpec([int(size) for size in sizes.split(",")], kind or "float32")
    except (ValueError, TypeError) as error:
        allowed = "sizes with commas between them, as 1,3,224,224, and a type behind a colon, as 1,20:int64"
        raise PruneError("--input", f"{text!r}", allowed) from error


def network_of(text: str) -> paddle.nn.Layer:
    """What ``module:function`` builds.

    Raises:
        PruneError: there is no such function, it fails, or it builds something else.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise PruneError(f"{text!r}", "no colon", "module:function, as paddle.vision.models:resnet18")
    module = module_of(place)
    build = getattr(module, name, None)
    if build is None:
        known = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        todo = f"use one such as {nearest(name, known)}"
        raise PruneError(f"{text!r}", f"{place} has no {name!r}", "a function or class of it", todo)
    try:
        network = build if isinstance(build, paddle.nn.Layer) else build()
    except Exception as error:  # the user's code may raise anything
        todo = "write a function that builds your network, and name that"
        raise PruneError(
            f"{text!r}", f"it fails ({gist(error)})", "a function that takes no arguments", todo
        ) from error
    if not isinstance(network, paddle.nn.Layer):
        raise PruneError(f"{text!r}", f"it returns {network!r:.60}", "a paddle.nn.Layer")
    return network


def module_of(place: str) -> Any:
    """A module by its name, or by its file.

    Raises:
        PruneError: it cannot be imported.
    """
    path = Path(place)
    try:
        if path.suffix != ".py":
            return importlib.import_module(place)
        sys.path.insert(0, str(path.resolve().parent))  # for modules that it imports from its own folder
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec) if spec else None
        if spec is None or spec.loader is None or module is None:
            raise ImportError("it is no module")
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    except Exception as error:  # a module may raise anything
        todo = "run this where the module can be imported, or give the path of its .py file"
        raise PruneError(f"module {place!r}", f"it cannot be imported ({gist(error)})", todo=todo) from error
    return module


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those of the command line; None for those of the process.

    Returns:
        0; 1 where a check found something wrong; 2 for a mistake of the user's, which is printed in a line.
    """
    given = parser().parse_args(arguments)
    try:
        inputs = [input_of(text) for text in given.input]
        network = network_of(given.network)
        if given.weights:
            load(network, given.weights, inputs)
        output = COMMANDS[given.command].run(network, inputs, given)
        if given.html:
            Path(given.html).write_text(output.html(), encoding="utf-8")
            sys.stderr.write(f"written: {given.html}\n")
    except (PruneError, OSError) as error:
        sys.stderr.write(f"python -m hapi_prune: {error}\n")
        return USAGE
    sys.stdout.write((json.dumps(output.data, indent=1) if given.json else output.text) + "\n")
    return FINE if output.ok else WRONG


if __name__ == "__main__":
    raise SystemExit(main())
