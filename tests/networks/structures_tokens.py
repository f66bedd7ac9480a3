"""Tokens and recurrent layers."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from structures import Chain, conv, conv_bn, pooled, structure

# Tokens


def tokens(x: paddle.Tensor) -> paddle.Tensor:
    """``[N, C, H, W]`` as ``[N, H W, C]``."""
    return x.flatten(2).transpose([0, 2, 1])


@structure("a channels.2 b", approximate=True)
class TokenMixer(nn.Layer):
    """MLP-Mixer's block behind a convolution: one Linear over the places, one over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8, 2, stride=2, padding=0), conv(8, 6)
        self.norm, self.places = nn.LayerNorm(8), nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16))
        self.channels = nn.Sequential(nn.Linear(8, 20), nn.GELU(), nn.Linear(20, 8))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = tokens(self.a(x))
        x = x + self.places(self.norm(x).transpose([0, 2, 1])).transpose([0, 2, 1])
        x = (x + self.channels(x)).transpose([0, 2, 1]).reshape([x.shape[0], -1, 4, 4])
        return self.head(pooled(F.relu(self.b(x))))


class Attention(nn.Layer):
    """Multi-head attention as vision transformers write it, with its width kept in an attribute."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, places, width = x.shape
        qkv = self.qkv(x).reshape([n, places, 3, self.heads, width // self.heads]).transpose([2, 0, 3, 1, 4])
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = F.softmax(paddle.matmul(q, k, transpose_y=True) * self.scale, axis=-1)
        return self.proj(paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([n, places, width]))


@structure(
    "stem patch attention.0.qkv attention.1.qkv attention.0.proj attention.1.proj mlp.0.2 mlp.1.2", approximate=True
)
class VisionTransformer(nn.Layer):
    """A convolutional stem, a patch embedding, a class token, positions, two blocks.

    The heads' width is computed from the width of the tokens, and that of qkv's results has to be three times as
    much: they shrink together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.patch = conv(8, 12, 2, stride=2, padding=0)
        self.token, self.places = self.create_parameter([1, 1, 12]), self.create_parameter([1, 17, 12])
        self.norms = nn.LayerList([nn.LayerNorm(12) for _ in range(4)])
        self.attention = nn.LayerList([Attention(12, 2) for _ in range(2)])
        self.mlp = nn.LayerList([nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12)) for _ in range(2)])
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = tokens(self.patch(self.stem(x)))
        x = paddle.concat([self.token.expand([x.shape[0], -1, -1]), x], axis=1) + self.places
        for n in range(2):
            x = x + self.attention[n](self.norms[2 * n](x))
            x = x + self.mlp[n](self.norms[2 * n + 1](x))
        return self.head(x[:, 0])


@structure("a q k v out b")
class AttentionOverPlaces(Chain):
    """Non-local block: 1x1 convolutions for query, key and value, and a sum back."""

    def __init__(self) -> None:
        super().__init__(8)
        self.q, self.k, self.v, self.out = conv(8, 4, 1), conv(8, 4, 1), conv(8, 4, 1), conv(4, 8, 1)

    def middle(self, x):
        n, _, h, w = x.shape
        q, k, v = (layer(x).flatten(2) for layer in (self.q, self.k, self.v))
        weights = F.softmax(paddle.bmm(q.transpose([0, 2, 1]), k), axis=-1)
        return x + self.out(paddle.bmm(v, weights.transpose([0, 2, 1])).reshape([n, -1, h, w]))


