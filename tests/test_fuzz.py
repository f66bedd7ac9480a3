"""Files that are damaged or made up: what reads them says so in a PruneError, and changes nothing, or succeeds.

``HAPI_PRUNE_FUZZ=100000 pytest tests/test_fuzz.py`` tries that many files on each reader of JSON, and a hundredth
of it on what also reads arrays.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import paddle
import pytest
from fits import HARMLESS, SHAPE, Images, build, end, fit, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hapi_prune import History, PruneCallback, PruneError, PruningPlan, load, resume
from hapi_prune.internals import random_state
from hapi_prune.training import fit_state as state_of_hapi
from hapi_prune.training.atomic_save import NOTE, last_complete, read_note
from hapi_prune.training.note import note_from

pytestmark = HARMLESS

FUZZ = int(os.environ.get("HAPI_PRUNE_FUZZ", "200"))


def tried(strategy, refused, share=1):
    """Runs a function of one argument on many drawn values; the same ones each time.

    It says of each whether it was refused. At least the share ``refused`` must be: a reader that takes anything fails.
    """
    off = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    options = settings(
        max_examples=max(FUZZ // share, 40), deadline=None, derandomize=True, database=None, suppress_health_check=off
    )

    def run(function):
        answers = []

        @options
        @given(strategy)
        def each(value):
            answers.append(function(value))

        each()
        assert len(answers) >= 40 and set(answers) == {True, False}
        assert sum(answers) >= refused * len(answers), f"{sum(answers)} of {len(answers)} were refused"

    return run


# Values, and documents of them that look like ours

numbers = st.integers() | st.integers(-2, 3) | st.floats() | st.sampled_from([2**31, 2**63, 2**64, -1, 10**400, 1e308])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=8) | st.sampled_from(["nan", "inf", "", "0", "\ud800"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(document, here=()):
    """The way to each value of a document."""
    yield here
    if isinstance(document, dict):
        for key in document:
            yield from places(document[key], (*here, key))
    elif isinstance(document, list):
        for number in range(min(len(document), 4)):
            yield from places(document[number], (*here, number))


def changed(document, place, value, how):
    """A document with another value at a place, or without one, or with one more."""
    if not place:
        return value
    first, *rest = place
    result = dict(document) if isinstance(document, dict) else list(document)
    if rest:
        result[first] = changed(document[first], rest, value, how)
    elif how == "drop":
        del result[first]
    elif how == "more" and isinstance(result, dict):
        result[str(first) + "x"] = value
    elif how == "more":
        result.insert(first, value)
    else:
        result[first] = value
    return result


def documents(sane):
    """Texts: any values, any bytes, and what becomes of a sane document with one to three changes."""
    change = st.tuples(st.sampled_from(list(places(sane))), values, st.sampled_from(["set", "set", "drop", "more"]))

    def edited(changes):
        document = sane
        for place, value, how in changes:
            with suppress(KeyError, IndexError, TypeError, AttributeError):  # an earlier change took the place away
                document = changed(document, place, value, how)
        return json.dumps(document).encode("utf-8", "replace")

    near = st.lists(change, min_size=1, max_size=3).map(edited)
    return near | values.map(lambda value: json.dumps(value).encode("utf-8", "replace")) | damaged(sane_bytes(sane))


def sane_bytes(sane):
    return json.dumps(sane).encode()


def damaged(data):
    """Bytes with some overwritten, cut off, left out or doubled."""

    def hurt(draw):
        start, length, how, noise = draw
        start = start % (len(data) + 1)
        stop = min(start + length, len(data))
        parts = {
            "write": data[:start] + noise + data[start + len(noise) :],
            "cut": data[:start],
            "leave out": data[:start] + data[stop:],
            "double": data[:stop] + data[start:],
        }
        return parts[how]

    how = st.sampled_from(["write", "write", "cut", "leave out", "double"])
    return st.tuples(st.integers(0, 2**24), st.integers(0, 40), how, st.binary(min_size=1, max_size=8)).map(hurt)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The checkpoints of a run with two cuts."""
    folder = tmp_path_factory.mktemp("run")
    paddle.seed(0)
    with paddle.utils.unique_name.guard():
        model, callback = fresh()
        fit(model, callback, epochs=3, eval_data=Images(8, 1), save_dir=str(folder / "ckpt"))
    return folder / "ckpt"


