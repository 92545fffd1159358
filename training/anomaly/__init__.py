"""The anomaly detector: features, base detectors, ensemble and calibration.

Works on arrays; only `serialization` touches files. Reading order: `detector`, `profile`, `features`,
`models`, `crossfit`, `ensemble`, `calibration`, `explanations`, `serialization`.
"""
