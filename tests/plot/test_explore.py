"""The page to explore a sweep with: what it holds, and what a browser makes of it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import toysup
from toysup import cli

pytest.importorskip("bokeh")

SMALL: dict[str, Any] = {
    "n": 40,
    "sparsity": 0.9,
    "steps": 40,
    "learning_rate": 0.03,
    "test_size": 200,
}
MB = 10**6
EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explore") / "map"
    toysup.sweep(**SMALL, T=[40, 3, 8, math.inf], seed=[0, 1], store=folder)
    return folder


def data_of(page: Path) -> Any:
    """What is in the page, read as its script reads it."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>',
        page.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert found is not None
    return json.loads(found[1])


# --- what the page holds ---


def test_page_holds_every_run(store: Path, tmp_path: Path) -> None:
    page = toysup.plot.explore(store, tmp_path / "new" / "page.html")
    data, result = data_of(page), toysup.open_sweep(store)
    assert data["title"] == "map"
    assert [(a["name"], a["values"]) for a in data["axes"]] == [
        ("T", ["3", "8", "40", "∞"]),
        ("seed", ["0", "1"]),
    ]
    assert data["x"] == sorted(data["x"]) and data["main"] == 0
    cells = iter(data["cells"])
    for T in (3, 8, 40, math.inf):
        for seed in (0, 1):
            cell, run = next(cells), result.run(T=T, seed=seed)
            assert cell["test_loss"] == pytest.approx(run.test_loss, rel=1e-6)
            assert cell["train_loss"] == pytest.approx(run.train_loss, rel=1e-6)
            (state,) = cell["run"]["states"]
            assert state["step"] == run.steps_done
            assert state["represented"] == run.represented().sum()
            for name, V in (("features", run.W.T), ("examples", run.hidden())):
                points = state[name]
                seen = np.column_stack((points["x"], points["y"])) * points["longest"] / 1000
                assert points["of"] == len(V)
                if T < math.inf:  # of its many examples some are left out
                    assert np.allclose(seen, V, atol=0.02 * points["longest"])
            D = np.sort(run.example_dimensionality())[::-1]
            ranks, values = state["dimensionality"]["examples"]
            assert np.allclose(D[np.array(ranks) - 1], np.array(values) / 1000, atol=1e-3)
            label = toysup.regime.classify(run).label
            assert cell["run"]["classes"] == [int(np.sum(label == c)) for c in data["classes"]]


def test_page_refers_to_nothing_else(store: Path, tmp_path: Path) -> None:
    text = toysup.plot.explore(store, tmp_path / "page.html").read_text(encoding="utf-8")
    frame = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
    assert "default-src 'none'" in frame
    assert not re.search(r"https?:|<link|src=", frame)
    assert not re.search(r"<script[^>]*src", text)


def test_same_sweep_makes_the_same_page(store: Path, tmp_path: Path) -> None:
    pages = [toysup.plot.explore(store, tmp_path / f"{k}.html").read_bytes() for k in range(2)]
    assert pages[0] == pages[1]


def test_axes_can_be_restricted(store: Path, tmp_path: Path) -> None:
    page = toysup.plot.explore(store, tmp_path / "page.html", seed=1, T=[3, math.inf], title="some")
    data = data_of(page)
    assert data["title"] == "some"
    assert [(a["name"], a["values"]) for a in data["axes"]] == [("T", ["3", "∞"])]
    assert ["seed", "1"] in data["fixed"] and ["m", "2"] in data["fixed"]


def test_one_run_with_snapshots_has_its_steps(tmp_path: Path) -> None:
    run = toysup.train(**SMALL, T=5, snapshots=6, record=8)
    data = data_of(toysup.plot.explore(run.save(tmp_path / "run"), tmp_path / "page.html"))
    (cell,) = data["cells"]
    assert data["axes"] == [] and data["title"] == "run"
    steps = [state["step"] for state in cell["run"]["states"]]
    assert steps == run.snapshots["step"].to_numpy().tolist()
    assert cell["run"]["history"]["step"] == run.history["step"].to_numpy().tolist()
    first = cell["run"]["states"][0]["features"]
    W = run.snapshots["W"].to_numpy()[0].T
    assert first["longest"] == pytest.approx(np.linalg.norm(W, axis=1).max(), rel=1e-2)


def test_more_than_two_dimensions_are_seen_where_features_are_longest(tmp_path: Path) -> None:
    run = toysup.train(**SMALL, m=4, T=5)
    page = toysup.plot.explore(run, tmp_path / "page.html")
    points = data_of(page)["cells"][0]["run"]["states"][0]["features"]
    seen = np.column_stack((points["x"], points["y"])) * points["longest"] / 1000
    best = np.sum(np.linalg.svd(run.W.astype(float), compute_uv=False)[:2] ** 2)
    assert np.sum(seen**2) == pytest.approx(best, rel=0.02)
    run = toysup.train(**SMALL, m=1, T=5)
    points = data_of(toysup.plot.explore(run, tmp_path / "page.html"))["cells"][0]
    assert set(points["run"]["states"][0]["features"]["y"]) == {0}


