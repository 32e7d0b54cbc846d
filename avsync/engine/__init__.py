"""The engine: what leaves when. Told the time and what arrived, it answers what to present, repeat, drop or ask for."""
