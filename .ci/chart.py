"""What .ci/chart asks of the chart beside its own lint and unit tests, of Helm 3 and Helm 4 alike.

- Every mode (deploy/chart/ci/*.yaml) renders, both Helms to the same objects, and each is valid for every version of Kubernetes in VERSIONS, or
  by its CustomResourceDefinition.
- Wrong values (deploy/chart/tests/refused.yaml) are refused with the words that are expected there.
- Each overlay of deploy/kustomize makes the objects that the chart makes of the overlay's values.yaml.
- No text in a value becomes anything but text: neither an object, nor a key, nor a template.
"""

import concurrent.futures
import copy
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils
import yaml

# The oldest that the chart promises, and the one that the tests run.
VERSIONS = ["1.31", "1.36"]
# Nothing here takes more than a second by itself.
DEADLINE = 60

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/chart"

# Each of these is read again for every object otherwise.
kubernetes_validate.utils.schema_contents = functools.lru_cache(maxsize=None)(kubernetes_validate.utils.schema_contents)


class Strict(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
    """YAML in which a key that is there twice is an error: Kubernetes takes one of them, silently."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice.pop()!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


Strict.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def objects(text):
    return [item for item in yaml.load_all(text, Loader=Strict) if item]


def name_of(item):
    metadata = item.get("metadata", {})
    return f"{item.get('kind')} {metadata.get('namespace', '')}/{metadata.get('name')}"


class Refused(Exception):
    """What Helm says of values that it doesn't render."""


def template(helm, *values, arguments=()):
    """The text that Helm renders of the chart with these values: paths of files."""
    command = [helm, "template", "headcount", str(CHART), "--namespace=headcount", f"--kube-version={VERSIONS[-1]}"]
    # Kinds that a cluster may lack: with them the chart's objects for Prometheus and cert-manager are as in a cluster that has them.
    for api in ("cert-manager.io/v1", "monitoring.coreos.com/v1"):
        command.append(f"--api-versions={api}")
    command += [f"--values={path}" for path in values] + list(arguments)
    run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL, check=False)
    if run.returncode != 0:
        raise Refused(run.stderr.strip())
    return run.stdout


def with_values(helm, values, *others):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(values, file)
        file.flush()
        return template(helm, *others, file.name)


# --- Schemas -------------------------------------------------------------------------------------


def closed(schema):
    """A CustomResourceDefinition's schema as JSON Schema, in which what it doesn't name is wrong."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: value for key, value in schema.items() if not key.startswith("x-") and key not in ("format", "default")}
    for key in ("items", "not", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = closed(result[key])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in result:
            # They repeat properties, to say more of them.
            result[key] = [closed_not(item) for item in result[key]]
    if "properties" in result:
        result["properties"] = {key: closed(value) for key, value in result["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    if result.pop("nullable", False) and "type" in result:
        result["type"] = [result["type"], "null"]
    return result


def closed_not(schema):
    return {key: value for key, value in schema.items() if not key.startswith("x-")}


def custom_kinds(path):
    kinds = {}
    for item in objects(path.read_text()):
        for version in item["spec"]["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            # Every object has them, whatever its definition says of them.
            schema["properties"].update(apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"})
            kinds[f"{item['spec']['group']}/{version['name']}", item["spec"]["names"]["kind"]] = schema
    return kinds


# Most objects are the same in most renderings.
judged = {}


def wrong_with(item, custom):
    """What is wrong with an object, in one sentence each."""
    key = json.dumps(item, sort_keys=True)
    if key not in judged:
        judged[key] = judge(item, custom)
    return judged[key]


def judge(item, custom):
    kind = (item.get("apiVersion"), item.get("kind"))
    try:
        if kind in custom:
            errors = list(jsonschema.Draft202012Validator(custom[kind]).iter_errors(item))
            return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]
        for version in VERSIONS:
            kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"Kubernetes {error.version}: {'.'.join(map(str, error.path))}: {error.message}"]
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError) as error:
        return [error.message]
    except KeyError as error:
        return [f"it has no {error}"]
    return []


# --- The checks ----------------------------------------------------------------------------------


def check_mode(helms, custom, path):
    """The objects of a mode, and what is wrong with them."""
    rendered = {}
    for name, helm in helms.items():
        try:
            rendered[name] = objects(template(helm, path))
        except Refused as refused:
            return [], [f"{name} does not render it: {refused}"]
        except yaml.YAMLError as error:
            return [], [f"{name} renders what is no YAML: {error}"]
    wrong = []
    first, *others = ({name_of(item): item for item in items} for items in rendered.values())
    for name, items in rendered.items():
        if len({name_of(item) for item in items}) < len(items):
            wrong.append(f"{name} renders an object twice")
    for other in others:
        for key in sorted(first.keys() | other.keys()):
            if first.get(key) != other.get(key):
                wrong.append(f"{key}: the Helms differ: {json.dumps(first.get(key))} and {json.dumps(other.get(key))}")
    for key, item in first.items():
        wrong += [f"{key}: {error}" for error in wrong_with(item, custom)]
    if not first:
        wrong.append("it renders nothing")
    return list(first.values()), wrong


def check_refusal(helms, case):
    wrong = []
    for name, helm in helms.items():
        try:
            with_values(helm, case["values"])
            wrong.append(f"{name} takes it")
        except Refused as refused:
            # A person reads the words, wherever the lines are broken.
            said = " ".join(str(refused).split())
            wrong += [f"{name} does not say {words!r}, but: {said}" for words in case["says"] if words not in said]
    return wrong


# By docs/configuration.md, by Helm and by Kubernetes.
DESCRIBED_ELSEWHERE = {"config", "global", "livenessProbe", "readinessProbe", "resources"}


def check_documented(values, schema, definitions, path=()):
    """Where values.yaml, which describes every value, and the schema of values don't have the same keys."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    if not isinstance(values, dict) or "properties" not in schema or schema.get("additionalProperties", True):
        return
    for key in sorted((values.keys() ^ schema["properties"].keys()) - DESCRIBED_ELSEWHERE):
        missing = "values.schema.json" if key in values else "values.yaml"
        yield f"{'.'.join((*path, key))} is not in {missing}"
    for key in sorted((values.keys() & schema["properties"].keys()) - DESCRIBED_ELSEWHERE):
        yield from check_documented(values[key], schema["properties"][key], definitions, (*path, key))


