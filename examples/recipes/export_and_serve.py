"""Prune, export, and run the exported program with Paddle Inference.

python examples/recipes/export_and_serve.py
"""

from __future__ import annotations

import os

import common
import numpy as np
from paddle import inference

from hapi_prune import OneShot, PruneCallback, export


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    model = common.model(args)
    export(model.network, "served/dense", [None, *args.shape])
    callback = PruneCallback(OneShot(1, 0.5), target="flops", verbose=0)
    model.fit(train, val, epochs=args.epochs, batch_size=64, callbacks=[callback], verbose=0)
    print(export(model.network, "served/pruned", [None, *args.shape], beside="served/dense"))  # both timed, in turn

    files = sorted(name for name in os.listdir("served") if name.startswith("pruned."))
    program = next(name for name in files if name.endswith((".json", ".pdmodel")))
    weights = next(name for name in files if name.endswith("params"))
    predictor = inference.create_predictor(inference.Config(f"served/{program}", f"served/{weights}"))
    image, label = val[0]
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(image.numpy()[None])
    predictor.run()
    scores = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    print(f"a {label.item()} is taken for a {int(np.argmax(scores))}")


if __name__ == "__main__":
    main()
