"""Public import path of `monitoring.drift.report.evidently_adapter`, kept for scripts written against it."""

from monitoring.drift.report.evidently_adapter import *  # noqa: F403
