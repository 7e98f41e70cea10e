"""The parts of a film: each has its artists and moves them from frame to frame."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from toysup._backends.reference.model import learning_rate
from toysup._stream.batch import take
from toysup.metrics import dimensionality
from toysup.plot._parts.source import Floats
from toysup.plot._parts.style import KINDS, paint
from toysup.plot._parts.thin import outer_and_spread, top_and_quantiles
from toysup.plot._parts.vectors import MAX_EXAMPLES, inks, shades
from toysup.plot._steps.course import Course
from toysup.plot._steps.evolution import draw_losses
from toysup.plot._sweeps.dimensionality import MAX_POINTS, scatter

__all__ = ["Losses", "Part", "Plane", "Scene", "Strip", "flat_strips"]

# The curves as they will go on.
_FUTURE = 0.25


class Part(Protocol):
    """A part of a film.

    Attributes
    ----------
    moving : list of Artist
        The artists that are not the same in every frame, from back to front.
    """

    moving: list[Artist]

    def show(self, frame: int) -> None:
        """Show a frame."""


class Scene:
    """What there is to show of the vectors of one kind.

    Attributes
    ----------
    name, color : str
        The kind, and its colour.
    guides : list of (float, str)
        Dimensionalities to compare with.
    title : str
        How many vectors there are, and how many of them are drawn.
    longest : array of shape (frames,)
        The length of the longest vector.
    D : array of shape (frames, points)
        The dimensionalities to draw.
    lowest : float
        The end of an axis of dimensionality; smaller ones are drawn there.
    """

    def __init__(self, course: Course, name: str) -> None:
        self._course, self.name, self.color = course, name, paint(name)
        self.guides = course.guides(name)
        count, points = course.count(name), []
        self.longest, largest = np.zeros(len(course)), np.zeros(count)
        for k in range(len(course)):
            V = course.vectors(name, k)
            length = np.linalg.norm(V, axis=1)
            self.longest[k] = length.max(initial=0.0)
            np.maximum(largest, length / (self.longest[k] or 1.0), out=largest)
            points.append(top_and_quantiles(dimensionality(V), MAX_POINTS))
        self.D = np.array(points)
        self._kept = outer_and_spread(largest, MAX_EXAMPLES)
        self._X = take(course.X, self._kept) if name == "examples" else None
        some = f"{self._kept.size:,} of " if self._kept.size < count else ""
        self.title = f"{some}{count:,} {name if count > 1 else name[:-1]}"
        most = max(course.count(kind) for kind in KINDS)
        self.lowest = 10.0 ** math.floor(math.log10(0.1 * course.run.config.m / max(most, 10)))

    def vectors(self, frame: int) -> Floats:
        """The vectors to draw, shape (kept, m)."""
        V = self._course.vectors(self.name, frame, self._X)
        return V[self._kept] if self._X is None else V


class Losses:
    """The losses over the steps: strong as far as the film has come, with a dot there."""

    def __init__(self, ax: Axes, course: Course) -> None:
        self._config, self._steps, self._ax = course.run.config, course.steps, ax
        self._title = ax.set_title("step", loc="left")
        self._lines = []
        for line in draw_losses(ax, course, alpha=_FUTURE):
            style: Any = {
                "color": paint("ink"),
                "linestyle": line.get_linestyle(),
                "linewidth": 1.6,
            }
            (past,) = ax.plot([], [], label=f"_{line.get_label()} so far", **style)
            (dot,) = ax.plot([], [], "o", color=paint("ink"), markersize=5, clip_on=False, zorder=4)
            # As drawn: on these axes the line is straight between its points.
            points = ax.transScale.transform(line.get_xydata())
            self._lines.append((points, past, dot))
        self._now = ax.axvline(1.0, color=paint("muted"), linewidth=0.8, zorder=0)
        self.moving: list[Artist] = [self._title, self._now]
        self.moving += [artist for _, *artists in self._lines for artist in artists]

    def show(self, frame: int) -> None:
        """Move the dots; write the step and the learning rate of its update."""
        step = int(self._steps[frame])
        rate = learning_rate(self._config, step)
        text = f"step {step:,} of {self._config.steps:,},  learning rate "
        self._title.set_text(text + (f"{rate:.1e}" if rate > 0 else "0"))
        self._now.set_xdata([step, step])
        at = self._ax.transScale.transform((step, 1.0))[0]
        for points, past, dot in self._lines:
            here = (at, np.interp(at, *points.T))
            shown = self._ax.transScale.inverted().transform([*points[points[:, 0] < at], here])
            past.set_data(*shown.T)
            dot.set_data(*shown[-1:].T)


class Plane:
    """Vectors in the plane: lines from the origin with a dot at the tip, and rings of lengths."""

    def __init__(self, ax: Axes, scene: Scene) -> None:
        self._ax, self._scene = ax, scene
        self._scale = 1.1 * smooth_bound(scene.longest)
        ax.set_aspect("equal")
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(visible=True, color=paint("rule"), linewidth=0.6)
        ax.set_title(scene.title, color=scene.color)
        self._rings = [_Ring(ax, r) for r in round_numbers(self._scale.min(), self._scale.max())]
        self._lines = LineCollection([], label=scene.name)
        ax.add_collection(self._lines, autolim=False)
        self._tips = ax.scatter([], [], linewidths=0, label=scene.name, zorder=3)
        self.moving: list[Artist] = [ring.circle for ring in self._rings]
        self.moving += [self._lines, self._tips, *(ring.text for ring in self._rings)]

    def show(self, frame: int) -> None:
        """Move the vectors, the scale and the rings."""
        V, scale = self._scene.vectors(frame), float(self._scale[frame])
        self._ax.set(xlim=(-scale, scale), ylim=(-scale, scale))
        lines, widths, dots, areas = inks(np.hypot(V[:, 0], V[:, 1]))
        self._lines.set_segments(list(np.stack((np.zeros_like(V), V), axis=1)))
        self._lines.set(color=shades(self._scene.color, lines), linewidth=widths)
        self._tips.set_offsets(V)
        self._tips.set(facecolor=shades(self._scene.color, dots), sizes=1.8 * areas)
        for ring in self._rings:
            ring.show(scale)


class _Ring:
    """The circle of all vectors of one length, with the length at its lower left."""

    def __init__(self, ax: Axes, radius: float) -> None:
        self._radius = radius
        self.circle = Circle(
            (0, 0), radius, fill=False, edgecolor=paint("rule"), linewidth=0.8, zorder=0
        )
        ax.add_artist(self.circle)
        at = -radius / 2**0.5
        style: Any = {"ha": "center", "va": "center", "size": "x-small", "color": paint("muted")}
        self.text = ax.text(at, at, f"{radius:g}", clip_on=True, zorder=4, **style)
        self.text.set_path_effects([withStroke(linewidth=2.5, foreground=paint("paper"))])

    def show(self, scale: float) -> None:
        """Show the ring as far as it is neither small nor beyond the panel."""
        alpha = float(np.interp(self._radius / scale, (0.3, 0.4, 0.9, 1.0), (0, 1, 1, 0)))
        for artist in (self.circle, self.text):
            artist.set(alpha=alpha, visible=alpha > 0)


class Strip:
    """The dimensionality of every vector of one kind as a dot on a logarithmic axis.

    Upright it has a panel of its own; flat it is one row of a panel.
    """

    def __init__(self, ax: Axes, scene: Scene, row: int | None = None) -> None:
        self._scene, self._flat = scene, row is not None
        count = scene.D.shape[1]
        self._across = (row or 0) + 0.84 * (scatter(count) - 0.575)
        (self._dots,) = ax.plot(
            *self._xy(np.full(count, scene.lowest)),
            "o",
            markersize=3.0 if count > 50 else 4.2,
            markeredgewidth=0,
            color=scene.color,
            alpha=0.4 if count > 50 else 0.8,
            clip_on=False,
            label=f"D of {scene.name}",
        )
        self.moving: list[Artist] = [self._dots]
        width = np.array([-0.47, 0.47]) + (row or 0)
        for height, label in scene.guides:
            x, y = (np.full(2, height), width) if self._flat else (width, np.full(2, height))
            self.moving += ax.plot(
                x, y, ":", color=paint("ink"), linewidth=1.3, zorder=4, label=label
            )
            self._name(ax, height, label, width)
        if not self._flat:
            ax.set_title(scene.title, color=scene.color)
            ax.set(yscale="log", ylim=(scene.lowest, 1.0), xlim=(-0.5, 0.5), xticks=[])

    def _name(self, ax: Axes, height: float, label: str, width: Floats) -> None:
        """A label beside a dotted line."""
        if self._flat:
            edge, va = (width[0], "bottom") if width.sum() == 0 else (width[1], "top")
            ax.text(height, edge, label, ha="center", va=va, size="x-small", color=paint("ink"))
        else:
            ax.text(width[1], height, f" {label}", va="center", size="x-small", color=paint("ink"))

    def _xy(self, D: Floats) -> tuple[Floats, Floats]:
        return (D, self._across) if self._flat else (self._across, D)

    def show(self, frame: int) -> None:
        """Move the dots."""
        self._dots.set_data(*self._xy(np.maximum(self._scene.D[frame], self._scene.lowest)))


def flat_strips(ax: Axes, scenes: list[Scene]) -> list[Strip]:
    """A flat strip for each kind, one above the other."""
    strips = [Strip(ax, scene, row) for row, scene in enumerate(scenes)]
    ax.set(xscale="log", xlim=(scenes[0].lowest, 1.0))
    ax.set(ylim=(len(scenes) - 0.15, -0.85), xlabel="dimensionality")
    ax.set_yticks(range(len(scenes)), [scene.name for scene in scenes])
    for scene, label in zip(scenes, ax.get_yticklabels(), strict=True):
        label.set_color(scene.color)
    ax.tick_params(axis="y", length=0)
    return strips


def smooth_bound(values: Floats) -> Floats:
    """A smooth curve that is nowhere below these values, none of which is negative."""
    largest = values.max(initial=0.0)
    if largest == 0:
        return np.ones_like(values)
    half = max(1, len(values) // 40)
    bound = np.log(np.maximum(values, 1e-6 * largest))
    # A mean of maxima, each over a window that holds the point itself, cannot be below it.
    for reduced in (np.max, np.mean):
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(bound, half, mode="edge"), 2 * half + 1
        )
        bound = reduced(windows, axis=1)
    return np.asarray(np.exp(bound) * (1 + 1e-12))


def round_numbers(smallest: float, largest: float) -> list[float]:
    """Lengths of rings for panels of these half-widths: 1, 2 and 5 times powers of ten."""
    exponents = range(math.floor(math.log10(0.3 * smallest)), math.ceil(math.log10(largest)) + 1)
    numbers = (float(f"{k}e{e}") for e in exponents for k in (1, 2, 5))
    return [number for number in numbers if 0.3 * smallest < number < largest]
