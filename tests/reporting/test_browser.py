"""The page of a history, opened in a real browser where there is one: the curves are there to see."""

from __future__ import annotations

from browser import IN_A_BROWSER, opened, pixels
from fits import HARMLESS, Images, build, fit

from hapi_prune import PruneCallback

CURVE = (232, 89, 12)
"""The colour in which the metric is drawn."""

pytestmark = [*HARMLESS, *IN_A_BROWSER]


def test_the_page_of_a_history_shows_its_curves(tmp_path):
    model, callback = build(), PruneCallback({1: 0.25, 2: 0.5}, verbose=0)
    fit(model, callback, eval_data=Images(8, 1))
    page = tmp_path / "run.html"
    callback.history.to_html(page)
    with opened(page.as_uri(), tmp_path) as tab:
        drawn = tab.until(lambda: pixels(tab.seen(), CURVE), lambda found: found > 200)
    assert drawn > 200, f"{drawn} pixels have the colour of the curve"

    bare = tmp_path / "bare.html"
    bare.write_text("<html><body><h1>nothing</h1></body></html>", encoding="utf-8")
    with opened(bare.as_uri(), tmp_path) as tab:
        assert tab.until(lambda: tab.ask("document.body.innerText"), bool) == "nothing"
        assert not pixels(tab.seen(), CURVE)
