"""Train a fleet: plan, worker pool or Ray, fit, record, promote; resumable after a crash.

Reading order: `fleet`, `plan`, `fit`, `fit_detector`, `fit_forecaster`, `recording`, `parent_run`,
`worker_pool`.
"""
