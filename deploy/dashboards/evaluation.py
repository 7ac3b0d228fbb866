"""Evaluation: accuracy and calibration over time, from `evalsuite export --format prometheus`, beside what the server sees."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import Rows, heat, lines, page
from deploy.dashboards.query import buckets, chosen, part, rate

RUN = "{{task}} {{strategy}} {{model}}"


def build() -> Dashboard:
    accuracy = [
        lines(
            "Accuracy",
            "With the interval's ends. Each run replaces the one before it under its task, strategy and model.",
            {RUN: "evalsuite_accuracy", f"{RUN} low": "evalsuite_accuracy_low", f"{RUN} high": "evalsuite_accuracy_high"},
            unit="percentunit",
            most=1,
        ),
        lines("Tokens a problem", "What the accuracy cost.", {RUN: "evalsuite_completion_tokens_per_problem"}, unit="short"),
        lines(
            "First draft to final answer",
            "Problems that the loop mended (wrong->right) and broke (right->wrong).",
            {"{{transition}} {{model}}": 'evalsuite_loop_transitions{transition=~"wrong->right|right->wrong"}'},
            unit="short",
        ),
        lines("Outcomes", "Every sample's, infrastructure failures apart.", {"{{outcome}} {{task}}": "evalsuite_outcomes"}, unit="short"),
    ]
    calibration = [
        lines(
            "Critic, measured and told",
            "Rates that an evaluation measured, and those that the server's `calibrations` setting says.",
            {
                "measured {{critic}} {{rate}}": "evalsuite_critic_rate",
                "told {{critic}} {{rate}}": "max by (critic, rate) (redraft_critic_calibration)",
            },
            unit="percentunit",
            most=1,
        ),
        lines(
            "Verdicts: share correct",
            "A jump without a new critic says that the problems have changed, or that the critic has.",
            {"{{critic}}": part("redraft_verdicts_total", 'verdict="correct"', by=["critic"])},
            unit="percentunit",
            most=1,
        ),
        lines(
            "Verdicts",
            "What critics said.",
            {"{{critic}} {{verdict}}": rate("redraft_verdicts_total", by=["critic", "verdict"])},
            unit="reqps",
            stacked=True,
        ),
        heat("P(correct)", "How sure the critics were.", buckets("redraft_critic_p_correct"), unit="percentunit"),
        lines(
            "Calibrated critics: said correct",
            "Share of the last verdicts that say so, and how far it lies outside of what the calibration lets expect (0 while within).",
            {
                "{{critic}} said": f"avg by (critic) ({chosen('redraft_critic_said_correct')})",
                "{{critic}} outside": f"max by (critic) (abs({chosen('redraft_critic_drift')}))",
            },
            unit="percentunit",
            most=1,
        ),
    ]
    rows: Rows = {"Accuracy": accuracy, "Calibration": calibration}
    return page("evaluation", "Evaluation", "Accuracy and calibration over time.", rows, refresh="1m")
