"""Thin: a request becomes a call, and what comes back becomes an answer."""
