"""Part 5: REST APIs with FastAPI, one idea at a time."""
