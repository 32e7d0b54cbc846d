"""Backends: pictures and sound to embeddings, one a cell, by learned networks or plain arithmetic."""
