"""What `pip install .` installs: all that talks, its files and its commands, and nothing else."""

from __future__ import annotations

import email.message
import email.parser
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("model", "server", "client")
LARGEST_MB = 45
"""Embedded checkpoint, 38 MB unpacked, included."""
AWAY = """
import sys
from pathlib import Path
sys.path.insert(0, {wheel!r})
from model.checkpoint import EMBEDDED, read_config
from model.checkpoint_names import CHECKPOINTS
from model.weights.wheels import LARGE, SMALL, requirements
from omni_command import version
from server.api_docs import _DOCUMENTS
from server.settings import Settings
page = Settings(_env_file=None).static_dir
print(version(), read_config(EMBEDDED).audio_route)
print((page / "index.html").is_file(), (_DOCUMENTS / "protocol.md").is_file())
lists = [requirements(name) for name in (SMALL, LARGE)]
print(all({wheel!r} in str(path) for path in (EMBEDDED, page, _DOCUMENTS, *lists)), all(map(Path.is_file, lists)))
print(read_config(CHECKPOINTS / "omni-1.5b").mouth == read_config(EMBEDDED).mouth)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git has and what is new beside it, as a clone would be."""
    folder = tmp_path_factory.mktemp("package")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "source"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return email.parser.Parser().parsestr(archive.read(name).decode())


def pins(file: str) -> set[str]:
    """`name==version`, names normalised, of a requirements file."""
    lines = (line.split("#")[0].split(" --hash")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return {normal(line) for line in lines if line}


def normal(requirement: str) -> str:
    name, _, version = requirement.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def test_it_is_named_versioned_and_kept_from_the_index(metadata: email.message.Message) -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (metadata["Name"], metadata["Version"]) == ("mini-omni-voice", wanted["version"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Private :: Do Not Upload" in metadata.get_all("Classifier", [])


def test_it_needs_what_the_requirements_say(metadata: email.message.Message) -> None:
    asked = [requirement.split("; ") for requirement in metadata.get_all("Requires-Dist", [])]
    assert {normal(parts[0]) for parts in asked if len(parts) == 1} == pins("requirements.txt")
    extras: dict[str, set[str]] = {}
    for name, condition in (parts for parts in asked if len(parts) == 2):
        extras.setdefault(condition.split('"')[1], set()).add(normal(name))
    training, docs = pins("requirements-training.txt"), pins("requirements-docs.txt")
    assert extras == {
        "training": training,
        "docs": docs,
        "dev": pins("requirements-dev.txt") | training | docs,
        "benchmarks": pins("requirements-benchmarks.txt"),
    }


def test_every_module_and_every_file_of_the_page_is_in_it(names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for room in CODE for path in (ROOT / room).rglob("*.py")}
    packed = {name for name in names if name.endswith(".py")}
    assert modules | {"omni_command.py"} == packed, "pyproject.toml names every package under [tool.setuptools]"
    page = {f"server/{path.relative_to(ROOT)}" for path in (ROOT / "static").rglob("*") if path.is_file()}
    assert page == {name for name in names if name.startswith("server/static/")}


def test_the_checkpoints_are_in_it_without_what_only_trains(names: set[str], wheel: Path) -> None:
    inside = {name.removeprefix("model/") for name in names if "/checkpoints/" in name}
    folders = (ROOT / "checkpoints" / name for name in ("smol-omni", "omni-1.5b"))
    assert inside == {str(path.relative_to(ROOT)) for folder in folders for path in folder.iterdir() if path.is_file()}
    assert wheel.stat().st_size < LARGEST_MB * 1_000_000


def test_it_gives_three_commands(wheel: Path, names: set[str]) -> None:
    (entries,) = (name for name in names if name.endswith("entry_points.txt"))
    told = zipfile.ZipFile(wheel).read(entries).decode()
    assert dict(re.findall(r"^(\S+) = (\S+)$", told, re.M)) == {
        "omni": "model.__main__:run",
        "omni-client": "client.__main__:run",
        "omni-server": "server.__main__:run",
    }


def test_away_from_the_checkout_it_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    ran = subprocess.run(
        [sys.executable, "-c", AWAY.format(wheel=str(tmp_path / "installed"))],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ran.stdout.split() == [version, "tts_adapter", *["True"] * 5]
