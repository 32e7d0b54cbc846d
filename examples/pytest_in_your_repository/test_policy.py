"""An ordinary test beside the scenarios: the policy that this product ships."""

from __future__ import annotations

from pathlib import Path

from avsync import AvSyncPolicy


def test_the_policy_of_our_product_is_valid_and_patient() -> None:
    policy = AvSyncPolicy.load(Path(__file__).with_name("policy.toml"))
    assert policy.playout_delay_ns >= 200_000_000
