"""Segmentation and detection: encoders and decoders, pyramids, context modules, necks and heads."""

from __future__ import annotations

import paddle
from backbones import OUTPUT, WRITTEN, ConvBNLayer, Head, SEModule, backbone
from paddle import nn
from paddle.nn import functional as F  # noqa: N812


class Encoder(nn.Layer):
    """Three maps, each half as large."""

    def __init__(self, widths=(8, 12, 16)) -> None:
        super().__init__()
        self.c1, self.c2, self.c3 = (
            ConvBNLayer(3, widths[0], 3, 2),
            ConvBNLayer(*widths[:2], 3, 2),
            ConvBNLayer(*widths[1:], 3, 2),
        )

    def forward(self, x):
        feats = []
        for layer in (self.c1, self.c2, self.c3):
            x = layer(x)
            feats.append(x)
        return feats


def resized(x, like, **more):
    return F.interpolate(x, size=paddle.shape(like)[2:], mode="bilinear", align_corners=False, **more)


@backbone(11, {"classifier": OUTPUT, "aux.1": OUTPUT})
class DeepLabV3Plus(nn.Layer):
    """ASPP with an image branch, low-level features, a second head in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Encoder()
        self.aspp_blocks = nn.LayerList(
            [ConvBNLayer(16, 8, 1), ConvBNLayer(16, 8, dilation=2), ConvBNLayer(16, 8, dilation=3)]
        )
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2D(output_size=(1, 1)), nn.Conv2D(16, 8, 1, bias_attr=False)
        )
        self.conv_bn_relu, self.dropout = ConvBNLayer(32, 12, 1), nn.Dropout(p=0.0)
        self.low, self.decode, self.classifier = ConvBNLayer(8, 4, 1), ConvBNLayer(16, 8), nn.Conv2D(8, 3, 1)
        self.aux = nn.Sequential(ConvBNLayer(12, 8), nn.Conv2D(8, 3, 1))

    def forward(self, x):
        feats = self.backbone(x)
        y = feats[-1]
        outputs = [resized(block(y), y) for block in self.aspp_blocks]
        outputs.append(resized(self.global_avg_pool(y), y))
        y = self.dropout(self.conv_bn_relu(paddle.concat(outputs, axis=1)))
        low = self.low(feats[0])
        y = self.classifier(self.decode(paddle.concat([resized(y, low), low], axis=1)))
        logits = [y, self.aux(feats[1])] if self.training else [y]
        return [F.interpolate(logit, paddle.shape(x)[2:], mode="bilinear") for logit in logits]


@backbone(7, {"conv_last": OUTPUT})
class PSPNet(nn.Layer):
    """Pooled to 1, 2 and 4 places, resized, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Encoder()
        self.stages = nn.LayerList(
            [nn.Sequential(nn.AdaptiveAvgPool2D(output_size=(s, s)), ConvBNLayer(16, 4, 1)) for s in (1, 2, 4)]
        )
        self.conv_bn_relu2, self.conv_last = ConvBNLayer(28, 8), nn.Conv2D(8, 3, 1)

    def forward(self, x):
        y = self.backbone(x)[-1]
        cat_layers = [resized(stage(y), y) for stage in self.stages]
        y = self.conv_bn_relu2(paddle.concat([y, *cat_layers[::-1]], axis=1))
        return [resized(self.conv_last(y), x)]


@backbone(6, {"head.0": OUTPUT, "head.1": OUTPUT})
class UNetPlusPlus(nn.Layer):
    """Nested skip connections, deep supervision with a mean at the end."""

    def __init__(self) -> None:
        super().__init__()
        w = (8, 12, 16)
        self.x00, self.x10, self.x20 = ConvBNLayer(3, 8), ConvBNLayer(8, 12), ConvBNLayer(12, 16)
        self.x01, self.x11 = ConvBNLayer(w[0] + w[1], 8), ConvBNLayer(w[1] + w[2], 12)
        self.x02 = ConvBNLayer(w[0] * 2 + w[1], 8)
        self.head, self.pool = nn.LayerList([nn.Conv2D(8, 3, 1), nn.Conv2D(8, 3, 1)]), nn.MaxPool2D(2, 2)

    def up(self, x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x):
        x00 = self.x00(x)
        x10 = self.x10(self.pool(x00))
        x20 = self.x20(self.pool(x10))
        x01 = self.x01(paddle.concat([x00, self.up(x10)], 1))
        x11 = self.x11(paddle.concat([x10, self.up(x20)], 1))
        x02 = self.x02(paddle.concat([x00, x01, self.up(x11)], 1))
        outs = [self.head[0](x01), self.head[1](x02)]
        return outs if self.training else [paddle.mean(paddle.stack(outs), axis=0)]


