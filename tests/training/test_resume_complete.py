"""A run that had already ended is started once more, as by a scheduler: it is complete, and says so."""

from __future__ import annotations

import paddle
import pytest
from fits import HARMLESS, Images, build, end, fit, same

from hapi_prune import PruneCallback, PruneError, resume

pytestmark = HARMLESS


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_run_that_had_ended_is_complete(evaluated, capsys):
    with paddle.utils.unique_name.guard():
        model, callback = build(), PruneCallback({1: 0.25, 2: 0.5}, verbose=0)
        fit(model, callback, epochs=3, eval_data=Images(8, 1), save_dir="ckpt")
        ended, history = end(model), callback.history
    with paddle.utils.unique_name.guard():
        model, callback = build(), PruneCallback({1: 0.25, 2: 0.5})
        done = resume(model, callback, "ckpt/2")
        assert done == resume(model, callback, "ckpt/2") == 3  # asked twice, it is the same
        fit(model, callback, epochs=3 - done, eval_data=Images(8, 1) if evaluated else None, save_dir="ckpt")
    said = capsys.readouterr().out
    assert "The run is complete: its 3 epochs are done." in said
    assert history.table() in said
    assert same(end(model)["weights"], ended["weights"])
    assert callback.history.to_json() == history.to_json()
    assert "fit" not in vars(model)


def test_a_run_of_no_epochs_at_all_is_still_an_error():
    with pytest.raises(PruneError, match="fit\\(epochs=...\\): 0"):
        fit(build(), PruneCallback({1: 0.5}, verbose=0), epochs=0)
