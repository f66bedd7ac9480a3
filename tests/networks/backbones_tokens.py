"""Segmentation with attention: over tokens, over squeezed axes, over learnt memories, and by factorised matrices."""

from __future__ import annotations

import paddle
from backbones import OUTPUT, ConvBNLayer, DropPath, backbone
from paddle import ParamAttr, nn
from paddle.nn import functional as F  # noqa: N812
from paddle.nn.initializer import Constant, Normal


class HSigmoid(nn.Layer):
    """A hard sigmoid from a ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU6()

    def forward(self, x):
        return self.relu(x + 3) / 6


class Conv2DBN(nn.Layer):
    """A convolution and a BatchNorm that may start at zero."""

    def __init__(self, ins, outs, ks=1, stride=1, pad=0, groups=1, start=1.0) -> None:
        super().__init__()
        self.c = nn.Conv2D(ins, outs, ks, stride, pad, groups=groups, bias_attr=False)
        self.bn = nn.BatchNorm2D(outs, weight_attr=ParamAttr(initializer=Constant(start)))

    def forward(self, inputs):
        return self.bn(self.c(inputs))


@backbone(10, {"decode.pred": OUTPUT})
class MixTransformer(nn.Layer):
    """SegFormer as a whole: sizes handed on as tensors, ``self.dim`` in each reshape, widths in a list of the network.

    Keys and values come from a strided convolution; the feed-forward has a depthwise one between its Linears.
    """

    class DWConv(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.dim = dim
            self.dwconv = nn.Conv2D(dim, dim, 3, 1, 1, bias_attr=True, groups=dim)

        def forward(self, x, h, w):
            x_shape = paddle.shape(x)
            batch = x_shape[0]
            x = x.transpose([0, 2, 1]).reshape([batch, self.dim, h, w])
            return self.dwconv(x).flatten(2).transpose([0, 2, 1])

    class Mlp(nn.Layer):
        def __init__(self, dim, hidden) -> None:
            super().__init__()
            self.fc1, self.dwconv, self.act = nn.Linear(dim, hidden), MixTransformer.DWConv(hidden), nn.GELU()
            self.fc2, self.drop = nn.Linear(hidden, dim), nn.Dropout(0.0)

        def forward(self, x, h, w):
            return self.drop(self.fc2(self.drop(self.act(self.dwconv(self.fc1(x), h, w)))))

    class Attention(nn.Layer):
        def __init__(self, dim, num_heads, sr_ratio) -> None:
            super().__init__()
            self.dim, self.num_heads, self.sr_ratio = dim, num_heads, sr_ratio
            self.scale = (dim // num_heads) ** -0.5
            self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, dim * 2), nn.Linear(dim, dim)
            if sr_ratio > 1:
                self.sr, self.norm = nn.Conv2D(dim, dim, kernel_size=sr_ratio, stride=sr_ratio), nn.LayerNorm(dim)

        def forward(self, x, h, w):
            x_shape = paddle.shape(x)
            batch, n = x_shape[0], x_shape[1]
            c, heads = self.dim, self.num_heads
            q = self.q(x).reshape([batch, n, heads, c // heads]).transpose([0, 2, 1, 3])
            if self.sr_ratio > 1:
                x = x.transpose([0, 2, 1]).reshape([batch, c, h, w])
                x = self.norm(self.sr(x).reshape([batch, c, -1]).transpose([0, 2, 1]))
            kv = self.kv(x).reshape([batch, -1, 2, heads, c // heads]).transpose([2, 0, 3, 1, 4])
            k, v = kv[0], kv[1]
            attn = F.softmax((q @ k.transpose([0, 1, 3, 2])) * self.scale, axis=-1)
            return self.proj((attn @ v).transpose([0, 2, 1, 3]).reshape([batch, n, c]))

    class Block(nn.Layer):
        def __init__(self, dim, heads, sr_ratio) -> None:
            super().__init__()
            self.norm1, self.attn = nn.LayerNorm(dim), MixTransformer.Attention(dim, heads, sr_ratio)
            self.norm2, self.mlp, self.drop_path = nn.LayerNorm(dim), MixTransformer.Mlp(dim, dim * 2), DropPath(0.0)

        def forward(self, x, h, w):
            x = x + self.drop_path(self.attn(self.norm1(x), h, w))
            return x + self.drop_path(self.mlp(self.norm2(x), h, w))

    class OverlapPatchEmbed(nn.Layer):
        def __init__(self, size, stride, ins, dim) -> None:
            super().__init__()
            self.proj = nn.Conv2D(ins, dim, kernel_size=(size, size), stride=stride, padding=(size // 2, size // 2))
            self.norm = nn.LayerNorm(dim)

        def forward(self, x):
            x = self.proj(x)
            x_shape = paddle.shape(x)
            h, w = x_shape[2], x_shape[3]
            return self.norm(x.flatten(2).transpose([0, 2, 1])), h, w

    class Decode(nn.Layer):
        class Linear(nn.Layer):
            def __init__(self, ins, dim) -> None:
                super().__init__()
                self.proj = nn.Linear(ins, dim)

            def forward(self, x):
                return self.proj(x.flatten(2).transpose([0, 2, 1]))

        def __init__(self, widths, dim=12, classes=4) -> None:
            super().__init__()
            self.linear_c1, self.linear_c2, self.linear_c3 = (self.Linear(width, dim) for width in widths)
            self.linear_fuse = nn.Sequential(nn.Conv2D(3 * dim, dim, 1, bias_attr=False), nn.BatchNorm2D(dim))
            self.dropout, self.pred = nn.Dropout2D(0.1), nn.Conv2D(dim, classes, kernel_size=1)

        def forward(self, feats):
            c1, c2, c3 = feats
            c1_shape, c2_shape, c3_shape = paddle.shape(c1), paddle.shape(c2), paddle.shape(c3)
            y3 = self.linear_c3(c3).transpose([0, 2, 1]).reshape([0, 0, c3_shape[2], c3_shape[3]])
            y3 = F.interpolate(y3, size=c1_shape[2:], mode="bilinear", align_corners=False)
            y2 = self.linear_c2(c2).transpose([0, 2, 1]).reshape([0, 0, c2_shape[2], c2_shape[3]])
            y2 = F.interpolate(y2, size=c1_shape[2:], mode="bilinear", align_corners=False)
            y1 = self.linear_c1(c1).transpose([0, 2, 1]).reshape([0, 0, c1_shape[2], c1_shape[3]])
            return self.pred(self.dropout(self.linear_fuse(paddle.concat([y3, y2, y1], axis=1))))

    def __init__(self, embed_dims=(8, 12, 16), heads=(1, 2, 4), ratios=(4, 2, 1)) -> None:
        super().__init__()
        self.feat_channels = list(embed_dims)
        ins = (3, *embed_dims)
        for n in range(3):
            embed = self.OverlapPatchEmbed(7 if n == 0 else 3, 4 if n == 0 else 2, ins[n], ins[n + 1])
            self.add_sublayer(f"patch_embed{n + 1}", embed)
            blocks = [self.Block(ins[n + 1], heads[n], ratios[n]) for _ in range(1 + (n == 2))]
            self.add_sublayer(f"block{n + 1}", nn.LayerList(blocks))
            self.add_sublayer(f"norm{n + 1}", nn.LayerNorm(ins[n + 1]))
        self.decode = self.Decode(embed_dims)

    def forward(self, image):
        batch, x, outs = paddle.shape(image)[0], image, []
        for n in range(3):
            x, h, w = getattr(self, f"patch_embed{n + 1}")(x)
            for block in getattr(self, f"block{n + 1}"):
                x = block(x, h, w)
            x = getattr(self, f"norm{n + 1}")(x)
            x = x.reshape([batch, h, w, self.feat_channels[n]]).transpose([0, 3, 1, 2])
            outs.append(x)
        logit = self.decode(outs)
        return [F.interpolate(logit, size=paddle.shape(image)[2:], mode="bilinear", align_corners=False)]


class InvertedResidual(nn.Layer):
    """Expand, depthwise, project, in one Sequential."""

    def __init__(self, ins, outs, ks, stride, expand) -> None:
        super().__init__()
        hidden = round(ins * expand)
        self.use_res_connect, self.out_channels = stride == 1 and ins == outs, outs
        layers = [] if expand == 1 else [Conv2DBN(ins, hidden), nn.ReLU6()]
        layers += [Conv2DBN(hidden, hidden, ks, stride, ks // 2, hidden), nn.ReLU6(), Conv2DBN(hidden, outs)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class ConvMlp(nn.Layer):
    """A feed-forward part of convolutions."""

    def __init__(self, dim, hidden) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = Conv2DBN(dim, hidden), Conv2DBN(hidden, dim), nn.ReLU6()
        self.dwconv, self.drop = nn.Conv2D(hidden, hidden, 3, 1, 1, groups=hidden), nn.Dropout(0.0)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(self.act(self.dwconv(self.fc1(x))))))


@backbone(30, {"linear_last": OUTPUT})
class TopFormer(nn.Layer):
    """A token pyramid: maps pooled to one size and concatenated, attention by convolutions, split and injected."""

    class Attention(nn.Layer):
        def __init__(self, dim, key_dim, num_heads, attn_ratio=2) -> None:
            super().__init__()
            self.num_heads, self.key_dim, self.scale = num_heads, key_dim, key_dim**-0.5
            self.nh_kd, self.d = key_dim * num_heads, int(attn_ratio * key_dim)
            self.dh = self.d * num_heads
            self.to_q, self.to_k, self.to_v = (Conv2DBN(dim, width) for width in (self.nh_kd, self.nh_kd, self.dh))
            self.proj = nn.Sequential(nn.ReLU6(), Conv2DBN(self.dh, dim, start=0.0))

        def forward(self, x):
            b, _c, h, w = x.shape
            qq = self.to_q(x).reshape([b, self.num_heads, self.key_dim, h * w]).transpose([0, 1, 3, 2])
            kk = self.to_k(x).reshape([b, self.num_heads, self.key_dim, h * w])
            vv = self.to_v(x).reshape([b, self.num_heads, self.d, h * w]).transpose([0, 1, 3, 2])
            attn = F.softmax(paddle.matmul(qq, kk), axis=-1)
            xx = paddle.matmul(attn, vv)
            return self.proj(xx.transpose([0, 1, 3, 2]).reshape([b, self.dh, h, w]))

    class Block(nn.Layer):
        def __init__(self, dim, key_dim, num_heads) -> None:
            super().__init__()
            self.dim, self.num_heads = dim, num_heads
            self.attn, self.drop_path = TopFormer.Attention(dim, key_dim, num_heads), DropPath(0.0)
            self.mlp = ConvMlp(dim, dim * 2)

        def forward(self, x):
            h = x
            x = h + self.drop_path(self.attn(x))
            h = x
            return self.drop_path(self.mlp(x)) + h

    class Injection(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.local_embedding, self.global_embedding, self.global_act = (Conv2DBN(ins, outs) for _ in "lga")
            self.act = HSigmoid()

        def forward(self, x_l, x_g):
            _b, _c, h, w = x_l.shape
            local_feat = self.local_embedding(x_l)
            sig_act = F.interpolate(self.act(self.global_act(x_g)), size=(h, w), mode="bilinear", align_corners=False)
            global_feat = F.interpolate(self.global_embedding(x_g), size=(h, w), mode="bilinear", align_corners=False)
            return local_feat * sig_act + global_feat

    def __init__(self, cfgs=((3, 1, 8, 1), (3, 3, 12, 2), (5, 3, 16, 2)), outs=(1, 2), dim=16) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv2DBN(3, 8, 3, 2, 1), nn.ReLU6())
        self.layers, ins, self.out_indices = [], 8, outs
        for n, (ks, expand, width, stride) in enumerate(cfgs):
            self.add_sublayer(f"layer{n + 1}", InvertedResidual(ins, width, ks, stride, expand))
            self.layers.append(f"layer{n + 1}")
            ins = width
        self.channels = [cfgs[n][2] for n in outs]
        self.trans = nn.LayerList([self.Block(sum(self.channels), 4, 2) for _ in "ab"])
        self.inject = nn.LayerList([self.Injection(width, dim) for width in self.channels])
        self.linear_fuse, self.linear_last = ConvBNLayer(dim, dim, 1), nn.Conv2D(dim, 3, kernel_size=1)

    def pyramid(self, x):
        outs = []
        x = self.stem(x)
        for n, name in enumerate(self.layers):
            x = getattr(self, name)(x)
            if n in self.out_indices:
                outs.append(x)
        return outs

    def forward(self, image):
        outs = self.pyramid(image)
        _, _, h, w = outs[-1].shape
        h, w = (h - 1) // 2 + 1, (w - 1) // 2 + 1
        out = paddle.concat([F.adaptive_avg_pool2d(y, (h, w)) for y in outs], axis=1)
        for block in self.trans:
            out = block(out)
        xx = out.split(self.channels, axis=1)
        results = [inject(outs[n], xx[n]) for n, inject in enumerate(self.inject)]
        low = results[0]
        for y in results[1:]:
            low = low + F.interpolate(y, low.shape[2:], mode="bilinear", align_corners=False)
        x = self.linear_last(self.linear_fuse(low))
        return [F.interpolate(x, paddle.shape(image)[2:], mode="bilinear", align_corners=False)]


@backbone(21, {"head.1": OUTPUT})
class SeaFormer(nn.Layer):
    """Squeezed axes: means over rows and over columns attend, with positions interpolated to their length."""

    class Positions(nn.Layer):
        def __init__(self, dim, shape) -> None:
            super().__init__()
            self.pos_embed = self.create_parameter([1, dim, shape], default_initializer=Normal())

        def forward(self, x):
            n = x.shape[2]
            return x + F.interpolate(self.pos_embed, size=(n,), mode="linear", align_corners=False, data_format="NCW")

    class Attention(nn.Layer):
        def __init__(self, dim, key_dim, num_heads, attn_ratio=2) -> None:
            super().__init__()
            self.num_heads, self.scale, self.key_dim = num_heads, key_dim**-0.5, key_dim
            self.nh_kd, self.d = key_dim * num_heads, int(attn_ratio * key_dim)
            self.dh = self.d * num_heads
            self.to_q, self.to_k, self.to_v = (Conv2DBN(dim, width) for width in (self.nh_kd, self.nh_kd, self.dh))
            self.proj = nn.Sequential(nn.ReLU6(), Conv2DBN(self.dh, dim))
            self.proj_encode_row = nn.Sequential(nn.ReLU6(), Conv2DBN(self.dh, self.dh))
            self.proj_encode_column = nn.Sequential(nn.ReLU6(), Conv2DBN(self.dh, self.dh))
            self.rowq, self.rowk, self.columnq, self.columnk = (SeaFormer.Positions(self.nh_kd, 16) for _ in "abcd")
            width = 2 * self.dh
            self.dwconv, self.act, self.pwconv = (
                Conv2DBN(width, width, 3, 1, 1, width),
                nn.ReLU6(),
                Conv2DBN(width, dim),
            )
            self.sigmoid = HSigmoid()

        def forward(self, x):
            b, _c, h, w = x.shape
            q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
            qkv = self.pwconv(self.act(self.dwconv(paddle.concat([q, k, v], axis=1))))
            qrow = self.rowq(q.mean(-1)).reshape([b, self.num_heads, -1, h]).transpose([0, 1, 3, 2])
            krow = self.rowk(k.mean(-1)).reshape([b, self.num_heads, -1, h])
            vrow = v.mean(-1).reshape([b, self.num_heads, -1, h]).transpose([0, 1, 3, 2])
            attn_row = F.softmax(paddle.matmul(qrow, krow) * self.scale, axis=-1)
            xx_row = paddle.matmul(attn_row, vrow).transpose([0, 1, 3, 2]).reshape([b, self.dh, h, 1])
            xx_row = self.proj_encode_row(xx_row)
            qcolumn = self.columnq(q.mean(-2)).reshape([b, self.num_heads, -1, w]).transpose([0, 1, 3, 2])
            kcolumn = self.columnk(k.mean(-2)).reshape([b, self.num_heads, -1, w])
            vcolumn = paddle.mean(v, -2).reshape([b, self.num_heads, -1, w]).transpose([0, 1, 3, 2])
            attn_column = F.softmax(paddle.matmul(qcolumn, kcolumn) * self.scale, axis=-1)
            xx_column = paddle.matmul(attn_column, vcolumn).transpose([0, 1, 3, 2]).reshape([b, self.dh, 1, w])
            xx = paddle.add(v, paddle.add(xx_row, self.proj_encode_column(xx_column)))
            return self.sigmoid(self.proj(xx)) * qkv

    def __init__(self, dim=16) -> None:
        super().__init__()
        self.stem, self.down1 = Conv2DBN(3, 8, 3, 2, 1), InvertedResidual(8, 12, 3, 2, 2)
        self.down2, self.attn, self.mlp = (
            InvertedResidual(12, dim, 3, 2, 2),
            self.Attention(dim, 4, 2),
            ConvMlp(dim, 24),
        )
        self.local, self.gate, self.act = Conv2DBN(12, 8), Conv2DBN(dim, 8), HSigmoid()
        self.drop_path, self.head = DropPath(0.0), nn.Sequential(ConvBNLayer(8, 8, 1), nn.Conv2D(8, 3, 1))

    def forward(self, image):
        low = self.down1(self.stem(image))
        x = self.down2(low)
        x = x + self.drop_path(self.attn(x))
        x = x + self.drop_path(self.mlp(x))
        h, w = low.shape[2:]
        gate = F.interpolate(self.act(self.gate(x)), size=(h, w), mode="bilinear", align_corners=False)
        return [F.interpolate(self.head(self.local(low) * gate), paddle.shape(image)[2:], mode="bilinear")]


@backbone(27, {"head.1": OUTPUT})
class RTFormer(nn.Layer):
    """Two branches: learnt memories as kernels of 1x1 convolutions, kernels made from the other branch, a DAPPM."""

    class ExternalAttention(nn.Layer):
        def __init__(self, ins, outs, num_params, num_heads=1, cross=False) -> None:
            super().__init__()
            self.in_channels, self.out_channels = ins, outs
            self.num_params, self.num_heads, self.use_cross_kv = num_params, num_heads, cross
            self.norm = nn.BatchNorm2D(ins)
            if not cross:
                self.k = self.create_parameter([num_params, ins, 1, 1], default_initializer=Normal(std=0.3))
                self.v = self.create_parameter([outs, num_params, 1, 1], default_initializer=Normal(std=0.3))

        def act_sn(self, x, b, h, w):
            x_shape = paddle.shape(x)
            x = x.reshape([b, self.num_params, h, w]) * (self.num_params**-0.5)
            return F.softmax(x, axis=1).reshape(x_shape)

        def act_dn(self, x, b, h, w):
            x_shape = paddle.shape(x)
            x = F.softmax(x.reshape([b, self.num_heads, self.num_params // self.num_heads, h * w]), axis=3)
            x = x / (paddle.sum(x, axis=2, keepdim=True) + 1e-06)
            return x.reshape(x_shape)

        def forward(self, x, cross_k=None, cross_v=None):
            b = x.shape[0]
            x, stride = self.norm(x), 2 if self.in_channels != self.out_channels else 1
            if self.use_cross_kv:
                x = x.reshape([1, -1, x.shape[2], x.shape[3]])
                x = F.conv2d(x, cross_k, bias=None, stride=stride, padding=0, groups=b)
                h, w = x.shape[2:]
                x = F.conv2d(self.act_sn(x, b, h, w), cross_v, bias=None, stride=1, padding=0, groups=b)
                return x.reshape([b, -1, h, w])
            x = F.conv2d(x, self.k, bias=None, stride=stride, padding=0)
            h, w = x.shape[2:]
            return F.conv2d(self.act_dn(x, b, h, w), self.v, bias=None, stride=1, padding=0)

    class MLP(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.norm, self.act, self.drop = nn.BatchNorm2D(dim, epsilon=1e-06), nn.GELU(), nn.Dropout(0.0)
            self.conv1, self.conv2 = nn.Conv2D(dim, dim, 3, 1, 1), nn.Conv2D(dim, dim, 3, 1, 1)

        def forward(self, x):
            return self.drop(self.conv2(self.drop(self.act(self.conv1(self.norm(x))))))

    class EABlock(nn.Layer):
        def __init__(self, high, low_in, low, cross, size=2) -> None:
            super().__init__()
            self.proj_flag_l, self.use_cross_kv, self.cross_size = low_in != low, cross, size
            if self.proj_flag_l:
                self.attn_shortcut_l = nn.Sequential(nn.BatchNorm2D(low_in), nn.Conv2D(low_in, low, 1, 2, 0))
            self.attn_h = RTFormer.ExternalAttention(high, high, size * size if cross else 12, 2, cross)
            self.attn_l = RTFormer.ExternalAttention(low_in, low, low, 2)
            self.mlp_h, self.mlp_l, self.drop_path = RTFormer.MLP(high), RTFormer.MLP(low), DropPath(0.0)
            self.compression = nn.Sequential(nn.BatchNorm2D(low), nn.ReLU(), nn.Conv2D(low, high, kernel_size=1))
            self.down = nn.Sequential(
                nn.BatchNorm2D(high), nn.ReLU(), nn.Conv2D(high, low // 2, 3, 2, 1), nn.BatchNorm2D(low // 2),
                nn.ReLU(), nn.Conv2D(low // 2, low, 3, 2, 1),
            )  # fmt: skip
            if cross:
                pool = nn.AdaptiveMaxPool2D(output_size=(size, size))
                self.cross_kv = nn.Sequential(nn.BatchNorm2D(low), pool, nn.Conv2D(low, 2 * high, 1, 1, 0))

        def forward(self, x):
            x_h, x_l = x
            x_l_res = self.attn_shortcut_l(x_l) if self.proj_flag_l else x_l
            x_l = x_l_res + self.drop_path(self.attn_l(x_l))
            x_l = x_l + self.drop_path(self.mlp_l(x_l))
            x_h = x_h + F.interpolate(self.compression(x_l), size=x_h.shape[2:], mode="bilinear")
            keys = ()
            if self.use_cross_kv:
                ch_h = paddle.shape(x_h)[1]
                cross_kv = self.cross_kv(x_l)
                flat = cross_kv.reshape([cross_kv.shape[0], cross_kv.shape[1], -1])
                cross_k, cross_v = paddle.split(flat, 2, axis=1)
                cross_k = cross_k.transpose([0, 2, 1]).reshape([-1, ch_h, 1, 1])
                keys = (cross_k, cross_v.reshape([-1, self.cross_size * self.cross_size, 1, 1]))
            x_h = x_h + self.drop_path(self.attn_h(x_h, *keys))
            x_h = x_h + self.drop_path(self.mlp_h(x_h))
            return x_h, x_l + self.down(x_h)

    class DAPPM(nn.Layer):
        def __init__(self, ins, mid, outs) -> None:
            super().__init__()
            pools = [None, nn.AvgPool2D(5, 2, 2, exclusive=False), nn.AdaptiveAvgPool2D((1, 1))]
            self.scales = nn.LayerList([self.step(ins, mid, 1, pool) for pool in pools])
            self.process = nn.LayerList([self.step(mid, mid, 3) for _ in "ab"])
            self.compression, self.shortcut = self.step(3 * mid, outs, 1), self.step(ins, outs, 1)

        def step(self, ins, outs, kernel, pool=None):
            conv = nn.Conv2D(ins, outs, kernel, padding=kernel // 2, bias_attr=False)
            return nn.Sequential(*([pool] if pool else []), nn.BatchNorm2D(ins), nn.ReLU(), conv)

        def forward(self, x):
            x_shape = paddle.shape(x)[2:]
            x_list = [self.scales[0](x)]
            for scale, process in zip(self.scales[1:], self.process):
                x_list.append(process(F.interpolate(scale(x), size=x_shape, mode="bilinear") + x_list[-1]))
            return self.compression(paddle.concat(x_list, axis=1)) + self.shortcut(x)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.high, self.low = ConvBNLayer(3, 8, 3, 2), ConvBNLayer(8, 8, 3, 2), ConvBNLayer(8, 12, 3, 4)
        self.block1, self.block2 = self.EABlock(8, 12, 16, False), self.EABlock(8, 16, 16, True)
        self.spp = self.DAPPM(16, 4, 8)
        self.head = nn.Sequential(ConvBNLayer(16, 8), nn.Conv2D(8, 3, 1))

    def forward(self, image):
        x = self.conv1(image)
        x_h = self.high(x)
        x_h, x_l = self.block2(self.block1((x_h, self.low(x_h))))
        x_l = F.interpolate(self.spp(x_l), size=x_h.shape[2:], mode="bilinear")
        logit = self.head(paddle.concat([x_h, x_l], axis=1))
        return [F.interpolate(logit, paddle.shape(image)[2:], mode="bilinear")]


@backbone(24, {"cls_seg": OUTPUT})
class SegNeXt(nn.Layer):
    """Strip convolutions as attention; a head that factorises the map into bases and coefficients."""

    class Spatial(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.proj_1, self.proj_2, self.act = nn.Conv2D(dim, dim, 1), nn.Conv2D(dim, dim, 1), nn.GELU()
            self.conv0, self.conv1 = nn.Conv2D(dim, dim, 5, padding=2, groups=dim), nn.Conv2D(dim, dim, 1)
            self.strips = nn.LayerList(
                [nn.Conv2D(dim, dim, k, padding=(k[0] // 2, k[1] // 2), groups=dim) for k in ((1, 7), (7, 1))]
            )

        def forward(self, x):
            shortcut = x
            x = self.act(self.proj_1(x))
            attn = self.conv0(x)
            across = self.strips[1](self.strips[0](attn))
            return self.proj_2(self.conv1(attn + across) * x) + shortcut

    class Block(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.norm1, self.attn, self.norm2 = nn.BatchNorm2D(dim), SegNeXt.Spatial(dim), nn.BatchNorm2D(dim)
            self.mlp, self.drop_path = ConvMlp(dim, dim * 2), DropPath(0.0)
            self.layer_scale_1, self.layer_scale_2 = (
                self.create_parameter([dim], default_initializer=Constant(1e-2)) for _ in "ab"
            )

        def forward(self, x):
            x = x + self.drop_path(self.layer_scale_1.unsqueeze(-1).unsqueeze(-1) * self.attn(self.norm1(x)))
            return x + self.drop_path(self.layer_scale_2.unsqueeze(-1).unsqueeze(-1) * self.mlp(self.norm2(x)))

    class NMF2D(nn.Layer):
        def __init__(self, rank=4, steps=2) -> None:
            super().__init__()
            self.parts, self.rank, self.train_steps, self.eval_steps = 1, rank, steps, steps + 1

        def local_step(self, x, bases, coef):
            numerator = paddle.bmm(x.transpose([0, 2, 1]), bases)
            coef = coef * numerator / (coef.bmm(bases.transpose([0, 2, 1]).bmm(bases)) + 1e-6)
            numerator = paddle.bmm(x, coef)
            return bases * numerator / (bases.bmm(coef.transpose([0, 2, 1]).bmm(coef)) + 1e-6), coef

        def forward(self, x):
            b, c, h, w = paddle.shape(x)
            d = c // self.parts
            x = x.reshape([b * self.parts, d, h * w])
            bases = F.normalize(paddle.rand((b * self.parts, d, self.rank)), axis=1)
            coef = F.softmax(paddle.bmm(x.transpose([0, 2, 1]), bases), axis=-1)
            for _ in range(self.train_steps if self.training else self.eval_steps):
                bases, coef = self.local_step(x, bases, coef)
            return paddle.bmm(bases, coef.transpose([0, 2, 1])).reshape([b, c, h, w])

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = ConvBNLayer(3, 8, 3, 4), ConvBNLayer(8, 12, 3, 2, act=None)
        self.block1, self.block2 = self.Block(8), self.Block(12)
        self.squeeze, self.ham_in, self.ham_out = ConvBNLayer(20, 16, 1), nn.Conv2D(16, 16, 1), ConvBNLayer(16, 16, 1)
        self.ham, self.align, self.cls_seg = self.NMF2D(), ConvBNLayer(16, 8, 1), nn.Conv2D(8, 3, 1)

    def forward(self, image):
        one = self.block1(self.stem(image))
        two = self.block2(self.down(one))
        two = F.interpolate(two, size=paddle.shape(one)[2:], mode="bilinear", align_corners=False)
        x = self.squeeze(paddle.concat([one, two], axis=1))
        y = self.ham_out(self.ham(F.relu(self.ham_in(x))))
        return [F.interpolate(self.cls_seg(self.align(F.relu(x + y))), paddle.shape(image)[2:], mode="bilinear")]
