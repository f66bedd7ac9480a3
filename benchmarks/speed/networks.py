"""The networks that are measured: those of Paddle's zoo by name, generated ones, and narrow ones built from scratch."""

from __future__ import annotations

import paddle
from paddle import nn

SMALL = ("resnet18", "resnet50", "mobilenet_v1", "mobilenet_v2", "vgg16")


def zoo(name: str, classes: int = 1000) -> nn.Layer:
    """A network of ``paddle.vision.models``."""
    network: nn.Layer = getattr(paddle.vision.models, name)(num_classes=classes)
    return network


class Dense(nn.Layer):
    """A dense block: each layer sees all layers before it, and adds two channels."""

    def __init__(self, channels: int, layers: int, added: int = 2) -> None:
        super().__init__()
        widths = range(channels, channels + added * layers, added)
        self.layers = nn.LayerList([nn.Conv2D(width, added, 1) for width in widths])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for layer in self.layers:
            x = paddle.concat([x, nn.functional.relu(layer(x))], axis=1)
        return x


def chain(layers: int) -> nn.Layer:
    """Convolutions in a row."""
    parts = [part for _ in range(layers - 1) for part in (nn.Conv2D(8, 8, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), *parts, *head(8))


def dense_block(layers: int) -> nn.Layer:
    """One block for all: the channels that its layers read together grow with the square of how many there are."""
    return nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), Dense(8, layers - 1), *head(8 + 2 * (layers - 1)))


def dense_blocks(layers: int) -> nn.Layer:
    """Blocks of 15 layers and one that leads to the next."""
    block = [part for _ in range(layers // 16) for part in (Dense(8, 15), nn.Conv2D(38, 8, 1))]
    return nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), *block, *head(8))


def head(channels: int) -> list[nn.Layer]:
    """What stands at the end of a network."""
    return [nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(channels, 10)]


def narrow(network: nn.Layer, fresh: nn.Layer) -> nn.Layer:
    """A network built from scratch with the widths and the numbers of a pruned one.

    Args:
        network: pruned.
        fresh: the same network as it was before, made anew; its layers are replaced by new ones of the other's sizes.
    """
    sizes = dict(network.named_sublayers())
    for name, layer in list(fresh.named_sublayers()):
        made = built(sizes[name])
        if made is not None:
            parent, _, last = name.rpartition(".")
            owner = dict(fresh.named_sublayers(include_self=True))[parent]
            owner.add_sublayer(last, made)
        elif list(layer.parameters(include_sublayers=False)):
            raise ValueError(f"{name}: a {type(layer).__name__} cannot be built narrow here")
    fresh.set_state_dict({key: tensor.clone() for key, tensor in network.state_dict().items()})
    return fresh


def built(like: nn.Layer) -> nn.Layer | None:
    """A new layer with the sizes of ``like``; None where it has no parameters of its own."""
    if isinstance(like, nn.Conv2D):
        filters, channels = like.weight.shape[:2]
        bias = None if like.bias is not None else False
        groups = like._groups
        return nn.Conv2D(
            channels * groups, filters, like._kernel_size, like._stride, like._padding, like._dilation, groups,
            bias_attr=bias,
        )  # fmt: skip
    if isinstance(like, nn.BatchNorm2D):
        return nn.BatchNorm2D(like.weight.shape[0], like._momentum, like._epsilon)
    if isinstance(like, nn.Linear):
        return nn.Linear(*like.weight.shape, bias_attr=None if like.bias is not None else False)
    return None


class HeadsAsWritten(nn.Layer):
    """Attention by convolutions. Its code says how many channels a head has: queries, keys and values have to stay."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2D(width, size, 1) for size in (32, 32, 64))
        self.project = nn.Conv2D(64, width, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        height, width = x.shape[2:]
        query, key = (conv(x).reshape([-1, 4, 8, height * width]) for conv in (self.query, self.key))
        weights = nn.functional.softmax(paddle.matmul(query, key, transpose_x=True) * 0.35, -1)
        value = self.value(x).reshape([-1, 4, 16, height * width])
        attended = paddle.matmul(value, weights, transpose_y=True).reshape([-1, 64, height, width])
        return x + self.project(attended)


class HybridBlock(nn.Layer):
    """An inverted residual block, then attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.norm = nn.Conv2D(width, 2 * width, 1, bias_attr=False), nn.BatchNorm2D(2 * width)
        self.depthwise = nn.Conv2D(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.down, self.attention = nn.Conv2D(2 * width, width, 1), HeadsAsWritten(width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        wide = nn.functional.relu(self.norm(self.up(x)))
        return self.attention(x + self.down(self.depthwise(wide)))


def hybrid(blocks: int) -> nn.Layer:
    """A stem that divides an image by 16, and blocks of seven convolutions with attention."""
    widths = (3, 32, 64, 96, 128)
    stem = [nn.Sequential(nn.Conv2D(one, other, 3, 2, 1), nn.ReLU()) for one, other in zip(widths, widths[1:])]
    head = (nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(128, 10))
    return nn.Sequential(*stem, *(HybridBlock(128) for _ in range(blocks)), *head)
