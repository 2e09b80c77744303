"""The cluster files of the how-to, held against what Ray and KubeRay accept."""

import json
import re
from pathlib import Path

import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "cluster.md"

# Fields of ray.io/v1 (KubeRay's API reference and ray-operator/apis/ray/v1/*_types.go), and of pod templates.
RAY_JOB = {
    "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint",
    "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata",
    "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode", "submitterConfig",
    "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished",
}  # fmt: skip
RAY_CLUSTER = {
    "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec",
    "headServiceAnnotations", "managedBy", "rayVersion", "suspend", "workerGroupSpecs",
}  # fmt: skip
HEAD = {"enableIngress", "headService", "rayStartParams", "serviceType", "template"}
WORKERS = {
    "groupName", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas", "scaleStrategy",
    "suspend", "template",
}  # fmt: skip
CONTAINER = {
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "name",
    "resources",
    "volumeMounts",
}


@pytest.fixture(scope="module")
def manifests():
    if not PAGE.exists():
        pytest.skip("the documentation is not here")
    return [
        yaml.safe_load(code) for code in re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    ]


@pytest.fixture
def ray_up(manifests):
    (config,) = [m for m in manifests if "cluster_name" in m]
    return config


@pytest.fixture
def ray_job(manifests):
    (job,) = [m for m in manifests if m.get("kind") == "RayJob"]
    return job


def test_the_file_for_ray_up_is_what_the_cluster_launcher_takes(ray_up):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(ray_up, schema)
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(ray_up)
    validate_config(prepared)
    (nodes,) = prepared["available_node_types"].values()
    assert nodes["min_workers"] == nodes["max_workers"] == len(ray_up["provider"]["worker_ips"])


def test_the_head_is_told_to_start_the_workers(ray_up):
    """Without this option `ray up` starts the head alone, and only warns."""
    assert any(
        "ray start --head" in command and "--autoscaling-config ~/ray_bootstrap_config.yaml" in command
        for command in ray_up["head_start_ray_commands"]
    )
    assert any("$RAY_HEAD_IP" in command for command in ray_up["worker_start_ray_commands"])


def test_the_ray_job_has_the_fields_that_kuberay_knows(ray_job):
    assert ray_job["apiVersion"] == "ray.io/v1" and set(ray_job) == {"apiVersion", "kind", "metadata", "spec"}
    spec = ray_job["spec"]
    cluster = spec["rayClusterSpec"]
    assert set(spec) <= RAY_JOB and set(cluster) <= RAY_CLUSTER and set(cluster["headGroupSpec"]) <= HEAD
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups[1:]:
        assert set(group) <= WORKERS and group["groupName"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # map[string]string
        pod = group["template"]["spec"]
        assert set(pod) == {"containers", "volumes"}
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert set(container) <= CONTAINER and set(container["resources"]["limits"]) == {"cpu", "memory"}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert all(v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"])


def test_the_commands_of_the_files_are_commands_of_this_package(ray_up, ray_job):
    import shlex

    from typer.main import get_command

    from corpuskit.cli.app import app

    words = shlex.split(ray_job["spec"]["entrypoint"])
    assert words[0] == "corpuskit"
    command = get_command(app).commands[words[1]]
    context = command.make_context("run", words[2:], resilient_parsing=True)
    assert context.params["engine"] == "ray" and context.params["address"] == "auto"
