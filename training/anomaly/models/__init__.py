"""The base detectors of the ensemble: Isolation Forest, Local Outlier Factor and the deviation.

Reading order: `base_detectors`, `isolation_forest`, `local_outlier_factor`, `sklearn_adapter`.
"""
