"""Observation to target weights: the Strategy protocol, the observation, the numpy policy, the artifact contract, baselines."""
