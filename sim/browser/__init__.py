"""The viewer `browser`: a model of what Chromium does with sound, pictures and sender reports."""
