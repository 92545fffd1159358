"""The soak: endpoint, scheduler and page as real processes, for an hour, with a fault every minute.

Read `__main__` (the door), `plant` (what runs), `faults` (what is done to it), `watch` (what is
measured), `verdict` (what must hold) and `curves` (what is drawn).

Its clock is never stepped: its processes read the system's own, which cannot be moved for them alone without
a library laid over the C library, and moving the machine's would shift whatever else runs there, proxies and
measuring too. A clock that steps is forced where the time is an argument: in
`tests/training/pipeline/test_forced_faults.py` and `tests/monitoring/alerts/test_alert_state_machine.py`.
"""
