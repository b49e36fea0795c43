"""Check what is in deploy/: make check calls this.

    .venv/bin/python deploy/check.py

Kubernetes' objects are held against Kubernetes' own schemas, strictly: a field
that is not there is an error. What no schema is here for is named, and what
one file says of another is looked up. Tools that are not installed are named
too. Prints what was checked; ends with 1 where something is wrong.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
# The newest that kubernetes-validate has: fields that were removed are errors.
KUBERNETES = "1.37"
# Kinds that others than Kubernetes define.
FOREIGN = {("kustomize.config.k8s.io/v1beta1", "Kustomization"), ("kustomize.config.k8s.io/v1alpha1", "Component"),
           ("monitoring.coreos.com/v1", "ServiceMonitor"), ("keda.sh/v1alpha1", "ScaledObject"),
           ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"), ("serving.kserve.io/v1beta1", "InferenceService")}
# What clients can make a server with default flags take: README.md, Memory. A limit below it lets them end the server.
MEMORY_MIB_MIN = 2800
# Files that are no objects.
OTHERS = {DEPLOY / "compose.yaml", DEPLOY / "kubernetes/components/hpa/prometheus-adapter.yaml"}

errors = []
before = 0
without_schema = set()


def wrong(where, what):
    errors.append(f"{where}: {what}")


def say(what):
    """Say what holds, if it does."""
    global before
    if len(errors) == before:
        print(f"deploy: {what}")
    before = len(errors)


def documents(text, where):
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        wrong(where, error)
        return []


def validate(document, where):
    where = f"{where}: {document.get('kind')} {document.get('metadata', {}).get('name', '')}".rstrip()
    if (document.get("apiVersion"), document.get("kind")) in FOREIGN:
        without_schema.add(document["kind"])
        return
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError,
            kubernetes_validate.InvalidSchemaError) as error:
        path = ".".join(map(str, getattr(error, "path", ())))
        wrong(where, f"{path}: {getattr(error, 'message', None) or error}")


def files():
    """Every file by itself, whether or not something builds it."""
    paths = sorted({*(DEPLOY / "kubernetes").rglob("*.yaml"), *(DEPLOY / "kserve").rglob("*.yaml")} - OTHERS)
    for path in paths:
        where = path.relative_to(ROOT)
        for document in documents(path.read_text(), where):
            validate(document, where)
            if document.get("kind") in ("Kustomization", "Component"):
                for name in [*document.get("resources", ()), *document.get("components", ())]:
                    if not (path.parent / name).exists():
                        wrong(where, f"there is no {name}")
    for path in OTHERS:
        documents(path.read_text(), path.relative_to(ROOT))
    say(f"{len(paths)} files hold against the schemas of Kubernetes {KUBERNETES}, strictly")
    say(f"no schema here for {', '.join(sorted(without_schema))}: parsed, built, and their references looked up")


def labels_hold(selector, labels):
    wanted = selector.get("matchLabels", selector)
    return bool(wanted) and wanted.items() <= labels.items()


def references(objects, where):
    """What one object says of another."""
    by_kind = {}
    for object in objects:
        by_kind.setdefault(object["kind"], []).append(object)
    names = {(object["kind"], object["metadata"]["name"]) for object in objects}
    for workload in by_kind.get("Deployment", ()):
        pod = workload["spec"]["template"]
        labels = pod["metadata"]["labels"]
        containers(pod["spec"], names, where)
        ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
        for kind in "Service", "PodDisruptionBudget":
            for object in by_kind.get(kind, ()):
                if not labels_hold(object["spec"].get("selector", {}), labels):
                    wrong(where, f"{kind} {object['metadata']['name']} does not select the pods, or all that there are")
        for service in by_kind.get("Service", ()):
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    wrong(where, f"Service {service['metadata']['name']}: the pods have no port {port['targetPort']}")
    for monitor in by_kind.get("ServiceMonitor", ()):
        chosen = [service for service in by_kind.get("Service", ())
                  if labels_hold(monitor["spec"]["selector"], service["metadata"].get("labels", {}))]
        served = {port["name"] for service in chosen for port in service["spec"]["ports"]}
        if len(chosen) != 1 or not {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= served:
            wrong(where, f"ServiceMonitor {monitor['metadata']['name']} does not choose one Service with its port")
    for kind in "HorizontalPodAutoscaler", "ScaledObject":
        for scaler in by_kind.get(kind, ()):
            target = scaler["spec"]["scaleTargetRef"]
            if (target.get("kind", "Deployment"), target["name"]) not in names:
                wrong(where, f"{kind} {scaler['metadata']['name']} scales what is not there: {target['name']}")
            if any("replicas" in workload["spec"] for workload in by_kind.get("Deployment", ())):
                wrong(where, f"{kind} and the Deployment both say how many replicas there are")
    for runtime in by_kind.get("ClusterServingRuntime", ()):
        containers(runtime["spec"], names, where)


def containers(pod, names, where):
    """Flags that tfweb has, ports that are there, memory that is enough, and a grace period that is long enough."""
    for container in pod["containers"]:
        ports = {port.get("name", port["containerPort"]) for port in container["ports"]}
        ports |= {port["containerPort"] for port in container["ports"]}
        variables = {variable["name"]: variable["value"] for variable in container.get("env", ())}
        for probe in "startupProbe", "livenessProbe", "readinessProbe":
            if probe in container and container[probe]["httpGet"]["port"] not in ports:
                wrong(where, f"{probe}: the container has no port {container[probe]['httpGet']['port']}")
        flags({*variables, *(argument.split("=")[0] for argument in container.get("args", ()))}, where)
        memory(container["resources"]["limits"]["memory"], where)
        grace(pod.get("terminationGracePeriodSeconds"), variables, where)
        for source in container.get("envFrom", ()):
            name = source.get("configMapRef", {}).get("name")
            if name and ("ConfigMap", name) not in names:
                wrong(where, f"there is no ConfigMap {name}")


def flags(names, where):
    source = "".join(path.read_text() for path in (ROOT / "src/config").glob("*.rs"))
    for name in names:
        known = f'env = "{name}"' in source if name.startswith("TFWEB_") else f'long = "{name.lstrip("-")}"' in source
        if not known:
            wrong(where, f"tfweb has no {name}")


def memory(limit, where):
    if not re.fullmatch(r"\d+Gi", limit) or int(limit[:-2]) * 1024 <= MEMORY_MIB_MIN:
        wrong(where, f"expected a limit of memory of more than {MEMORY_MIB_MIN} MiB, in Gi, found {limit}")


def grace(seconds, variables, where):
    seconds = 30 if seconds is None else seconds
    timeout_ms = int(variables.get("TFWEB_DRAIN_TIMEOUT_MS", "0"))
    if not int(variables.get("TFWEB_DRAIN_DELAY_MS", "0")) < timeout_ms < 1000 * seconds:
        wrong(where, f"a grace period of {seconds} s is not more than TFWEB_DRAIN_TIMEOUT_MS, or that not more than the delay")


def built():
    command = next((command for command in (["kubectl", "kustomize"], ["kustomize", "build"]) if shutil.which(command[0])), None)
    if command is None:
        print("deploy: neither kubectl nor kustomize is installed: kustomizations not built")
        return
    paths = sorted(path.parent for path in DEPLOY.rglob("kustomization.yaml") if "components" not in path.parts)
    for path in paths:
        where = path.relative_to(ROOT)
        result = subprocess.run([*command, path], capture_output=True, text=True)
        if result.returncode:
            wrong(where, result.stderr.strip())
            continue
        objects = documents(result.stdout, where)
        for object in objects:
            validate(object, where)
        references(objects, where)
    say(f"{len(paths)} kustomizations build, and what their objects say of each other is so")


def versions():
    """TensorFlow's version is the one of the Makefile, which the tests run on."""
    makefile = re.search(r"^TENSORFLOW := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name, pattern in ("Dockerfile", r"^ARG TENSORFLOW_VERSION=(.*)$"), ("pyproject.toml", r'^    "tensorflow.* ~= ([^;]*);'):
        found = set(re.findall(pattern, (ROOT / name).read_text(), re.MULTILINE))
        if found != {makefile[1]}:
            wrong(name, f"expected TensorFlow {makefile[1]}, as in the Makefile, found {', '.join(sorted(found)) or 'none'}")


def compose():
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name, service in document["services"].items():
        if name.startswith("tfweb"):
            variables = {key: str(value) for key, value in service["environment"].items()}
            flags(variables, f"compose.yaml: {name}")
            grace(int(service["stop_grace_period"].rstrip("s")), variables, f"compose.yaml: {name}")
    for command in ["docker", "compose"], ["docker-compose"]:
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return tool([*command, "-f", DEPLOY / "compose.yaml", "config", "-q"])
    print("deploy: docker compose is not installed: compose.yaml parsed only")


def haproxy():
    command = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if command is None:
        print("deploy: haproxy is not installed: haproxy.cfg not checked")
        return
    replicas = {f"REPLICA_{number}_{door}": "127.0.0.1:1" for number in (1, 2, 3) for door in ("HTTP", "GRPC")}
    tool([command, "-c", "-q", "-f", DEPLOY / "haproxy.cfg"], replicas)


def tool(command, variables={}):
    """Run a tool's own check; what it warns of is wrong, too."""
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    said = (result.stdout + result.stderr).strip()
    if result.returncode or re.search("WARNING|ALERT", said):
        wrong(pathlib.Path(command[0]).name, said or result.returncode)
    say(f"{pathlib.Path(command[0]).name} takes {command[command.index('-f') + 1].name}")


files()
built()
versions()
compose()
haproxy()
for error in errors:
    print(f"deploy: {error}", file=sys.stderr)
sys.exit(bool(errors))
