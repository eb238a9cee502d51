"""Part 1, data pipeline: PostgreSQL, a streaming generator and data quality."""
