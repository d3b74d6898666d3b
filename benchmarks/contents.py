"""Time how long the images of a folder take to be known by their content, at first and later.

    python benchmarks/contents.py [--images N] [--kilobytes N] [--small] [--below FOLDER]

Makes N JPEG files of about that size (with --small, of 16 x 16 pixels) in a new folder below
FOLDER, by default the system's for temporary files, and removes them. They are checked for damage
and hashed as before a comparison: the first time, when nothing is known of them; again; and after
one in a hundred was replaced. What is known is kept in the same new folder. Every time is a process
of its own, as every command is; only what it does with the files is timed. A line before the table
says how long a bare loop takes to read and hash all files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from keeprate_datasets.image_folder import ImageFolder

CLASSES = 100


def jpeg(size: tuple[int, int], kilobytes: int) -> bytes:
    """Return an image of `size` whose file has at least so many kilobytes, by its noise."""
    random = np.random.default_rng(0)
    smooth = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(smooth.resize(size, Image.Resampling.BICUBIC)).astype(float)
    noise = random.normal(0, 1, pixels.shape)
    for strength in range(100):
        buffer = io.BytesIO()
        noisy = (pixels + strength * noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        if buffer.tell() >= kilobytes * 1000:
            break
    return buffer.getvalue()


def make(root: Path, images: int, content: bytes) -> None:
    """Write the files; each has a few bytes of its own after its end."""
    for index in range(images):
        folder = root / f"class-{index % CLASSES:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:06d}.jpg").write_bytes(content + index.to_bytes(8, "big"))


def replace_some(root: Path) -> None:
    """Replace one image in a hundred by another with as many bytes."""
    for path in sorted(root.rglob("*.jpg"))[::100]:
        path.write_bytes(path.read_bytes()[:-8] + os.urandom(8))


def look(root: Path) -> None:
    """Print the seconds to check and to identify the images, and the fingerprint."""
    data = ImageFolder(root)
    data.bind(CLASSES, None)
    started = time.perf_counter()
    assert not data.bad_samples()
    checked = time.perf_counter()
    fingerprint = data.fingerprint()
    hashed = time.perf_counter()
    print(f"{checked - started:.1f} {hashed - checked:.1f} {fingerprint[:8]}")


def row(name: str, root: Path) -> None:
    """Look at the folder in another process, and print a row of the table."""
    command = [sys.executable, "-W", "ignore", __file__, "--look", str(root)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"| {name} | {' | '.join(said.split())} |", flush=True)


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--below", type=Path)
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.look:
        return look(asked.look)
    with tempfile.TemporaryDirectory(dir=asked.below) as folder:
        os.environ["KEEPRATE_CACHE"] = str(Path(folder, "cache"))
        size = (16, 16) if asked.small else (500, 375)
        root, content = Path(folder, "images"), jpeg(size, 0 if asked.small else asked.kilobytes)
        make(root, asked.images, content)
        print(f"\n{asked.images} images of {len(content) / 1000:.0f} kB, {os.cpu_count()} cores\n")
        started = time.perf_counter()
        for path in root.rglob("*.jpg"):
            hashlib.sha256(path.read_bytes())
        alone = time.perf_counter() - started
        print(f"Read and hashed one after the other, in a bare loop: {alone:.1f} s\n")
        print("| time | checked, s | hashed, s | fingerprint |")
        print("| --- | ---: | ---: | --- |")
        time.sleep(3)  # a file that was just written is not trusted to stay as it is
        row("first", root)
        row("second", root)
        replace_some(root)
        time.sleep(3)
        row("one in a hundred replaced", root)
        kept = sum(path.stat().st_size for path in Path(folder, "cache").rglob("*.json"))
    print(f"\nWhat is kept: {kept / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
