"""The Grafana dashboards, made in Python. `python -m deploy.dashboards` writes their JSON, `--check` says whether it is up to date."""
