"""`python -m tests.soak --minutes 60 --into DIR`: run the soak test, measure and evaluate it.

Exit code 1 if a condition of `tests.soak.evaluation` does not hold.
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
RECOVERY_SECONDS = 120.0  # further seconds in which everything must be caught up, on a shared machine


def main() -> None:
    """Run the soak test with the options of the command line."""
    parser = argparse.ArgumentParser(description="Run a whole installation with a fault every minute.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=60, help="seconds between two faults")
    parser.add_argument("--lasts", type=float, default=20, help="seconds that a fault lasts")
    parser.add_argument("--postgres", help="use this server and an MLflow server, both behind proxies")
    parser.add_argument("--title", default="A soak test", help="title in docs/reliability.md")
    parser.add_argument("--into", type=Path, required=True, help="folder for measurements, result and charts")
    parser.add_argument("--judge", type=Path, help="measurements of an earlier run, to be evaluated only")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    path = arguments.judge or run_soak(
        arguments.minutes, arguments.every, arguments.lasts, arguments.postgres, arguments.into
    )
    notes = read_notes(path)
    result = evaluate_soak(notes)
    document = json.dumps(result.as_dict() | {"title": arguments.title}, indent=1, sort_keys=True) + "\n"
    (arguments.into / "soak.json").write_text(document, encoding="utf-8")
    (arguments.into / "soak.svg").write_text(render_svg(notes), encoding="utf-8")
    print(document)
    sys.exit(1 if result.wrong else 0)


def run_soak(minutes: float, every: float, lasts: float, postgres: str | None, into: Path) -> Path:
    """Run the soak test; the path of its measurements."""
    database_name = None
    if postgres is not None:
        database_name = f"soak_{uuid.uuid4().hex}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database_name}")  # type: ignore[arg-type]
        postgres = postgres.rpartition("/")[0] + f"/{database_name}"
    home = Path(tempfile.mkdtemp(prefix="safeplan-soak-")) / "home"
    path = into / "soak.jsonl"
    path.unlink(missing_ok=True)
    installation = build_installation(home, postgres, JobSchedule())
    installation.restart_dead()
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
        RepeatingTask("keep", 0.5, installation.restart_dead, note),
        RepeatingTask("measure", 10, lambda: measure_processes(installation, note), note),
        RepeatingTask("post", 2, lambda: post_reading(installation, note), note),
        RepeatingTask("page", 20, lambda: visit_page(installation, note), note),
    ]
    end = note.begun + minutes * 60
    with installation.sink.listening():
        for task in regular:
            task.start()
        time.sleep(60 if minutes > 3 else 20)
        injector.start()
        injector.join()
        time.sleep(max(0.0, end - QUIET_SECONDS - time.monotonic()))
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
