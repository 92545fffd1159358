"""The anomaly detector: features, base detectors, ensemble and calibration. Arrays only: no disk, database or
MLflow outside `serialization`.

Reading order: `detector`, `features`, `base_detectors`, `ensemble`, `calibration`, `explanations`,
`serialization`.
"""
