"""The options of every command."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from toysup.cli._fields import option_value
from toysup.cli._show import FIGURES

__all__ = [
    *("explore", "export", "field_help", "info", "list_presets", "merge", "plot", "reproduce"),
    *("status", "sweep", "train"),
]

_VALUES = """\
For example: toysup sweep --T 3,5,8,inf --m 2 --seed 0:4 --store here

Each field of a run is an option. Several values, separated by commas, make it an axis of the sweep;
of integers, 0:4 stands for 0,1,2,3. T may be inf; flags are true or false; init-seed and batch-size
may be none. A pair is one value of --betas, and semicolons separate pairs: '0.9,0.999;0.8,0.99'.
--repeats 0:5,7:2 has example 0 five times and example 7 twice; semicolons separate such values.
--init may be the file of a run, whose weights are the first. With --data, T is the number of rows
if it is not given, --normalize says whether they are scaled, and --sparsity must not be given.
"""


# Texts of their own, and not the docstrings, which Python leaves out when it optimizes (-OO).
_HELP = {
    "n": "number of features",
    "m": "number of hidden dimensions, at most n",
    "T": "number of training examples, or inf for fresh ones in every step",
    "repeats": "t:R,...: example t (from 0) is there R times in all",
    "activation": "what follows W^T W x + b: relu or linear",
    "data": "a file with examples as rows in place of generated ones: .npz of SciPy, or .npy",
    "sparsity": "S in [0, 1): the probability that a feature of an example is zero",
    "normalize": "whether every example is scaled to unit norm",
    "importance": "a base r > 0: feature i (from 0) has the importance r^i",
    "seed": "seed of the examples",
    "init_seed": "seed of the initial weights; none takes that of the examples",
    "steps": "number of updates",
    "learning_rate": "the largest learning rate",
    "final_learning_rate": "where the cosine ends, at most the learning rate",
    "warmup": "share of the steps, in [0, 1), over which the learning rate rises",
    "schedule": "the learning rate after that: cosine or quarter_cosine (downwards), or constant",
    "optimizer": "adamw, adam or sgd, as in PyTorch",
    "betas": "decay of the first and second moment of adamw and adam, such as 0.9,0.999",
    "momentum": "of sgd, in [0, 1)",
    "eps": "of adamw and adam, > 0",
    "weight_decay": "weight decay, not negative",
    "decay_bias": "whether b is decayed too",
    "learn_bias": "whether b is trained; if not, it stays what it is at first",
    "loss_reduction": "what is minimised: errors averaged over features (mean) or summed (sum)",
    "init": "initial weights: xavier_uniform, xavier_normal, polygon (m = 2), or the .npz of a run",
    "bias_init": "initial b of all features",
    "batch_size": "examples in a step; none is all of them, and 1,000 when T is inf",
    "dtype": "of weights and optimizer: float32 or float64",
    "test_size": "number of fresh examples for the test loss; 0 for none",
    "record": "number of points of the history, at log-spaced steps",
    "snapshots": "number of snapshots of W and b, at log-spaced steps; films need them",
}


def field_help() -> dict[str, str]:
    """What every field is, and its default as it would be written."""
    from toysup.config import TrainConfig

    fields = TrainConfig.__dataclass_fields__
    defaults = {name: option_value(field.default) or "none" for name, field in fields.items()}
    return {name: f"{text} (default {defaults[name]})" for name, text in _HELP.items()}


def _axes_help() -> dict[str, str]:
    """The same of those that can be an axis, without defaults."""
    return {name: text for name, text in _HELP.items() if name != "data"}


def _add_fields(
    parser: argparse.ArgumentParser, title: str, texts: Mapping[str, str], about: str = ""
) -> None:
    group = parser.add_argument_group(title, about or None)
    for name in texts:
        option = "--" + name.replace("_", "-")
        metavar = "FILE" if name == "data" else "VALUE"
        group.add_argument(option, dest=name, metavar=metavar, help=texts[name])


def _add_output(parser: argparse.ArgumentParser, *, quiet: bool, json: bool) -> None:
    parser.set_defaults(quiet=False, json=False)
    if quiet:
        parser.add_argument(
            "--quiet", action="store_true", help="print nothing but warnings and errors"
        )
    if json:
        text = 'print one JSON document, in which NaN is null and infinity the text "inf"'
        parser.add_argument("--json", action="store_true", help=text)


def _add_jobs(
    parser: argparse.ArgumentParser, text: str = "runs at a time, each on one thread"
) -> None:
    parser.add_argument(
        "--jobs",
        "--n-jobs",
        dest="n_jobs",
        type=int,
        metavar="N",
        help=f"{text} (default: all processors)",
    )


def _add_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verbose", action="store_true", help="say on stderr what begins, ends and is kept"
    )


def _presets() -> str:
    """A line for each preset."""
    from toysup import paper

    names = paper.names()
    width = max(map(len, names))
    return "\n".join(f"  {name:{width}}  {paper.get(name).title}" for name in names)


def reproduce(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup reproduce``."""
    parser.description = (
        "Trains the models of a figure or a question, prints tables beside the paper's values,\n"
        "and writes drawings as PNG and SVG, and tables as CSV. With none named: the main figure,\n"
        "and at the small scale a small heat map. Ctrl-C is safe: the same command continues.\n\n"
        + _presets()
    )
    parser.add_argument("figures", nargs="*", metavar="NAME", help="any of those above")
    parser.add_argument(
        "--scale",
        default="small",
        help="small (one tenth of the paper's n and T; a minute or two) or paper (hours)",
    )
    parser.add_argument("--out", metavar="DIR", help="where to write (default toysup-NAME-SCALE)")
    parser.add_argument("--seeds", type=int, metavar="K", help="number of dataset seeds")
    parser.add_argument(
        "--T", metavar="LIST", help="values of T in place of the preset's: 3,100,inf"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="updates in place of the preset's")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="train nothing; say what is stored and what there is to do, and the core-hours, "
        "memory and disk that it takes",
    )
    _add_jobs(parser)
    _add_log(parser)
    _add_output(parser, quiet=True, json=True)


