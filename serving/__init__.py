"""Is this reading odd, what comes next, for any sensor.

Reading order: contract (what is asked and answered), bodies and rows (what was posted), scoring (how a
request becomes an answer), champions and acceptance (which version serves, and what it must show), recent
(the past a score looks back on), judging and outlook (verdicts and forecasts, for the endpoint and for batch
alike), service, server and running (the same over HTTP), predictions (what was said, kept once), doctor.
"""
