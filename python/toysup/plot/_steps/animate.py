"""Training as a film: a frame a snapshot, for a notebook or as GIF, MP4 or HTML."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from toysup._files.paths import as_path, check_file
from toysup._files.whole import replace_file
from toysup._system.extras import need
from toysup.config.checks import as_float, as_int
from toysup.errors import StoreError, short, unknown
from toysup.plot._parts.source import Source
from toysup.plot._parts.style import KINDS, RC, label_S, label_T, paint
from toysup.plot._steps.course import Course, open_course
from toysup.plot._steps.frames import Losses, Part, Plane, Scene, Strip, flat_strips
from toysup.plot._steps.player import player

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Film", "animate"]

# What ffmpeg writes, and with which codec.
_CODECS = {".mp4": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "libvpx-vp9"}
SUFFIXES = (".gif", ".html", *_CODECS)
# A GIF stays on its last frame for so long before it starts again.
_PAUSE_MS = 1500
_SIDE, _CURVES, _HEIGHT = 3.1, 3.4, 3.6  # inches
# Settings of matplotlib while frames are drawn, whatever the user's are.
_DRAWING: Any = {"savefig.dpi": "figure", "savefig.bbox": None, "animation.frame_format": "png"}
# So many shades of each colour are enough for smooth edges, and make small files.
_LEVELS = 21


class Film:
    """Training as a film, made by :func:`animate`; a notebook plays it.

    Attributes
    ----------
    figure : Figure
        Shows one frame at a time; it is not known to pyplot and needs no closing.
    steps : array of shape (frames,)
        The step that each frame shows.
    fps : float
        Frames a second.
    """

    def __init__(
        self, figure: Figure, steps: npt.NDArray[np.int64], fps: float, parts: Sequence[Part]
    ) -> None:
        self.figure, self.steps, self.fps = figure, steps, fps
        self._parts = parts
        self._shades = tuple(map(paint, ("paper", *KINDS, "ink")))
        for artist in self._moving():
            artist.set_animated(True)
        self._html: str | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        seconds = len(self) / self.fps
        return f"<toysup.plot.Film of {len(self)} frames, {seconds:.1f} s>"

    def _repr_html_(self) -> str:
        return self.to_jshtml()

    def draw(self, frame: int) -> None:
        """Show a frame, from 0 to len(film) - 1, in the figure."""
        frame = as_int("frame", frame, 0, len(self) - 1)
        for part in self._parts:
            part.show(frame)

    def _moving(self) -> list[Artist]:
        return [artist for part in self._parts for artist in part.moving]

    def to_jshtml(self) -> str:
        """The film as a piece of HTML with buttons to play it, which needs nothing else."""
        if self._html is None:
            palette, _ = _palette(*self._shades)
            self._html = player(self._places(), palette.tobytes(), self.fps)
        return self._html

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the film to a file, whole or not at all; missing folders are made.

        Parameters
        ----------
        path : str or PathLike
            Ends in ".gif" (which stays on its last frame for 1.5 s), ".html" (a page with a
            player), or ".mp4", ".mov", ".mkv" or ".webm" (which need the program ffmpeg).

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If the path ends in something else.
        StoreError
            If ffmpeg is missing or fails, or the file cannot be written. An older file of that
            name then stays as it was.
        """
        path = checked_path(path)
        suffix = path.suffix.lower()
        path.parent.mkdir(parents=True, exist_ok=True)
        write = {".gif": self._write_gif, ".html": self._write_html}
        video = partial(self._write_video, suffix)
        replace_file(path, write.get(suffix, video), durable=False)
        return path

    def _write_html(self, file: IO[bytes]) -> None:
        page = (
            '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>toysup</title>\n'
            f'<body style="background:{self._shades[0]};color:{self._shades[-1]}">\n'
        )
        file.write((page + self.to_jshtml()).encode())

    def _write_video(self, suffix: str, file: IO[bytes]) -> None:
        from matplotlib.animation import FFMpegWriter

        # It draws whole figures: it gets one with nothing but the picture in it.
        screen = Figure(figsize=tuple(self.figure.get_size_inches()), dpi=self.figure.dpi)
        fps: Any = self.fps  # said to be an int, but any number will do
        writer: Any = FFMpegWriter(fps, _CODECS[suffix], extra_args=["-pix_fmt", "yuv420p"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"film{suffix}")
            try:
                with mpl.rc_context(_DRAWING), writer.saving(screen, str(path), screen.dpi):
                    for pixels in self._pixels():
                        screen.clear()
                        screen.figimage(pixels, origin="upper")
                        writer.grab_frame()
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stderr", None) or error
                text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
                text = " ".join(text.split())[-300:]
                raise StoreError(f"ffmpeg failed ({text}): write a .gif") from error
            with open(path, "rb") as made:
                shutil.copyfileobj(made, file)

    def _write_gif(self, file: IO[bytes]) -> None:
        images = self._images()
        frame_ms = round(1000 / self.fps)
        next(images).save(
            file,
            format="GIF",
            save_all=True,
            append_images=images,
            duration=[frame_ms] * (len(self) - 1) + [max(frame_ms, _PAUSE_MS)],
            loop=0,
        )

    def _images(self) -> Iterator[Image]:
        """Every frame, in colours that all of them share."""
        from PIL import Image

        palette, _ = _palette(*self._shades)
        for places in self._places():
            image = Image.fromarray(places)
            image.putpalette(palette.tobytes())
            yield image

    def _places(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Every frame as an array of shape (height, width) of places in the palette."""
        _, nearest = _palette(*self._shades)
        for pixels in self._pixels():
            red, green, blue = np.moveaxis(pixels >> 2, 2, 0)
            yield nearest[red, green, blue]

    def _pixels(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Every frame as an array of shape (height, width, 3)."""
        canvas: Any = FigureCanvasAgg(self.figure)
        with mpl.rc_context(_DRAWING):
            canvas.draw()  # without what moves
        rest = canvas.copy_from_bbox(self.figure.bbox)
        for frame in range(len(self)):
            self.draw(frame)
            canvas.restore_region(rest)
            with mpl.rc_context(_DRAWING):
                for artist in self._moving():
                    artist.draw(canvas.get_renderer())
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


@cache
def _palette(paper: str, *inks: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A ground and shades of colours on it, shape (k, 3), and which is nearest to 6-bit RGB."""
    ground = to_rgb(paper)
    ramps = [np.linspace(ground, to_rgb(color), _LEVELS + 1)[1:] for color in inks]
    palette = np.round(255 * np.concatenate([[ground], *ramps])).astype(np.uint8)
    levels = np.linspace(0, 255, 64)
    plane = np.stack(np.meshgrid(levels, levels, indexing="ij"), axis=-1).reshape(-1, 2)
    colors = palette.astype(np.float64).T
    nearest = np.empty((64, 64, 64), np.uint8)
    for red, level in enumerate(levels):
        # The squared distance, but for what is the same for all shades.
        distance = (colors**2).sum(axis=0) - 2 * (level * colors[0] + plane @ colors[1:])
        nearest[red] = distance.argmin(axis=1).reshape(64, 64)
    return palette, nearest


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The path of a film that can be written.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If it does not end in one of ``SUFFIXES``.
    StoreError
        If it needs ffmpeg, which is missing, or no file can be written there.
    """
    result = as_path("path", path)
    if result.suffix.lower() not in SUFFIXES:
        raise ValueError(f"path must end in one of {', '.join(SUFFIXES)}, got {str(result)!r}")
    if result.suffix.lower() in _CODECS:
        from matplotlib.animation import writers

        if not writers.is_available("ffmpeg"):
            raise StoreError(
                f"cannot write {str(result)!r}: the program ffmpeg, which makes such files, is "
                f"not installed; write {str(result.with_suffix('.gif'))!r} instead"
            )
    if result.suffix.lower() == ".gif":
        need("a .gif file", "PIL")
    check_file(result, make=True)
    return result


def animate(
    source: Source,
    path: str | os.PathLike[str] | None = None,
    *,
    what: str | Sequence[str] = ("features", "examples"),
    fps: float = 20.0,
    seconds: float | None = None,
    max_frames: int = 200,
    dpi: float = 100.0,
    **select: Any,
) -> Film:
    """Make a film of a training: features, examples, losses and dimensionalities at each snapshot.

    For m = 2 the columns of W (blue) and the hidden vectors of the training set (red) are drawn as
    in :func:`vectors`, at a scale that moves smoothly and always holds all of them; grey rings
    tell lengths. Beside them are the losses with a dot at the step, and a strip of all
    dimensionalities. For other m the strips take the place of the vectors. Dotted lines in a strip
    are at m / T for examples and, for m = 2, at 2/5 for features.

    A frame is a snapshot; nothing is interpolated, and as snapshots are log-spaced, so are the
    frames. Of more than 2,000 vectors of a kind 2,000 are drawn, the same ones in every frame: the
    500 that are longest at any time and every k-th of the others. Of more than 500 points of a
    strip, the 250 largest and 250 quantiles of the others. Copies of repeated examples are left
    out.

    Parameters
    ----------
    source : Run, SweepResult, str or PathLike
        A run that was trained with ``snapshots``, a sweep of such runs, or the path of either. Of
        several seeds the run of lowest train loss is shown.
    path : str or PathLike, optional
        Where to write the film at once; see :meth:`Film.save`.
    what : str or sequence of str, default ("features", "examples")
        Which vectors to show, from left to right.
    fps : float, default 20
        Frames a second, at most 50. A GIF counts in hundredths of a second.
    seconds : float, optional
        How long the film is to last. It then has at most ``fps * seconds`` frames, and fewer a
        second than ``fps`` if there are not so many snapshots.
    max_frames : int, default 200
        Of more snapshots so many are shown, evenly spaced by their number, the last one included.
    dpi : float, default 100
        Pixels an inch; a film with both kinds of vectors is 9.6 x 3.8 inches.
    **select
        One value of any axis of the sweep, such as ``T=1000``.

    Returns
    -------
    Film
        Plays in a notebook; ``.save(path)``, ``.to_jshtml()``, ``.figure``, ``.draw(frame)``.

    Raises
    ------
    TypeError, ValueError
        For a run without snapshots, a path with another suffix, and any other bad argument.
    StoreError
        As :meth:`Film.save`.
    """
    if path is not None:
        path = checked_path(path)
    names = _names(what)
    rate = _positive("fps", fps, 50.0)
    length = None if seconds is None else _positive("seconds", seconds, 3600.0)
    resolution = _positive("dpi", dpi, 1000.0)
    count = as_int("max_frames", max_frames, 1, 10_000)
    course = open_course(source, select)
    count = min(count, len(course))
    if length is not None:
        count = min(count, max(1, int(rate * length)))
        rate = count / length
    chosen = np.round(np.linspace(len(course) - 1, 0, count)[::-1]).astype(np.intp)
    film = _film(course.at(chosen), names, rate, resolution)
    if path is not None:
        film.save(path)
    return film


def _names(what: object) -> list[str]:
    """Which kinds of vectors, each at most once."""
    names = [what] if isinstance(what, str) else what
    if not isinstance(names, Sequence):
        raise TypeError(f"what must be a sequence of names, got {short(what)}")
    for name in names:
        if name not in KINDS:
            raise ValueError(unknown("kind of vector", name, KINDS))
    if not names or len(set(names)) < len(names):
        raise ValueError(f"what must name one or more kinds, each once, got {short(what)}")
    return list(names)


def _positive(name: str, value: object, high: float) -> float:
    number = as_float(name, value)
    if not 0 < number <= high:
        raise ValueError(f"{name} must be in (0, {high:g}], got {number:g}")
    return number


def _film(course: Course, names: list[str], fps: float, dpi: float) -> Film:
    """The film of the snapshots of a course, showing the first of them."""
    scenes = [Scene(course, name) for name in names]
    plane = course.run.config.m == 2
    columns = len(scenes)
    paper = paint("paper")  # whole and the same everywhere, as frames have no transparency
    with mpl.rc_context({**RC, "figure.facecolor": paper, "axes.facecolor": paper}):
        size = (_SIDE * columns + _CURVES, _HEIGHT)
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        widths = [_SIDE] * columns + [_CURVES]
        grid = figure.add_gridspec(2, columns + 1, width_ratios=widths, height_ratios=[1.5, 1])
        sides = [figure.add_subplot(grid[:, k]) for k in range(columns)]
        losses = figure.add_subplot(grid[0, -1] if plane else grid[:, -1])
        parts: list[Part] = [Losses(losses, course)]
        parts += [(Plane if plane else Strip)(ax, s) for ax, s in zip(sides, scenes, strict=True)]
        if plane:
            parts += flat_strips(figure.add_subplot(grid[1, -1]), scenes)
        else:
            sides[0].set_ylabel("dimensionality")
        c = course.run.config
        sizes = f"{label_T(c.T)},  m = {c.m},  n = {c.n:,}"
        text = f"{sizes},  S = {label_S(c.sparsity)},  seed = {c.seed}"
        figure.suptitle(text, x=0.01, ha="left", size="large")
        film = Film(figure, course.steps, fps, parts)
        film.draw(0)
        # The layout is found once: text that changes must not move the panels.
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.execute(figure)
        figure.set_layout_engine("none")
    return film
