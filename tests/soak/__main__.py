"""`python -m tests.soak --minutes 60 --into DIR`: soak, measure, judge.

Knows the order of things. Exit code 1 where something did not hold.
"""

import argparse
import json
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psycopg

from tests.soak.charts import render_svg
from tests.soak.evaluation import evaluate_soak, read_notes
from tests.soak.faults import FaultInjector, schedule_faults
from tests.soak.installation import JobSchedule, build_installation, wait_for_port
from tests.soak.measurements import (
    NoteLog,
    RepeatingTask,
    measure_processes,
    post_reading,
    take_account,
    visit_page,
)

QUIET_SECONDS = 45.0  # seconds without a fault at the end
RECOVERY_SECONDS = (
    120.0  # seconds after that until everything must be made up for, on a machine that does other things
)


def main() -> None:
    """Soak as the command line says."""
    parser = argparse.ArgumentParser(description="Soak the whole installation, a fault every minute.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=60, help="seconds between two faults")
    parser.add_argument("--lasts", type=float, default=20, help="seconds that a fault lasts")
    parser.add_argument("--postgres", help="soak on it and an MLflow server, both behind a wire that is cut")
    parser.add_argument("--title", default="A soak", help="what docs/reliability.md calls it")
    parser.add_argument("--into", type=Path, required=True, help="where notes, verdict and curves go")
    parser.add_argument("--judge", type=Path, help="notes of an earlier soak, to be judged only")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    path = arguments.judge or run_soak(
        arguments.minutes, arguments.every, arguments.lasts, arguments.postgres, arguments.into
    )
    notes = read_notes(path)
    verdict = evaluate_soak(notes)
    document = json.dumps(verdict.as_dict() | {"title": arguments.title}, indent=1, sort_keys=True) + "\n"
    (arguments.into / "soak.json").write_text(document, encoding="utf-8")
    (arguments.into / "soak.svg").write_text(render_svg(notes), encoding="utf-8")
    print(document)
    sys.exit(1 if verdict.wrong else 0)


def run_soak(minutes: float, every: float, lasts: float, postgres: str | None, into: Path) -> Path:
    """Soak; the notes that were taken."""
    pace = JobSchedule()
    database_name = None
    if postgres is not None:
        database_name = f"soak_{uuid.uuid4().hex}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database_name}")  # type: ignore[arg-type]
        postgres = postgres.rpartition("/")[0] + f"/{database_name}"
    home = Path(tempfile.mkdtemp(prefix="safeplan-soak-")) / "home"
    path = into / "soak.jsonl"
    path.unlink(missing_ok=True)
    installation = build_installation(home, postgres, pace)
    installation.keep()
    for port in installation.ports.values():
        wait_for_port(port)
    note = NoteLog(path)
    note(
        "begins", minutes=minutes, every=every, lasts=lasts, servers=database_name is not None, home=str(home)
    )
    count = max(1, int((minutes * 60 - 60 - QUIET_SECONDS) // every))
    injector = FaultInjector(installation, schedule_faults(installation, count), every, lasts, note)
    feed = RepeatingTask("feed", 5, installation.feed.send, note)
    regular = [
        feed,
        RepeatingTask("keep", 0.5, installation.keep, note),
        RepeatingTask("measure", 10, lambda: measure_processes(installation, note), note),
        RepeatingTask("post", 2, lambda: post_reading(installation, note), note),
        RepeatingTask("page", 20, lambda: visit_page(installation, note), note),
    ]
    until = note.begun + minutes * 60
    with installation.sink.listening():
        for task in regular:
            task.start()
        time.sleep(60 if minutes > 3 else 20)
        injector.start()
        injector.join()
        time.sleep(max(0.0, until - QUIET_SECONDS - time.monotonic()))
        feed.stop()
        time.sleep(QUIET_SECONDS)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while (totals := take_account(installation))["unscored"] + totals[
            "messages_waiting"
        ] and time.monotonic() < deadline:
            time.sleep(5)
        note("account", **totals)
        for task in reversed(regular[1:]):
            task.stop()
        installation.end()
    time.sleep(5)
    note("ends", left=[role for role in installation.services if installation.of(role)])
    return path


if __name__ == "__main__":
    main()
