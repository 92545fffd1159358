"""Public import path of `serving.http.client`, kept for scripts written against it."""

from serving.http.client import *  # noqa: F403
