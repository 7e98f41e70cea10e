"""What is checked before a release is published."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from helpers import loaded

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".github" / "release.py"
WORKFLOWS = ROOT / ".github" / "workflows"

# The sdist has the tests, but not the folder of the public workflows.
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the sources have no workflows")


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return loaded(SCRIPT)


@pytest.fixture
def root(release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of version 1.2.3 with a dated changelog."""
    (tmp_path / "Cargo.toml").write_text('[workspace.package]\nversion = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [1.2.3] - 2026-12-01\n")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    return tmp_path


def test_tag_version_and_changelog_agree(release: ModuleType, root: Path) -> None:
    assert release.main(["tag", "v1.2.3"]) == 0
    assert release.main(["tag", "v1.2.4"]) == 1
    (root / "CHANGELOG.md").write_text("## [1.2.3] - Unreleased\n")
    assert "has no date" in release.check_tag("v1.2.3")[0]
    (root / "CHANGELOG.md").write_text("## [1.2.2] - 2026-12-01\n")
    assert "not of 1.2.3" in release.check_tag("v1.2.3")[0]


def test_every_file_is_counted(release: ModuleType, root: Path) -> None:
    dist = root / "dist"
    dist.mkdir()
    names = [
        "toysup-1.2.3.tar.gz",
        "toysup-1.2.3-py3-none-any.whl",
        "toysup-1.2.3-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "toysup-1.2.3-cp311-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
        "toysup-1.2.3-cp311-abi3-musllinux_1_2_x86_64.whl",
        "toysup-1.2.3-cp311-abi3-musllinux_1_2_aarch64.whl",
        "toysup-1.2.3-cp311-abi3-macosx_10_12_x86_64.macosx_11_0_arm64.macosx_10_12_universal2.whl",
        "toysup-1.2.3-cp311-abi3-win_amd64.whl",
        "toysup-1.2.3-cp311-abi3-win_arm64.whl",
    ]
    for name in names:
        (dist / name).touch()
    assert release.main(["count", str(dist)]) == 0
    (dist / names[4]).unlink()
    assert len(release.check_files(dist)) == 1
    (dist / names[4].replace("1.2.3", "1.2.4")).touch()
    assert len(release.check_files(dist)) == 2
    assert release.main([]) == 2


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_actions_are_pinned_by_hash(name: str) -> None:
    text = (WORKFLOWS / name).read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", use)] == []


def test_only_publishing_may_do_more_than_read() -> None:
    text = (WORKFLOWS / "release.yml").read_text(encoding="utf-8")
    assert re.findall(r"^ +([\w-]+): (?:read|write)", text, re.MULTILINE) == [
        "contents",
        "id-token",
    ]
    assert re.search(r"^  publish:$(?:.|\n)*id-token: write", text, re.MULTILINE)
