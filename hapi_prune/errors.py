"""The one family of errors: each says where, what it got, what is allowed and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable


class PruneError(Exception):
    """Something the library was asked for cannot be done; nothing has been changed.

    Args:
        where: the place, as the user would name it (``"PruneCallback(schedule=...)"``, ``"layer 'conv1'"``).
        got: what was found there.
        allowed: what would have been fine.
        todo: the next step for the user.

    Attributes:
        where, got, allowed, todo: as given.

    Example:
        >>> import paddle
        >>> from hapi_prune import PruneError, prune
        >>> try:
        ...     prune(paddle.vision.models.LeNet(), [1, 1, 28, 28], 1.5)
        ... except PruneError as error:
        ...     print(error.where, "got", error.got)
        prune(ratio=...) got 1.5
    """

    def __init__(self, where: str, got: str, allowed: str = "", todo: str = "") -> None:
        self.where, self.got, self.allowed, self.todo = where, got, allowed, todo
        parts = [f"{where}: {got}", *([f"Allowed: {allowed}"] if allowed else [])]
        parts += [f"What to do: {todo}"] if todo else []
        super().__init__(" ".join(part if part.endswith((".", "?")) else f"{part}." for part in parts))


class NothingToPruneError(PruneError):
    """Not one group of the network can shrink, so there is nothing to prune."""


class PruneWarning(UserWarning):
    """Something the user asked for was not reached, or not reached fully; said once, with names.

    Example:
        >>> import paddle, warnings
        >>> from hapi_prune import PruneWarning, prune
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always", PruneWarning)
        ...     record = prune(paddle.vision.models.LeNet(), [1, 1, 28, 28], 0.01)
        >>> print(*[warning.message for warning in caught if warning.category is PruneWarning])
        nothing was removed at ratio 0.01: it is done already, or rounds to nothing
    """


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """The known names most like ``name``, quoted and joined, for an error's text."""
    import difflib  # only where there is an error to tell

    known = list(known)
    close = difflib.get_close_matches(name, known, n=count, cutoff=0.3) or known[:count]
    return ", ".join(repr(k) for k in close)


def gist(error: BaseException) -> str:
    """An error in one line: Paddle's own are pages, with the cause near the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if re.match(r"\w*(Error|Exception|Warning): |\(\w+\) ", line)]
    lines = [line for line in lines if line.rstrip(":") not in ("Suggestions", "Hint")]
    text = (causes or lines or [""])[-1]
    return text if re.match(r"\w+: ", text) else f"{type(error).__name__}: {text}"
