"""Convolutions and attention side by side, and convolutions whose weights or places are computed."""

from __future__ import annotations

import paddle
from backbones import ConvBNLayer, DropPath, Head, Mlp, backbone, trunc_normal_, zeros_
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from paddle.vision.ops import DeformConv2D


@backbone(6)
class MobileViT(nn.Layer):
    """Patches unfolded by reshapes with ``paddle.shape``, a transformer, folded back, fused with what came."""

    def __init__(self, dim=12) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2 = (
            ConvBNLayer(3, 8, 3, 2, act="swish"),
            ConvBNLayer(8, 8),
            nn.Conv2D(8, dim, 1),
        )
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.q, self.k, self.v, self.proj = (
            nn.Linear(dim, 16),
            nn.Linear(dim, 16),
            nn.Linear(dim, 16),
            nn.Linear(16, dim),
        )
        self.mlp, self.conv3, self.conv4 = Mlp(dim, 20, nn.Silu), ConvBNLayer(dim, 8, 1), ConvBNLayer(16, 8)
        self.last, self.head, self.patch = ConvBNLayer(8, 16, 1), Head(16), 2

    def unfolded(self, x):
        p = self.patch
        b, c, h, w = x.shape
        x = x.reshape([b * c * (h // p), p, w // p, p]).transpose([0, 2, 1, 3])
        return x.reshape([b, c, -1, p * p]).transpose([0, 3, 2, 1]).flatten(0, 1)

    def forward(self, x):
        x = self.stem(x)
        y = self.conv2(self.conv1(x))
        b, c, h, w = y.shape
        z = self.unfolded(y)
        t = self.norm1(z)
        q, k, v = (f(t).reshape([0, 0, 2, 8]).transpose([0, 2, 1, 3]) for f in (self.q, self.k, self.v))
        t = F.softmax(paddle.matmul(q, k, transpose_y=True) * 0.35, axis=-1).matmul(v).transpose([0, 2, 1, 3])
        z = z + self.proj(t.reshape([0, 0, 16]))
        z = self.norm3(z + self.mlp(self.norm2(z)))
        p = self.patch
        z = z.reshape([b, p * p, -1, c]).transpose([0, 3, 2, 1]).reshape([b * c * (h // p), w // p, p, p])
        z = z.transpose([0, 2, 1, 3]).reshape([b, c, h, w])
        return self.head(self.last(self.conv4(paddle.concat((x, self.conv3(z)), axis=1))))


@backbone(7)
class MobileViTV2(nn.Layer):
    """Separable attention: one channel of scores, keys and values split from one 1x1; F.unfold and F.fold."""

    def __init__(self, dim=12) -> None:
        super().__init__()
        self.stem, self.proj, self.dim = ConvBNLayer(3, 8, 3, 2), nn.Conv2D(8, dim, 1, bias_attr=False), dim
        self.norm, self.qkv, self.out = nn.GroupNorm(1, dim), nn.Conv2D(dim, 1 + 2 * dim, 1), nn.Conv2D(dim, dim, 1)
        self.ffn = nn.Sequential(nn.GroupNorm(1, dim), nn.Conv2D(dim, 24, 1), nn.Swish(), nn.Conv2D(24, dim, 1))
        self.back, self.head = ConvBNLayer(dim, 8, 1, act=None), Head(8)

    def forward(self, x):
        x = self.stem(x)
        y = self.proj(x)
        b, c, h, w = y.shape
        y = F.unfold(y, 2, strides=2).reshape([b, c, 4, -1])
        q, k, v = paddle.split(self.qkv(self.norm(y)), [1, self.dim, self.dim], axis=1)
        context = (k * F.softmax(q, axis=-1)).sum(axis=-1, keepdim=True)
        y = y + self.out(F.relu(v) * context.expand_as(v))
        y = y + self.ffn(y)
        y = F.fold(y.reshape([b, c * 4, -1]), output_sizes=[h, w], kernel_sizes=2, strides=2)
        return self.head(self.back(y))


@backbone(3)
class EdgeNeXt(nn.Layer):
    """Split depthwise encoder: parts convolved one after the other; attention across the channels."""

    def __init__(self, dim=16, scales=2) -> None:
        super().__init__()
        width = dim // scales
        self.stem, self.width, self.heads = nn.Conv2D(3, dim, 4, 4), width, 2
        self.convs = nn.LayerList([nn.Conv2D(width, width, 3, padding=1, groups=width) for _ in range(scales - 1)])
        self.norm_xca, self.temperature = nn.LayerNorm(dim), self.create_parameter([2, 1, 1])
        self.qkv, self.proj, self.norm = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.mlp, self.last, self.head = Mlp(dim, 24), ConvBNLayer(dim, 8), Head(8)

    def forward(self, x):
        x = self.stem(x)
        shortcut = x
        spx = paddle.chunk(x, len(self.convs) + 1, axis=1)
        out = sp = spx[0]
        for i, conv in enumerate(self.convs):
            sp = conv(sp if i == 0 else sp + spx[i])
            out = sp if i == 0 else paddle.concat((out, sp), 1)
        x = paddle.concat((out, spx[-1]), 1)
        b, c, h, w = x.shape
        x = x.reshape([b, c, h * w]).transpose([0, 2, 1])
        qkv = self.qkv(self.norm_xca(x)).reshape([b, h * w, 3, self.heads, c // self.heads]).transpose([2, 0, 3, 1, 4])
        q, k, v = (t.transpose([0, 1, 3, 2]) for t in qkv)
        q, k = F.normalize(q, axis=-1), F.normalize(k, axis=-1)
        attn = F.softmax(q.matmul(k.transpose([0, 1, 3, 2])) * self.temperature, axis=-1)
        x = x + self.proj(attn.matmul(v).transpose([0, 3, 1, 2]).reshape([b, h * w, c]))
        x = x.reshape([b, h, w, c])
        x = self.mlp(self.norm(x)).transpose([0, 3, 1, 2])
        return self.head(self.last(shortcut + x))


@backbone(7)
class CoAtNet(nn.Layer):
    """MBConv with a pooled shortcut, then attention with a table of relative biases on the image's tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.s0 = nn.Sequential(ConvBNLayer(3, 8, 3, 2, act="gelu"), ConvBNLayer(8, 8, act="gelu"))
        self.pre, self.expand, self.dw = (
            nn.BatchNorm2D(8),
            ConvBNLayer(8, 16, 1, act="gelu"),
            ConvBNLayer(16, 16, 3, 2, 16),
        )
        self.fc = nn.Sequential(nn.Linear(16, 4), nn.GELU(), nn.Linear(4, 16), nn.Sigmoid())
        self.project, self.short = ConvBNLayer(16, 12, 1, act=None), nn.Conv2D(8, 12, 1, bias_attr=False)
        self.norm, self.q, self.kv, self.proj = (
            nn.LayerNorm(12),
            nn.Linear(12, 12),
            nn.Linear(12, 24),
            nn.Linear(12, 12),
        )
        self.table, self.last, self.head = self.create_parameter([15 * 15, 2]), ConvBNLayer(12, 8), Head(8)
        index = [(i // 8 - j // 8 + 7) * 15 + i % 8 - j % 8 + 7 for i in range(64) for j in range(64)]
        self.register_buffer("relative_index", paddle.to_tensor(index))

    def forward(self, x):
        x = self.s0(x)
        y = self.dw(self.expand(self.pre(x)))
        b, c = y.shape[:2]
        y = y * self.fc(F.adaptive_avg_pool2d(y, 1).reshape([b, c])).reshape([b, c, 1, 1])
        x = self.short(F.max_pool2d(x, 3, 2, 1)) + self.project(y)
        h, w = x.shape[2:]
        t = self.norm(x.flatten(2).transpose([0, 2, 1]))
        q = self.q(t).reshape([b, h * w, 2, -1]).transpose([0, 2, 1, 3])
        k, v = (p.reshape([b, h * w, 2, -1]).transpose([0, 2, 1, 3]) for p in paddle.chunk(self.kv(t), 2, axis=-1))
        bias = paddle.take_along_axis(self.table, self.relative_index.reshape([-1, 1]).tile([1, 2]), 0)
        bias = bias.reshape([h * w, h * w, 2]).transpose([2, 0, 1]).unsqueeze(0)
        out = F.softmax(q.matmul(k, transpose_y=True) * 0.4 + bias).matmul(v).transpose([0, 2, 1, 3]).flatten(2)
        x = x + self.proj(out).transpose([0, 2, 1]).reshape([b, -1, h, w])
        return self.head(self.last(x))


@backbone(5)
class CvT(nn.Layer):
    """Convolutional projections for query, key and value, the latter two strided; einsum attention."""

    def __init__(self, dim=12) -> None:
        super().__init__()
        self.embed, self.norm0, self.norm1 = nn.Conv2D(3, dim, 7, 4, 2), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.conv_proj_q, self.conv_proj_k, self.conv_proj_v = (
            nn.Sequential(nn.Conv2D(dim, dim, 3, s, 1, groups=dim, bias_attr=False), nn.BatchNorm2D(dim))
            for s in (1, 2, 2)
        )
        self.proj_q, self.proj_k, self.proj_v, self.proj = (nn.Linear(dim, dim) for _ in range(4))
        self.mlp, self.norm2, self.last, self.head = Mlp(dim, 24), nn.LayerNorm(dim), ConvBNLayer(dim, 8), Head(8)

    def forward(self, x):
        x = self.embed(x)
        b, c, h, w = x.shape
        t = self.norm0(x.flatten(2).transpose([0, 2, 1]))
        y = self.norm1(t).transpose([0, 2, 1]).reshape([b, c, h, w])
        q, k, v = (
            lin(conv(y).flatten(2).transpose([0, 2, 1])).reshape([b, -1, 2, c // 2]).transpose([0, 2, 1, 3])
            for conv, lin in (
                (self.conv_proj_q, self.proj_q), (self.conv_proj_k, self.proj_k), (self.conv_proj_v, self.proj_v)
            )
        )  # fmt: skip
        score = F.softmax(paddle.einsum("bhlk,bhtk->bhlt", q, k) * 0.4, axis=-1)
        out = paddle.einsum("bhlt,bhtv->bhlv", score, v).transpose([0, 2, 1, 3]).reshape([b, -1, c])
        t = t + self.proj(out)
        t = t + self.mlp(self.norm2(t))
        return self.head(self.last(t.transpose([0, 2, 1]).reshape([b, -1, h, w])))


@backbone(6)
class BoTNet(nn.Layer):
    """Attention over places inside of a bottleneck, with relative positions learnt for height and width."""

    def __init__(self, dim=12, heads=2, size=8) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.stem, self.conv1, self.conv3 = (
            ConvBNLayer(3, 16, 4, 4),
            ConvBNLayer(16, dim, 1),
            ConvBNLayer(dim, 16, 1, act=None),
        )
        self.query, self.key, self.value = nn.Conv2D(dim, dim, 1), nn.Conv2D(dim, dim, 1), nn.Conv2D(dim, dim, 1)
        self.rel_h = self.create_parameter([1, heads, dim // heads, 1, size], default_initializer=trunc_normal_)
        self.rel_w = self.create_parameter([1, heads, dim // heads, size, 1], default_initializer=trunc_normal_)
        self.head = Head(16)

    def forward(self, x):
        x = self.stem(x)
        y = self.conv1(x)
        n, c, h, w = y.shape
        q, k, v = (f(y).reshape([n, self.heads, c // self.heads, -1]) for f in (self.query, self.key, self.value))
        content = paddle.matmul(q.transpose([0, 1, 3, 2]), k)
        position = (self.rel_h + self.rel_w).reshape([1, self.heads, c // self.heads, -1]).transpose([0, 1, 3, 2])
        attention = F.softmax(content + paddle.matmul(position, q), axis=-1)
        out = paddle.matmul(v, attention.transpose([0, 1, 3, 2])).reshape([n, c, h, w])
        return self.head(F.relu(x + self.conv3(out)))


@backbone(5)
class NonLocalNet(nn.Layer):
    """Embedded Gaussian, sub-sampled keys, a BatchNorm that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.theta, self.phi, self.g = ConvBNLayer(3, 16, 4, 4), *(nn.Conv2D(16, 8, 1) for _ in range(3))
        self.w, self.bn, self.head = (
            nn.Conv2D(8, 16, 1),
            nn.BatchNorm2D(16, weight_attr=nn.initializer.Constant(0.0)),
            Head(16),
        )

    def forward(self, x):
        x = self.stem(x)
        n, c = x.shape[:2]
        theta = self.theta(x).reshape([n, c // 2, -1])
        phi = F.max_pool2d(self.phi(x), 2, 2).reshape([n, c // 2, -1])
        g = F.max_pool2d(self.g(x), 2, 2).reshape([n, c // 2, -1])
        affinity = F.softmax(paddle.matmul(theta, phi, transpose_x=True), axis=-1)
        t = paddle.matmul(g, affinity.transpose([0, 2, 1])).reshape([n, c // 2, *x.shape[2:]])
        return self.head(self.bn(self.w(t)) + x)


@backbone(5)
class NonLocalFree(NonLocalNet):
    """The same with the widths left to ``reshape``."""

    def forward(self, x):
        x = self.stem(x)
        theta, phi, g = (f(x).flatten(2) for f in (self.theta, self.phi, self.g))
        affinity = F.softmax(paddle.matmul(theta, phi, transpose_x=True), axis=-1)
        t = paddle.matmul(g, affinity.transpose([0, 2, 1])).reshape([0, -1, *x.shape[2:]])
        return self.head(self.bn(self.w(t)) + x)


@backbone(5)
class LambdaNet(nn.Layer):
    """Lambda layers: content lambdas by einsum, position lambdas by a 3-D convolution over the values."""

    def __init__(self, dim=16, k=4, heads=2) -> None:
        super().__init__()
        self.stem, self.k, self.heads = ConvBNLayer(3, dim, 4, 4), k, heads
        self.to_q, self.to_k, self.to_v = (
            nn.Conv2D(dim, k * heads, 1),
            nn.Conv2D(dim, k, 1),
            nn.Conv2D(dim, dim // heads, 1),
        )
        self.norm_q, self.norm_v = nn.BatchNorm2D(k * heads), nn.BatchNorm2D(dim // heads)
        self.pos_conv, self.head = nn.Conv3D(1, k, (1, 3, 3), padding=(0, 1, 1)), Head(dim)

    def forward(self, x):
        x = self.stem(x)
        b, _c, h, w = x.shape
        q = self.norm_q(self.to_q(x)).reshape([b, self.heads, self.k, h * w])
        k = F.softmax(self.to_k(x).reshape([b, self.k, h * w]), axis=-1)
        v = self.norm_v(self.to_v(x)).reshape([b, -1, h * w])
        content = paddle.einsum("bkm,bvm->bkv", k, v)
        out = paddle.einsum("bhkn,bkv->bhvn", q, content)
        pos = self.pos_conv(v.reshape([b, 1, -1, h, w])).flatten(3)
        out = out + paddle.einsum("bhkn,bkvn->bhvn", q, pos)
        return self.head(F.relu(out.reshape([b, -1, h, w])))


@backbone(4, {"conv2": "laid out in another way"})
class InvolutionNet(nn.Layer):
    """Kernels made from each place, applied to its neighbourhood by unfold."""

    def __init__(self, dim=16, size=3, groups=4) -> None:
        super().__init__()
        self.stem, self.size, self.groups = ConvBNLayer(3, dim, 4, 4), size, groups
        self.conv1, self.conv2 = ConvBNLayer(dim, dim // 4, 1), nn.Conv2D(dim // 4, size * size * groups, 1)
        self.mid, self.last, self.head = ConvBNLayer(dim, dim, 1), ConvBNLayer(dim, 8), Head(8)

    def forward(self, x):
        x = self.mid(self.stem(x))
        weight = self.conv2(self.conv1(x))
        b, _c, h, w = weight.shape
        weight = weight.reshape((b, self.groups, self.size**2, h, w)).unsqueeze(2)
        out = F.unfold(x, self.size, 1, (self.size - 1) // 2, 1)
        out = out.reshape((b, self.groups, x.shape[1] // self.groups, self.size**2, h, w))
        out = (weight * out).sum(axis=3).reshape((b, -1, h, w))
        return self.head(self.last(F.relu(out)))


@backbone(3, {"conv_offset": "steers what is done"})
class DeformableNet(nn.Layer):
    """Modulated deformable convolution: offsets and masks from one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mid = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 12)
        self.conv_offset = nn.Conv2D(12, 27, 3, padding=1, weight_attr=nn.initializer.Constant(0.0))
        self.conv_dcn, self.bn = DeformConv2D(12, 12, 3, padding=1, bias_attr=False), nn.BatchNorm2D(12)
        self.last, self.head = ConvBNLayer(12, 8), Head(8)

    def forward(self, x):
        x = self.mid(self.stem(x))
        offset_mask = self.conv_offset(x)
        offset, mask = paddle.split(offset_mask, num_or_sections=[18, 9], axis=1)
        x = F.relu(self.bn(self.conv_dcn(x, offset, mask=F.sigmoid(mask))))
        return self.head(self.last(x))


@backbone(4, {"flow_make": "a value of fixed size"})
class FlowAlign(nn.Layer):
    """Deformable sampling written with grid_sample: an offset for each place warps a deeper map."""

    def __init__(self) -> None:
        super().__init__()
        self.high, self.low = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 12, 3, 2)
        self.down, self.flow_make = nn.Conv2D(12, 8, 1), nn.Conv2D(16, 2, 3, padding=1, bias_attr=False)
        self.last, self.head = ConvBNLayer(8, 8), Head(8)

    def forward(self, x):
        high = self.high(x)
        low = self.down(self.low(high))
        size = paddle.shape(high)[2:]
        up = F.interpolate(low, size=size, mode="bilinear", align_corners=True)
        flow = self.flow_make(paddle.concat([up, high], axis=1)).transpose([0, 2, 3, 1])
        h, w = high.shape[2:]
        grid = paddle.stack(paddle.meshgrid(paddle.linspace(-1, 1, h), paddle.linspace(-1, 1, w))[::-1], axis=-1)
        grid = grid.unsqueeze(0) + flow / paddle.to_tensor([[[[float(w), float(h)]]]])
        return self.head(self.last(high + F.grid_sample(low, grid, align_corners=True)))


@backbone(3)
class CondConv(nn.Layer):
    """A weight for each image, mixed from experts; the batch goes into the groups."""

    def __init__(self, experts=3) -> None:
        super().__init__()
        self.stem, self.mid, self.route = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 8), nn.Linear(8, experts)
        self.weight = self.create_parameter([experts, 12, 8, 3, 3], default_initializer=nn.initializer.KaimingNormal())
        self.last, self.head = ConvBNLayer(12, 8), Head(8)

    def forward(self, x):
        x = self.mid(self.stem(x))
        b, c, h, w = x.shape
        attention = F.softmax(self.route(F.adaptive_avg_pool2d(x, 1).flatten(1)))
        weight = paddle.mm(attention, self.weight.reshape([3, -1])).reshape([-1, c, 3, 3])
        x = F.conv2d(x.reshape([1, -1, h, w]), weight, padding=1, groups=b)
        return self.head(self.last(F.relu(x.reshape([b, -1, h, w]))))


@backbone(5, {"route": "fixed size"})
class DynamicSum(nn.Layer):
    """The same idea as a weighted sum of the results of several convolutions."""

    def __init__(self, experts=3) -> None:
        super().__init__()
        self.stem, self.experts = (
            ConvBNLayer(3, 8, 3, 2),
            nn.LayerList([nn.Conv2D(8, 12, 3, padding=1) for _ in range(experts)]),
        )
        self.route, self.last, self.head = nn.Conv2D(8, experts, 1), ConvBNLayer(12, 8), Head(8)

    def forward(self, x):
        x = self.stem(x)
        weights = F.softmax(self.route(F.adaptive_avg_pool2d(x, 1)), axis=1).unsqueeze(2)
        outs = paddle.stack([conv(x) for conv in self.experts], axis=1)
        return self.head(self.last((outs * weights).sum(axis=1)))


@backbone(5)
class NFNet(nn.Layer):
    """Scaled weight standardisation in forward, no norms, squeeze and excitation, skip-init gain."""

    class WSConv2D(nn.Conv2D):
        def __init__(self, *args, **more) -> None:
            super().__init__(*args, **more)
            self.gain = self.create_parameter(
                [self.weight.shape[0], 1, 1, 1], default_initializer=nn.initializer.Constant(1.0)
            )

        def forward(self, x):
            mean = paddle.mean(self.weight, axis=[1, 2, 3], keepdim=True)
            var = paddle.var(self.weight, axis=[1, 2, 3], keepdim=True)
            fan_in = self.weight.shape[1] * self.weight.shape[2] * self.weight.shape[3]
            scale = paddle.rsqrt(paddle.maximum(var * fan_in, paddle.to_tensor(1e-4))) * self.gain
            weight = self.weight * scale - mean * scale
            return F.conv2d(x, weight, self.bias, self._stride, self._padding, self._dilation, self._groups)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv0 = self.WSConv2D(3, 12, 3, stride=2, padding=1), self.WSConv2D(12, 8, 1)
        self.conv1, self.conv2 = self.WSConv2D(8, 8, 3, padding=1, groups=2), self.WSConv2D(8, 12, 1)
        self.fc, self.fc1 = nn.Linear(12, 4), nn.Linear(4, 12)
        self.skip_gain, self.last, self.head = (
            self.create_parameter([1], default_initializer=zeros_),
            self.WSConv2D(12, 8, 1),
            Head(8),
        )
        self.drop = DropPath(0.0)

    def forward(self, x):
        x = self.stem(x)
        y = self.conv2(F.gelu(self.conv1(F.gelu(self.conv0(F.gelu(x) / 0.9)))))
        se = F.sigmoid(self.fc1(F.relu(self.fc(y.mean((2, 3))))))
        y = 2.0 * paddle.unsqueeze(paddle.unsqueeze(se, -1), -1) * y
        return self.head(F.gelu(self.last(x + self.drop(y) * self.skip_gain * 0.2)))


@backbone(4)
class TResNet(nn.Layer):
    """Space to depth by reshape and transpose, anti-aliased downsampling with a fixed filter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = ConvBNLayer(48, 8, act="leaky_relu"), ConvBNLayer(8, 12, act="leaky_relu")
        row = paddle.to_tensor([1.0, 2.0, 1.0])
        kernel = (row.unsqueeze(1) * row.unsqueeze(0)) / 16.0
        self.register_buffer("filt", kernel.unsqueeze([0, 1]).tile([12, 1, 1, 1]))
        self.conv3, self.last, self.head = ConvBNLayer(12, 12, 1, act=None), ConvBNLayer(12, 8), Head(8)

    def forward(self, x):
        n, c, h, w = x.shape
        x = x.reshape([n, c, h // 4, 4, w // 4, 4]).transpose([0, 3, 5, 1, 2, 4]).reshape([n, c * 16, h // 4, w // 4])
        x = self.conv2(self.conv1(x))
        x = x + self.conv3(x)
        x = F.conv2d(F.pad(x, [1, 1, 1, 1], mode="reflect"), self.filt, stride=2, padding=0, groups=x.shape[1])
        return self.head(self.last(x))


@backbone(4)
class TwinsSVT(nn.Layer):
    """Locally grouped attention, positions from a depthwise convolution, global attention on a strided map."""

    def __init__(self, dim=12, heads=2) -> None:
        super().__init__()
        self.patch, self.norm, self.heads = nn.Conv2D(3, dim, 4, 4), nn.LayerNorm(dim), heads
        self.lq, self.lk, self.lv = (nn.Linear(dim, 8) for _ in range(3))
        self.pos = nn.Conv2D(dim, dim, 3, 1, 1, groups=dim)
        self.last, self.head = ConvBNLayer(dim, 8), Head(8)
        self.out, self.sr, self.gq, self.gkv, self.gout = (
            nn.Linear(8, dim), nn.Conv2D(dim, dim, 2, 2), nn.Linear(dim, 8), nn.Linear(dim, 16), nn.Linear(8, dim)
        )  # fmt: skip

    def forward(self, x):
        x = self.patch(x)
        b, c, h, w = x.shape
        ws = 4
        t = self.norm(x.flatten(2).transpose([0, 2, 1])).reshape([b, h // ws, ws, w // ws, ws, c])
        t = t.transpose([0, 1, 3, 2, 4, 5]).reshape([b, h // ws * (w // ws), ws * ws, c])
        q, k, v = (f(t).reshape([b, -1, ws * ws, 2, 4]).transpose([0, 1, 3, 2, 4]) for f in (self.lq, self.lk, self.lv))
        t = F.softmax((q @ k.transpose([0, 1, 2, 4, 3])) * 0.5, axis=-1) @ v
        t = self.out(
            t.transpose([0, 1, 3, 2, 4]).reshape([b, h // ws, w // ws, ws, ws, 8]).transpose([0, 1, 3, 2, 4, 5])
        )
        x = x + t.reshape([b, h, w, c]).transpose([0, 3, 1, 2])
        x = self.pos(x) + x
        q = self.gq(x.flatten(2).transpose([0, 2, 1])).reshape([b, h * w, 2, 4]).transpose([0, 2, 1, 3])
        y = self.sr(x).flatten(2).transpose([0, 2, 1])
        k, v = self.gkv(y).reshape([b, -1, 2, 2, 4]).transpose([2, 0, 3, 1, 4]).unbind(0)
        t = F.softmax(q @ k.transpose([0, 1, 3, 2]) * 0.5, axis=-1) @ v
        x = x + self.gout(t.transpose([0, 2, 1, 3]).flatten(2)).transpose([0, 2, 1]).reshape([b, -1, h, w])
        return self.head(self.last(x))


@backbone(1)
class TNT(nn.Layer):
    """Transformer in transformer: pixels inside of each patch, their result added to the patch."""

    def __init__(self, inner=8, outer=16) -> None:
        super().__init__()
        self.proj, self.patch = nn.Conv2D(3, inner, 3, 2, 1), 4
        self.norm_in, self.mlp_in, self.proj_norm = nn.LayerNorm(inner), Mlp(inner, 12), nn.LayerNorm(inner * 16)
        self.pixel_pos = self.create_parameter([1, inner, 4, 4], default_initializer=zeros_)
        self.to_outer, self.norm, self.mlp, self.head = (
            nn.Linear(inner * 16, outer),
            nn.LayerNorm(outer),
            Mlp(outer, 20),
            nn.Linear(outer, 5),
        )

    def forward(self, x):
        x = self.proj(x)
        b, c = x.shape[:2]
        x = F.unfold(x, self.patch, self.patch).transpose([0, 2, 1]).reshape([b * 16, c, 4, 4]) + self.pixel_pos
        pixels = x.reshape([b * 16, c, 16]).transpose([0, 2, 1])
        pixels = pixels + self.mlp_in(self.norm_in(pixels))
        patches = self.to_outer(self.proj_norm(pixels.reshape([b, 16, -1])))
        patches = patches + self.mlp(self.norm(patches))
        return self.head(patches.mean(1))


@backbone(4)
class CSWin(nn.Layer):
    """Half of the channels attend in rows, half in columns; a depthwise convolution adds positions to the values."""

    def __init__(self, dim=16) -> None:
        super().__init__()
        self.embed, self.norm, self.qkv = (
            nn.Conv2D(3, dim, 7, 4, 2),
            nn.LayerNorm(dim),
            nn.Linear(dim, 3 * dim, bias_attr=False),
        )
        self.lepe = nn.LayerList([nn.Conv2D(dim // 2, dim // 2, 3, 1, 1, groups=dim // 2) for _ in range(2)])
        self.proj, self.last, self.head = nn.Linear(dim, dim), ConvBNLayer(dim, 8), Head(8)

    def stripes(self, q, k, v, lepe, rows):
        b, c, _h, _w = q.shape
        perm = [0, 2, 3, 1] if rows else [0, 3, 2, 1]
        pe = lepe(v)
        q, k, v = (t.transpose(perm).reshape([-1, 8, c]) for t in (q, k, v))
        out = F.softmax(q @ k.transpose([0, 2, 1]) * 0.3, axis=-1) @ v
        out = out.reshape([b, 8, 8, c]).transpose([0, 3, 1, 2] if rows else [0, 3, 2, 1])
        return out + pe

    def forward(self, x):
        x = self.embed(x)
        b, c, h, w = x.shape
        t = x.flatten(2).transpose([0, 2, 1])
        qkv = self.qkv(self.norm(t)).reshape([b, -1, 3, c]).transpose([2, 0, 3, 1]).reshape([3, b, c, h, w])
        halves = [self.stripes(*qkv[:, :, : c // 2].unbind(0), self.lepe[0], True)]
        halves.append(self.stripes(*qkv[:, :, c // 2 :].unbind(0), self.lepe[1], False))
        y = self.proj(paddle.concat(halves, axis=1).flatten(2).transpose([0, 2, 1]))
        return self.head(self.last((t + y).transpose([0, 2, 1]).reshape([b, -1, h, w])))


@backbone(7)
class Conformer(nn.Layer):
    """A convolutional branch and a branch of tokens, coupled both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2 = ConvBNLayer(3, 8, 4, 4), ConvBNLayer(8, 8, 1), ConvBNLayer(8, 8)
        self.conv_project, self.ln, self.mlp = nn.Conv2D(8, 12, 1), nn.LayerNorm(12, epsilon=1e-6), Mlp(12, 20)
        self.cls_token = self.create_parameter([1, 1, 12], default_initializer=trunc_normal_)
        self.trans_patch, self.up, self.bn = nn.Conv2D(3, 12, 8, 8), nn.Conv2D(12, 8, 1), nn.BatchNorm2D(8)
        self.conv3, self.conv_head, self.trans_head = ConvBNLayer(8, 12), nn.Linear(12, 5), nn.Linear(12, 5)

    def forward(self, x):
        image, x = x, self.stem(x)
        t = self.trans_patch(image).flatten(2).transpose([0, 2, 1])
        t = paddle.concat([self.cls_token.expand([t.shape[0], -1, -1]), t], axis=1)
        y = self.conv2(self.conv1(x))
        down = F.avg_pool2d(self.conv_project(y), 2, 2).flatten(2).transpose([0, 2, 1])
        down = F.gelu(self.ln(down))
        down = paddle.concat([t[:, 0].unsqueeze(1), down], axis=1)
        t = t + self.mlp(t + down)
        b, _, c = t.shape
        up = t[:, 1:].transpose([0, 2, 1]).reshape([b, c, 4, 4])
        up = F.interpolate(F.relu(self.bn(self.up(up))), size=(8, 8))
        x = self.conv3(y + up)
        return [self.conv_head(F.adaptive_avg_pool2d(x, 1).flatten(1)), self.trans_head(t[:, 0])]


@backbone(5)
class MobileFormer(nn.Layer):
    """A few learnt tokens read the image and steer its activations."""

    def __init__(self, tokens=3, dim=12) -> None:
        super().__init__()
        self.stem, self.expand = ConvBNLayer(3, 8, 4, 4), ConvBNLayer(8, 16, 1, act=None)
        self.dw, self.project = ConvBNLayer(16, 16, groups=16, act=None), ConvBNLayer(16, 8, 1, act=None)
        self.tokens = self.create_parameter([1, tokens, dim], default_initializer=trunc_normal_)
        self.q, self.proj, self.mlp, self.steer = (
            nn.Linear(dim, 8),
            nn.Linear(8, dim),
            Mlp(dim, 20),
            nn.Linear(dim, 2 * 16),
        )
        self.k, self.v, self.out = nn.Linear(dim, 8), nn.Linear(dim, 8), nn.Linear(8, 8)
        self.last, self.head, self.cls = ConvBNLayer(8, 12, 1), Head(12), nn.Linear(dim, 5)

    def forward(self, x):
        x = self.stem(x)
        b, _, _h, _w = x.shape
        t = self.tokens.expand([b, -1, -1])
        kv = x.flatten(2)
        attn = F.softmax(paddle.matmul(self.q(t), kv) * 0.35, axis=-1)
        t = t + self.proj(paddle.matmul(attn, kv.transpose([0, 2, 1])))
        t = t + self.mlp(t)
        y = self.expand(x)
        steer = (2 * F.sigmoid(self.steer(t[:, 0])) - 1).reshape([b, 2, y.shape[1]])
        y = paddle.maximum(y * (steer[:, 0] + 1).unsqueeze([2, 3]), y * steer[:, 1].unsqueeze([2, 3]))
        y = self.project(self.dw(y))
        q = y.flatten(2).transpose([0, 2, 1])
        attn = F.softmax(paddle.matmul(q, self.k(t), transpose_y=True) * 0.35, axis=-1)
        y = y + self.out(paddle.matmul(attn, self.v(t))).transpose([0, 2, 1]).reshape(y.shape)
        return self.head(self.last(x + y)) + self.cls(t[:, 0])
