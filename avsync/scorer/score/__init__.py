"""`avsync score`: from the windows of a clip to a verdict in words, a table, JSON and a picture."""
