"""Many ranks on one machine: rank 0 decides, and all end with the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hapi_prune import PruneError, PruningPlan, distributed

SCRIPT = Path(__file__).with_name("training_run.py")

pytestmark = pytest.mark.distributed


def launch(ranks, folder, *args):
    command = [sys.executable, "-W", "ignore", "-m", "paddle.distributed.launch", f"--nproc_per_node={ranks}"]
    command += ["--backend=gloo", f"--log_dir={folder / 'logs'}", str(SCRIPT), *map(str, args)]
    done = subprocess.run(
        command, capture_output=True, timeout=400, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    logs = "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted((folder / "logs").glob("workerlog.*")))
    assert done.returncode == 0, f"{done.stderr.decode()[-1000:]}\n{logs}"


def results(path, ranks):
    return [json.loads(Path(f"{path}.{rank}").read_text(encoding="utf-8")) for rank in range(ranks)]


def trained(found):
    """What must be equal on all ranks: all but the statistics of BatchNorm, which are each rank's own."""
    return {name: digest for name, digest in found["state"].items() if not name.endswith(("_mean", "_variance"))}


@pytest.mark.parametrize("ranks", [2, 4])
def test_all_ranks_end_alike(ranks, tmp_path):
    launch(ranks, tmp_path, tmp_path / "ckpt", tmp_path / "end")
    found = results(tmp_path / "end", ranks)
    assert all(trained(each) == trained(found[0]) for each in found)
    assert all(each["optimizer"] == found[0]["optimizer"] for each in found)
    plans = [[record["plan"] for record in each["history"]["records"]] for each in found]
    assert len(plans[0]) == 3
    assert all(plan == plans[0] for plan in plans)
    accuracies = [[log["acc_top1"] for _, log in each["history"]["evaluations"]] for each in found]
    assert all(accuracy == accuracies[0] for accuracy in accuracies)  # hapi's, over all ranks
    assert not list(tmp_path.glob("**/.*")), "a draft of a checkpoint was left"


def test_one_rank_agrees_with_itself():
    plan = PruningPlan({"conv.weight": (0, 2)})
    assert distributed.ranks() == 1
    assert distributed.agree(plan) is plan
    assert distributed.gathered(3) == [3]
    assert distributed.all_fine(True)
    assert not distributed.all_fine(False)


class Ranks:
    """Two ranks in one process: what the other one sends is given."""

    def __init__(self, monkeypatch, other):
        monkeypatch.setattr(distributed, "ranks", lambda: 2)
        monkeypatch.setattr(distributed, "gathered", lambda value: [value, other(value)])


def test_a_difference_names_the_tensor(monkeypatch):
    import paddle

    tensors = {"a": paddle.ones([2]), "b": paddle.zeros([3])}
    Ranks(monkeypatch, lambda digests: dict(digests))
    distributed.compare(tensors, "parameter")
    Ranks(monkeypatch, lambda digests: {**digests, "b": "other"})
    with pytest.raises(PruneError, match=r"parameter 'b': rank 1 holds other numbers than rank 0"):
        distributed.compare(tensors, "parameter")