def train(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup train``."""
    parser.description = (
        "Trains one model, and prints its losses and what it stores.\n\n"
        "For example: toysup train T=100 m=2 --out run.npz\n\n"
        "Each field of a run is written FIELD=VALUE, or as the option --FIELD VALUE; what is not\n"
        "given is that of the paper. toysup sweep takes several values of a field."
    )
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="any of those below")
    parser.add_argument("--out", metavar="FILE", help="write the run to this file, a .npz")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="keep the state of the run here; the same command then goes on after Ctrl-C",
    )
    parser.add_argument(
        "--no-classes",
        dest="classes",
        action="store_false",
        help="do not say what the run stores, which takes seconds where T or n is large",
    )
    _add_jobs(parser, "threads for the run, where they make it faster")
    _add_log(parser)
    _add_output(parser, quiet=True, json=True)
    _add_fields(parser, "fields of a run", field_help())


def sweep(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup sweep``."""
    parser.description = f"Trains a grid of models and prints a line for each.\n\n{_VALUES}"
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="folder that keeps every run as it ends; the same command then trains what is missing",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="train nothing; say what there is to do, and the time, memory and disk that it takes",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="train part I of N, into a store of its own; see toysup merge",
    )
    parser.add_argument(
        "--on-error",
        default="record",
        metavar="WHAT",
        help="record a run that fails and go on (the default), or raise: stop there",
    )
    parser.add_argument(
        "--retry",
        default="failed",
        metavar="WHICH",
        help="train again what failed (the default), all (what diverged too) or none",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how often a run under way keeps its state in the store; sooner at first (default 60)",
    )
    _add_jobs(parser)
    _add_log(parser)
    _add_output(parser, quiet=True, json=True)
    _add_fields(parser, "fields of a run", field_help())


