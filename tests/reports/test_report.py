"""The table and the page: what they say, that nothing is fetched, and that a browser shows it without overflow."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from audit_toys import LeastSquares, Overfit, rows_of, step_of

from expunge.audits import Audit, Costs, audit_step
from expunge.errors import InputError
from expunge.reports import HEADINGS, comparison_rows, render, write_report
from expunge.reports.table import seconds, share, times

ROWS, TEST = rows_of(120, 1, mislabelled=20), rows_of(150, 9, first=10_000)


@pytest.fixture(scope="module")
def audits() -> list[tuple[str, str, Audit]]:
    """Two methods and a planted failure, one row and twenty."""
    return [
        (label, f"{gone} rows", audit_step(step_of(method, ROWS, gone), TEST, references=3))
        for label, method in [
            ("certified-newton", LeastSquares()),
            ("sisa", Overfit()),
            ("planted <no-op> & $x_1$", Overfit(fault="nothing")),
        ]
        for gone in (1, 20)
    ]


def test_rows_say_what_the_audits_found(audits: list[tuple[str, str, Audit]]) -> None:
    rows = comparison_rows(audits)
    assert [row.request for row in rows] == ["1 rows", "20 rows"] * 3
    newton, sisa, planted = rows[1], rows[3], rows[5]
    assert newton.guarantee == "certified (ε 1, δ 1e-05)"
    assert newton.distance_what == "weights without their noise"
    assert sisa.guarantee == "exact"
    assert sisa.distance_share == 0.0
    assert planted.distance_share == 1.0
    assert planted.contradictions
    assert planted.auc == planted.auc_before
    audit = audits[3][2]
    accuracy = audit.measure("accuracy on test")
    assert accuracy is not None
    assert (sisa.quality_before, sisa.quality_after, sisa.quality_retrained) == (
        accuracy.before,
        accuracy.after,
        accuracy.retrained,
    )
    assert sisa.speed_up == audit.costs.cold / 0.01  # type: ignore[operator]


def test_cells_stand_under_their_headings(audits: list[tuple[str, str, Audit]]) -> None:
    cells = [dict(zip(HEADINGS, row.cells(), strict=True)) for row in comparison_rows(audits)]
    assert cells[0]["attack AUC (99 % of retrained models)"] == "no power"
    assert re.fullmatch(r"0\.\d{3} \([01]\.\d{3}–[01]\.\d{3}\)", cells[3]["attack AUC (99 % of retrained models)"])
    assert cells[5]["guarantee"] == "VOID"
    assert cells[3]["distance, share of doing nothing"] == "0 %"
    assert cells[3]["forget"] == "10 ms"


def test_figures_in_words() -> None:
    assert [seconds(v) for v in (None, 4e-6, 0.0123, 3.21, 600.0)] == ["–", "4 µs", "12.3 ms", "3.21 s", "10 min"]
    assert [times(v) for v in (None, 0.5, 3.0, 1234.0)] == ["–", "0.5×", "3.0×", "1,234×"]
    assert [share(v) for v in (None, 0.0, 1e-7, 0.0123, 0.5)] == ["–", "0 %", "< 0.01 %", "1.2 %", "50 %"]


def test_costs_pay_off_after_some_deletions() -> None:
    assert Costs(1.0, 11.0, 5.0, 30.0).break_even == 3.0
    assert Costs(1.0, 11.0, 5.0).break_even is None
    assert Costs(11.0, 1.0, None, 30.0).break_even is None
    assert Costs(1.0, 11.0, 5.0).warm_speed_up == 5.0
    assert Costs(1.0, 11.0, 5.0, 30.0).speed_up_after(3) == 1.0
    assert Costs(1.0, 11.0).speed_up_after(3) is None
    assert Costs(1.0, 11.0, record_bytes=500, release_bytes=100).storage == 5.0
    assert Costs(1.0, 11.0, release_bytes=100).storage is None


def test_equal_audits_give_equal_bytes(audits: list[tuple[str, str, Audit]]) -> None:
    assert render(audits) == render([(label, words, Audit.from_json(a.to_json())) for label, words, a in audits])


def test_page_fetches_nothing_and_runs_nothing(audits: list[tuple[str, str, Audit]]) -> None:
    page = render(audits, introduction="<script>alert(1)</script>", notes=[("A & B", "<img src=x>")])
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "<img" not in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "planted &lt;no-op&gt; &amp; $x_1$" in page


def test_page_is_well_formed_with_ids_of_its_own(audits: list[tuple[str, str, Audit]]) -> None:
    page = render(audits)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert ids
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:href="#|url\(#)([^")]*)', page):
        assert target in ids
    assert page.count("<svg") == 6
    assert page.count("<article") == len(audits)
    assert "NaN" not in page
    assert not re.search(r"#0[1-7]0[1-7]0[1-7]", page)  # every placeholder colour became a variable
    Balanced().feed(page)


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


def test_contradicted_certificate_is_shouted(audits: list[tuple[str, str, Audit]]) -> None:
    page = render([audits[5]])
    assert "certificate void" in page
    assert "nothing was forgotten" in page
    assert 'class="card bad"' in page
    assert "certificate void" not in render([audits[3]])


def test_failure_short_of_a_contradiction_is_a_warning() -> None:
    audit = audit_step(step_of(Overfit(fault="invert"), rows_of(200, 1), 60), TEST, references=8)
    page = render([("ascent", "60 rows", audit)])
    assert 'class="card warn"' in page
    assert "over-forgotten" in page


def test_page_says_how_surprising_each_figure_is_and_what_could_have_been_found(
    audits: list[tuple[str, str, Audit]],
) -> None:
    audit = audit_step(step_of(Overfit(), ROWS, 20), TEST, references=9)
    page = render([("sisa", "20 rows", audit)])
    loss = audit.measure("loss on test")
    assert loss is not None
    assert loss.calibration is not None
    assert f"<td>{loss.calibration.p_value:.2g}</td>" in page
    assert "score: tug of war" in page
    assert "the least that so many can give is 0.1." in page  # one of ten
    assert "at most 0.0000 nats in common" in page
    assert "nats" not in render([audits[5]])  # a void certificate bounds nothing


def test_page_shows_figures_over_models_and_withholds_scores_of_broken_ones() -> None:
    repeated = audit_step(step_of(LeastSquares(), ROWS, 20), TEST, references=5, repeats=4)
    page = render([("newton", "20 rows", repeated)])
    assert "Over 5 models that forgot and 5 retrained ones: klom on retained" in page
    assert "could have proved 0 at most" in page
    assert re.search(r"To void this certificate takes \d\d models on each side at least", page)
    broken = step_of(LeastSquares(), ROWS, 20)
    broken = replace(broken, after=replace(broken.after, tensors={"w": -broken.after.tensors["w"]}))
    page = render([("broken", "20 rows", audit_step(broken, TEST, references=4))])
    assert "No scores" in page
    assert "score: " not in page


def test_audit_without_attack_or_times_still_makes_a_page(audits: list[tuple[str, str, Audit]]) -> None:
    audit = replace(audits[3][2], attacks=(), costs=Costs(None, None), apart=(), exposure=None)
    page = render([("bare", "20 rows", audit)])
    assert page.count("<svg") == 1


def test_report_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one audit"):
        render([])


@pytest.mark.parametrize("width", [1280, 420])
def test_browser_shows_the_page_without_overflow(
    tmp_path: Path, audits: list[tuple[str, str, Audit]], width: int
) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    page = tmp_path / "report.html"
    write_report(page, audits, title="Forgetting, audited")
    # The probe writes the widths into the document; the page's own policy forbids scripts, so the copy drops it.
    probe = (
        "<script>document.documentElement.setAttribute('data-widths',"
        "[innerWidth, document.documentElement.scrollWidth, document.querySelectorAll('svg').length].join())</script>"
    )
    text = re.sub(r"<meta http-equiv.*?>", "", page.read_text()).replace("</body>", f"{probe}</body>")
    (tmp_path / "probe.html").write_text(text)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    shown = subprocess.run(
        [browser, *flags, (tmp_path / "probe.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    found = re.search(r'data-widths="(\d+),(\d+),(\d+)"', shown)
    assert found is not None
    window, needed, drawings = map(int, found.groups())
    assert needed <= window
    assert drawings == 6
