"""Detection: necks and heads over several scales, their outputs as lists, tuples and lists of dicts."""

from __future__ import annotations

import paddle
from backbones import OUTPUT, ConvBNLayer, Mlp, backbone
from backbones_realtime import channel_shuffle
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from paddle.nn.initializer import Constant
from paddle.vision.ops import nms, roi_align


class Pyramid(nn.Layer):
    """Maps at strides of 4, 8 and 16."""

    def __init__(self, widths=(8, 12, 16)) -> None:
        super().__init__()
        ins = (8, *widths)
        self.stem = ConvBNLayer(3, 8, 3, 2)
        self.stages = nn.LayerList([ConvBNLayer(a, b, 3, 2) for a, b in zip(ins, widths)])

    def forward(self, inputs):
        x, outs = self.stem(inputs["image"] if isinstance(inputs, dict) else inputs), []
        for stage in self.stages:
            x = stage(x)
            outs.append(x)
        return outs


@backbone(18, {"yolo_output.*": OUTPUT})
class YOLOv3(nn.Layer):
    """Routes handed down, transitions upsampled; one map for each scale, in training as in evaluation."""

    class Block(nn.Layer):
        def __init__(self, ins, width) -> None:
            super().__init__()
            self.conv_module, dims = nn.Sequential(), [(ins, width, 1), (width, 2 * width, 3), (2 * width, width, 1)]
            for n, (a, b, size) in enumerate(dims):
                self.conv_module.add_sublayer(f"conv{n}", ConvBNLayer(a, b, size, act="leaky_relu"))
            self.tip = ConvBNLayer(width, 2 * width, act="leaky_relu")

        def forward(self, inputs):
            route = self.conv_module(inputs)
            return route, self.tip(route)

    def __init__(self, anchors=((10, 13), (16, 30), (33, 23)), classes=2) -> None:
        super().__init__()
        self.backbone, self.anchors, self.num_classes, self.yolo_output = Pyramid(), anchors, classes, []
        self.yolo_blocks, self.routes = [], []
        for n, (ins, width) in enumerate(zip((16, 12 + 4, 8 + 4), (8, 8, 4))):
            self.yolo_blocks.append(self.add_sublayer(f"yolo_block_{n}", self.Block(ins, width)))
            head = nn.Conv2D(2 * width, len(anchors) * (classes + 5), 1)
            self.yolo_output.append(self.add_sublayer(f"yolo_output.{n}", head))
            if n < 2:
                route = ConvBNLayer(width, 4, 1, act="leaky_relu")
                self.routes.append(self.add_sublayer(f"yolo_transition_{n}", route))

    def forward(self, image):
        outs, route = [], None
        for n, block in enumerate(self.backbone(image)[::-1]):
            if n > 0:
                block = paddle.concat([F.interpolate(route, scale_factor=2.0), block], axis=1)
            route, tip = self.yolo_blocks[n](block)
            outs.append(self.yolo_output[n](tip))
            if n < 2:
                route = self.routes[n](route)
        return outs


@backbone(8, {"boxes*": OUTPUT, "scores*": OUTPUT, "box?.2": OUTPUT})
class SSD(nn.Layer):
    """Extra maps behind the backbone, a map rescaled by its norm; boxes and scores by scale, and priors beside them."""

    def __init__(self, priors=(2, 3, 2), classes=3) -> None:
        super().__init__()
        self.backbone, self.num_classes, self.priors = Pyramid(), classes + 1, priors
        self.extra = nn.Sequential(ConvBNLayer(16, 8, 1), ConvBNLayer(8, 12, 3, 2))
        self.scale = self.create_parameter([8], default_initializer=Constant(20.0))
        self.box_convs, self.score_convs = [], []
        for n, (width, prior) in enumerate(zip((8, 16, 12), priors)):
            box = nn.Sequential(
                nn.Conv2D(width, width, 3, padding=1, groups=width), nn.ReLU6(), nn.Conv2D(width, prior * 4, 1)
            )
            self.box_convs.append(self.add_sublayer(f"box{n}", box) if n else self.plain(f"boxes{n}", width, prior * 4))
            self.score_convs.append(self.plain(f"scores{n}", width, prior * self.num_classes))

    def plain(self, name, ins, outs):
        return self.add_sublayer(name, nn.Conv2D(ins, outs, 3, padding=1))

    def l2_norm(self, x):
        norm = paddle.norm(x, p=2, axis=1, keepdim=True)
        return self.scale.unsqueeze(0).unsqueeze(2).unsqueeze(3).expand_as(x) * (x / (norm + 1e-10))

    def prior_boxes(self, feats, image):
        found = []
        for feat, count in zip(feats, self.priors):
            h, w = feat.shape[2:]
            grid = paddle.stack(paddle.meshgrid(paddle.arange(h), paddle.arange(w)), axis=-1).astype("float32")
            grid = (grid + 0.5).reshape([-1, 1, 2]).tile([1, count, 1])
            found.append(paddle.concat([grid, grid], axis=-1).reshape([-1, 4]) / image.shape[-1])
        return found

    def forward(self, image):
        low, _, high = self.backbone(image)
        feats = [self.l2_norm(low), high, self.extra(high)]
        boxes, scores = [], []
        for feat, box, score in zip(feats, self.box_convs, self.score_convs):
            boxes.append(box(feat).transpose([0, 2, 3, 1]).reshape([0, -1, 4]))
            scores.append(score(feat).transpose([0, 2, 3, 1]).reshape([0, -1, self.num_classes]))
        return (boxes, scores), self.prior_boxes(feats, image)


