"""What every layer stands on: settings, the model's client, limits, errors, logs, metrics."""