def plot(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup plot``."""
    parser.description = (
        "Draws a figure of a store, of the folder of toysup reproduce, or of a run's file.\n"
        "animate makes a film of a run that has snapshots, evolution one figure of it.\n"
        "An axis of the sweep can be restricted, as in --seed 0 or --T 3,5,100."
    )
    parser.add_argument("figure", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument(
        "directory",
        metavar="DIR",
        help="a store, a folder that holds stores, a run's file, or recorded:NAME for results of "
        "the paper's scale that come with the package (test-loss, norms, against, heatmap)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="a .png, .svg, .pdf or what else matplotlib writes (default: FIGURE.png); of a film a "
        ".gif, .mp4 or .html",
    )
    parser.add_argument(
        "--dpi", type=float, default=200.0, metavar="N", help="dots per inch (default 200)"
    )
    parser.add_argument(
        "--best",
        metavar="FIELD",
        help="draw the run of lowest train loss along this axis, such as init-seed",
    )
    parser.add_argument(
        "--hue", metavar="FIELD", help="test-loss, against: the axis with a curve for each value"
    )
    parser.add_argument(
        "--variable", metavar="NAME", help="against, heatmap, history: what to draw"
    )
    parser.add_argument("--x", metavar="FIELD", help="against, heatmap: the axis that lies across")
    parser.add_argument("--y", metavar="FIELD", help="heatmap: the axis that lies upwards")
    parser.add_argument(
        "--ylim", metavar="LOW,HIGH", help="figure3, test-loss, against: ends of the vertical axis"
    )
    parser.add_argument("--vmin", type=float, metavar="X", help="heatmap: where the colours begin")
    parser.add_argument("--vmax", type=float, metavar="X", help="heatmap: where the colours end")
    parser.add_argument("--annotate", action="store_true", help="heatmap: write the values")
    parser.add_argument(
        "--common-scale", action="store_true", help="vectors: one scale for all panels of a row"
    )
    parser.add_argument(
        "--reference", action="store_true", help="figure3, test-loss: the paper's values as well"
    )
    _add_output(parser, quiet=True, json=False)
    about = "what is drawn of an axis of the sweep: one value, or several separated by commas"
    _add_fields(parser, "values of axes", _axes_help(), about)


def explore(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup explore``."""
    parser.description = (
        "Writes a page with sliders for T, m, seed and what else a sweep varies: vectors, losses,\n"
        "dimensionalities, and what each run stores. One file of HTML, which needs no network.\n"
        "An axis of the sweep can be restricted, as in --seed 0 or --T 3,5,100."
    )
    parser.add_argument(
        "directory",
        metavar="DIR",
        help="a store, a folder that holds stores, a run's file, or recorded:NAME for results of "
        "the paper's scale that come with the package (losses only)",
    )
    parser.add_argument(
        "--out", metavar="FILE", default="explore.html", help="the page (default explore.html)"
    )
    parser.add_argument("--title", help="what stands at its head (default: the store's name)")
    parser.add_argument(
        "--no-classes",
        dest="classes",
        action="store_false",
        help="do not classify examples, which takes seconds a run where T or n is large",
    )
    _add_output(parser, quiet=True, json=False)
    about = "what is shown of an axis of the sweep: one value, or several separated by commas"
    _add_fields(parser, "values of axes", _axes_help(), about)


def status(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup status``."""
    parser.description = (
        "Says how many runs of a store are finished, missing, failed or diverged, and how far the\n"
        "sweeps are that are at work on it now."
    )
    parser.add_argument("directory", metavar="DIR", help="a store, or a folder that holds stores")
    _add_output(parser, quiet=False, json=True)


def merge(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup merge``."""
    parser.description = (
        "Copies the runs of several stores into one, such as those of the shards of a sweep.\n"
        "Every file is verified; the stores they come from stay as they are."
    )
    parser.add_argument("out", metavar="OUT", help="the store they go to")
    parser.add_argument("stores", nargs="+", metavar="DIR", help="the stores they come from")
    _add_output(parser, quiet=True, json=True)


def export(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup export``."""
    parser.description = (
        "Writes the table of a store, a line for each run, as .csv or .parquet, or its data\n"
        "set as .nc or .zarr."
    )
    parser.add_argument("directory", metavar="DIR", help="a store")
    parser.add_argument(
        "--out", metavar="FILE", default="sweep.csv", help="the file (default sweep.csv)"
    )
    _add_output(parser, quiet=True, json=False)


def list_presets(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup list``."""
    parser.description = "Prints a line for each figure and question that toysup reproduce knows."
    _add_output(parser, quiet=False, json=True)


def check(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup check``."""
    parser.description = (
        "Trains some of the recorded runs of the paper's scale again, drawn at random, and says\n"
        "in how many digits losses, norms and dimensionalities agree with the recorded ones.\n"
        "Exit code 1 if a loss differs by 0.001 or more. Last digits change with the versions\n"
        "that the changelog names; near the bump, a run may then store other examples."
    )
    parser.add_argument(
        "tables", nargs="*", metavar="NAME", help="a recorded table (default figure3)"
    )
    parser.add_argument("--runs", type=int, default=3, metavar="K", help="runs (default 3)")
    parser.add_argument("--draw", type=int, default=0, metavar="SEED", help="seed of the draw")
    parser.add_argument(
        "--longest",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="draw only runs that took at most so long where they were recorded (default 120)",
    )
    _add_jobs(parser)
    _add_output(parser, quiet=True, json=True)


def info(parser: argparse.ArgumentParser) -> None:
    """The options of ``toysup info``."""
    parser.description = "Prints versions, backend and machine, for a report of a problem."
    _add_output(parser, quiet=False, json=True)