class Scale(nn.Layer):
    """One learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.create_parameter([1], default_initializer=Constant(1.0))

    def forward(self, x):
        return x * self.weight


@backbone(13, {"cls_head": OUTPUT, "reg_head": OUTPUT, "centerness": "single filter"})
class FCOS(nn.Layer):
    """A pyramid with extra levels; towers with GroupNorm shared by all; a dict for each level."""

    def __init__(self, dim=8, classes=3) -> None:
        super().__init__()
        self.backbone, self.strides = Pyramid(), (8, 16, 32)
        self.lateral = nn.LayerList([nn.Conv2D(w, dim, 1) for w in (12, 16)])
        self.fpn, self.extra = (
            nn.LayerList([nn.Conv2D(dim, dim, 3, padding=1) for _ in "ab"]),
            nn.Conv2D(dim, dim, 3, 2, 1),
        )
        self.cls_tower, self.reg_tower = self.tower(dim), self.tower(dim)
        self.cls_head, self.reg_head = nn.Conv2D(dim, classes, 3, padding=1), nn.Conv2D(dim, 4, 3, padding=1)
        self.centerness, self.scales = nn.Conv2D(dim, 1, 3, padding=1), nn.LayerList([Scale() for _ in range(3)])

    def tower(self, dim):
        layers = [[nn.Conv2D(dim, dim, 3, padding=1), nn.GroupNorm(2, dim), nn.ReLU()] for _ in "ab"]
        return nn.Sequential(*(layer for step in layers for layer in step))

    def forward(self, image):
        feats = self.backbone(image)[1:]
        maps = [conv(x) for conv, x in zip(self.lateral, feats)]
        maps[0] = maps[0] + F.interpolate(maps[1], paddle.shape(maps[0])[2:], mode="nearest")
        maps = [conv(x) for conv, x in zip(self.fpn, maps)]
        maps.append(self.extra(F.relu(maps[-1])))
        outs = []
        for scale, x, stride in zip(self.scales, maps, self.strides):
            cls, reg = self.cls_tower(x), self.reg_tower(x)
            box = scale(self.reg_head(reg))
            box = F.relu(box) * stride if not self.training else paddle.exp(box)
            outs.append({"scores": self.cls_head(cls), "boxes": box, "centerness": self.centerness(reg)})
        return outs


@backbone(
    36,
    {"pred_cls.*": OUTPUT, "pred_reg.*": OUTPUT, "proj_conv": "single filter"},
    inputs=({"image": [2, 3, 32, 32], "scale_factor": [2, 2]},),
)
class PPYOLOE(nn.Layer):
    """Stages of RepVGG blocks with gates, a neck of them; a distribution for each side of a box."""

    class Rep(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.conv1, self.conv2 = ConvBNLayer(dim, dim, 3, act=None), ConvBNLayer(dim, dim, 1, act=None)
            self.alpha = self.create_parameter([1], default_initializer=Constant(1.0))

        def forward(self, x):
            return F.swish(self.conv1(x) + self.alpha * self.conv2(x))

    class Effective(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.fc = nn.Conv2D(dim, dim, 1)

        def forward(self, x):
            return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))

    class CSP(nn.Layer):
        def __init__(self, ins, outs, attention=False) -> None:
            super().__init__()
            mid = outs // 2
            self.conv1, self.conv2 = ConvBNLayer(ins, mid, 1, act="swish"), ConvBNLayer(ins, mid, 1, act="swish")
            self.blocks, self.conv3 = nn.Sequential(PPYOLOE.Rep(mid)), ConvBNLayer(outs, outs, 1, act="swish")
            self.attn = PPYOLOE.Effective(outs) if attention else None

        def forward(self, x):
            y = paddle.concat([self.conv1(x), self.blocks(self.conv2(x))], axis=1)
            return self.conv3(y if self.attn is None else self.attn(y))

    class Attend(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            self.fc, self.conv = nn.Conv2D(dim, dim, 1), ConvBNLayer(dim, dim, 1, act="swish")

        def forward(self, feat, avg_feat):
            return self.conv(feat * F.sigmoid(self.fc(avg_feat)))

    def __init__(self, classes=3, reg_max=3) -> None:
        super().__init__()
        self.backbone, self.num_classes, self.reg_channels = Pyramid(), classes, reg_max + 1
        self.stages = nn.LayerList([self.CSP(12, 12, True), self.CSP(16, 16, True)])
        self.fpn, self.route, self.pan = self.CSP(12 + 8, 8), ConvBNLayer(16, 8, 1), self.CSP(8 + 8, 12)
        self.down, widths = ConvBNLayer(8, 8, 3, 2), (12, 8)
        self.stem_cls = nn.LayerList([self.Attend(w) for w in widths])
        self.stem_reg = nn.LayerList([self.Attend(w) for w in widths])
        self.pred_cls = nn.LayerList([nn.Conv2D(w, classes, 3, padding=1) for w in widths])
        self.pred_reg = nn.LayerList([nn.Conv2D(w, 4 * self.reg_channels, 3, padding=1) for w in widths])
        self.proj_conv = nn.Conv2D(self.reg_channels, 1, 1, bias_attr=False)
        self.proj_conv.weight.set_value(paddle.linspace(0, reg_max, reg_max + 1).reshape([1, reg_max + 1, 1, 1]))
        self.proj_conv.weight.stop_gradient = True

    def forward(self, inputs):
        _, c4, c5 = self.backbone(inputs)
        c4, c5 = self.stages[0](c4), self.stages[1](c5)
        route = self.route(c5)
        p4 = self.fpn(paddle.concat([F.interpolate(route, scale_factor=2.0), c4], axis=1))
        p5 = self.pan(paddle.concat([self.down(p4), route], axis=1))
        scores, boxes = [], []
        for n, feat in enumerate((p5, p4)):
            _, _, h, w = feat.shape
            avg_feat = F.adaptive_avg_pool2d(feat, (1, 1))
            cls_logit = self.pred_cls[n](self.stem_cls[n](feat, avg_feat) + feat)
            reg = self.pred_reg[n](self.stem_reg[n](feat, avg_feat))
            if self.training:
                scores.append(F.sigmoid(cls_logit).flatten(2).transpose([0, 2, 1]))
                boxes.append(reg.flatten(2).transpose([0, 2, 1]))
                continue
            reg = reg.reshape([-1, 4, self.reg_channels, h * w]).transpose([0, 2, 3, 1])
            boxes.append(self.proj_conv(F.softmax(reg, axis=1)).squeeze(1))
            scores.append(F.sigmoid(cls_logit).reshape([-1, self.num_classes, h * w]))
        if self.training:
            return paddle.concat(scores, axis=1), paddle.concat(boxes, axis=1)
        boxes = paddle.concat(boxes, axis=1)
        if "scale_factor" in inputs:
            y, x = paddle.split(inputs["scale_factor"], 2, axis=-1)
            boxes = boxes / paddle.concat([x, y, x, y], axis=-1).reshape([-1, 1, 4])
        return {"bbox": boxes, "score": paddle.concat(scores, axis=-1)}


@backbone(17, {"gfl.*": OUTPUT})
class PicoDet(nn.Layer):
    """Depthwise separable necks, a backbone that shuffles; one convolution for classes and distributions, split."""

    class Separable(nn.Layer):
        def __init__(self, ins, outs, stride=1) -> None:
            super().__init__()
            self.dw, self.pw = (
                ConvBNLayer(ins, ins, 5, stride, ins, act="hardswish"),
                ConvBNLayer(ins, outs, 1, act="hardswish"),
            )

        def forward(self, x):
            return self.pw(self.dw(x))

    class Shuffle(nn.Layer):
        def __init__(self, dim) -> None:
            super().__init__()
            half = dim // 2
            self.pw, self.dw, self.linear = (
                ConvBNLayer(half, half, 1),
                ConvBNLayer(half, half, 3, 1, half, act=None),
                ConvBNLayer(half, half, 1),
            )

        def forward(self, inputs):
            x1, x2 = paddle.split(inputs, num_or_sections=[inputs.shape[1] // 2, inputs.shape[1] // 2], axis=1)
            return channel_shuffle(paddle.concat([x1, self.linear(self.dw(self.pw(x2)))], axis=1), 2)

    def __init__(self, classes=3, reg_max=3, dim=8) -> None:
        super().__init__()
        self.backbone, self.shuffle, self.cls_out_channels, self.reg_max = Pyramid(), self.Shuffle(12), classes, reg_max
        self.trans = nn.LayerList([ConvBNLayer(w, dim, 1) for w in (12, 16)])
        self.down, self.top = self.Separable(2 * dim, dim), self.Separable(dim, dim, 2)
        self.heads = nn.LayerList([nn.Sequential(self.Separable(dim, dim)) for _ in "ab"])
        self.gfl = nn.LayerList([nn.Conv2D(dim, classes + 4 * (reg_max + 1), 1) for _ in "ab"])

    def integral(self, x):
        x = F.softmax(x.reshape([-1, self.reg_max + 1]), axis=1)
        return F.linear(x, paddle.linspace(0, self.reg_max, self.reg_max + 1).unsqueeze(1)).reshape([-1, 4])

    def forward(self, image):
        _, c4, c5 = self.backbone(image)
        p4, p5 = self.trans[0](self.shuffle(c4)), self.trans[1](c5)
        p4 = self.down(paddle.concat([F.upsample(p5, size=p4.shape[-2:], mode="nearest"), p4], axis=1))
        p5 = p5 + self.top(p4)
        scores, boxes = [], []
        for x, head, gfl in zip((p4, p5), self.heads, self.gfl):
            cls, box = paddle.split(gfl(head(x)), [self.cls_out_channels, 4 * (self.reg_max + 1)], axis=1)
            scores.append(F.sigmoid(cls).transpose([0, 2, 3, 1]).flatten(1, 2))
            box = box.transpose([0, 2, 3, 1])
            boxes.append(box.flatten(1, 2) if self.training else self.integral(box).reshape([image.shape[0], -1, 4]))
        return paddle.concat(scores, axis=1), paddle.concat(boxes, axis=1)


@backbone(5, {"input_proj": "fixed size"})
class DETR(nn.Layer):
    """A transformer with learnt queries that look at the map; a dict with a list of dicts.

    Positions are sines, one frequency for each channel: what a channel means is in its number.
    """

    class Attention(nn.Layer):
        def __init__(self, dim, num_heads=2) -> None:
            super().__init__()
            self.embed_dim, self.num_heads, self.head_dim = dim, num_heads, dim // num_heads
            self.q, self.k, self.v, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))

        def heads(self, x):
            return x.reshape([0, 0, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])

        def forward(self, query, key, value):
            q, k, v = self.heads(self.q(query)), self.heads(self.k(key)), self.heads(self.v(value))
            weights = F.softmax(paddle.matmul(q * 0.5, k, transpose_y=True))
            out = paddle.matmul(weights, v).transpose([0, 2, 1, 3])
            return self.out_proj(out.reshape([0, 0, out.shape[2] * out.shape[3]]))

    class Layer(nn.Layer):
        def __init__(self, dim, cross) -> None:
            super().__init__()
            self.attn, self.norm1, self.mlp, self.norm2 = (
                DETR.Attention(dim),
                nn.LayerNorm(dim),
                Mlp(dim, 20, nn.ReLU),
                nn.LayerNorm(dim),
            )
            if cross:
                self.cross, self.norm3 = DETR.Attention(dim), nn.LayerNorm(dim)

        def forward(self, x, positions, memory=None, where=None):
            q = k = x + positions
            x = self.norm1(x + self.attn(q, k, x))
            if memory is not None:
                x = self.norm3(x + self.cross(x + positions, memory + where, memory))
            return self.norm2(x + self.mlp(x))

    def __init__(self, dim=12, queries=5, classes=3) -> None:
        super().__init__()
        self.backbone, self.input_proj, self.refine = Pyramid(), nn.Conv2D(16, dim, 1), ConvBNLayer(16, 16)
        self.encoder, self.decoder = self.Layer(dim, False), nn.LayerList([self.Layer(dim, True) for _ in "ab"])
        self.query_pos_embed = nn.Embedding(queries, dim)
        self.score_head, self.bbox_head = nn.Linear(dim, classes + 1), Mlp(dim, 16, nn.ReLU)
        self.bbox_head.fc2 = nn.Linear(16, 4)

    def positions(self, x):
        _, c, h, w = x.shape
        scale = paddle.arange(c, dtype="float32").reshape([1, 1, c]) + 1.0
        return paddle.sin(paddle.arange(h * w, dtype="float32").reshape([1, h * w, 1]) / scale)

    def forward(self, image):
        x = self.input_proj(self.refine(self.backbone(image)[-1]))
        where = self.positions(x)
        memory = self.encoder(x.flatten(2).transpose([0, 2, 1]), where)
        queries = self.query_pos_embed.weight.unsqueeze(0).tile([paddle.shape(x)[0], 1, 1])
        y, outs = paddle.zeros_like(queries), []
        for layer in self.decoder:
            y = layer(y, queries, memory, where)
            outs.append({"scores": self.score_head(y), "boxes": F.sigmoid(self.bbox_head(y))})
        return {**outs[-1], "aux": outs[:-1]}


@backbone(14, {"heads.*.2": OUTPUT})
class CenterNet(nn.Layer):
    """Upsampled by transposed depthwise convolutions, heads by name, peaks by pooling."""

    def __init__(self, dim=8, classes=3) -> None:
        super().__init__()
        self.backbone, self.proj = Pyramid(), nn.LayerList([ConvBNLayer(w, dim, 1) for w in (8, 12, 16)])
        self.ups = nn.LayerList([nn.Conv2DTranspose(dim, dim, 4, 2, 1, groups=dim, bias_attr=False) for _ in "ab"])
        self.node = nn.LayerList([ConvBNLayer(dim, dim) for _ in "ab"])
        self.heads = nn.LayerDict(
            {name: self.head(dim, width) for name, width in (("hm", classes), ("wh", 2), ("reg", 2))}
        )

    def head(self, dim, outs):
        return nn.Sequential(nn.Conv2D(dim, dim, 3, padding=1), nn.ReLU(), nn.Conv2D(dim, outs, 1))

    def forward(self, image):
        maps = [proj(x) for proj, x in zip(self.proj, self.backbone(image))]
        x = maps.pop()
        for up, node in zip(self.ups, self.node):
            x = node(up(x) + maps.pop())
        out = {name: self.heads[name](x) for name in ("hm", "wh", "reg")}
        out["hm"] = F.sigmoid(out["hm"])
        if not self.training:
            peaks = F.max_pool2d(out["hm"], 3, stride=1, padding=1)
            out["hm"] = out["hm"] * (peaks == out["hm"]).astype("float32")
        return [out]


@backbone(5, {"score": "single filter", "delta": "coordinate", "mask.2": OUTPUT})
class TwoStage(nn.Layer):
    """Proposals of which overlapping ones are left out, so that how many there are depends on the image."""

    def __init__(self, classes=3, size=2) -> None:
        super().__init__()
        self.backbone, self.size = Pyramid((8, 12)), size
        self.rpn, self.score, self.delta = nn.Conv2D(12, 8, 3, padding=1), nn.Conv2D(8, 1, 1), nn.Conv2D(8, 4, 1)
        self.fc1, self.fc2 = nn.Linear(12 * size * size, 16), nn.Linear(16, classes + 1)
        self.mask = nn.Sequential(nn.Conv2DTranspose(12, 8, 2, 2), nn.ReLU(), nn.Conv2D(8, classes, 1))

    def proposals(self, scores, deltas, most=12):
        scores, index = paddle.topk(scores.flatten(), most)
        deltas = F.sigmoid(deltas.transpose([1, 2, 0]).reshape([-1, 4]).index_select(index)) * 16
        boxes = paddle.concat([deltas[:, :2], deltas[:, :2] + deltas[:, 2:] + 1], axis=1)
        return boxes.index_select(nms(boxes, 0.5, scores))

    def forward(self, image):
        feats = self.backbone(image)[-1]
        rpn = F.relu(self.rpn(feats))
        scores, deltas = self.score(rpn), self.delta(rpn)
        boxes = [self.proposals(scores[n], deltas[n]) for n in range(image.shape[0])]
        num = paddle.concat([paddle.shape(each)[:1] for each in boxes]).astype("int32")
        rois = roi_align(feats, paddle.concat(boxes), num, output_size=self.size, spatial_scale=0.125)
        y = self.fc2(F.relu(self.fc1(rois.flatten(1))))
        return [{"boxes": paddle.concat(boxes), "num": num, "scores": F.softmax(y), "masks": self.mask(rois)}]