@backbone(5, {"last": OUTPUT})
class SegNet(nn.Layer):
    """Maxima put back where they came from."""

    def __init__(self) -> None:
        super().__init__()
        self.enco1, self.enco2, self.enco3 = ConvBNLayer(3, 8), ConvBNLayer(8, 12), ConvBNLayer(12, 12)
        self.deco2, self.deco1, self.last = ConvBNLayer(12, 8), ConvBNLayer(8, 8), nn.Conv2D(8, 3, 3, padding=1)

    def forward(self, x):
        x = self.enco1(x)
        x, ind1 = F.max_pool2d(x, kernel_size=2, stride=2, return_mask=True)
        x = self.enco2(x)
        size2 = x.shape
        x, ind2 = F.max_pool2d(x, kernel_size=2, stride=2, return_mask=True)
        x = self.enco3(x)
        x = F.max_unpool2d(x, ind2, kernel_size=2, stride=2, output_size=size2[2:])
        x = self.deco2(x)
        return self.last(self.deco1(F.max_unpool2d(x, ind1, kernel_size=2, stride=2)))


@backbone(
    7,
    {
        "cls_head": OUTPUT,
        "aux_head.1": OUTPUT,
        "f_pixel.0.conv": WRITTEN,
        "f_object.0.conv": WRITTEN,
        "f_down.conv": WRITTEN,
    },
)
class OCRNet(nn.Layer):
    """Soft object regions gather a context, pixels look it up; sizes from ``paddle.shape``."""

    def __init__(self, classes=3, mid=12, key=8) -> None:
        super().__init__()
        self.backbone, self.key = Encoder(), key
        self.conv3x3, self.aux_head = (
            ConvBNLayer(16, mid),
            nn.Sequential(ConvBNLayer(16, 8, 1), nn.Conv2D(8, classes, 1)),
        )
        self.f_pixel, self.f_object = nn.Sequential(ConvBNLayer(mid, key, 1)), nn.Sequential(ConvBNLayer(mid, key, 1))
        self.f_down, self.f_up = ConvBNLayer(mid, key, 1), ConvBNLayer(key, mid, 1)
        self.fuse, self.cls_head = ConvBNLayer(2 * mid, 8, 1), nn.Conv2D(8, classes, 1)

    def forward(self, x):
        feat = self.backbone(x)[-1]
        soft = self.aux_head(feat)
        pixels = self.conv3x3(feat)
        n, c = paddle.shape(soft)[:2]
        probs = F.softmax(paddle.reshape(soft, (n, c, -1)), axis=-1)
        feats = paddle.transpose(paddle.reshape(pixels, (n, pixels.shape[1], -1)), (0, 2, 1))
        proxy = paddle.unsqueeze(paddle.transpose(paddle.bmm(probs, feats), (0, 2, 1)), axis=-1)
        pixels_shape = paddle.shape(pixels)
        query = paddle.transpose(paddle.reshape(self.f_pixel(pixels), (n, self.key, -1)), (0, 2, 1))
        key = paddle.reshape(self.f_object(proxy), (n, self.key, -1))
        value = paddle.transpose(paddle.reshape(self.f_down(proxy), (n, self.key, -1)), (0, 2, 1))
        sim_map = F.softmax((self.key**-0.5) * paddle.bmm(query, key), axis=-1)
        context = paddle.transpose(paddle.bmm(sim_map, value), (0, 2, 1))
        context = paddle.reshape(context, (0, self.key, pixels_shape[2], pixels_shape[3]))
        y = self.cls_head(self.fuse(paddle.concat([self.f_up(context), pixels], axis=1)))
        return [resized(y, x), resized(soft, x)]


