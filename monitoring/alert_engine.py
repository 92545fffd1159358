"""Public import path of `monitoring.compat.alert_engine`, kept for scripts written against it."""

from monitoring.compat.alert_engine import *  # noqa: F403
