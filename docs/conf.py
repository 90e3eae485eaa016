"""Sphinx: `make docs`. Nothing is fetched while building or reading; MathJax lies in _static/vendor (see Makefile)."""

import tomllib
from pathlib import Path

from expunge import __version__

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["name"]
author = "the expunge authors"
copyright = "the expunge authors, Apache-2.0"  # noqa: A001
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"expunge {version}"
html_static_path = ["_static"]
html_css_files = ["formulas.css"]
exclude_patterns = ["_build"]

# Where npm was not at hand the file is absent: formulas are then shown as TeX, and still nothing is fetched.
mathjax_path = "vendor/tex-svg.js"

autodoc_typehints = "description"
