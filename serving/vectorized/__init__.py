"""Score readings of many sensors at once: packed detectors in memory that they share.

Features and calibration are those of `training.anomaly`. Reading order: `batch_scoring`, `ensemble_scoring`,
`packed_detector`, `runtime`, `packed_forest`, `packed_lof`, `parameter_table`, `packed_files`.
"""