def test_sweep_without_T_is_drawn_over_its_first_axis(tmp_path: Path) -> None:
    result = toysup.sweep(**SMALL, T=5, weight_decay=[0.1, 0.0], optimizer=["adamw", "adam"])
    data = data_of(toysup.plot.explore(result, tmp_path / "page.html"))
    assert data["axes"][data["main"]] == {"name": "weight_decay", "values": ["0", "0.1"]}
    assert data["x"] == [0, 1]
    assert data["axes"][1]["values"] == ["adamw", "adam"]


def test_runs_that_are_missing_or_diverged_have_their_status(tmp_path: Path) -> None:
    store = tmp_path / "store"
    toysup.sweep(**SMALL | {"learning_rate": [0.03, 1e30]}, T=[3, 8], store=store)
    runs = sorted((store / "runs").iterdir())
    result = toysup.open_sweep(store)
    config = next(c for c, s in zip(result.configs, result.statuses, strict=True) if s == "ok")
    next(path for path in runs if path.stem == config.key()).unlink()
    data = data_of(toysup.plot.explore(store, tmp_path / "page.html"))
    statuses = [cell["status"] for cell in data["cells"]]
    assert sorted(statuses) == ["diverged", "diverged", "missing", "ok"]


def test_table_shows_what_it_holds(tmp_path: Path) -> None:
    table = toysup.paper.recorded("figure3")
    page = toysup.plot.explore(table, tmp_path / "page.html")
    data = data_of(page)
    assert page.stat().st_size < 2 * MB
    assert "table of runs" in data["note"]
    assert not any("run" in cell for cell in data["cells"])
    losses = [cell["test_loss"] for cell in data["cells"] if cell["status"] == "ok"]
    assert np.allclose(losses, table["test_loss"].to_numpy()[table["status"] == "ok"], rtol=1e-6)


def test_many_features_and_runs_stay_small(tmp_path: Path) -> None:
    how: dict[str, Any] = {"sparsity": 0.999, "steps": 2, "test_size": 10, "record": 2}
    result = toysup.sweep(n=10_000, T=[3, 2000], **how)
    page = toysup.plot.explore(result, tmp_path / "page.html", classes=False)
    assert page.stat().st_size < 2 * MB
    features = data_of(page)["cells"][0]["run"]["states"][0]["features"]
    assert len(features["x"]) == 200 and features["of"] == 10_000
    result = toysup.sweep(n=500, T=[100], seed=range(400), **how)
    page = toysup.plot.explore(result, tmp_path / "page.html", classes=False)
    assert page.stat().st_size < 5 * MB
    assert all("run" in cell for cell in data_of(page)["cells"])


def test_too_many_runs_lose_their_vectors_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = toysup.sweep(**SMALL, T=[3, 5], seed=[0, 1])
    monkeypatch.setattr("toysup.plot._explore.page._BUDGET", 1000)
    data = data_of(toysup.plot.explore(result, tmp_path / "page.html"))
    assert "too many runs" in data["note"]
    assert all("test_loss" in cell and "run" not in cell for cell in data["cells"])
    monkeypatch.setattr("toysup.plot._explore.page._MAX_CELLS", 3)
    with pytest.raises(ValueError, match="choose a part of it"):
        toysup.plot.explore(result, tmp_path / "page.html")


def test_bad_arguments_are_refused(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(ValueError, match=r"must end in \.html"):
        toysup.plot.explore(store, tmp_path / "page.pdf")
    with pytest.raises(ValueError, match="axis of the sweep"):
        toysup.plot.explore(store, page, sed=0)
    with pytest.raises(ValueError, match="T"):
        toysup.plot.explore(store, page, T=4)
    with pytest.raises(ValueError, match="no value 4"):
        toysup.plot.explore(toysup.open_sweep(store).dataset, page, T=4)
    with pytest.raises(TypeError, match="source must be"):
        toysup.plot.explore(3, page)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="there is no store"):
        toysup.plot.explore(tmp_path / "none", page)
    with pytest.raises(ValueError, match="no finished run"):
        toysup.plot.explore(toysup.sweep(**SMALL | {"learning_rate": 1e30}, T=3), page)
    assert not page.exists()


