"""A moving picture of a terminal: frames that are held for a while each, as one GIF."""

import io
from pathlib import Path
from typing import Final

from tests.support.pictures import to_png

WIDTH: Final = 1000
"""Pixels: as wide as a page shows it, so that nothing is scaled again."""
COLOURS: Final = 128
"""Enough for a theme's colours and the smoothed edges of its letters."""


class MovingPicture:
    """Frames in the order in which they were added."""

    def __init__(self) -> None:
        self._frames: list[tuple[str, float]] = []

    @property
    def seconds(self) -> float:
        """The time that it takes from the first frame to the end of the last."""
        return sum(seconds for _, seconds in self._frames)

    def add(self, svg: str, seconds: float) -> None:
        """Add a frame that is held for `seconds`; one that looks like the last prolongs that."""
        if self._frames and self._frames[-1][0] == svg:
            seconds += self._frames.pop()[1]
        self._frames.append((svg, seconds))

    def write(self, path: Path) -> None:
        """Write the GIF. It raises ModuleNotFoundError without the `dev` extra."""
        from PIL import Image  # not in the `test` extra

        images = []
        for svg, _ in self._frames:
            image = Image.open(io.BytesIO(to_png(svg))).convert("RGB")
            height = round(image.height * WIDTH / image.width)
            images.append(image.resize((WIDTH, height), Image.Resampling.LANCZOS))
        # One palette for all: with one each, colours would flicker from frame to frame.
        strip = Image.new("RGB", (WIDTH, sum(image.height for image in images)))
        top = 0
        for image in images:
            strip.paste(image, (0, top))
            top += image.height
        palette = strip.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
        first.save(
            path,
            save_all=True,
            append_images=rest,
            duration=[round(seconds * 1000) for _, seconds in self._frames],
            loop=0,
            optimize=True,
        )
