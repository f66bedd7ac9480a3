"""What the callback prints."""

from __future__ import annotations

import pytest
from callbacks import quiet
from fits import HARMLESS, Images, build, fit

from hapi_prune import PruneCallback
from hapi_prune.reporting.record import event_table

pytestmark = HARMLESS


def test_silent(capfd):
    fit(build(), quiet({1: 0.25, 2: 0.5}, log_dir="log"), eval_data=Images(8, 1))
    assert capfd.readouterr() == ("", "")


def test_a_table_for_each_event_and_one_at_the_end(capsys):
    callback = PruneCallback({1: 0.25, 2: 0.5})
    fit(build(), callback, eval_data=Images(8, 1))
    plan = "Filters removed by the beginning of epoch 2: 25.0%, 3: 50.0%\n"
    tables = [*map(event_table, callback.history), callback.history.table()]
    assert capsys.readouterr().out == plan + "".join(f"{table}\n" for table in tables)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ({1: {"conv1": 0.5}}, "Filters removed by the beginning of epoch 2: by layer\n"),
        ({1: 0.0}, "No cut is due.\nNothing was pruned.\n"),
    ],
)
def test_other_words(schedule, text, capsys):
    fit(build(), PruneCallback(schedule))
    assert capsys.readouterr().out.startswith(text)
