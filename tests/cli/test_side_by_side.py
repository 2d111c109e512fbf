import pytest


def test_what_shares_a_lake_runs_in_one_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist knows this module as a group; otherwise each process makes every shared lake."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("runs with make test, which runs tests side by side")
    assert request.node.nodeid.endswith("@cli/test_side_by_side")
