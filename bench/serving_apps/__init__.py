"""The servers that bench/serving.py sets beside ours."""
