"""A comparison as tables and as a page: what they say, that nothing is fetched, and that a browser shows them."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.audits.calibration import calibrate
from expunge.certificate import Basis, Certified, Exact, Uncertified, View
from expunge.comparisons.attacked import GRID, Attacked, Curve
from expunge.comparisons.compared import Beside, Compared, Costs, Drift, Level
from expunge.errors import InputError
from expunge.reports.compared import as_json, blocks, left_out, number, remarks, requests, size
from expunge.reports.comparison_html import render_comparison, write_comparison
from expunge.reports.labelled import spread

CERTIFIED = Certified(1.0, 1e-5, 0.3, 0.1, 0.01, Basis.MEASURED, View.TRANSCRIPT, "retraining", ())
CURVE = Curve(tuple(map(float, GRID)), tuple(map(float, np.sqrt(GRID))))
ATTACK = Attacked(
    0.53, 0.81, (0.44, 0.57), False, calibrate([0.53], [0.5, 0.52, 0.48]), 0.08, 0.06, CURVE, CURVE, CURVE
)
NAMES = ("certified-newton", "support-vector-machine", "a <b> & $x_1$", "doing nothing", "learning again")


def compared(label: str, request: str = "10 random rows", **changes: object) -> Compared:
    generator = np.random.default_rng(len(label))
    losses = tuple(tuple(map(float, generator.exponential(size=10))) for _ in range(3))
    whole = Compared(
        label, request, label in ("doing nothing", "learning again"), "", CERTIFIED, "", True, "Held.", (), (),
        100, 10, 3, 20, 20, Costs(0.01, 0.2, 0.3, 0.25, 3_390_825, 5361), "accuracy", "test", (0.96, 0.95, 0.955),
        None, None, Beside(0.005, 0.01), Beside(0.02, 0.4), "released weights", Beside(0.99, 0.98), Beside(3e-4, 5e-4),
        Beside(0.0, 0.053), 0.04, Beside(0.99, 0.9), Beside(0.3, 1.2), 0.28, ATTACK, losses,
        (Drift(1, 1, 0.001, 0.01), Drift(10, 10, 0.004, 0.02)),
        (Level(0.01, 1.0, 0.95), Level(0.1, 0.5, 0.9), Level(1.0, None, None, "Refused: too much")),
    )  # fmt: skip
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> list[Compared]:
    first = [compared(name) for name in NAMES[:-1]]
    first.append(compared(NAMES[-1], certificate=Exact(()), theta=Beside(0.0, 0.4)))
    second = [replace(each, request="50 mislabelled rows", drift=(), levels=()) for each in first]
    out = [Compared("k-means", each, False, "InputError: no") for each in ("10 random rows", "50 mislabelled rows")]
    return [*first, *second, *out]


@pytest.fixture(scope="module")
def page(found: list[Compared]) -> str:
    return render_comparison(found, data="toys <x>")


def test_tables_fit_a_terminal_of_eighty_columns_and_have_a_cell_for_every_heading(found: list[Compared]) -> None:
    tables = blocks([each for each in found if each.request == "10 random rows"])
    assert len(tables) == 5
    for table in tables:
        assert table.headings[0] == "method"
        assert [line[0] for line in table.lines] == list(NAMES)
        assert all(len(line) == len(table.headings) for line in table.lines)
        # A pair in brackets may be broken at its space.
        widths = [
            max(len(word) for line in column for word in line.split(" (")) for column in zip(*table.lines, strict=True)
        ]
        assert sum(widths) + 2 * len(widths) <= 80


def test_tables_say_what_was_found(found: list[Compared]) -> None:
    promised, cost, near, attack, works = (dict(zip(t.headings, t.lines[0], strict=True)) for t in blocks(found[:5]))
    assert promised["certificate"] == "ε 1, δ 1e-5"
    assert promised["I(D;h), nats"] == "0.04"
    assert cost["efficiency"] == "20×"
    assert cost["kept"] == "3.3 MB"
    assert cost["pays at"] == "1"
    assert near["weights"] == "5 %"
    assert near["KL"] == "0.0003 (0.0005)"
    assert attack["AUC"] == "0.530 (0.810)"
    assert attack["99 % of them"] == "0.440-0.570"
    assert attack["p"] == f"{ATTACK.calibration.p_value:.3f}"  # type: ignore[union-attr]
    assert works["tug of war"] == "0.990 (0.900)"


def test_failures_are_remarked_and_methods_that_do_not_apply_are_left_out_once(found: list[Compared]) -> None:
    assert requests(found) == ["10 random rows", "50 mislabelled rows"]
    assert left_out(found) == [("k-means", "InputError: no")]
    void = compared("sham", contradictions=("It lies too far.",), flags=("over-forgotten", "attack has no power"))
    assert remarks([void]) == ["sham: VOID. It lies too far.", "sham: over-forgotten."]
    assert blocks([void])[0].lines[0][2:4] == ("VOID", "VOID")
    assert remarks([compared("private", relearned="MustRetrain: spent")]) == [
        "private: learned again. MustRetrain: spent"
    ]


def test_figures_in_few_characters() -> None:
    assert [number(v) for v in (None, 0.0, 0.1234, 2e-6, float("inf"))] == ["–", "0", "0.123", "2e-6", "∞"]
    assert [size(v) for v in (3, 5_484, 87_000, 3_390_825, 12 * 10**9)] == ["3 B", "5.4 kB", "87 kB", "3.3 MB", "12 GB"]
    pays = blocks([compared("never", costs=Costs(0.5, 0.2, 0.3, 0.25, 1, 1))])[1].lines[0][5]
    assert pays == "never"
    assert blocks([compared("idle", costs=Costs(1e-6, 0.2, 0.3, None, 1, 1))])[1].lines[0][3:6] == ("no work", "–", "–")


def test_everything_is_in_the_figures_as_json(found: list[Compared]) -> None:
    from expunge.cli.output import plain

    first, *_, last = json.loads(json.dumps(plain(as_json(found)), allow_nan=False))
    assert first["certificate"]["type"] == "Certified"
    assert first["efficiency"] == 20
    assert first["theta_share"] == pytest.approx(0.05)
    assert first["attack"]["calibration"]["p_value"] == ATTACK.calibration.p_value  # type: ignore[union-attr]
    assert last["refused"] == "InputError: no"
    assert compared("none", certificate=Uncertified("why")).kind == "none"


def test_equal_comparisons_give_equal_bytes(found: list[Compared], tmp_path: Path) -> None:
    write_comparison(tmp_path / "page.html", found[:1], data="toys")
    assert (tmp_path / "page.html").read_text() == render_comparison(found[:1], data="toys")


def test_page_is_self_contained_and_well_formed(page: str) -> None:
    for forbidden in ("http://", "https://", "<script", "<img", "@import", "toys <x>", "NaN"):
        assert forbidden not in page
    assert "a &lt;b&gt; &amp; $x_1$" in page
    assert page.count("<svg") == 8 + 6
    assert page.count("<table>") == 10
    assert "<strong>k-means</strong>: InputError: no" in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 0
    for target in re.findall(r'(?:href="#|url\(#)([^")]*)', page):
        assert target in ids
    assert not re.search(r"#0[1-7]0[1-7]0[1-7]", page)  # every placeholder colour became a variable
    Balanced().feed(page)


def test_page_without_anything_to_draw_is_a_page(found: list[Compared]) -> None:
    bare = compared(
        "bare", attack=None, exposure=None, theta=None, drift=(), levels=(), costs=None, quality=None, tow=None
    )
    page = render_comparison([bare], data="toys")
    assert page.count("<svg") == 0
    assert "No method applies" in render_comparison(found[-1:], data="toys")
    with pytest.raises(InputError, match="at least one method"):
        render_comparison([], data="toys")


@pytest.mark.parametrize("wanted", [[0.5] * 6, [0.0, 0.0, 1.0, 1.0], [0.9, 0.1, 0.5], [2.0, -1.0], []])
def test_names_beside_series_never_overlap_and_keep_their_order(wanted: list[float]) -> None:
    heights = spread(wanted, 0.1)
    assert all(
        later - earlier >= 0.1 - 1e-12 for earlier, later in zip(sorted(heights), sorted(heights)[1:], strict=False)
    )
    assert np.argsort(heights, kind="stable").tolist() == np.argsort(np.clip(wanted, 0, 1), kind="stable").tolist()
    assert all(-1e-12 <= height <= 1 + 1e-12 for height in heights)


class Balanced(html.parser.HTMLParser):
    """Raises when an element is closed that is not the open one."""

    void = frozenset({"meta", "br", "link", "use", "path"})

    def reset(self) -> None:
        html.parser.HTMLParser.reset(self)
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


@pytest.mark.parametrize("width", [1280, 500])
def test_browser_shows_the_page_without_overflow_and_no_text_over_text(tmp_path: Path, page: str, width: int) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    text = re.sub(r"<meta http-equiv.*?>", "", page).replace("</body>", f"{PROBE}</body>")
    (tmp_path / "probe.html").write_text(text)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    shown = subprocess.run(
        [browser, *flags, (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    probe = re.search(r'data-probe="([^"]*)"', shown)
    assert probe is not None
    window, needed, overlaps = probe[1].split(";", 2)
    assert int(needed) <= int(window)
    assert overlaps == ""


# In every drawing: pairs of texts whose boxes overlap by more than a hair's breadth.
PROBE = """<script>
const over = [];
for (const svg of document.querySelectorAll("svg")) {
  const texts = [...svg.querySelectorAll("text")].map(t => [t.textContent.trim(), t.getBoundingClientRect()]);
  for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) {
    const [a, b] = [texts[i][1], texts[j][1]];
    const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (w > 2 && h > 4) over.push(svg.getAttribute("aria-label") + ":" + texts[j][0] + "|" + texts[i][0]);
  }
}
document.documentElement.setAttribute("data-probe",
  [innerWidth, document.documentElement.scrollWidth, over.join(",")].join(";"));
</script>"""
