"""The only SQL. Every function takes a session, flushes if it must, and never commits."""
