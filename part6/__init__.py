"""Part 6: a registered model, downloaded and served."""
