"""`avsync glass`: a scenario in real time, over a relay with the lab's network, before a real browser."""
