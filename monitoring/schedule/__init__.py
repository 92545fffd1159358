"""Scheduled jobs: when each is due, its process, its history, its health.

Reading order: `scheduler`, `jobs`, `job_runner`, `job_run_store`, `scheduler_health`.
"""
