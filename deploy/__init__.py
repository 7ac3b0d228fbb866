"""What it takes to run a server for others: dashboards, alert rules, an image, compose and Kubernetes files."""
