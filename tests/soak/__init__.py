"""The soak: endpoint, scheduler and page as real processes, for an hour, with a fault every minute.

Read `__main__` (the door), `plant` (what runs), `faults` (what is done to it), `watch` (what is
measured), `verdict` (what must hold) and `curves` (what is drawn).
"""
