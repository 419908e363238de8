"""What the daemons expose over HTTP, and that three counts of the same bytes agree."""

import json
import re
import urllib.error

import pytest

from programs import ROOT, evaluate

GRAFANA = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
PROMETHEUS = sorted((ROOT / "deploy" / "prometheus").glob("*.yml"))
METRIC = re.compile(r"\bqc2c_[a-z0-9_]+")
N = 64


def total(samples: dict[str, float], *labels: str) -> int:
    """The sum over the samples whose label set has all of `labels`."""
    return int(sum(v for k, v in samples.items() if all(label in k for label in labels)))


def test_the_sharers_the_receivers_and_the_drivers_byte_counts_agree(pair, folder):
    settings = [
        ["--mode", "fused", "--codec", "fp32"],
        ["--mode", "fused", "--codec", "int8"],
        ["--mode", "fused", "--codec", "int4,select=value_norm,keep_ratio=0.25"],
        ["--mode", "text"],
    ]
    runs = []
    for i, setting in enumerate(settings):
        run = evaluate(pair.receiver.address, folder / str(i), *setting, "--limit", N)
        runs.append(run.predictions(run.points()[0]["point"]))
    assert [len(run) for run in runs] == [N] * len(settings)
    tx = pair.sharer.metrics()["qc2c_tx_bytes_total"]
    rx = pair.receiver.metrics()["qc2c_rx_bytes_total"]
    assert tx == rx
    assert total(tx) == sum(line["bytes_tx"] for run in runs for line in run)
    for part in ["payload", "scales", "indices", "header"]:
        in_driver = sum(line["bytes"][part] for run in runs for line in run)
        assert total(tx, f'part="{part}"') == in_driver


def test_accuracy_is_a_metric_of_the_receiver(pair, folder):
    run = evaluate(pair.receiver.address, folder / "out", "--mode", "receiver", "--limit", N)
    metrics = pair.receiver.metrics()
    labels = ['dataset="heldout_mc"', 'mode="receiver"']
    assert total(metrics["qc2c_questions_total"], *labels) == N
    assert total(metrics["qc2c_correct_total"], *labels) == run.points()[0]["correct"]


def test_pages(pair):
    for daemon in pair:
        assert daemon.page("/healthz").strip() == "ok"
        assert "# TYPE qc2c_inflight gauge" in daemon.page("/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            daemon.page("/nothing")


def dashboard_queries(dashboard) -> list[str]:
    """Every PromQL text of a Grafana dashboard, wherever it is nested."""
    if isinstance(dashboard, list):
        return [query for item in dashboard for query in dashboard_queries(item)]
    if not isinstance(dashboard, dict):
        return []
    own = [v for k, v in dashboard.items() if k in ("expr", "query") and isinstance(v, str)]
    return own + dashboard_queries(list(dashboard.values()))


def named_metrics() -> set[str]:
    queries = [q for path in GRAFANA for q in dashboard_queries(json.loads(path.read_text()))]
    return set(METRIC.findall("\n".join([*queries, *(path.read_text() for path in PROMETHEUS)])))


def test_every_metric_that_dashboard_and_alerts_name_is_exposed(pair, programs, folder):
    assert GRAFANA, "no dashboard in deploy/grafana"
    assert PROMETHEUS, "no rules in deploy/prometheus"
    named = named_metrics()
    assert len(named) >= 10, named
    evaluate(
        pair.receiver.address, folder / "int8", "--mode", "fused", "--codec", "int8", "--limit", 8
    )
    evaluate(pair.receiver.address, folder / "text", "--mode", "text", "--limit", 8)
    exposed = set(pair.sharer.metrics()) | set(pair.receiver.metrics())
    # Those of trouble are exposed when there was some: a question without the sharer.
    pair.sharer.kill()
    ask = ["ask", "--receiver", pair.receiver.address, "--mode", "fused", "--codec", "int8"]
    for arguments in [[], ["--allow-degraded"]]:
        programs.start("qc2c", *ask, *arguments, "Which city does Iris Trizer live in?").wait()
    exposed |= set(pair.receiver.metrics())
    assert named - exposed == set()
