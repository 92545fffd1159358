"""Public import path of `serving.compat.engine`, kept for scripts written against it."""

from serving.compat.engine import *  # noqa: F403
