"""Part 2, training: scikit-learn models from CSV and database, validated, saved and searched."""