@backbone(8, {"conv_last": OUTPUT})
class DANet(nn.Layer):
    """Attention over places beside attention over channels, each with a scale that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.conv5a, self.conv5c = Encoder(), ConvBNLayer(16, 8), ConvBNLayer(16, 8)
        self.query_conv, self.key_conv, self.value_conv = nn.Conv2D(8, 4, 1), nn.Conv2D(8, 4, 1), nn.Conv2D(8, 8, 1)
        self.gamma_p, self.gamma_c = (
            self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0)) for _ in "pc"
        )
        self.conv_last = nn.Conv2D(8, 3, 1)

    def position(self, x):
        x_shape = paddle.shape(x)
        query = self.query_conv(x).reshape((0, -1, x_shape[2] * x_shape[3])).transpose((0, 2, 1))
        key = self.key_conv(x).reshape((0, -1, x_shape[2] * x_shape[3]))
        sim = F.softmax(paddle.bmm(query, key), axis=-1).transpose((0, 2, 1))
        value = self.value_conv(x).reshape((0, -1, x_shape[2] * x_shape[3]))
        feat = paddle.bmm(value, sim).reshape((0, -1, x_shape[2], x_shape[3]))
        return self.gamma_p * feat + x

    def channel(self, x):
        x_shape = paddle.shape(x)
        query = paddle.reshape(x, (0, x.shape[1], -1))
        key = paddle.transpose(paddle.reshape(x, (0, x.shape[1], -1)), (0, 2, 1))
        sim = paddle.bmm(query, key)
        sim = paddle.max(sim, axis=-1, keepdim=True).tile([1, 1, x.shape[1]]) - sim
        feat = paddle.matmul(F.softmax(sim), paddle.reshape(x, (0, x.shape[1], -1)))
        return self.gamma_c * paddle.reshape(feat, (0, x.shape[1], x_shape[2], x_shape[3])) + x

    def forward(self, x):
        feats = self.backbone(x)[-1]
        return [resized(self.conv_last(self.position(self.conv5a(feats)) + self.channel(self.conv5c(feats))), x)]


@backbone(6, {"conv_last": OUTPUT, "conv_mask": "single filter"})
class GCNet(nn.Layer):
    """Global context: softmax over the places, a transform with LayerNorm over ``[C, 1, 1]``, added to all."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.conv_mask = Encoder(), nn.Conv2D(16, 1, 1)
        self.channel_add = nn.Sequential(nn.Conv2D(16, 8, 1), nn.LayerNorm([8, 1, 1]), nn.ReLU(), nn.Conv2D(8, 16, 1))
        self.mid, self.conv_last = ConvBNLayer(16, 8), nn.Conv2D(8, 3, 1)

    def forward(self, x):
        y = self.backbone(x)[-1]
        _n, _c, _h, _w = paddle.shape(y)
        inputs = paddle.reshape(y, [0, y.shape[1], -1]).unsqueeze(1)
        mask = F.softmax(paddle.reshape(self.conv_mask(y), [0, 1, -1]), axis=2).unsqueeze(-1)
        context = paddle.reshape(paddle.matmul(inputs, mask), [0, y.shape[1], 1, 1])
        return [resized(self.conv_last(self.mid(y + self.channel_add(context))), x)]


@backbone(7, {"conv_last": OUTPUT})
class CCNet(nn.Layer):
    """Criss-cross attention by einsum along rows and columns, both in one softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.conva = Encoder(), ConvBNLayer(16, 8)
        self.q_conv, self.k_conv, self.v_conv = nn.Conv2D(8, 4, 1), nn.Conv2D(8, 4, 1), nn.Conv2D(8, 8, 1)
        self.gamma, self.conv_last = self.create_parameter([1]), nn.Conv2D(8, 3, 1)

    def attend(self, x):
        q, k, v = self.q_conv(x), self.k_conv(x), self.v_conv(x)
        rows, columns = paddle.einsum("bchw,bciw->bwhi", q, k), paddle.einsum("bchw,bchj->bhwj", q, k)
        both = F.softmax(paddle.concat([rows.transpose([0, 2, 1, 3]), columns], axis=3), axis=3)
        h = x.shape[2]
        rows, columns = both[:, :, :, :h], both[:, :, :, h:]
        out = paddle.einsum("bciw,bhwi->bchw", v, rows) + paddle.einsum("bchj,bhwj->bchw", v, columns)
        return self.gamma * out + x

    def forward(self, x):
        y = self.conva(self.backbone(x)[-1])
        for _ in range(2):
            y = self.attend(y)
        return [resized(self.conv_last(y), x)]


@backbone(9, {"seg_head": OUTPUT, "uafm.1": "single filter"})
class PPLiteSeg(nn.Layer):
    """Simple pyramid pooling, unified attention fusion from means and maxima over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.arm = Encoder(), ConvBNLayer(8, 8)
        self.cm = nn.LayerList([nn.Sequential(nn.AdaptiveAvgPool2D(s), ConvBNLayer(16, 8, 1)) for s in (1, 2)])
        self.conv_out, self.conv_x = ConvBNLayer(8, 8), ConvBNLayer(12, 8)
        self.uafm = nn.Sequential(ConvBNLayer(4, 2, act="leaky_relu"), nn.Conv2D(2, 1, 3, padding=1), nn.BatchNorm2D(1))
        self.seg_head = nn.Conv2D(8, 3, 1, bias_attr=False)

    def reduced(self, x):
        if not self.training:
            return [x.mean(axis=1, keepdim=True), x.max(axis=1, keepdim=True)]
        return [paddle.mean(x, axis=1, keepdim=True), paddle.max(x, axis=1, keepdim=True)]

    def forward(self, x):
        feats = self.backbone(x)
        out = None
        for stage in self.cm:
            y = F.interpolate(stage(feats[-1]), paddle.shape(feats[-1])[2:], mode="bilinear", align_corners=False)
            out = y if out is None else out + y
        high = self.conv_out(out)
        low = self.conv_x(feats[1])
        high = F.interpolate(high, paddle.shape(low)[2:], mode="bilinear", align_corners=False)
        atten = F.sigmoid(self.uafm(paddle.concat([*self.reduced(low), *self.reduced(high)], axis=1)))
        return [resized(self.seg_head(self.arm(low * atten + high * (1 - atten))), x)]


