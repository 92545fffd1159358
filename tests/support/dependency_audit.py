"""Check all locked packages for known vulnerabilities; an accepted one has a reason.

Uses pip-audit and `accepted_vulnerabilities.txt`. Packages that cannot be checked, because the index has no
list of vulnerabilities, are counted and reported.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ACCEPTED = Path(__file__).with_name("accepted_vulnerabilities.txt")


def accepted(text: str) -> dict[str, str]:
    """Reasons by identifier, of lines `ID reason`.

    >>> accepted("# why\\nCVE-2026-1 only reached with a debug flag that we never set\\n")
    {'CVE-2026-1': 'only reached with a debug flag that we never set'}
    """
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    without = [parts[0] for parts in lines if len(parts) < 2]
    if without:
        sys.exit(f"{ACCEPTED.name}: {', '.join(without)} has no reason. Write one behind it.")
    return {name: reason.strip() for name, reason in lines}


def verdict(found: dict, known: dict[str, str]) -> tuple[list[str], int, int]:
    """Vulnerabilities that are not accepted, and how many packages were looked up and could not be.

    >>> hole = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2"]}
    >>> package = {"name": "x", "version": "1", "vulns": [hole]}
    >>> verdict({"dependencies": [package, {"name": "y", "skip_reason": "?"}]}, {})
    (['x 1: PYSEC-1, fixed in 2'], 1, 1)
    >>> verdict({"dependencies": [package]}, {"CVE-1": "not reached"})
    ([], 1, 0)
    """
    packages = found["dependencies"]
    open_ones = [
        f"{one['name']} {one['version']}: {hole['id']}, "
        f"fixed in {' or '.join(hole['fix_versions']) or 'nothing yet'}"
        for one in packages
        for hole in one.get("vulns", [])
        if not {hole["id"], *hole["aliases"]} & known.keys()
    ]
    skipped = sum("skip_reason" in one for one in packages)
    return open_ones, len(packages) - skipped, skipped


def main() -> None:
    """Audit the lock; exit 1 where a vulnerability is not accepted."""
    line = ["-r", str(ROOT / "requirements.lock"), "--disable-pip", "--require-hashes", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", *line],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout:
        sys.exit(f"pip-audit printed nothing:\n{done.stderr[-2000:]}")
    holes, looked_up, skipped = verdict(
        json.loads(done.stdout), accepted(ACCEPTED.read_text(encoding="utf-8"))
    )
    print(f"{looked_up} packages checked, {skipped} could not be: the index has no list of vulnerabilities")
    if holes:
        sys.exit("\n".join([*holes, f"Upgrade, or accept it with a reason in tests/{ACCEPTED.name}."]))


if __name__ == "__main__":
    main()
