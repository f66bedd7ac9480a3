"""Distributed training: rank 0 decides, all ranks follow, and their tensors are compared afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import paddle
import paddle.distributed as dist

from ..errors import PruneError
from ..plan import PruningPlan


def ranks() -> int:
    """How many processes train this network together; 1 where there is no parallel environment."""
    return int(dist.get_world_size()) if dist.is_initialized() else 1


def agree(plan: PruningPlan) -> PruningPlan:
    """Rank 0's plan, on every rank."""
    return plan if ranks() == 1 else PruningPlan.from_json(from_first(plan.to_json()))


def from_first(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    sent: list[Any] = [value]
    if ranks() > 1:
        dist.broadcast_object_list(sent, src=0)
    return sent[0]


def made_by_first(make: Callable[[], Any]) -> Any:
    """The result of ``make``, which only rank 0 calls, on every rank."""
    return from_first(make() if ranks() == 1 or dist.get_rank() == 0 else None)


def all_alike(value: Any) -> bool:
    """Whether all ranks have equal values; a rank on which something failed has None."""
    return all(other == value and other is not None for other in gathered(value))


def gathered(value: Any) -> list[Any]:
    """The values of all ranks, in order."""
    if ranks() == 1:
        return [value]
    values: list[Any] = []
    dist.all_gather_object(values, value)
    return values


def compare(tensors: Mapping[str, paddle.Tensor], what: str) -> None:
    """Raise if the ranks do not hold the same numbers.

    Args:
        tensors: what must be equal, bit by bit, by name.
        what: what they are, for the error.

    Raises:
        PruneError: the first tensor that differs, and on which ranks.
    """
    if ranks() == 1:
        return
    digests = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in tensors.items()}
    everywhere = gathered(digests)
    for name in sorted({name for each in everywhere for name in each}):
        found = [each.get(name) for each in everywhere]
        if len(set(found)) > 1:
            other = [rank for rank, digest in enumerate(found) if digest != found[0]]
            raise PruneError(
                f"{what} {name!r}",
                f"rank {other[0]} holds other numbers than rank 0",
                "the same on every rank",
                "seed every rank alike, and let only hapi or DataParallel change the network",
            )
