"""Sensors, their readings, and how their models are trained, judged and registered.

The lowest floor: `serving` and `monitoring` use it. `training.pipeline.fleet` shows a training from the first sensor
to the last.
Reading order: `data`, `ingest`, `quality`, `anomaly`, `forecasting`, `tuning`, `evaluation`, `registry`, `pipeline`,
`operations`.
"""
