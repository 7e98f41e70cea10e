"""The documentation site: python -m sphinx -W docs build/site."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import toysup

# Notebooks run in processes that take the environment over; a backend named there would keep them
# from showing what they draw.
os.environ.pop("MPLBACKEND", None)
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"

project = "toysup"
author = "The toysup authors"
copyright = author
release = toysup.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
]
templates_path = ["_templates"]

# ------------------------------------------------------------------------------------ the pages

myst_enable_extensions = ["colon_fence", "dollarmath", "attrs_inline"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "furo"
html_title = "toysup"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "native"
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "

# -------------------------------------------------------------------------------- the notebooks

nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600  # seconds a cell
nb_execution_in_temp = True
nb_merge_streams = True
nb_number_source_lines = False

# -------------------------------------------------------------------------------- the reference

autosummary_generate = True
autodoc_typehints = "none"  # docstrings say the types, for readers
autodoc_member_order = "bysource"
autoclass_content = "class"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_attributes_as_param_list = True
# Parameters that do not exist, are in another order, or are not explained. That none is missing is
# tested in tests/whole/test_docs.py, which knows where one sentence is enough.
numpydoc_validation_checks = {"PR02", "PR03", "PR07", "PR10"}

# ------------------------------------------------------------------------------------- the explorer


def write_explorers(app: Any, error: Exception | None) -> None:
    """Write the pages with sliders that explorer.md shows in frames."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "explorer"
    small = toysup.sweep(
        **{"n": 1000, "m": 2, "sparsity": 0.99, "eps": 1e-6},
        **{"steps": 12_500, "learning_rate": 4e-3, "test_size": 20_000},
        T=[3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000, 2000],
        store=Path(app.doctreedir) / "explorer",  # the next build has the runs there
        progress=False,
    )
    toysup.plot.explore(small, folder / "small.html", title="Figure 3, a tenth of its size")
    paper = toysup.paper.recorded("figure3")
    toysup.plot.explore(paper, folder / "figure3.html", title="Figure 3 at the paper's size")


def setup(app: Any) -> None:
    """What is written beside the pages."""
    app.connect("build-finished", write_explorers)
