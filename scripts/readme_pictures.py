"""Draws the picture and the plot at the top of README.md from the report of a comparison.

    make compare
    .venv/bin/python scripts/readme_pictures.py runs/cluttered-digits

It takes the first rows of the pictures that report.html opens with, as Chromium shows them
(`chromium` and `chromedriver` on the path), and accuracy.svg as it is.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DOCS = Path(__file__).parents[1] / "docs"
ROWS = 2
COLOURS = 256


def picture_of(report: Path) -> bytes:
    """Return the first rows of the pictures that a report opens with, as a PNG file."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--window-size=1400,1400", "--hide-scrollbars"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(report.resolve().as_uri())
        for row in driver.find_elements("css selector", "#opening tbody tr")[ROWS:]:
            driver.execute_script("arguments[0].remove()", row)
        taken = driver.find_element("css selector", "#opening table").screenshot_as_png
    finally:
        driver.quit()
    # a palette is a third of the bytes, and the page has few colours
    picture = Image.open(io.BytesIO(taken)).convert("RGB").quantize(COLOURS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main(folder: Path) -> None:
    """Write both files of the documentation."""
    (DOCS / "compare-pictures.png").write_bytes(picture_of(folder / "report.html"))
    shutil.copyfile(folder / "accuracy.svg", DOCS / "compare-plot.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