@structure(
    "b",
    {"a": "does not run at other sizes", "qkv": "does not run at other sizes", "proj": "does not run at other sizes"},
)
class DotProductAttention(Chain):
    """F.scaled_dot_product_attention on a convolution's channels: its scale is computed from the width."""

    def __init__(self) -> None:
        super().__init__(8)
        self.qkv, self.proj = conv(8, 24, 1), conv(8, 8, 1)

    def middle(self, x):
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).flatten(2).transpose([0, 2, 1]).reshape([n, h * w, 3, 2, c // 2]).unbind(2)
        out = F.scaled_dot_product_attention(q, k, v).flatten(2).transpose([0, 2, 1]).reshape([n, c, h, w])
        return x + self.proj(out)


@structure("a attention.out_proj b")
class MultiHead(Chain):
    """paddle.nn.MultiHeadAttention keeps its width in attributes."""

    def __init__(self) -> None:
        super().__init__(8)
        self.attention = nn.MultiHeadAttention(8, 2)

    def middle(self, x):
        y = self.attention(tokens(x))
        return x + y.transpose([0, 2, 1]).reshape(x.shape)


@structure("a b")
class Einsum(Chain):
    """A 1x1 convolution and a bilinear form, written as einsums."""

    def __init__(self) -> None:
        super().__init__(8)
        self.weight = self.create_parameter([8, 8])

    def middle(self, x):
        y = paddle.einsum("nchw,dc->ndhw", x, self.weight)
        places = paddle.einsum("nchw,nckl->nhwkl", x, y)
        return y + paddle.einsum("nhwkl,nckl->nchw", places, x) * 0.01


# Recurrent layers


@structure("a b", inputs=[2, 1, 8, 16])
class ConvRecurrent(nn.Layer):
    """CRNN: convolutions, height folded into the channels, width as time, two directions, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.pool = nn.MaxPool2D(2)
        self.rnn = nn.LSTM(6 * 2, 7, num_layers=2, direction="bidirect")
        self.head = nn.Linear(14, 5)

    def forward(self, x):
        x = self.pool(self.b(self.pool(self.a(x))))
        x = x.flatten(1, 2).transpose([0, 2, 1])
        return self.head(self.rnn(x)[0])


@structure("a b", inputs=[2, 1, 8, 16])
class GatedRecurrent(nn.Layer):
    """A GRU over the width, time first, and a plain RNN over its results."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.gru, self.rnn = nn.GRU(6, 7, time_major=True), nn.SimpleRNN(7, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.b(self.a(x)).mean(2).transpose([2, 0, 1])
        return self.head(self.rnn(self.gru(x)[0].transpose([1, 0, 2]))[0][:, -1])


@structure("a", {"b": "step in time"}, inputs=[2, 1, 8, 16])
class ChannelsAsTime(nn.Layer):
    """The channels are the steps in time."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.rnn, self.head = nn.LSTM(8, 7), nn.Linear(7, 5)

    def forward(self, x):
        return self.head(self.rnn(self.b(self.a(x)).mean(3))[0][:, -1])


@structure("a", {"b": "values of tensors decide"}, inputs=[2, 1, 8, 16])
class CellByCell(nn.Layer):
    """paddle.nn.RNN around a cell is a loop in the program."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(1, 8), conv_bn(8, 6)
        self.rnn, self.head = nn.RNN(nn.GRUCell(6, 7)), nn.Linear(7, 5)

    def forward(self, x):
        return self.head(self.rnn(self.b(self.a(x)).mean(2).transpose([0, 2, 1]))[0].mean(1))


class WholeHeads(nn.Layer):
    """Attention whose heads have a written width, and are as many as come out of it: whole heads go."""

    def __init__(self, dim=16, width=4) -> None:
        super().__init__()
        self.a, self.q, self.k, self.v = conv(3, dim), conv(dim, dim, 1), conv(dim, dim, 1), conv(dim, dim, 1)
        self.out, self.b, self.head, self.head_dim = conv(dim, dim, 1), conv(dim, 6), nn.Linear(6, 5), width
        self.scale = self.create_parameter([dim // width, 1, 1], default_initializer=nn.initializer.Constant(0.5))

    def heads(self, x):
        n, _, h, w = x.shape
        return [layer(x).reshape([n, -1, self.head_dim, h * w]) for layer in (self.q, self.k, self.v)]

    def attend(self, q, k, v):
        weights = F.softmax(paddle.matmul(q, k, transpose_x=True) * self.scale, axis=-1)
        return paddle.matmul(v, weights, transpose_y=True)

    def forward(self, x):
        x = F.relu(self.a(x))
        n, _, h, w = x.shape
        x = x + self.out(self.attend(*self.heads(x)).reshape([n, -1, h, w]))
        return self.head(pooled(F.relu(self.b(x))))


structure("a q k v out b")(WholeHeads)


@structure("a qkv out b")
class WholeHeadsOfOne(WholeHeads):
    """The same from one convolution, three parts of each head side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = conv(16, 48, 1)
        del self.q, self.k, self.v

    def heads(self, x):
        n, _, h, w = x.shape
        x = self.qkv(x).reshape([n, -1, 3 * self.head_dim, h * w])
        width = self.head_dim
        return [x[:, :, width * n : width * (n + 1)] for n in range(3)]


@structure("a qkv out b")
class LinearHeads(WholeHeadsOfOne):
    """Without a softmax: a row of ones beside the values sums up the weights, and is taken off again."""

    def attend(self, q, k, v):
        q, k, v = F.relu(q), F.relu(k), F.pad(v, [0, 0, 0, 1], value=1.0)
        out = paddle.matmul(paddle.matmul(v, k, transpose_y=True) * self.scale, q)
        return out[:, :, :-1] / (out[:, :, -1:] + 1e-3)


@structure("a qkv out b")
class LinearHeadsOfTheirNumber(LinearHeads):
    """The same with a written number of heads, which all lose as many channels."""

    def heads(self, x):
        n, c, h, w = x.shape
        return self.qkv(x).reshape([n, 4, 3 * c // 4, h * w]).chunk(3, axis=2)
