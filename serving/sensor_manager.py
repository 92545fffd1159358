"""Public import path of `serving.compat.sensor_manager`, kept for scripts written against it."""

from serving.compat.sensor_manager import *  # noqa: F403
