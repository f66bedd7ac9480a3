"""All files with relatives of known networks, so that whoever asks for all of them has them all."""

import backbones_attention
import backbones_classic
import backbones_detection
import backbones_hybrid
import backbones_mobile
import backbones_realtime
import backbones_residual
import backbones_segmentation
import backbones_tokens

FILES = [
    backbones_attention,
    backbones_classic,
    backbones_detection,
    backbones_hybrid,
    backbones_mobile,
    backbones_realtime,
    backbones_residual,
    backbones_segmentation,
    backbones_tokens,
]
