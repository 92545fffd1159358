"""Scheduler: each due time runs once, a stuck job is killed, missed due times are counted."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import insert

import safeplan
from monitoring.schedule.job_run_store import JobRunStore, RunStatus
from monitoring.schedule.job_runner import JobRunner
from monitoring.schedule.jobs import DataRetentionSettings, JobResult
from monitoring.schedule.scheduler import JobScheduler
from monitoring.schedule.settings import (
    FORMER_JOB_NAMES,
    JobName,
    JobRule,
    ScheduleSettings,
    due_times,
    parse_cron,
    parse_job_name,
)
from tests.support.workspaces import parse_time
from training.settings import load_settings
from training.storage.alert_tables import job_runs
from training.storage.database import writing
from training.storage.leases import LeaseTaken, lease

NOON = parse_time("2026-03-01T12:00")


def counts(job, workspace, now):
    """Append a line per run."""
    with (workspace.home / "ran.txt").open("a") as file:
        file.write(f"{job} {now:%H:%M}\n")
    return JobResult(False, "counted")


def returns_its_mark(job, workspace, now):
    return JobResult(False, os.environ["SAFEPLAN_MARK"])


def fails(job, workspace, now):
    return JobResult(True, "1 failed")


def raises(job, workspace, now):
    raise ZeroDivisionError("no step")


def dies(job, workspace, now):
    os._exit(9)


def hangs(job, workspace, now):
    """With a child process, as a training has."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (workspace.home / "child.txt").write_text(str(child.pid))
    time.sleep(600)


@pytest.fixture
def runner(workspace):
    """Make a runner whose clock shows noon plus `minutes`."""

    def make(work=counts, minutes=0.0, timeout=60.0):
        rule = JobRule(cron="* * * * *", timeout=timedelta(seconds=timeout))
        settings = ScheduleSettings(detect=rule, retention=rule)
        made = JobRunner(workspace, settings, clock=lambda: NOON + timedelta(minutes=minutes), work=work)
        made._context.set_forkserver_preload([__name__])
        return made

    return make


def ran(workspace):
    path = workspace.home / "ran.txt"
    return path.read_text().split("\n")[:-1] if path.exists() else []


@pytest.mark.slow
def test_a_due_time_is_run_once(runner, workspace):
    first = runner().run_due(JobName.DETECT)
    again = runner(minutes=0.5).run_due(JobName.DETECT)
    following = runner(minutes=1).run_due(JobName.DETECT)

    assert (first.due_at, first.status, first.missed) == (NOON, RunStatus.DONE, 0)
    assert again is None
    assert following.due_at == NOON + timedelta(minutes=1)
    assert ran(workspace) == ["detect 12:00", "detect 12:01"]


@pytest.mark.slow
def test_several_schedulers_on_one_database_run_a_due_time_once(runner, workspace):
    made = [runner(), runner(), runner()]
    result = []
    threads = [threading.Thread(target=lambda r=r: result.append(r.run_due(JobName.DETECT))) for r in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert ran(workspace) == ["detect 12:00"]
    assert len([one for one in result if one is not None]) == 1


@pytest.mark.slow
def test_missed_due_times_are_counted_and_logged(runner, workspace, caplog):
    runner().run_due(JobName.DETECT)

    late = runner(minutes=30).run_due(JobName.DETECT)

    assert late.missed == 29
    assert JobRunStore(workspace.engine).missed_since(NOON)["detect"] == 29
    assert "job detect missed 29 due times" in caplog.text


@pytest.mark.slow
def test_a_stuck_job_is_killed_with_its_children_and_can_run_again(runner, workspace, monkeypatch):
    """Its timeout begins when it hangs: a job needs seconds to start, and more on a busy machine."""
    child_file = workspace.home / "child.txt"
    poll = Connection.poll

    def poll_when_stuck(connection, timeout):
        while timeout < 1 and not (child_file.exists() and child_file.read_text()):
            if poll(connection, 0.05):
                break
        return poll(connection, timeout)

    monkeypatch.setattr(Connection, "poll", poll_when_stuck)

    stuck = runner(hangs, timeout=0.1).run_due(JobName.DETECT)
    child = int(child_file.read_text())
    freed = runner(minutes=1).run_due(JobName.DETECT)

    assert stuck.status is RunStatus.TIMED_OUT
    assert not is_alive(child)
    assert freed.status is RunStatus.DONE


@pytest.mark.slow
def test_a_job_sees_the_current_environment(runner, monkeypatch):
    for minutes, mark in enumerate(("first", "second")):
        monkeypatch.setenv("SAFEPLAN_MARK", mark)

        assert runner(returns_its_mark, minutes=minutes).run_once(JobName.DETECT).detail == mark


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "status", "detail"),
    [
        (fails, RunStatus.SOME_FAILED, "1 failed"),
        (raises, RunStatus.FAILED, "ZeroDivisionError: no step"),
        (dies, RunStatus.FAILED, "the process died with exit code 9"),
    ],
)
def test_the_failure_of_a_job_is_stored(runner, workspace, work, status, detail):
    result = runner(work).run_due(JobName.DETECT)

    stored = JobRunStore(workspace.engine).last(JobName.DETECT)
    assert (result.status, stored.status, stored.detail) == (status, status, detail)
    assert stored.ended_at == NOON


@pytest.mark.slow
def test_a_job_that_another_process_runs_is_skipped(runner, workspace):
    with lease(workspace.engine, "job detect"):
        assert runner().run_due(JobName.DETECT) is None
        with pytest.raises(LeaseTaken):
            runner().run_once(JobName.DETECT)
        assert runner().run_due(JobName.RETENTION).status is RunStatus.DONE

    assert ran(workspace) == ["retention 12:00"]


