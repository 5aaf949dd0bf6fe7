#!/bin/bash
# The manifests against Kubernetes' published schemas, as the npm package kubernetes-models has them: its validators for
# values, and its types, through the TypeScript compiler, for fields that do not exist.
# The packages are fetched once, into the build folder; where they cannot be, that is said, and the test is skipped.
set -eu

skip() {
    echo "SKIP: $*"
    exit 77
}
fail() {
    echo "FAIL: $*" >&2
    exit 1
}

manifests=$(realpath "$(dirname "$0")/../../contrib/kubernetes")
modules=$PWD/kubernetes-models
command -v npm >/dev/null || skip "npm is not installed (npm)"
python3 -c 'import yaml' 2>/dev/null || skip "python3-yaml is not installed (python3-yaml)"
mkdir -p "$modules"
if [ ! -f "$modules/complete" ]; then
    (cd "$modules" && echo '{"type": "module"}' >package.json && timeout 240 npm install --no-audit --no-fund \
        --loglevel=error kubernetes-models@5.1.0 typescript@5.9.3) >"$modules/npm.log" 2>&1 ||
        skip "the schemas cannot be fetched: $(tail -n 1 "$modules/npm.log")"
    touch "$modules/complete"
fi

# check OUT: "KIND/NAME" of each object that is good; exit status 1 when one is not. Manifests as JSON on stdin.
check() {
    cat >"$modules/objects.json"
    python3 - "$modules" <<'END'
import json, sys
folder = sys.argv[1]
objects = json.load(open(f"{folder}/objects.json", encoding="utf-8"))
with open(f"{folder}/check.ts", "w", encoding="utf-8") as typed, open(f"{folder}/check.js", "w", encoding="utf-8") as run:
    run.write("let bad = 0;\n")
    for i, o in enumerate(objects):
        text = json.dumps(o)
        module = f"kubernetes-models/{o['apiVersion']}/{o['kind']}"
        typed.write(f"import {{ type I{o['kind']} as T{i} }} from '{module}';\nexport const o{i}: T{i} = {text};\n")
        run.write(f"import {{ {o['kind']} as C{i} }} from '{module}';\n"
                  f"try {{ new C{i}({text}).validate(); console.log('{o['kind']}/{o['metadata']['name']}') }}\n"
                  f"catch (error) {{ console.log('{o['kind']}: ' + error.message); bad = 1 }}\n")
    run.write("process.exit(bad);\n")
END
    node "$modules/check.js" && (cd "$modules" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --module nodenext \
        --moduleResolution nodenext --target es2022 check.ts)
}
as_json() {
    python3 -c 'import json, sys, yaml
json.dump([o for f in sys.argv[1:] for o in yaml.safe_load_all(open(f, encoding="utf-8")) if o], sys.stdout)' "$@"
}

as_json "$manifests"/*.yaml | check || fail "a manifest is not as its schema wants it"
echo "ok: all manifests fit their schemas"

# That it would have been noticed.
for change in s/hostPID:/hostPid:/ s/privileged:.true/privileged:_sure/; do
    sed "$(tr _ ' ' <<<"$change")" "$manifests/daemonset.yaml" >"$modules/bad.yaml"
    ! cmp -s "$manifests/daemonset.yaml" "$modules/bad.yaml" || fail "$change changes nothing"
    ! as_json "$modules/bad.yaml" | check >"$modules/bad.log" 2>&1 || fail "$change is not noticed"
done
echo "ok: what is wrong is noticed"

# One version everywhere, and the handler's name is that of the sample.
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$manifests/../../meson.build")
grep -q "image: procview:$version\$" "$manifests/daemonset.yaml" || fail "the image is not that of version $version"
[ "$(sed -n 's/^handler: //p' "$manifests/runtimeclass.yaml")" = \
    "$(sed -n 's/^  runtimeClassName: //p' "$manifests/pod.yaml")" ] || fail "the sample's class is another one"
echo "ok: names and versions agree"