@backbone(10, {"conv_out": OUTPUT})
class BiSeNet(nn.Layer):
    """A detail branch, a semantic branch with a stem of two ways, guided aggregation."""

    def __init__(self) -> None:
        super().__init__()
        self.detail, self.stem, self.left = ConvBNLayer(3, 8, 3, 4), ConvBNLayer(3, 4, 3, 2), ConvBNLayer(4, 4, 1)
        self.down, self.fuse, self.gate = ConvBNLayer(4, 4, 3, 2), ConvBNLayer(8, 8), nn.Conv2D(8, 8, 1)
        self.sem, self.bga1, self.bga2 = (
            ConvBNLayer(8, 8, 3, 2),
            nn.Conv2D(8, 8, 3, padding=1, groups=8),
            nn.Conv2D(8, 8, 1),
        )
        self.detail_down = nn.Conv2D(8, 8, 3, stride=2, padding=1)
        self.conv_out = nn.Conv2D(8, 3, 1)

    def forward(self, x):
        detail = self.detail(x)
        y = self.stem(x)
        y = self.fuse(paddle.concat([self.down(self.left(y)), F.max_pool2d(y, 3, 2, 1)], axis=1))
        y = y + self.gate(F.adaptive_avg_pool2d(y, 1))
        sem = self.sem(y)
        one = self.bga2(self.bga1(detail)) * F.sigmoid(resized(sem, detail))
        two = F.avg_pool2d(self.detail_down(detail), 1, 1) * F.sigmoid(sem)
        return [resized(self.conv_out(one + resized(two, one)), x)]