@pytest.mark.slow
def test_the_scheduler_starts_enabled_jobs_until_it_is_stopped(workspace):
    every = JobRule(cron="* * * * * *", timeout=timedelta(seconds=60))
    off = JobRule(cron="* * * * * *", timeout=timedelta(seconds=60), enabled=False)
    settings = ScheduleSettings(
        detect=every, forecast=off, deliver=off, drift=off, allocate_budget=off, retrain=off, retention=off
    )
    made = JobRunner(workspace, settings, clock=now, work=counts)
    made._context.set_forkserver_preload([__name__])
    twice, result = threading.Event(), []

    def reported(one):
        result.append(one)
        if len(result) == 2:
            twice.set()

    schedule = JobScheduler(made, settings, on_run=reported)
    schedule.start()
    assert twice.wait(60)
    schedule.stop()

    assert {one.job for one in result} == {JobName.DETECT}
    assert len({one.due_at for one in result}) == len(result)


def now():
    return datetime.now(UTC).replace(tzinfo=None)


def test_due_times_are_the_last_one_or_all_since_a_time():
    trigger = parse_cron("0 2 * * *", UTC)

    assert due_times(trigger, None, NOON) == [parse_time("2026-03-01T02:00")]
    assert due_times(trigger, parse_time("2026-03-01T02:00"), NOON) == []
    assert due_times(trigger, parse_time("2026-02-28T02:00"), NOON) == [parse_time("2026-03-01T02:00")]


@pytest.fixture
def cli(workspace, monkeypatch, capsys):
    """Run `safeplan schedule` in this process; code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["safeplan", "schedule", *arguments])
        try:
            safeplan.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        reported = capsys.readouterr()
        return code, reported.out, reported.err

    return run


@pytest.mark.slow
def test_once_runs_a_job_and_prints_its_result(workspace, cli):
    code, out, _ = cli("--once", "retention", "--json")

    assert code == 0
    assert json.loads(out)["status"] == "done"
    assert json.loads(out)["detail"].startswith("deleted 0 predictions")
    rows = {row["job"]: row for row in json.loads(cli("--status", "--json")[1])["jobs"]}
    assert (rows["retention"]["status"], rows["detect"]["status"]) == ("done", None)


def test_once_exits_with_4_if_another_process_runs_the_job(workspace, cli):
    with lease(workspace.engine, "job retention"):
        assert cli("--once", "retention")[0] == 4


def test_once_exits_with_5_if_the_job_timed_out(workspace, cli, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SCHEDULE_RETENTION", '{cron: "* * * * *", timeout: PT0.01S}')

    assert cli("--once", "retention")[0] == 5


def test_an_unknown_job_exits_with_2(workspace, cli):
    code, _, err = cli("--once", "nothing")

    assert code == 2
    assert "job 'nothing' does not exist; jobs: detect" in err


@pytest.mark.parametrize(("former", "job"), FORMER_JOB_NAMES.items())
def test_a_job_is_found_by_its_former_name_with_a_notice(caplog, former, job):
    assert parse_job_name(former) is job
    assert f"job {former} is deprecated and will be removed in a later version; use {job}" in caplog.text


def test_a_run_stored_under_the_former_name_of_its_job_is_its_own(workspace):
    runs = JobRunStore(workspace.engine)
    with writing(workspace.engine) as connection:
        row = {"job": "tidy", "due_at": NOON, "owner": "a", "started_at": NOON, "status": "done", "missed": 2}
        connection.execute(insert(job_runs).values(**row))

    assert runs.last(JobName.RETENTION).job == "retention"
    assert runs.missed_since(NOON - timedelta(days=1)) == {"retention": 2}
    assert [run.job for run in runs.since(NOON - timedelta(days=1))] == ["retention"]


@pytest.mark.parametrize(
    ("file", "environ"),
    [
        ('schedule: {tidy: {cron: "5 5 * * *", timeout: PT1M}}', {}),
        ("", {"SAFEPLAN_SCHEDULE_TIDY": '{cron: "5 5 * * *", timeout: PT1M}'}),
    ],
)
def test_a_rule_under_the_former_name_of_its_job_is_read_with_a_notice(tmp_path, caplog, file, environ):
    (tmp_path / "monitoring.yaml").write_text(file)

    settings = load_settings(ScheduleSettings, environ=environ, folder=tmp_path)

    assert settings.rule(JobName.RETENTION).cron == "5 5 * * *"
    assert "deprecated" in caplog.text


def test_the_former_section_of_the_retention_settings_is_read_with_a_notice(tmp_path, caplog):
    (tmp_path / "monitoring.yaml").write_text("tidy: {predictions: P5D, runs: P6D}\nretention: {runs: P7D}")

    settings = load_settings(
        DataRetentionSettings, environ={"SAFEPLAN_TIDY_MESSAGES": "P8D"}, folder=tmp_path
    )

    assert (settings.predictions.days, settings.runs.days, settings.messages.days) == (5, 7, 8)
    assert "section tidy is deprecated" in caplog.text
    assert "environment SAFEPLAN_TIDY_MESSAGES is deprecated" in caplog.text


@pytest.mark.parametrize("line", ["* * *", "61 * * * *", "whenever"])
def test_an_invalid_cron_expression_is_refused(cli, monkeypatch, line):
    monkeypatch.setenv("SAFEPLAN_SCHEDULE_RETENTION", f'{{cron: "{line}", timeout: PT1M}}')

    code, _, err = cli("--status")

    assert code == 2
    assert "schedule.retention.cron" in err


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
