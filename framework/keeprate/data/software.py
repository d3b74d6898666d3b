"""Which software decides the pixels of a decoded image."""

from __future__ import annotations

import hashlib
from pathlib import Path

import PIL
import torch
import torchvision

from . import codec_warnings, images, rgb


def decoding_software() -> dict[str, str]:
    """Return the versions of the libraries that decode, and a hash of our own part of it."""
    ours = [Path(str(module.__file__)) for module in (images, codec_warnings, rgb)]
    return {
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "pillow": str(PIL.__version__),
        "transform": hashlib.sha256(b"".join(file.read_bytes() for file in ours)).hexdigest(),
    }
