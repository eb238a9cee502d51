"""The gauges of the drift monitor, for a file that node_exporter reads or for its own port."""

from prometheus_client import CollectorRegistry, Gauge

from part6.drift_check import Check

# Its own, so that the file holds neither Python's nor this process's metrics.
REGISTRY = CollectorRegistry()

PSI = Gauge("iris_drift_psi", "PSI in the newest window.", ["feature"], registry=REGISTRY)
KS = Gauge(
    "iris_drift_ks",
    "Kolmogorov-Smirnov's D in the newest window; for iris_class the total variation.",
    ["feature"],
    registry=REGISTRY,
)
P_VALUE = Gauge(
    "iris_drift_p_value",
    "Probability of such a distance by chance, corrected for the number of columns.",
    ["feature"],
    registry=REGISTRY,
)
WINDOWS = Gauge(
    "iris_drift_windows",
    "How many of the newest windows drift in a row.",
    ["feature"],
    registry=REGISTRY,
)
DETECTED = Gauge("iris_drift_detected", "1 while there is drift.", registry=REGISTRY)
PREDICTIONS = Gauge("iris_drift_predictions", "Predictions compared.", registry=REGISTRY)
NEEDED = Gauge("iris_drift_predictions_needed", "Predictions for a verdict.", registry=REGISTRY)
LATENCY = Gauge("iris_drift_latency_ms", "Time of the model alone.", ["stat"], registry=REGISTRY)
MODEL = Gauge("iris_drift_model_info", "1 for the model.", ["name", "version"], registry=REGISTRY)
CHECKED = Gauge(
    "iris_drift_checked_timestamp_seconds",
    "When the last check was done; stands still while checks fail.",
    registry=REGISTRY,
)


def set_gauges(check: Check) -> None:
    """Make the gauges say what `check` says; what it does not know is not there."""
    for gauge in (PSI, KS, P_VALUE, WINDOWS, LATENCY, MODEL):
        gauge.clear()
    for each in check.columns:
        WINDOWS.labels(each.column).set(each.in_a_row)
        if each.windows:
            newest = each.windows[-1]
            PSI.labels(each.column).set(newest.psi)
            KS.labels(each.column).set(newest.distance)
            P_VALUE.labels(each.column).set(newest.p_value)
    DETECTED.set(check.verdict == "drift")
    PREDICTIONS.set(check.predictions)
    NEEDED.set(check.needed)
    if check.latency_ms_mean is not None and check.latency_ms_p95 is not None:
        LATENCY.labels("mean").set(check.latency_ms_mean)
        LATENCY.labels("p95").set(check.latency_ms_p95)
    MODEL.labels(check.model_name, str(check.model_version)).set(1)
    CHECKED.set(check.checked_at.timestamp())
