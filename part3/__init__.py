"""Part 3, registry: models with their data, metrics and versions in MLflow."""
