"""Build the site in `site/`: the READMEs and `docs/` in both languages, and the reference from the docstrings.

    python scripts/docs_site.py

Any warning is an error, a link that leads nowhere among them. `python -m http.server --directory site` shows it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What is in the menu, in order; a page that is not there yet is left out.
NAV = {
    "Guide": "README.md",
    "Concepts": "docs/concepts.md",
    "How a cut works": "docs/how_a_cut_works.md",
    "Recipes": "docs/recipes.md",
    "Reliability": "docs/reliability.md",
    "From PaddleSlim": "docs/paddleslim.md",
    "Benchmarks": {
        "Overview": "docs/benchmarks.md",
        "Accuracy": "docs/accuracy.md",
        "Speed": "docs/speed.md",
        "Networks": "docs/networks.md",
    },
    "中文": {
        "指南": "README_CN.md",
        "基本概念": "docs/zh/concepts.md",
        "一次裁剪的过程": "docs/zh/how_a_cut_works.md",
        "示例脚本": "docs/zh/recipes.md",
        "可靠性": "docs/zh/reliability.md",
        "从 PaddleSlim 迁移": "docs/zh/paddleslim.md",
        "基准测试": "docs/zh/benchmarks.md",
        "精度": "docs/zh/accuracy.md",
        "速度": "docs/zh/speed.md",
        "网络": "docs/zh/networks.md",
    },
    "Reference": "reference",
    "Rules of your own": "hapi_prune/analysis/rules/README.md",
    "Architecture": "ARCHITECTURE.md",
    "Contributing": "CONTRIBUTING.md",
    "Changes": "CHANGELOG.md",
}
REFERENCE = {
    "Pruning": ("PruneCallback", "prune", "resume", "load", "cost", "export"),
    "Diagnostics": ("explain", "check", "sensitivity", "Preview", "PreviewRow"),
    "Schedules": ("Schedule", "OneShot", "Explicit", "Linear", "Polynomial", "Exponential"),
    "Criteria": ("Criterion", "L1Norm", "L2Norm", "FPGM", "GroupCriterion", "GroupL2Norm", "BatchNormScale", "Taylor"),
    "Scopes": ("Scope", "Uniform", "Global", "BySensitivity"),
    "Results": ("History", "PruneRecord", "Cost", "LayerCost", "ExportReport", "CheckReport", "Explanation"),
}
"""The names on each page of the reference; those of `hapi_prune.__all__` that are on none go on the page `More`."""


WIDE = ".md-grid{max-width:80rem}"
"""Tables and lines of code of 100 characters are read without scrolling, where the screen is wide enough."""


def package(folder: Path) -> None:
    """A copy of the package whose examples the reference can tell from text: it knows them as `Examples` alone."""
    shutil.copytree(ROOT / "hapi_prune", folder / "hapi_prune", ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"^( +)Example:$", r"\1Examples:", text, flags=re.M), encoding="utf-8")


def configuration(pages: list[object]) -> dict[str, object]:
    """What mkdocs is told."""
    handler = {
        "paths": ["source"],
        "options": {
            "docstring_style": "google",
            # Several arguments may share a line, which tests/test_doctests.py reads as well.
            "docstring_options": {"warn_unknown_params": False, "warn_missing_types": False},
            "show_root_heading": True,
            "show_root_full_path": False,
            "show_source": False,
            "heading_level": 2,
            "members_order": "source",
            "inherited_members": False,
            "separate_signature": True,
            "filters": ["!^_"],
        },
    }
    markdown = ["admonition", "attr_list", "tables", {"toc": {"permalink": True}}, "pymdownx.superfences"]
    # Chinese has no spaces: jieba puts U+200B, which is not seen, between its words.
    search = {"lang": ["en", "zh"], "separator": r"[\s\u200b\-_,:!=\[\]()\"`/]+|\.(?!\d)"}
    return {
        "site_name": "hapi_prune",
        "site_dir": str(ROOT / "site"),
        "docs_dir": "pages",
        "use_directory_urls": False,  # the site can be read from a folder
        "theme": {"name": "material", "font": False, "features": ["navigation.sections", "content.code.copy"]},
        "plugins": [{"search": search}, {"mkdocstrings": {"handlers": {"python": handler}}}],
        "extra_css": ["wide.css"],
        "markdown_extensions": [*markdown, "pymdownx.highlight"],
        "validation": {"links": {"not_found": "warn", "anchors": "warn", "unrecognized_links": "warn"}},
        "nav": pages,
    }


def public_names() -> list[str]:
    """`hapi_prune.__all__`, read and not imported."""
    tree = ast.parse((ROOT / "hapi_prune" / "__init__.py").read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return next(ast.literal_eval(node.value) for node in assigned if getattr(node.targets[0], "id", "") == "__all__")


def reference() -> dict[str, tuple[str, ...]]:
    """The pages of the reference, every public name on one of them."""
    named = {name for names in REFERENCE.values() for name in names}
    return {**REFERENCE, "More": tuple(name for name in public_names() if name not in named)}


def placed(source: Path, folder: Path) -> str:
    """Copy a page to the site with its links turned to where things are there; its name in the site."""
    name = "index.md" if source == ROOT / "README.md" else source.relative_to(ROOT).as_posix().replace("/", "_")
    text = source.read_text(encoding="utf-8")
    (folder / name).write_text(re.sub(r"(?<=\]\()([^)#:]+)", lambda m: link(m, source, folder), text), encoding="utf-8")
    return name


def link(found: re.Match[str], source: Path, folder: Path) -> str:
    """Where a link of a page leads in the site: to a page, or to a copy of the file."""
    target = (source.parent / found.group()).resolve()
    if target.is_dir() or not target.exists():
        return "docs_recipes.md" if target == ROOT / "examples" / "recipes" else found.group()
    inside = target.relative_to(ROOT).as_posix()
    if target == ROOT / "README.md":
        return "index.md"
    if target.suffix == ".md":
        return inside.replace("/", "_")
    (folder / inside).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(target, folder / inside)
    return inside


def menu(nav: dict[str, object], folder: Path) -> list[object]:
    """The menu, with every page in it written."""
    found: list[object] = []
    for title, page in nav.items():
        if isinstance(page, dict):
            found.append({title: menu(page, folder)})
        elif page == "reference":
            found.append({title: [{kind: api_page(kind, names, folder)} for kind, names in reference().items()]})
        elif (ROOT / str(page)).exists():
            found.append({title: placed(ROOT / str(page), folder)})
    return found


def api_page(kind: str, names: tuple[str, ...], folder: Path) -> str:
    """A page of the reference."""
    body = "\n\n".join(f"::: hapi_prune.{name}" for name in names)
    (folder / f"reference_{kind.lower()}.md").write_text(f"# {kind}\n\n{body}\n", encoding="utf-8")
    return f"reference_{kind.lower()}.md"


def main() -> int:
    """Build it; 0 if there was nothing to warn of."""
    if find_spec("jieba") is None:  # the theme would say nothing, and find no Chinese word
        sys.exit("jieba is not installed: pip install --editable .[docs]")
    with tempfile.TemporaryDirectory() as scratch:
        pages = Path(scratch) / "pages"
        pages.mkdir()
        package(Path(scratch) / "source")
        told = configuration(menu(NAV, pages))
        (pages / "wide.css").write_text(WIDE, encoding="utf-8")
        (Path(scratch) / "mkdocs.yml").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict"]  # with --quiet it would count no warnings
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement, not about this site
        run = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
        print(run.stderr if run.returncode else f"{len(list((ROOT / 'site').glob('*.html')))} pages in site/")
        return run.returncode


if __name__ == "__main__":
    sys.exit(main())
