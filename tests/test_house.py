"""The house rules: what stands at the top, which floor may import which, how long a module is."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "aetool"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    "cli": 4,
    "tasks": 3,
    "training": 2,
    "inference": 2,
    "analysis": 2,
    "plots": 2,
    "models": 1,
    "storage": 1,
    "images": 1,
    "errors": 0,
}
TOP = {"LICENSE", "README.md", "aetool", "examples", "man", "pyproject.toml", "tests"}

# What cli/ is built from; every other module there is a command.
CLI_PARTS = {"__init__", "app", "completion", "help", "options", "output", "silence"}
COMMANDS = [path for path in MODULES if path.parent.name == "cli" and path.stem not in CLI_PARTS]
COMMAND_IMPORTS = {"typer", "aetool.cli.options", "aetool.models.specs", "aetool.errors"}


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of the modules that import statements among `nodes` load."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if is_module(whole) else node.module


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_nothing_else_stands_at_the_top():
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {name.partition("/")[0].lstrip('"') for name in files.splitlines()}
    assert {name for name in found if not name.startswith(".")} <= TOP


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_imports_run_down_the_floors(path):
    folder = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(ast.walk(parse(path))):
        if not name.startswith("aetool."):
            continue
        target = name.split(".")[1]
        if folder in FLOORS and target != folder:
            assert FLOORS[target] < FLOORS[folder], f"{identify(path)} imports {name}"


@pytest.mark.parametrize("path", COMMANDS, ids=identify)
def test_a_command_imports_its_task_in_its_body(path):
    for name in imports(iter(parse(path).body)):
        top = name.partition(".")[0]
        assert name in COMMAND_IMPORTS or top in sys.stdlib_module_names, name


@pytest.mark.parametrize("path", COMMANDS, ids=identify)
def test_a_command_is_called_as_its_module(path):
    public = [
        node.name
        for node in parse(path).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert public == [path.stem]


@pytest.mark.parametrize("path", MODULES + sorted((ROOT / "tests").rglob("*.py")), ids=identify)
def test_nobody_imports_click(path):
    assert "click" not in {name.partition(".")[0] for name in imports(ast.walk(parse(path)))}


@pytest.mark.parametrize(
    ("folder", "banned"),
    [
        ("storage", {"keras", "tensorflow", "sklearn", "matplotlib"}),
        ("images", {"tensorflow", "matplotlib"}),
        ("analysis", {"keras", "tensorflow", "matplotlib"}),
        ("plots", {"keras", "tensorflow", "sklearn"}),
    ],
)
def test_a_folder_keeps_to_its_libraries(folder, banned):
    for path in (PACKAGE / folder).glob("*.py"):
        used = {name.partition(".")[0] for name in imports(ast.walk(parse(path)))}
        assert not used & banned, identify(path)


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_no_module_is_over_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=identify)
def test_packages_import_nothing(path):
    tree = parse(path)
    assert not list(imports(ast.walk(tree)))
    assert path.parent == PACKAGE or not tree.body


def test_every_man_page_is_installed_in_its_section():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    pages = sorted((ROOT / "man").iterdir())
    assert shared == {
        f"man/{page.name}": f"share/man/man{page.suffix[1:]}/{page.name}" for page in pages
    }
