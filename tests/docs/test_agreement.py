"""Lists that must agree, and rules of the tree that no other tool checks."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import statistics
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import expunge
from expunge import methods
from expunge.cli import choosing

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "expunge"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
METHOD_FILES = sorted(path for path in (PACKAGE / "methods").glob("*.py") if path.name != "__init__.py")
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "misc"}
MACHINE_PATHS = re.compile(r"\.\./shared|/work/|/root/|/home/\w|/opt/(pypi|wheels)|/tmp/inst|/Users/")
REGISTRY_HOSTS = re.compile(
    r"(pypi|files\.pythonhosted|registry\.npmjs|npmjs|anaconda|conda-forge|test\.pypi)\.(org|com)"
)


def readable(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def readme_table() -> list[dict[str, str]]:
    lines = (ROOT / "README.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| method |"))
    heads = [cell.strip() for cell in lines[start].strip("|").split("|")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(heads, (cell.strip() for cell in line.strip("|").split("|")), strict=True)))
    return rows


def test_methods_readme_contract_and_docs_pages_agree() -> None:
    names = {path.stem for path in METHOD_FILES}
    in_readme = {row["method"].strip("`").replace("-", "_") for row in readme_table()}
    pages = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")} - {"index"}
    assert len(names) >= 3
    assert in_readme == names
    assert pages == names
    assert set(importlib.import_module("tests.contract.subjects").SUBJECTS) == names


def test_the_package_lists_its_methods_sorted() -> None:
    assert list(methods.__all__) == sorted(methods.__all__)
    classes = {choosing._method_in(choosing._module(name), name).__name__ for name in choosing.names()}
    assert set(methods.__all__) == classes


def test_every_method_says_what_it_is_and_the_readme_repeats_it() -> None:
    rows = {row["method"].strip("`"): row for row in readme_table()}
    for name in choosing.names():
        card = choosing.card(name)
        for fact in choosing.CARD:
            assert card[fact], f"the docstring of {name} has no line '{fact.capitalize()}: ...'"
        row = rows[name]
        assert row["models"] == card["models"].rstrip(".")
        assert row["guarantee"] == card["guarantee"].rstrip(".")
        assert row["strong or weak"] == f"strong: {card['strong'].rstrip('.')}; weak: {card['weak'].rstrip('.')}"
        assert row["paper"] == card["paper"].rstrip(".")
        assert f"(docs/methods/{name.replace('-', '_')}.md)" in row["docs"]


def public_modules() -> list[ModuleType]:
    found = [expunge]
    for entry in pkgutil.walk_packages(expunge.__path__, "expunge."):
        module = importlib.import_module(entry.name)
        if hasattr(module, "__all__"):
            found.append(module)
    return found


def test_all_lists_are_sorted_and_name_what_exists() -> None:
    for module in public_modules():
        listed = list(module.__all__)
        assert listed == sorted(listed), f"__all__ of {module.__name__} is not sorted"
        for name in listed:
            assert getattr(module, name, None) is not None, f"{module.__name__} does not have {name}"


def test_packages_export_everything_public_that_they_import() -> None:
    for module in public_modules():
        if module is expunge:  # imported when first used
            continue
        public = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
            if value.__module__.startswith(module.__name__)
        }
        assert public <= set(module.__all__), f"{module.__name__} does not list {sorted(public - set(module.__all__))}"


def lines_of(paths: list[Path]) -> list[int]:
    return [len(path.read_text().splitlines()) for path in paths]


def test_files_keep_to_their_sizes() -> None:
    sizes = dict(zip(readable(MODULES), lines_of(MODULES), strict=True))
    substantial = sorted(size for size in sizes.values() if size > 5)
    assert {name: size for name, size in sizes.items() if size > 500} == {}
    assert statistics.median(substantial) <= 150
    assert substantial[int(0.9 * len(substantial))] <= 350
    beside_cards = {path.name: len(path.read_text().splitlines()) - len(choosing.CARD) for path in METHOD_FILES}
    assert {name: size for name, size in beside_cards.items() if size > 200} == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    named = [path for path in [*MODULES, *TESTS] if FORBIDDEN_NAMES & set(re.split(r"[_.]", path.stem))]
    folders = [path for path in PACKAGE.rglob("*") if path.is_dir() and path.name in FORBIDDEN_NAMES]
    assert readable(named + folders) == []


def bare_expressions(source: str) -> list[int]:
    """Lines where a comparison, or a call of something named like one, is made and its answer dropped."""
    dropped = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Expr):
            continue
        value = node.value
        if isinstance(value, ast.Compare | ast.BoolOp):
            dropped.append(node.lineno)
        if isinstance(value, ast.Call):
            name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            if re.fullmatch(r"allclose|isclose|equal|array_equal|startswith|endswith|exists|is_file|is_dir", name):
                dropped.append(node.lineno)
    return dropped


def test_no_test_drops_the_answer_of_a_comparison() -> None:
    assert bare_expressions("torch.allclose(a, b)\na == b\nassert a == b\nnumpy.testing.assert_allclose(a, b)") == [
        1,
        2,
    ]
    dropped = {str(path.relative_to(ROOT)): bare_expressions(path.read_text()) for path in TESTS}
    assert {name: lines for name, lines in dropped.items() if lines} == {}


def test_the_package_calls_no_super_and_no_eval_and_executes_only_the_users_own_files() -> None:
    allowed = {"src/expunge/models.py": {"exec"}, "src/expunge/vault/sources.py": {"exec"}}
    for path, name in zip(MODULES, readable(MODULES), strict=True):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        called = {getattr(function, "id", "") for function in calls} & {"super", "eval", "exec"}
        assert called <= allowed.get(name, set()), name


def test_nothing_pickles() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "cloudpickle", "dill", "joblib.numpy_pickle"} & set(names), path.relative_to(ROOT)


def product_texts() -> list[Path]:
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    return [*MODULES, *pages, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile"))]


def test_no_product_file_names_a_machine_or_a_registry() -> None:
    assert MACHINE_PATHS.search("see ../shared/data")
    assert REGISTRY_HOSTS.search("https://pypi.org/simple")
    found = [
        path for path in product_texts() for rule in (MACHINE_PATHS, REGISTRY_HOSTS) if rule.search(path.read_text())
    ]
    assert readable(found) == []


def test_version_and_changelog_agree() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    first = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, flags=re.MULTILINE)
    assert first is not None
    assert first.group(1) == expunge.__version__


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    names = {re.split(r"[<>=\[ ]", text)[0].lower() for text in wanted} - {"expunge"}
    assert names - pinned == set()


@pytest.mark.parametrize("name", ["demo", "test", "check", "docs", "bench", "clean"])
def test_the_makefile_has_the_target(name: str) -> None:
    assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
