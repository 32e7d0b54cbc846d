"""The lip-sync scorer: hears and sees the offset that no timestamp shows."""

from avsync.scorer.scorer import Block, LipSyncScorer
from avsync.scorer.signal import LipSyncSignal

__all__ = ["Block", "LipSyncScorer", "LipSyncSignal"]
