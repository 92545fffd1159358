"""Score many sensors at once: packed detectors in shared arrays.

Reading order: `batch_scoring`, `packed_detector`, `features`, `ensemble_scoring`, `packed_forest`,
`packed_lof`.
"""
