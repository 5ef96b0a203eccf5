#!/usr/bin/env bash
# Checks a running headcount from outside, with curl alone: what a caller may rely on, and what it refuses.
#
# One line a scenario, `ok - …` or `not ok - …` with what was expected and seen; a scenario that these certificates or
# this curl cannot play is a `skip - …` line. The last line is `N passed, N failed`; exit code 1 when one failed,
# 2 when nothing could be checked.
set -uo pipefail
export LC_ALL=C

usage() {
	cat <<'TEXT'
usage: tests/functional.sh [option …]

  --address URL        the server, such as https://localhost:8443; without it the demo is started and ended
  --certs FOLDER       ca.crt, client.crt, client.key and, for the refusals, expired.{crt,key}, foreign.{crt,key}
  --namespace NAME     with --deployment: the Deployment to scale; without them the first of the list.
  --deployment NAME    Its count changes several times (0 to 3 replicas) and is restored at the end.
  --max-replicas N     the server's own --max-replicas (default 10000)
  --binary FILE        the program that serves the demo (default target/debug/headcount)

The same can be said with FUNCTIONAL_ADDRESS, FUNCTIONAL_CERTS, FUNCTIONAL_NAMESPACE, FUNCTIONAL_DEPLOYMENT,
FUNCTIONAL_MAX_REPLICAS and FUNCTIONAL_BINARY.
TEXT
}

address=${FUNCTIONAL_ADDRESS:-}
certs=${FUNCTIONAL_CERTS:-}
namespace=${FUNCTIONAL_NAMESPACE:-}
deployment=${FUNCTIONAL_DEPLOYMENT:-}
max_replicas=${FUNCTIONAL_MAX_REPLICAS:-10000}
scenarios=$(dirname "${BASH_SOURCE[0]}")/functional
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=${FUNCTIONAL_BINARY:-${CARGO_TARGET_DIR:-$checkout/target}/debug/headcount}

give_up() {
	printf 'functional.sh: %s\n' "$1" >&2
	exit 2
}

while (($# > 0)); do
	case $1 in
	--help | -h) usage && exit 0 ;;
	--address | --certs | --namespace | --deployment | --max-replicas | --binary)
		(($# > 1)) || give_up "$1 needs a value"
		;;
	*) give_up "unknown argument $1; see --help" ;;
	esac
	case $1 in
	--address) address=$2 ;;
	--certs) certs=$2 ;;
	--namespace) namespace=$2 ;;
	--deployment) deployment=$2 ;;
	--max-replicas) max_replicas=$2 ;;
	--binary) binary=$2 ;;
	esac
	shift 2
done
command -v curl >/dev/null || give_up "curl is missing"
curl_features=$(curl --version)

# shellcheck source=tests/functional/requests.sh
source "$scenarios/requests.sh"
# shellcheck source=tests/functional/calls.sh
source "$scenarios/calls.sh"
# shellcheck source=tests/functional/input.sh
source "$scenarios/input.sh"
# shellcheck source=tests/functional/connections.sh
source "$scenarios/connections.sh"

# --- the server and the folder for answers ------------------------------------------------------------------------------

work=$(mktemp -d)
demo_pid=
initial_count=

finish() {
	if [[ -n $initial_count ]]; then
		put "$replicas" "{\"replicaCount\":$initial_count}"
		[[ $status == 20[02] ]] || printf 'functional.sh: could not restore %s replicas: status %s\n' "$initial_count" "$status" >&2
	fi
	if [[ -n $demo_pid ]]; then
		kill "$demo_pid" 2>/dev/null
		wait "$demo_pid" 2>/dev/null
	fi
	rm -rf "$work"
}

start_demo() {
	[[ -x $binary ]] || give_up "$binary is missing: build it with 'cargo build', or pass --address and --certs"
	certs=$work/demo
	"$binary" demo --listen 127.0.0.1:0 --dir "$certs" >"$work/demo.log" 2>&1 &
	demo_pid=$!
	local tries
	for ((tries = 0; tries < 300; tries++)); do
		address=$(grep -o 'https://[^/ ]*/api/v1' "$work/demo.log" | head -n 1)
		address=${address%/api/v1}
		if [[ -n $address ]]; then
			get /health
			[[ $status == 200 ]] && return
		fi
		kill -0 "$demo_pid" 2>/dev/null || break
		sleep 0.1
	done
	cat "$work/demo.log" >&2
	give_up "the demo did not start"
}

# --- run them all, in the order of the files -----------------------------------------------------------------------------

passed=0
failed=0
trap finish EXIT
trap 'exit 130' INT TERM

[[ -n $address ]] || start_demo
[[ -n $certs ]] || give_up "--certs is missing: a folder with ca.crt, client.crt and client.key"
for file in ca.crt client.crt client.key; do
	[[ -r $certs/$file ]] || give_up "$certs/$file is missing"
done
address=${address%/}

if [[ -z $namespace && -z $deployment ]]; then
	get /deployments
	[[ $status == 200 ]] || give_up "$address/api/v1/deployments answers $status: $(body)"
	namespace=$(sed -n 's/^\[{"namespace":"\([^"]*\)".*/\1/p' "$work/body")
	deployment=$(sed -n 's/^\[{"namespace":"[^"]*","name":"\([^"]*\)".*/\1/p' "$work/body")
	[[ -n $deployment ]] || give_up "there is no Deployment to scale"
fi
[[ -n $namespace && -n $deployment ]] || give_up "--namespace and --deployment go together"
replicas=/namespaces/$namespace/deployments/$deployment/replicas
get "$replicas"
[[ $status == 200 ]] || give_up "$address/api/v1$replicas answers $status: $(body)"
initial_count=$(sed -n 's/.*"replicaCount":\([0-9]*\).*/\1/p' "$work/body")

while IFS= read -r scenario; do
	problem=
	skip=
	"scenario_$scenario"
	name=${scenario//_/ }
	if [[ -n $problem ]]; then
		failed=$((failed + 1))
		printf 'not ok - %s: %s\n' "$name" "$problem"
	elif [[ -n $skip ]]; then
		printf 'skip - %s: %s\n' "$name" "$skip"
	else
		passed=$((passed + 1))
		printf 'ok - %s\n' "$name"
	fi
done < <(sed -n 's/^scenario_\([a-zA-Z0-9_]*\)().*/\1/p' "$scenarios"/{calls,input,connections}.sh)
finish
trap - EXIT
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
