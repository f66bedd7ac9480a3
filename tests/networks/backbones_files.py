"""All files with relatives of known networks, so that whoever asks for all of them has them all."""

import backbones_attention
import backbones_classic
import backbones_hybrid
import backbones_mobile
import backbones_residual
import backbones_segmentation

FILES = [
    backbones_attention,
    backbones_classic,
    backbones_hybrid,
    backbones_mobile,
    backbones_residual,
    backbones_segmentation,
]
