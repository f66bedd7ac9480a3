"""Attention over places, windows and channels, and the mixers that came of it."""

from __future__ import annotations

import numpy as np
import paddle
from backbones import OUTPUT, ConvBNLayer, DropPath, Head, Mlp, backbone, trunc_normal_, zeros_
from paddle import nn
from paddle.nn import functional as F  # noqa: N812


class PatchEmbed(nn.Layer):
    """Image to tokens."""

    def __init__(self, ins=3, dim=16, size=8, norm=False) -> None:
        super().__init__()
        self.proj = nn.Conv2D(ins, dim, kernel_size=size, stride=size)
        self.norm = nn.LayerNorm(dim) if norm else None

    def forward(self, x):
        x = self.proj(x).flatten(2).transpose((0, 2, 1))
        return self.norm(x) if self.norm is not None else x


class Attention(nn.Layer):
    """As PaddleClas writes it for ViT: sizes from the input, the number of heads from an attribute."""

    def __init__(self, dim, num_heads=2) -> None:
        super().__init__()
        self.num_heads, self.scale = num_heads, (dim // num_heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)

    def forward(self, x):
        n, c = x.shape[1:3]
        qkv = self.qkv(x).reshape((-1, n, 3, self.num_heads, c // self.num_heads)).transpose((2, 0, 3, 1, 4))
        q, k, v = qkv[0], qkv[1], qkv[2]
        attn = nn.functional.softmax((q.matmul(k.transpose((0, 1, 3, 2)))) * self.scale, axis=-1)
        return self.proj((attn.matmul(v)).transpose((0, 2, 1, 3)).reshape((-1, n, c)))


class Block(nn.Layer):
    def __init__(self, dim, attention=Attention, ratio=2) -> None:
        super().__init__()
        self.norm1, self.attn, self.drop_path = nn.LayerNorm(dim, epsilon=1e-6), attention(dim), DropPath(0.0)
        self.norm2, self.mlp = nn.LayerNorm(dim, epsilon=1e-6), Mlp(dim, dim * ratio)

    def forward(self, x):
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


@backbone(3)
class VisionTransformer(nn.Layer):
    """A convolutional stem, a patch embedding, a class token, positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.patch_embed = nn.Sequential(ConvBNLayer(3, 8), ConvBNLayer(8, 12)), PatchEmbed(12)
        self.pos_embed = self.create_parameter(shape=(1, 17, 16), default_initializer=zeros_)
        self.cls_token = self.create_parameter(shape=(1, 1, 16), default_initializer=zeros_)
        self.add_parameter("extra", self.create_parameter(shape=(1, 1, 16), default_initializer=trunc_normal_))
        self.blocks, self.norm, self.head = nn.LayerList([Block(16)]), nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x):
        batch = paddle.shape(x)[0]
        x = self.patch_embed(self.stem(x))
        cls_tokens = self.cls_token.expand((batch, -1, -1)).astype(x.dtype)
        x = paddle.concat((cls_tokens, x), axis=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


@backbone(4)
class Separate(nn.Layer):
    """Query, key and value from Linears of their own, the heads' width left to ``reshape``."""

    class Attention(nn.Layer):
        def __init__(self, dim, heads=2) -> None:
            super().__init__()
            self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))
            self.heads, self.scale = heads, 0.3

        def forward(self, x):
            q, k, v = (f(x).reshape([0, 0, self.heads, -1]).transpose([0, 2, 1, 3]) for f in (self.q, self.k, self.v))
            attn = F.softmax(paddle.matmul(q, k, transpose_y=True) * self.scale, axis=-1)
            return self.proj(paddle.matmul(attn, v).transpose([0, 2, 1, 3]).flatten(2))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.patch_embed = nn.Sequential(ConvBNLayer(3, 8), ConvBNLayer(8, 12)), PatchEmbed(12)
        self.block, self.norm, self.head = Block(16, self.Attention), nn.LayerNorm(16), nn.Linear(16, 5)
        self.fold = nn.Conv2D(16, 12, 3, padding=1)
        self.cls = nn.Linear(12, 5)

    def forward(self, x):
        x = self.norm(self.block(self.patch_embed(self.stem(x))))
        x = x.transpose([0, 2, 1]).reshape([paddle.shape(x)[0], -1, 4, 4])
        return self.cls(F.relu(self.fold(x)).mean(axis=[2, 3]))


def window_partition(x, size):
    _b, h, w, c = x.shape
    x = x.reshape([-1, h // size, size, w // size, size, c])
    return x.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, size, size, c])


def window_reverse(windows, size, h, w, c):
    x = windows.reshape([-1, h // size, w // size, size, size, c])
    return x.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, h, w, c])


class WindowAttention(nn.Layer):
    """A table of relative positions, looked up by an index kept as a buffer."""

    def __init__(self, dim, size=4, heads=2) -> None:
        super().__init__()
        self.dim, self.heads, self.size, self.scale = dim, heads, size, (dim // heads) ** -0.5
        self.relative_position_bias_table = self.create_parameter(
            shape=((2 * size - 1) ** 2, heads), default_initializer=trunc_normal_
        )
        coords = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")).reshape(2, -1)
        relative = (coords[:, :, None] - coords[:, None, :]).transpose(1, 2, 0) + size - 1
        index = relative[..., 0] * (2 * size - 1) + relative[..., 1]
        self.register_buffer("relative_position_index", paddle.to_tensor(index))
        self.qkv, self.proj, self.softmax = nn.Linear(dim, dim * 3), nn.Linear(dim, dim), nn.Softmax(axis=-1)

    def forward(self, x, mask=None):
        b, n, c = x.shape
        qkv = self.qkv(x).reshape([-1, n, 3, self.heads, c // self.heads]).transpose([2, 0, 3, 1, 4])
        q, k, v = qkv[0] * self.scale, qkv[1], qkv[2]
        attn = paddle.mm(q, k.transpose([0, 1, 3, 2]))
        bias = paddle.index_select(
            self.relative_position_bias_table, self.relative_position_index.reshape([-1]), axis=0
        ).reshape([n, n, -1])
        attn = attn + bias.transpose([2, 0, 1]).unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            attn = attn.reshape([-1, windows, self.heads, n, n]) + mask.unsqueeze(1).unsqueeze(0)
            attn = attn.reshape([-1, self.heads, n, n])
        x = paddle.mm(self.softmax(attn), v).transpose([0, 2, 1, 3]).reshape([b, n, c])
        return self.proj(x)


@backbone(2)
class SwinTransformer(nn.Layer):
    """Windows, shifted ones with a mask, and patch merging by strided slices."""

    class Block(nn.Layer):
        def __init__(self, dim, resolution, shift) -> None:
            super().__init__()
            self.size, self.shift, self.resolution = 4, shift, resolution
            self.norm1, self.attn, self.norm2, self.mlp = (
                nn.LayerNorm(dim),
                WindowAttention(dim),
                nn.LayerNorm(dim),
                Mlp(dim, 20),
            )
            h = resolution
            image = np.zeros((1, h, h, 1), "float32")
            for count, rows in enumerate((slice(0, -4), slice(-4, -2), slice(-2, None))):
                image[:, rows, :, :] = count
            mask = window_partition(paddle.to_tensor(image), 4).reshape((-1, 16))
            mask = mask.unsqueeze(1) - mask.unsqueeze(2)
            mask = paddle.where(mask != 0, paddle.ones_like(mask) * -100.0, paddle.zeros_like(mask))
            self.register_buffer("attn_mask", mask if shift else None)

        def forward(self, x):
            h = w = self.resolution
            _b, _, c = x.shape
            shortcut, x = x, self.norm1(x).reshape([-1, h, w, c])
            x = paddle.roll(x, shifts=(-self.shift, -self.shift), axis=(1, 2)) if self.shift else x
            windows = window_partition(x, self.size).reshape([-1, self.size * self.size, c])
            windows = self.attn(windows, mask=self.attn_mask).reshape([-1, self.size, self.size, c])
            x = window_reverse(windows, self.size, h, w, c)
            x = paddle.roll(x, shifts=(self.shift, self.shift), axis=(1, 2)) if self.shift else x
            x = shortcut + x.reshape([-1, h * w, c])
            return x + self.mlp(self.norm2(x))

    class PatchMerging(nn.Layer):
        def __init__(self, resolution, dim) -> None:
            super().__init__()
            self.resolution, self.reduction, self.norm = (
                resolution,
                nn.Linear(4 * dim, 2 * dim, bias_attr=False),
                nn.LayerNorm(4 * dim),
            )

        def forward(self, x):
            h = w = self.resolution
            _b, _, c = x.shape
            x = x.reshape([-1, h, w, c])
            x = paddle.concat([x[:, 0::2, 0::2, :], x[:, 1::2, 0::2, :], x[:, 0::2, 1::2, :], x[:, 1::2, 1::2, :]], -1)
            return self.reduction(self.norm(x.reshape([-1, h * w // 4, 4 * c])))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.patch_embed = ConvBNLayer(3, 8), PatchEmbed(8, 8, 4, norm=True)
        self.blocks = nn.LayerList([self.Block(8, 8, 0), self.Block(8, 8, 2)])
        self.merge, self.norm, self.avgpool = self.PatchMerging(8, 8), nn.LayerNorm(16), nn.AdaptiveAvgPool1D(1)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.patch_embed(self.stem(x))
        for block in self.blocks:
            x = block(x)
        x = self.norm(self.merge(x))
        x = self.avgpool(x.transpose([0, 2, 1]))
        return self.head(paddle.flatten(x, 1))


@backbone(4)
class PyramidVision(nn.Layer):
    """PVT: keys and values from a strided convolution over the tokens laid out as an image."""

    class Attention(nn.Layer):
        def __init__(self, dim, heads=2, sr_ratio=2) -> None:
            super().__init__()
            self.num_heads, self.dim, self.scale = heads, dim, 0.3
            self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, dim * 2), nn.Linear(dim, dim)
            self.sr, self.norm = nn.Conv2D(dim, dim, kernel_size=sr_ratio, stride=sr_ratio), nn.LayerNorm(dim)

        def forward(self, x, h=8, w=8):
            b, n, c = x.shape
            q = self.q(x).reshape([b, n, self.num_heads, c // self.num_heads]).transpose([0, 2, 1, 3])
            y = self.sr(x.transpose([0, 2, 1]).reshape([b, c, h, w])).reshape([b, c, -1]).transpose([0, 2, 1])
            kv = (
                self.kv(self.norm(y))
                .reshape([b, -1, 2, self.num_heads, c // self.num_heads])
                .transpose([2, 0, 3, 1, 4])
            )
            k, v = kv[0], kv[1]
            attn = F.softmax((q @ k.transpose([0, 1, 3, 2])) * self.scale, axis=-1)
            return self.proj((attn @ v).transpose([0, 2, 1, 3]).reshape([b, n, c]))

    class DWConvMlp(nn.Layer):
        def __init__(self, dim, hidden) -> None:
            super().__init__()
            self.fc1, self.dwconv, self.fc2 = (
                nn.Linear(dim, hidden),
                nn.Conv2D(hidden, hidden, 3, 1, 1, groups=hidden),
                nn.Linear(hidden, dim),
            )

        def forward(self, x, h=8, w=8):
            x = self.fc1(x)
            b, _n, c = x.shape
            x = self.dwconv(x.transpose([0, 2, 1]).reshape([b, c, h, w])).flatten(2).transpose([0, 2, 1])
            return self.fc2(F.gelu(x))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.patch_embed = ConvBNLayer(3, 8, stride=2), PatchEmbed(8, 16, 2, norm=True)
        self.block, self.norm, self.head = Block(16, self.Attention), nn.LayerNorm(16), nn.Linear(16, 5)
        self.block.mlp = self.DWConvMlp(16, 24)

    def forward(self, x):
        return self.head(self.norm(self.block(self.patch_embed(self.stem(x)))).mean(axis=1))


@backbone(3, {"linear_pred": OUTPUT})
class SegFormer(nn.Layer):
    """Mix transformer encoder with overlapping patches, and the all-MLP decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed1, self.embed2 = nn.Conv2D(3, 8, 7, stride=4, padding=3), nn.Conv2D(8, 16, 3, stride=2, padding=1)
        self.norms, self.mlps = (
            nn.LayerList([nn.LayerNorm(8), nn.LayerNorm(16)]),
            nn.LayerList([Mlp(8, 16), Mlp(16, 32)]),
        )
        self.linear_c1, self.linear_c2 = nn.Linear(8, 12), nn.Linear(16, 12)
        self.linear_fuse, self.linear_pred = ConvBNLayer(24, 12, 1), nn.Conv2D(12, 4, kernel_size=1)
        self.dropout = nn.Dropout2D(0.0)

    def stage(self, x, embed, n):
        x = embed(x)
        b, _c, h, w = paddle.shape(x)
        x = self.norms[n](x.flatten(2).transpose([0, 2, 1]))
        x = x + self.mlps[n](x)
        return x.transpose([0, 2, 1]).reshape([b, x.shape[-1], h, w])

    def forward(self, x):
        size = paddle.shape(x)[2:]
        c1 = self.stage(x, self.embed1, 0)
        c2 = self.stage(c1, self.embed2, 1)
        c1_shape, c2_shape = paddle.shape(c1), paddle.shape(c2)
        _c2 = (
            self.linear_c2(c2.flatten(2).transpose([0, 2, 1]))
            .transpose([0, 2, 1])
            .reshape([0, 0, c2_shape[2], c2_shape[3]])
        )
        _c2 = F.interpolate(_c2, size=c1_shape[2:], mode="bilinear", align_corners=False)
        _c1 = (
            self.linear_c1(c1.flatten(2).transpose([0, 2, 1]))
            .transpose([0, 2, 1])
            .reshape([0, 0, c1_shape[2], c1_shape[3]])
        )
        x = self.linear_pred(self.dropout(self.linear_fuse(paddle.concat([_c2, _c1], axis=1))))
        return [F.interpolate(x, size=size, mode="bilinear", align_corners=False)]


@backbone(4)
class ConvNeXtV2(nn.Layer):
    """Channels last, global response normalisation, LayerNorm by hand for channels first."""

    class LayerNormCF(nn.Layer):
        def __init__(self, dim, eps=1e-6) -> None:
            super().__init__()
            self.weight = self.create_parameter([dim], default_initializer=nn.initializer.Constant(1.0))
            self.bias, self.eps = self.create_parameter([dim], default_initializer=zeros_), eps

        def forward(self, x):
            u = x.mean(1, keepdim=True)
            s = (x - u).pow(2).mean(1, keepdim=True)
            x = (x - u) / paddle.sqrt(s + self.eps)
            return self.weight[:, None, None] * x + self.bias[:, None, None]

    class GRN(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.gamma = self.create_parameter([1, 1, 1, dim], default_initializer=zeros_)
            self.beta = self.create_parameter([1, 1, 1, dim], default_initializer=zeros_)

        def forward(self, x):
            gx = paddle.norm(x, p=2, axis=(1, 2), keepdim=True)
            nx = gx / (gx.mean(axis=-1, keepdim=True) + 1e-6)
            return self.gamma * (x * nx) + self.beta + x

    class Block(nn.Layer):
        def __init__(self, dim, grn) -> None:
            super().__init__()
            self.dwconv, self.norm = (
                nn.Conv2D(dim, dim, kernel_size=7, padding=3, groups=dim),
                nn.LayerNorm(dim, epsilon=1e-6),
            )
            self.pwconv1, self.grn, self.pwconv2 = nn.Linear(dim, 4 * dim), grn(4 * dim), nn.Linear(4 * dim, dim)
            self.drop_path = DropPath(0.0)

        def forward(self, x):
            shortcut = x
            x = self.norm(self.dwconv(x).transpose([0, 2, 3, 1]))
            x = self.pwconv2(self.grn(F.gelu(self.pwconv1(x))))
            return shortcut + self.drop_path(x.transpose([0, 3, 1, 2]))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2D(3, 8, 4, 4), self.LayerNormCF(8))
        self.block1, self.down = self.Block(8, self.GRN), nn.Sequential(self.LayerNormCF(8), nn.Conv2D(8, 12, 2, 2))
        self.block2, self.norm, self.head = self.Block(12, self.GRN), nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x):
        x = self.block2(self.down(self.block1(self.stem(x))))
        return self.head(self.norm(x.mean([-2, -1])))


@backbone(6)
class InceptionNeXt(nn.Layer):
    """Depthwise convolutions of four forms on parts of unequal, written width; most of the channels pass by."""

    class Mixer(nn.Layer):
        def __init__(self, dim, ratio=0.125) -> None:
            super().__init__()
            gc = int(dim * ratio)
            self.dwconv_hw = nn.Conv2D(gc, gc, 3, padding=1, groups=gc)
            self.dwconv_w = nn.Conv2D(gc, gc, (1, 11), padding=(0, 5), groups=gc)
            self.dwconv_h = nn.Conv2D(gc, gc, (11, 1), padding=(5, 0), groups=gc)
            self.split_indexes = (dim - 3 * gc, gc, gc, gc)

        def forward(self, x):
            x_id, x_hw, x_w, x_h = paddle.split(x, self.split_indexes, axis=1)
            return paddle.concat((x_id, self.dwconv_hw(x_hw), self.dwconv_w(x_w), self.dwconv_h(x_h)), axis=1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.token_mixer, self.norm = ConvBNLayer(3, 16, 4, 4), self.Mixer(16), nn.BatchNorm2D(16)
        self.fc1, self.fc2 = nn.Conv2D(16, 24, 1), nn.Conv2D(24, 16, 1)
        self.gamma = self.create_parameter([16], default_initializer=nn.initializer.Constant(1e-6))
        self.head = Head(16)

    def forward(self, x):
        x = self.stem(x)
        y = self.fc2(F.gelu(self.fc1(self.norm(self.token_mixer(x)))))
        return self.head(x + y.multiply(self.gamma.reshape([1, -1, 1, 1])))


@backbone(8)
class HorNet(nn.Layer):
    """Recursive gated convolution: widths that double from part to part."""

    class GnConv(nn.Layer):
        def __init__(self, dim, order=3) -> None:
            super().__init__()
            self.dims = [dim // 2**i for i in range(order)][::-1]
            self.proj_in = nn.Conv2D(dim, 2 * dim, 1)
            self.dwconv = nn.Conv2D(sum(self.dims), sum(self.dims), 7, padding=3, groups=sum(self.dims))
            self.proj_out = nn.Conv2D(dim, dim, 1)
            self.pws = nn.LayerList([nn.Conv2D(self.dims[i], self.dims[i + 1], 1) for i in range(order - 1)])

        def forward(self, x):
            fused_x = self.proj_in(x)
            pwa, abc = paddle.split(fused_x, (self.dims[0], sum(self.dims)), axis=1)
            dw_abc = self.dwconv(abc) * 0.5
            dw_list = paddle.split(dw_abc, self.dims, axis=1)
            x = pwa * dw_list[0]
            for i, pw in enumerate(self.pws):
                x = pw(x) * dw_list[i + 1]
            return self.proj_out(x)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gnconv, self.last, self.head = (
            ConvBNLayer(3, 16, 4, 4),
            self.GnConv(16),
            ConvBNLayer(16, 8),
            Head(8),
        )
        self.mid = ConvBNLayer(16, 16, 1)

    def forward(self, x):
        x = self.mid(self.stem(x))
        return self.head(self.last(x + self.gnconv(x)))


@backbone(5)
class FocalNet(nn.Layer):
    """Focal modulation: query, context and gates split from one Linear, contexts summed with gates of one channel."""

    class Modulation(nn.Layer):
        def __init__(self, dim, levels=2) -> None:
            super().__init__()
            self.levels, self.f = levels, nn.Linear(dim, 2 * dim + levels + 1)
            self.h, self.proj = nn.Conv2D(dim, dim, 1), nn.Linear(dim, dim)
            self.focal_layers = nn.LayerList(
                [
                    nn.Sequential(nn.Conv2D(dim, dim, 3 + 2 * k, padding=1 + k, groups=dim, bias_attr=False), nn.GELU())
                    for k in range(levels)
                ]
            )

        def forward(self, x):
            c = x.shape[-1]
            x = self.f(x).transpose([0, 3, 1, 2])
            q, ctx, gates = paddle.split(x, (c, c, self.levels + 1), axis=1)
            ctx_all = 0
            for level in range(self.levels):
                ctx = self.focal_layers[level](ctx)
                ctx_all = ctx_all + ctx * gates[:, level : level + 1]
            ctx_global = F.gelu(ctx.mean(2, keepdim=True).mean(3, keepdim=True))
            ctx_all = ctx_all + ctx_global * gates[:, self.levels :]
            return self.proj((q * self.h(ctx_all)).transpose([0, 2, 3, 1]))

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm, self.modulation = nn.Conv2D(3, 12, 4, 4), nn.LayerNorm(12), self.Modulation(12)
        self.last, self.head = ConvBNLayer(12, 8), Head(8)

    def forward(self, x):
        x = self.patch(x).transpose([0, 2, 3, 1])
        x = x + self.modulation(self.norm(x))
        return self.head(self.last(x.transpose([0, 3, 1, 2])))


@backbone(9)
class VAN(nn.Layer):
    """Large kernel attention: depthwise, dilated depthwise, pointwise, multiplied; layer scale with new axes."""

    class Block(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.BatchNorm2D(dim), nn.BatchNorm2D(dim)
            self.proj_1, self.proj_2 = nn.Conv2D(dim, dim, 1), nn.Conv2D(dim, dim, 1)
            self.conv0, self.conv1 = nn.Conv2D(dim, dim, 5, padding=2, groups=dim), nn.Conv2D(dim, dim, 1)
            self.conv_spatial = nn.Conv2D(dim, dim, 7, stride=1, padding=9, groups=dim, dilation=3)
            self.layer_scale_1 = self.create_parameter(
                shape=[dim, 1, 1], default_initializer=nn.initializer.Constant(1e-2)
            )
            self.fc1, self.dwconv, self.fc2 = (
                nn.Conv2D(dim, 16, 1),
                nn.Conv2D(16, 16, 3, 1, 1, groups=16),
                nn.Conv2D(16, dim, 1),
            )

        def forward(self, x):
            y = F.gelu(self.proj_1(self.norm1(x)))
            y = self.proj_2(y * self.conv1(self.conv_spatial(self.conv0(y))))
            x = x + self.layer_scale_1 * y
            return x + self.fc2(F.gelu(self.dwconv(self.fc1(self.norm2(x)))))

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2D(3, 8, kernel_size=7, stride=4, padding=3)
        self.norm, self.block, self.out, self.head = nn.BatchNorm2D(8), self.Block(8), nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.block(self.norm(self.patch_embed(x)))
        x = self.out(x.flatten(2).transpose([0, 2, 1]))
        return self.head(x.mean(axis=1))


@backbone(4)
class PoolFormer(nn.Layer):
    """Pooling minus identity, GroupNorm of one group, layer scale by unsqueeze."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.pool = nn.Conv2D(3, 8, 7, stride=4, padding=2), nn.AvgPool2D(3, stride=1, padding=1)
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(num_groups=1, num_channels=8) for _ in range(3))
        self.fc1, self.fc2 = nn.Conv2D(8, 16, 1), nn.Conv2D(16, 8, 1)
        self.ls = self.create_parameter([8], default_initializer=nn.initializer.Constant(1e-5))
        self.down, self.head = nn.Conv2D(8, 12, 3, stride=2, padding=1), nn.Linear(12, 5)

    def forward(self, x):
        x = self.patch(x)
        y = self.norm1(x)
        x = x + self.ls.unsqueeze(-1).unsqueeze(-1) * (self.pool(y) - y)
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return self.head(F.relu(self.down(self.norm3(x))).mean([-2, -1]))


@backbone(3)
class ConvMixer(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.bn0 = nn.Conv2D(3, 12, 4, 4), nn.BatchNorm2D(12)
        self.dw, self.bn1 = nn.Conv2D(12, 12, 5, groups=12, padding="same"), nn.BatchNorm2D(12)
        self.pw, self.bn2, self.head = nn.Conv2D(12, 12, 1), nn.BatchNorm2D(12), Head(12)

    def forward(self, x):
        x = self.bn0(F.gelu(self.embed(x)))
        x = x + self.bn1(F.gelu(self.dw(x)))
        return self.head(self.bn2(F.gelu(self.pw(x))))


@backbone(1)
class MLPMixer(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm1, self.norm2 = PatchEmbed(3, 12, 8), nn.LayerNorm(12), nn.LayerNorm(12)
        self.tokens, self.channels, self.norm, self.head = Mlp(16, 20), Mlp(12, 24), nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.tokens(self.norm1(x).transpose((0, 2, 1))).transpose((0, 2, 1))
        x = x + self.channels(self.norm2(x))
        return self.head(self.norm(x).mean(axis=1))


@backbone(2, {"spatial": "fixed size"})
class GatedMLP(nn.Layer):
    """gMLP: half of the channels gate the other half, after a Conv1D over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = PatchEmbed(3, 12, 8), nn.LayerNorm(12)
        self.proj_in, self.gate_norm, self.proj_out = nn.Linear(12, 32), nn.LayerNorm(16), nn.Linear(16, 12)
        self.spatial, self.last, self.head = nn.Conv1D(16, 16, 1), nn.Conv1D(12, 8, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        u, v = paddle.chunk(F.gelu(self.proj_in(self.norm(x))), 2, axis=-1)
        x = x + self.proj_out(u * self.spatial(self.gate_norm(v)))
        return self.head(F.relu(self.last(x.transpose([0, 2, 1]))).mean(-1))


@backbone(2)
class LeViT(nn.Layer):
    """Linears with BatchNorm on the tokens, keys narrower than values, a hardswish, biases picked by an index."""

    class LinearBN(nn.Layer):
        def __init__(self, a, b) -> None:
            super().__init__()
            self.c, self.bn = nn.Linear(a, b, bias_attr=False), nn.BatchNorm1D(b)

        def forward(self, x):
            x = self.c(x)
            return paddle.reshape(self.bn(x.flatten(0, 1)), x.shape)

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(ConvBNLayer(3, 8, 3, 2, act="hardswish"), ConvBNLayer(8, 16, 3, 2))
        self.key_dim, self.d, self.heads, self.scale = 4, 8, 2, 0.5
        self.qkv, self.proj, self.head = self.LinearBN(16, 2 * (4 + 4 + 8)), self.LinearBN(16, 16), nn.Linear(16, 5)
        self.attention_biases = self.create_parameter(shape=(2, 64), default_initializer=zeros_)
        index = [abs(i // 8 - j // 8) * 8 + abs(i % 8 - j % 8) for i in range(64) for j in range(64)]
        self.register_buffer("attention_bias_idxs", paddle.to_tensor(index, dtype="int64"))

    def forward(self, x):
        x = self.patch_embed(x)
        x = paddle.transpose(x.flatten(2), (0, 2, 1))
        n, c = x.shape[1:]
        qkv = paddle.reshape(self.qkv(x), [-1, n, self.heads, 2 * self.key_dim + self.d])
        q, k, v = paddle.split(qkv, [self.key_dim, self.key_dim, self.d], axis=3)
        q, k, v = (paddle.transpose(t, perm=[0, 2, 1, 3]) for t in (q, k, v))
        bias = paddle.gather(self.attention_biases, self.attention_bias_idxs, axis=1).reshape((0, n, n))
        attn = F.softmax(paddle.matmul(q, paddle.transpose(k, perm=[0, 1, 3, 2])) * self.scale + bias)
        y = paddle.reshape(paddle.transpose(paddle.matmul(attn, v), perm=[0, 2, 1, 3]), [-1, n, 16])
        x = x + self.proj(F.hardswish(y))
        return self.head(paddle.reshape(x.mean(1), [-1, c]))
