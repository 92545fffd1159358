"""The English text of each reason. `{name:format}` shows a value; formats are those of `rendering.Language`.

The texts are also the keys of the catalogues in conf/locale.
"""

from training.reasons.codes import ReasonCode

TEMPLATES: dict[ReasonCode, str] = {
    # detector
    ReasonCode.COMBINATION: (
        "no single feature is far from normal (the largest is {size:size} robust SDs); together the "
        "last {readings:readings} do not look like the training window"
    ),
    ReasonCode.LEVEL_ABOVE: (
        "value {value:quantity} is {size:size} robust SDs above normal ({normal:quantity})"
    ),
    ReasonCode.LEVEL_BELOW: (
        "value {value:quantity} is {size:size} robust SDs below normal ({normal:quantity})"
    ),
    ReasonCode.PROFILE_ABOVE: (
        "value {value:quantity} is {size:size} robust SDs above normal for this time of day or week "
        "({normal:quantity})"
    ),
    ReasonCode.PROFILE_BELOW: (
        "value {value:quantity} is {size:size} robust SDs below normal for this time of day or week "
        "({normal:quantity})"
    ),
    ReasonCode.FORECAST_ABOVE: "value {value:quantity} is {size:size} robust SDs above the one-step forecast",
    ReasonCode.FORECAST_BELOW: "value {value:quantity} is {size:size} robust SDs below the one-step forecast",
    ReasonCode.SPREAD_HIGH: "the last {readings:readings} vary more than normal, by {size:size} robust SDs",
    ReasonCode.SPREAD_LOW: "the last {readings:readings} vary less than normal, by {size:size} robust SDs",
    ReasonCode.TREND_ABOVE: (
        "the last {readings:readings} are {size:size} robust SDs above the last {window:readings}"
    ),
    ReasonCode.TREND_BELOW: (
        "the last {readings:readings} are {size:size} robust SDs below the last {window:readings}"
    ),
    ReasonCode.ERRORS_HIGH: (
        "one-step forecast errors of the last {readings:readings} are {factor:factor} times larger "
        "than normal"
    ),
    ReasonCode.ERRORS_LOW: (
        "one-step forecast errors of the last {readings:readings} are {factor:factor} times smaller "
        "than normal"
    ),
    ReasonCode.STEP_CHANGE: "changed by {change:signed} in one step, {size:size} robust SDs of a normal step",
    ReasonCode.UNCHANGED_DURATION: (
        "has not changed for {duration:duration} (normally at most {normal:duration})"
    ),
    ReasonCode.UNCHANGED_DURATION_AT_LEAST: (
        "has not changed for at least {duration:duration} (normally at most {normal:duration})"
    ),
    ReasonCode.UNCHANGED_READINGS: (
        "has not changed for {readings:readings} (normally at most {normal:count})"
    ),
    ReasonCode.UNCHANGED_READINGS_AT_LEAST: (
        "has not changed for at least {readings:readings} (normally at most {normal:count})"
    ),
    ReasonCode.SKIPPED_FEW_WINDOWS: "only {count:count} complete windows to learn from",
    ReasonCode.SKIPPED_CONSTANT: "all readings are equal, so distances between them carry no information",
    # gate
    ReasonCode.GATE_PASSED: "passed: {reasons:reason}",
    ReasonCode.GATE_REFUSED: "refused: {reasons:reason}",
    ReasonCode.GATE_SKILL: "skill {skill:signed} over the best naive forecast",
    ReasonCode.GATE_COVERAGE: "{coverage:percent} of the readings inside the forecast interval",
    ReasonCode.GATE_NO_CHAMPION: "no champion to compare with",
    ReasonCode.GATE_ERROR: "mean error {error:number}, champion {champion:number}",
    ReasonCode.GATE_FALSE_ALARMS: "{alarms:number} false alarms a day, at most {allowed:number} allowed",
    ReasonCode.GATE_MIN_RECALL: (
        "finds {recall:percent} of the injected faults, at least {required:percent} required"
    ),
    ReasonCode.GATE_RECALL: "finds {recall:percent} of the injected faults, a robust z-score {naive:percent}",
    ReasonCode.GATE_RECALL_CHAMPION: (
        "finds {recall:percent} of the injected faults, champion {champion:percent}"
    ),
    ReasonCode.GATE_BUDGET_EXTRAPOLATED: (
        "the alarm budget is extrapolated: trained on {learned:duration}, valid for {lifetime:duration}"
    ),
    ReasonCode.GATE_CONFIRMED_CAUGHT: (
        "finds {caught:count} of {confirmed:count} confirmed anomalies, champion {champion:count}"
    ),
    ReasonCode.GATE_FALSE_RAISED: (
        "repeats {raised:count} of {dismissed:count} dismissed alarms, champion {champion:count}"
    ),
    ReasonCode.GATE_FALSE_RAISED_JUDGED: (
        "repeats {raised:count} of {dismissed:count} dismissed alarms, champion {champion:count} "
        "({right:count} of its {judged:count} judged alarms were confirmed)"
    ),
    ReasonCode.GATE_FALLBACK: "rule-based fallback: {reasons:reason}",
    ReasonCode.GATE_FALLBACK_GRADE: (
        "fixed rules find {recall:percent} of the injected faults, with {alarms:number} false alarms a day"
    ),
    ReasonCode.GATE_DETECTOR_REFUSED: "the trained detector was refused: {reasons:reason}",
    # data quality
    ReasonCode.QUALITY_NO_READINGS: "no readings received",
    ReasonCode.QUALITY_NOT_LOADED: "no readings yet; run: safeplan load FILE",
    ReasonCode.QUALITY_TOO_FEW: "{good:count} good readings of {received:count}: too few for a model",
    ReasonCode.QUALITY_COVERAGE: (
        "{coverage:percent} of the time covered at one reading every {step:duration}"
    ),
    ReasonCode.QUALITY_AT_REST: (
        "at rest may be a stop or a dead signal: set the physical range of {sensor:text} to separate them"
    ),
    ReasonCode.QUALITY_FAULT_REMARK: "{kind:reason}: {detail:reason}",
    ReasonCode.QUALITY_FAULT_ONCE: (
        "{kind:reason}: {readings:readings} ({share:percent}), once {detail:reason} from {start:time}"
    ),
    ReasonCode.QUALITY_FAULT_LONGEST: (
        "{kind:reason}: {readings:readings} ({share:percent}), {episodes:count} times, the longest "
        "{detail:reason} from {start:time}"
    ),
    ReasonCode.QUALITY_FAULT_EXAMPLE: (
        "{kind:reason}: {readings:readings} ({share:percent}), {episodes:count} times, such as "
        "{detail:reason} from {start:time}"
    ),
    ReasonCode.QUALITY_GAPS: "{gaps:gaps}, the longest {duration:duration} from {start:time}",
    ReasonCode.FAULT_STANDSTILL: "{duration:duration} at {value:quantity}",
    ReasonCode.FAULT_EXCURSION: "{value:quantity} between {before:quantity} and {after:quantity}",
    ReasonCode.FAULT_RANGE: "{low:quantity} to {high:quantity}",
    ReasonCode.FAULT_VALUE: "{value:quantity}",
    ReasonCode.FAULT_NO_VALUE: "no value",
    ReasonCode.FAULT_DURATION: "{duration:duration}",
    ReasonCode.FAULT_WRONG_STEP: "declared every {declared:duration}, received every {observed:duration}",
    ReasonCode.FAULT_IRREGULAR: "{share:percent} of the intervals are no multiple of {step:duration}",
    ReasonCode.FAULT_TIED: (
        "{share:percent} of the readings repeat the one before; the rest changes in steps of "
        "{resolution:quantity}"
    ),
    ReasonCode.FAULT_CONSTANT: "never changed from {value:quantity}",
    ReasonCode.KIND_MISSING: "missing value",
    ReasonCode.KIND_OUT_OF_RANGE: "out of range",
    ReasonCode.KIND_MARKED_BAD: "marked bad",
    ReasonCode.KIND_SPIKE: "spike",
    ReasonCode.KIND_DROPOUT: "dropout",
    ReasonCode.KIND_FROZEN: "frozen",
    ReasonCode.KIND_STUCK: "stuck at a limit",
    ReasonCode.KIND_AT_REST: "at rest",
    ReasonCode.KIND_GAP: "gap",
    ReasonCode.KIND_IRREGULAR: "irregular sampling",
    ReasonCode.KIND_WRONG_STEP: "wrong step",
    ReasonCode.KIND_TIED: "tied values",
    ReasonCode.KIND_CONSTANT: "constant",
    ReasonCode.KIND_NO_DATA: "no data",
    # drift
    ReasonCode.DRIFT_LEVEL: "level moved by {change:signed} ({size:size} SDs)",
    ReasonCode.DRIFT_SLOPE: "slow slope of {change:signed} a day",
    ReasonCode.DRIFT_LOWEST: "lowest readings moved by {change:signed}",
    ReasonCode.DRIFT_HIGHEST: "highest readings moved by {change:signed}",
    ReasonCode.DRIFT_LOWEST_PROFILE: "lowest readings moved by {change:signed} relative to the daily profile",
    ReasonCode.DRIFT_HIGHEST_PROFILE: (
        "highest readings moved by {change:signed} relative to the daily profile"
    ),
    ReasonCode.DRIFT_MISSING: "{now:percent} of the readings missing, {window:percent} in the window",
    ReasonCode.DRIFT_STEP: "sampling changed: a reading every {now:duration} instead of {window:duration}",
    ReasonCode.DRIFT_NOISE_UP: "noise is {factor:factor} times as large",
    ReasonCode.DRIFT_NOISE_DOWN: "noise is {factor:factor} times as large",
    ReasonCode.DRIFT_SPREAD_UP: "spread is {factor:factor} times as large",
    ReasonCode.DRIFT_SPREAD_DOWN: "spread is {factor:factor} times as large",
    ReasonCode.DRIFT_CYCLE_INVERTED: "daily cycle inverted",
    ReasonCode.DRIFT_CYCLE_LOST: "daily cycle lost",
    ReasonCode.DRIFT_CYCLE_DEPTH: "daily cycle is {factor:factor} times as deep",
    ReasonCode.DRIFT_SCORE: "anomaly scores rose by {change:number}",
    ReasonCode.DRIFT_ERROR: "forecast errors are {factor:factor} times as large",
    ReasonCode.DRIFT_NONE: "no drift (p {p:number})",
    ReasonCode.DRIFT_NONE_FOR: "no drift (largest change: {reason:reason}; p {p:number})",
    ReasonCode.DRIFT_AGED: (
        "the window has aged: in {duration:duration} this sensor moves as far by itself ({reason:reason})"
    ),
    ReasonCode.DRIFT_CONSTANT: "constant at {value:quantity}, as in the window",
    ReasonCode.DRIFT_STARTED_MOVING: (
        "constant at {value:quantity} for {readings:readings}, now {low:quantity} to {high:quantity}"
    ),
    ReasonCode.DRIFT_STUCK: "stuck at {value:quantity} for {readings:readings}",
    ReasonCode.DRIFT_NO_READINGS: "no readings since the window",
    ReasonCode.DRIFT_NO_DATA: "no data for {duration:duration}: the last reading is from {time:time}",
    ReasonCode.DRIFT_EMPTY_WINDOW: "the window holds no readings; no verdict",
    ReasonCode.DRIFT_THIN_WINDOW: (
        "window too thin to calibrate: {readings:readings} in {blocks:count} blocks; no verdict"
    ),
    ReasonCode.DRIFT_SHORT_WINDOW: (
        "window too short to calibrate: {blocks:count} blocks of {readings:readings} in "
        "{duration:duration}; no verdict"
    ),
    ReasonCode.DRIFT_SHORT_CHECK: (
        "{duration:duration} since the window; a check needs {readings:readings}; no verdict"
    ),
    ReasonCode.DRIFT_NEIGHBOURS_MOVED: "{sensors:list} of {platform:text} moved as well",
    ReasonCode.DRIFT_NEIGHBOURS_STEADY: "none of the {count:count} other sensors of {platform:text} moved",
    ReasonCode.DRIFT_INSTRUMENT_FAULTS: "instrument faults: {faults:reason}",
    ReasonCode.DRIFT_INSTRUMENT_FAULT: "{kind:reason} ({readings:readings})",
    ReasonCode.ADVICE_INSTRUMENT: "Check and recalibrate the instrument; do not retrain on these readings.",
    ReasonCode.ADVICE_PROCESS: "Check the process; retrain once this is the new normal.",
    ReasonCode.ADVICE_MODEL: "Retrain.",
    ReasonCode.ADVICE_COMPARE: (
        "Compare with a neighbouring instrument: recalibrate if only this one moved, retrain if all did."
    ),
    ReasonCode.ADVICE_AGED: "Retrain on newer readings.",
    # alert conditions
    ReasonCode.INSTRUMENT_FROZEN: (
        "has not changed from {value:quantity} for {duration:duration} ({readings:readings})"
    ),
    ReasonCode.INSTRUMENT_OUT_OF_RANGE: (
        "{value:quantity} is outside the instrument range, which ends at {limit:quantity}"
    ),
    ReasonCode.INSTRUMENT_SPIKE: (
        "a single reading of {value:quantity} at {time:time} between {before:quantity} and {after:quantity}"
    ),
    ReasonCode.INSTRUMENT_MARKED_BAD: "{value:quantity} was sent with bad quality",
    ReasonCode.INSTRUMENT_NO_DATA: "no data since {time:time}; normally one reading every {step:duration}",
    ReasonCode.LIMIT_UPPER_CROSSED: "critical high limit of {limit:quantity} reached: {value:quantity}",
    ReasonCode.LIMIT_LOWER_CROSSED: "critical low limit of {limit:quantity} reached: {value:quantity}",
    ReasonCode.LIMIT_HIGH_CROSSED: "high limit of {limit:quantity} reached: {value:quantity}",
    ReasonCode.LIMIT_LOW_CROSSED: "low limit of {limit:quantity} reached: {value:quantity}",
    ReasonCode.LIMIT_RATE_CROSSED: (
        "changes by {rate:signed} a minute, at most {limit:quantity} permitted: {value:quantity}"
    ),
    ReasonCode.LIMIT_UPPER_EXPECTED: (
        "forecast to exceed the critical high limit of {limit:quantity} in {duration:duration} "
        "(probability {probability:percent})"
    ),
    ReasonCode.LIMIT_LOWER_EXPECTED: (
        "forecast to fall below the critical low limit of {limit:quantity} in {duration:duration} "
        "(probability {probability:percent})"
    ),
    ReasonCode.FLOOD: (
        "{alerts:count} alerts at once (a flood is {threshold:count} in {duration:duration}); the "
        "first was {sensor:text} at {time:time}: {first:reason}"
    ),
    ReasonCode.LEVEL_SETTLED: (
        "settled at a new level of {level:quantity} since {time:time} ({before:quantity} before)"
    ),
    ReasonCode.LEVEL_RETURNED: (
        "{value:quantity} at {time:time}, inside the normal range of {low:quantity} to {high:quantity}"
    ),
    ReasonCode.EVIDENCE_AT: "{time:time}: {reason:reason}",
    ReasonCode.EVIDENCE_ABOVE_NORMAL: (
        "{value:quantity} at {time:time}, above the normal range of {low:quantity} to {high:quantity}"
    ),
    ReasonCode.EVIDENCE_BELOW_NORMAL: (
        "{value:quantity} at {time:time}, below the normal range of {low:quantity} to {high:quantity}"
    ),
    ReasonCode.EVIDENCE_CURRENT: "newest reading {value:quantity} at {time:time}",
    ReasonCode.ACTION_SHELVED: "until {until:time}",
    ReasonCode.ACTION_VERDICT: "{verdict:text}",
    ReasonCode.ACTION_VERDICT_NOTE: "{verdict:text}: {note:text}",
    ReasonCode.TEXT: "{text:text}",
    # status of a sensor
    ReasonCode.STATUS_NO_READINGS: "no reading has been stored",
    ReasonCode.STATUS_SILENT_SINCE: "no data since {time:time}",
    ReasonCode.STATUS_ANOMALOUS: (
        "score {score:number} at {time:time}; the threshold of an anomaly is {threshold:number}"
    ),
    ReasonCode.STATUS_DEVIATES_ABOVE: (
        "{value:quantity} at {time:time} is {size:size} SDs above the mean of the readings before "
        "({normal:quantity})"
    ),
    ReasonCode.STATUS_DEVIATES_BELOW: (
        "{value:quantity} at {time:time} is {size:size} SDs below the mean of the readings before "
        "({normal:quantity})"
    ),
    ReasonCode.STATUS_NEVER_SCORED: "a detector serves, but no reading has been scored yet",
    ReasonCode.STATUS_UNSCORED_SINCE: "a detector serves, but no reading since {time:time} has been scored",
    ReasonCode.STATUS_WEAK_DETECTOR: (
        "the detector finds {recall:percent} of the injected faults; {required:percent} are required"
    ),
    ReasonCode.STATUS_FALLBACK: "no detector passed the gate; fixed rules watch the sensor",
    ReasonCode.STATUS_FALLBACK_RECALL: (
        "no detector passed the gate; fixed rules watch the sensor and find {recall:percent} of the "
        "injected faults"
    ),
    ReasonCode.STATUS_LIMITS_ONLY: "no detector; only the operating limits are checked",
    ReasonCode.STATUS_NOT_MONITORED: "no detector and no operating limits",
    ReasonCode.STATUS_COVERAGE_UNKNOWN: (
        "the model registry cannot be read; what watches the sensor is not known"
    ),
    # alarm budget
    ReasonCode.BUDGET_GRANTED: "alerts a day: {requested:number}, within the alarm budget",
    ReasonCode.BUDGET_RAISED: (
        "alerts a day: {requested:number}, of which the alarm budget grants {granted:number}; with threshold "
        "{threshold:number}: {expected:number}"
    ),
    ReasonCode.BUDGET_PRECISION: "{confirmed:count} of {judged:count} judged alarms were confirmed",
    ReasonCode.BUDGET_NO_VERDICTS: "no verdicts yet",
    # retraining
    ReasonCode.RETRAIN_NO_MODEL: "no model yet",
    ReasonCode.RETRAIN_DRIFT: "drift: {reasons:reason}",
    ReasonCode.RETRAIN_AGED: "the training window has aged",
    ReasonCode.RETRAIN_VERDICTS: "new verdicts: {count:count}",
    ReasonCode.RETRAIN_ERROR: "forecast error is {factor:factor} times that of the training",
    ReasonCode.RETRAIN_AGE: "trained {age:duration} ago",
    ReasonCode.REPLAY_AS_GOOD: "as good as the champion: {reasons:reason}",
    ReasonCode.REPLAY_WORSE: "worse than the champion: {reasons:reason}",
    ReasonCode.REPLAY_ALERTS: (
        "version {challenger:text} raises {alerts:count} alerts, champion version {champion:text} "
        "{champion_alerts:count}"
    ),
    ReasonCode.REPLAY_CONFIRMED: (
        "finds {caught:count} of {confirmed:count} confirmed events, champion {champion:count}"
    ),
    ReasonCode.REPLAY_DISMISSED: (
        "repeats {raised:count} of {dismissed:count} dismissed events, champion {champion:count}"
    ),
    ReasonCode.REPLAY_IMPOSSIBLE: "not replayed: {error:text}",
    # serving
    ReasonCode.SERVING_STORE_UNREACHABLE: "readings store unreachable",
    ReasonCode.SERVING_SCORED_FROM_MEMORY: "readings store unreachable, scored with the readings in memory",
    ReasonCode.SERVING_SCORED_FROM_REQUEST: (
        "readings store unreachable, scored with the posted readings only"
    ),
    ReasonCode.SERVING_FORECAST_FROM_MEMORY: (
        "readings store unreachable, forecast from the readings in memory"
    ),
    ReasonCode.SERVING_SCORING_FAILED: "could not be scored ({error:text}); see the server log",
    ReasonCode.SERVING_FORECAST_FAILED: "could not be forecast ({error:text}); see the server log",
    ReasonCode.SERVING_FORECAST_PAST: "before the newest reading, and this sensor has no forecaster champion",
    ReasonCode.SERVING_FORECAST_TOO_FAR: (
        "{steps:count} steps ahead; the longest forecast is {limit:count} steps"
    ),
    ReasonCode.SERVING_NO_HISTORY: "no forecaster champion, and no good reading to forecast from",
    # doctor
    ReasonCode.DOCTOR_DISK: "{free:number} GB free under {folder:text}",
    ReasonCode.DOCTOR_FREE_DISK: "Free some space, or move SAFEPLAN_HOME.",
    ReasonCode.DOCTOR_PACKAGES_TESTED: "tested versions: {packages:list}",
    ReasonCode.DOCTOR_PACKAGES_UNTESTED: "untested versions: {packages:list}",
    ReasonCode.DOCTOR_INSTALL_LOCKED: "Install from requirements.lock: make .venv/.ready",
    ReasonCode.DOCTOR_DATABASE: "{address:text}, schema {schema:text}, database time {time:text}",
    ReasonCode.DOCTOR_READINGS: "{sensors:count} sensors with readings, the newest from {time:time}",
    ReasonCode.DOCTOR_NO_READINGS: "no sensor has readings",
    ReasonCode.DOCTOR_LOAD: "Load readings: safeplan load FILE",
    ReasonCode.DOCTOR_INTERRUPTED: "{count:count} interrupted: {names:list}",
    ReasonCode.DOCTOR_RESUME: "Run the same safeplan train command again; it resumes where it stopped.",
    ReasonCode.DOCTOR_REGISTRY: "{address:text}: {models:count} models, {champions:count} with a champion",
    ReasonCode.DOCTOR_TRAIN: "Train models: safeplan train",
    ReasonCode.DOCTOR_HALF_REGISTERED: "{count:count} incomplete registrations: {versions:list}",
    ReasonCode.DOCTOR_ORPHANS: "{count:count} unknown sensors: {sensors:list}",
    ReasonCode.DOCTOR_RENAMED: (
        "If a sensor was renamed, load its readings under the old name; otherwise delete its models in "
        "the MLflow UI."
    ),
    ReasonCode.DOCTOR_RERUN: "Follow the message, then run safeplan doctor again.",
    ReasonCode.DOCTOR_JOB: "{status:text}, started {start:time}",
    ReasonCode.DOCTOR_JOB_MISSED: "missed {count:count} times in two days",
    ReasonCode.DOCTOR_RUN_JOB: "Fix the cause, then run the job: safeplan schedule --once {job:text}",
    ReasonCode.DOCTOR_MESSAGES: "{waiting:count} waiting, {given_up:count} given up",
    ReasonCode.DOCTOR_MESSAGES_OLDEST: (
        "{waiting:count} waiting, the oldest since {oldest:time}, {given_up:count} given up"
    ),
    ReasonCode.DOCTOR_DELIVER: "Check that the channel answers, then run: safeplan alerts deliver",
    ReasonCode.DOCTOR_CLOCK: (
        "this machine's time is {now:time}, but the newest reading is from {newest:time}"
    ),
    ReasonCode.DOCTOR_SET_CLOCK: (
        "Correct this machine's clock, or the time zone of the system that sends the readings."
    ),
    ReasonCode.DOCTOR_SENSORS_WITHOUT_DATA: (
        "{count:count} sent nothing for a day while others did: {sensors:reason}"
    ),
    ReasonCode.DOCTOR_SENSOR_LAST: "{sensor:text} since {last:time}",
    ReasonCode.DOCTOR_CHECK_SENSOR: (
        "Check the instrument and its connection; set enabled: false for a sensor that was removed."
    ),
    ReasonCode.DOCTOR_INSTRUMENTS: "{count:count} open instrument alerts: {alerts:reason}",
    ReasonCode.DOCTOR_INSTRUMENT: "{sensor:text} {detail:reason}",
    ReasonCode.DOCTOR_LIST_ALERTS: "See them all: safeplan alerts list",
    ReasonCode.DOCTOR_MONITORED: "{monitored:count} of {sensors:count} sensors monitored",
    ReasonCode.DOCTOR_NOT_MONITORED: "weakly or not monitored: {sensors:list}",
    ReasonCode.DOCTOR_SHOW_STATUS: "See why: safeplan status",
}
