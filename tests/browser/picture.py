"""Take the README's picture of the demo, light and dark, into ``.images/``.

From the top of the tree: ``PYTHONPATH=tests .venv/bin/python -m browser.picture``. All that is on it is real: the demo
is started and its jobs are run. A Chromium and the font Inter are needed; ``tests/run`` brings both.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from random import Random
from typing import Final, Literal

from playwright.sync_api import Page, expect, sync_playwright

from browser.demo_page import DEMO, ENVIRONMENT, PATIENCE, Demo
from support.chromium import CHROMIUM_ARGS
from support.process import StartServer
from support.tools import ROOT, find_chromium

IMAGES = ROOT / ".images"
WIDTH, HEIGHT = 1216, 930  # CSS pixels
MAX_BYTES = 150_000
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


def main() -> None:
    expect.set_options(timeout=4 * PATIENCE)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        start = StartServer(Path(name))
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGS)
        try:
            server = start(DEMO, env=ENVIRONMENT)
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB", reduced_motion="reduce"
            )
            arrange(Demo(page, server.url).open(), Path(name))
            pictures = {scheme: take(page, scheme) for scheme in SCHEMES}  # at once: the cut lasts for seconds
            page.goto("about:blank")
            for scheme, png in pictures.items():
                keep(page, png, scheme)
        finally:
            browser.close()
            start.end_all()


def arrange(demo: Demo, folder: Path) -> None:
    """Have one of everything: running with and without a total, done, failed, and a connection that is cut."""
    ada, grace = demo.side("Ada"), demo.side("Grace")
    film = folder / "holiday.mov"
    film.write_bytes(Random(1).randbytes(60_000_000))
    demo.start("survey", "Grace")
    demo.page.get_by_role("radio", name="Ada").check()
    demo.send("check", film)
    expect(ada.card("holiday.mov")).to_contain_text("Done")
    for link in ("a broken one", "a good file"):
        with demo.page.expect_download() as download:
            demo.page.get_by_role("link", name=link).click()
        download.value.save_as(folder / download.value.suggested_filename)
    demo.send("import", folder / "customers-broken.csv")
    expect(ada.card("customers-broken.csv")).to_contain_text("Failed")
    expect(grace.card("Survey")).to_contain_text("Done")

    demo.start("weigh")
    demo.start("survey")
    demo.page.get_by_role("radio", name="Grace").check()
    demo.send("import", folder / "customers.csv")
    demo.page.get_by_role("radio", name="Ada").check()
    grace.section.locator(".wire summary").click()
    grace.wait_until("(task) => task.progress.current > 180")
    grace.cut.click()
    demo.page.mouse.move(0, 0)
    expect(grace.card("customers.csv")).to_contain_text("Last known, 2 s ago.")


def take(page: Page, scheme: Literal["light", "dark"]) -> bytes:
    page.emulate_media(color_scheme=scheme)
    # The caret stays as it is: to hide it is to add a sheet, which starts the cards' animations anew.
    return page.screenshot(caret="initial")


def keep(page: Page, png: bytes, scheme: str) -> None:
    picture = indexed(page, png)
    path = IMAGES / f"progress-{scheme}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(picture)
    print(f"{path.relative_to(ROOT)}: {len(picture):,} bytes")
    assert len(picture) <= MAX_BYTES, f"more than {MAX_BYTES:,}"


#: The 256 most frequent colours of a picture, and for each pixel the nearest of them.
REDUCE = """
async (base64) => {
  const picture = await fetch(`data:image/png;base64,${base64}`);
  const bitmap = await createImageBitmap(await picture.blob());
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);

  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const channels = (pixel) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
  const palette = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 256).map(([pixel]) => channels(pixel));
  const nearest = new Map();
  for (const pixel of counts.keys()) {
    const wanted = channels(pixel);
    const distances = palette.map((color) => color.reduce((sum, value, at) => sum + (value - wanted[at]) ** 2, 0));
    nearest.set(pixel, distances.indexOf(Math.min(...distances)));
  }
  const bytes = Uint8Array.from(pixels, (pixel) => nearest.get(pixel));
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return { width, height, palette: palette.flat(), pixels: btoa(text) };
}
"""


def indexed(page: Page, png: bytes) -> bytes:
    """The same picture as a PNG of 256 colours, a third of the size. A browser reads the picture."""
    read = page.evaluate(REDUCE, b64encode(png).decode())
    width, height, pixels = read["width"], read["height"], b64decode(read["pixels"])
    rows = b"".join(b"\0" + pixels[at : at + width] for at in range(0, len(pixels), width))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(read["palette"])),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


if __name__ == "__main__":
    main()
