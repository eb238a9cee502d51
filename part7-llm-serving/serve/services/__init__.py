"""What the server does: turns, running generations, the context budget, what starts and stops."""
