"""Half of the filters of a ResNet-18, gradually: AGP, most of it early, while the network can still heal.

python examples/recipes/gradual.py
"""

from __future__ import annotations

import common
from paddle import nn
from paddle.vision.models import resnet18

from hapi_prune import Polynomial, PruneCallback


def main() -> None:
    args = common.arguments(__doc__)
    train, val = common.data(args)
    network = resnet18(num_classes=10)
    network.conv1 = nn.Conv2D(args.shape[0], 64, 3, 2, 1, bias_attr=False)  # a stem for small images
    model = common.model(args, network)
    schedule = Polynomial(ratio=0.5, start=1, end=max(args.epochs - 3, 2))  # s(t) = s_f + (s_i - s_f)(1 - progress)^3
    callback = PruneCallback(schedule, criterion="fpgm")
    print(schedule.preview(args.epochs))
    model.fit(train, val, epochs=args.epochs, batch_size=64, callbacks=[callback], verbose=0)


if __name__ == "__main__":
    main()