# What Helm alone has use for.
HELMS_OWN = {"helm.sh/chart", "app.kubernetes.io/managed-by"}


def without_helm(item):
    if isinstance(item, dict):
        rest = {key: without_helm(value) for key, value in item.items() if key not in HELMS_OWN}
        if rest.get("kind") == "Secret":
            # kustomize breaks the lines of base64.
            rest["data"] = {key: "".join(value.split()) for key, value in rest["data"].items()}
        return rest
    return [without_helm(value) for value in item] if isinstance(item, list) else item


def check_overlay(helm, kustomize, custom, overlay):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder, "kustomize")
        shutil.copytree(ROOT / "deploy/kustomize", folder)
        build = folder / overlay.relative_to(ROOT / "deploy/kustomize")
        arguments = ["--skip-tests"]
        values = yaml.load((build / "values.yaml").read_text(), Loader=Strict)
        if values.get("certificates", {}).get("mode") == "files":
            for key, file in (("tlsCert", "server.crt"), ("tlsKey", "server.key"), ("clientCa", "ca.crt")):
                path = build / "certificates" / file
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"-----BEGIN EXAMPLE-----\n{key}\n-----END EXAMPLE-----\n")
                arguments.append(f"--set-file=certificates.files.{key}={path}")
        run = subprocess.run([kustomize, "build", build], capture_output=True, text=True, timeout=DEADLINE, check=False)
        if run.returncode != 0:
            return [f"kustomize does not build it: {run.stderr}"]
        mine = {name_of(item): without_helm(item) for item in objects(run.stdout) if item["kind"] != "Namespace"}
        chart = {name_of(item): without_helm(item) for item in objects(template(helm, build / "values.yaml", arguments=arguments))}
    wrong = [f"{name}: {error}" for name, item in mine.items() for error in wrong_with(item, custom)]
    for key in sorted(mine.keys() | chart.keys()):
        if mine.get(key) != chart.get(key):
            wrong.append(f"{key} is {json.dumps(mine.get(key))}, and the chart's {json.dumps(chart.get(key))}")
    return wrong


# One text with all that YAML, Go's templates, shells and Kubernetes' names end at, and one of a line, for where lines can't be broken.
HOSTILE = 'x"y\'z: `$(id)` {{ fail "RUN" }} {{- .Values }} # \\ %s\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: escaped}\n'
HOSTILE_LINE = 'x"y\'z: `$(id)` {{ fail "RUN" }} # \\ %s'
# What is a number or a switch by the time that YAML has read it without quotes.
AMBIGUOUS = ["0440", "yes"]
# These are rendered as templates and objects on purpose; docs/helm.md says so.
TEMPLATES = {("extraObjects",)}


def places(value, path=()):
    """The paths of all texts in values, and of what isn't there yet: a key of that name wherever there are keys."""
    if path[:1] in TEMPLATES:
        return
    if isinstance(value, dict):
        yield (*path, HOSTILE)
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))
    elif isinstance(value, str) or value is None:
        yield path


