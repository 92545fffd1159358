"""Sensors and their readings, and how their models are trained, evaluated and registered.

The lowest of the three packages: `serving` and `monitoring` use it. `training.pipeline.fleet` is a training
from start to end.

Reading order: `data`, `ingest`, `quality`, `anomaly`, `forecasting`, `tuning`, `evaluation`, `registry`,
`pipeline`, `operations`.
"""
