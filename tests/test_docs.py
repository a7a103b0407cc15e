"""The manual and the program say the same: pages, options, JSON keys, names and examples."""

import ast
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.exceptions import TyperException
from typer.main import get_command

from aetool.cli import app
from aetool.images.augment import AUGMENTATIONS
from aetool.models.specs import FAMILIES, TASKS
from aetool.tasks.recipes import recipe_names
from aetool.training.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
MAN = ROOT / "man"
PAGES = sorted(MAN.iterdir())
PROGRAM = get_command(app.app)
COMMANDS = sorted(PROGRAM.commands)

SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "JSON", "EXIT STATUS", "EXAMPLES"]
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
# What the shell or make puts another word for: $name, ${name}, $(command), <(command), $@ and $<.
EXPANSION = re.compile(r"\$(\w+|\{[^}]*\}|[@<^*?])|[$<]\([^()]*\)")
# Words of a synopsis, which stand for something else: [options], argument..., SOURCE.
PLACEHOLDER = re.compile(r"\[|.*\]|.*\.\.\.|.*…|[A-Z|]+$")
# What runs the program that is named behind it, and the fields of a crontab.
WRAPPERS = {
    "do", "else", "env", "exec", "flock", "if", "ionice", "nice", "nohup", "sudo", "systemd-run",
    "then", "time", "timeout", "until", "watch", "while", "xargs",
}  # fmt: skip


# --- reading pages -----------------------------------------------------------------------------


def plain(line: str) -> str:
    """A line of man(7) as it reads: macro, quotes, fonts and escapes gone."""
    macro = re.match(r"\.(B|I|BR|RB|BI|IB|IR|RI|SM|SH|SS)\s+(.*)", line)
    if macro:
        words = re.findall(r'"([^"]*)"|(\S+)', macro[2])
        joint = "" if len(macro[1]) == 2 and macro[1] not in ("SM", "SH", "SS") else " "
        line = joint.join(quoted or bare for quoted, bare in words)
    line = re.sub(r"\\f(\[\w*\]|.)", "", line)
    for escape, character in ((r"\-", "-"), (r"\~", " "), (r"\&", ""), (r"\e", "\\")):
        line = line.replace(escape, character)
    return line


def section(page: Path, title: str) -> list[str]:
    """The source lines of one section, without its title."""
    lines = page.read_text(encoding="utf-8").splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith(".SH")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if plain(lines[start]) == title:
            return lines[start + 1 : end]
    return []


def titles(page: Path) -> list[str]:
    lines = page.read_text(encoding="utf-8").splitlines()
    return [plain(line) for line in lines if line.startswith(".SH")]


def tags(lines: list[str]) -> list[str]:
    """What the entries of a list are called: the lines behind .TP."""
    return [plain(lines[n + 1]) for n, line in enumerate(lines) if line.startswith((".TP", ".TQ"))]


def entries(page: Path, title: str) -> dict[str, str]:
    """The option names that each entry of a section gives, with the rest of its tag."""
    named = {}
    for tag in tags(section(page, title)):
        names = OPTION.findall(tag)
        assert names, f"{page.name}: {tag!r} names no option"
        for name in names:
            assert name not in named, f"{page.name} has two entries for {name}"
            named[name] = OPTION.sub("", tag).strip(", ")
    return named


def page_of(command: str) -> Path:
    return MAN / f"aetool-{command}.1"


def parse(module: str) -> ast.Module:
    """A module of the package, read but not imported: many would import TensorFlow."""
    return ast.parse((ROOT / "aetool" / module).read_text(encoding="utf-8"))


def options(command) -> dict[str, str]:
    """Every option of a command but --help, with what it takes: {"--seed": "N", "--json": ""}."""
    with typer.Context(command) as context:
        params = [param for param in command.get_params(context) if param.name != "help"]
    return {
        name: "" if param.is_flag else param.metavar
        for param in params
        if param.param_type_name == "option"
        for name in [*param.opts, *param.secondary_opts]
    }


# --- pages and options -------------------------------------------------------------------------


