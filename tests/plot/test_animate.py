"""Films and the course of a training: the numbers of the snapshots, in whole files."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import math
import re
import shutil
import subprocess

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

matplotlib.use("Agg")

import matplotlib.animation
import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from PIL import Image

import toysup
from toysup._stream.batch import take
from toysup.errors import StoreError
from toysup.metrics import dimensionality
from toysup.plot._parts.vectors import MAX_EXAMPLES
from toysup.plot._steps.animate import Film, _palette, animate
from toysup.plot._steps.course import open_course
from toysup.plot._steps.evolution import MAX_LINES, evolution, spread
from toysup.plot._steps.frames import round_numbers, smooth_bound
from toysup.plot._steps.player import _WHOLE_EVERY

SMALL = {"n": 60, "sparsity": 0.9, "steps": 60, "learning_rate": 0.03, "test_size": 200}
LOW = {"dpi": 40, "max_frames": 6}


@pytest.fixture(scope="session")
def run():
    return toysup.train(**SMALL, T=8, snapshots=20)


@pytest.fixture(scope="session")
def film(run):
    return animate(run, **LOW)


@pytest.fixture(autouse=True)
def clean_slate():
    """No test leaves a setting behind."""
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def by_label(ax, label, kind=object):
    found = [a for a in ax.get_children() if a.get_label() == label and isinstance(a, kind)]
    assert found, f"{label!r} is not among {[a.get_label() for a in ax.get_children()]}"
    return found[0]


def frames_of(path):
    with Image.open(path) as image:
        frames = []
        for k in range(image.n_frames):
            image.seek(k)
            frames.append((np.asarray(image.convert("RGB")), image.info["duration"]))
        return frames, image.info.get("loop")


def finite_until(run, count):
    """The run as if it had diverged after some of its snapshots."""
    W = run._arrays["snapshot_W"].copy()
    W[count:] = np.nan
    return dataclasses.replace(run, status="diverged", _arrays={**run._arrays, "snapshot_W": W})


# ---- files


def test_a_gif_has_a_frame_for_each_snapshot_asked_for(run, tmp_path):
    made = animate(run, tmp_path / "new" / "film.gif", max_frames=9, dpi=50, fps=25)
    frames, loop = frames_of(tmp_path / "new" / "film.gif")
    assert len(frames) == len(made) == 9 and loop == 0
    assert [ms for _, ms in frames] == [40] * 8 + [1500]
    for (one, _), (other, _) in itertools.pairwise(frames):
        assert one.shape == (180, 480, 3)
        assert np.any(one != other)
    assert tuple(frames[0][0][0, 0]) == (255, 255, 255)
    assert made.steps[-1] == SMALL["steps"] and np.all(np.diff(made.steps) > 0)


def test_a_frame_of_a_gif_is_what_the_figure_shows(film, tmp_path):
    frames, _ = frames_of(film.save(tmp_path / "film.gif"))
    for k in (5, 2):
        film.draw(k)
        film.figure.savefig(tmp_path / "frame.png", dpi="figure")
        expected = np.asarray(Image.open(tmp_path / "frame.png").convert("RGB"), dtype=float)
        off = np.abs(frames[k][0] - expected)
        assert off.mean() < 1.0 and np.quantile(off, 0.99) < 24


def test_the_colours_of_a_gif_are_the_nearest_ones():
    palette, nearest = _palette("#ffffff", "#2166ac", "#b2182b", "#222222")
    rng = np.random.default_rng(0)
    for six_bit in [(63, 63, 63), (0, 0, 0), *rng.integers(0, 64, (50, 3)).tolist()]:
        color = np.array(six_bit) * 255 / 63
        distance = ((palette - color) ** 2).sum(axis=1)
        assert distance[nearest[tuple(six_bit)]] == pytest.approx(distance.min())
    assert palette.shape == (64, 3) and tuple(palette[nearest[63, 63, 63]]) == (255, 255, 255)
    assert {tuple(palette[nearest[i, j, k]]) for i, j, k in [(8, 25, 43), (44, 6, 10)]} == {
        (33, 102, 172), (178, 24, 43)
    }  # fmt: skip


def played(player):
    """The frames as a script shows them, one upon the other, and what is seen without scripts."""
    (frames,) = re.findall(r'data-frames="([^"]*)"', player)
    (last,) = re.findall(r'src="data:image/png;base64,([^"]*)"', player)
    *images, alone = (
        Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA")
        for text in [*frames.split(" "), last]
    )
    shown, seen = images[0], [images[0]]
    for image in images[1:]:
        shown = Image.alpha_composite(shown, image)
        seen.append(shown)
    return images, [np.asarray(image.convert("RGB")) for image in (*seen, alone)]


def test_html_holds_a_player_and_every_frame(run, tmp_path):
    film = animate(run, dpi=40)
    page = film.save(tmp_path / "film.html").read_text(encoding="utf-8")
    player = film.to_jshtml()
    assert page.startswith("<!DOCTYPE html>") and page.endswith(player)
    assert film._repr_html_() == player
    images, seen = played(player)
    frames, _ = frames_of(film.save(tmp_path / "film.gif"))
    assert len(images) == len(frames) == len(film) > _WHOLE_EVERY
    for shown, (frame, _) in zip(seen, [*frames, frames[-1]], strict=True):
        assert np.array_equal(shown, frame)
    for k, image in enumerate(images):  # from each of these the film goes on after a jump
        assert (image.getextrema()[3][0] == 255) == (k % _WHOLE_EVERY == 0)


def test_html_refers_to_nothing_and_plays_beside_others(film):
    player = film.to_jshtml()
    told = re.sub(r"[A-Za-z0-9+/=]{100,}", "", player)
    assert not re.search(r"https?:|//|@import|url\(|\bid=|<link", told)
    assert told.count("src=") == 1 and 'src="data:image/png;base64,' in told
    assert "{{" not in told and "}}" not in told
    assert len(player) < 1.5 * sum(map(len, re.findall(r'[="]([A-Za-z0-9+/= ]{100,})"', player)))


def test_a_film_has_the_colours_of_its_style(run, tmp_path):
    """Also where the page would shine through, and where it is saved in another style."""
    clear = {"figure.facecolor": "none", "axes.facecolor": "none", "text.color": "white"}
    for style in ("dark_background", clear):
        with plt.style.context(style):
            film = animate(run, **LOW)
        frames, _ = frames_of(film.save(tmp_path / "film.gif"))
        assert tuple(frames[0][0][0, 0]) == (0, 0, 0)
        assert (frames[-1][0].max(axis=-1) > 150).mean() > 0.01
        assert "background:#000000" in film.save(tmp_path / "film.html").read_text("utf-8")


def test_the_settings_of_the_user_do_not_change_the_frames(run, tmp_path):
    plain = animate(run, tmp_path / "a.gif", **LOW)
    odd = {"savefig.bbox": "tight", "savefig.dpi": 10, "animation.embed_limit": 0.001}
    with matplotlib.rc_context(odd):
        animate(run, tmp_path / "b.gif", **LOW)
        player = animate(run, **LOW).to_jshtml()
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    assert len(played(player)[0]) == len(plain)
    assert not plt.get_fignums()


def test_mp4_without_ffmpeg_is_refused_before_anything_is_drawn(film, tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib.animation.writers, "is_available", lambda name: False)
    with pytest.raises(StoreError, match=r"film.mp4.*ffmpeg.*write .*film.gif"):
        film.save(tmp_path / "film.mp4")
    with pytest.raises(StoreError, match="ffmpeg"):
        animate("there is no such run", tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


class Recorder(matplotlib.animation.AbstractMovieWriter):
    """In place of ffmpeg: writes the size of every frame."""

    def __init__(self, fps, codec, extra_args):
        super().__init__(fps)
        self.codec, self.extra_args = codec, extra_args

    def setup(self, fig, outfile, dpi=None):
        super().setup(fig, outfile, dpi)
        self.seen = []

    def grab_frame(self, **options):
        self.seen.append(self.frame_size)

    def finish(self):
        with open(self.outfile, "w") as file:
            file.write(f"{self.codec} {self.fps} {self.seen}")


class Broken(Recorder):
    def finish(self):
        raise subprocess.CalledProcessError(1, "ffmpeg", stderr=b"Unknown encoder")


def test_mp4_is_written_by_ffmpeg_where_it_is(film, tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib.animation.writers, "is_available", lambda name: True)
    monkeypatch.setattr(matplotlib.animation, "FFMpegWriter", Recorder)
    written = film.save(tmp_path / "film.MP4").read_text()
    assert written == f"h264 20.0 {[(384, 144)] * len(film)}"
    assert film.save(tmp_path / "film.webm").read_text().startswith("libvpx-vp9 20.0")
    monkeypatch.setattr(matplotlib.animation, "FFMpegWriter", Broken)
    with pytest.raises(StoreError, match=r"ffmpeg failed \(Unknown encoder\): write a .gif"):
        film.save(tmp_path / "film.MP4")
    assert (tmp_path / "film.MP4").read_text() == written
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_itself_writes_a_film(film, tmp_path):
    assert film.save(tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("suffix", [".gif", ".html"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_save_leaves_the_older_file(run, tmp_path, monkeypatch, suffix, error):
    film, path = animate(run, **LOW), tmp_path / f"film{suffix}"
    path.write_text("the older one")
    draw = Film.draw

    def stop(self, frame):
        if frame == 3:
            raise error
        draw(self, frame)

    monkeypatch.setattr(Film, "draw", stop)
    with pytest.raises(error):
        film.save(path)
    assert path.read_text() == "the older one"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr(Film, "draw", draw)
    assert film.save(path).stat().st_size > 1000


def test_a_folder_that_cannot_be_written_is_an_error(film, tmp_path):
    (tmp_path / "film.gif").mkdir()
    with pytest.raises(StoreError, match=r"film\.gif"):
        film.save(tmp_path / "film.gif")


# ---- what is refused


@pytest.mark.parametrize("name", ["film", "film.avi", "film.gif.zip"])
def test_another_suffix_is_refused_by_name(film, run, tmp_path, name):
    for save in (film.save, lambda path: animate(run, path)):
        with pytest.raises(ValueError, match=rf"one of \.gif, \.html, \.mp4, .*, got .*{name}"):
            save(tmp_path / name)
    with pytest.raises(TypeError, match="path must be a path, got 3"):
        film.save(3)


@pytest.mark.parametrize("draw", [animate, evolution])
def test_a_run_without_snapshots_is_told_how_to_get_them(draw, tmp_path):
    bare = toysup.train(**{**SMALL, "steps": 2}, T=3)
    for source in (bare, bare.save(tmp_path / "bare.npz")):
        with pytest.raises(ValueError, match="train it with snapshots=200"):
            draw(source)
    with pytest.raises(TypeError, match="int"):
        draw(3)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        draw(tmp_path / "nowhere")
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"fps": 0}, ValueError, r"fps must be in \(0, 50\], got 0"),
        ({"fps": 51}, ValueError, "fps"),
        ({"fps": "20"}, TypeError, "fps"),
        ({"seconds": -1.0}, ValueError, "seconds"),
        ({"dpi": math.nan}, ValueError, "dpi"),
        ({"max_frames": 0}, ValueError, "max_frames"),
        ({"max_frames": 2.5}, TypeError, "max_frames"),
        ({"what": "feature"}, ValueError, "'feature'; did you mean 'features'"),
        ({"what": ()}, ValueError, "what must name one or more"),
        ({"what": ("features", "features")}, ValueError, "each once"),
        ({"what": 3}, TypeError, "what must be a sequence of names, got 3"),
        ({"seed": 5}, ValueError, "seed = 5"),
    ],
)
def test_bad_arguments_are_named(run, options, error, words):
    with pytest.raises(error, match=words):
        animate(run, **options)


def test_a_frame_that_does_not_exist_is_refused(film):
    for frame in (-1, len(film)):
        with pytest.raises(ValueError, match="frame must be between 0 and 5"):
            film.draw(frame)


# ---- what the frames show


def test_rate_and_length_of_a_film(run):
    def made(**options):
        film = animate(run, dpi=40, **options)
        return len(film), film.fps

    count = len(run.snapshots["step"])
    assert made() == (count, 20.0)
    assert made(fps=10, max_frames=4) == (4, 10.0)
    assert made(fps=10, seconds=0.5) == (5, 10.0)
    assert made(fps=50, seconds=10) == (count, count / 10)
    assert made(max_frames=1) == (1, 20.0)
    assert animate(run, max_frames=1, dpi=40).steps.tolist() == [60]


def test_every_frame_holds_the_vectors_and_the_dimensionalities_of_its_snapshot(backend):
    run = toysup.train(**SMALL, T=8, snapshots=20)
    film = animate(run, **LOW)
    features, examples, losses, strips = film.figure.axes
    for k, step in enumerate(film.steps):
        film.draw(k)
        W = run.snapshots["W"].sel(step=step).to_numpy().astype(float)
        H = run.training_set().toarray() @ W.T
        for ax, name, V in ((features, "features", W.T), (examples, "examples", H)):
            assert np.allclose(by_label(ax, name, PathCollection).get_offsets(), V)
            ends = [s[1] for s in by_label(ax, name, LineCollection).get_segments()]
            assert np.allclose(ends, V)
            low, high = ax.get_xlim()
            assert low == -high and ax.get_ylim() == (low, high)
            assert np.hypot(*V.T).max() < high
            D = by_label(strips, f"D of {name}").get_xdata()
            lowest = strips.get_xlim()[0]
            assert np.allclose(np.sort(D), np.sort(np.maximum(dimensionality(V), lowest)))
        assert losses.get_title(loc="left").startswith(f"step {step} of 60,  learning rate ")
    assert losses.get_title(loc="left").endswith("rate 0")
    assert by_label(strips, "m / T").get_xdata()[0] == pytest.approx(2 / 8)


def test_the_dots_move_along_the_losses(run, film):
    losses = film.figure.axes[2]
    recorded = run.history.set_coords("step")
    for k in (0, 3, 5):
        film.draw(k)
        step = film.steps[k]
        for name in ("train", "test"):
            past = by_label(losses, f"_{name} so far")
            x, y = past.get_xdata(), past.get_ydata()
            before = recorded[f"{name}_loss"].sel(step=slice(0, step - 1))
            assert np.allclose(y[:-1], before) and np.allclose(x[:-1], before["step"])
            near = recorded[f"{name}_loss"].sel(step=slice(x[-2], None))[:2]
            assert x[-1] == pytest.approx(step)
            assert near.min() - 1e-9 <= y[-1] <= near.max() + 1e-9
    assert y[-1] == pytest.approx(float(recorded["test_loss"][-1]))


def test_what_to_show_and_in_which_order(run):
    def titles(**options):
        return [ax.get_title() for ax in animate(run, **LOW, **options).figure.axes]

    assert titles()[:2] == ["60 features", "8 examples"]
    assert titles(what=["examples", "features"])[:2] == ["8 examples", "60 features"]
    assert len(titles(what="examples")) == 3


@pytest.mark.parametrize(
    "fields", [{"m": 3}, {"m": 1}, {"T": math.inf, "batch_size": 30}, {"T": 1}]
)
def test_other_shapes_are_shown(fields, tmp_path):
    run = toysup.train(**{**SMALL, "T": 8, **fields}, snapshots=9)
    film = animate(run, tmp_path / "film.gif", **LOW)
    assert len(frames_of(tmp_path / "film.gif")[0]) == 6
    film.draw(5)
    features, examples, *_ = film.figure.axes
    if run.config.m == 2:
        assert np.allclose(by_label(features, "features", PathCollection).get_offsets(), run.W.T)
    else:
        assert len(film.figure.axes) == 3
        D = by_label(examples, "D of examples").get_ydata()
        lowest = examples.get_ylim()[0]
        expected = np.maximum(run.example_dimensionality(), lowest)
        assert np.allclose(np.sort(D), np.sort(expected), rtol=1e-5)
    evolution(run)[0].figure.canvas.draw()


def test_the_same_vectors_are_followed_where_there_are_many():
    run = toysup.train(**{**SMALL, "steps": 4}, T=MAX_EXAMPLES + 500, snapshots=4)
    film = animate(run, dpi=40)
    examples = film.figure.axes[1]
    assert examples.get_title() == "2,000 of 2,500 examples"
    numbers = []
    for k, step in enumerate(film.steps):
        film.draw(k)
        H = run.hidden() if step == 4 else run.training_set().dot(film_W(run, step).T)
        shown = by_label(examples, "examples", PathCollection).get_offsets()
        assert shown.shape == (MAX_EXAMPLES, 2)
        assert np.hypot(*shown.T).max() == pytest.approx(np.hypot(*H.T).max())
        place = {tuple(h): i for i, h in enumerate(H.round(9).tolist())}
        numbers.append([place[tuple(h)] for h in np.round(shown, 9).tolist()])
    assert all(found == numbers[0] for found in numbers)


def film_W(run, step):
    return run.snapshots["W"].sel(step=step).to_numpy().astype(float)


def test_zero_weights_and_a_diverged_run(run, tmp_path):
    nothing = {**run._arrays, "snapshot_W": np.zeros_like(run._arrays["snapshot_W"])}
    zero = dataclasses.replace(run, W=np.zeros_like(run.W), _arrays=nothing)
    animate(zero, tmp_path / "zero.gif", **LOW)
    evolution(zero)[0].figure.canvas.draw()
    until = finite_until(run, 5)
    assert animate(until, dpi=40).steps.tolist() == run.snapshots["step"][:5].to_numpy().tolist()
    lines = by_label(evolution(until)[2], "features", LineCollection).get_segments()
    assert {len(line) for line in lines} == {5}
    for draw in (animate, evolution):
        with pytest.raises(ValueError, match="diverged before its first snapshot"):
            draw(finite_until(run, 0))


def test_paths_and_sweeps_are_shown(run, tmp_path):
    run.save(tmp_path / "run.npz")
    sweep = toysup.sweep(**SMALL, T=[4, 8], seed=[0, 1], snapshots=20, store=tmp_path / "store")
    best = min((sweep.run(T=8, seed=s) for s in (0, 1)), key=lambda run: run.train_loss)
    for source, options, W in (
        (tmp_path / "run.npz", {}, run.W),
        (sweep, {"T": 8}, best.W),
        (str(tmp_path / "store"), {"T": 8, "seed": 1}, sweep.run(T=8, seed=1).W),
    ):
        film = animate(source, **LOW, **options)
        film.draw(5)
        shown = by_label(film.figure.axes[0], "features", PathCollection).get_offsets()
        assert np.allclose(shown, W.T)
        assert len(evolution(source, **options)) == 4
    for draw in (animate, evolution):
        with pytest.raises(ValueError, match="T has 2 values"):
            draw(sweep)


# ---- copies of repeated examples


def test_copies_are_not_vectors_of_their_own(backend):
    run = toysup.train(**SMALL, T=12, repeats={3: 5, 7: 1}, snapshots=6)
    assert len(run.training_set()) == 16
    course = open_course(run, {})
    assert course.count("examples") == 12
    last = course.dimensionality("examples", len(course) - 1)
    assert np.allclose(last, run.example_dimensionality())
    assert animate(run, **LOW).figure.axes[1].get_title() == "12 examples"
    panel = evolution(run)[3]
    y = by_label(panel, "example 3, 5 times").get_ydata()
    assert y[-1] == pytest.approx(last[3])
    assert "example 3, 5 times" in [text.get_text() for text in panel.texts]
    assert not [line for line in panel.lines if "example 7" in line.get_label()]


@given(st.lists(st.integers(0, 6), max_size=9, unique=True))
def test_rows_are_those_of_the_array(places):
    X = toysup.data.sample(20, 7, 0.8, seed=1)
    assert np.array_equal(take(X, np.array(places, dtype=int)).toarray(), X.toarray()[places])


# ---- the course of a training


def test_evolution_shows_the_dimensionality_of_every_vector(run):
    losses, norms, *shares = evolution(run)
    steps = run.snapshots["step"].to_numpy()
    X = run.training_set()
    for ax, name in zip(shares, ("features", "examples"), strict=True):
        segments = by_label(ax, name, LineCollection).get_segments()
        strong = np.array(segments)
        faint = np.array(by_label(ax, "_" + name, LineCollection).get_segments()).reshape(
            -1, len(steps), 2
        )
        assert np.all(strong[..., 0] == steps)
        found = np.concatenate((strong, faint))[..., 1]
        expected = []
        for step in steps:
            W = film_W(run, step)
            expected.append(dimensionality(W.T if name == "features" else X.dot(W.T)))
        expected = np.array(expected).T
        assert np.allclose(np.sort(found, axis=0), np.sort(expected, axis=0))
        assert len(strong) == 8
        for largest in (expected.max(axis=1), expected[:, -1]):
            assert np.any(np.all(np.isclose(strong[..., 1], expected[largest.argmax()]), axis=1))
        assert ax.get_ylim()[1] > found.max()
    assert np.allclose(by_label(losses, "train").get_ydata(), run.history["train_loss"])
    assert np.allclose(by_label(norms, r"$\|b\|_2$").get_ydata(), run.history["b_norm"])
    assert len({ax.get_xlim() for ax in (losses, norms, *shares)}) == 1
    assert {ax.get_xscale() for ax in (losses, norms, *shares)} == {"symlog"}


def test_marked_vectors_are_labelled(run):
    *_, features, examples = evolution(run, mark={"examples": [0, 5], "features": 2})
    last = run.feature_dimensionality()[2]
    assert by_label(features, "feature 2").get_ydata()[-1] == pytest.approx(last, rel=1e-5)
    last = run.example_dimensionality()[5]
    assert by_label(examples, "example 5").get_ydata()[-1] == pytest.approx(last, rel=1e-5)
    texts = [text.get_text() for text in examples.texts]
    assert {"example 0", "example 5"} <= set(texts)


def test_of_many_vectors_some_are_drawn_the_marked_among_them():
    run = toysup.train(**{**SMALL, "steps": 3}, T=MAX_LINES + 200, snapshots=3)
    place = int(np.argsort(run.example_dimensionality())[0])
    panel = evolution(run, mark={"examples": [place]})[3]
    drawn = sum(
        len(by_label(panel, label, LineCollection).get_segments())
        for label in ("examples", "_examples")
    )
    assert MAX_LINES - 1 <= drawn <= MAX_LINES
    y = by_label(panel, f"example {place}").get_ydata()
    assert y[-1] == pytest.approx(run.example_dimensionality()[place], rel=1e-5)


@pytest.mark.parametrize(
    ("mark", "error", "words"),
    [
        ([1], TypeError, r"mark must be a mapping .*got \[1\]"),
        ({"example": [1]}, ValueError, "'example'; did you mean 'examples'"),
        ({"examples": [8]}, ValueError, r"mark\['examples'\] must be between 0 and 7, got 8"),
        ({"features": "one"}, TypeError, r"mark\['features'\]"),
        ({"features": 1.5}, TypeError, r"mark\['features'\]"),
    ],
)
def test_bad_marks_are_named(run, mark, error, words):
    with pytest.raises(error, match=words):
        evolution(run, mark=mark)
    assert not plt.get_fignums()


def test_the_panels_given_are_used(run):
    axes = Figure(layout="constrained").subplots(2, 2)
    assert set(evolution(run, axes=axes)) == set(axes.ravel())
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match="4 x 1 Axes, got 3"):
        evolution(run, axes=axes.ravel()[:3])


# ---- parts


lengths = st.lists(st.one_of(st.just(0.0), st.floats(1e-4, 1e3)), min_size=1, max_size=120)


@given(lengths)
def test_the_scale_is_smooth_and_holds_everything(values):
    values = np.array(values)
    bound = smooth_bound(values)
    assert bound.shape == values.shape
    assert np.all(bound >= values) and np.all(bound > 0)
    if values.max() > 0:
        span = np.log(values.max() / max(values.min(), 1e-6 * values.max()))
        half = max(1, len(values) // 40)
        assert np.all(np.abs(np.diff(np.log(bound))) <= span / (2 * half + 1) + 1e-9)
        assert bound.max() <= values.max() * (1 + 1e-9)


@given(st.floats(1e-5, 1e3), st.floats(1, 1e4))
def test_there_is_always_a_ring_to_see(smallest, ratio):
    rings = np.array(round_numbers(smallest, smallest * ratio))
    for scale in np.geomspace(smallest, smallest * ratio, 7):
        assert np.any((rings > 0.35 * scale) & (rings < 0.95 * scale))


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=12).map(sorted))
def test_labels_keep_their_order_and_have_room(heights):
    heights = np.array(heights)
    moved = spread(heights, 0.1)
    assert np.all(np.diff(moved) >= 0.1 - 1e-9)
    assert moved.mean() == pytest.approx(heights.mean(), abs=1e-9)
    apart = np.arange(5) * 0.1001
    assert np.allclose(spread(apart, 0.1), apart)
