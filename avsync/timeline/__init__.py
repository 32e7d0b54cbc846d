"""The timeline: which PTS a unit has, across turns, rates, RTP clocks and sender reports."""
