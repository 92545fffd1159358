"""Soak test: endpoint, scheduler and dashboard as real processes, for an hour, with a fault every minute.

Reading order: `__main__` (command line), `installation` (the processes), `faults`, `measurements`,
`evaluation` (what must hold) and `charts`.

The clock is never set back here: the processes read the system's clock, which cannot be changed for them
alone. A clock that is set back is tested where the time is an argument: in
`tests/training/pipeline/test_forced_faults.py` and `tests/monitoring/alerts/test_alert_state_machine.py`.
"""
