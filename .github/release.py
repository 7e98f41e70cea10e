"""What a release must be, checked before anything is published.

python3 .github/release.py tag v0.1.0    # the tag, the version and the changelog agree
python3 .github/release.py count dist    # every file is there, of that version, and no other
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHEELS = (
    "cp311-abi3-manylinux.*_x86_64",
    "cp311-abi3-manylinux.*_aarch64",
    "cp311-abi3-musllinux.*_x86_64",
    "cp311-abi3-musllinux.*_aarch64",
    "cp311-abi3-macosx.*_universal2",
    "cp311-abi3-win_amd64",
    "cp311-abi3-win_arm64",
    "py3-none-any",
)


def version() -> str:
    """The version in Cargo.toml, from which the wheel and the sdist take theirs."""
    found = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def check_tag(tag: str) -> list[str]:
    """What is wrong with a tag."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\] - (.+)$", changelog, re.MULTILINE)
    wrong = []
    if tag != f"v{version()}":
        wrong.append(f"the tag is {tag}, and the version {version()}")
    if newest is None or newest[1] != version():
        wrong.append(f"the newest entry of CHANGELOG.md is not of {version()}")
    elif not re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]):
        wrong.append(f"the entry of {version()} in CHANGELOG.md has no date, but {newest[2]!r}")
    return wrong


def check_files(folder: Path) -> list[str]:
    """What is missing in a folder of files to publish, and what should not be there."""
    left = sorted(path.name for path in folder.iterdir())
    wrong = []
    own = re.escape(version())
    patterns = [rf"toysup-{own}\.tar\.gz", *(rf"toysup-{own}-{wheel}\.whl" for wheel in WHEELS)]
    for pattern in patterns:
        found = [name for name in left if re.fullmatch(pattern, name)]
        if len(found) != 1:
            wrong.append(f"one file must be like {pattern}, got {found}")
        left = [name for name in left if name not in found]
    return wrong + [f"{name} is none of the files of a release" for name in left]


def main(argv: list[str]) -> int:
    """Say what is wrong; returns the exit code."""
    if len(argv) != 2 or argv[0] not in ("tag", "count"):
        print(__doc__, file=sys.stderr)
        return 2
    wrong = check_tag(argv[1]) if argv[0] == "tag" else check_files(Path(argv[1]))
    for line in wrong:
        print(f"release: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