def fresh():
    rate = paddle.optimizer.lr.StepDecay(0.01, 2)
    model = build(optimizer=lambda parameters: paddle.optimizer.Adam(rate, parameters=parameters))
    return model, PruneCallback({1: 0.25, 2: 0.5}, verbose=0)


def note(saved):
    return json.loads((saved / f"2{NOTE}").read_text(encoding="utf-8"))


# What reads JSON


@pytest.mark.slow
def test_any_history(saved):
    @tried(documents(json.loads(note(saved)["history"])), refused=0.7)
    def holds(data):
        try:
            history = History.from_json(data.decode("utf-8", "replace"))
        except PruneError:
            return True
        again = History.from_json(history.to_json())
        assert again.to_json() == history.to_json()
        assert history.table()
        assert history.markdown()
        assert all(str(record) for record in history)
        return False


def test_any_plan(saved):
    record = json.loads(note(saved)["history"])["records"][0]

    @tried(documents(record["plan"]), refused=0.6)
    def holds(data):
        try:
            plan = PruningPlan.from_json(data.decode("utf-8", "replace"))
        except PruneError:
            return True
        assert PruningPlan.from_json(plan.to_json()) == plan
        return False


@pytest.mark.slow
def test_any_note(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "ckpt")
    file = tmp_path / "ckpt" / f"2{NOTE}"

    @tried(documents(note(saved)), refused=0.5)
    def holds(data):
        file.write_bytes(data)
        found = last_complete(str(tmp_path / "ckpt"))
        assert found in (str(tmp_path / "ckpt" / "2"), str(tmp_path / "ckpt" / "1"))
        try:
            note_from(read_note(str(tmp_path / "ckpt" / "2")), "ckpt/2")
        except PruneError:
            return True
        return False


def test_any_memory_of_hapi(saved):
    sane = note(saved)["memory"]
    sane["callbacks"] = [["EarlyStopping", {"wait_epoch": 1.0, "best_value": 0.5, "stopped_epoch": 0.0}]]
    assert state_of_hapi.MEMORY_READER(json.loads(json.dumps(sane)))

    @tried(documents(sane), refused=0.5)
    def holds(data):
        try:
            state_of_hapi.MEMORY_READER(json.loads(data))
        except (ValueError, RecursionError):
            return True
        return False


def test_any_generators():
    sane = random_state.RandomState.now().to_plain()

    @tried(documents(sane), refused=0.7, share=4)
    def holds(data):
        before = random_state.RandomState.now().to_plain()
        try:
            saved = json.loads(data)
        except (ValueError, RecursionError):
            return True
        try:
            random_state.restore(saved)
        except PruneError:
            assert random_state.RandomState.now().to_plain() == before
            return True
        np.random.rand(700)  # from wherever they are now
        paddle.rand([3])
        random_state.restore(before)
        return False


@pytest.mark.parametrize("place", [-1, 625, 10**6, 2**70])
def test_a_place_outside_of_numpys_generator_is_not_gone_to(place):
    """NumPy itself looks at it no more, and would read there."""
    before = random_state.RandomState.now().to_plain()
    kind, keys, _, *rest = before["numpy"]
    with pytest.raises(PruneError, match="random generators"):
        random_state.restore({**before, "numpy": [kind, keys, place, *rest]})
    assert random_state.RandomState.now().to_plain() == before


@pytest.mark.parametrize(
    ("field", "value"), [("seconds", 10**400), ("ratio", [10**400]), ("widths", {"a": None})], ids=lambda _: ""
)
def test_values_that_no_number_can_be_made_of(saved, field, value):
    history = json.loads(note(saved)["history"])
    history["records"][0][field] = value
    with pytest.raises(PruneError, match="History.from_json"):
        History.from_json(json.dumps(history))


# What reads arrays, too


