"""A run of its own for the tests of resuming and of many ranks; not a test itself.

    python training_run.py FOLDER RESULT [EPOCHS]

Trains for 8 epochs, pruning in epochs 1, 3 and 6, and writes what it ended with to RESULT. It goes on with the last
complete checkpoint in FOLDER; with EPOCHS it stops after so many, as if it had been interrupted.
"""

import hashlib
import json
import os
import sys
import warnings

import numpy as np
import paddle
from paddle import nn

import hapi_prune

TOTAL = 8


class Data(paddle.io.Dataset):
    """Noise that is drawn anew each time, so that the state of NumPy's generator shows."""

    def __getitem__(self, index):
        image = np.random.RandomState(index).standard_normal((3, 12, 12)) + 0.1 * np.random.standard_normal()
        return image.astype("float32"), np.array([index % 5])

    def __len__(self):
        return 48


class Pause(paddle.callbacks.Callback):
    """Ends the run early."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = self.last is not None and epoch >= self.last


def network():
    layers = [nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8), nn.ReLU()]
    layers += [nn.Conv2D(8, 16, 3, padding=1), nn.BatchNorm2D(16), nn.ReLU(), nn.AdaptiveAvgPool2D(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(16, 5))


def digest(value):
    return hashlib.sha256(np.asarray(value).tobytes()).hexdigest()


def main(folder, result, stop=None):
    warnings.simplefilter("ignore")
    paddle.set_device("cpu")
    paddle.seed(0)
    np.random.seed(0)
    model = paddle.Model(network(), [paddle.static.InputSpec([None, 3, 12, 12], "float32", "image")])
    rate = paddle.optimizer.lr.CosineAnnealingDecay(0.05, T_max=60)
    optimizer = paddle.optimizer.Momentum(rate, parameters=model.parameters(), weight_decay=1e-4)
    model.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy(topk=(1, 2)))
    callback = hapi_prune.PruneCallback({1: 0.25, 3: 0.5, 6: 0.6}, criterion="fpgm", verbose=0)
    done = hapi_prune.resume(model, callback, folder) if os.path.isdir(folder) else 0
    pause = Pause(None if stop is None else int(stop) - done - 1)
    if done == TOTAL:
        return
    model.fit(
        Data(), Data(), epochs=TOTAL - done, batch_size=6, verbose=0, save_dir=folder, callbacks=[callback, pause]
    )
    if stop is None:
        state = {name: digest(value.numpy()) for name, value in model.network.state_dict().items()}
        history = json.loads(callback.history.to_json())
        for record in history["records"]:
            record["seconds"] = 0
        kept = {k: digest(v) for k, v in optimizer.state_dict().items() if not isinstance(v, dict)}
        found = {"done": done, "state": state, "optimizer": kept, "history": history}
        rank = paddle.distributed.ParallelEnv().local_rank
        with open(f"{result}.{rank}", "w", encoding="utf-8") as file:
            json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