def test_without_bokeh_it_says_what_to_install(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(ImportError, match=r"toysup\[explore\]"):
        toysup.plot.explore(store, tmp_path / "page.html")


def test_command_line(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert cli.main(["explore", str(store), "--out", str(page), "--seed", "0"]) == 0
    assert str(page) in capsys.readouterr().out
    assert [axis["name"] for axis in data_of(page)["axes"]] == ["T"]
    assert cli.main(["explore", "recorded:heatmap", "--out", str(page), "--quiet"]) == 0
    assert data_of(page)["title"] == "recorded:heatmap"
    assert cli.main(["explore", str(store), "--out", str(tmp_path / "page.txt")]) == 2


def evil_table() -> xr.Dataset:
    loss = [[1.0, 2.0], [3.0, 4.0]]
    return xr.Dataset(
        {"test_loss": (("T", "init"), loss), "train_loss": (("T", "init"), loss)},
        coords={"T": [3, 5], "init": [EVIL, "x"], "m": 2},
    )


def test_text_of_a_stranger_is_no_markup(tmp_path: Path) -> None:
    text = toysup.plot.explore(evil_table(), tmp_path / "page.html", title=EVIL).read_text()
    assert "<script>window" not in text and "<img" not in text
    assert data_of(tmp_path / "page.html")["axes"][1]["values"] == [EVIL, "x"]


# --- what a browser makes of it ---


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chrome or Chromium; where none is, the test is skipped, unless it must run."""
    names = ("chromium", "google-chrome", "chrome", "chromium-browser")
    binary = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        webdriver = None
    if webdriver is None or binary is None or driver is None:
        if os.environ.get("TOYSUP_NEED_BROWSER"):
            pytest.fail("selenium, Chrome or its driver is missing, and TOYSUP_NEED_BROWSER is set")
        pytest.skip("selenium, Chrome or its driver is missing")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.set_page_load_timeout(60)
    yield opened
    opened.quit()


def open_page(browser: Any, page: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get_log("browser")
    browser.get(page.as_uri())
    WebDriverWait(browser, 60).until(
        lambda opened: opened.execute_script("return 'ready' in document.body.dataset")
    )


def complaints(browser: Any) -> list[str]:
    log = browser.get_log("browser")
    return [entry["message"] for entry in log if entry["level"] not in ("INFO", "DEBUG")]


def picture(browser: Any, name: str) -> bytes:
    """The pixels of a drawing, once two looks at it are alike."""
    element = browser.find_element("id", name)
    seen = element.screenshot_as_png
    for _ in range(20):
        before, seen = seen, element.screenshot_as_png
        if before == seen:
            break
    return bytes(seen)


def test_slider_changes_the_picture(browser: Any, store: Path, tmp_path: Path) -> None:
    open_page(browser, toysup.plot.explore(store, tmp_path / "page.html"))
    names = ("features", "examples", "dimensionality", "test_loss", "train_loss")
    before = {name: picture(browser, name) for name in names}
    said = browser.find_element("id", "said").text
    assert said.startswith("T = 3, seed = 0")
    slider = browser.find_element("id", "slider-0")
    slider.send_keys("\ue014")  # the right arrow
    assert browser.find_element("id", "said").text.startswith("T = 8, seed = 0")
    assert slider.get_attribute("aria-valuetext") == "8"
    for name in names:
        assert picture(browser, name) != before[name], name
    slider.send_keys("\ue010")  # the key End
    assert browser.find_element("id", "said").text.startswith("T = ∞, seed = 0")
    slider.send_keys("\ue011")  # the key Home: the first picture again
    assert browser.find_element("id", "said").text == said
    assert picture(browser, "examples") == before["examples"]
    assert complaints(browser) == []
    loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert browser.execute_script(loaded) == []


def test_steps_have_a_slider(browser: Any, tmp_path: Path) -> None:
    run = toysup.train(**SMALL, T=5, snapshots=6, record=8)
    open_page(browser, toysup.plot.explore(run, tmp_path / "page.html"))
    before = picture(browser, "features"), picture(browser, "history")
    assert browser.find_element("id", "said").text.startswith("step 40; test loss")
    browser.find_element("id", "slider-0").send_keys("\ue011")
    assert browser.find_element("id", "said").text.startswith("step 1; test loss about")
    assert picture(browser, "features") != before[0]
    assert picture(browser, "history") != before[1]
    assert complaints(browser) == []


def test_page_fits_a_phone(browser: Any, store: Path, tmp_path: Path) -> None:
    page = toysup.plot.explore(store, tmp_path / "page.html", title="a_long_name" * 12)
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        open_page(browser, page)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        for name in ("features", "train_loss"):
            box = browser.find_element("id", name).rect
            assert 250 < box["width"] <= 360 and box["height"] > 200
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_text_runs_as_a_script(browser: Any, tmp_path: Path) -> None:
    open_page(browser, toysup.plot.explore(evil_table(), tmp_path / "page.html", title=EVIL))
    assert browser.find_element("css selector", "h1").text == EVIL
    assert EVIL in browser.find_element("id", "said").text
    assert browser.execute_script("return window.evil === undefined")
    hidden = browser.find_elements("css selector", "section[data-needs=features]")
    assert not hidden[0].is_displayed()
    assert complaints(browser) == []


def test_missing_run_is_said(browser: Any, tmp_path: Path) -> None:
    result = toysup.sweep(**SMALL | {"learning_rate": [0.03, 1e30]}, T=[3, 8])
    open_page(browser, toysup.plot.explore(result, tmp_path / "page.html"))
    browser.find_element("id", "slider-1").send_keys("\ue014")
    assert browser.find_element("id", "said").text.endswith("this run is diverged")
    assert complaints(browser) == []