@backbone(12, {"conv_out": OUTPUT})
class STDC(nn.Layer):
    """Blocks whose widths halve, concatenated; an attention refinement module, feature fusion."""

    class Cat(nn.Layer):
        def __init__(self, ins, outs) -> None:
            super().__init__()
            self.convs = nn.LayerList(
                [ConvBNLayer(ins, outs // 2, 1), ConvBNLayer(outs // 2, outs // 4), ConvBNLayer(outs // 4, outs // 4)]
            )
            self.avd, self.skip = ConvBNLayer(outs // 2, outs // 2, 3, 2, outs // 2, act=None), nn.AvgPool2D(3, 2, 1)

        def forward(self, x):
            first = out1 = self.convs[0](x)
            out_list = []
            for idx, conv in enumerate(self.convs[1:]):
                out1 = conv(self.avd(out1) if idx == 0 else out1)
                out_list.append(out1)
            return paddle.concat([self.skip(first), *out_list], axis=1)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block1, self.block2 = ConvBNLayer(3, 8, 3, 2), self.Cat(8, 16), self.Cat(16, 16)
        self.arm, self.ffm, self.conv_out = SEModule(16), ConvBNLayer(32, 8, 1), nn.Conv2D(8, 3, 1)

    def forward(self, x):
        f8 = self.block1(self.stem(x))
        f16 = self.arm(self.block2(f8))
        return [resized(self.conv_out(self.ffm(paddle.concat([f8, resized(f16, f8)], axis=1))), x)]


@backbone(6, {"out": OUTPUT})
class ENet(nn.Layer):
    """An initial block beside pooling, asymmetric and dilated bottlenecks with PReLU, transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.bn0, self.act0 = (
            nn.Conv2D(3, 9, 3, stride=2, padding=1, bias_attr=False),
            nn.BatchNorm2D(12),
            nn.PReLU(12),
        )
        self.ext1, self.ext3 = ConvBNLayer(12, 4, 1), ConvBNLayer(4, 12, 1, act=None)
        self.ext2 = nn.Sequential(
            nn.Conv2D(4, 4, (5, 1), padding=(2, 0)), nn.PReLU(), nn.Conv2D(4, 4, (1, 5), padding=(0, 2))
        )
        self.act, self.drop = nn.PReLU(12), nn.Dropout2D(0.0)
        self.up, self.out = (
            nn.Conv2DTranspose(12, 8, 3, stride=2, padding=1, output_padding=1),
            nn.Conv2DTranspose(8, 3, 3, padding=1),
        )

    def forward(self, x):
        x = self.act0(self.bn0(paddle.concat((self.main(x), F.max_pool2d(x, 3, stride=2, padding=1)), axis=1)))
        x = self.act(x + self.drop(self.ext3(self.ext2(self.ext1(x)))))
        return [self.out(F.relu(self.up(x)), output_size=[32, 32])]


@backbone(7, {"output_conv": OUTPUT})
class ERFNet(nn.Layer):
    """Downsamplers beside pooling, non-bottlenecks of one-dimensional convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.bn1 = nn.Conv2D(3, 5, 3, 2, 1), nn.BatchNorm2D(8)
        self.down2, self.bn2 = nn.Conv2D(8, 8, 3, 2, 1), nn.BatchNorm2D(16)
        self.a, self.b, self.bn3 = (
            nn.Conv2D(16, 16, (3, 1), padding=(1, 0)),
            nn.Conv2D(16, 16, (1, 3), padding=(0, 1)),
            nn.BatchNorm2D(16),
        )
        self.c, self.d, self.bn4 = (
            nn.Conv2D(16, 16, (3, 1), padding=(2, 0), dilation=(2, 1)),
            nn.Conv2D(16, 16, (1, 3), padding=(0, 2), dilation=(1, 2)),
            nn.BatchNorm2D(16),
        )
        self.up, self.bn5, self.output_conv = (
            nn.Conv2DTranspose(16, 8, 3, 2, 1, 1),
            nn.BatchNorm2D(8),
            nn.Conv2DTranspose(8, 3, 2, 2),
        )

    def forward(self, x):
        x = F.relu(self.bn1(paddle.concat([self.down1(x), F.max_pool2d(x, 2, 2)], 1)))
        x = F.relu(self.bn2(paddle.concat([self.down2(x), F.max_pool2d(x, 2, 2)], 1)))
        y = F.relu(self.bn3(self.b(F.relu(self.a(x)))))
        x = F.relu(x + self.bn4(self.d(F.relu(self.c(y)))))
        return [self.output_conv(F.relu(self.bn5(self.up(x))))]


@backbone(14, {"last_layer.1": OUTPUT})
class HRNet(nn.Layer):
    """Three resolutions, all exchanged with all; the fuse layers by name."""

    def __init__(self, widths=(8, 12, 16)) -> None:
        super().__init__()
        self.stem = ConvBNLayer(3, 8, 3, 2)
        self.t1, self.t2 = ConvBNLayer(8, 12, 3, 2), ConvBNLayer(12, 16, 3, 2)
        self.branches = [self.add_sublayer(f"branch_{n}", ConvBNLayer(w, w)) for n, w in enumerate(widths)]
        self.fuse = {}
        for i in range(3):
            for j in range(3):
                if j > i:
                    self.fuse[i, j] = self.add_sublayer(f"up_{i}_{j}", ConvBNLayer(widths[j], widths[i], 1, act=None))
                elif j < i:
                    pre = [ConvBNLayer(widths[j], widths[j], 3, 2) for _ in range(i - j - 1)]
                    down = nn.Sequential(*pre, ConvBNLayer(widths[j], widths[i], 3, 2, act=None))
                    self.fuse[i, j] = self.add_sublayer(f"down_{i}_{j}", down)
        self.last_layer = nn.Sequential(ConvBNLayer(sum(widths), 8, 1), nn.Conv2D(8, 3, 1))

    def forward(self, x):
        x = [self.stem(x)]
        x.append(self.t1(x[0]))
        x.append(self.t2(x[1]))
        x = [branch(y) for branch, y in zip(self.branches, x)]
        outs = []
        for i in range(3):
            residual = x[i]
            for j in range(3):
                if j == i:
                    continue
                y = self.fuse[i, j](x[j])
                y = F.interpolate(y, paddle.shape(x[i])[2:], mode="bilinear", align_corners=False) if j > i else y
                residual = residual + y
            outs.append(F.relu(residual))
        x0_h, x0_w = paddle.shape(outs[0])[2:]
        ups = [F.interpolate(y, (x0_h, x0_w), mode="bilinear") for y in outs[1:]]
        return [resized(self.last_layer(paddle.concat([outs[0], *ups], axis=1)), x[0])]


@backbone(18, {"heads.*": OUTPUT})
class CSPPAN(nn.Layer):
    """CSP backbone, spatial pyramid pooling, a neck that goes up and down, one map for each stride."""

    class CSP(nn.Layer):
        def __init__(self, ins, outs, n=1) -> None:
            super().__init__()
            self.conv1, self.conv2 = (
                ConvBNLayer(ins, outs // 2, 1, act="silu"),
                ConvBNLayer(ins, outs // 2, 1, act="silu"),
            )
            self.bottlenecks = nn.Sequential(*[ConvBNLayer(outs // 2, outs // 2, act="silu") for _ in range(n)])
            self.conv3 = ConvBNLayer(outs, outs, 1, act="silu")

        def forward(self, x):
            return self.conv3(paddle.concat([self.bottlenecks(self.conv1(x)), self.conv2(x)], axis=1))

    def __init__(self) -> None:
        super().__init__()
        self.focus, self.c3, self.csp3 = ConvBNLayer(12, 8, act="silu"), ConvBNLayer(8, 8, 3, 2), self.CSP(8, 8)
        self.c4, self.spp = ConvBNLayer(8, 12, 3, 2), ConvBNLayer(36, 12, 1)
        self.lateral, self.fpn = ConvBNLayer(12, 8, 1), self.CSP(16, 8)
        self.down, self.pan = ConvBNLayer(8, 8, 3, 2), self.CSP(16, 12)
        self.heads = nn.LayerList([nn.Conv2D(8, 3 * 8, 1), nn.Conv2D(12, 3 * 8, 1)])

    def forward(self, x):
        x = paddle.concat([x[:, :, 0::2, 0::2], x[:, :, 1::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 1::2]], axis=1)
        p3 = self.csp3(self.c3(self.focus(x)))
        p4 = self.c4(p3)
        p4 = self.spp(paddle.concat([p4, F.max_pool2d(p4, 5, 1, 2), F.max_pool2d(p4, 3, 1, 1)], axis=1))
        lat = self.lateral(p4)
        p3 = self.fpn(paddle.concat([F.interpolate(lat, scale_factor=2.0), p3], axis=1))
        p4 = self.pan(paddle.concat([self.down(p3), lat], axis=1))
        outs = []
        for head, y in zip(self.heads, (p3, p4)):
            y = head(y)
            b, _, h, w = y.shape
            outs.append(y.reshape([b, 3, 8, h, w]).transpose([0, 1, 3, 4, 2]).reshape([b, -1, 8]))
        return paddle.concat(outs, axis=1)


@backbone(9, {"cls": OUTPUT, "reg": OUTPUT})
class RetinaFPN(nn.Layer):
    """Feature pyramid with extra levels, and heads shared by all of them; a dict of lists, and nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Encoder()
        self.lateral = nn.LayerList([nn.Conv2D(w, 8, 1) for w in (12, 16)])
        self.fpn_convs, self.extra = (
            nn.LayerList([nn.Conv2D(8, 8, 3, padding=1) for _ in "ab"]),
            nn.Conv2D(8, 8, 3, 2, 1),
        )
        self.tower, self.cls, self.reg = ConvBNLayer(8, 8), nn.Conv2D(8, 6, 3, padding=1), nn.Conv2D(8, 4, 3, padding=1)

    def forward(self, x):
        feats = self.backbone(x)[1:]
        laterals = [conv(y) for conv, y in zip(self.lateral, feats)]
        laterals[0] = laterals[0] + F.interpolate(laterals[1], scale_factor=2.0, mode="nearest")
        levels = [conv(y) for conv, y in zip(self.fpn_convs, laterals)]
        levels.append(self.extra(F.relu(levels[-1])))
        towers = [self.tower(y) for y in levels]
        scores = [self.cls(y).flatten(2).transpose([0, 2, 1]) for y in towers]
        return {"cls": scores, "reg": [self.reg(y) for y in towers], "mask": None, "strides": (4, 8, 16)}


@backbone(9, {"head": OUTPUT})
class BiFPN(nn.Layer):
    """Fast normalised fusion: learnt weights, made positive, divided by their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Encoder()
        self.p = nn.LayerList([nn.Conv2D(w, 8, 1) for w in (8, 12, 16)])
        self.w1, self.w2 = (
            self.create_parameter([2], default_initializer=nn.initializer.Constant(1.0)),
            self.create_parameter([3, 1]),
        )
        self.td, self.out_dw, self.out_pw = (
            ConvBNLayer(8, 8),
            nn.Conv2D(8, 8, 3, padding=1, groups=8),
            nn.Conv2D(8, 8, 1),
        )
        self.head = nn.Conv2D(8, 4, 3, padding=1)

    def forward(self, x):
        p3, p4, p5 = (conv(y) for conv, y in zip(self.p, self.backbone(x)))
        w = F.relu(self.w1)
        w = w / (paddle.sum(w) + 1e-4)
        td = self.td(F.swish(w[0] * p4 + w[1] * F.upsample(p5, scale_factor=2, mode="nearest")))
        w = F.relu(self.w2)
        w /= paddle.sum(w, axis=0) + 1e-4
        maps = [F.max_pool2d(p3, 2, 2), p4, td]
        out = sum(weight * y for weight, y in zip(w, maps))
        return self.head(F.swish(self.out_pw(self.out_dw(out))))


@backbone(13, {"binarize.6": "single filter", "thresh.6": "single filter"})
class DBHead(nn.Layer):
    """Text detection: an FPN whose maps are concatenated, two heads of transposed convolutions, a soft step."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Encoder()
        self.ins = nn.LayerList([nn.Conv2D(w, 8, 1, bias_attr=False) for w in (8, 12, 16)])
        self.outs = nn.LayerList([nn.Conv2D(8, 4, 3, padding=1, bias_attr=False) for _ in range(3)])
        self.binarize, self.thresh = self.made(), self.made()

    def made(self):
        return nn.Sequential(
            nn.Conv2D(12, 4, 3, padding=1, bias_attr=False), nn.BatchNorm2D(4), nn.ReLU(),
            nn.Conv2DTranspose(4, 4, 2, 2), nn.BatchNorm2D(4), nn.ReLU(), nn.Conv2DTranspose(4, 1, 2, 2),
        )  # fmt: skip

    def forward(self, x):
        in2, in3, in4 = (conv(y) for conv, y in zip(self.ins, self.backbone(x)))
        out3 = in3 + F.upsample(in4, scale_factor=2, mode="nearest", align_mode=1)
        out2 = in2 + F.upsample(out3, scale_factor=2, mode="nearest", align_mode=1)
        p4, p3, p2 = self.outs[0](in4), self.outs[1](out3), self.outs[2](out2)
        fuse = paddle.concat([F.upsample(p4, scale_factor=4), F.upsample(p3, scale_factor=2), p2], axis=1)
        shrink = F.sigmoid(self.binarize(fuse))
        if not self.training:
            return {"maps": shrink}
        threshold = F.sigmoid(self.thresh(fuse))
        step = paddle.reciprocal(1 + paddle.exp(-50 * (shrink - threshold)))
        return {"maps": paddle.concat([shrink, threshold, step], axis=1)}


@backbone(4, inputs=[2, 3, 32, 64])
class CRNN(nn.Layer):
    """Text recognition: height pooled away, width as time, two LSTMs, a Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = ConvBNLayer(3, 8), ConvBNLayer(8, 12), ConvBNLayer(12, 16)
        self.conv4, self.lstm, self.fc = (
            ConvBNLayer(16, 16, 2),
            nn.LSTM(16, 8, direction="bidirectional", num_layers=2),
            nn.Linear(16, 7),
        )

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x), 2, 2)
        x = F.max_pool2d(self.conv2(x), 2, 2)
        x = F.max_pool2d(self.conv3(x), (4, 1), (4, 1))
        x = F.max_pool2d(self.conv4(x), (2, 1), (2, 1), padding=(1, 0))
        x = x[:, :, :1].squeeze(axis=2).transpose([0, 2, 1])
        predicts = self.fc(self.lstm(x)[0])
        return predicts if self.training else F.softmax(predicts, axis=2)


@backbone(16, {"out.*": OUTPUT})
class Hourglass(nn.Layer):
    """Stacked hourglasses with supervision of each."""

    class Glass(nn.Layer):
        def __init__(self, depth, dim) -> None:
            super().__init__()
            self.up1, self.low1, self.low3 = ConvBNLayer(dim, dim), ConvBNLayer(dim, dim), ConvBNLayer(dim, dim)
            self.low2 = Hourglass.Glass(depth - 1, dim) if depth > 1 else ConvBNLayer(dim, dim)

        def forward(self, x):
            low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2, 2))))
            return self.up1(x) + F.interpolate(low, scale_factor=2, mode="nearest")

    def __init__(self, dim=8) -> None:
        super().__init__()
        self.stem, self.glasses = ConvBNLayer(3, dim, 3, 2), nn.LayerList([self.Glass(2, dim), self.Glass(1, dim)])
        self.feature, self.out = (
            nn.LayerList([ConvBNLayer(dim, dim, 1) for _ in "ab"]),
            nn.LayerList([nn.Conv2D(dim, 3, 1) for _ in "ab"]),
        )
        self.merge_feature, self.merge_preds = nn.Conv2D(dim, dim, 1), nn.Conv2D(3, dim, 1)

    def forward(self, x):
        x, outs = self.stem(x), []
        for n, glass in enumerate(self.glasses):
            feature = self.feature[n](glass(x))
            preds = self.out[n](feature)
            outs.append(preds)
            if n == 0:
                x = x + self.merge_preds(preds) + self.merge_feature(feature)
        return paddle.stack(outs, axis=1)


@backbone(5, {"conv_last": OUTPUT})
class EncNet(nn.Layer):
    """Context encoding: residuals to learnt code words, aggregated, a gate for the channels, a second output."""

    def __init__(self, words=4, dim=12) -> None:
        super().__init__()
        self.backbone, self.conv = Encoder(), ConvBNLayer(16, dim, 1)
        self.codewords, self.scale = self.create_parameter([words, dim]), self.create_parameter([words])
        self.fc, self.se, self.conv_last = nn.Linear(dim, dim), nn.Linear(dim, 5), nn.Conv2D(dim, 3, 1)
        self.bn, self.pre = nn.BatchNorm1D(words), ConvBNLayer(dim, dim)

    def forward(self, x):
        y = self.conv(self.backbone(x)[-1])
        _n, c, _h, _w = y.shape
        flat = y.reshape([0, c, -1]).transpose([0, 2, 1])
        residual = flat.unsqueeze(2) - self.codewords.unsqueeze([0, 1])
        assign = F.softmax(self.scale.reshape([1, 1, -1]) * residual.pow(2).sum(3), axis=2)
        encoded = (assign.unsqueeze(-1) * residual).sum(1)
        encoded = F.relu(self.bn(encoded)).mean(1)
        gate = F.sigmoid(self.fc(encoded))
        y = F.relu(y + y * gate.unsqueeze([2, 3]))
        return [resized(self.conv_last(self.pre(y)), x), self.se(encoded)]


@backbone(6, {"tail": OUTPUT})
class SuperResolution(nn.Layer):
    """Residual channel attention, sub-pixel upsampling, a last convolution to the image's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body1, self.body2 = (
            nn.Conv2D(3, 8, 3, padding=1),
            nn.Conv2D(8, 8, 3, padding=1),
            nn.Conv2D(8, 8, 3, padding=1),
        )
        self.attention, self.up, self.shuffle = SEModule(8), nn.Conv2D(8, 32, 3, padding=1), nn.PixelShuffle(2)
        self.tail = nn.Conv2D(8, 3, 3, padding=1)

    def forward(self, x):
        x = self.head(x)
        x = x + 0.1 * self.attention(self.body2(F.relu(self.body1(x))))
        return self.tail(F.leaky_relu(self.shuffle(self.up(x)), 0.1))


@backbone(4, {"out": "single filter"})
class MultiTask(nn.Layer):
    """A plain classifier beside a decoder, chosen by a flag; a list of lists comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Encoder(), Head(16)
        self.up, self.out, self.with_mask = nn.Conv2DTranspose(16, 8, 4, 2, 1), nn.Conv2D(8, 1, 1), True

    def forward(self, x):
        feats = self.backbone(x)
        mask = self.out(F.relu(self.up(feats[-1]))) if self.with_mask else None
        return [[self.head(feats[-1])], [mask, None]]
