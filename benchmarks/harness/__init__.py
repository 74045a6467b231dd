"""How things are measured, whatever they are: rows, turns, timers, processes, sessions."""
