"""Segmentation in several branches and in the shape of a U, as small as their structure allows."""

from __future__ import annotations

import paddle
from backbones import OUTPUT, ConvBNLayer, backbone
from paddle import nn
from paddle.nn import functional as F  # noqa: N812


def channel_shuffle(x, groups):
    batch_size, num_channels, height, width = x.shape[0:4]
    assert num_channels % groups == 0, "num_channels should be divisible by groups"
    x = paddle.reshape(x=x, shape=[batch_size, groups, num_channels // groups, height, width])
    x = paddle.transpose(x=x, perm=[0, 2, 1, 3, 4])
    return paddle.reshape(x=x, shape=[batch_size, num_channels, height, width])


class ConvNorm(nn.Layer):
    """A convolution with Paddle's old BatchNorm, or with a bias instead."""

    def __init__(self, ins, outs, size, stride=1, groups=1, norm=True, act=None) -> None:
        super().__init__()
        self.act, self.norm = act, nn.BatchNorm(outs) if norm else None
        self.conv = nn.Conv2D(ins, outs, size, stride, (size - 1) // 2, groups=groups, bias_attr=not norm)

    def forward(self, inputs):
        out = self.conv(inputs)
        if self.norm is not None:
            out = self.norm(out)
        return getattr(F, self.act)(out) if self.act else out


@backbone(35, {"last": OUTPUT, "*": "no smaller size fits its splits"})
class LiteHRNet(nn.Layer):
    """Branches of several resolutions: halves weighted across them, shuffled; fused; a head from the smallest up.

    In the third branch two shuffles tell the channels apart into four kinds, and as many of each can go. In the other
    two, four shuffles leave each channel wired in a way of its own: no smaller network is wired like a part of it.
    """

    class Stem(nn.Layer):
        def __init__(self, stem, outs) -> None:
            super().__init__()
            half = stem // 2
            self.conv1 = ConvNorm(3, stem, 3, 2, act="relu")
            self.branch1 = nn.Sequential(
                ConvNorm(half, half, 3, 2, groups=half), ConvNorm(half, outs - half, 1, act="relu")
            )
            self.expand_conv, self.depthwise_conv = (
                ConvNorm(half, stem, 1, act="relu"),
                ConvNorm(stem, stem, 3, 2, stem),
            )
            self.linear_conv = ConvNorm(stem, half, 1, act="relu")

        def forward(self, x):
            x = self.conv1(x)
            x1, x2 = x.chunk(2, axis=1)
            x1 = self.branch1(x1)
            x2 = self.linear_conv(self.depthwise_conv(self.expand_conv(x2)))
            return channel_shuffle(paddle.concat([x1, x2], axis=1), groups=2)

    class CrossResolution(nn.Layer):
        def __init__(self, channels, ratio=4) -> None:
            super().__init__()
            self.channels = channels
            total = sum(channels)
            self.conv1, self.conv2 = (
                ConvNorm(total, total // ratio, 1, act="relu"),
                ConvNorm(total // ratio, total, 1, act="sigmoid"),
            )

        def forward(self, x):
            mini_size = x[-1].shape[-2:]
            out = [F.adaptive_avg_pool2d(s, mini_size) for s in x[:-1]] + [x[-1]]
            out = self.conv2(self.conv1(paddle.concat(out, 1)))
            out = paddle.split(out, self.channels, 1)
            return [s * F.interpolate(a, s.shape[-2:], mode="nearest") for s, a in zip(x, out)]

    class SpatialWeighting(nn.Layer):
        def __init__(self, ins, ratio=4) -> None:
            super().__init__()
            self.global_avgpooling = nn.AdaptiveAvgPool2D(1)
            self.conv1, self.conv2 = (
                ConvNorm(ins, max(ins // ratio, 2), 1, norm=False, act="relu"),
                ConvNorm(max(ins // ratio, 2), ins, 1, norm=False, act="sigmoid"),
            )

        def forward(self, x):
            return x * self.conv2(self.conv1(self.global_avgpooling(x)))

    class Conditional(nn.Layer):
        def __init__(self, widths) -> None:
            super().__init__()
            halves = [width // 2 for width in widths]
            self.cross_resolution_weighting = LiteHRNet.CrossResolution(halves)
            self.depthwise_convs = nn.LayerList([ConvNorm(c, c, 3, groups=c) for c in halves])
            self.spatial_weighting = nn.LayerList([LiteHRNet.SpatialWeighting(c) for c in halves])

        def forward(self, x):
            x = [s.chunk(2, axis=1) for s in x]
            x1, x2 = [s[0] for s in x], [s[1] for s in x]
            x2 = self.cross_resolution_weighting(x2)
            x2 = [dw(s) for s, dw in zip(x2, self.depthwise_convs)]
            x2 = [sw(s) for s, sw in zip(x2, self.spatial_weighting)]
            out = [paddle.concat([s1, s2], axis=1) for s1, s2 in zip(x1, x2)]
            return [channel_shuffle(s, groups=2) for s in out]

    class Stage(nn.Layer):
        def __init__(self, widths, blocks=2) -> None:
            super().__init__()
            self.num_branches = len(widths)
            self.layers = nn.Sequential(*[LiteHRNet.Conditional(widths) for _ in range(blocks)])
            self.fuse_layers = nn.LayerList(
                [nn.LayerList([self.fuse(widths, i, j) for j in range(len(widths))]) for i in range(len(widths))]
            )

        def fuse(self, widths, i, j):
            if j > i:
                up = nn.Upsample(scale_factor=2 ** (j - i), mode="nearest")
                return nn.Sequential(nn.Conv2D(widths[j], widths[i], 1, bias_attr=False), nn.BatchNorm(widths[i]), up)
            if j == i:
                return nn.Identity()
            downs = []
            for k in range(i - j):
                last = k == i - j - 1
                downs += [
                    nn.Conv2D(widths[j], widths[j], 3, 2, 1, groups=widths[j], bias_attr=False),
                    nn.BatchNorm(widths[j]),
                    nn.Conv2D(widths[j], widths[i] if last else widths[j], 1, bias_attr=False),
                    nn.BatchNorm(widths[i] if last else widths[j]),
                    *([] if last else [nn.ReLU()]),
                ]
            return nn.Sequential(*downs)

        def forward(self, x):
            out, fused = self.layers(x), []
            for i, row in enumerate(self.fuse_layers):
                y = out[0] if i == 0 else row[0](out[0])
                for j in range(self.num_branches):
                    if j == 0:
                        y += y if i == 0 else 0.0
                    elif i == j:
                        y += out[j]
                    else:
                        y += row[j](out[j])
                fused.append(F.relu(y))
            return fused

    def __init__(self, widths=(8, 12, 16)) -> None:
        super().__init__()
        self.stem = self.Stem(8, 8)
        self.transition1 = nn.LayerList([self.step(8, widths[0], 1), self.step(8, widths[1], 2)])
        self.stage2 = self.Stage(list(widths[:2]))
        self.transition2, self.stage3 = self.step(widths[1], widths[2], 2), self.Stage(list(widths))
        ins = [*widths[::-1], widths[0]]
        self.projects = nn.LayerList(
            [nn.Sequential(ConvNorm(a, a, 3, groups=a), ConvNorm(a, b, 1, act="relu")) for a, b in zip(ins, ins[1:])]
        )
        self.last = nn.Conv2D(widths[0], 3, 1)

    def step(self, ins, outs, stride):
        return nn.Sequential(ConvNorm(ins, ins, 3, stride, ins), ConvNorm(ins, outs, 1, act="relu"))

    def forward(self, image):
        x = self.stem(image)
        x = self.stage2([step(x) for step in self.transition1])
        x = self.stage3([*x, self.transition2(x[-1])])
        y, last_x = [], None
        for project, s in zip(self.projects, x[::-1]):
            if last_x is not None:
                s = s + F.interpolate(last_x, size=s.shape[-2:], mode="bilinear", align_corners=True)
            last_x = project(s)
            y.append(last_x)
        return [F.interpolate(self.last(y[::-1][0]), paddle.shape(image)[2:], mode="bilinear", align_corners=False)]


@backbone(32, {"side?": OUTPUT, "outconv": OUTPUT})
class U2Net(nn.Layer):
    """U-shaped blocks inside of a U: maps brought to the size of others, sides concatenated, all of them returned."""

    class RSU(nn.Layer):
        def __init__(self, ins, mid, outs, depth) -> None:
            super().__init__()
            self.rebnconvin, self.depth = ConvBNLayer(ins, outs), depth
            for n in range(1, depth + 1):
                self.add_sublayer(f"rebnconv{n}", ConvBNLayer(outs if n == 1 else mid, mid, dilation=1 + (n == depth)))
            for n in range(depth - 1, 0, -1):
                self.add_sublayer(f"rebnconv{n}d", ConvBNLayer(2 * mid, outs if n == 1 else mid))

        def forward(self, x):
            hxin = self.rebnconvin(x)
            hx, maps = hxin, []
            for n in range(1, self.depth):
                maps.append(getattr(self, f"rebnconv{n}")(hx))
                hx = F.max_pool2d(maps[-1], 2, stride=2, ceil_mode=True) if n < self.depth - 1 else maps[-1]
            hx = getattr(self, f"rebnconv{self.depth}")(hx)
            for n in range(self.depth - 1, 0, -1):
                hx = getattr(self, f"rebnconv{n}d")(paddle.concat((hx, maps[n - 1]), 1))
                if n > 1:
                    hx = F.upsample(hx, size=paddle.shape(maps[n - 2])[2:], mode="bilinear")
            return hx + hxin

    def __init__(self, classes=2) -> None:
        super().__init__()
        self.stage1, self.stage2, self.stage3 = self.RSU(3, 4, 8, 4), self.RSU(8, 4, 12, 3), self.RSU(12, 6, 12, 2)
        self.stage2d, self.stage1d = self.RSU(24, 4, 8, 3), self.RSU(16, 4, 8, 4)
        self.side1, self.side2, self.side3 = (nn.Conv2D(w, classes, 3, padding=1) for w in (8, 8, 12))
        self.outconv = nn.Conv2D(3 * classes, classes, 1)

    def forward(self, x):
        hx1 = self.stage1(x)
        hx2 = self.stage2(F.max_pool2d(hx1, 2, stride=2, ceil_mode=True))
        hx3 = self.stage3(F.max_pool2d(hx2, 2, stride=2, ceil_mode=True))
        hx2d = self.stage2d(paddle.concat((self.like(hx3, hx2), hx2), 1))
        hx1d = self.stage1d(paddle.concat((self.like(hx2d, hx1), hx1), 1))
        d1 = self.side1(hx1d)
        d2, d3 = self.like(self.side2(hx2d), d1), self.like(self.side3(hx3), d1)
        return [self.outconv(paddle.concat((d1, d2, d3), 1)), d1, d2, d3]

    def like(self, src, tar):
        return F.upsample(src, size=paddle.shape(tar)[2:], mode="bilinear")


@backbone(14, {"cls": OUTPUT, "up.*.psi.0": "single filter"})
class AttentionUNet(nn.Layer):
    """Skips padded to the size of what comes up, weighted by gates of one channel; transposed convolutions."""

    class Up(nn.Layer):
        def __init__(self, ins, skip, mid) -> None:
            super().__init__()
            self.up, self.conv = nn.Conv2DTranspose(ins, skip, kernel_size=2, stride=2), ConvBNLayer(2 * skip, skip)
            self.w_g = nn.Sequential(nn.Conv2D(skip, mid, 1), nn.BatchNorm(mid))
            self.w_x = nn.Sequential(nn.Conv2D(skip, mid, 1), nn.BatchNorm(mid))
            self.psi = nn.Sequential(nn.Conv2D(mid, 1, 1), nn.BatchNorm(1), nn.Sigmoid())

        def forward(self, x, short_cut):
            x = self.up(x)
            psi = self.psi(F.relu(self.w_g(x) + self.w_x(short_cut)))
            short_cut = short_cut * psi
            short_h, short_w = short_cut.shape[2:]
            h, w = x.shape[2:]
            diff_y, diff_x = short_h - h, short_w - w
            x = F.pad(x, [diff_x // 2, diff_x - diff_x // 2, diff_y // 2, diff_y - diff_y // 2])
            return self.conv(paddle.concat([short_cut, x], axis=1))

    def __init__(self, widths=(8, 12, 16)) -> None:
        super().__init__()
        ins = (3, *widths)
        self.down = nn.LayerList([nn.Sequential(ConvBNLayer(a, b), ConvBNLayer(b, b)) for a, b in zip(ins, widths)])
        self.up = nn.LayerList([self.Up(b, a, a // 2) for a, b in zip(widths[:-1], widths[1:])])
        self.cls = nn.Conv2D(widths[0], 3, kernel_size=3, padding=1)

    def forward(self, image):
        x, skips = image, []
        for n, down in enumerate(self.down):
            x = down(F.max_pool2d(x, kernel_size=2, stride=2) if n else x)
            skips.append(x)
        for n in (1, 0):
            x = self.up[n](x, skips[n])
        return [self.cls(x)]


@backbone(32, {"heads.2.1": "single filter", "heads.*.1": OUTPUT})
class PIDNet(nn.Layer):
    """Three branches: gates from sums over channels, pooled contexts in a group convolution, borders as a gate."""

    class PagFM(nn.Layer):
        def __init__(self, ins, mid) -> None:
            super().__init__()
            self.f_i, self.f_p = ConvBNLayer(ins, mid, 1, act=None), ConvBNLayer(ins, mid, 1, act=None)

        def forward(self, x_p, x_i):
            f_i = F.interpolate(self.f_i(x_i), size=x_p.shape[2:], mode="bilinear", align_corners=False)
            f_p = self.f_p(x_p)
            sigma = F.sigmoid(paddle.sum(f_p * f_i, axis=1).unsqueeze(1))
            x_i = F.interpolate(x_i, size=x_p.shape[2:], mode="bilinear", align_corners=False)
            return sigma * x_i + (1 - sigma) * x_p

    class PAPPM(nn.Layer):
        def __init__(self, ins, mid, outs) -> None:
            super().__init__()
            pools = [nn.AvgPool2D(3, 2, 1, exclusive=False), nn.AdaptiveAvgPool2D((1, 1))]
            self.scales = nn.LayerList([self.step(ins, mid), *(nn.Sequential(p, self.step(ins, mid)) for p in pools)])
            self.processes = self.step(2 * mid, 2 * mid, 3, groups=2)
            self.compression, self.shortcut = self.step(3 * mid, outs), self.step(ins, outs)

        def step(self, ins, outs, kernel=1, groups=1):
            conv = nn.Conv2D(ins, outs, kernel, padding=kernel // 2, groups=groups, bias_attr=False)
            return nn.Sequential(
                nn.SyncBatchNorm(ins) if paddle.is_compiled_with_cuda() else nn.BatchNorm2D(ins), nn.ReLU(), conv
            )

        def forward(self, inputs):
            x_, feats = self.scales[0](inputs), []
            for scale in self.scales[1:]:
                up = F.interpolate(scale(inputs), size=inputs.shape[2:], mode="bilinear", align_corners=False)
                feats.append(up + x_)
            scale_out = self.processes(paddle.concat(feats, axis=1))
            return self.compression(paddle.concat([x_, scale_out], axis=1)) + self.shortcut(inputs)

    class LightBag(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.f_p, self.f_i = ConvBNLayer(ins, outs, 1, act=None), ConvBNLayer(ins, outs, 1, act=None)

        def forward(self, x_p, x_i, x_d):
            sigma = F.sigmoid(x_d)
            return self.f_p((1 - sigma) * x_i + x_p) + self.f_i(x_i + sigma * x_p)

    class Basic(nn.Layer):
        def __init__(self, ins, outs, stride=1, relu=True) -> None:
            super().__init__()
            self.conv1, self.conv2, self.relu = (
                ConvBNLayer(ins, outs, 3, stride),
                ConvBNLayer(outs, outs, act=None),
                relu,
            )
            self.downsample = ConvBNLayer(ins, outs, 1, stride, act=None) if stride > 1 or ins != outs else None

        def forward(self, x):
            out = self.conv2(self.conv1(x))
            out += x if self.downsample is None else self.downsample(x)
            return F.relu(out) if self.relu else out

    def __init__(self, c=8) -> None:
        super().__init__()
        self.stem, self.relu = nn.Sequential(ConvBNLayer(3, c, 3, 2), self.Basic(c, c, 2, relu=False)), nn.ReLU()
        self.i1, self.p1, self.d1 = self.Basic(c, 2 * c, 2), self.Basic(c, c), self.Basic(c, c // 2)
        self.compression, self.diff = ConvBNLayer(2 * c, c, 1, act=None), ConvBNLayer(2 * c, c // 2, act=None)
        self.pag, self.p2, self.d2 = self.PagFM(c, c // 2), self.Basic(c, c), self.Basic(c // 2, c)
        self.spp, self.dfm = self.PAPPM(2 * c, 4, c), self.LightBag(c, c)
        self.heads = nn.LayerList([nn.Sequential(ConvBNLayer(c, c), nn.Conv2D(c, k, 1)) for k in (3, 3, 1)])

    def forward(self, image):
        size = paddle.shape(image)[2:]
        w_out, h_out = image.shape[-1] // 4, image.shape[-2] // 4
        x = self.stem(image)
        x_i, x_p, x_d = self.relu(self.i1(x)), self.p1(x), self.d1(x)
        x_p = self.pag(x_p, self.compression(x_i))
        x_d += F.interpolate(self.diff(x_i), size=[h_out, w_out], mode="bilinear")
        temp_p = x_p if self.training else None
        x_p, x_d = self.p2(self.relu(x_p)), self.d2(self.relu(x_d))
        x_i = F.interpolate(self.spp(x_i), size=[h_out, w_out], mode="bilinear")
        logits = [self.heads[0](self.dfm(x_p, x_i, x_d))]
        if self.training:
            logits = [self.heads[1](temp_p), *logits, self.heads[2](x_d)]
        return [F.interpolate(logit, size, mode="bilinear") for logit in logits]


@backbone(15, {"conv_last.1": OUTPUT, "dsn.*": OUTPUT, "align.*.flow_make": "fixed size"})
class SFNet(nn.Layer):
    """Semantic flow: maps warped by a field of two channels, on a grid of linspace and tile, in a pyramid."""

    class Aligned(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.down_h, self.down_l = (
                nn.Conv2D(ins, outs, 1, bias_attr=False),
                nn.Conv2D(ins, outs, 1, bias_attr=False),
            )
            self.flow_make = nn.Conv2D(outs * 2, 2, kernel_size=3, padding=1, bias_attr=False)

        def flow_warp(self, x, flow, size):
            input_shape = paddle.shape(x)
            norm = size[::-1].reshape([1, 1, 1, -1])
            norm.stop_gradient = True
            h_grid = paddle.linspace(-1.0, 1.0, size[0]).reshape([-1, 1]).tile([size[1]])
            w_grid = paddle.linspace(-1.0, 1.0, size[1]).reshape([-1, 1]).tile([size[0]]).transpose([1, 0])
            grid = paddle.concat([w_grid.unsqueeze(2), h_grid.unsqueeze(2)], axis=2)
            grid.unsqueeze(0).tile([input_shape[0], 1, 1, 1])
            grid = grid + paddle.transpose(flow, (0, 2, 3, 1)) / norm.astype(flow.dtype)
            return F.grid_sample(x, grid)

        def forward(self, x):
            low, high = x
            size = paddle.shape(low)[2:]
            up = F.interpolate(self.down_h(high), size=size, mode="bilinear", align_corners=True)
            flow = self.flow_make(paddle.concat([up, self.down_l(low)], 1))
            return self.flow_warp(high, flow, size=size)

    def __init__(self, widths=(8, 12, 16), dim=8, classes=3) -> None:
        super().__init__()
        ins = (3, *widths)
        self.backbone = nn.LayerList([ConvBNLayer(a, b, 3, 2) for a, b in zip(ins, widths)])
        self.stages = nn.LayerList([nn.Sequential(nn.AdaptiveAvgPool2D(s), ConvBNLayer(16, 4, 1)) for s in (1, 2)])
        self.ppm_out = ConvBNLayer(16 + 8, dim)
        self.fpn_in = nn.LayerList(
            [nn.Sequential(nn.Conv2D(w, dim, 1), nn.BatchNorm2D(dim), nn.ReLU()) for w in widths[:2]]
        )
        self.fpn_out = nn.LayerList([ConvBNLayer(dim, dim) for _ in "ab"])
        self.align = nn.LayerList([self.Aligned(dim, dim // 2) for _ in "ab"])
        self.dsn = nn.LayerList([nn.Conv2D(dim, classes, 1) for _ in "ab"])
        self.conv_last = nn.Sequential(ConvBNLayer(3 * dim, dim), nn.Conv2D(dim, classes, 1))

    def forward(self, image):
        feats, x = [], image
        for layer in self.backbone:
            x = layer(x)
            feats.append(x)
        size = paddle.shape(x)[2:]
        pooled = [F.interpolate(stage(x), size=size, mode="bilinear", align_corners=True) for stage in self.stages]
        f = self.ppm_out(paddle.concat([x, *pooled[::-1]], axis=1))
        maps, out = [f], []
        for i in reversed(range(2)):
            conv_x = self.fpn_in[i](feats[i])
            f = conv_x + self.align[i]([conv_x, f])
            maps.append(self.fpn_out[i](f))
            out.append(self.dsn[i](f))
        maps.reverse()
        size = paddle.shape(maps[0])[2:]
        fused = [maps[0], *(F.interpolate(y, size, mode="bilinear", align_corners=True) for y in maps[1:])]
        out.append(self.conv_last(paddle.concat(fused, 1)))
        return [F.interpolate(logit, paddle.shape(image)[2:], mode="bilinear") for logit in out]
