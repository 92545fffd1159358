"""Is this reading odd, what comes next, for any sensor.

Reading order: predictions (what models said, kept once), champions (which version serves), batch (scoring what is
stored), naive_service (where no forecaster serves), doctor (whether all of it can work).
"""
