"""The drawings of the page, empty: what they show is put into their named sources by page.js."""

from __future__ import annotations

from typing import Any

from toysup.plot._parts.style import paint

__all__ = ["drawings"]

# The half-width of a panel of vectors, in thousandths of the longest one.
_EDGE = 1120
# Losses that lie further apart than by this factor are drawn by their logarithm.
_FAR = 3.0


def drawings(data: dict[str, Any]) -> list[Any]:
    """Bokeh's description of every drawing, whose target is the element of its name."""
    from bokeh.embed import json_item

    cells = data["cells"]
    runs = [cell["run"] for cell in cells if "run" in cell]
    figures = []
    if len(data["x"]) > 1:
        figures += [_losses(data, "test_loss"), _losses(data, "train_loss")]
    if runs:
        figures += [_vectors("features"), _vectors("examples")]
        most = max(max(s[0][-1] for s in _curves(run)) for run in runs)
        figures.append(_dimensionality(most))
    if any("history" in run for run in runs):
        figures.append(_history())
    return [json_item(figure, figure.name) for figure in figures]


def _curves(run: dict[str, Any]) -> list[Any]:
    return [curve for state in run["states"] for curve in state["dimensionality"].values()]


def _figure(name: str, height: int = 260, **options: Any) -> Any:
    """An empty figure as wide as its element."""
    from bokeh.plotting import figure

    made = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **options,
    )
    for axis in made.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "13px"
        axis.axis_label_text_color = axis.major_label_text_color = paint("ink")
        axis.axis_line_color = axis.major_tick_line_color = paint("muted")
        axis.minor_tick_line_color = None
    made.grid.grid_line_color = paint("wash")
    return made


def _source(name: str, *columns: str) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource({column: [] for column in columns}, name=name)


def _losses(data: dict[str, Any], name: str) -> Any:
    """A loss over the main axis: a line for the runs chosen, dots for other seeds, and a marker."""
    known = [cell[name] for cell in data["cells"] if name in cell]
    far = bool(known) and min(known) > 0 and max(known) > _FAR * min(known)
    is_test = name == "test_loss"
    made = _figure(name, y_axis_type="log" if far and is_test else "linear")
    made.yaxis.axis_label = name.replace("_", " ")
    axis = data["axes"][data["main"]]
    made.xaxis.axis_label = "training examples T" if axis["name"] == "T" else axis["name"]
    ticks = _ticks(data["x"], axis["values"])
    made.xaxis.ticker = list(ticks)
    made.xaxis.major_label_overrides = ticks
    color = paint("green" if is_test else "violet")
    made.scatter(
        "x", "y", source=_source(f"{name}:all", "x", "y"), size=4, color=paint("muted"), alpha=0.5
    )
    line = _source(f"{name}:line", "x", "y")
    made.line("x", "y", source=line, color=color, line_width=2, line_dash=_dash(is_test))
    marker = "circle" if is_test else "square"
    made.scatter("x", "y", source=line, size=6, color=color, marker=marker)
    made.scatter(
        *("x", "y"),
        source=_source(f"{name}:here", "x", "y"),
        size=18,
        marker="diamond",
        fill_color=None,
        line_color=paint("ink"),
        line_width=2.5,
    )
    return made


def _dash(is_test: bool) -> str:
    return "solid" if is_test else "dashed"


def _ticks(x: list[float], values: list[str]) -> dict[float, str]:
    """Where to write a value at the axis: at most seven, none too near to another."""
    room = (max(x) - min(x)) / 7
    kept: dict[float, str] = {x[-1]: values[-1], x[0]: values[0]}
    for place, value in zip(x, values, strict=True):
        if all(abs(place - other) >= room for other in kept):
            kept[place] = value
    return kept


def _vectors(name: str) -> Any:
    """Lines from the origin, with a marker at each tip."""
    made = _figure(name, x_range=(-_EDGE, _EDGE), y_range=(-_EDGE, _EDGE))
    made.sizing_mode, made.aspect_ratio = "scale_width", 1
    made.axis.visible = False
    made.grid.visible = False
    lines = _source(f"{name}:lines", "x", "y", "alpha", "color")
    made.segment(0, 0, "x", "y", source=lines, color="color", alpha="alpha")
    tips = _source(f"{name}:tips", "x", "y", "size", "color", "marker", "fill")
    made.scatter(
        *("x", "y"),
        source=tips,
        size="size",
        marker="marker",
        line_color="color",
        fill_color="color",
        fill_alpha="fill",
        alpha=0.8,
    )
    return made


def _dimensionality(most: int) -> Any:
    """Dimensionalities in falling order, over the logarithm of their rank."""
    made = _figure(
        "dimensionality", x_axis_type="log", x_range=(0.8, 1.3 * most), y_range=(-0.03, 1.03)
    )
    made.sizing_mode, made.aspect_ratio = "scale_width", 1
    powers = [10**k for k in range(len(str(most)))]
    made.xaxis.ticker, made.grid[0].ticker = powers, powers
    made.xaxis.major_label_overrides = {power: f"{power:,}" for power in powers}
    made.xaxis.axis_label, made.yaxis.axis_label = "rank, the largest first", "dimensionality"
    even = _source("dimensionality:even", "x", "y")
    made.line("x", "y", source=even, color=paint("ink"), line_dash="dotted", line_width=1.5)
    for name, marker in (("examples", "square"), ("features", "circle")):
        made.scatter(
            *("x", "y"),
            source=_source(f"dimensionality:{name}", "x", "y"),
            size=7,
            marker=marker,
            color=paint(name),
            fill_alpha=0.0 if name == "examples" else 0.7,
        )
    return made


def _history() -> Any:
    """Both losses over the steps of one run, with a marker at the step that is shown."""
    from bokeh.models import NumeralTickFormatter

    made = _figure("history", x_axis_type="log")
    made.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
    made.xaxis.axis_label, made.yaxis.axis_label = "step", "loss"
    for name in ("test_loss", "train_loss"):
        is_test = name == "test_loss"
        made.line(
            *("x", "y"),
            source=_source(f"history:{name}", "x", "y"),
            color=paint("green" if is_test else "violet"),
            line_width=2,
            line_dash=_dash(is_test),
            legend_label=name.replace("_", " "),
        )
    made.scatter(
        *("x", "y"),
        source=_source("history:here", "x", "y"),
        size=18,
        marker="diamond",
        fill_color=None,
        line_color=paint("ink"),
        line_width=2.5,
    )
    made.legend.location, made.legend.background_fill_alpha = "bottom_left", 0.7
    return made