def silent(action):
    """Paddle and hapi may warn of what they make of a damaged file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action()


@pytest.mark.slow
def test_any_note_in_resume(saved, tmp_path):
    """With the right network: the run goes on, or nothing has been changed."""
    shutil.copytree(saved, tmp_path / "ckpt")
    file = tmp_path / "ckpt" / f"2{NOTE}"

    @tried(documents(note(saved)), refused=0.5, share=100)
    def holds(data):
        file.write_bytes(data)
        with paddle.utils.unique_name.guard():
            model, callback = fresh()
            before = end(model)
            try:
                done = resume(model, callback, tmp_path / "ckpt" / "2")
            except PruneError:
                assert same(end(model), before)
                return True
            try:
                silent(lambda: fit(model, callback, epochs=1))
            except PruneError as error:
                assert "random generators" in str(error) or "schedule" in str(error)  # noqa: PT017
            assert done >= 1
            return False


@pytest.mark.slow
@pytest.mark.parametrize("part", [".pdparams", ".pdopt"])
def test_any_bytes_for_arrays(saved, tmp_path, part):
    """`load` unpickles, as paddle.load does, and no more is promised: what it reads must come from someone you trust.

    What is merely damaged is another matter.
    """
    base = tmp_path / "net"
    for each in (".pdparams", ".pdopt"):
        shutil.copy(saved / f"2{each}", f"{base}{each}")
    sane = Path(f"{base}{part}").read_bytes()

    @tried(damaged(sane) | st.binary(max_size=60), refused=0.6, share=100)
    def holds(data):
        Path(f"{base}{part}").write_bytes(data)
        with paddle.utils.unique_name.guard():
            model, _ = fresh()
            if part == ".pdopt":
                model.train_batch([np.zeros([2, *SHAPE], "float32")], [np.zeros([2, 1], "int64")])
            before, rate = end(model), model._optimizer.get_lr()
            try:
                silent(lambda: load(model, base))
            except PruneError:
                assert same(end(model), before)
                assert model._optimizer.get_lr() == rate
                return True
            return False


def test_optimizer_state_of_other_sizes_is_refused_at_once(saved, tmp_path):
    """And not by Paddle at the first step, or by nobody."""
    base = tmp_path / "net"
    shutil.copy(saved / "2.pdparams", f"{base}.pdparams")
    state = paddle.load(str(saved / "2.pdopt"))
    key = next(name for name in state if "conv2d_0.w_0_moment1" in name)
    state[key] = paddle.ones([8, 3, 3, 3])
    paddle.save(state, f"{base}.pdopt")
    with paddle.utils.unique_name.guard():
        model, _ = fresh()
        before, rate = end(model), model._optimizer.get_lr()
        with pytest.raises(PruneError, match="does not fit its parameter"):
            load(model, base)
        assert same(end(model), before)
        assert model._optimizer.get_lr() == rate


OTHERS = [7, None, "text", [1], {}, {"a": 1}, {"conv1.weight": "text"}, {"conv1.weight": np.array(["a"], dtype=object)}]
OTHERS += [{1: np.zeros(3)}, {"conv1.weight": np.zeros([4, 3, 3, 3], "complex64")}, np.zeros(3), {("a",): [np.ones(2)]}]


@pytest.mark.parametrize("number", range(len(OTHERS)))
@pytest.mark.parametrize("part", [".pdparams", ".pdopt", ".pdscaler"])
def test_pickles_of_something_else(saved, tmp_path, number, part):
    base = tmp_path / "net"
    for each in (".pdparams", ".pdopt"):
        shutil.copy(saved / f"2{each}", f"{base}{each}")
    Path(f"{base}{part}").write_bytes(pickle.dumps(OTHERS[number], protocol=4))
    with paddle.utils.unique_name.guard():
        model, _ = fresh()
        before = end(model)
        try:
            load(model, base)
        except PruneError:
            assert same(end(model), before)
        else:
            assert part == ".pdscaler" or not OTHERS[number]  # no scaler is in use; nothing is known of no state


def test_the_note_is_never_unpickled(saved, tmp_path):
    """A pickle that would run code does not, in the place of the note."""

    class Hostile:
        def __reduce__(self):
            return os.mkdir, ("hacked",)

    shutil.copytree(saved, tmp_path / "ckpt")
    for data in (pickle.dumps(Hostile()), pickle.dumps(Hostile(), protocol=0)):
        (tmp_path / "ckpt" / f"2{NOTE}").write_bytes(data)
        with pytest.raises(PruneError, match="cannot be read"):
            read_note(str(tmp_path / "ckpt" / "2"))
        assert last_complete(str(tmp_path / "ckpt")) == str(tmp_path / "ckpt" / "1")
    assert not os.path.exists("hacked")
