"""Lints and renders the chart with Helm, and holds what comes out against the schemas of Kubernetes.

The tests run it in an environment that has both: `python chart.py CHART VALUES`, the values as JSON. It writes
{"lint": [...], "manifests": [...]} and fails on what is not valid.
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

KUBERNETES = ("1.27", "1.37")
"""The oldest that the chart takes, and the newest whose schemas the package has."""
NOTES = "NOTES.txt"


def main(folder: str, values: dict[str, object]) -> None:
    """Writes what a chart comes to with these values."""
    linted = helm_python.lint(folder, values, strict=True)
    rendered = helm_python.Chart.load(folder).render(values, name="tower", namespace="agents")
    manifests = [one for path, text in rendered.items() if not path.endswith(NOTES) for one in yaml.safe_load_all(text)]
    manifests = [one for one in manifests if one is not None]
    for manifest in manifests:
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)
    json.dump({"lint": linted["messages"], "manifests": manifests}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
