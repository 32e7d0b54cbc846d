"""Attack: which call that nobody scripted breaks an invariant, or goes better with a baseline?"""
