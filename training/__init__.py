"""What a sensor is, what it sent, how its models are learned.

Reading order, from the words to the whole:

errors, settings, kinds, words        what can go wrong, what can be set, how things are called
database, schema, readings, sensors   where readings are kept, and what is known of who sent them
ingest and what it imports            files of readings, each row accepted, corrected or refused
quality, windows                      which readings may train, and the only way to them
detector and what it imports          Isolation Forest, LOF and a calibrated score
forecaster and what it imports        Prophet, its Gram matrix, residuals and intervals
faults, backtest                      how good either is
tuning, detector_tuning, forecaster_tuning
fit, fit_detector, fit_forecaster     one sensor, one kind, from readings to a candidate
gate, recording, registry, tracking   from a candidate to a version and its alias
fleet, retraining, pool, leases       many sensors at once, whatever happens
workspace, overview, promotion        what the commands call
"""