def all_places(helm):
    """Every place that a text or a key can be in, in some mode: the mode's values, how many objects they make, and the path."""
    defaults = yaml.load((CHART / "values.yaml").read_text(), Loader=Strict)
    seen = set()
    for mode in [CHART / "ci/everything-values.yaml", *sorted((CHART / "ci").glob("*.yaml"))]:
        values = merged(defaults, yaml.load(mode.read_text(), Loader=Strict))
        usual = len(objects(with_values(helm, values)))
        for path in places(values):
            # One of a list is as good as another.
            kind = tuple(0 if isinstance(key, int) else key for key in path)
            if kind not in seen:
                seen.add(kind)
                yield values, usual, path


def merged(values, others):
    """What Helm makes of the chart's values and further ones."""
    if not isinstance(values, dict) or not isinstance(others, dict):
        return others
    return {key: merged(values[key], others[key]) if key in values and key in others else {**values, **others}[key] for key in {**values, **others}}


def replaced(values, path, text):
    result = copy.deepcopy(values)
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = text
    return result


def check_text(helm, custom, values, usual, is_text):
    """Whether values with a hostile text are refused in so many words, and what is wrong if the text isn't one any more."""
    try:
        items = objects(with_values(helm, values))
    except Refused as refused:
        # The schema's words and the chart's own. Whatever else Helm says is that something broke.
        meant = ("values don't meet the specifications of the schema", "These values can't be used:")
        return True, [] if any(words in str(refused) for words in meant) else [f"it is not refused, but breaks something: {refused}"]
    except yaml.YAMLError as error:
        return False, [f"it makes what is no YAML: {error}"]
    names = [name_of(item) for item in items]
    if any(name.endswith("/escaped") for name in names) or len(names) > usual:
        return False, [f"it makes further objects: {', '.join(names)}"]
    # Unknown keys of Kubernetes' own are the API server's to judge.
    return False, [f"{name_of(item)}: {error}" for item in items for error in wrong_with(item, custom)] if is_text else []


def check_place(helm, custom, place):
    """Hostile texts in one place: of each kind those that come after a refused one too, which may be more to its liking."""
    values, usual, path = place
    if path[-1] == HOSTILE:
        return check_text(helm, custom, replaced(values, path, "x"), usual, False)[1]
    wrong = []
    usual_text = functools.reduce(lambda value, key: value[key], path, values) or ""
    for texts in ((HOSTILE, HOSTILE_LINE, usual_text + HOSTILE_LINE), AMBIGUOUS):
        for text in texts:
            refused, sentences = check_text(helm, custom, replaced(values, path, text), usual, True)
            wrong += [f"{text!r}: {sentence}" for sentence in sentences]
            if not refused:
                break
    return wrong


def main():
    helms = {"Helm 3": sys.argv[1] + "/helm3", "Helm 4": sys.argv[1] + "/helm4"}
    custom = {}
    for file in ("cert-manager-crds.yaml", "prometheus-operator-crds.yaml"):
        custom.update(custom_kinds(pathlib.Path(sys.argv[1], file)))
    failures = []

    def note(what, wrong):
        failures.extend(f"{what}: {sentence}" for sentence in wrong)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        modes = sorted((CHART / "ci").glob("*.yaml"))
        results = pool.map(functools.partial(check_mode, helms, custom), modes)
        count = 0
        for path, (items, wrong) in zip(modes, results):
            note(path.relative_to(ROOT), wrong)
            count += len(items)
        print(f"{len(modes)} modes, {count} objects, by 2 Helms, for Kubernetes {' and '.join(VERSIONS)}")

        cases = yaml.load((CHART / "tests/refused.yaml").read_text(), Loader=Strict)
        for case, wrong in zip(cases, pool.map(functools.partial(check_refusal, helms), cases)):
            note(f"refused.yaml: {case['name']}", wrong)
        print(f"{len(cases)} wrong values refused by 2 Helms")

        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.load((CHART / "values.yaml").read_text(), Loader=Strict)
        note("values", check_documented(values, schema, schema["$defs"]))

        overlays = sorted(path.parent for path in (ROOT / "deploy/kustomize").glob("**/kustomization.yaml"))
        kustomize = sys.argv[1] + "/kustomize"
        check = functools.partial(check_overlay, helms["Helm 4"], kustomize, custom)
        for path, wrong in zip(overlays, pool.map(check, overlays)):
            note(path.relative_to(ROOT), wrong)
        print(f"{len(overlays)} kustomizations make the chart's objects")

        tried = list(all_places(helms["Helm 4"]))
        for (_, _, path), wrong in zip(tried, pool.map(functools.partial(check_place, helms["Helm 4"], custom), tried)):
            note("hostile text in " + ".".join(map(str, path)), wrong)
        print(f"in {len(tried)} places of the values hostile texts stay texts, or are refused")

    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures or not (modes and cases and overlays and tried) else 0


if __name__ == "__main__":
    sys.exit(main())
