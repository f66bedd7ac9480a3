"""Many ranks on one machine: rank 0 decides, and all end with the same numbers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hapi_prune import PruneError, PruningPlan
from hapi_prune.cutting import ranks

SUPPORT = Path(__file__).parent.parent / "support"
SCRIPT = SUPPORT / "training_run.py"
PARTS = SUPPORT / "ranks_run.py"

pytestmark = [pytest.mark.distributed, pytest.mark.slow]


def command(folder, script, *args):
    found = [sys.executable, "-W", "ignore", "-m", "paddle.distributed.launch", "--backend=gloo"]
    return [*found, f"--log_dir={folder / 'logs'}", *args[:-1], str(script), *map(str, args[-1])]


def launch(ranks, folder, *args, script=SCRIPT):
    done = subprocess.run(
        command(folder, script, f"--nproc_per_node={ranks}", args),
        capture_output=True,
        timeout=400,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HAPI_PRUNE_CACHE": str(folder / "cache")},
    )
    assert done.returncode == 0, f"{done.stderr.decode()[-1000:]}\n{logs(folder)}"


def logs(folder):
    files = sorted((folder / "logs").glob("workerlog.*"))
    return "\n".join(path.read_text(errors="replace")[-3000:] for path in files)


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


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What each of two ranks found in each part of ranks_run.py."""
    folder = tmp_path_factory.mktemp("parts")
    launch(2, folder, folder / "end", script=PARTS)
    return results(folder / "end", 2)


def part(parts, name):
    found = [each[name] for each in parts]
    assert not any("error" in each for each in found), found[0].get("error")
    return found


def test_the_times_of_rank_0_count_on_all(parts):
    first, other = part(parts, "latency")
    assert first["trained"] == other["trained"]
    assert first["predicted"] == other["predicted"]
    assert first["measured"] > 0 and other["measured"] == 0


def test_sync_batch_norm(parts):
    told = parts[0]["sync_batch_norm"].get("error", "")
    if "sync_batch_norm_, input: x, x.dtype: float32, and expected_dtype:" in told:
        pytest.skip("Paddle has no SyncBatchNorm on a CPU: no kernel of sync_batch_norm_ for any type")
    found = part(parts, "sync_batch_norm")
    assert found[0]["trained"] == found[1]["trained"]
    assert [each["cuts"] for each in found] == [2, 2]
    assert found[0]["norm"] == [4, 4]


def test_accumulation_ends_with_its_epoch_on_every_rank(parts):
    """So no cut of a fit comes between two batches of one, though the batches do not come out even."""
    found = part(parts, "accumulate")
    assert found[0]["trained"] == found[1]["trained"]
    assert [each["cuts"] for each in found] == [2, 2]
    assert [each["left"] for each in found] == [[0.0] * 3] * 2


def test_a_cut_within_no_sync_keeps_what_each_rank_has_gathered(parts):
    """In a loop of one's own: each rank has other gradients then, and goes on with those of the filters that stay."""
    found = part(parts, "no_sync")
    assert all(each["gathered"] for each in found)
    assert found[0]["local"] != found[1]["local"]
    assert found[0]["trained"] == found[1]["trained"]


def test_what_the_wrappers_of_before_a_cut_cost(parts):
    """Each keeps one buffer as large as the network was, and all go with the network."""
    for each in part(parts, "retired"):
        assert each["count"] == 12
        assert each["gone"]
        sizes = [size for _, size in each["memory"]]
        for epoch, (held, size) in enumerate(each["memory"]):
            # Now: parameters, gradients, velocity, and the wrapper's buffer.
            assert held <= 4 * size + sum(sizes[:epoch]) + 20_000


def test_rank_0_decides_what_is_taken_back(parts):
    found = part(parts, "budget")
    assert found[0]["tries"] == [[0.25, False], [0.5, True], [0.375, False]]
    assert found[0]["width"] == 5
    assert found[0] == found[1]


# Two hosts


def namespaces():
    """Two network namespaces with a wire between them, as two hosts; yields their names."""
    names = [f"hp{os.getpid()}{end}" for end in "ab"]
    wires = [f"v{os.getpid()}{end}" for end in "ab"]
    steps = [f"netns add {name}" for name in names]
    steps += [f"link add {wires[0]} netns {names[0]} type veth peer name {wires[1]} netns {names[1]}"]
    for number, (name, wire) in enumerate(zip(names, wires), 1):
        steps += [f"-n {name} addr add 10.77.0.{number}/24 dev {wire}"]
        steps += [f"-n {name} link set {each} up" for each in ("lo", wire)]
    try:
        for step in steps:
            done = subprocess.run(["ip", *step.split()], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespaces here: ip {step}: {done.stderr.strip()}")
        yield list(zip(names, wires))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def hosts():
    if shutil.which("ip") is None:
        pytest.skip("needs `ip`")
    yield from namespaces()


def test_two_hosts(hosts, tmp_path):
    """Each knows of the other only by its address: rank 0's plan, and the same numbers on both."""
    running = []
    for number, (name, wire) in enumerate(hosts, 1):
        options = ["--master=10.77.0.1:6170", "--nnodes=2", "--nproc_per_node=1", f"--host=10.77.0.{number}"]
        args = command(tmp_path / f"host{number}", PARTS, *options, [tmp_path / "end", "accumulate"])
        env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": wire}
        running.append(subprocess.Popen(["ip", "netns", "exec", name, *args], env=env, stdout=-3, stderr=-3))
    try:
        codes = [process.wait(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
    assert codes == [0, 0], "\n".join(logs(tmp_path / f"host{number}") for number in (1, 2))
    found = [json.loads((tmp_path / f"end.{rank}").read_text(encoding="utf-8")) for rank in (0, 1)]
    assert [each["world"] for each in found] == [2, 2]
    assert found[0]["accumulate"]["cuts"] == 2
    assert found[0]["accumulate"]["trained"] == found[1]["accumulate"]["trained"]


def test_one_rank_agrees_with_itself():
    plan = PruningPlan({"conv.weight": (0, 2)})
    assert ranks.ranks() == 1
    assert ranks.agree(plan) is plan
    assert ranks.gathered(3) == [3]
    assert ranks.all_alike(())
    assert not ranks.all_alike(None)


class Ranks:
    """Two ranks in one process: what the other one sends is given."""

    def __init__(self, monkeypatch, other):
        monkeypatch.setattr(ranks, "ranks", lambda: 2)
        monkeypatch.setattr(ranks, "gathered", lambda value: [value, other(value)])


def test_a_cut_is_only_kept_where_all_ranks_set_the_same(monkeypatch):
    for theirs, alike in ((("'num' of 'block'",), True), ((), False), (None, False)):
        Ranks(monkeypatch, lambda ours, theirs=theirs: theirs)
        assert ranks.all_alike(("'num' of 'block'",)) is alike


def test_a_difference_names_the_tensor(monkeypatch):
    import paddle

    tensors = {"a": paddle.ones([2]), "b": paddle.zeros([3])}
    Ranks(monkeypatch, lambda digests: dict(digests))
    ranks.compare(tensors, "parameter")
    Ranks(monkeypatch, lambda digests: {**digests, "b": "other"})
    with pytest.raises(PruneError, match=r"parameter 'b': rank 1 holds other numbers than rank 0"):
        ranks.compare(tensors, "parameter")
