"""The house stands as it is drawn: imports go down, names are ours, files stay readable."""

import ast
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = [
    "api",
    "cli",
    "config",
    "db",
    "domain",
    "engines",
    "media",
    "messaging",
    "rabbitmq",
    "services",
    "storage",
    "workers",
]
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def test_imports_only_go_down() -> None:
    lint = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert lint.returncode == 0, lint.stdout


def test_no_installed_package_uses_one_of_our_names() -> None:
    """`import storage` must mean ours, whatever a dependency of a dependency brings."""
    taken = {
        (found.metadata["Name"], path.parts[0])
        for found in distributions()
        if found.metadata["Name"] != "escriba"
        for path in found.files or []
        if path.parts[0] in PACKAGES
    }
    assert taken == set()


@pytest.mark.parametrize("module", ["api.app", "rabbitmq.main", "services.submission", "cli.main"])
def test_a_door_loads_no_engine(module: str) -> None:
    heavy = "{'torch', 'grpc', 'faster_whisper', 'ctranslate2', 'pocketsphinx', 'onnxruntime', 'engines', 'media'}"
    program = f"import sys, {module}; print(sorted({heavy} & {{name.split('.')[0] for name in sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def functions() -> list[tuple[str, int]]:
    """Every function as `file:name`, with its length in lines."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                found.append((f"{path.relative_to(ROOT)}:{node.name}", length))
    return found


def test_functions_stay_short() -> None:
    assert [found for found in functions() if found[1] > 55] == []


def test_files_stay_readable() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 450} == {}
