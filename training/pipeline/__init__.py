"""Train a fleet: plan, fit on worker processes or Ray, record and promote; resumable after a crash.

Reading order: `fleet`, `plan`, `fit`, `fit_detector`, `fit_forecaster`, `recording`, `parent_run`,
`worker_pool`.
"""