def test_every_command_has_a_page_that_pip_installs():
    assert [page.name for page in PAGES if page.suffix == ".1"] == sorted(
        ["aetool.1", *(page_of(command).name for command in COMMANDS)]
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    for page in PAGES:
        target = f"share/man/man{page.suffix[1:]}/{page.name}"
        assert installed.get(f"man/{page.name}") == target


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_an_entry_and_every_entry_an_option(command):
    assert entries(page_of(command), "OPTIONS") == options(PROGRAM.commands[command])


def test_the_programs_own_options_are_in_its_page():
    expected = options(PROGRAM) | {"--help": "", "-h": ""}
    assert entries(MAN / "aetool.1", "OPTIONS") == expected


def test_a_common_option_is_one_of_several_commands():
    for name in entries(MAN / "aetool.1", "COMMON OPTIONS"):
        takers = [command for command in COMMANDS if name in options(PROGRAM.commands[command])]
        assert len(takers) > 1, name


def test_the_programs_page_lists_every_command():
    listed = tags(section(MAN / "aetool.1", "COMMANDS"))
    assert sorted(listed) == [f"aetool-{command}(1)" for command in COMMANDS]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_the_sections_of_all(command):
    found = titles(page_of(command))
    assert [title for title in found if title in SECTIONS] == SECTIONS
    assert found[-1] == "SEE ALSO"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_refers_to_pages_that_exist(page):
    text = plain(page.read_text(encoding="utf-8").replace("\n", " "))
    for name, number in re.findall(r"(aetool[\w-]*) ?\((\d)\)", text):
        assert (MAN / f"{name}.{number}").exists(), f"{name}({number})"
    assert f'.TH {page.stem.upper()} {page.suffix[1:]} "" "aetool" "aetool manual"' in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_formats_without_warnings_and_fits_80_columns(page):
    if shutil.which("groff"):
        words = ["groff", "-man", "-Tascii", "-P-cbou", "-ww", "-rLL=78n", page]
    elif shutil.which("mandoc"):
        words = ["mandoc", "-T", "ascii", "-W", "error", page]
    else:
        pytest.skip("neither groff nor mandoc is installed")
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert len(done.stdout.splitlines()) > 20
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_to_be_typed_is_not_filled_as_text_is(page):
    """Filled lines are broken and hyphenated where they happen to end, and cannot be copied."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^\.RS\n(aetool|find|make) ", text, re.M)


# --- JSON keys ---------------------------------------------------------------------------------


def documented_keys(page: Path) -> list[set[str]]:
    """The keys in a page's JSON section, a set for each of its sub-sections, if it has any."""
    groups = [[]]
    for line in section(page, "JSON"):
        if line.startswith(".SS"):
            groups.append([])
        groups[-1].append(line)
    keys = [[key for tag in tags(lines) for key in re.split(r",\s*", tag)] for lines in groups]
    assert all(len(names) == len(set(names)) for names in keys)
    return [set(names) for names in keys if names]


def result_fields(command: str) -> list[set[str]]:
    """The fields of the dataclasses that a command's task returns, in their order."""
    task = parse(f"tasks/{command}.py")
    called = {
        alias.name
        for node in ast.walk(parse(f"cli/{command}.py"))
        if isinstance(node, ast.ImportFrom) and node.module == f"aetool.tasks.{command}"
        for alias in node.names
    }
    classes = {
        node.name: node
        for node in task.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    # A command that imports its task module whole may call any function of it.
    returned = [
        name.id
        for node in task.body
        if isinstance(node, ast.FunctionDef) and (node.name in called or not called)
        for name in ast.walk(node.returns)
        if isinstance(name, ast.Name) and name.id in classes
    ]
    return [
        {node.target.id for node in classes[name].body if isinstance(node, ast.AnnAssign)}
        for name in dict.fromkeys(returned)
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_json_keys_are_the_fields_of_the_result(command):
    fields = result_fields(command)
    assert fields and all(fields)
    assert documented_keys(page_of(command)) == fields


# --- names that train takes --------------------------------------------------------------------


def names_in(path: str, variable: str) -> set[str]:
    """The keys of the dict, or items of the tuple, that a module which imports Keras assigns."""
    (value,) = (
        node.value
        for node in parse(path).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable
    )
    items = value.keys if isinstance(value, ast.Dict) else value.elts
    return {item.value for item in items}


def bold_words(lines: list[str]) -> set[str]:
    return {plain(word) for line in lines for word in re.findall(r"^\.BR? ([a-z][\w\\-]*)", line)}


def section_of_train(title: str) -> list[str]:
    return section(page_of("train"), title)


def test_trains_page_lists_what_train_knows_by_name():
    listed = {title: set(tags(section_of_train(title))) for title in titles(page_of("train"))}
    assert listed["MODELS"] == set(FAMILIES)
    assert listed["RECIPES"] == set(recipe_names())
    assert listed["LOSSES"] == names_in("training/losses.py", "LOSSES")
    assert listed["AUGMENTATION"] == set(AUGMENTATIONS)
    schedules = {tag.partition("=")[0] for tag in listed["SCHEDULES"]}
    assert schedules == set(SCHEDULES)
    optimizers = bold_words(section_of_train("OPTIMIZERS"))
    assert optimizers == names_in("training/optimizers.py", "_OPTIMIZERS")
    assert set(TASKS) <= bold_words(section_of_train("OPTIONS"))


@pytest.mark.parametrize("name", FAMILIES)
def test_trains_page_names_every_argument_of_a_model(name):
    (build,) = (
        node
        for node in parse(f"models/{FAMILIES[name].module}.py").body
        if isinstance(node, ast.FunctionDef) and node.name == "build"
    )
    arguments = {argument.arg for argument in build.args.args + build.args.kwonlyargs}
    text = "\n".join(section_of_train("MODELS"))
    (entry,) = (part for part in text.split("\n.TP\n") if plain(part.splitlines()[0]) == name)
    _, _, listed = entry.partition("Arguments:")
    assert bold_words(listed.splitlines()) == arguments - {"size", "channels"}


# --- examples ----------------------------------------------------------------------------------


def page_examples(page: Path) -> Iterator[str]:
    """The indented lines of a page's examples, continued ones joined."""
    indented = False
    shown = []
    for line in section(page, "EXAMPLES"):
        if line in (".RS", ".RE"):
            indented = line == ".RS"
        elif indented and not line.startswith("."):
            shown.append(plain(line))
    yield from "\n".join(shown).replace("\\\n", " ").splitlines()


def readme_examples() -> Iterator[str]:
    """The lines of README's fenced shell blocks, continued ones joined."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    for block in re.findall(r"^ *```(?:sh|bash|shell)\b.*?\n(.*?)^ *```", text, re.S | re.M):
        yield from block.replace("\\\n", " ").splitlines()


def calls(line: str) -> list[list[str]]:
    """The words behind `aetool` of every call of it in a line of shell."""
    line = EXPANSION.sub("1", line.strip().removeprefix("$ "))
    line = re.sub(r"(?<!\S)[0-9](?=[<>])", "", line)  # the 2 of 2>&1
    if "aetool" not in line:
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:  # a quotation that goes on in the next line
        tokens = line.split()
    found, words, skip = [], [], False
    for word in [*tokens, ";"]:
        if skip:
            skip = False
        elif not set(word) <= set("();<>|&"):
            words.append(word)
        elif word in (">", ">>", "<", ">&", "&>", "<<<"):
            skip = True
        else:
            found.append(words)
            words = []
    return [words[words.index("aetool") + 1 :] for words in found if _calls_aetool(words)]


def _calls_aetool(words: list[str]) -> bool:
    if "aetool" not in words:
        return False
    before = words[: words.index("aetool")]
    before = [word for word in before if not re.match(r"\w+=", word)]
    return not before or before[0] in WRAPPERS or re.match(r"[\d*@]", before[0]) is not None


def check(words: list[str]) -> None:
    """Parse the words as the program does; a synopsis, which has no values, by its names alone.

    Raises:
        TyperException: an unknown command or option, a missing or impossible argument.
    """
    schematic = any(PLACEHOLDER.match(word) for word in words)
    try:
        with PROGRAM.make_context("aetool", list(words)) as context:
            name, command, rest = PROGRAM.resolve_command(context, list(words))
            if not schematic:
                command.make_context(name, rest, parent=context)
    except typer.Exit:
        return  # --help
    if schematic:
        known = options(command)
        for word in rest:
            option = OPTION.match(word.strip("[]"))
            assert option is None or option[0] in known, f"{name} has no {option[0]}"


def examples() -> list:
    sources = {page.name: page_examples(page) for page in PAGES if page.suffix == ".1"}
    sources |= {
        f"{name} --help": command.epilog.splitlines()
        for name, command in [("aetool", PROGRAM), *PROGRAM.commands.items()]
    }
    sources["README.md"] = readme_examples()
    sources["crontab"] = (ROOT / "examples" / "crontab").read_text(encoding="utf-8").splitlines()
    return [
        pytest.param(words, id=f"{source}: {' '.join(words)}")
        for source, lines in sources.items()
        for line in lines
        for words in calls(line)
        if words
    ]


@pytest.mark.parametrize("words", examples())
def test_an_example_is_one_that_the_program_understands(words):
    try:
        check(words)
    except TyperException as error:
        pytest.fail(error.format_message())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_examples_of_its_command(command):
    shown = [words for line in page_examples(page_of(command)) for words in calls(line)]
    assert [command] in [words[:1] for words in shown]


def test_the_readme_shows_the_program_in_use():
    assert any(words for line in readme_examples() for words in calls(line))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pip install aetool", []),
        ("aetool colorize a b 2>&1 > log", [["colorize", "a", "b"]]),
        ("A=1 aetool info $x | jq . # aetool", [["info", "1"]]),
        ("for k in 5 9; do aetool cluster l.h5 -k $k; done", [["cluster", "l.h5", "-k", "1"]]),
        ("find . -print0 | xargs -0 aetool info && aetool", [["info"], []]),
        ("aetool colorize 'two", [["colorize", "'two"]]),
        ("@daily aetool info 'a b.h5' || aetool pca -", [["info", "a b.h5"], ["pca", "-"]]),
    ],
)
def test_calls_are_found_in_shell(line, expected):
    assert calls(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "aetool colourise a b",
        "aetool encode a -c m.h5 -o l.h5 --pols mean",
        "aetool encode a -c m.h5 -o l.h5 --pool max",
        "aetool encode a -c m.h5",
        "aetool cluster l.h5 -k many",
        "aetool info a.h5 b.h5",
        "aetool train SOURCE -o MODEL.h5 [--recipes NAME]",
    ],
)
def test_a_wrong_example_is_found(line):
    (words,) = calls(line)
    with pytest.raises((TyperException, AssertionError)):
        check(words)
