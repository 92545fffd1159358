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

from tests.soak.curves import draw
from tests.soak.faults import Injector, course
from tests.soak.plant import Pace, build, wait_for_port
from tests.soak.verdict import judge, read
from tests.soak.watch import Notes, Regular, account, measure, post_one, read_page

CALM = 45.0  # seconds without a fault at the end
PATIENCE = (
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
    asked = parser.parse_args()
    asked.into.mkdir(parents=True, exist_ok=True)
    path = asked.judge or soak(asked.minutes, asked.every, asked.lasts, asked.postgres, asked.into)
    notes = read(path)
    verdict = judge(notes)
    told = json.dumps(verdict.as_dict() | {"title": asked.title}, indent=1, sort_keys=True) + "\n"
    (asked.into / "soak.json").write_text(told, encoding="utf-8")
    (asked.into / "soak.svg").write_text(draw(notes), encoding="utf-8")
    print(told)
    sys.exit(1 if verdict.wrong else 0)


def soak(minutes: float, every: float, lasts: float, postgres: str | None, into: Path) -> Path:
    """Soak; the notes that were taken."""
    pace = Pace()
    own = None
    if postgres is not None:
        own = f"soak_{uuid.uuid4().hex}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {own}")  # type: ignore[arg-type]
        postgres = postgres.rpartition("/")[0] + f"/{own}"
    home = Path(tempfile.mkdtemp(prefix="safeplan-soak-")) / "home"
    path = into / "soak.jsonl"
    path.unlink(missing_ok=True)
    plant = build(home, postgres, pace)
    plant.keep()
    for port in plant.ports.values():
        wait_for_port(port)
    note = Notes(path)
    note("begins", minutes=minutes, every=every, lasts=lasts, servers=own is not None, home=str(home))
    count = max(1, int((minutes * 60 - 60 - CALM) // every))
    injector = Injector(plant, course(plant, count), every, lasts, note)
    feed = Regular("feed", 5, plant.feed.send, note)
    regular = [
        feed,
        Regular("keep", 0.5, plant.keep, note),
        Regular("measure", 10, lambda: measure(plant, note), note),
        Regular("post", 2, lambda: post_one(plant, note), note),
        Regular("page", 20, lambda: read_page(plant, note), note),
    ]
    until = note.begun + minutes * 60
    with plant.sink.listening():
        for one in regular:
            one.start()
        time.sleep(60 if minutes > 3 else 20)
        injector.start()
        injector.join()
        time.sleep(max(0.0, until - CALM - time.monotonic()))
        feed.stop()
        time.sleep(CALM)
        patient = time.monotonic() + PATIENCE
        while (found := account(plant))["unscored"] + found[
            "messages_waiting"
        ] and time.monotonic() < patient:
            time.sleep(5)
        note("account", **found)
        for one in reversed(regular[1:]):
            one.stop()
        plant.end()
    time.sleep(5)
    note("ends", left=[role for role in plant.services if plant.of(role)])
    return path


if __name__ == "__main__":
    main()
