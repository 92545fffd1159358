"""Score readings and forecast sensors with the champions: the endpoint, batch scoring and the Python API.

Uses `training`; does not know `monitoring`.
Reading order: `contract`, `scoring`, `vectorized`, `models`, `predictions`, `http`, `batch`, `compat`.
"""
